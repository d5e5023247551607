//! "An answer is honest: `503` means nothing was applied."
//!
//! No value or member is held by anyone or was shown to anyone that was not written, or whose
//! write was refused everywhere. (Counters have a check of their own.)

use super::{Evidence, Findings};
use crate::history::{Action, Record};
use crate::leaves;
use starling_node::cluster::BUCKETS;
use starling_node::crdt::{KvOp, Object, ObjectId, ObjectOp, SetOp, ZsetOp};
use std::collections::{BTreeMap, BTreeSet};

const NAME: &str = "nothing_invented";

type Elements = BTreeSet<Vec<u8>>;

pub(super) fn check(evidence: &Evidence<'_>, findings: &mut Findings) {
    let mut possible: BTreeMap<&ObjectId, Elements> = BTreeMap::new();
    for record in &evidence.history.records {
        let written = possible.entry(&record.intent.object).or_default();
        if let Some(op) = record.possible_write() {
            written.extend(elements_of(op));
        } else if let Action::Write(op) = &record.intent.action {
            findings.count("refused_elements", elements_of(op).len() as u64);
        }
        if record.intent.impossible && record.possible_write().is_some() && told(record) {
            let detail = format!("impossible {:?} was accepted", record.intent.options);
            findings.violation(NAME, detail);
        }
    }
    let none = Elements::new();
    let mut judge = |id: &ObjectId, state: &Object, who: &str| {
        let written = possible.get(id).unwrap_or(&none);
        for element in elements_in(state).difference(written) {
            let shown = String::from_utf8_lossy(element).into_owned();
            let detail = format!("{who} {shown} of {id}, which is not in force anywhere");
            findings.violation(NAME, detail);
        }
    };
    for node in evidence.nodes {
        for (id, audit) in node.audit().unwrap_or_default() {
            // The harness's own writes are in no history, and nobody writes notes.
            if id.bucket == BUCKETS || id.noted().is_some() {
                continue;
            }
            judge(&id, &audit.object, &format!("{node} holds"));
        }
    }
    for (place, record) in evidence.history.records.iter().enumerate() {
        if let Some(read) = record.read() {
            judge(&record.intent.object, &read.object, &format!("operation #{place} shows"));
        }
    }
}

/// Whether the client got an answer other than a refusal.
fn told(record: &Record) -> bool {
    use crate::history::Outcome;
    matches!(record.outcome, Outcome::Written(_) | Outcome::Unknown)
}

fn elements_of(op: &ObjectOp) -> Elements {
    match op {
        ObjectOp::Kv(KvOp::Put { value, .. }) => Elements::from([value.clone()]),
        ObjectOp::Set(SetOp::Update { add, .. }) | ObjectOp::RwSet(SetOp::Update { add, .. }) => {
            add.clone()
        }
        ObjectOp::Zset(ZsetOp::Update { add, increment, .. }) => {
            add.keys().chain(increment.keys()).cloned().collect()
        }
        op @ ObjectOp::Map(_) => {
            leaves::effect(op).into_iter().flat_map(|effect| effect.puts).collect()
        }
        _ => Elements::new(),
    }
}

fn elements_in(state: &Object) -> Elements {
    match state {
        Object::Kv(kv) => kv.siblings().map(|(_, sibling)| sibling.value.clone()).collect(),
        Object::Set(set) => set.members().map(|(member, _)| member.clone()).collect(),
        Object::RwSet(set) => set.members().map(|(member, _)| member.clone()).collect(),
        Object::Zset(set) => set.scores().map(|(member, _)| member.clone()).collect(),
        Object::Map(map) => leaves::elements(map).into_iter().collect(),
        _ => Elements::new(),
    }
}
