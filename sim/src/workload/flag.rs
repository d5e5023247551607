//! Flags: a few that all clients switch in every way.

use super::{Workload, delete, object};
use crate::history::Action;
use rand::Rng as _;
use starling_node::crdt::{FlagOp, ObjectId, ObjectOp, TypeTag};
use starling_node::wire::api::ReadQuery;

pub(super) fn next(all: &mut Workload, client: usize) -> (ObjectId, Action) {
    let object = object(TypeTag::Flag, format!("shared-{}", all.skewed(4)));
    let action = match all.rng.random_range(0..10) {
        0..6 => {
            let observed = all.observed(client, &object);
            let enabled = all.rng.random_bool(0.5);
            Action::Write(ObjectOp::Flag(FlagOp::Set { enabled, observed }))
        }
        6 => {
            let observed = all.observed(client, &object);
            delete(TypeTag::Flag, observed)
        }
        _ => Action::Read(ReadQuery::Whole),
    };
    (object, action)
}
