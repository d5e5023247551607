//! Why a value is what it is: the state of an object of any type, shown for `explain`. Of values
//! that clients wrote only their length is shown.

use super::answer;
use super::member::Member;
use crate::crdt::map::path::{Kind, split};
use crate::crdt::row::{Amount, Row};
use crate::crdt::{Bounded, Counter, DeltaType, Dot, Kv, Leaf, Object, ObjectId, Rows};
use crate::wire::peer::ReplicaReport;
use serde_json::{Map, Value, json};

/// The state.
pub fn value(object: &Object) -> Value {
    match object {
        Object::Kv(kv) => siblings(kv),
        Object::Counter(counter) => tallies(counter),
        Object::Flag(flag) => votes(flag.value(), flag.votes()),
        Object::DwFlag(flag) => votes(flag.value(), flag.votes()),
        Object::Hll(hll) => json!({ "estimate": hll.estimate(), "registers": rows(object, hll) }),
        Object::Bounded(counter) => ledgers(counter),
        Object::Set(set) => rows(object, set),
        Object::RwSet(set) => rows(object, set),
        Object::Map(map) => rows(object, map),
        Object::Zset(set) => rows(object, set),
    }
}

fn siblings(kv: &Kv) -> Value {
    let sibling = |(dot, sibling): (&Dot, &crate::crdt::Sibling)| {
        json!({
            "dot": dot.to_string(),
            "bytes": sibling.value.len(),
            "content_type": sibling.content_type,
            "written_at": answer::rfc3339(sibling.written_at),
        })
    };
    Value::Array(kv.siblings().map(sibling).collect())
}

fn tallies(counter: &Counter) -> Value {
    // Sums are wider than JSON numbers are read elsewhere, so they are text.
    let tally = |(run, tally): (&Dot, &crate::crdt::counter::Tally)| {
        json!({
            "run": run.to_string(),
            "last": tally.last,
            "up": tally.up.to_string(),
            "down": tally.down.to_string(),
        })
    };
    let double = |double: &crate::crdt::counter::Double| {
        json!({
            "amount": double.amount.to_string(),
            "dots": double.dots.keys().map(ToString::to_string).collect::<Vec<_>>(),
        })
    };
    json!({
        "value": counter.value(),
        "runs": counter.runs().map(tally).collect::<Vec<_>>(),
        "base": counter.base().map(tally).collect::<Vec<_>>(),
        // Operations that several replicas applied under one key: one of these counts.
        "counted_once": counter.doubles().map(double).collect::<Vec<_>>(),
    })
}

fn ledgers(counter: &Bounded) -> Value {
    let ledger = |(run, ledger): (&Dot, &crate::crdt::Ledger)| {
        let given =
            ledger.given.iter().map(|(to, given)| (to.to_string(), json!(given.to_string())));
        json!({
            "run": run.to_string(),
            "last": ledger.last,
            "up": ledger.up.to_string(),
            "used": ledger.used.to_string(),
            "given": Value::Object(given.collect()),
            "rights": counter.rights_of(*run).to_string(),
        })
    };
    json!({
        "value": counter.value(),
        "ledgers": counter.ledgers().map(ledger).collect::<Vec<_>>(),
    })
}

/// Whose the rights of a bounded counter are: of replicas that answered, of earlier lives of
/// theirs (nobody can use those), and of nodes that did not answer.
pub fn rights(merged: Option<&Object>, reports: &[ReplicaReport]) -> Option<Value> {
    let Some(Object::Bounded(counter)) = merged else { return None };
    let [mut usable, mut resting, mut unheard] = [0i128; 3];
    for (run, _) in counter.ledgers() {
        let rights = counter.rights_of(*run);
        let is_now = reports.iter().any(|report| report.actor == run.actor);
        let is_heard = reports.iter().any(|report| report.node == run.actor.node);
        let sum = match (is_now, is_heard) {
            (true, _) => &mut usable,
            (false, true) => &mut resting,
            (false, false) => &mut unheard,
        };
        *sum = sum.saturating_add(rights);
    }
    Some(json!({
        "usable": usable.to_string(),
        "resting": resting.to_string(),
        "unheard": unheard.to_string(),
    }))
}

fn votes<'a>(enabled: Option<bool>, votes: impl Iterator<Item = (&'a Dot, &'a bool)>) -> Value {
    let votes = votes.map(|(dot, vote)| json!({ "dot": dot.to_string(), "enabled": vote }));
    json!({ "enabled": enabled, "votes": votes.collect::<Vec<_>>() })
}

fn rows(object: &Object, rows: &Rows) -> Value {
    let row = |(key, row): (&Vec<u8>, &Row)| {
        let mut shown = leaves(row);
        let (name, key) = key_of(object, key);
        shown.insert(name.into(), key);
        Value::Object(shown)
    };
    Value::Array(rows.held().map(row).collect())
}

/// What the key of a row stands for.
fn key_of(object: &Object, key: &[u8]) -> (&'static str, Value) {
    match object {
        Object::Hll(_) => {
            let register = key.iter().fold(0u32, |number, byte| number << 8 | u32::from(*byte));
            ("register", register.into())
        }
        Object::Map(_) => ("path", json!(path(key))),
        _ => ("member", json!(Member::from(key.to_vec()))),
    }
}

/// The names on the way to a leaf of a map, and what each is.
fn path(mut key: &[u8]) -> Vec<Value> {
    let mut names = Vec::new();
    while let Some((name, kind, rest)) = split(key) {
        names.push(json!({ "name": name, "kind": kind.name() }));
        key = rest;
        if kind == Kind::Set {
            names.push(json!({ "member": Member::from(rest.to_vec()) }));
            break;
        }
    }
    names
}

fn leaves(row: &Row) -> Map<String, Value> {
    let dots: Vec<_> = row.live.keys().map(ToString::to_string).collect();
    let mut shown = Map::from_iter([("dots".into(), json!(dots))]);
    let says: Vec<_> = row.live.values().filter_map(says).collect();
    if !says.is_empty() {
        shown.insert("says".into(), says.into());
    }
    if !row.base.is_empty() {
        let base = row.base.iter().map(|(run, base)| {
            json!({ "run": run.to_string(), "last": base.last, "amount": amount(&base.amount) })
        });
        shown.insert("base".into(), base.collect());
    }
    shown
}

fn says(leaf: &Leaf) -> Option<Value> {
    Some(match leaf {
        Leaf::Here => return None,
        Leaf::Removed => json!("removed"),
        Leaf::Flag(enabled) => json!({ "enabled": enabled }),
        Leaf::Register { value, at } => {
            json!({ "bytes": value.len(), "written_at": answer::rfc3339(*at) })
        }
        Leaf::Total { run, amount: total } => json!({ "run": run, "amount": amount(total) }),
        Leaf::Score { score, at } => {
            json!({ "score": score.get(), "written_at": answer::rfc3339(*at) })
        }
        Leaf::Rank(rank) => json!({ "rank": rank }),
    })
}

fn amount(amount: &Amount) -> Value {
    match amount {
        Amount::Whole { up, down } => json!({ "up": up.to_string(), "down": down.to_string() }),
        Amount::Real(real) => json!(real.get()),
    }
}

/// One sentence on the value, and one on whether the replicas agree.
pub fn why(object: &ObjectId, merged: Option<&Object>, agree: bool) -> String {
    let value = match merged {
        None => format!("no replica that answered knows anything of {object}"),
        Some(state) if !state.is_present() => {
            "it is absent: every write that the replicas know was observed by a removal".into()
        }
        Some(state) => reason(state),
    };
    let replicas = match agree {
        true => "the owners that answered are equal",
        false => "the owners differ: repair or hints are under way, or a read will start them",
    };
    format!("{value}; {replicas}")
}

fn reason(state: &Object) -> String {
    match state {
        Object::Kv(kv) => match kv.siblings().count() {
            1 => "one write is live; every other was observed by a later write or removal".into(),
            several => format!("{several} writes are live: none of them had observed another"),
        },
        Object::Counter(counter) => format!(
            "{} is the sum of all runs, less what resets observed of them (base){}",
            counter.total(),
            match counter.doubles().count() {
                0 => "",
                _ => ", and what several replicas applied under one key counts once",
            }
        ),
        Object::Set(_) => {
            "a member is in the set while an add of it is live that no removal observed".into()
        }
        Object::RwSet(_) => {
            "a member is in the set while no removal of it is live that no add observed".into()
        }
        Object::Flag(flag) => match flag.value() {
            Some(true) => "on: an enable is live that no later change observed; enable wins".into(),
            _ => "off: no enable is live that a later disable had not observed".into(),
        },
        Object::DwFlag(flag) => match flag.value() {
            Some(false) => "off: a disable is live that no later change observed; it wins".into(),
            _ => "on: no disable is live that a later enable had not observed".into(),
        },
        Object::Map(_) => {
            "a field is what its live writes come to; a removal takes those it observed".into()
        }
        Object::Hll(_) => "each register is the highest rank that a live addition gave it".into(),
        Object::Zset(_) => {
            "a score is the last one set, plus what was added since by each replica".into()
        }
        Object::Bounded(_) => {
            "it is what was added less what was taken; each replica takes what it has rights to, \
             and those of earlier lives of a node rest"
                .into()
        }
    }
}
