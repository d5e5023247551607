//! What the types refuse, together with what they would do: a part of a refused operation that
//! stayed would show values that were refused everywhere. Objects called `rude`, of which nothing
//! else is known, and bounded counters that someone wants to remove.

use super::map::{INNER, field, update};
use super::{Workload, delete, object};
use crate::checks::reads_agree::query;
use crate::history::Action;
use rand::Rng as _;
use starling_node::crdt::map::{Change, FieldOp};
use starling_node::crdt::{ObjectId, ObjectOp, Observed, Real, TypeTag, ZsetOp};
use std::collections::{BTreeMap, BTreeSet};

/// Deeper than maps can be nested.
const TOO_DEEP: usize = 9;

pub(super) fn next(all: &mut Workload) -> (ObjectId, Action) {
    match all.rng.random_range(0..8) {
        0..2 => deep(all),
        2..5 => other_kind(all),
        5..7 => score(all),
        _ => {
            let stock = object(TypeTag::Bounded, format!("stock-{}", all.skewed(2)));
            (stock, delete(TypeTag::Bounded, Observed::Here))
        }
    }
}

fn rude_map() -> ObjectId {
    object(TypeTag::Map, "rude-0".into())
}

fn unique(all: &mut Workload) -> Vec<u8> {
    format!("r{}", all.fresh()).into_bytes()
}

/// A value, and a map in a map in a map.
fn deep(all: &mut Workload) -> (ObjectId, Action) {
    let mut change = field("mv", FieldOp::MvRegister(unique(all)));
    for _ in 1..TOO_DEEP {
        change = field(INNER, FieldOp::Map(change));
    }
    change.update.insert("mv".into(), FieldOp::MvRegister(unique(all)));
    (rude_map(), update(change, Observed::Here))
}

/// A value, and a field that is now a counter and now a flag.
fn other_kind(all: &mut Workload) -> (ObjectId, Action) {
    if all.rng.random_bool(0.2) {
        return (rude_map(), Action::Read(query(&rude_map())));
    }
    let mut change: Change = field("mv", FieldOp::MvRegister(unique(all)));
    let op = match all.rng.random_bool(0.5) {
        true => FieldOp::Counter(1),
        false => FieldOp::Flag(true),
    };
    change.update.insert("either".into(), op);
    (rude_map(), update(change, Observed::Here))
}

/// A member, and more for a score than a number can hold.
fn score(all: &mut Workload) -> (ObjectId, Action) {
    let object = object(TypeTag::Zset, "rude-0".into());
    if all.rng.random_bool(0.2) {
        let query = query(&object);
        return (object, Action::Read(query));
    }
    let real = |score| Real::new(score).expect("finite");
    let add = BTreeMap::from([(unique(all), real(1.0))]);
    let increment = BTreeMap::from([(b"most".to_vec(), real(f64::MAX))]);
    let (remove, observed) = (BTreeSet::new(), Observed::Here);
    let op = ZsetOp::Update { add, increment, remove, observed };
    (object, Action::Write(ObjectOp::Zset(op)))
}
