//! A copy of a node's disk is taken when the fault begins, of the stopped or of the running node,
//! and is put back in place of the disk when the fault ends.

use super::{Conditions, Fault, Stop, Strike, some_nodes};
use crate::random::Rng;
use rand::Rng as _;
use serde::{Deserialize, Serialize};

/// How long the node is down to be copied and to be restored, ms.
const DOWN_MS: u64 = 300;

/// See the module.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OldBackup {
    /// Which one.
    pub node: usize,
    /// How it is stopped to be copied; not at all unless said: then the copy is what a crash
    /// would leave.
    #[serde(default)]
    pub stop: Option<Stop>,
}

pub(super) fn draw(rng: &mut Rng, nodes: usize) -> OldBackup {
    let stop = match rng.random_range(0..3) {
        0 => None,
        1 => Some(Stop::Clean),
        _ => Some(Stop::Crash),
    };
    OldBackup { node: some_nodes(rng, nodes, 1)[0], stop }
}

impl Fault for OldBackup {
    fn apply(&self, since_ms: u64, conditions: &mut Conditions) {
        // The second stop is laid by the strike that puts the copy back.
        if let (Some(stop), true) = (self.stop, since_ms < DOWN_MS) {
            conditions.machines[self.node].take_down(stop);
        }
    }

    fn changes(&self, lasts_ms: u64) -> Vec<u64> {
        super::every(DOWN_MS, lasts_ms.min(DOWN_MS + 1))
    }

    fn strikes(&self, lasts_ms: u64) -> Vec<(u64, Strike)> {
        let node = self.node;
        vec![(0, Strike::Backup { node }), (lasts_ms, Strike::Restore { node, down_ms: DOWN_MS })]
    }

    fn named(&self) -> Vec<usize> {
        vec![self.node]
    }
}
