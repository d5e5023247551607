//! Messages take longer, by a drawn amount each.

use super::{Conditions, Fault, Where};
use crate::random::Rng;
use rand::Rng as _;

#[derive(Debug)]
struct Delay {
    at: Where,
    up_to_us: u64,
}

pub(super) fn draw(rng: &mut Rng, nodes: usize) -> Box<dyn Fault> {
    let up_to_us = [5_000, 50_000, 300_000, 1_500_000][rng.random_range(0..4)];
    Box::new(Delay { at: Where::draw(rng, nodes), up_to_us })
}

impl Fault for Delay {
    fn apply(&self, conditions: &mut Conditions) {
        conditions.each_link(|a, b| self.at.has(a, b), |link| link.delay_us += self.up_to_us);
    }
}
