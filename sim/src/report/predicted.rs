//! How stale reads would be if nothing broke, by the model of [`crate::pbs`] for the same cluster,
//! latencies and quorums: for each read and each age, the chance that it misses the youngest
//! write that is at least so old (Bailis et al., "Probabilistically Bounded Staleness", VLDB 2012).

use super::staleness::Judged;
use crate::history::Record;
use crate::pbs::shape::Shape;
use crate::pbs::{Draws, predict};
use starling_node::config::Quorum;
use starling_node::wire::api::Options;
use std::collections::BTreeMap;

/// Trials of the model for each R and W.
const TRIALS: u64 = 20_000;
/// Ages in each power of ten.
const STEPS: i32 = 12;

/// A cluster as the model takes it, and what its bucket asks for.
pub struct Model {
    /// Nodes, latencies and placement; its R and W are not looked at.
    pub shape: Shape,
    /// Replicas that answer a read that says nothing.
    pub r: Quorum,
    /// Replicas that acknowledge a write that says nothing.
    pub w: Quorum,
    /// Everything drawn follows from it.
    pub seed: u64,
}

/// From when on a read returns a write, µs after its acknowledgement: a sample for each R and W,
/// in ascending order.
type Visible = BTreeMap<(usize, usize), Vec<u64>>;

impl Model {
    fn quorums(&self, read: &Options, write: &Options) -> (usize, usize) {
        let n = self.shape.n;
        (read.r.unwrap_or(self.r).of(n), write.w.unwrap_or(self.w).of(n))
    }

    fn visible(&self, (r, w): (usize, usize)) -> Vec<u64> {
        let shape = Shape { r, w, ..self.shape.clone() };
        let trial = |trial| predict(&shape, &Draws::new(self.seed, trial)).visible_us;
        let mut visible: Vec<u64> = (0..TRIALS).map(trial).collect();
        visible.sort_unstable();
        visible
    }

    /// For ages up to `upto_ms`, the share of these reads that would be older, in per cent.
    pub fn older(&self, reads: &[Judged<'_>], upto_ms: f64) -> Vec<(f64, f64)> {
        let mut visible = Visible::new();
        for read in reads {
            for write in &read.before {
                let both = self.quorums(&read.record.intent.options, &write.intent.options);
                visible.entry(both).or_insert_with(|| self.visible(both));
            }
        }
        let steps = 0..=(upto_ms.max(1.0).log10().ceil() as i32 + 1) * STEPS;
        let ages = steps.map(|step| 10f64.powf(f64::from(step) / f64::from(STEPS) - 1.0));
        let share = |age_ms: f64| {
            let missed: f64 = reads.iter().map(|read| self.missed(read, age_ms, &visible)).sum();
            (age_ms, 100.0 * missed / reads.len().max(1) as f64)
        };
        ages.map(share).collect()
    }

    /// The chance that the read misses a write of that age or older, if who sees the youngest of
    /// them sees all; so a little too low where writes come thick.
    fn missed(&self, read: &Judged<'_>, age_ms: f64, visible: &Visible) -> f64 {
        let Some(latest_us) = read.record.invoked_us.checked_sub((age_ms * 1e3) as u64) else {
            return 0.0;
        };
        let old = read.before.partition_point(|write| write.done_us <= latest_us);
        let Some(write) = read.before[..old].last() else { return 0.0 };
        // What a node has applied it shows.
        if write.node == read.record.node {
            return 0.0;
        }
        let both = self.quorums(&read.record.intent.options, &write.intent.options);
        visible.get(&both).map_or(0.0, |visible| beyond(visible, read.record, write))
    }
}

/// The share of the sample that is later than the read.
fn beyond(visible: &[u64], read: &Record, write: &Record) -> f64 {
    let gap_us = read.invoked_us - write.done_us;
    let seen = visible.partition_point(|visible_us| *visible_us <= gap_us);
    (visible.len() - seen) as f64 / visible.len().max(1) as f64
}
