//! Worker processes of a sweep: one runs a seed; with another build beside it, both run each seed
//! and are compared.

use super::{ANSWER, SAME_IN_BOTH};
use crate::checks::Violation;
use crate::verdict::{Params, Verdict};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc;

/// What only the process knows and no seed decides.
const OWN: &str = "cpu_us";

/// Runs the seeds that are claimed until there is none.
pub(super) fn work_off(
    params: &Params,
    other: Option<&Path>,
    claim: impl Fn() -> Option<u64>,
    send: &mpsc::Sender<Verdict>,
) -> io::Result<()> {
    let this = std::env::current_exe()?;
    let mut worker = Worker::start(&this, params)?;
    let mut other = other.map(|program| Worker::start(program, params)).transpose()?;
    while let Some(seed) = claim() {
        let params = Params { seed, ..params.clone() };
        let mut verdict = worker.run(&params)?;
        if let Some(other) = &mut other {
            let theirs = other.run(&params)?;
            let programs = [&*this, &*other.program];
            if let Some(found) = difference(&params, &verdict, &theirs, programs) {
                verdict.counts.insert(format!("broken {SAME_IN_BOTH}"), 1);
                verdict.violations.insert(0, found);
            }
        }
        if send.send(verdict).is_err() {
            break;
        }
    }
    other.map_or(Ok(()), Worker::end)?;
    worker.end()
}

/// What is not the same, unless all is: hash and length of the trace, what was counted, and what
/// the checks said.
fn difference(
    params: &Params,
    mine: &Verdict,
    theirs: &Verdict,
    programs: [&Path; 2],
) -> Option<Violation> {
    let decided = |verdict: &Verdict| {
        let mut verdict = verdict.clone();
        verdict.counts.remove(OWN);
        verdict
    };
    if decided(mine) == decided(theirs) {
        return None;
    }
    let told = |verdict: &Verdict| {
        let length = |of: &str| verdict.counts.get(of).copied().unwrap_or(0);
        let (lines, bytes) = (length("trace_lines"), length("trace_bytes"));
        let first = verdict.violations.first();
        let broke = first.map_or("nothing broken".into(), |one| format!("broke {}", one.check));
        format!("{} of {lines} lines, {bytes} bytes, {broke}", verdict.trace)
    };
    let (seed, shape) = (params.seed, params.shape().join(" "));
    let show = programs.map(|program| format!("{} replay {seed} {shape}", program.display()));
    let detail = format!(
        "trace {} and trace {}; to see both:\n    {}\n    {}",
        told(mine),
        told(theirs),
        show[0],
        show[1]
    );
    Some(Violation { check: SAME_IN_BOTH.into(), detail })
}

struct Worker {
    program: PathBuf,
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Worker {
    fn start(program: &Path, params: &Params) -> io::Result<Worker> {
        let mut command = Command::new(program);
        command.arg("worker").args(params.shape());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let named = |error: io::Error| {
            io::Error::new(error.kind(), format!("{}: {error}", program.display()))
        };
        let mut child = command.spawn().map_err(named)?;
        let input = child.stdin.take().expect("piped");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        Ok(Worker { program: program.into(), child, input, output })
    }

    /// What came out; when the worker dies over it, that, and a new worker takes its place.
    fn run(&mut self, params: &Params) -> io::Result<Verdict> {
        if let Some(verdict) = self.try_run(params.seed)? {
            return Ok(verdict);
        }
        let fresh = Worker::start(&self.program, params)?;
        let dead = std::mem::replace(self, fresh);
        Ok(Verdict::panicked(params, &dead.last_words()?))
    }

    /// `None` when the worker died over it.
    fn try_run(&mut self, seed: u64) -> io::Result<Option<Verdict>> {
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
