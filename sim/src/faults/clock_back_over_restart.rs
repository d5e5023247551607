//! A node's wall clock is ahead; it crashes, and when it starts again the clock is back.

use super::{Conditions, Fault, Stop, some_nodes};
use crate::random::Rng;
use rand::Rng as _;
use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockBackOverRestart {
    /// Whose.
    pub node: usize,
    /// How far ahead it is before, ms.
    pub by_ms: i64,
    /// From the fault's beginning to the crash, ms, at least 1; the node is down for the rest.
    pub ahead_for_ms: u64,
}

pub(super) fn draw(rng: &mut Rng, nodes: usize) -> ClockBackOverRestart {
    let by_ms = [1_000, 60_000, 3_600_000][rng.random_range(0..3)];
    let ahead_for_ms = rng.random_range(500..10_000);
    ClockBackOverRestart { node: some_nodes(rng, nodes, 1)[0], by_ms, ahead_for_ms }
}

impl Fault for ClockBackOverRestart {
    fn apply(&self, since_ms: u64, conditions: &mut Conditions) {
        let machine = &mut conditions.machines[self.node];
        match since_ms < self.ahead_for_ms {
            true => machine.skew_ms += self.by_ms,
            false => machine.take_down(Stop::Crash),
        }
    }

    fn changes(&self, lasts_ms: u64) -> Vec<u64> {
        super::every(self.ahead_for_ms, lasts_ms.min(self.ahead_for_ms + 1))
    }

    fn named(&self) -> Vec<usize> {
        vec![self.node]
    }
}
