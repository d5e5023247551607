//! Bits flip on one disk: in data rows, headers, hint marks, or what the node keeps of itself (its
//! layout). The node reads what is there; with `while_down` it is stopped first, so that it finds
//! the damage when it opens.

use super::{Conditions, Fault, Stop, Strike, some_nodes};
use crate::random::Rng;
use rand::Rng as _;
use serde::{Deserialize, Serialize};

/// Where bits flip.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// Rows of set members.
    Rows,
    /// Headers: small objects whole.
    Headers,
    /// Hint marks.
    Hints,
    /// The layout.
    Layout,
}

/// See the module.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BitFlip {
    /// Whose disk.
    pub node: usize,
    /// Where.
    pub part: Part,
    /// How many rows are hit.
    pub rows: usize,
    /// Whether the node is down meanwhile.
    #[serde(default)]
    pub while_down: bool,
}

pub(super) fn draw(rng: &mut Rng, nodes: usize) -> BitFlip {
    let parts = [Part::Rows, Part::Headers, Part::Headers, Part::Hints, Part::Layout];
    let part = parts[rng.random_range(0..parts.len())];
    let (rows, while_down) = (rng.random_range(1..=10), rng.random_bool(0.5));
    BitFlip { node: some_nodes(rng, nodes, 1)[0], part, rows, while_down }
}

impl Fault for BitFlip {
    fn apply(&self, _since_ms: u64, conditions: &mut Conditions) {
        if self.while_down {
            conditions.machines[self.node].take_down(Stop::Crash);
        }
    }

    fn strikes(&self, _lasts_ms: u64) -> Vec<(u64, Strike)> {
        vec![(0, Strike::Flip { node: self.node, part: self.part, rows: self.rows })]
    }

    fn named(&self) -> Vec<usize> {
        vec![self.node]
    }
}
