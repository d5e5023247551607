//! What must hold in the end, judged from what clients were told and what all owners answer.
//!
//! - An acknowledged value is there, or was superseded by a write that may have seen it.
//! - An acknowledged member is there, or was removed by someone who had read it; a removed one
//!   stays removed.
//! - A counter is the sum of what was acknowledged, and of unknown amounts any part.
//! - Nothing is there that nobody wrote, or whose write was refused.

use crate::history::{Action, Object, Record, Seen, Type};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Broken promises that are kept word for word; all are counted.
const KEPT_MAX: usize = 20;

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Findings {
    /// Acknowledged changes that are missing.
    pub lost: u64,
    /// Counters that are not what their additions allow.
    pub counters_wrong: u64,
    /// Values and members that nobody can have written, or that came back.
    pub invented: u64,
    /// How many objects were judged.
    pub objects: u64,
    /// In words, the first ones.
    pub violations: Vec<String>,
}

impl Findings {
    fn violation(&mut self, text: String) {
        if self.violations.len() < KEPT_MAX {
            self.violations.push(text);
        }
    }

    fn lost(&mut self, object: Object, what: &str, record: &Record) {
        self.lost += 1;
        let (node, done) = (record.node, record.done.as_secs_f64());
        self.violation(format!(
            "{object}: {what}, acknowledged by node{node} at {done:.3} s, is lost: {:?}",
            record.outcome
        ));
    }

    fn invented(&mut self, object: Object, what: &str) {
        self.invented += 1;
        self.violation(format!("{object}: {what} is there, and should not be"));
    }
}

/// Judges every object; `excused` are changes that one disk alone held when it was lost.
pub fn judge(
    records: &[Record],
    values: &BTreeMap<Object, BTreeSet<String>>,
    excused: impl Fn(&Record) -> bool,
) -> Findings {
    let mut findings = Findings::default();
    for (object, found) in values {
        let changes: Vec<Change> = records
            .iter()
            .filter(|record| record.object == *object && record.may_count())
            .map(|record| Change { record, certain: record.is_written() && !excused(record) })
            .collect();
        findings.objects += 1;
        match object.tag {
            Type::Kv => registers(*object, &changes, found, &mut findings),
            Type::Counter => counters(*object, &changes, found, &mut findings),
            Type::Set => sets(*object, &changes, found, &mut findings),
            Type::Flag => flags(*object, &changes, found, &mut findings),
        }
    }
    findings
}

/// A change that may be in force.
struct Change<'a> {
    record: &'a Record,
    /// It must be.
    certain: bool,
}

fn registers(object: Object, all: &[Change], found: &BTreeSet<String>, findings: &mut Findings) {
    let put = |change: &Change| match &change.record.action {
        Action::Put(value, _) => Some(value.clone()),
        _ => None,
    };
    let known: BTreeSet<String> = all.iter().filter_map(put).collect();
    for value in found.difference(&known) {
        findings.invented(object, value);
    }
    for change in all.iter().filter(|change| change.certain) {
        let Action::Put(value, _) = &change.record.action else { continue };
        let covers = |other: &Change| match &other.record.action {
            Action::Put(other_value, Seen::Just(seen)) => {
                other_value != value && seen.contains(value)
            }
            // The replica that applied it held who knows what by then.
            Action::Put(other_value, Seen::Here) => {
                let unknown = !other.record.is_written();
                other_value != value && (unknown || other.record.done >= change.record.begun)
            }
            _ => false,
        };
        if !found.contains(value) && !all.iter().any(covers) {
            findings.lost(object, value, change.record);
        }
    }
}

fn counters(object: Object, all: &[Change], found: &BTreeSet<String>, findings: &mut Findings) {
    let (mut least, mut most) = (0, 0);
    for change in all {
        let Action::Count(amount) = change.record.action else { continue };
        least += if change.certain { amount } else { amount.min(0) };
        most += if change.certain { amount } else { amount.max(0) };
    }
    let value = found.first().and_then(|text| text.parse::<i64>().ok());
    if value.is_none_or(|value| !(least..=most).contains(&value)) {
        findings.counters_wrong += 1;
        findings.violation(format!("{object} is {value:?}, not {least} to {most}"));
    }
}

fn sets(object: Object, all: &[Change], found: &BTreeSet<String>, findings: &mut Findings) {
    let mut removed: BTreeMap<&String, bool> = BTreeMap::new();
    for change in all {
        if let Action::Remove(members) = &change.record.action {
            for member in members {
                *removed.entry(member).or_default() |= change.certain;
            }
        }
    }
    let mut known = BTreeSet::new();
    for change in all {
        let Action::Add(members) = &change.record.action else { continue };
        known.extend(members);
        for member in members {
            let is_there = found.contains(member);
            match removed.get(member) {
                None if change.certain && !is_there => findings.lost(object, member, change.record),
                // It was read before it was removed and is added only once.
                Some(true) if is_there => findings.invented(object, member),
                _ => {}
            }
        }
    }
    for member in found.iter().filter(|member| !known.contains(member)) {
        findings.invented(object, member);
    }
}

/// A flag is on if someone switched it on whom nobody can have switched off since.
fn flags(object: Object, all: &[Change], found: &BTreeSet<String>, findings: &mut Findings) {
    let switched =
        |on: bool| all.iter().filter(move |change| change.record.action == Action::Switch(on));
    let is_on = found.contains("true");
    if is_on && switched(true).next().is_none() {
        findings.invented(object, "on");
    }
    let stands = |on: &&Change| {
        let off_since =
            |off: &Change| !off.record.is_written() || off.record.done >= on.record.begun;
        on.certain && !switched(false).any(off_since)
    };
    if let (false, Some(on)) = (is_on, switched(true).find(stands)) {
        findings.lost(object, "on", on.record);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Outcome;
    use std::time::Duration;

    fn record(tag: Type, action: Action, outcome: Outcome, at_s: u64) -> Record {
        let (begun, done) = (Duration::from_secs(at_s), Duration::from_millis(at_s * 1_000 + 5));
        let object = Object { tag, key: 1 };
        Record { node: 0, object, action, one: false, begun, done, outcome }
    }

    fn values(texts: &[&str]) -> BTreeSet<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    fn judged(records: &[Record], found: &[&str]) -> (u64, u64, u64) {
        let all = BTreeMap::from([(records[0].object, values(found))]);
        let findings = judge(records, &all, |_| false);
        assert_eq!(findings.objects, 1);
        (findings.lost, findings.counters_wrong, findings.invented)
    }

    const YES: Outcome = Outcome::Written(2);

    fn unknown() -> Outcome {
        Outcome::Unknown("late".into())
    }

    #[test]
    fn a_value_is_lost_unless_it_is_there_or_was_seen_by_a_later_write() {
        let put = |value: &str, seen: &[&str], outcome, at_s| {
            let seen = Seen::Just(values(seen));
            record(Type::Kv, Action::Put(value.into(), seen), outcome, at_s)
        };
        let first = put("a", &[], YES, 1);
        assert_eq!(judged(std::slice::from_ref(&first), &[]), (1, 0, 0));
        assert_eq!(judged(std::slice::from_ref(&first), &["a"]), (0, 0, 0));
        assert_eq!(judged(&[first.clone(), put("b", &["a"], YES, 2)], &["b"]), (0, 0, 0));
        assert_eq!(judged(&[first.clone(), put("b", &[], YES, 2)], &["b"]), (1, 0, 0));
        assert_eq!(judged(&[first.clone(), put("b", &["a"], unknown(), 2)], &[]), (0, 0, 0));
        let refused = put("c", &["a"], Outcome::Refused("503".into()), 2);
        assert_eq!(judged(&[first, refused], &["c"]), (1, 0, 1));
        let here =
            |value: &str, at_s| record(Type::Kv, Action::Put(value.into(), Seen::Here), YES, at_s);
        assert_eq!(judged(&[here("a", 1), here("b", 2)], &["b"]), (0, 0, 0));
        assert_eq!(judged(&[here("a", 1), here("b", 2)], &["a"]), (1, 0, 0));
    }

    #[test]
    fn a_counter_is_its_additions_and_any_part_of_the_unknown_ones() {
        let add = |amount, outcome| record(Type::Counter, Action::Count(amount), outcome, 1);
        let all = [add(5, YES), add(10, unknown()), add(-2, unknown())];
        for (value, wrong) in [("2", 1), ("3", 0), ("5", 0), ("15", 0), ("16", 1), ("x", 1)] {
            assert_eq!(judged(&all, &[value]), (0, wrong, 0), "{value}");
        }
    }

    #[test]
    fn members_stay_until_they_are_removed_and_then_stay_away() {
        let add = record(Type::Set, Action::Add(values(&["m"])), YES, 1);
        let remove = |outcome| record(Type::Set, Action::Remove(values(&["m"])), outcome, 2);
        assert_eq!(judged(std::slice::from_ref(&add), &[]), (1, 0, 0));
        assert_eq!(judged(&[add.clone(), remove(YES)], &["m"]), (0, 0, 1));
        assert_eq!(judged(&[add.clone(), remove(YES)], &[]), (0, 0, 0));
        assert_eq!(judged(&[add.clone(), remove(unknown())], &[]), (0, 0, 0));
        assert_eq!(judged(&[add.clone(), remove(unknown())], &["m"]), (0, 0, 0));
        assert_eq!(judged(&[add], &["m", "x"]), (0, 0, 1));
    }

    #[test]
    fn a_flag_that_nobody_switched_off_since_is_on() {
        let switch = |on, at_s| record(Type::Flag, Action::Switch(on), YES, at_s);
        assert_eq!(judged(&[switch(false, 1), switch(true, 2)], &["false"]), (1, 0, 0));
        assert_eq!(judged(&[switch(true, 1), switch(false, 2)], &["false"]), (0, 0, 0));
        assert_eq!(judged(&[switch(false, 1)], &["true"]), (0, 0, 1));
    }

    #[test]
    fn what_one_lost_disk_held_alone_may_be_missing() {
        let add = record(Type::Counter, Action::Count(5), Outcome::Written(1), 1);
        let all = BTreeMap::from([(add.object, values(&["0"]))]);
        let alone = |record: &Record| record.outcome == Outcome::Written(1);
        assert_eq!(judge(&[add], &all, alone).counters_wrong, 0);
    }
}
