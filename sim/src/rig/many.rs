//! Many runs, some at a time, each in namespaces of its own: what has a result is not run again.

use crate::catalogue::{self, Times};
use crate::figures::Figures;
use crate::one::Report;
use crate::predict::predict;
use crate::results::Results;
use crate::scenario::Scenario;
use crate::tools::isolated;
use anyhow::{Context, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::VecDeque;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Between the seeds of one run's predictions: there are fewer runs of a fault.
const DRAWS_APART: u64 = 1_000_000;

/// What all runs share.
pub struct Plan {
    /// The program `starling`.
    pub program: PathBuf,
    /// The program `starling-sim`, for predictions.
    pub simulator: Option<PathBuf>,
    /// For files of runs and results.
    pub out: PathBuf,
    /// Runs at a time.
    pub jobs: usize,
}

/// Runs what has no result yet; whether every run, also an earlier one, was clean.
///
/// # Errors
/// The rig itself failed; runs that came before are kept.
pub fn all(
    plan: &Plan,
    results: &mut Results,
    names: &[&str],
    runs: u64,
    times: Times,
) -> anyhow::Result<()> {
    let mut queue = VecDeque::new();
    for run in 0..runs {
        for name in names.iter().filter(|name| !results.has(name, run, times.seconds)) {
            queue.push_back(catalogue::scenario(name, run, times).context("no such fault")?);
        }
    }
    let bar = ProgressBar::new(queue.len() as u64).with_style(ProgressStyle::with_template(
        "{bar:30} {pos}/{len} runs, {elapsed} gone, {eta} to go  {msg}",
    )?);
    bar.enable_steady_tick(Duration::from_secs(1));
    let (queue, results) = (Mutex::new(queue), Mutex::new(results));
    let failed: Mutex<Option<anyhow::Error>> = Mutex::new(None);
    let work = |place: usize| {
        std::thread::sleep(Duration::from_secs(2 * place as u64));
        while failed.lock().expect("nobody panics with it").is_none() {
            let next = queue.lock().expect("nobody panics with it").pop_front();
            let Some(scenario) = next else { return };
            let done = alone(plan, &scenario).and_then(|report| {
                say(&bar, &report);
                results.lock().expect("nobody panics with it").add(report)
            });
            bar.inc(1);
            if let Err(error) = done {
                let error = error.context(format!("{} {}", scenario.name, scenario.seed));
                *failed.lock().expect("nobody panics with it") = Some(error);
            }
        }
    };
    std::thread::scope(|scope| {
        for place in 0..plan.jobs {
            let work = &work;
            scope.spawn(move || work(place));
        }
    });
    bar.finish_and_clear();
    failed.into_inner().expect("nobody panics with it").map_or(Ok(()), Err)
}

/// Asks the simulator anew about runs of the list that were done, each from so many seeds; the
/// file of results stays as it is. A process starts again as fast as it did in the run, unless
/// `start_ms` says otherwise, and a look at the cluster takes as long.
///
/// # Errors
/// The simulator fails.
pub fn predict_all(
    reports: &mut [Report],
    simulator: &Path,
    times: Times,
    seeds: u64,
    start_ms: Option<u64>,
) -> anyhow::Result<()> {
    let queue = Mutex::new(reports.iter_mut().filter(|report| report.seconds == times.seconds));
    let next = || queue.lock().expect("nobody panics with it").next();
    let work = || {
        while let Some(report) = next() {
            let scenario = catalogue::scenario(&report.name, report.seed, times);
            let Some(scenario) = scenario else { continue };
            let mut scenario = as_measured(scenario, &report.figures);
            scenario.cluster.start_ms = start_ms.unwrap_or(scenario.cluster.start_ms);
            report.predictions.clear();
            for draw in 0..seeds {
                scenario.seed = report.seed + draw * DRAWS_APART;
                report.predictions.push(predict(simulator, &scenario)?);
            }
        }
        anyhow::Ok(())
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        let ends = workers.into_iter().map(|worker| worker.join().expect("nobody panics with it"));
        ends.collect()
    })
}

/// The scenario with what is not predicted as it was in a run of it: how long a process needed to
/// start again, and how long a look at the cluster took.
fn as_measured(mut scenario: Scenario, figures: &Figures) -> Scenario {
    let cluster = &mut scenario.cluster;
    cluster.start_ms = figures.start_ms.unwrap_or(cluster.start_ms);
    cluster.look_ms = figures.look_ms.unwrap_or(cluster.look_ms);
    scenario
}

fn say(bar: &ProgressBar, report: &Report) {
    let figures = &report.figures;
    let share = figures.availability.map_or("-".into(), |share| format!("{:.2} %", share * 100.0));
    let took = figures.recovery_s.map_or("never".into(), |took| format!("{took:.1} s"));
    let word = if report.is_clean() { "kept its promises" } else { "BROKE A PROMISE" };
    let mut lines = format!(
        "{} {}: {word}; {} operations, {share} available, recovered in {took}",
        report.name, report.seed, figures.operations
    );
    for wrong in report.wrong.iter().chain(&report.findings.violations) {
        lines += &format!("\n    {}", wrong.chars().take(600).collect::<String>());
    }
    match bar.is_hidden() {
        true => eprintln!("{lines}"),
        false => bar.println(lines),
    }
}

/// One run in namespaces of its own, which take everything with them when it ends.
///
/// # Errors
/// The rig failed, and where its log is.
pub fn alone(plan: &Plan, scenario: &Scenario) -> anyhow::Result<Report> {
    let dir = plan.out.join(format!("{}-{}-{}s", scenario.name, scenario.seed, scenario.seconds));
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    fs::create_dir_all(&dir)?;
    let (file, report) = (dir.join("scenario.toml"), dir.join("report.json"));
    fs::write(&file, toml::to_string(scenario)?)?;
    let log = dir.join("log");
    let begun = Instant::now();
    let status = isolated()
        .arg(std::env::current_exe()?)
        .arg("inside")
        .args([&file, &plan.program, &dir, &report])
        .stdin(Stdio::null())
        .stdout(File::create(&log)?)
        .stderr(File::options().append(true).open(&log)?)
        .status()
        .context("unshare")?;
    let said = fs::read_to_string(&log)?;
    let tail = said.lines().rev().take(8).collect::<Vec<_>>().into_iter().rev();
    let tail = tail.collect::<Vec<_>>().join("\n");
    ensure!(
        status.success(),
        "after {:?}: {tail}\nthe whole log: {}",
        begun.elapsed(),
        log.display()
    );
    let mut report: Report = serde_json::from_str(&fs::read_to_string(&report)?)?;
    if let Some(simulator) = &plan.simulator {
        let scenario = as_measured(scenario.clone(), &report.figures);
        let predicted = predict(simulator, &scenario).context("the simulator's prediction")?;
        report.predictions = vec![predicted];
    }
    tidy(&dir, report.is_clean())?;
    Ok(report)
}

/// Data goes; of a run that was not clean the logs of its nodes stay.
fn tidy(dir: &Path, is_clean: bool) -> anyhow::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let kept = ["log", "scenario.toml", "report.json"].contains(&name.as_str());
        if path.is_dir() {
            fs::remove_dir_all(path)?;
        } else if is_clean && !kept {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}
