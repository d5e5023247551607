//! Nothing passes in one direction; the other one works.

use super::{Conditions, Fault, some_nodes};
use crate::random::Rng;
use rand::Rng as _;
use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OneWayCut {
    /// Whose messages are lost.
    pub from: Vec<usize>,
    /// On the way to whom.
    pub to: Vec<usize>,
}

pub(super) fn draw(rng: &mut Rng, nodes: usize) -> OneWayCut {
    let mut from = some_nodes(rng, nodes, nodes);
    let to = from.split_off(rng.random_range(1..nodes.max(2)));
    let keep = rng.random_range(1..=to.len().max(1));
    OneWayCut { from, to: to.into_iter().take(keep).collect() }
}

impl Fault for OneWayCut {
    fn apply(&self, _since_ms: u64, conditions: &mut Conditions) {
        conditions.cut_between(|from, to| self.from.contains(&from) && self.to.contains(&to));
    }

    fn named(&self) -> Vec<usize> {
        [&self.from[..], &self.to].concat()
    }
}
