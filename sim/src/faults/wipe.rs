//! A node stops and comes back under its name with an empty disk.

use super::{Conditions, Fault, Stop, Strike, some_nodes};
use crate::random::Rng;
use rand::Rng as _;
use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wipe {
    /// Which one.
    pub node: usize,
    /// How it is stopped; `crash` unless said.
    #[serde(default)]
    pub stop: Stop,
}

pub(super) fn draw(rng: &mut Rng, nodes: usize) -> Wipe {
    let stop = if rng.random_bool(0.3) { Stop::Clean } else { Stop::Crash };
    Wipe { node: some_nodes(rng, nodes, 1)[0], stop }
}

impl Fault for Wipe {
    fn apply(&self, _since_ms: u64, conditions: &mut Conditions) {
        conditions.machines[self.node].take_down(self.stop);
    }

    fn strikes(&self, _lasts_ms: u64) -> Vec<(u64, Strike)> {
        vec![(0, Strike::Wipe { node: self.node })]
    }

    fn named(&self) -> Vec<usize> {
        vec![self.node]
    }
}
