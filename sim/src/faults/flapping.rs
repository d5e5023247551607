//! Nodes are cut off and heard again, over and over.

use super::{Conditions, Fault, some_nodes};
use crate::random::Rng;
use rand::Rng as _;
use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flapping {
    /// One side of the flapping links; the others are the other one.
    pub nodes: Vec<usize>,
    /// How long each state lasts, ms, at least 1.
    pub period_ms: u64,
}

pub(super) fn draw(rng: &mut Rng, nodes: usize) -> Flapping {
    let count = rng.random_range(1..=(nodes / 2).max(1));
    Flapping { nodes: some_nodes(rng, nodes, count), period_ms: rng.random_range(200..5_000) }
}

impl Fault for Flapping {
    fn apply(&self, since_ms: u64, conditions: &mut Conditions) {
        if (since_ms / self.period_ms.max(1)).is_multiple_of(2) {
            let one = |node: usize| self.nodes.contains(&node);
            conditions.cut_between(|from, to| one(from) != one(to));
        }
    }

    fn changes(&self, lasts_ms: u64) -> Vec<u64> {
        super::every(self.period_ms, lasts_ms)
    }

    fn named(&self) -> Vec<usize> {
        self.nodes.clone()
    }
}
