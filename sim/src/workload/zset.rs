//! Sorted sets, whose few members many clients set, add to and remove. Little of them: their rows
//! are those of sets. To the scores called `tally` clients only add.

use super::{Workload, delete, hll, object};
use crate::history::Action;
use rand::Rng as _;
use starling_node::crdt::{ObjectId, ObjectOp, Observed, Real, TypeTag, ZsetOp};
use starling_node::wire::api::{ByScore, ReadQuery};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn next(all: &mut Workload, client: usize) -> (ObjectId, Action) {
    match all.rng.random_range(0..10) {
        0..4 => scores(all, client),
        4..7 => tally(all),
        _ => hll::next(all, client),
    }
}

fn tally(all: &mut Workload) -> (ObjectId, Action) {
    let object = object(TypeTag::Zset, format!("tally-{}", all.skewed(2)));
    if all.rng.random_bool(0.3) {
        let query = by_score(all);
        return (object, Action::Read(query));
    }
    let member = format!("m{}", all.rng.random_range(0..3)).into_bytes();
    let score = real(all.rng.random_range(-8..=8));
    (object, update(BTreeMap::new(), BTreeMap::from([(member, score)])))
}

fn update(add: BTreeMap<Vec<u8>, Real>, increment: BTreeMap<Vec<u8>, Real>) -> Action {
    let (remove, observed) = (BTreeSet::new(), Observed::Here);
    Action::Write(ObjectOp::Zset(ZsetOp::Update { add, increment, remove, observed }))
}

fn scores(all: &mut Workload, client: usize) -> (ObjectId, Action) {
    let object = object(TypeTag::Zset, format!("shared-{}", all.skewed(3)));
    let member = format!("m{}", all.rng.random_range(0..8)).into_bytes();
    let score = real(all.rng.random_range(-8..=8));
    let scored = BTreeMap::from([(member.clone(), score)]);
    let action = match all.rng.random_range(0..20) {
        0..4 => update(scored, BTreeMap::new()),
        4..10 => update(BTreeMap::new(), scored),
        10..13 => {
            let remove = BTreeSet::from([member]);
            let observed = all.seen(client, &object).unwrap_or(Observed::Here);
            let (add, increment) = (BTreeMap::new(), BTreeMap::new());
            Action::Write(ObjectOp::Zset(ZsetOp::Update { add, increment, remove, observed }))
        }
        13 => {
            let observed = all.seen(client, &object).unwrap_or(Observed::Here);
            delete(TypeTag::Zset, observed)
        }
        _ => Action::Read(by_score(all)),
    };
    (object, action)
}

fn real(score: i32) -> Real {
    Real::new(f64::from(score)).expect("whole numbers are finite")
}

fn by_score(all: &mut Workload) -> ReadQuery {
    let limit = [1_000, 3, 1][all.rng.random_range(0..3)];
    let mut bound = |low| all.rng.random_bool(0.3).then(|| real(low));
    let (min, max) = (bound(-2), bound(5));
    let desc = all.rng.random_bool(0.3);
    ReadQuery::Scores(ByScore { min, max, after: None, desc, limit })
}
