//! Nodes fall into groups; nothing passes between two groups.

use super::{Conditions, Fault};
use crate::random::Rng;
use rand::Rng as _;

#[derive(Debug)]
struct Islands {
    /// By node.
    island: Vec<usize>,
}

pub(super) fn draw(rng: &mut Rng, nodes: usize) -> Box<dyn Fault> {
    let island = match rng.random_range(0..4) {
        0 => (0..nodes).collect(),
        islands => (0..nodes).map(|_| rng.random_range(0..=islands)).collect(),
    };
    Box::new(Islands { island })
}

impl Fault for Islands {
    fn apply(&self, conditions: &mut Conditions) {
        conditions
            .each_link(|from, to| self.island[from] != self.island[to], |link| link.cut = true);
    }
}
