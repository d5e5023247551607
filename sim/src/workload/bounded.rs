//! Bounded counters: more is asked for than there is, so that many decrements need rights of
//! others or are refused.

use super::{Workload, object};
use crate::history::Action;
use rand::Rng as _;
use starling_node::crdt::{BoundedOp, ObjectId, ObjectOp, TypeTag};
use starling_node::wire::api::ReadQuery;

pub(super) fn next(all: &mut Workload, _client: usize) -> (ObjectId, Action) {
    let object = object(TypeTag::Bounded, format!("stock-{}", all.skewed(2)));
    let add = |amount| Action::Write(ObjectOp::Bounded(BoundedOp::Add { amount }));
    let action = match all.rng.random_range(0..20) {
        0..3 => add(all.rng.random_range(0..=60)),
        3..15 => add(-all.rng.random_range(1..=20)),
        _ => Action::Read(ReadQuery::Whole),
    };
    (object, action)
}
