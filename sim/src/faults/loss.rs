//! Messages are lost: 1, 5 or 30 in a hundred.

use super::{Conditions, Fault, Where};
use crate::random::Rng;
use rand::Rng as _;

#[derive(Debug)]
struct Loss {
    at: Where,
    permille: u32,
}

pub(super) fn draw(rng: &mut Rng, nodes: usize) -> Box<dyn Fault> {
    let permille = [10, 50, 300][rng.random_range(0..3)];
    Box::new(Loss { at: Where::draw(rng, nodes), permille })
}

impl Fault for Loss {
    fn apply(&self, conditions: &mut Conditions) {
        let worse = |old: u32| old.max(self.permille);
        conditions.each_link(
            |a, b| self.at.has(a, b),
            |link| link.loss_permille = worse(link.loss_permille),
        );
    }
}
