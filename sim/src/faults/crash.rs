//! Nodes stop, mostly without warning and then without what was not synced, and start again
//! when the fault ends.

use super::{Conditions, Fault, Stop, some_nodes};
use crate::random::Rng;
use rand::Rng as _;

#[derive(Debug)]
struct Crash {
    nodes: Vec<usize>,
    stop: Stop,
}

pub(super) fn draw(rng: &mut Rng, nodes: usize) -> Box<dyn Fault> {
    let count = match rng.random_range(0..10) {
        0 => nodes,
        1..4 => nodes.div_ceil(2),
        _ => 1,
    };
    let stop = if rng.random_bool(0.2) { Stop::Clean } else { Stop::Crash };
    Box::new(Crash { nodes: some_nodes(rng, nodes, count), stop })
}

impl Fault for Crash {
    fn apply(&self, conditions: &mut Conditions) {
        for node in &self.nodes {
            let down = &mut conditions.down[*node];
            if *down != Some(Stop::Crash) {
                *down = Some(self.stop);
            }
        }
    }
}
