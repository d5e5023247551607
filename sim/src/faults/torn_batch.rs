//! A node stops while it writes: of its last batch not everything reaches the log, whose check
//! then drops that batch whole.

use super::{Conditions, Fault, Stop, some_nodes};
use crate::random::Rng;
use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TornBatch {
    /// Which one.
    pub node: usize,
}

pub(super) fn draw(rng: &mut Rng, nodes: usize) -> TornBatch {
    TornBatch { node: some_nodes(rng, nodes, 1)[0] }
}

impl Fault for TornBatch {
    fn apply(&self, _since_ms: u64, conditions: &mut Conditions) {
        conditions.machines[self.node].take_down(Stop::Torn);
    }

    fn named(&self) -> Vec<usize> {
        vec![self.node]
    }
}
