//! Wall clocks jump by up to a minute, forward or back, and back again when the fault ends.

use super::{Conditions, Fault, some_nodes};
use crate::random::Rng;
use rand::Rng as _;

#[derive(Debug)]
struct ClockSkew {
    nodes: Vec<usize>,
    by_ms: i64,
}

pub(super) fn draw(rng: &mut Rng, nodes: usize) -> Box<dyn Fault> {
    let count = rng.random_range(1..=nodes);
    let by_ms = rng.random_range(-60_000..=60_000);
    Box::new(ClockSkew { nodes: some_nodes(rng, nodes, count), by_ms })
}

impl Fault for ClockSkew {
    fn apply(&self, conditions: &mut Conditions) {
        self.nodes.iter().for_each(|node| conditions.skew_ms[*node] += self.by_ms);
    }
}
