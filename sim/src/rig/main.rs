//! `starling-chaos`: the binary `starling` as several processes in network namespaces, broken in
//! the ways that the simulator breaks its nodes, under the same kinds of clients and checks.
//!
//! It shows that the simulator does not lie: the scenario file of a run goes to both, and the
//! figures stand side by side. See `docs/chaos.md`.

mod breaker;
mod catalogue;
mod checks;
mod clients;
mod disk;
mod figures;
mod history;
mod many;
mod net;
mod one;
mod predict;
mod process;
mod proxy;
mod results;
mod scenario;
mod settle;
mod shell;
mod tools;

use anyhow::{Context, ensure};
use clap::{Args, Parser, Subcommand};
use many::Plan;
use results::Results;
use scenario::Scenario;
use starling_sim::{faults, network, out, say};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Breaks real Starling processes and checks what they promised
#[derive(Parser)]
#[command(name = "starling-chaos", version)]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Runs every fault of the list alone, and prints the table
    All(All),
    /// Runs one scenario file
    Run(Run),
    /// Names the faults of the list
    List,
    /// Prints the scenario of one run of a fault of the list, which the simulator takes too
    Scenario(Print),
    /// Prints the table of what was run, with `--simulator` beside what that one predicts
    Table(Table),
    #[command(hide = true)]
    Inside { scenario: PathBuf, program: PathBuf, dir: PathBuf, report: PathBuf },
    #[command(hide = true)]
    Proxy { node: usize, nodes: usize },
}

#[derive(Args)]
struct Common {
    /// The program to break
    #[arg(long, default_value = "target/release/starling")]
    starling: PathBuf,
    /// The simulator, for predictions
    #[arg(long)]
    simulator: Option<PathBuf>,
    /// For results and the logs of runs that failed
    #[arg(long, default_value = "target/chaos")]
    out: PathBuf,
    /// Runs of 12 s instead of 60 s
    #[arg(long)]
    short: bool,
}

#[derive(Args)]
struct All {
    #[command(flatten)]
    common: Common,
    /// Runs of each fault; those with a result are not run again
    #[arg(long, default_value_t = 1)]
    runs: u64,
    /// Only these faults
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Clusters at a time
    #[arg(long, default_value_t = 3)]
    jobs: usize,
}

#[derive(Args)]
struct Run {
    #[command(flatten)]
    common: Common,
    /// The scenario
    file: PathBuf,
}

#[derive(Args)]
struct Table {
    #[command(flatten)]
    common: Common,
    /// What processes need to start again, for predictions, instead of what was measured, ms
    #[arg(long)]
    start_ms: Option<u64>,
    /// Simulated runs for each real one
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    draws: u64,
}

#[derive(Args)]
struct Print {
    /// The fault
    name: String,
    /// Which run
    #[arg(long, default_value_t = 0)]
    run: u64,
    /// As `--short` runs it
    #[arg(long)]
    short: bool,
}

fn main() -> ExitCode {
    let done = match Cli::parse().what {
        What::All(args) => all(&args),
        What::Run(args) => run(&args),
        What::List => {
            for name in catalogue::names() {
                say!("{name:<24}{}", catalogue::about(name).unwrap_or_default());
            }
            Ok(true)
        }
        What::Scenario(args) => print(&args),
        What::Table(args) => table(&args),
        What::Inside { scenario, program, dir, report } => {
            inside(&scenario, &program, &dir, &report)
        }
        What::Proxy { node, nodes } => proxy::serve(node, nodes),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("starling-chaos: {error:#}");
            ExitCode::FAILURE
        }
    }
}

impl Common {
    fn times(&self) -> catalogue::Times {
        times(self.short)
    }

    fn plan(&self, jobs: usize) -> anyhow::Result<Plan> {
        let absolute =
            |path: &Path| std::path::absolute(path).with_context(|| path.display().to_string());
        ensure!(self.starling.is_file(), "{}: no such program", self.starling.display());
        Ok(Plan {
            program: absolute(&self.starling)?,
            simulator: self.simulator.as_deref().map(absolute).transpose()?,
            out: absolute(&self.out)?,
            jobs,
        })
    }

    fn results(&self) -> anyhow::Result<Results> {
        std::fs::create_dir_all(&self.out)?;
        Results::open(&self.out.join("results.jsonl"), results::hash(&self.starling)?)
    }
}

fn times(short: bool) -> catalogue::Times {
    if short { catalogue::SHORT } else { catalogue::LONG }
}

fn print(args: &Print) -> anyhow::Result<bool> {
    let scenario = catalogue::scenario(&args.name, args.run, times(args.short));
    let scenario = scenario.context("no such fault; see starling-chaos list")?;
    out::print(format_args!("{}", toml::to_string(&scenario)?));
    Ok(true)
}

fn all(args: &All) -> anyhow::Result<bool> {
    tools::check()?;
    ensure!((1..=16).contains(&args.jobs), "--jobs: 1 to 16 clusters at a time");
    let unknown = args.only.iter().find(|name| catalogue::about(name).is_none());
    ensure!(unknown.is_none(), "no such fault: {unknown:?}; see starling-chaos list");
    let names: Vec<&str> = match (args.only.is_empty(), args.common.short) {
        (false, _) => args.only.iter().map(String::as_str).collect(),
        (true, true) => catalogue::SHORT_NAMES.to_vec(),
        (true, false) => catalogue::names().collect(),
    };
    let (plan, mut results) = (args.common.plan(args.jobs)?, args.common.results()?);
    let times = args.common.times();
    many::all(&plan, &mut results, &names, args.runs, times)?;
    say!("{}", results.table(times.seconds));
    let broken = results.reports.iter().filter(|report| !report.is_clean()).count();
    say!("{} runs, {broken} with a broken promise", results.reports.len());
    Ok(broken == 0)
}

fn run(args: &Run) -> anyhow::Result<bool> {
    tools::check()?;
    let scenario = Scenario::read(&args.file)?;
    let report = many::alone(&args.common.plan(1)?, &scenario)?;
    say!("{}", serde_json::to_string_pretty(&report)?);
    Ok(report.is_clean())
}

fn table(args: &Table) -> anyhow::Result<bool> {
    let (common, mut results) = (&args.common, args.common.results()?);
    if let Some(simulator) = &common.simulator {
        let (draws, start_ms) = (args.draws, args.start_ms);
        many::predict_all(&mut results.reports, simulator, common.times(), draws, start_ms)?;
    }
    say!("{}", results.table(common.times().seconds));
    Ok(true)
}

fn inside(file: &Path, program: &Path, dir: &Path, into: &Path) -> anyhow::Result<bool> {
    let report = one::one(&Scenario::read(file)?, program, dir)?;
    std::fs::write(into, serde_json::to_string(&report)?)?;
    Ok(true)
}
