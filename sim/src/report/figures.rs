//! The numbers of a run, as its clients and an onlooker see them.

use super::ops::{self, End, Op, availability};
use super::sides;
use super::staleness::{self, Staleness};
use crate::verdict::Verdict;
use crate::world::observe::Observed;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// The longest latency told of, microseconds.
const LATENCY_MAX_US: u64 = 3_600_000_000;

/// Latencies, ms.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Percentiles {
    /// Half of all are not longer.
    pub p50: f64,
    /// 99 of 100 are not longer.
    pub p99: f64,
}

/// Of the nodes of one side.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SideFigures {
    /// Its nodes.
    pub nodes: String,
    /// Operations that its nodes were asked for.
    pub operations: u64,
    /// Share of those begun while a fault was active that were answered.
    pub availability: Option<f64>,
    /// Of those answered.
    pub latency_ms: Percentiles,
}

/// Sent between nodes, retransmissions and duplicates by the network not counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Bytes {
    /// Messages of the data path.
    pub peers: u64,
    /// Membership.
    pub gossip: u64,
}

/// The numbers of one run. A share is of 1; what cannot be told is absent.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Figures {
    /// Operations that clients began.
    pub operations: u64,
    /// Those answered with success; "not found" is one for a read.
    pub answered: u64,
    /// Those answered with the word that nothing was applied, or for which no node was there.
    pub refused: u64,
    /// Those without an answer, or with the word that the outcome is unknown.
    pub unknown: u64,
    /// Of the operations begun while a fault was active, the share answered.
    pub availability: Option<f64>,
    /// Of those begun before the first fault.
    pub availability_before: Option<f64>,
    /// Of those begun after the last fault.
    pub availability_after: Option<f64>,
    /// Of the reads begun while a fault was active.
    pub availability_reads: Option<f64>,
    /// Of the writes begun while a fault was active.
    pub availability_writes: Option<f64>,
    /// Of the operations begun while a fault was active that asked for one replica.
    pub availability_w1: Option<f64>,
    /// Of the answered ones.
    pub latency_ms: Percentiles,
    /// Of the answered ones begun while a fault was active.
    pub latency_ms_under_faults: Percentiles,
    /// By side.
    pub sides: Vec<SideFigures>,
    /// From the end of the last fault until no hint was owed, all nodes heard each other and all
    /// replicas were equal, seconds; looked for every 50 ms.
    pub recovery_s: Option<f64>,
    /// Most objects of which not all owners held the same, of all looks.
    pub divergent_max: u64,
    /// Most hints owed at one time by all nodes, of all looks.
    pub hints_max: u64,
    /// Of reads.
    pub staleness: Staleness,
    /// Bytes sent.
    pub bytes: Bytes,
    /// Acknowledged writes missing in the end.
    pub lost: u64,
    /// Whether every counter is what was added to it.
    pub counters_exact: bool,
}

impl Figures {
    /// Of a run that came to its end.
    pub fn of(observed: &Observed, verdict: &Verdict) -> Figures {
        let ops = ops::all(observed);
        let ended = |end: End| ops.iter().filter(|op| op.end == end).count() as u64;
        let first_us = observed.plan.iter().map(|fault| fault.from_ms * 1_000).min();
        let first_us = first_us.map_or(u64::MAX, |since_us| observed.from_us + since_us);
        let last_us = observed.faults_end_us();
        let share = |which: &dyn Fn(&Op) -> bool| {
            availability(ops.iter().filter(|op| which(op))).map(|share| rounded(share, 6))
        };
        let (ages, not_judged) = staleness::measure(&observed.history);
        let count = |name: &str| verdict.counts.get(name).copied().unwrap_or(0);
        let hints = observed.looks.iter().map(|look| look.hints.iter().sum());
        Figures {
            operations: ops.len() as u64,
            answered: ended(End::Answered),
            refused: ended(End::Refused),
            unknown: ended(End::Unknown),
            availability: share(&|op| op.broken),
            availability_before: share(&|op| op.at_us < first_us),
            availability_after: share(&|op| first_us < u64::MAX && op.at_us >= last_us),
            availability_reads: share(&|op| op.broken && op.read),
            availability_writes: share(&|op| op.broken && !op.read),
            availability_w1: share(&|op| op.broken && op.one),
            latency_ms: percentiles(ops.iter()),
            latency_ms_under_faults: percentiles(ops.iter().filter(|op| op.broken)),
            sides: by_side(observed, &ops),
            recovery_s: observed.recovered_us.map(|at| rounded((at - last_us) as f64 / 1e6, 3)),
            divergent_max: observed.looks.iter().map(|look| look.divergent).max().unwrap_or(0),
            hints_max: hints.max().unwrap_or(0),
            staleness: Staleness::of(&ages, not_judged),
            bytes: Bytes { peers: count("message_bytes"), gossip: count("gossip_bytes") },
            lost: count("broken acked_writes_survive"),
            counters_exact: count("broken counters_exact") == 0,
        }
    }
}

fn by_side(observed: &Observed, ops: &[Op]) -> Vec<SideFigures> {
    let of = |side: sides::Side| {
        let own: Vec<&Op> = ops.iter().filter(|op| side.nodes.contains(&op.node)).collect();
        let broken = own.iter().copied().filter(|op| op.broken);
        SideFigures {
            nodes: side.name,
            operations: own.len() as u64,
            availability: availability(broken).map(|share| rounded(share, 6)),
            latency_ms: percentiles(own.iter().copied()),
        }
    };
    sides::of(observed).into_iter().map(of).collect()
}

fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (value * scale).round() / scale
}

/// Of the answered ones.
pub(super) fn percentiles<'a>(ops: impl Iterator<Item = &'a Op>) -> Percentiles {
    let mut latencies = Histogram::<u64>::new_with_bounds(1, LATENCY_MAX_US, 3)
        .expect("bounds and precision are valid");
    for op in ops.filter(|op| op.end == End::Answered) {
        latencies.saturating_record((op.took_ms * 1e3) as u64);
    }
    let at = |share: f64| rounded(latencies.value_at_quantile(share) as f64 / 1e3, 3);
    Percentiles { p50: at(0.5), p99: at(0.99) }
}
