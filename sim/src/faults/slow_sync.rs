//! Disks take longer to sync, so that more is unsynced when a crash comes.

use super::{Conditions, Fault, some_nodes};
use crate::random::Rng;
use rand::Rng as _;

#[derive(Debug)]
struct SlowSync {
    nodes: Vec<usize>,
    up_to_us: u64,
}

pub(super) fn draw(rng: &mut Rng, nodes: usize) -> Box<dyn Fault> {
    let count = rng.random_range(1..=nodes);
    let up_to_us = [10_000, 100_000, 1_000_000][rng.random_range(0..3)];
    Box::new(SlowSync { nodes: some_nodes(rng, nodes, count), up_to_us })
}

impl Fault for SlowSync {
    fn apply(&self, conditions: &mut Conditions) {
        self.nodes.iter().for_each(|node| conditions.sync_us[*node] += self.up_to_us);
    }
}
