//! "An acknowledged write is never lost while one replica that acknowledged it durably survives."
//! "Nothing is silently dropped: concurrent writes merge by the type's rule or come back as
//! siblings."
//!
//! A register's acknowledged value, and a set's acknowledged member, is at every owner in the end
//! unless some write or removal can have observed and replaced it.

use super::{Evidence, Findings, may_cover};
use crate::history::Record;
use crate::node::Node;
use crate::workload::{LASTING_S, expires, is_kind};
use starling_node::crdt::{KvOp, Object, ObjectId, ObjectOp, Observed, SetOp};

const NAME: &str = "acked_writes_survive";

pub(super) fn check(evidence: &Evidence<'_>, findings: &mut Findings) {
    for (id, copies) in &evidence.owned {
        let records: Vec<&Record> = evidence.history.of(id).collect();
        if !lasts(id, &records, evidence) {
            continue;
        }
        for record in &records {
            for (what, kept) in claims(record, &records) {
                if !kept {
                    findings.count("acked_writes_that_may_be_replaced", 1);
                    continue;
                }
                findings.count("acked_writes_that_must_be_there", 1);
                for copy in copies.iter().filter(|copy| !holds(&copy.state, &what)) {
                    let shown = String::from_utf8_lossy(&what);
                    let value = shown.trim_end_matches('.');
                    let detail =
                        format!("{} lacks {value} of {}", copy.owner, describe(id, record));
                    findings.violation(NAME, detail);
                }
            }
        }
    }
}

/// Whether the object must still be there in the end, if nobody removes it: what has a time to live
/// that outlasts the run, also where the clocks are far apart, and what was spared in time.
fn lasts(id: &ObjectId, records: &[&Record], evidence: &Evidence<'_>) -> bool {
    let together = evidence.clocks.skew_max_ms < u64::from(LASTING_S) * 100;
    let spared = || {
        let touched =
            |record: &&Record| matches!(record.durable_write(), Some((ObjectOp::Touch(_), _)));
        // See what docs/expiry.md says of extensions later than the grace.
        let collects = evidence.nodes.iter().any(Node::collects_expired);
        together && !collects && records.iter().any(touched)
    };
    match id {
        id if is_kind(id, "spared") => spared(),
        id if is_kind(id, "lasting") => together,
        id => !expires(id),
    }
}

/// The values or members that the acknowledged write made, and whether nothing can have covered
/// each of them since.
fn claims(record: &Record, all: &[&Record]) -> Vec<(Vec<u8>, bool)> {
    let removed = |write: &Record, member: Option<&Vec<u8>>| {
        all.iter().any(|other| {
            !std::ptr::eq(*other, write)
                && removal(other, member).is_some_and(|observed| may_cover(other, observed, write))
        })
    };
    // Adding a member again takes the place of what the replica knew of it, and may be removed
    // by someone who has seen only that.
    let readded = |member: &Vec<u8>| {
        all.iter().any(|other| {
            let adds = matches!(
                other.possible_write(),
                Some(ObjectOp::Set(SetOp::Update { add, .. })) if add.contains(member)
            );
            let later = !std::ptr::eq(*other, record) && other.may_act_at(record.invoked_us);
            adds && later && removed(other, Some(member))
        })
    };
    let covered = |member: Option<&Vec<u8>>| removed(record, member) || member.is_some_and(readded);
    match record.durable_write() {
        Some((ObjectOp::Kv(KvOp::Put { value, .. }), _)) => {
            vec![(value.clone(), !covered(None))]
        }
        Some((ObjectOp::Set(SetOp::Update { add, .. }), _)) => {
            add.iter().map(|member| (member.clone(), !covered(Some(member)))).collect()
        }
        _ => Vec::new(),
    }
}

/// What a write that may be in force removes: of a register everything it observed, of a set
/// the member.
fn removal<'a>(record: &'a Record, member: Option<&Vec<u8>>) -> Option<&'a Observed> {
    match record.possible_write()? {
        ObjectOp::Kv(KvOp::Put { observed, .. } | KvOp::Delete { observed }) => Some(observed),
        ObjectOp::Set(SetOp::Delete { observed }) => Some(observed),
        ObjectOp::Set(SetOp::Update { remove, observed, .. }) => {
            member.is_some_and(|member| remove.contains(member)).then_some(observed)
        }
        _ => None,
    }
}

fn holds(state: &Object, what: &[u8]) -> bool {
    match state {
        Object::Kv(kv) => kv.siblings().any(|(_, sibling)| sibling.value == what),
        Object::Set(set) => set.members().any(|(member, _)| member == what),
        _ => false,
    }
}

fn describe(id: &ObjectId, record: &Record) -> String {
    let told = crate::names::outcome(&record.outcome);
    let at = record.done_us as f64 / 1e6;
    format!("{id}, acknowledged at {at:.6}s: {told}")
}
