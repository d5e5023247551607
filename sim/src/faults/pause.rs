//! Nodes stand still, as a stopped process or a frozen virtual machine does. What was sent to
//! them arrives when they go on.

use super::{Conditions, Fault, some_nodes};
use crate::random::Rng;
use rand::Rng as _;
use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pause {
    /// Which ones.
    pub nodes: Vec<usize>,
}

pub(super) fn draw(rng: &mut Rng, nodes: usize) -> Pause {
    let count = if rng.random_bool(0.8) { 1 } else { nodes.div_ceil(2) };
    Pause { nodes: some_nodes(rng, nodes, count) }
}

impl Fault for Pause {
    fn apply(&self, _since_ms: u64, conditions: &mut Conditions) {
        self.nodes.iter().for_each(|node| conditions.machines[*node].paused = true);
    }

    fn lasts_ms(&self, rng: &mut Rng) -> Option<u64> {
        Some(rng.random_range(1_000..120_000))
    }

    fn named(&self) -> Vec<usize> {
        self.nodes.clone()
    }
}
