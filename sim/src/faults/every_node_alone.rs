//! No node hears any other.

use super::{Conditions, Fault};
use crate::random::Rng;
use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EveryNodeAlone {}

pub(super) fn draw(_rng: &mut Rng, _nodes: usize) -> EveryNodeAlone {
    EveryNodeAlone {}
}

impl Fault for EveryNodeAlone {
    fn apply(&self, _since_ms: u64, conditions: &mut Conditions) {
        conditions.cut_between(|from, to| from != to);
    }
}
