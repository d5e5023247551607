//! One node is cut off from all others, in both directions.

use super::{Conditions, Fault, some_nodes};
use crate::random::Rng;
use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IsolateOne {
    /// Which one.
    pub node: usize,
}

pub(super) fn draw(rng: &mut Rng, nodes: usize) -> IsolateOne {
    IsolateOne { node: some_nodes(rng, nodes, 1)[0] }
}

impl Fault for IsolateOne {
    fn apply(&self, _since_ms: u64, conditions: &mut Conditions) {
        conditions.cut_between(|from, to| (from == self.node) != (to == self.node));
    }

    fn named(&self) -> Vec<usize> {
        vec![self.node]
    }
}
