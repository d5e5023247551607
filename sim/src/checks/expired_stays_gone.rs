//! "Absent in reads from the same bucketed instant on every replica": an object that every write
//! gave a time to live is shown to nobody once the last of these times is over, whatever was cut
//! off meanwhile, until it is written again. Clocks that are apart shift that by no more than how
//! far they are apart, and a second.

use super::{Evidence, Findings};
use crate::history::{Outcome, Record};
use crate::workload::is_kind;
use starling_node::crdt::{ObjectId, Ttl};
use std::collections::BTreeMap;

const NAME: &str = "expired_stays_gone";

/// Drift of two clocks in a run, and of what instants are rounded up by, microseconds.
const SLACK_US: u64 = 1_500_000;

pub(super) fn check(evidence: &Evidence<'_>, findings: &mut Findings) {
    let mut objects: BTreeMap<&ObjectId, Vec<&Record>> = BTreeMap::new();
    let history = evidence.history;
    for record in history.records.iter().chain(&history.last) {
        if is_kind(&record.intent.object, "brief") {
            objects.entry(&record.intent.object).or_default().push(record);
        }
    }
    // One clock may be ahead and the other one behind.
    let slack_us = SLACK_US + 2_000 * evidence.clocks.skew_max_ms;
    for records in objects.values() {
        judge(records, slack_us, findings);
    }
}

fn judge(records: &[&Record], slack_us: u64, findings: &mut Findings) {
    for read in records {
        let Some(result) = read.read() else { continue };
        let before = records.iter().filter(|write| write.invoked_us <= read.done_us);
        let ends: Option<Vec<u64>> = before.filter_map(|write| end_us(write)).collect();
        let Some(end_us) = ends.and_then(|ends| ends.into_iter().max()) else { continue };
        if read.invoked_us <= end_us.saturating_add(slack_us) {
            continue;
        }
        findings.count("reads_of_what_expired", 1);
        if result.present {
            let (object, at, end) = (&read.intent.object, read.invoked_us, end_us);
            let (at, end) = (at as f64 / 1e6, end as f64 / 1e6);
            let shown = &result.object;
            let detail =
                format!("{object} was there at {at:.6}s, though gone at {end:.6}s: {shown:?}");
            findings.violation(NAME, detail);
        }
    }
}

/// What the write says of when the object is gone: nothing, if it was not applied or only removes;
/// never (`Some(None)`), if it persists or may be applied at any time yet; or by true time.
fn end_us(write: &Record) -> Option<Option<u64>> {
    let op = write.possible_write()?;
    let ttl = write.intent.options.ttl;
    if op.clone().delete_observed().is_some() {
        return None;
    }
    Some(match (ttl, &write.outcome) {
        (Some(Ttl::For(seconds)), Outcome::Written(_)) => {
            Some(write.done_us.saturating_add(u64::from(seconds) * 1_000_000))
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Action, Intent};
    use starling_node::config::BucketProps;
    use starling_node::crdt::{
        CausalContext, KvOp, Object, ObjectOp, Observed, SeenContext, TypeTag,
    };
    use starling_node::wire::api::{Acks, Options, ReadQuery, ReadResult, Written};

    fn record(invoked_us: u64, action: Action, ttl: Option<Ttl>, outcome: Outcome) -> Record {
        let object = crate::workload::named(TypeTag::Kv, "brief-0");
        let options = Options { ttl, ..Options::default() };
        let intent = Intent { object, action, options, impossible: false };
        let done_us = invoked_us + 1_000;
        let (lost, unremoved) = (false, false);
        Record { client: 0, node: 0, invoked_us, done_us, intent, outcome, lost, unremoved }
    }

    fn put(at_s: u64, ttl: Ttl, told: bool) -> Record {
        let (value, content_type) = (b"v".to_vec(), "text/plain".into());
        let op = ObjectOp::Kv(KvOp::Put { value, content_type, observed: Observed::Here });
        let written = Written {
            object: Object::empty(TypeTag::Kv),
            seen: SeenContext::default(),
            said: CausalContext::new(),
            acks: Acks { owners: 3, hints: 0, durable: 3 },
        };
        let outcome = if told { Outcome::Written(Box::new(written)) } else { Outcome::Unknown };
        record(at_s * 1_000_000, Action::Write(op), Some(ttl), outcome)
    }

    fn read(at_s: u64, present: bool) -> Record {
        let result = ReadResult {
            object: Object::empty(TypeTag::Kv),
            present,
            count: 0,
            next: None,
            asked: 3,
            answered: 3,
            repaired: 0,
            expires_at: None,
            left_s: None,
            resolve: BucketProps::default().resolve,
        };
        let outcome = Outcome::Read(Box::new(result));
        record(at_s * 1_000_000, Action::Read(ReadQuery::Whole), None, outcome)
    }

    fn found(records: &[Record]) -> (u64, usize) {
        let mut findings = Findings::default();
        judge(&records.iter().collect::<Vec<_>>(), SLACK_US, &mut findings);
        let looked_at = findings.counts.get("reads_of_what_expired").copied().unwrap_or(0);
        (looked_at, findings.violations.len())
    }

    #[test]
    fn what_is_there_after_its_time_is_told() {
        let five = || put(10, Ttl::For(5), true);
        assert_eq!(found(&[five(), read(12, true)]), (0, 0));
        assert_eq!(found(&[five(), read(17, false)]), (1, 0));
        assert_eq!(found(&[five(), read(17, true)]), (1, 1));
    }

    #[test]
    fn an_extension_a_persist_and_what_may_come_yet_count() {
        let five = || put(10, Ttl::For(5), true);
        assert_eq!(found(&[five(), put(12, Ttl::For(30), true), read(17, true)]), (0, 0));
        assert_eq!(found(&[five(), put(12, Ttl::Persist, true), read(90, true)]), (0, 0));
        assert_eq!(found(&[five(), put(12, Ttl::For(2), false), read(90, true)]), (0, 0));
        // What is written later does not excuse it.
        assert_eq!(found(&[five(), read(17, true), put(18, Ttl::Persist, true)]), (1, 1));
    }
}
