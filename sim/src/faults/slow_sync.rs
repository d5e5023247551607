//! Disks take longer to sync, so that more is unsynced when a crash comes.

use super::{Conditions, Fault, some_nodes};
use crate::random::Rng;
use rand::Rng as _;
use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlowSync {
    /// Whose.
    pub nodes: Vec<usize>,
    /// Added to each sync at most, ms.
    pub up_to_ms: u64,
}

pub(super) fn draw(rng: &mut Rng, nodes: usize) -> SlowSync {
    let count = rng.random_range(1..=nodes);
    let up_to_ms = [10, 100, 1_000][rng.random_range(0..3)];
    SlowSync { nodes: some_nodes(rng, nodes, count), up_to_ms }
}

impl Fault for SlowSync {
    fn apply(&self, _since_ms: u64, conditions: &mut Conditions) {
        for node in &self.nodes {
            conditions.machines[*node].sync_us += self.up_to_ms * 1_000;
        }
    }

    fn named(&self) -> Vec<usize> {
        self.nodes.clone()
    }
}
