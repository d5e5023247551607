//! Nodes fall into groups; nothing passes between two groups.

use super::{Conditions, Fault};
use crate::random::Rng;
use rand::Rng as _;
use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Islands {
    /// The groups; nodes in none of them are one more.
    pub groups: Vec<Vec<usize>>,
}

pub(super) fn draw(rng: &mut Rng, nodes: usize) -> Islands {
    let count = rng.random_range(2..=3);
    let mut groups = vec![Vec::new(); count];
    (0..nodes).for_each(|node| groups[rng.random_range(0..count)].push(node));
    Islands { groups }
}

impl Fault for Islands {
    fn apply(&self, _since_ms: u64, conditions: &mut Conditions) {
        let group = |node: usize| self.groups.iter().position(|group| group.contains(&node));
        conditions.cut_between(|from, to| group(from) != group(to));
    }

    fn named(&self) -> Vec<usize> {
        self.groups.concat()
    }
}
