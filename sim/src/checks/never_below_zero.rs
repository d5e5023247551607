//! "Never below 0 in any view": no answer shows a bounded counter below 0, no disk holds one, and
//! no ledger used more than it had. And as for counters: every acknowledged amount counts exactly
//! once, an unknown one at most once, a refused one never.

use super::{Evidence, Findings};
use crate::history::{Outcome, Record};
use starling_node::crdt::{Bounded, BoundedOp, Object, ObjectOp};
use std::ops::RangeInclusive;

const NAME: &str = "never_below_zero";

pub(super) fn check(evidence: &Evidence<'_>, findings: &mut Findings) {
    for (place, record) in evidence.history.records.iter().enumerate() {
        let shown = match &record.outcome {
            Outcome::Read(read) => &read.object,
            Outcome::Written(written) => &written.object,
            _ => continue,
        };
        judge(shown, &format!("operation #{place} shows"), findings);
    }
    for node in evidence.nodes {
        for (id, audit) in node.audit().unwrap_or_default() {
            judge(&audit.object, &format!("{node} holds of {id}"), findings);
        }
    }
    for (id, copies) in &evidence.owned {
        let records: Vec<&Record> = evidence.history.of(id).collect();
        for copy in copies {
            let Object::Bounded(counter) = &copy.state else { continue };
            let bounds = added(&records);
            findings.count("bounded_counters_exact", u64::from(bounds.start() == bounds.end()));
            if !bounds.contains(&counter.total()) {
                let (owner, total) = (&copy.owner, counter.total());
                let detail = format!("{owner} counted {total} on {id}, not in {bounds:?}");
                findings.violation(NAME, detail);
            }
        }
    }
}

fn judge(object: &Object, who: &str, findings: &mut Findings) {
    let Object::Bounded(counter) = object else { return };
    findings.count("bounded_views", 1);
    findings.count("bounded_gifts", gifts(counter));
    if counter.total() < 0 {
        findings.violation(NAME, format!("{who} {}: {counter:?}", counter.total()));
    }
    for (run, ledger) in counter.ledgers() {
        let rights = counter.rights_of(*run);
        if rights < 0 {
            findings.violation(NAME, format!("{who} {rights} rights of {run}: {ledger:?}"));
        }
    }
}

fn gifts(counter: &Bounded) -> u64 {
    counter.ledgers().map(|(_, ledger)| ledger.given.len() as u64).sum()
}

/// Least and most that all that was asked can come to.
fn added(records: &[&Record]) -> RangeInclusive<i128> {
    let (mut least, mut most) = (0, 0);
    for record in records {
        if let Some(ObjectOp::Bounded(BoundedOp::Add { amount })) = record.possible_write() {
            let certain = record.durable_write().is_some();
            least += if certain { *amount } else { (*amount).min(0) };
            most += if certain { *amount } else { (*amount).max(0) };
        }
    }
    least.max(0)..=most
}
