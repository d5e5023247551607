//! Flags: a few that all clients switch in every way.

use super::{Workload, delete, object};
use crate::history::Action;
use rand::Rng as _;
use starling_node::crdt::{FlagOp, ObjectId, ObjectOp, TypeTag};
use starling_node::wire::api::ReadQuery;

pub(super) fn next(all: &mut Workload, client: usize) -> (ObjectId, Action) {
    // One in eight is of the kind in which disable wins.
    let name = all.skewed(8);
    let tag = if name == 7 { TypeTag::DwFlag } else { TypeTag::Flag };
    let object = object(tag, format!("shared-{}", name / 2));
    let action = match all.rng.random_range(0..10) {
        0..6 => {
            let observed = all.observed(client, &object);
            let enabled = all.rng.random_bool(0.5);
            let set = FlagOp::Set { enabled, observed };
            Action::Write(match tag {
                TypeTag::DwFlag => ObjectOp::DwFlag(set),
                _ => ObjectOp::Flag(set),
            })
        }
        6 => {
            let observed = all.observed(client, &object);
            delete(tag, observed)
        }
        _ => Action::Read(ReadQuery::Whole),
    };
    (object, action)
}
