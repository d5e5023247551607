//! How old what reads showed was.
//!
//! A read is as stale as the oldest write it misses: the time from that write's acknowledgement to
//! the read's beginning. Zero when it shows every write acknowledged before it began (Bailis et
//! al., "Probabilistically Bounded Staleness", VLDB 2012, ask the same of the newest write).

use crate::history::{History, Record};
use serde::{Deserialize, Serialize};
use starling_node::crdt::{CausalContext, ObjectId};
use std::collections::BTreeMap;

/// Staleness of a run's reads.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Staleness {
    /// Reads of which it can be told.
    pub reads: u64,
    /// Reads of which it cannot: they found nothing after a removal, which may have been
    /// forgotten everywhere by then.
    pub reads_not_judged: u64,
    /// Reads that missed an acknowledged write.
    pub stale: u64,
    /// 99 of 100 reads were not staler, ms.
    pub p99_ms: f64,
    /// 999 of 1,000 reads were not staler, ms.
    pub p999_ms: f64,
    /// The stalest one, ms.
    pub max_ms: f64,
}

/// A read and what is known of its age.
#[derive(Clone)]
pub struct Judged<'a> {
    /// The read.
    pub record: &'a Record,
    /// Writes of the object that were acknowledged before it began, in that order.
    pub before: Vec<&'a Record>,
    /// How stale it was, ms.
    pub age_ms: f64,
}

/// How stale each read was, ms, in ascending order; and how many could not be judged.
pub fn measure(history: &History) -> (Vec<f64>, u64) {
    let (reads, not_judged) = judge(history);
    let mut ages: Vec<f64> = reads.into_iter().map(|read| read.age_ms).collect();
    ages.sort_by(f64::total_cmp);
    (ages, not_judged)
}

/// How stale each read was, in the order in which they began; and how many could not be judged.
pub fn judge(history: &History) -> (Vec<Judged<'_>>, u64) {
    type Write<'a> = (u64, &'a CausalContext, bool, &'a Record);
    let mut writes: BTreeMap<&ObjectId, Vec<Write<'_>>> = BTreeMap::new();
    for record in &history.records {
        // What its client let only memory hold may be lost, and so never be shown.
        if let (Some(_), Some((said, removal))) = (record.durable_write(), record.said()) {
            let object = writes.entry(&record.intent.object).or_default();
            object.push((record.done_us, said, removal, record));
        }
    }
    writes.values_mut().for_each(|writes| writes.sort_by_key(|(done_us, ..)| *done_us));
    let mut not_judged = 0;
    let mut judged = Vec::new();
    for record in &history.records {
        let Some(read) = record.read() else { continue };
        let known = writes.get(&record.intent.object).map_or(&[][..], |writes| writes);
        let before = &known[..known.partition_point(|(done_us, ..)| *done_us < record.invoked_us)];
        let shown = read.object.context();
        if shown.is_empty() && before.iter().any(|(_, _, removal, _)| *removal) {
            not_judged += 1;
            continue;
        }
        let missed = before.iter().find(|(_, said, ..)| !said.is_subset(shown));
        let age_ms = missed.map_or(0.0, |(done_us, ..)| age_ms(record, *done_us));
        let before = before.iter().map(|(.., write)| *write).collect();
        judged.push(Judged { record, before, age_ms });
    }
    (judged, not_judged)
}

fn age_ms(record: &Record, done_us: u64) -> f64 {
    (record.invoked_us - done_us) as f64 / 1e3
}

impl Staleness {
    /// Of the ages in ascending order, ms.
    pub fn of(ages: &[f64], reads_not_judged: u64) -> Staleness {
        let at = |share: f64| {
            let place = (ages.len() as f64 * share).ceil() as usize;
            ages.get(place.saturating_sub(1)).copied().unwrap_or(0.0)
        };
        Staleness {
            reads: ages.len() as u64,
            reads_not_judged,
            stale: ages.iter().filter(|age| **age > 0.0).count() as u64,
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: at(1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_reads() {
        let ages: Vec<f64> =
            (0..1_000).map(|age| if age < 985 { 0.0 } else { age as f64 }).collect();
        let all = Staleness::of(&ages, 3);
        assert_eq!((all.reads, all.stale, all.reads_not_judged), (1_000, 15, 3));
        assert_eq!((all.p99_ms, all.p999_ms, all.max_ms), (989.0, 998.0, 999.0));
        assert_eq!(Staleness::of(&[], 0), Staleness::default());
    }
}
