//! Remove-wins sets: a few that all clients change, one member at a time.

use super::{Workload, object};
use crate::history::Action;
use rand::Rng as _;
use starling_node::crdt::{ObjectId, ObjectOp, SetOp, TypeTag};
use starling_node::wire::api::ReadQuery;
use std::collections::BTreeSet;

/// Members of a page at most.
const PAGE: u32 = 1_000;

pub(super) fn next(all: &mut Workload, client: usize) -> (ObjectId, Action) {
    let object = object(TypeTag::RwSet, format!("guests-{}", all.skewed(2)));
    if all.rng.random_bool(0.3) {
        let query = ReadQuery::Page { after: None, prefix: Vec::new(), limit: PAGE };
        return (object, Action::Read(query));
    }
    let member = BTreeSet::from([format!("m{}", all.skewed(8)).into_bytes()]);
    let none = BTreeSet::new();
    let (add, remove) = if all.rng.random_bool(0.6) { (member, none) } else { (none, member) };
    let observed = all.observed(client, &object);
    (object, Action::Write(ObjectOp::RwSet(SetOp::Update { add, remove, observed })))
}
