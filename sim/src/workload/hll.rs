//! Sketches: `distinct` ones, to which clients only add elements that nobody added before, each
//! by one operation of its own, and `shared` ones whose few elements all add and remove whole.

use super::{Workload, delete, object};
use crate::history::Action;
use rand::Rng as _;
use starling_node::crdt::{HllOp, ObjectId, ObjectOp, TypeTag};
use starling_node::wire::api::ReadQuery;

pub(super) fn next(all: &mut Workload, client: usize) -> (ObjectId, Action) {
    match all.rng.random_bool(0.5) {
        true => distinct(all),
        false => shared(all, client),
    }
}

fn distinct(all: &mut Workload) -> (ObjectId, Action) {
    let object = object(TypeTag::Hll, "distinct-0".into());
    let action = match all.rng.random_bool(0.7) {
        true => add(&[format!("d{}", all.fresh())]),
        false => Action::Read(ReadQuery::Whole),
    };
    (object, action)
}

fn shared(all: &mut Workload, client: usize) -> (ObjectId, Action) {
    let object = object(TypeTag::Hll, format!("shared-{}", all.skewed(2)));
    let action = match all.rng.random_range(0..10) {
        0..6 => {
            let elements: Vec<_> =
                (0..3).map(|_| format!("e{}", all.rng.random_range(0..40))).collect();
            add(&elements)
        }
        6 => delete(TypeTag::Hll, all.observed(client, &object)),
        _ => Action::Read(ReadQuery::Whole),
    };
    (object, action)
}

fn add(elements: &[String]) -> Action {
    Action::Write(ObjectOp::Hll(HllOp::add(elements.iter().map(String::as_bytes))))
}
