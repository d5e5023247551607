//! Nodes stop, mostly without warning and then without what was not synced, and start again
//! when the fault ends: one, half of them, or all.

use super::{Conditions, Fault, Stop, some_nodes};
use crate::random::Rng;
use rand::Rng as _;
use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Crash {
    /// Which ones.
    pub nodes: Vec<usize>,
    /// How; `crash` unless said.
    #[serde(default)]
    pub stop: Stop,
}

pub(super) fn draw(rng: &mut Rng, nodes: usize) -> Crash {
    let count = match rng.random_range(0..10) {
        0 => nodes,
        1..4 => nodes.div_ceil(2),
        _ => 1,
    };
    let stop = if rng.random_bool(0.2) { Stop::Clean } else { Stop::Crash };
    Crash { nodes: some_nodes(rng, nodes, count), stop }
}

impl Fault for Crash {
    fn apply(&self, _since_ms: u64, conditions: &mut Conditions) {
        self.nodes.iter().for_each(|node| conditions.machines[*node].take_down(self.stop));
    }

    fn named(&self) -> Vec<usize> {
        self.nodes.clone()
    }
}
