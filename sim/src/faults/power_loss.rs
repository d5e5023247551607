//! All nodes stop at once and lose everything that was not synced.

use super::{Conditions, Fault, Stop};
use crate::random::Rng;
use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PowerLoss {}

pub(super) fn draw(_rng: &mut Rng, _nodes: usize) -> PowerLoss {
    PowerLoss {}
}

impl Fault for PowerLoss {
    fn apply(&self, _since_ms: u64, conditions: &mut Conditions) {
        conditions.machines.iter_mut().for_each(|machine| machine.take_down(Stop::Unsynced));
    }
}
