//! Sets: `tags` whose members are added once and removed only as seen, `shared` ones whose few
//! members many clients add and remove in every way.

use super::{Workload, delete, object};
use crate::history::Action;
use rand::Rng as _;
use rand::seq::IndexedRandom;
use starling_node::crdt::{ObjectId, ObjectOp, Observed, SetOp, TypeTag};
use starling_node::wire::api::ReadQuery;
use std::collections::BTreeSet;

pub(super) fn next(all: &mut Workload, client: usize) -> (ObjectId, Action) {
    match all.rng.random_bool(0.5) {
        true => tags(all, client),
        false => shared(all, client),
    }
}

fn tags(all: &mut Workload, client: usize) -> (ObjectId, Action) {
    let object = object(TypeTag::Set, format!("tags-{}", all.skewed(4)));
    let action = match all.rng.random_range(0..10) {
        0..5 => {
            let count = all.rng.random_range(1..=3);
            let add = (0..count).map(|_| format!("t{}", all.fresh()).into_bytes()).collect();
            update(add, BTreeSet::new(), Observed::Nothing)
        }
        5..7 => {
            let shown = all.clients[client].members.get(&object).cloned().unwrap_or_default();
            let remove: BTreeSet<_> = shown.choose_multiple(&mut all.rng, 2).cloned().collect();
            match all.seen(client, &object) {
                Some(observed) if !remove.is_empty() => update(BTreeSet::new(), remove, observed),
                _ => page(all),
            }
        }
        _ => page(all),
    };
    (object, action)
}

fn shared(all: &mut Workload, client: usize) -> (ObjectId, Action) {
    let object = object(TypeTag::Set, format!("shared-{}", all.skewed(4)));
    let action = match all.rng.random_range(0..20) {
        0..8 => update(members(all), BTreeSet::new(), Observed::Nothing),
        8..13 => {
            let observed = all.seen(client, &object).unwrap_or(Observed::Here);
            update(BTreeSet::new(), members(all), observed)
        }
        13..15 => {
            let (add, mut remove) = (members(all), members(all));
            remove.retain(|member| !add.contains(member));
            let observed = all.observed(client, &object);
            update(add, remove, observed)
        }
        15 => {
            let observed = all.seen(client, &object).unwrap_or(Observed::Here);
            delete(TypeTag::Set, observed)
        }
        16 => Action::Read(ReadQuery::Member(member(all))),
        _ => page(all),
    };
    (object, action)
}

fn update(add: BTreeSet<Vec<u8>>, remove: BTreeSet<Vec<u8>>, observed: Observed) -> Action {
    Action::Write(ObjectOp::Set(SetOp::Update { add, remove, observed }))
}

fn member(all: &mut Workload) -> Vec<u8> {
    format!("m{}", all.rng.random_range(0..12)).into_bytes()
}

fn members(all: &mut Workload) -> BTreeSet<Vec<u8>> {
    let count = all.rng.random_range(1..=3);
    (0..count).map(|_| member(all)).collect()
}

fn page(all: &mut Workload) -> Action {
    let limit = [1_000, 1_000, 5, 0][all.rng.random_range(0..4)];
    let after = all.rng.random_bool(0.2).then(|| b"t3".to_vec());
    let prefix = if all.rng.random_bool(0.1) { b"t1".to_vec() } else { Vec::new() };
    Action::Read(ReadQuery::Page { after, prefix, limit })
}
