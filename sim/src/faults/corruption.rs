//! A bit of a message is flipped on its way; what fails its check must be dropped, not believed.

use super::{Conditions, Fault, Where};
use crate::random::Rng;
use rand::Rng as _;
use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Corruption {
    /// On which links; everywhere unless said.
    #[serde(default)]
    pub at: Where,
    /// Of 1,000 messages, how many.
    pub permille: u32,
}

pub(super) fn draw(rng: &mut Rng, nodes: usize) -> Corruption {
    let permille = [1, 10, 100][rng.random_range(0..3)];
    Corruption { at: Where::draw(rng, nodes), permille }
}

impl Fault for Corruption {
    fn apply(&self, _since_ms: u64, conditions: &mut Conditions) {
        conditions.each_link(
            |a, b| self.at.has(a, b),
            |link| {
                link.corrupt_permille = link.corrupt_permille.max(self.permille);
            },
        );
    }

    fn named(&self) -> Vec<usize> {
        self.at.named()
    }
}
