//! Nodes are cut off one after another and heard again in another order (FoundationDB's
//! "swizzle-clogging", Zhou et al., SIGMOD 2021, section 4).

use super::{Conditions, Fault, some_nodes};
use crate::random::Rng;
use rand::Rng as _;
use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwizzleClog {
    /// In the order in which they are cut off.
    pub clog: Vec<usize>,
    /// The same nodes in the order in which they are heard again.
    pub unclog: Vec<usize>,
    /// Between two of these events, ms, at least 1.
    pub step_ms: u64,
}

pub(super) fn draw(rng: &mut Rng, nodes: usize) -> SwizzleClog {
    let count = rng.random_range(2..=nodes.max(2));
    let clog = some_nodes(rng, nodes, count);
    let order = some_nodes(rng, clog.len(), clog.len());
    let unclog = order.into_iter().map(|place| clog[place]).collect();
    SwizzleClog { clog, unclog, step_ms: rng.random_range(100..2_000) }
}

impl Fault for SwizzleClog {
    fn apply(&self, since_ms: u64, conditions: &mut Conditions) {
        let steps = (since_ms / self.step_ms.max(1)) as usize;
        let (clogged, steps_after) = match steps < self.clog.len() {
            true => (&self.clog[..=steps], 0),
            false => (&self.clog[..], steps + 1 - self.clog.len()),
        };
        let free = &self.unclog[..steps_after.min(self.unclog.len())];
        let cut = |node: usize| clogged.contains(&node) && !free.contains(&node);
        conditions.cut_between(|from, to| from != to && (cut(from) || cut(to)));
    }

    fn changes(&self, lasts_ms: u64) -> Vec<u64> {
        super::every(self.step_ms, lasts_ms)
    }

    fn named(&self) -> Vec<usize> {
        self.clog.clone()
    }
}
