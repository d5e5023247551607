//! Two sides that do not hear each other, and one node between them that hears both.

use super::{Conditions, Fault, some_nodes};
use crate::random::Rng;
use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bridge {
    /// The node that hears all.
    pub node: usize,
    /// One side; the others are the other one.
    pub side: Vec<usize>,
}

pub(super) fn draw(rng: &mut Rng, nodes: usize) -> Bridge {
    let mut side = some_nodes(rng, nodes, nodes / 2 + 1);
    let node = side.pop().unwrap_or(0);
    Bridge { node, side }
}

impl Fault for Bridge {
    fn apply(&self, _since_ms: u64, conditions: &mut Conditions) {
        let across = |from, to| self.side.contains(&from) != self.side.contains(&to);
        conditions.cut_between(|from, to| from != self.node && to != self.node && across(from, to));
    }

    fn named(&self) -> Vec<usize> {
        [&[self.node], &self.side[..]].concat()
    }
}
