//! A third of the nodes, less than half in any case, is cut off together.

use super::{Conditions, Fault, some_nodes};
use crate::random::Rng;
use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MinorityThird {
    /// The nodes cut off.
    pub nodes: Vec<usize>,
}

pub(super) fn draw(rng: &mut Rng, nodes: usize) -> MinorityThird {
    let most = nodes.saturating_sub(1) / 2;
    MinorityThird { nodes: some_nodes(rng, nodes, nodes.div_ceil(3).min(most).max(1)) }
}

impl Fault for MinorityThird {
    fn apply(&self, _since_ms: u64, conditions: &mut Conditions) {
        conditions.cut_between(|from, to| self.nodes.contains(&from) != self.nodes.contains(&to));
    }

    fn named(&self) -> Vec<usize> {
        self.nodes.clone()
    }
}
