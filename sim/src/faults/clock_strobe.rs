//! A wall clock jumps to and fro.

use super::{Conditions, Fault, some_nodes};
use crate::random::Rng;
use rand::Rng as _;
use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockStrobe {
    /// Whose.
    pub node: usize,
    /// How far, ms.
    pub by_ms: i64,
    /// How long it shows each of the two times, ms, at least 1.
    pub period_ms: u64,
}

pub(super) fn draw(rng: &mut Rng, nodes: usize) -> ClockStrobe {
    let by_ms = [-20_000, -200, 200, 20_000][rng.random_range(0..4)];
    let period_ms = rng.random_range(50..2_000);
    ClockStrobe { node: some_nodes(rng, nodes, 1)[0], by_ms, period_ms }
}

impl Fault for ClockStrobe {
    fn apply(&self, since_ms: u64, conditions: &mut Conditions) {
        if (since_ms / self.period_ms.max(1)).is_multiple_of(2) {
            conditions.machines[self.node].skew_ms += self.by_ms;
        }
    }

    fn changes(&self, lasts_ms: u64) -> Vec<u64> {
        super::every(self.period_ms, lasts_ms)
    }

    fn named(&self) -> Vec<usize> {
        vec![self.node]
    }
}
