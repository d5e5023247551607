//! The cluster falls into two halves that do not hear each other.

use super::{Conditions, Fault, some_nodes};
use crate::random::Rng;
use rand::Rng as _;
use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Halves {
    /// The nodes of one half; the others are the other half.
    pub nodes: Vec<usize>,
}

pub(super) fn draw(rng: &mut Rng, nodes: usize) -> Halves {
    let half = nodes / 2 + usize::from(nodes % 2 == 1 && rng.random_bool(0.5));
    Halves { nodes: some_nodes(rng, nodes, half) }
}

impl Fault for Halves {
    fn apply(&self, _since_ms: u64, conditions: &mut Conditions) {
        conditions.cut_between(|from, to| self.nodes.contains(&from) != self.nodes.contains(&to));
    }

    fn named(&self) -> Vec<usize> {
        self.nodes.clone()
    }
}
