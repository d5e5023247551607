//! What a sweep has done so far, kept in a file so that it can be stopped and resumed.

use super::{Plan, Summary};
use crate::verdict::{Params, Verdict};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use xxhash_rust::xxh3::xxh3_64;

/// Between two writes of the file.
const SAVE_EVERY: Duration = Duration::from_secs(2);

/// The file's content.
#[derive(Default, Serialize, Deserialize)]
struct Kept {
    /// Arguments that all runs have in common, to notice another sweep's file.
    shape: Vec<String>,
    /// All seeds from the first one up to here are done.
    done_below: u64,
    /// Seeds done beyond that.
    done: BTreeSet<u64>,
    /// What came out of them.
    summary: Summary,
}

/// Arguments that all runs have in common. Of another build its content counts, and this one's: a
/// comparison must not go on with a program that was built anew.
fn shape(params: &Params, plan: &Plan) -> io::Result<Vec<String>> {
    let mut shape = params.shape();
    if let Some(other) = &plan.other {
        let hash = |path: &Path| fs::read(path).map(|bytes| format!("{:016x}", xxh3_64(&bytes)));
        shape.push(format!("{} with {}", hash(&std::env::current_exe()?)?, hash(other)?));
    }
    Ok(shape)
}

/// A sweep under way.
pub(super) struct State {
    pub(super) summary: Summary,
    shape: Vec<String>,
    done_below: u64,
    done: BTreeSet<u64>,
    path: Option<PathBuf>,
    saved: Instant,
}

impl State {
    pub(super) fn load(params: &Params, plan: &Plan) -> io::Result<State> {
        let shape = shape(params, plan)?;
        let text = plan.state.as_ref().filter(|path| path.exists()).map(fs::read_to_string);
        let kept: Kept = match text {
            Some(text) => serde_json::from_str(&text?)?,
            None => Kept { done_below: plan.seeds.start, shape: shape.clone(), ..Kept::default() },
        };
        if kept.shape != shape {
            let (theirs, mine) = (kept.shape.join(" "), shape.join(" "));
            let why = format!("the state is of a sweep with {theirs}, this one has {mine}");
            return Err(io::Error::other(why));
        }
        let Kept { done_below, done, summary, .. } = kept;
        let (path, saved) = (plan.state.clone(), Instant::now());
        Ok(State { summary, shape, done_below, done, path, saved })
    }

    /// The seeds that are not done, in order.
    pub(super) fn left(&self, seeds: &Range<u64>) -> impl Iterator<Item = u64> + use<> {
        let (done_below, done) = (self.done_below, self.done.clone());
        (seeds.start.max(done_below)..seeds.end).filter(move |seed| !done.contains(seed))
    }

    pub(super) fn add(&mut self, verdict: Verdict) {
        self.done.insert(verdict.seed);
        while self.done.remove(&self.done_below) {
            self.done_below += 1;
        }
        self.summary.add(verdict);
    }

    pub(super) fn save_now_and_then(&mut self) -> io::Result<()> {
        match self.saved.elapsed() >= SAVE_EVERY {
            true => self.save(),
            false => Ok(()),
        }
    }

    pub(super) fn save(&mut self) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let kept = Kept {
            shape: self.shape.clone(),
            done_below: self.done_below,
            done: self.done.clone(),
            summary: self.summary.clone(),
        };
        // Another name first: a stop in the middle of a write must not lose what was done.
        let fresh = path.with_extension("new");
        fs::write(&fresh, serde_json::to_vec(&kept)?)?;
        fs::rename(&fresh, path)?;
        self.saved = Instant::now();
        Ok(())
    }
}
