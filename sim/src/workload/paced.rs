//! The workload of a scenario: so many operations a second at even times, whether or not earlier
//! ones were answered, over keys of which few are used much (Zipf's law). Each client talks to one
//! node. Names keep to what the drawn workload promises its checks.

use super::{Workload, delete, object};
use crate::history::{Action, Intent};
use rand::Rng as _;
use rand::seq::IndexedRandom;
use rand_distr::{Distribution as _, Zipf};
use serde::{Deserialize, Serialize};
use starling_node::crdt::{
    BoundedOp, CounterOp, FlagOp, KvOp, ObjectId, ObjectOp, Observed, SetOp, TypeTag,
};
use starling_node::wire::api::{Options, Quorum, ReadQuery};
use std::collections::BTreeSet;

/// Share of the operations that ask for one replica instead of what the bucket says.
const ONE: f64 = 0.25;
/// Puts that supersede nothing to one key at most; the 32nd sibling would be refused.
const LOG_PUTS_MAX: u32 = 24;
/// A stock is filled so often at first, each time with so many.
const STOCK_FILLS: u32 = 10;
const STOCK: i128 = 40;
/// Members of a page at most.
const PAGE: u32 = 1_000;

/// Weights of the types.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mix {
    /// Registers.
    pub kv: u32,
    /// Counters.
    pub counter: u32,
    /// Sets.
    pub set: u32,
    /// Flags.
    pub flag: u32,
    /// Bounded counters.
    pub bounded: u32,
}

impl Mix {
    /// Of all types together, if that is a number.
    pub fn total(&self) -> Option<u32> {
        let all = [self.kv, self.counter, self.set, self.flag, self.bounded];
        all.into_iter().try_fold(0u32, u32::checked_add)
    }
}

/// What clients of a scenario do.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Paced {
    /// How many there are; client `c` talks to node `c` modulo nodes.
    pub clients: usize,
    /// Operations a second of all clients together, evenly spread.
    pub ops_per_second: f64,
    /// Keys of each type.
    pub keys: u64,
    /// Exponent of Zipf's law over the keys; 0 uses all alike.
    pub skew: f64,
    /// Share of reads among operations, 0 to 1.
    pub reads: f64,
    /// Which types.
    pub mix: Mix,
}

impl Paced {
    /// Between two operations of one client, microseconds.
    pub(super) fn period_us(&self) -> u64 {
        (self.clients as f64 * 1e6 / self.ops_per_second) as u64
    }

    /// Until a client's first operation, microseconds.
    pub(super) fn first_us(&self, client: usize) -> u64 {
        (client as f64 * 1e6 / self.ops_per_second) as u64
    }
}

/// What a client does next.
pub(super) fn next(all: &mut Workload, paced: &Paced, client: usize) -> Intent {
    let mut at = all.rng.random_range(0..paced.mix.total().expect("the scenario was checked"));
    let weights = [
        (TypeTag::Kv, paced.mix.kv),
        (TypeTag::Counter, paced.mix.counter),
        (TypeTag::Set, paced.mix.set),
        (TypeTag::Flag, paced.mix.flag),
        (TypeTag::Bounded, paced.mix.bounded),
    ];
    let mut tag = TypeTag::Kv;
    for (candidate, weight) in weights {
        if at < weight {
            tag = candidate;
            break;
        }
        at -= weight;
    }
    let zipf = Zipf::new(paced.keys as f64, paced.skew).expect("the scenario was checked");
    let key = zipf.sample(&mut all.rng) as u64 - 1;
    let reads = all.rng.random_bool(paced.reads);
    let (object, action) = match tag {
        TypeTag::Kv => kv(all, client, key, reads),
        TypeTag::Counter => counter(all, client, key, reads),
        TypeTag::Set => set(all, client, key, reads),
        TypeTag::Flag => flag(all, client, key, reads),
        TypeTag::Bounded => bounded(all, key, reads),
        other => unreachable!("no weight draws a {other}"),
    };
    let one = all.rng.random_bool(ONE).then_some(Quorum::One);
    let options = match &action {
        Action::Write(_) => Options { w: one, ..Options::default() },
        Action::Read(_) => Options { r: one, ..Options::default() },
    };
    Intent { object, action, options, impossible: false }
}

type Next = (ObjectId, Action);

fn whole(tag: TypeTag, name: String) -> Next {
    (object(tag, name), Action::Read(ReadQuery::Whole))
}

/// Every fourth key collects siblings; the others are overwritten, by every tenth write a key that
/// nobody used before.
fn kv(all: &mut Workload, client: usize, key: u64, reads: bool) -> Next {
    let kind = if key % 4 == 3 { "log" } else { "shared" };
    let name = format!("{kind}-{key}");
    if reads {
        return whole(TypeTag::Kv, name);
    }
    let id = object(TypeTag::Kv, name);
    if all.rng.random_bool(0.1) {
        let fresh = object(TypeTag::Kv, format!("fresh-{}", all.fresh()));
        return (fresh, put(all, Observed::Nothing));
    }
    let seen = all.seen(client, &id);
    let action = match (kind, seen) {
        ("log", Some(observed)) if all.rng.random_bool(0.3) => delete(TypeTag::Kv, observed),
        ("log", _) if all.spend(&id, LOG_PUTS_MAX) => put(all, Observed::Nothing),
        ("log", _) => Action::Read(ReadQuery::Whole),
        (_, Some(observed)) if all.rng.random_bool(0.4) => put(all, observed),
        (_, Some(observed)) if all.rng.random_bool(0.1) => delete(TypeTag::Kv, observed),
        _ => put(all, Observed::Here),
    };
    (id, action)
}

fn put(all: &mut Workload, observed: Observed) -> Action {
    let value = format!("v{}", all.fresh()).into_bytes();
    Action::Write(ObjectOp::Kv(KvOp::Put { value, content_type: "text/plain".into(), observed }))
}

/// Sums, of which every fourth one is reset now and then.
fn counter(all: &mut Workload, client: usize, key: u64, reads: bool) -> Next {
    let kind = if key % 4 == 3 { "reset" } else { "sum" };
    let name = format!("{kind}-{key}");
    if reads {
        return whole(TypeTag::Counter, name);
    }
    let id = object(TypeTag::Counter, name);
    let seen = all.seen(client, &id).filter(|_| kind == "reset");
    let op = match seen {
        Some(observed) if all.rng.random_bool(0.1) => CounterOp::Reset { observed, floor: 0 },
        _ => CounterOp::Add { amount: all.rng.random_range(-40..=100), floor: 0 },
    };
    (id, Action::Write(ObjectOp::Counter(op)))
}

/// Tags, added once and removed as read.
fn set(all: &mut Workload, client: usize, key: u64, reads: bool) -> Next {
    let id = object(TypeTag::Set, format!("tags-{key}"));
    if reads {
        let query = ReadQuery::Page { after: None, prefix: Vec::new(), limit: PAGE };
        return (id, Action::Read(query));
    }
    let shown = all.clients[client].members.get(&id).cloned().unwrap_or_default();
    let remove: BTreeSet<_> = shown.choose_multiple(&mut all.rng, 2).cloned().collect();
    let seen = all.seen(client, &id).filter(|_| !remove.is_empty() && all.rng.random_bool(0.4));
    let op = match seen {
        Some(observed) => SetOp::Update { add: BTreeSet::new(), remove, observed },
        None => {
            let count = all.rng.random_range(1..=3);
            let add = (0..count).map(|_| format!("t{}", all.fresh()).into_bytes()).collect();
            SetOp::Update { add, remove: BTreeSet::new(), observed: Observed::Nothing }
        }
    };
    (id, Action::Write(ObjectOp::Set(op)))
}

fn flag(all: &mut Workload, client: usize, key: u64, reads: bool) -> Next {
    let name = format!("shared-{key}");
    if reads {
        return whole(TypeTag::Flag, name);
    }
    let id = object(TypeTag::Flag, name);
    let enabled = all.rng.random_bool(0.5);
    let observed = all.seen(client, &id).unwrap_or(Observed::Here);
    (id, Action::Write(ObjectOp::Flag(FlagOp::Set { enabled, observed })))
}

/// Stocks that are filled at first, and of which then everybody takes one at a time.
fn bounded(all: &mut Workload, key: u64, reads: bool) -> Next {
    let name = format!("stock-{key}");
    if reads {
        return whole(TypeTag::Bounded, name);
    }
    let id = object(TypeTag::Bounded, name);
    let fills = all.spend(&id, STOCK_FILLS) || all.rng.random_bool(0.01);
    let amount = if fills { STOCK } else { -1 };
    (id, Action::Write(ObjectOp::Bounded(BoundedOp::Add { amount })))
}
