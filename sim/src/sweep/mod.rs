//! Many seeds on all cores: worker processes run one seed after the other, each on a thread of
//! its own, so that a crash of one costs nothing but its own seed.

mod state;
mod workers;

use crate::verdict::{Params, Verdict, run_alone};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::{Deserialize, Serialize};
use state::State;
use std::collections::BTreeMap;
use std::io::{self, BufRead, IsTerminal, Write};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};
use workers::work_off;

/// Failing runs kept of a sweep; all are counted.
const KEPT_MAX: usize = 20;
/// Between lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// What came out of a sweep.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Summary {
    /// Runs done.
    pub runs: u64,
    /// Runs in which a promise was broken.
    pub failed: u64,
    /// Virtual seconds of all runs.
    pub virtual_seconds: u64,
    /// Wall seconds of the sweep, without the time it was stopped.
    pub wall_seconds: f64,
    /// Processor seconds of all runs.
    pub cpu_seconds: f64,
    /// Virtual cluster-seconds simulated per wall second.
    pub virtual_per_wall: f64,
    /// Virtual cluster-seconds simulated per second of one processor.
    pub virtual_per_cpu: f64,
    /// How many runs it took until a promise was broken, in the order of seeds.
    pub seeds_to_find: Option<u64>,
    /// Over all runs, how often what happened.
    pub counts: BTreeMap<String, u64>,
    /// The failing runs with the lowest seeds.
    pub failures: Vec<Verdict>,
}

impl Summary {
    fn add(&mut self, verdict: Verdict) {
        self.runs += 1;
        for (name, count) in &verdict.counts {
            *self.counts.entry(name.clone()).or_default() += count;
        }
        if !verdict.is_clean() {
            self.failed += 1;
            let at = self.failures.partition_point(|kept| kept.seed < verdict.seed);
            self.failures.insert(at, verdict);
            self.failures.truncate(KEPT_MAX);
        }
    }

    fn finish(&mut self, first_seed: u64) {
        let cpu_us = self.counts.get("cpu_us").copied().unwrap_or(0);
        self.cpu_seconds = cpu_us as f64 / 1e6;
        let virtual_us = self.counts.get("virtual_us").copied().unwrap_or(0);
        self.virtual_seconds = virtual_us / 1_000_000;
        self.virtual_per_wall = virtual_us as f64 / 1e6 / self.wall_seconds.max(1e-9);
        self.virtual_per_cpu = virtual_us as f64 / 1e6 / self.cpu_seconds.max(1e-9);
        self.seeds_to_find = self.failures.first().map(|found| found.seed - first_seed + 1);
    }
}

/// How a sweep is carried out.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The seeds, without the last one.
    pub seeds: Range<u64>,
    /// Workers.
    pub jobs: usize,
    /// Whether to begin no more runs after a failure.
    pub until_found: bool,
    /// A file that remembers what was done, so that a sweep that was stopped goes on from there.
    pub state: Option<PathBuf>,
    /// Another build of this program that runs each seed too; where what comes out of it is not
    /// the same to the last bit, that is a broken promise of [`SAME_IN_BOTH`].
    pub other: Option<PathBuf>,
}

/// "The same seed gives the same run", whichever build runs it.
pub const SAME_IN_BOTH: &str = "same_in_both_builds";

/// Runs all seeds of the plan that were not run before.
///
/// # Errors
/// This program could not be started as a worker, or the state could not be read or written, or
/// is of another sweep.
pub fn sweep(params: &Params, plan: &Plan) -> io::Result<Summary> {
    let mut state = State::load(params, plan)?;
    let todo = Mutex::new(state.left(&plan.seeds));
    let stop = AtomicBool::new(plan.until_found && state.summary.failed > 0);
    let failed: Mutex<Option<io::Error>> = Mutex::new(None);
    let (send, receive) = mpsc::channel::<Verdict>();
    std::thread::scope(|scope| {
        for _ in 0..plan.jobs.max(1) {
            let send = send.clone();
            let (todo, stop, failed) = (&todo, &stop, &failed);
            scope.spawn(move || {
                let claim = || {
                    let next = todo.lock().expect("not poisoned").next();
                    next.filter(|_| !stop.load(Ordering::Relaxed))
                };
                if let Err(error) = work_off(params, plan.other.as_deref(), claim, &send) {
                    stop.store(true, Ordering::Relaxed);
                    *failed.lock().expect("not poisoned") = Some(error);
                }
            });
        }
        drop(send);
        let (before, begun) = (state.summary.wall_seconds, Instant::now());
        let progress = Progress::new(plan.seeds.end.saturating_sub(plan.seeds.start));
        for verdict in receive {
            if plan.until_found && !verdict.is_clean() {
                stop.store(true, Ordering::Relaxed);
            }
            state.add(verdict);
            state.summary.wall_seconds = before + begun.elapsed().as_secs_f64();
            progress.show(&state.summary, begun.elapsed());
            if let Err(error) = state.save_now_and_then() {
                stop.store(true, Ordering::Relaxed);
                *failed.lock().expect("not poisoned") = Some(error);
            }
        }
        progress.end();
    });
    if let Some(error) = failed.into_inner().expect("not poisoned") {
        return Err(error);
    }
    state.save()?;
    state.summary.finish(plan.seeds.start);
    Ok(state.summary)
}

/// One line of a worker's output.
const ANSWER: &str = "verdict ";

/// The worker's side: runs seeds from standard input until it ends, one verdict a line.
///
/// # Errors
/// The pipes broke.
pub fn worker(params: &Params) -> io::Result<()> {
    for line in io::stdin().lock().lines() {
        let seed = line?.trim().parse().map_err(io::Error::other)?;
        let before_us = cpu_us();
        let mut verdict = run_alone(&Params { seed, ..params.clone() }, None);
        verdict.counts.insert("cpu_us".into(), cpu_us() - before_us);
        let json = serde_json::to_string(&verdict)?;
        let mut out = io::stdout().lock();
        writeln!(out, "{ANSWER}{json}")?;
        out.flush()?;
    }
    Ok(())
}

/// Time that all processors together have given to this process, microseconds.
fn cpu_us() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1_000
}

struct Progress {
    bar: ProgressBar,
    terminal: bool,
    shown: Mutex<Instant>,
}

impl Progress {
    fn new(runs: u64) -> Self {
        let terminal = io::stderr().is_terminal();
        let target =
            if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(runs), target);
        let template = "{bar:30} {pos}/{len} seeds, {msg}, {elapsed} gone, {eta} to go";
        bar.set_style(ProgressStyle::with_template(template).expect("a valid template"));
        Progress { bar, terminal, shown: Mutex::new(Instant::now()) }
    }

    fn show(&self, summary: &Summary, elapsed: Duration) {
        self.bar.set_position(summary.runs);
        self.bar.set_message(format!("{} failed", summary.failed));
        let mut shown = self.shown.lock().expect("not poisoned");
        if !self.terminal && shown.elapsed() >= LINE_EVERY {
            *shown = Instant::now();
            let (runs, failed, of) = (summary.runs, summary.failed, self.bar.length());
            let seconds = elapsed.as_secs();
            eprintln!("{runs} of {} seeds, {failed} failed, {seconds} s", of.unwrap_or(0));
        }
    }

    fn end(&self) {
        self.bar.finish_and_clear();
    }
}
