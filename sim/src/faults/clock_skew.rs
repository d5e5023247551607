//! Wall clocks jump by up to a minute, forward or back, and back again when the fault ends.

use super::{Conditions, Fault, some_nodes};
use crate::random::Rng;
use rand::Rng as _;
use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockSkew {
    /// Whose.
    pub nodes: Vec<usize>,
    /// How far, ms.
    pub by_ms: i64,
}

pub(super) fn draw(rng: &mut Rng, nodes: usize) -> ClockSkew {
    let count = rng.random_range(1..=nodes);
    let by_ms = rng.random_range(-60_000..=60_000);
    ClockSkew { nodes: some_nodes(rng, nodes, count), by_ms }
}

impl Fault for ClockSkew {
    fn apply(&self, _since_ms: u64, conditions: &mut Conditions) {
        self.nodes.iter().for_each(|node| conditions.machines[*node].skew_ms += self.by_ms);
    }

    fn named(&self) -> Vec<usize> {
        self.nodes.clone()
    }
}
