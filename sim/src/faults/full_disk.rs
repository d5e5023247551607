//! Disks are full: every write fails and changes nothing.

use super::{Conditions, Fault, some_nodes};
use crate::random::Rng;
use rand::Rng as _;
use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FullDisk {
    /// Whose.
    pub nodes: Vec<usize>,
}

pub(super) fn draw(rng: &mut Rng, nodes: usize) -> FullDisk {
    let count = match rng.random_range(0..10) {
        0 => nodes,
        1..3 => nodes.div_ceil(2),
        _ => 1,
    };
    FullDisk { nodes: some_nodes(rng, nodes, count) }
}

impl Fault for FullDisk {
    fn apply(&self, _since_ms: u64, conditions: &mut Conditions) {
        self.nodes.iter().for_each(|node| conditions.machines[*node].full = true);
    }

    fn named(&self) -> Vec<usize> {
        self.nodes.clone()
    }
}
