//! Counters: `sum` keys only added to, `reset` keys also reset and removed with contexts, `wild`
//! keys reset and removed without.

use super::{Workload, delete, object};
use crate::history::Action;
use rand::Rng as _;
use starling_node::crdt::{CounterOp, ObjectId, ObjectOp, Observed, TypeTag};
use starling_node::wire::api::ReadQuery;

pub(super) fn next(all: &mut Workload, client: usize) -> (ObjectId, Action) {
    if all.rng.random_bool(0.005) {
        // Two of them leave the range: the second is refused where the first is known.
        let amount: i128 = if all.rng.random_bool(0.5) { i64::MAX.into() } else { i64::MIN.into() };
        let huge = object(TypeTag::Counter, "wild-huge".into());
        return (huge, Action::Write(ObjectOp::Counter(CounterOp::Add { amount, floor: 0 })));
    }
    let kind = ["sum", "sum", "reset", "wild"][all.rng.random_range(0..4)];
    let object = object(TypeTag::Counter, format!("{kind}-{}", all.skewed(4)));
    let observed = match kind {
        "reset" => all.seen(client, &object),
        "wild" => Some(Observed::Here),
        _ => None,
    };
    let action = match (all.rng.random_range(0..10), observed) {
        (0, Some(observed)) => reset(observed),
        (1, Some(observed)) if all.rng.random_bool(0.5) => delete(TypeTag::Counter, observed),
        (0..7, _) => {
            let amount = all.rng.random_range(-40..=100);
            Action::Write(ObjectOp::Counter(CounterOp::Add { amount, floor: 0 }))
        }
        _ => Action::Read(ReadQuery::Whole),
    };
    (object, action)
}

fn reset(observed: Observed) -> Action {
    Action::Write(ObjectOp::Counter(CounterOp::Reset { observed, floor: 0 }))
}
