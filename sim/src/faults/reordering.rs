//! Messages between peers overtake each other.

use super::{Conditions, Fault, Where};
use crate::random::Rng;

#[derive(Debug)]
struct Reordering {
    at: Where,
}

pub(super) fn draw(rng: &mut Rng, nodes: usize) -> Box<dyn Fault> {
    Box::new(Reordering { at: Where::draw(rng, nodes) })
}

impl Fault for Reordering {
    fn apply(&self, conditions: &mut Conditions) {
        conditions.each_link(|a, b| self.at.has(a, b), |link| link.reorder = true);
    }
}
