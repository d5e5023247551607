//! Messages take longer, by a drawn amount each.

use super::{Conditions, Fault, Where};
use crate::random::Rng;
use rand::Rng as _;
use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delay {
    /// On which links; everywhere unless said.
    #[serde(default)]
    pub at: Where,
    /// Added to each at most, ms.
    pub up_to_ms: u64,
}

pub(super) fn draw(rng: &mut Rng, nodes: usize) -> Delay {
    let up_to_ms = [5, 50, 300, 1_500][rng.random_range(0..4)];
    Delay { at: Where::draw(rng, nodes), up_to_ms }
}

impl Fault for Delay {
    fn apply(&self, _since_ms: u64, conditions: &mut Conditions) {
        conditions.each_link(
            |a, b| self.at.has(a, b),
            |link| {
                link.delay_us += self.up_to_ms * 1_000;
            },
        );
    }

    fn named(&self) -> Vec<usize> {
        self.at.named()
    }
}
