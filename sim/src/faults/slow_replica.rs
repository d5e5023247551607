//! One node does everything late: its messages in both directions and its syncs.

use super::{Conditions, Fault, some_nodes};
use crate::random::Rng;
use rand::Rng as _;
use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlowReplica {
    /// Which one.
    pub node: usize,
    /// Added to each message from and to it and to each of its syncs at most, ms.
    pub up_to_ms: u64,
}

pub(super) fn draw(rng: &mut Rng, nodes: usize) -> SlowReplica {
    let up_to_ms = [20, 200, 1_000][rng.random_range(0..3)];
    SlowReplica { node: some_nodes(rng, nodes, 1)[0], up_to_ms }
}

impl Fault for SlowReplica {
    fn apply(&self, _since_ms: u64, conditions: &mut Conditions) {
        let late_us = self.up_to_ms * 1_000;
        conditions
            .each_link(|a, b| a == self.node || b == self.node, |link| link.delay_us += late_us);
        conditions.machines[self.node].sync_us += late_us;
    }

    fn named(&self) -> Vec<usize> {
        vec![self.node]
    }
}
