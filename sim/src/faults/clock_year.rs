//! The wall clock of a node is a year off.

use super::{Conditions, Fault, some_nodes};
use crate::random::Rng;
use rand::Rng as _;
use serde::{Deserialize, Serialize};

const YEAR_MS: i64 = 365 * 24 * 3_600 * 1_000;

/// See the module.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockYear {
    /// Whose.
    pub node: usize,
    /// Whether it is ahead, not behind.
    pub ahead: bool,
}

pub(super) fn draw(rng: &mut Rng, nodes: usize) -> ClockYear {
    ClockYear { node: some_nodes(rng, nodes, 1)[0], ahead: rng.random_bool(0.5) }
}

impl Fault for ClockYear {
    fn apply(&self, _since_ms: u64, conditions: &mut Conditions) {
        let by_ms = if self.ahead { YEAR_MS } else { -YEAR_MS };
        conditions.machines[self.node].skew_ms += by_ms;
    }

    fn named(&self) -> Vec<usize> {
        vec![self.node]
    }
}
