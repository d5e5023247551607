//! Messages are lost: 1, 5 or 30 in a hundred.

use super::{Conditions, Fault, Where};
use crate::random::Rng;
use rand::Rng as _;
use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Loss {
    /// On which links; everywhere unless said.
    #[serde(default)]
    pub at: Where,
    /// Of 1,000 messages, how many.
    pub permille: u32,
}

pub(super) fn draw(rng: &mut Rng, nodes: usize) -> Loss {
    let permille = [10, 50, 300][rng.random_range(0..3)];
    Loss { at: Where::draw(rng, nodes), permille }
}

impl Fault for Loss {
    fn apply(&self, _since_ms: u64, conditions: &mut Conditions) {
        conditions.each_link(
            |a, b| self.at.has(a, b),
            |link| {
                link.loss_permille = link.loss_permille.max(self.permille);
            },
        );
    }

    fn named(&self) -> Vec<usize> {
        self.at.named()
    }
}
