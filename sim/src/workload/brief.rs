//! Objects that expire: `brief` ones of many types, used for a while and then left alone, so that
//! each is long past its time at some moment of the run; `lasting` ones written once, for longer
//! than any run; and `spared` ones whose client asks for a short time and then that they stay.

use super::{Workload, delete, object};
use crate::history::{Action, Intent, Outcome, Record};
use rand::Rng as _;
use starling_node::crdt::map::FieldOp;
use starling_node::crdt::{
    CounterOp, FlagOp, HllOp, KvOp, MapOp, ObjectId, ObjectOp, Observed, Real, SetOp, Ttl, TypeTag,
    ZsetOp,
};
use starling_node::wire::api::Options;
use std::collections::{BTreeMap, BTreeSet};

/// Time to live of what is to last, seconds.
pub const LASTING_S: u32 = 1_000;

/// `brief` objects that clients write at a time.
const AT_A_TIME: u64 = 4;
/// Operations on them, about, until the next one takes the place of the oldest.
const USED: u64 = 8;

const TYPES: [TypeTag; 8] = [
    TypeTag::Kv,
    TypeTag::Set,
    TypeTag::Counter,
    TypeTag::Flag,
    TypeTag::Zset,
    TypeTag::Map,
    TypeTag::RwSet,
    TypeTag::Hll,
];

const KINDS: [&str; 3] = ["brief", "lasting", "spared"];

/// Whether clients give the object a time to live.
pub fn expires(object: &ObjectId) -> bool {
    KINDS.iter().any(|kind| super::is_kind(object, kind))
}

pub(super) fn next(all: &mut Workload, client: usize) -> (ObjectId, Action) {
    match all.rng.random_range(0..20) {
        0 => fresh(all, "lasting"),
        1 => fresh(all, "spared"),
        _ => brief(all, client),
    }
}

fn fresh(all: &mut Workload, kind: &str) -> (ObjectId, Action) {
    let tag = if all.rng.random_bool(0.5) { TypeTag::Kv } else { TypeTag::Set };
    let object = object(tag, format!("{kind}-{}", all.fresh()));
    let action = Action::Write(write(all, tag, Observed::Nothing));
    (object, action)
}

fn brief(all: &mut Workload, client: usize) -> (ObjectId, Action) {
    all.brief += u64::from(all.rng.random_range(0..USED) == 0);
    let (newest, writes) = (all.brief, all.rng.random_bool(0.6));
    let oldest = if writes { newest.saturating_sub(AT_A_TIME - 1) } else { 0 };
    let which = all.rng.random_range(oldest..=newest);
    let tag = TYPES[which as usize % TYPES.len()];
    let object = object(tag, format!("brief-{which}"));
    let action = match all.rng.random_range(0..20) {
        _ if !writes => Action::Read(crate::checks::reads_agree::query(&object)),
        0..4 => Action::Write(ObjectOp::Touch(tag)),
        4 => delete(tag, all.observed(client, &object)),
        _ => {
            let observed = all.observed(client, &object);
            Action::Write(write(all, tag, observed))
        }
    };
    (object, action)
}

fn write(all: &mut Workload, tag: TypeTag, observed: Observed) -> ObjectOp {
    let name = format!("b{}", all.fresh()).into_bytes();
    let update = |name: &Vec<u8>| SetOp::Update {
        add: BTreeSet::from([name.clone()]),
        remove: BTreeSet::new(),
        observed: Observed::Here,
    };
    match tag {
        TypeTag::Kv => {
            ObjectOp::Kv(KvOp::Put { value: name, content_type: "text/plain".into(), observed })
        }
        TypeTag::Counter => ObjectOp::Counter(CounterOp::Add { amount: 1, floor: 0 }),
        TypeTag::Flag => ObjectOp::Flag(FlagOp::Set { enabled: true, observed }),
        TypeTag::RwSet => ObjectOp::RwSet(update(&name)),
        TypeTag::Hll => ObjectOp::Hll(HllOp::add([name.as_slice()])),
        TypeTag::Zset => ObjectOp::Zset(ZsetOp::Update {
            add: BTreeMap::new(),
            increment: BTreeMap::from([(name, Real::new(1.0).expect("one is finite"))]),
            remove: BTreeSet::new(),
            observed: Observed::Here,
        }),
        TypeTag::Map => {
            let change = super::map::field("reg", FieldOp::Register(name));
            ObjectOp::Map(MapOp::Update { change, observed })
        }
        _ => ObjectOp::Set(update(&name)),
    }
}

/// What an operation says of its object's time to live; removals and reads say nothing.
pub(super) fn ttl(all: &mut Workload, object: &ObjectId, action: &Action) -> Option<Ttl> {
    let Action::Write(op) = action else { return None };
    match op {
        _ if !expires(object) || op.clone().delete_observed().is_some() => None,
        _ if super::is_kind(object, "lasting") => Some(Ttl::For(LASTING_S)),
        ObjectOp::Touch(_) if all.rng.random_bool(0.1) => Some(Ttl::Persist),
        ObjectOp::Touch(_) => Some(Ttl::For(all.rng.random_range(1..=30))),
        _ => Some(Ttl::For(all.rng.random_range(3..=15))),
    }
}

/// What the client asks after it was told that its `spared` object is there for a while.
pub(super) fn spare(all: &mut Workload, record: &Record) -> Option<Intent> {
    let object = &record.intent.object;
    let asked = |op: &ObjectOp| matches!(op, ObjectOp::Touch(_));
    let written = matches!(record.outcome, Outcome::Written(_));
    let op = record.possible_write().filter(|op| written && !asked(op))?;
    if !super::is_kind(object, "spared") {
        return None;
    }
    let ttl = match all.rng.random_bool(0.5) {
        true => Ttl::Persist,
        false => Ttl::For(LASTING_S),
    };
    let action = Action::Write(ObjectOp::Touch(op.tag()));
    let options = Options { ttl: Some(ttl), ..Options::default() };
    Some(Intent { object: object.clone(), action, options, impossible: false })
}
