//! "Nothing is silently dropped", for counters: every acknowledged amount counts exactly once,
//! an unknown one at most once, a refused one never; a reset removes precisely what it observed.
//!
//! "An increment retried with its idempotency key counts once, whichever node gets the retry":
//! all that was asked under one key of one amount is one operation.

use super::{Evidence, Findings};
use crate::history::Record;
use crate::workload::expires;
use starling_node::crdt::counter::Tally;
use starling_node::crdt::{Counter, CounterOp, Dot, Object, ObjectId, ObjectOp, Observed, Once};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

const NAME: &str = "counters_exact";

pub(super) fn check(evidence: &Evidence<'_>, findings: &mut Findings) {
    for (id, copies) in &evidence.owned {
        // One that expired begins anew.
        if expires(id) {
            continue;
        }
        let records: Vec<&Record> = evidence.history.of(id).collect();
        for copy in copies {
            let Object::Counter(counter) = &copy.state else { continue };
            let doubles = counter.doubles().count();
            findings.count("operations_counted_once", doubles as u64);
            let bounds = added(&records, &evidence.history.forgotten);
            findings.count("counters_bounded", 1);
            findings.count("counters_without_unknown", u64::from(bounds.start() == bounds.end()));
            let removed = match evidence.nodes[0].collects() {
                true => Removed::of(&records),
                false => Removed::default(),
            };
            if removed.unseen {
                // What was removed unseen and collected left no trace to count.
                findings.count("counters_collected_unseen", 1);
                continue;
            }
            let (least, most) = counted(counter, &removed);
            if least > *bounds.end() || most < *bounds.start() {
                let owner = &copy.owner;
                let detail =
                    format!("{owner} counted {least} to {most} on {id}, not in {bounds:?}");
                findings.violation(NAME, detail);
            }
            if let Err(why) = resets(counter, &records, &removed, findings) {
                findings.violation(NAME, format!("{} on {id}: {why}", copy.owner));
            }
        }
    }
}

/// Least and most that all additions can come to. Where a note was `forgotten` a repetition may
/// have counted again.
fn added(records: &[&Record], forgotten: &BTreeSet<ObjectId>) -> RangeInclusive<i128> {
    let (mut least, mut most) = (0, 0);
    let mut count = |amount: i128, certain: bool| {
        least += if certain { amount } else { amount.min(0) };
        most += if certain { amount } else { amount.max(0) };
    };
    let mut once: BTreeMap<&Once, (i128, bool)> = BTreeMap::new();
    for record in records {
        let Some(ObjectOp::Counter(CounterOp::Add { amount, .. })) = record.possible_write() else {
            continue;
        };
        let certain = record.durable_write().is_some();
        match &record.intent.options.once {
            None => count(*amount, certain),
            Some(key) => {
                let before = once.insert(key, (*amount, certain));
                let Some((_, earlier)) = before else { continue };
                once.insert(key, (*amount, certain || earlier));
                if forgotten.contains(&record.intent.object.note(&key.key)) {
                    count(*amount, false);
                }
            }
        }
    }
    once.into_values().for_each(|(amount, certain)| count(amount, certain));
    least..=most
}

/// What removals of counters may have covered.
#[derive(Default)]
struct Removed {
    /// Of runs that a client saw and removed, all totals that one saw.
    tallies: BTreeMap<Dot, Vec<Tally>>,
    /// Whether others removed what they had not seen.
    unseen: bool,
}

impl Removed {
    fn of(records: &[&Record]) -> Removed {
        let mut removed = Removed::default();
        for record in records {
            let Some(ObjectOp::Counter(op)) = record.possible_write() else { continue };
            let (CounterOp::Reset { observed, .. } | CounterOp::Delete { observed }) = op else {
                continue;
            };
            match observed {
                Observed::Context(seen) => {
                    for (run, tally) in &seen.tallies {
                        removed.tallies.entry(*run).or_default().push(*tally);
                    }
                }
                _ => removed.unseen = true,
            }
        }
        removed
    }
}

/// What all additions that the counter holds come to, each once, removed or not, at least and at
/// most. A run all of which was removed may have been collected, and a removal by one who saw less
/// of it brings that part of it back: it came to what some removal saw.
fn counted(counter: &Counter, removed: &Removed) -> (i128, i128) {
    let amount = |tally: &Tally| tally.up as i128 - tally.down as i128;
    let none = Vec::new();
    let (mut least, mut most) = (0, 0);
    let held: BTreeMap<Dot, Tally> = counter.runs().map(|(run, t)| (*run, *t)).collect();
    let runs: BTreeSet<&Dot> = held.keys().chain(removed.tallies.keys()).collect();
    for run in runs {
        let seen = removed.tallies.get(run).filter(|_| counter.is_over(run)).unwrap_or(&none);
        let amounts = || held.get(run).into_iter().chain(seen).map(amount);
        least += amounts().min().unwrap_or(0);
        most += amounts().max().unwrap_or(0);
    }
    for double in counter.doubles() {
        let in_run = |(dot, run): &(&Dot, &u64)| {
            let run = Dot { counter: **run, ..**dot };
            held.get(&run).is_some_and(|tally| tally.last >= dot.counter)
        };
        let more = double.dots.iter().filter(in_run).count().saturating_sub(1) as i128;
        least -= double.amount * more;
        most -= double.amount * more;
    }
    (least, most)
}

/// Whether what was taken off is what acknowledged resets observed, or more of what unknown
/// ones did, and nothing else.
fn resets(
    counter: &Counter,
    records: &[&Record],
    removed: &Removed,
    findings: &mut Findings,
) -> Result<(), String> {
    let mut certain: BTreeMap<Dot, u64> = BTreeMap::new();
    let mut possible: BTreeMap<Dot, Vec<Tally>> = BTreeMap::new();
    let mut unseen = false;
    for record in records {
        let Some(ObjectOp::Counter(op)) = record.possible_write() else { continue };
        match op {
            CounterOp::Add { .. } => {}
            CounterOp::Reset { observed: Observed::Context(seen), .. }
            | CounterOp::Delete { observed: Observed::Context(seen) } => {
                for (run, tally) in &seen.tallies {
                    possible.entry(*run).or_default().push(*tally);
                    if record.durable_write().is_some() {
                        let last = certain.entry(*run).or_default();
                        *last = tally.last.max(*last);
                    }
                }
            }
            CounterOp::Reset { .. } | CounterOp::Delete { .. } => unseen = true,
        }
    }
    let base: BTreeMap<Dot, Tally> = counter.base().map(|(run, tally)| (*run, *tally)).collect();
    for (run, last) in &certain {
        if removed.tallies.contains_key(run) && counter.is_over(run) {
            findings.count("resets_collected", 1);
            continue;
        }
        findings.count("resets_that_must_hold", 1);
        if base.get(run).is_none_or(|tally| tally.last < *last) {
            return Err(format!("a reset that observed {run} up to {last} is not in force"));
        }
    }
    // A copy of an earlier state of a run that was removed and collected is taken off as it comes.
    let came_back = |run: &Dot, tally: &Tally| {
        let seen = removed.tallies.get(run).filter(|_| counter.is_over(run));
        seen.is_some_and(|tallies| tallies.iter().any(|seen| seen.last > tally.last))
    };
    let known = |run: &Dot, tally: &Tally| {
        unseen
            || possible.get(run).is_some_and(|tallies| tallies.contains(tally))
            || came_back(run, tally)
    };
    match base.iter().find(|(run, tally)| !known(run, tally)) {
        Some((run, tally)) => Err(format!("{tally:?} of {run} was taken off, which no one saw")),
        None => Ok(()),
    }
}
