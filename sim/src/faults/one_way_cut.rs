//! Nothing passes in one direction; the other one works.

use super::{Conditions, Fault, some_nodes};
use crate::random::Rng;
use rand::Rng as _;

#[derive(Debug)]
struct OneWayCut {
    from: Vec<usize>,
    to: Vec<usize>,
}

pub(super) fn draw(rng: &mut Rng, nodes: usize) -> Box<dyn Fault> {
    let mut from = some_nodes(rng, nodes, nodes);
    let to = from.split_off(rng.random_range(1..nodes.max(2)));
    let keep = rng.random_range(1..=to.len().max(1));
    Box::new(OneWayCut { from, to: to.into_iter().take(keep).collect() })
}

impl Fault for OneWayCut {
    fn apply(&self, conditions: &mut Conditions) {
        conditions.each_link(
            |a, b| self.from.contains(&a) && self.to.contains(&b),
            |link| link.cut = true,
        );
    }
}
