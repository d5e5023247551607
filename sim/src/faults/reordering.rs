//! Messages between peers overtake each other.

use super::{Conditions, Fault, Where};
use crate::random::Rng;
use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reordering {
    /// On which links; everywhere unless said.
    #[serde(default)]
    pub at: Where,
}

pub(super) fn draw(rng: &mut Rng, nodes: usize) -> Reordering {
    Reordering { at: Where::draw(rng, nodes) }
}

impl Fault for Reordering {
    fn apply(&self, _since_ms: u64, conditions: &mut Conditions) {
        conditions.each_link(|a, b| self.at.has(a, b), |link| link.reorder = true);
    }

    fn named(&self) -> Vec<usize> {
        self.at.named()
    }
}
