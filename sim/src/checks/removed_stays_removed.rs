//! "A removed element stays removed, also when a node returns after a month."
//!
//! A member, or a register's value, that an acknowledged removal had certainly observed, and
//! that nothing can have added since, is at no owner in the end.

use super::{Evidence, Findings};
use crate::history::Record;
use starling_node::crdt::{
    CausalContext, KvOp, Object, ObjectId, ObjectOp, Observed, SetOp, ZsetOp,
};
use std::collections::BTreeSet;

const NAME: &str = "removed_stays_removed";

pub(super) fn check(evidence: &Evidence<'_>, findings: &mut Findings) {
    for (id, copies) in &evidence.owned {
        let records: Vec<&Record> = evidence.history.of(id).collect();
        for element in elements(&records) {
            let Some(removed_us) = certainly_removed(&element, &records) else { continue };
            findings.count("elements_that_must_be_gone", 1);
            for copy in copies.iter().filter(|copy| shows(&copy.state, &element)) {
                findings.violation(NAME, describe(id, &element, removed_us, &copy.owner));
            }
        }
    }
}

/// Everything that was ever put or added.
fn elements(records: &[&Record]) -> BTreeSet<Vec<u8>> {
    records.iter().flat_map(|record| added(record)).cloned().collect()
}

fn added(record: &Record) -> Vec<&Vec<u8>> {
    match record.possible_write() {
        Some(ObjectOp::Kv(KvOp::Put { value, .. })) => vec![value],
        Some(ObjectOp::Set(SetOp::Update { add, .. })) => add.iter().collect(),
        Some(ObjectOp::Zset(ZsetOp::Update { add, increment, .. })) => {
            add.keys().chain(increment.keys()).collect()
        }
        _ => Vec::new(),
    }
}

/// When the removal that covers every addition of the element was acknowledged, if there is one.
fn certainly_removed(element: &Vec<u8>, records: &[&Record]) -> Option<u64> {
    let additions: Vec<&CausalContext> = records
        .iter()
        .filter(|record| added(record).contains(&element))
        // An addition without an answer may come into force at any time: nothing is certain.
        .map(|record| record.durable_write().map(|(_, written)| &written.seen.dots))
        .collect::<Option<_>>()?;
    let covers_all = |seen: &CausalContext| additions.iter().all(|dots| dots.is_subset(seen));
    records
        .iter()
        .filter(|record| removes(record, element).is_some_and(covers_all))
        .map(|record| record.done_us)
        .min()
}

/// What an acknowledged removal of the element had certainly observed.
fn removes<'a>(record: &'a Record, element: &Vec<u8>) -> Option<&'a CausalContext> {
    let observed = match record.durable_removal()?.0 {
        ObjectOp::Kv(KvOp::Put { value, observed, .. }) if value != element => observed,
        ObjectOp::Kv(KvOp::Delete { observed }) => observed,
        ObjectOp::Set(SetOp::Delete { observed }) => observed,
        ObjectOp::Set(SetOp::Update { remove, observed, .. }) if remove.contains(element) => {
            observed
        }
        ObjectOp::Zset(ZsetOp::Delete { observed }) => observed,
        ObjectOp::Zset(ZsetOp::Update { remove, observed, .. }) if remove.contains(element) => {
            observed
        }
        _ => return None,
    };
    match observed {
        Observed::Context(seen) => Some(&seen.dots),
        Observed::Here | Observed::Nothing => None,
    }
}

fn shows(state: &Object, element: &[u8]) -> bool {
    match state {
        Object::Kv(kv) => kv.siblings().any(|(_, sibling)| sibling.value == element),
        Object::Set(set) => set.members().any(|(member, _)| member == element),
        Object::Zset(set) => set.scores().any(|(member, _)| member == element),
        _ => false,
    }
}

fn describe(id: &ObjectId, element: &[u8], removed_us: u64, owner: &str) -> String {
    let shown = String::from_utf8_lossy(element);
    let at = removed_us as f64 / 1e6;
    format!("{owner} shows {} of {id}, removed at {at:.6}s", shown.trim_end_matches('.'))
}
