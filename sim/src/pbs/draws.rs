//! What chance decides in a trial. Each draw is named by what it is for, so that a model and real
//! nodes given the same trial meet the same delays, in whatever order they ask.

use super::shape::{Leg, Shape};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The draws of one trial.
#[derive(Clone, Copy, Debug)]
pub struct Draws {
    seed: u64,
}

impl Draws {
    /// Those of a trial of the run with `seed`.
    pub fn new(seed: u64, trial: u64) -> Self {
        Draws { seed: xxh3_64_with_seed(&trial.to_le_bytes(), seed) }
    }

    fn key(&self, what: u8, from: usize, to: usize, nth: u8) -> u64 {
        let name = [what, from as u8, to as u8, nth];
        xxh3_64_with_seed(&name, self.seed)
    }

    /// Time of the `nth` message of its kind from one node to another, µs. A node's messages to
    /// itself take none.
    pub fn leg_us(&self, shape: &Shape, leg: Leg, from: usize, to: usize, nth: u8) -> u64 {
        if from == to {
            return 0;
        }
        if let Some(means) = shape.means_us.get(from) {
            let key = self.key(leg as u8, from, to, nth);
            return means[to] / 2 + key % (means[to] + 1);
        }
        let base_us = shape.latency(leg).draw_us(self.key(leg as u8, from, to, nth));
        let across = shape.cross.as_ref().filter(|_| shape.zone(from) != shape.zone(to));
        let across = across.map(|more| more.draw_us(self.key(8 + leg as u8, from, to, nth)));
        base_us + across.unwrap_or(0)
    }

    /// Time of a node's `nth` group commit, µs.
    pub fn sync_us(&self, shape: &Shape, node: usize, nth: u8) -> u64 {
        shape.sync.draw_us(self.key(16, node, node, nth))
    }

    /// A key, the node that coordinates the write, and another one that coordinates the read.
    pub fn roles(&self, shape: &Shape) -> (usize, usize, usize) {
        let pick = |what: u8, below: usize| {
            // The bias of the modulo is below 2^-50 for so few choices.
            (self.key(what, 0, 0, 0) % below as u64) as usize
        };
        let writer = pick(17, shape.nodes);
        let mut reader = pick(18, shape.nodes.saturating_sub(1).max(1));
        reader += usize::from(reader >= writer && shape.nodes > 1);
        (pick(19, shape.lists.len()), writer, reader)
    }
}
