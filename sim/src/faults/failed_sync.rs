//! The next sync of a node fails. What was to be synced may be on disk or not; the node must stop
//! and acknowledge nothing more. It is started again when the fault ends.

use super::{Conditions, Fault, some_nodes};
use crate::random::Rng;
use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailedSync {
    /// Whose.
    pub node: usize,
}

pub(super) fn draw(rng: &mut Rng, nodes: usize) -> FailedSync {
    FailedSync { node: some_nodes(rng, nodes, 1)[0] }
}

impl Fault for FailedSync {
    fn apply(&self, _since_ms: u64, conditions: &mut Conditions) {
        conditions.machines[self.node].sync_fails = true;
    }

    fn named(&self) -> Vec<usize> {
        vec![self.node]
    }
}
