//! What the command line offers. Exit status 0 when all went as it should, 1 when a promise was
//! broken (with a mutant: when none was), 2 for wrong usage.

mod scenario;
mod twice;

use clap::{Args, Parser, Subcommand};
use scenario::{Run, Shrink};
use starling_node::config::Mutant;
use starling_sim::reach::{self, Line};
use starling_sim::sweep::{self, Summary};
use starling_sim::trace::Sink;
use starling_sim::verdict::{Params, Verdict, run_alone};
use starling_sim::{faults, say};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use twice::Twice;

/// Runs real Starling nodes under simulated faults. One seed gives one run, always.
#[derive(Parser)]
#[command(version)]
pub struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Run a scenario, or one seed: prints the faults, then what came out
    Run(Run),
    /// Make a failing run small and write it down as a scenario
    Shrink(Shrink),
    /// Run many seeds on all cores; exit status 1 if a promise was broken
    Sweep(Sweep),
    /// Run each seed in two processes, or in two builds, and compare their traces
    Twice(Twice),
    /// Print everything that happened in a run, line by line
    Replay(Replay),
    /// Tell how stale reads are with this N, R and W on these latencies
    Pbs(Box<starling_sim::pbs::Pbs>),
    /// Tell what clusters of several sizes cost
    Plan(Box<starling_sim::plan::Plan>),
    /// Run the seeds that come on standard input
    #[command(hide = true)]
    Worker(Shape),
}

#[derive(Args, Clone)]
struct Shape {
    /// Nodes of the cluster, 3 to 1,000
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(3..=1_000))]
    nodes: u16,
    /// How long faults and clients last, virtual seconds
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Put a known bug back
    #[arg(long, value_parser = parse_mutant)]
    mutant: Option<Mutant>,
    /// Draw faults of this family only
    #[arg(long, value_parser = parse_family)]
    family: Option<String>,
}

impl Shape {
    fn params(&self, seed: u64) -> Params {
        let (nodes, seconds) = (self.nodes.into(), self.seconds);
        Params { seed, nodes, seconds, mutant: self.mutant, family: self.family.clone() }
    }
}

fn parse_mutant(text: &str) -> Result<Mutant, String> {
    Mutant::ALL.iter().find(|mutant| mutant.name() == text).copied().ok_or_else(|| {
        let names: Vec<_> = Mutant::ALL.iter().map(|mutant| mutant.name()).collect();
        format!("one of {}", names.join(", "))
    })
}

fn parse_family(text: &str) -> Result<String, String> {
    match faults::families().any(|family| family == text) {
        true => Ok(text.into()),
        false => Err(format!("one of {}", faults::families().collect::<Vec<_>>().join(", "))),
    }
}

#[derive(Args)]
struct Sweep {
    /// Seeds, as A..B without B
    #[arg(long, value_parser = parse_range)]
    seeds: Range<u64>,
    #[command(flatten)]
    shape: Shape,
    /// Put each of the known bugs back, one after the other, and count the seeds until it is found
    #[arg(long, conflicts_with = "mutant")]
    mutants: bool,
    /// Run all seeds with each family of faults alone, one after the other
    #[arg(long, conflicts_with_all = ["mutants", "family"])]
    families: bool,
    /// Runs at a time; one for each core unless said
    #[arg(long)]
    jobs: Option<usize>,
    /// Show which metrics and ways to fail all the runs reached; exit status 1 if one is missing
    #[arg(long, conflicts_with = "mutants")]
    reach: bool,
    /// Remember in this folder what was done, and go on from there
    #[arg(long)]
    state: Option<PathBuf>,
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
    /// Keep the first failing run here, for `replay`
    #[arg(long)]
    keep: Option<PathBuf>,
}

#[derive(Args)]
struct Replay {
    /// A seed, or a file that `sweep --keep` or `run --json` wrote
    run: String,
    #[command(flatten)]
    shape: Shape,
}

fn parse_range(text: &str) -> Result<Range<u64>, String> {
    let (from, until) = text.split_once("..").ok_or("expected A..B")?;
    let number = |part: &str| part.trim().parse::<u64>().map_err(|error| error.to_string());
    let range = number(from)?..number(until)?;
    if range.is_empty() { Err("no seed is in it".into()) } else { Ok(range) }
}

/// Does what was asked; whether all went as it should.
pub fn run(cli: Cli) -> io::Result<bool> {
    match cli.what {
        What::Run(args) => scenario::run(&args),
        What::Shrink(args) => scenario::shrink(&args),
        What::Sweep(args) => sweep_seeds(&args),
        What::Twice(args) => twice::twice(&args),
        What::Replay(args) => replay(&args),
        What::Pbs(args) => starling_sim::pbs::run(&args),
        What::Plan(args) => starling_sim::plan::run(&args),
        What::Worker(shape) => sweep::worker(&shape.params(0)).map(|()| true),
    }
}

fn file_sink(path: &Path) -> io::Result<Sink> {
    Ok(Box::new(BufWriter::with_capacity(1 << 20, File::create(path)?)))
}

fn print_verdict(verdict: &Verdict) {
    for (name, count) in &verdict.counts {
        say!("{count:>12} {name}");
    }
    for violation in &verdict.violations {
        say!("BROKEN {}: {}", violation.check, violation.detail);
    }
    if verdict.is_clean() {
        say!("every promise was kept");
    }
}

/// Of this machine, as far as this process may use them.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn sweep_seeds(args: &Sweep) -> io::Result<bool> {
    let jobs = args.jobs.unwrap_or_else(cores);
    let mut all_well = true;
    let mut counts = BTreeMap::new();
    for (name, params) in sweeps(args) {
        let state = args.state.as_ref().map(|folder| folder.join(format!("{name}.json")));
        if let Some(folder) = &args.state {
            std::fs::create_dir_all(folder)?;
        }
        let until_found = params.mutant.is_some();
        let plan = sweep::Plan { seeds: args.seeds.clone(), jobs, until_found, state, other: None };
        let summary = sweep::sweep(&params, &plan)?;
        match args.json {
            true => say!("{}", serde_json::to_string_pretty(&summary)?),
            false => print_summary(&summary, &name, params.mutant),
        }
        for (name, count) in &summary.counts {
            *counts.entry(name.clone()).or_default() += count;
        }
        if let (Some(path), Some(first)) = (&args.keep, summary.failures.first()) {
            serde_json::to_writer_pretty(File::create(path)?, first)?;
        }
        all_well &= (summary.failed > 0) == params.mutant.is_some();
    }
    if args.reach {
        all_well &= print_reach(&counts);
    }
    Ok(all_well)
}

/// The sweeps asked for, with a name each.
fn sweeps(args: &Sweep) -> Vec<(String, Params)> {
    let params = args.shape.params(0);
    if args.mutants {
        let with = |mutant: &Mutant| {
            (mutant.name().into(), Params { mutant: Some(*mutant), ..params.clone() })
        };
        return Mutant::ALL.iter().map(with).collect();
    }
    if args.families {
        let with = |family: &str| {
            (family.into(), Params { family: Some(family.into()), ..params.clone() })
        };
        return faults::families().map(with).collect();
    }
    vec![(params.family.clone().unwrap_or_else(|| "mixed".into()), params)]
}

/// The table of what was reached; whether nothing is missing.
fn print_reach(counts: &BTreeMap<String, u64>) -> bool {
    let lines = reach::table(counts);
    for line in &lines {
        say!("{line}");
    }
    lines.iter().all(Line::is_well)
}

fn print_summary(summary: &Summary, name: &str, mutant: Option<Mutant>) {
    match mutant {
        Some(_) => match (summary.seeds_to_find, summary.failures.first()) {
            (Some(seeds), Some(first)) => {
                say!("{name}: caught after {seeds} seeds by {}", checks_of(first));
            }
            _ => say!("{name}: NOT caught in {} seeds", summary.runs),
        },
        None => {
            for (name, count) in &summary.counts {
                say!("{count:>14} {name}");
            }
            for failure in &summary.failures {
                say!("seed {} broke {}", failure.seed, checks_of(failure));
                if let Some(first) = failure.violations.first() {
                    say!("    {}", first.detail.lines().next().unwrap_or_default());
                }
                say!("    {}", failure.command);
            }
        }
    }
    say!(
        "{name}: {} runs, {} with a broken promise; {} virtual seconds in {:.1} s: {:.0} per \
         second, {:.0} per second of a core",
        summary.runs,
        summary.failed,
        summary.virtual_seconds,
        summary.wall_seconds,
        summary.virtual_per_wall,
        summary.virtual_per_cpu
    );
}

fn checks_of(verdict: &Verdict) -> String {
    let mut names: Vec<&str> = verdict.violations.iter().map(|v| v.check.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names.join(", ")
}

fn replay(args: &Replay) -> io::Result<bool> {
    let params = match args.run.parse() {
        Ok(seed) => args.shape.params(seed),
        Err(_) => params_of_file(&args.run)?,
    };
    eprintln!("{}", params.command());
    let verdict = run_alone(&params, Some(Box::new(BufWriter::new(io::stdout()))));
    for violation in &verdict.violations {
        say!("BROKEN {}: {}", violation.check, violation.detail);
    }
    io::stdout().flush()?;
    Ok(verdict.is_clean() != params.mutant.is_some())
}

/// The run that a failure file names.
fn params_of_file(path: &str) -> io::Result<Params> {
    let mut text = String::new();
    File::open(path)?.read_to_string(&mut text)?;
    let verdict: Verdict = serde_json::from_str(&text)?;
    let cli = Cli::try_parse_from(verdict.command.split(' ')).map_err(io::Error::other)?;
    match cli.what {
        What::Run(Run { seed: Some(seed), shape, .. }) => Ok(shape.params(seed)),
        _ => Err(io::Error::other("the file names no run")),
    }
}
