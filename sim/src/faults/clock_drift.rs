//! A wall clock runs too fast or too slow, and jumps to the right time when the fault ends.

use super::{Conditions, Fault, some_nodes};
use crate::random::Rng;
use rand::Rng as _;
use serde::{Deserialize, Serialize};

/// The clock's error grows in steps of so long, ms.
const STEP_MS: u64 = 250;

/// See the module.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockDrift {
    /// Whose.
    pub node: usize,
    /// Of 1,000 ms, how many too many; negative for a slow clock.
    pub permille: i64,
}

pub(super) fn draw(rng: &mut Rng, nodes: usize) -> ClockDrift {
    let permille = [-500, -50, -5, 5, 50, 500][rng.random_range(0..6)];
    ClockDrift { node: some_nodes(rng, nodes, 1)[0], permille }
}

impl Fault for ClockDrift {
    fn apply(&self, since_ms: u64, conditions: &mut Conditions) {
        conditions.machines[self.node].skew_ms += since_ms as i64 * self.permille / 1_000;
    }

    fn changes(&self, lasts_ms: u64) -> Vec<u64> {
        super::every(STEP_MS, lasts_ms)
    }

    fn named(&self) -> Vec<usize> {
        vec![self.node]
    }
}
