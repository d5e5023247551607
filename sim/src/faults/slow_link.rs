//! Links carry few bytes a second, so messages queue up behind each other.

use super::{Conditions, Fault, Where};
use crate::random::Rng;
use rand::Rng as _;
use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlowLink {
    /// On which links; everywhere unless said.
    #[serde(default)]
    pub at: Where,
    /// Bytes a second in each direction, at least 1.
    pub bytes_per_s: u64,
}

pub(super) fn draw(rng: &mut Rng, nodes: usize) -> SlowLink {
    let bytes_per_s = [10_000, 50_000, 250_000][rng.random_range(0..3)];
    SlowLink { at: Where::draw(rng, nodes), bytes_per_s }
}

impl Fault for SlowLink {
    fn apply(&self, _since_ms: u64, conditions: &mut Conditions) {
        conditions.each_link(
            |a, b| self.at.has(a, b),
            |link| {
                link.bytes_per_s = Some(
                    link.bytes_per_s.map_or(self.bytes_per_s, |had| had.min(self.bytes_per_s)),
                );
            },
        );
    }

    fn named(&self) -> Vec<usize> {
        self.at.named()
    }
}
