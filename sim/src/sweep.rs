//! Many seeds on all cores: worker processes run one seed after the other, each on a thread of
//! its own, so that a crash of one costs nothing but its own seed.

use crate::verdict::{Params, Verdict, run_alone};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::ops::Range;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

/// Failing runs kept of a sweep; all are counted.
const KEPT_MAX: usize = 20;
/// Between lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// What came out of a sweep.
#[derive(Debug, Default, Serialize)]
pub struct Summary {
    /// Runs done.
    pub runs: u64,
    /// Runs in which a promise was broken.
    pub failed: u64,
    /// Virtual seconds of all runs.
    pub virtual_seconds: u64,
    /// Wall seconds of the sweep.
    pub wall_seconds: f64,
    /// Virtual cluster-seconds simulated per wall second.
    pub virtual_per_wall: f64,
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

    fn finish(&mut self, first_seed: u64, wall: Duration) {
        self.wall_seconds = wall.as_secs_f64();
        let virtual_us = self.counts.get("virtual_us").copied().unwrap_or(0);
        self.virtual_seconds = virtual_us / 1_000_000;
        self.virtual_per_wall = virtual_us as f64 / 1e6 / self.wall_seconds.max(1e-9);
        self.seeds_to_find = self.failures.first().map(|found| found.seed - first_seed + 1);
    }
}

/// Runs all `seeds` with `jobs` workers; with `until_found` no more are begun after a failure.
///
/// # Errors
/// This program could not be started as a worker.
pub fn sweep(
    params: &Params,
    seeds: Range<u64>,
    jobs: usize,
    until_found: bool,
) -> io::Result<Summary> {
    let next = AtomicU64::new(seeds.start);
    let stop = AtomicBool::new(false);
    let failed: Mutex<Option<io::Error>> = Mutex::new(None);
    let (send, receive) = mpsc::channel::<Verdict>();
    let begun = Instant::now();
    let mut summary = Summary::default();
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            let send = send.clone();
            let (next, stop, failed, end) = (&next, &stop, &failed, seeds.end);
            scope.spawn(move || {
                let claim = || {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    (seed < end && !stop.load(Ordering::Relaxed)).then_some(seed)
                };
                if let Err(error) = work_off(params, claim, &send) {
                    stop.store(true, Ordering::Relaxed);
                    *failed.lock().expect("not poisoned") = Some(error);
                }
            });
        }
        drop(send);
        let progress = Progress::new(seeds.end.saturating_sub(seeds.start));
        for verdict in receive {
            if until_found && !verdict.is_clean() {
                stop.store(true, Ordering::Relaxed);
            }
            summary.add(verdict);
            progress.show(&summary, begun.elapsed());
        }
        progress.end();
    });
    if let Some(error) = failed.into_inner().expect("not poisoned") {
        return Err(error);
    }
    summary.finish(seeds.start, begun.elapsed());
    Ok(summary)
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
        let verdict = run_alone(&Params { seed, ..params.clone() }, None);
        let json = serde_json::to_string(&verdict)?;
        let mut out = io::stdout().lock();
        writeln!(out, "{ANSWER}{json}")?;
        out.flush()?;
    }
    Ok(())
}

struct Worker {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Worker {
    fn start(params: &Params) -> io::Result<Worker> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("worker").args(params.shape());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let input = child.stdin.take().expect("piped");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        Ok(Worker { child, input, output })
    }

    /// `None` when the worker died over it.
    fn run(&mut self, seed: u64) -> io::Result<Option<Verdict>> {
        let mut line = String::new();
        if writeln!(self.input, "{seed}").is_err() || self.output.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let json = line.strip_prefix(ANSWER).ok_or_else(|| io::Error::other("no verdict"))?;
        serde_json::from_str(json).map(Some).map_err(io::Error::other)
    }

    /// What it said before it died.
    fn last_words(mut self) -> io::Result<String> {
        drop(self.input);
        let mut said = String::new();
        self.child.stderr.take().expect("piped").read_to_string(&mut said)?;
        let status = self.child.wait()?;
        Ok(format!("{status}: {}", said.trim()))
    }

    fn end(mut self) -> io::Result<()> {
        drop(self.input);
        self.child.wait().map(drop)
    }
}

fn work_off(
    params: &Params,
    claim: impl Fn() -> Option<u64>,
    send: &mpsc::Sender<Verdict>,
) -> io::Result<()> {
    let mut worker = Worker::start(params)?;
    while let Some(seed) = claim() {
        let verdict = match worker.run(seed)? {
            Some(verdict) => verdict,
            None => {
                let dead = std::mem::replace(&mut worker, Worker::start(params)?);
                Verdict::panicked(&Params { seed, ..params.clone() }, &dead.last_words()?)
            }
        };
        if send.send(verdict).is_err() {
            break;
        }
    }
    worker.end()
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
