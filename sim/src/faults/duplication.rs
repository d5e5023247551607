//! Messages arrive twice, the second time up to 200 ms later.

use super::{Conditions, Fault, Where};
use crate::random::Rng;
use rand::Rng as _;

#[derive(Debug)]
struct Duplication {
    at: Where,
    permille: u32,
}

pub(super) fn draw(rng: &mut Rng, nodes: usize) -> Box<dyn Fault> {
    let permille = [10, 100, 500][rng.random_range(0..3)];
    Box::new(Duplication { at: Where::draw(rng, nodes), permille })
}

impl Fault for Duplication {
    fn apply(&self, conditions: &mut Conditions) {
        let worse = |old: u32| old.max(self.permille);
        conditions.each_link(
            |a, b| self.at.has(a, b),
            |link| link.duplicate_permille = worse(link.duplicate_permille),
        );
    }
}
