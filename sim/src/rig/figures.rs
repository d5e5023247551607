//! What a run comes to in numbers, in the form in which the simulator reports the same.

use crate::history::{Outcome, Record};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::time::Duration;

/// Numbers of one run; shares are 0 to 1.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Figures {
    /// Asked.
    pub operations: u64,
    /// With success; that a read found nothing is success.
    pub answered: u64,
    /// With the word that nothing was done, or a read without an answer.
    pub refused: u64,
    /// Changes of which nobody knows.
    pub unknown: u64,
    /// Of the operations begun while a fault was active, those answered with success.
    pub availability: Option<f64>,
    /// The same of reads alone.
    pub availability_reads: Option<f64>,
    /// The same of changes alone.
    pub availability_writes: Option<f64>,
    /// The same of what asked for one replica.
    pub availability_w1: Option<f64>,
    /// Of what was answered with success.
    pub latency_ms: Latency,
    /// From the end of the last fault until nothing of it was left; none if that never came.
    pub recovery_s: Option<f64>,
    /// Until a process that was started again took requests, ms: a run's median, for real ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_ms: Option<u64>,
    /// What it took at least to ask all nodes whether they had recovered, ms, for real ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub look_ms: Option<u64>,
    /// Acknowledged changes that are missing.
    pub lost: u64,
    /// Whether each counter is what its additions allow.
    pub counters_exact: bool,
}

/// Percentiles, ms.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Latency {
    /// The median.
    pub p50: f64,
    /// 99 of 100 are below.
    pub p99: f64,
}

/// Counts what clients were told; faults were active in `active`.
pub fn count(records: &[Record], active: &[Range<Duration>]) -> Figures {
    let in_fault = |record: &&Record| active.iter().any(|span| span.contains(&record.begun));
    let hit: Vec<&Record> = records.iter().filter(in_fault).collect();
    let share = |which: fn(&Record) -> bool| {
        let of: Vec<_> = hit.iter().filter(|record| which(record)).collect();
        let answered = of.iter().filter(|record| record.is_answered()).count();
        (!of.is_empty()).then(|| answered as f64 / of.len() as f64)
    };
    let is_unknown = |record: &&Record| matches!(record.outcome, Outcome::Unknown(_));
    let answered = records.iter().filter(|record| record.is_answered());
    let unknown = records.iter().filter(is_unknown).count() as u64;
    let mut took: Vec<Duration> =
        answered.map(|record| record.done.saturating_sub(record.begun)).collect();
    took.sort_unstable();
    let percentile = |of_100: usize| {
        let place = (took.len() * of_100 / 100).min(took.len().saturating_sub(1));
        took.get(place).map_or(0.0, |took| took.as_secs_f64() * 1_000.0)
    };
    let (operations, answered) = (records.len() as u64, took.len() as u64);
    Figures {
        operations,
        answered,
        refused: operations - answered - unknown,
        unknown,
        availability: share(|_| true),
        availability_reads: share(Record::is_read),
        availability_writes: share(|record| !record.is_read()),
        availability_w1: share(|record| record.one),
        latency_ms: Latency { p50: percentile(50), p99: percentile(99) },
        ..Figures::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Action, Object, Type};

    #[test]
    fn availability_is_of_what_was_asked_while_a_fault_was_active() {
        let record = |at_s: u64, action: Action, outcome: Outcome| {
            let (begun, object) =
                (Duration::from_secs(at_s), Object { tag: Type::Counter, key: 0 });
            let done = begun + Duration::from_millis(at_s);
            Record { node: 0, object, action, one: at_s == 11, begun, done, outcome }
        };
        let failed = || Outcome::Unknown("late".into());
        let records = [
            record(9, Action::Read, Outcome::Refused("503".into())),
            record(10, Action::Read, Outcome::Read([].into())),
            record(11, Action::Count(1), failed()),
            record(12, Action::Count(1), Outcome::Written(3)),
            record(20, Action::Count(1), failed()),
        ];
        let active = Duration::from_secs(10)..Duration::from_secs(20);
        let figures = count(&records, &[active]);
        assert_eq!((figures.operations, figures.answered), (5, 2));
        assert_eq!((figures.refused, figures.unknown), (1, 2));
        assert_eq!(figures.availability, Some(2.0 / 3.0));
        assert_eq!(figures.availability_reads, Some(1.0));
        assert_eq!(figures.availability_writes, Some(0.5));
        assert_eq!(figures.availability_w1, Some(0.0));
        assert_eq!(figures.latency_ms, Latency { p50: 12.0, p99: 12.0 });
        assert_eq!(count(&[], &[]).availability, None);
    }
}
