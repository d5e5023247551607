//! Clients that are refused, or that wait long for an answer, ask the same again at once, and
//! again.

use super::{Conditions, Fault};
use crate::random::Rng;
use rand::Rng as _;
use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetryStorm {
    /// How often one operation is asked again at most.
    pub retries: u32,
}

pub(super) fn draw(rng: &mut Rng, _nodes: usize) -> RetryStorm {
    RetryStorm { retries: [3, 10, 30][rng.random_range(0..3)] }
}

impl Fault for RetryStorm {
    fn apply(&self, _since_ms: u64, conditions: &mut Conditions) {
        conditions.load.retries = conditions.load.retries.max(self.retries);
    }
}
