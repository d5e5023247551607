//! `run`, for drawn runs and scenarios, and `shrink`.

use super::{Shape, file_sink, print_verdict};
use clap::Args;
use starling_node::config::Mutant;
use starling_sim::pbs::wrong_usage;
use starling_sim::report::{Figures, Told, page};
use starling_sim::scenario::{Ran, Scenario, read, run_setup};
use starling_sim::shrink;
use starling_sim::verdict::{Params, run_alone};
use starling_sim::world::Setup;
use starling_sim::{history, say};
use std::io;
use std::path::{Path, PathBuf};

#[derive(Args)]
pub(super) struct Run {
    /// A scenario's file; see docs/scenarios.md
    #[arg(conflicts_with_all = ["nodes", "seconds", "family"])]
    file: Option<PathBuf>,
    /// Draw everything from this instead
    #[arg(long, required_unless_present = "file", conflicts_with = "file")]
    pub(super) seed: Option<u64>,
    #[command(flatten)]
    pub(super) shape: Shape,
    /// Write everything that happens to this file
    #[arg(long)]
    trace: Option<PathBuf>,
    /// Write what clients asked and were told to this file, as checkers outside read it
    #[arg(long)]
    history: Option<PathBuf>,
    /// Write a page with pictures to this file
    #[arg(long)]
    html: Option<PathBuf>,
    /// Print the verdict as JSON
    #[arg(long)]
    json: bool,
}

/// Runs what was asked for; whether all went as it should.
pub(super) fn run(args: &Run) -> io::Result<bool> {
    match (&args.file, args.seed) {
        (Some(file), _) => run_file(args, file),
        (None, Some(seed)) => run_seed(args, &args.shape.params(seed)),
        (None, None) => Err(io::Error::other("neither a file nor a seed")),
    }
}

fn run_seed(args: &Run, params: &Params) -> io::Result<bool> {
    let sink = args.trace.as_deref().map(file_sink).transpose()?;
    let begun = std::time::Instant::now();
    if !args.json {
        say!("{}", params.command());
        starling_sim::world::planned(params).iter().for_each(|fault| say!("  {fault}"));
    }
    let verdict = match args.html.is_some() || args.history.is_some() {
        false => run_alone(params, sink),
        true => {
            let ran = run_setup(Setup::of_seed(params.clone()), sink);
            let name = format!("seed {}", params.seed);
            let about = "Cluster, network, settings, workload and faults drawn from the seed.";
            write_files(args, &Told { name: &name, about, shape: &[], model: None }, &ran)?;
            ran.verdict
        }
    };
    if args.json {
        say!("{}", serde_json::to_string_pretty(&verdict)?);
    } else {
        print_verdict(&verdict);
        say!("trace {}, {:.3} s", verdict.trace, begun.elapsed().as_secs_f64());
    }
    Ok(verdict.is_clean() != params.mutant.is_some())
}

fn run_file(args: &Run, file: &Path) -> io::Result<bool> {
    let scenario = scenario_of(file);
    let sink = args.trace.as_deref().map(file_sink).transpose()?;
    let begun = std::time::Instant::now();
    let mutant = args.shape.mutant;
    let mut ran = run_setup(scenario.setup(mutant), sink);
    ran.verdict.command = command(file, mutant);
    let shape = scenario.sentences();
    let told = Told {
        name: &scenario.name,
        about: &scenario.about,
        shape: &shape,
        model: scenario.model(),
    };
    write_files(args, &told, &ran)?;
    let verdict = &ran.verdict;
    if args.json {
        say!("{}", serde_json::to_string_pretty(verdict)?);
    } else {
        say!("{}", verdict.command);
        say!("{}", scenario.about);
        verdict.faults.iter().for_each(|fault| say!("  {fault}"));
        print_verdict(verdict);
        verdict.figures.iter().for_each(print_figures);
        say!("trace {}, {:.3} s", verdict.trace, begun.elapsed().as_secs_f64());
    }
    Ok(verdict.is_clean() != mutant.is_some())
}

/// Reads the file, or ends the program as wrong usage does, with file, line and field.
fn scenario_of(file: &Path) -> Scenario {
    read(file).unwrap_or_else(|misfit| wrong_usage(&misfit.to_string()))
}

fn command(file: &Path, mutant: Option<Mutant>) -> String {
    let mutant = mutant.map_or(String::new(), |mutant| format!(" --mutant {}", mutant.name()));
    format!("starling-sim run {}{mutant}", file.display())
}

/// The files that were asked for.
fn write_files(args: &Run, told: &Told<'_>, ran: &Ran) -> io::Result<()> {
    if let Some(path) = &args.html {
        std::fs::write(path, page(told, &ran.verdict, &ran.observed))?;
    }
    match &args.history {
        Some(path) => history::file::write(&ran.observed.history, &mut file_sink(path)?),
        None => Ok(()),
    }
}

fn print_figures(figures: &Figures) {
    let percent = |share: Option<f64>| match share {
        Some(share) => format!("{:.3} %", share * 100.0),
        None => "none begun".into(),
    };
    let (all, answered) = (figures.operations, figures.answered);
    say!("{answered} of {all} operations answered");
    say!("while a fault was active: {} answered", percent(figures.availability));
    say!("  reads {}", percent(figures.availability_reads));
    say!("  writes {}", percent(figures.availability_writes));
    say!("  that asked for one replica {}", percent(figures.availability_w1));
    let latency = figures.latency_ms;
    say!("latency: half within {} ms, 99 of 100 within {} ms", latency.p50, latency.p99);
    match figures.recovery_s {
        Some(seconds) => say!("recovered {seconds} s after the last fault"),
        None => say!("not seen to recover"),
    }
    let stale = &figures.staleness;
    say!("{} of {} reads stale, the oldest {} ms", stale.stale, stale.reads, stale.max_ms);
}

#[derive(Args)]
pub(super) struct Shrink {
    /// A scenario's file
    #[arg(conflicts_with_all = ["nodes", "seconds", "family"])]
    file: Option<PathBuf>,
    /// The drawn run of this seed instead
    #[arg(long, required_unless_present = "file", conflicts_with = "file")]
    seed: Option<u64>,
    #[command(flatten)]
    shape: Shape,
    /// The check that has to fail; the first one that does unless said
    #[arg(long)]
    check: Option<String>,
    /// Runs at most
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// The scenario's file to write
    #[arg(long, default_value = "shrunk.toml")]
    out: PathBuf,
}

/// Makes a failing run small and writes it down. An error when it does not fail.
pub(super) fn shrink(args: &Shrink) -> io::Result<bool> {
    let scenario = match (&args.file, args.seed) {
        (Some(file), _) => scenario_of(file),
        (None, Some(seed)) => Scenario::of_drawn(&args.shape.params(seed)),
        (None, None) => return Err(io::Error::other("neither a file nor a seed")),
    };
    let (mutant, check) = (args.shape.mutant, args.check.as_deref());
    let size = |scenario: &Scenario| {
        let (faults, seconds) = (scenario.faults.len(), scenario.seconds);
        let lasts: f64 = scenario.faults.iter().map(|fault| fault.until_s - fault.from_s).sum();
        format!("{faults} fault(s) of {lasts:.3} s together, in {seconds} s")
    };
    eprintln!("from {}", size(&scenario));
    let mut tell = |best: &shrink::Shrunk| {
        eprintln!("run {}: {} fails with {}", best.runs, best.check, size(&best.scenario));
    };
    let shrunk =
        shrink::shrink(&scenario, mutant, check, args.runs, &mut tell).map_err(io::Error::other)?;
    let command = command(&args.out, mutant);
    let text = shrunk.scenario.to_toml().map_err(io::Error::other)?;
    let head = format!("# Breaks {}; replay it with\n#   {command}\n\n", shrunk.check);
    std::fs::write(&args.out, head + &text)?;
    say!("{} in {} runs, to {}", shrunk.check, shrunk.runs, size(&shrunk.scenario));
    say!("{}", shrunk.detail.lines().next().unwrap_or_default());
    say!("{command}");
    Ok(true)
}
