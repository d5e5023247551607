//! Maps: `shared` ones whose few fields of every kind all clients change, several at once, and
//! remove; and `sum` ones to whose two counters, one in a map within, clients only add, always the
//! same to both. Each value and each member of a set is unique.

use super::{Workload, delete, object};
use crate::checks::reads_agree::query;
use crate::history::Action;
use rand::Rng as _;
use starling_node::crdt::map::{Change, FieldOp};
use starling_node::crdt::{MapOp, ObjectId, ObjectOp, Observed, TypeTag};
use std::collections::BTreeSet;

/// The field that is a map, everywhere.
pub const INNER: &str = "in";
/// The field that is a counter, everywhere.
pub const COUNT: &str = "n";

pub(super) fn next(all: &mut Workload, client: usize) -> (ObjectId, Action) {
    match all.rng.random_range(0..10) {
        0..7 => shared(all, client),
        _ => sum(all),
    }
}

fn sum(all: &mut Workload) -> (ObjectId, Action) {
    let object = object(TypeTag::Map, format!("sum-{}", all.skewed(2)));
    if all.rng.random_bool(0.3) {
        let query = query(&object);
        return (object, Action::Read(query));
    }
    let amount = all.rng.random_range(-40..=60);
    let mut change = field(COUNT, FieldOp::Counter(amount));
    change.update.insert(INNER.into(), FieldOp::Map(change.clone()));
    (object, update(change, Observed::Here))
}

fn shared(all: &mut Workload, client: usize) -> (ObjectId, Action) {
    let object = object(TypeTag::Map, format!("shared-{}", all.skewed(3)));
    let action = match all.rng.random_range(0..20) {
        0..12 => {
            let mut change = changed(all, client, &object);
            if all.rng.random_bool(0.4) {
                let inner = changed(all, client, &object);
                change.update.insert(INNER.into(), FieldOp::Map(inner));
            }
            let observed = all.observed(client, &object);
            update(change, observed)
        }
        12..14 => {
            let name = ["reg", "mv", "tags", "on", COUNT, INNER][all.rng.random_range(0..6)];
            let remove = BTreeSet::from([name.to_string()]);
            let observed = all.seen(client, &object).unwrap_or(Observed::Here);
            update(Change { remove, ..Change::default() }, observed)
        }
        14 => {
            let observed = all.seen(client, &object).unwrap_or(Observed::Here);
            delete(TypeTag::Map, observed)
        }
        _ => Action::Read(query(&object)),
    };
    (object, action)
}

/// One to three fields, of which one is now and then removed.
fn changed(all: &mut Workload, client: usize, object: &ObjectId) -> Change {
    let mut change = Change::default();
    for _ in 0..all.rng.random_range(1..=3) {
        let unique = format!("f{}", all.fresh()).into_bytes();
        let (name, op) = match all.rng.random_range(0..10) {
            0..3 => ("mv", FieldOp::MvRegister(unique)),
            3..5 => ("reg", FieldOp::Register(unique)),
            5 => ("on", FieldOp::Flag(all.rng.random_bool(0.5))),
            6 => (COUNT, FieldOp::Counter(all.rng.random_range(-9..=9))),
            _ => {
                let known = all.clients[client].members.get(object).cloned().unwrap_or_default();
                let some = all.rng.random_range(0..=known.len().min(2));
                let remove = known.into_iter().take(some).collect();
                ("tags", FieldOp::Set { add: BTreeSet::from([unique]), remove })
            }
        };
        change.update.insert(name.into(), op);
    }
    if all.rng.random_bool(0.1) {
        let name = ["reg", "mv", "tags"][all.rng.random_range(0..3)];
        if !change.update.contains_key(name) {
            change.remove.insert(name.into());
        }
    }
    change
}

/// A change of one field.
pub(super) fn field(name: &str, op: FieldOp) -> Change {
    Change { update: [(name.to_string(), op)].into(), ..Change::default() }
}

pub(super) fn update(change: Change, observed: Observed) -> Action {
    Action::Write(ObjectOp::Map(MapOp::Update { change, observed }))
}
