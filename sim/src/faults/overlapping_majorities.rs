//! Each node hears a majority, and no two hear the same one (the "majorities ring" of Jepsen).

use super::{Conditions, Fault, some_nodes};
use crate::random::Rng;
use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverlappingMajorities {
    /// All nodes in the order of the ring; each hears those nearest to it.
    pub ring: Vec<usize>,
}

pub(super) fn draw(rng: &mut Rng, nodes: usize) -> OverlappingMajorities {
    OverlappingMajorities { ring: some_nodes(rng, nodes, nodes) }
}

impl Fault for OverlappingMajorities {
    fn apply(&self, _since_ms: u64, conditions: &mut Conditions) {
        let nodes = self.ring.len();
        let place = |node: usize| self.ring.iter().position(|at| *at == node);
        // A majority is the node itself and half of the others, rounded up, on its two sides.
        let reach = (nodes / 2).div_ceil(2);
        conditions.cut_between(|from, to| match (place(from), place(to)) {
            (Some(a), Some(b)) => a.abs_diff(b).min(nodes - a.abs_diff(b)) > reach,
            _ => false,
        });
    }

    fn named(&self) -> Vec<usize> {
        self.ring.clone()
    }
}
