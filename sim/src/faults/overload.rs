//! Clients ask many times as often as they usually do.

use super::{Conditions, Fault};
use crate::random::Rng;
use rand::Rng as _;
use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overload {
    /// How many times, at least 1.
    pub times: u64,
}

pub(super) fn draw(rng: &mut Rng, _nodes: usize) -> Overload {
    Overload { times: [3, 10, 30][rng.random_range(0..3)] }
}

impl Fault for Overload {
    fn apply(&self, _since_ms: u64, conditions: &mut Conditions) {
        conditions.load.times = conditions.load.times.max(self.times);
    }

    fn lasts_ms(&self, rng: &mut Rng) -> Option<u64> {
        Some(rng.random_range(500..3_000))
    }
}
