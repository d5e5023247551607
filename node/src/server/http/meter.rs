//! What the HTTP layer counts: fixed arrays of atomics, one slot a series, so that counting costs
//! a few nanoseconds and no request can make a new series.

use super::labels::{Asked, Consistency, OPERATIONS, OUTCOMES, Operation, Outcome};
use super::problem::Code;
use super::router::{Call, ROUTES};
use crate::server::families::{Family, Sample};
use crate::server::histogram::{CONTEXT_BOUNDS, Histogram, LATENCY_BOUNDS, SIBLING_BOUNDS};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};

/// Classes of status, `1xx` to `5xx`.
const CLASSES: usize = 5;
/// The slot for requests that matched no route.
const UNMATCHED: usize = ROUTES.len();

/// Counters of one server.
pub struct Meter {
    /// When the server began, by both clocks.
    pub started: (Instant, SystemTime),
    /// Connections open.
    pub connections_open: AtomicU64,
    /// Connections accepted.
    pub connections: AtomicU64,
    /// Requests under way.
    pub in_flight: AtomicU64,
    /// Bytes of bodies read.
    pub bytes_in: AtomicU64,
    /// Bytes of bodies answered.
    pub bytes_out: AtomicU64,
    /// Answers without their context.
    pub contexts_omitted: AtomicU64,
    /// Lengths of contexts.
    pub contexts: Histogram,
    /// Siblings of values read.
    pub siblings: Histogram,
    calls: Vec<CallMeter>,
    problems: Vec<AtomicU64>,
    /// By operation, then by consistency.
    data: Vec<Vec<Histogram>>,
}

/// Counters of one call.
struct CallMeter {
    classes: [AtomicU64; CLASSES],
    outcomes: [AtomicU64; OUTCOMES.len()],
    took: Histogram,
}

impl Default for CallMeter {
    fn default() -> Self {
        let took = Histogram::of_seconds(LATENCY_BOUNDS);
        CallMeter { classes: Default::default(), outcomes: Default::default(), took }
    }
}

impl Default for Meter {
    fn default() -> Self {
        let took = |_| Histogram::of_seconds(LATENCY_BOUNDS);
        let row = |_| Consistency::ALL.iter().map(took).collect();
        Meter {
            started: (Instant::now(), SystemTime::now()),
            connections_open: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            contexts_omitted: AtomicU64::new(0),
            contexts: Histogram::of_numbers(CONTEXT_BOUNDS),
            siblings: Histogram::of_numbers(SIBLING_BOUNDS),
            calls: std::iter::repeat_with(CallMeter::default).take(UNMATCHED + 1).collect(),
            problems: std::iter::repeat_with(AtomicU64::default).take(Code::TABLE.len()).collect(),
            data: OPERATIONS.iter().map(row).collect(),
        }
    }
}

impl Meter {
    /// Counts one answer; `call` is `None` when no route matched.
    pub fn answered(&self, call: Option<Call>, asked: Asked, status: u16, took: Duration) {
        let meter = &self.calls[call.map_or(UNMATCHED, |call| call as usize)];
        let class = usize::from(status / 100).clamp(1, CLASSES) - 1;
        meter.classes[class].fetch_add(1, Relaxed);
        meter.took.took(took);
        let Some(call) = call else { return };
        if let Some((_, operation)) = Operation::of(&ROUTES[call as usize]) {
            meter.outcomes[Outcome::of(status) as usize].fetch_add(1, Relaxed);
            self.data[operation as usize][asked.by(operation) as usize].took(took);
        }
    }

    /// Counts one problem.
    pub fn problem(&self, code: Code) {
        self.problems[code as usize].fetch_add(1, Relaxed);
    }

    /// Everything that was counted; series that never moved are left out where there are many.
    pub fn samples(&self, samples: &mut Vec<Sample>) {
        let rows = ROUTES.iter().map(|route| (route.name, route.path, route.method));
        let unmatched = ("unmatched", "unmatched", "any");
        for ((name, path, method), call) in rows.chain([unmatched]).zip(&self.calls) {
            let labels = [("operation", name), ("route", path), ("method", method)];
            call.samples(labels, samples);
        }
        for (route, call) in ROUTES.iter().zip(&self.calls) {
            let Some((tag, operation)) = Operation::of(route) else { continue };
            call.outcomes(tag, operation, samples);
        }
        for (operation, row) in OPERATIONS.iter().zip(&self.data) {
            let readings: Vec<_> = row.iter().map(Histogram::read).collect();
            let ever = readings.iter().any(|reading| reading.count > 0);
            for (consistency, reading) in Consistency::ALL.iter().zip(readings).filter(|_| ever) {
                let labels = [("operation", operation.name()), ("consistency", consistency.name())];
                samples.push(Family::DataLatency.spread(&labels, reading));
            }
        }
        for ((code, ..), count) in Code::TABLE.iter().zip(&self.problems) {
            samples.push(Family::Problems.of(&[("code", code)], count.load(Relaxed) as f64));
        }
        for (family, count) in [
            (Family::InFlight, &self.in_flight),
            (Family::ConnectionsOpen, &self.connections_open),
            (Family::Connections, &self.connections),
            (Family::BytesIn, &self.bytes_in),
            (Family::BytesOut, &self.bytes_out),
            (Family::ContextsOmitted, &self.contexts_omitted),
        ] {
            samples.push(family.is(count.load(Relaxed) as f64));
        }
        samples.push(Family::ContextBytes.spread(&[], self.contexts.read()));
        samples.push(Family::Siblings.spread(&[], self.siblings.read()));
    }
}

impl CallMeter {
    fn samples(&self, labels: [(&'static str, &str); 3], samples: &mut Vec<Sample>) {
        for (at, count) in self.classes.iter().enumerate() {
            let count = count.load(Relaxed);
            if count > 0 {
                let class = format!("{}xx", at + 1);
                let labels = [&labels[..], &[("status", class.as_str())]].concat();
                samples.push(Family::Requests.of(&labels, count as f64));
            }
        }
        let took = self.took.read();
        if took.count > 0 && labels[0].1 != "unmatched" {
            samples.push(Family::Latency.spread(&labels[..1], took));
        }
    }

    /// All outcomes of a call that was ever made, also those that did not happen: a rate needs
    /// the zero before the first.
    fn outcomes(&self, tag: &str, operation: Operation, samples: &mut Vec<Sample>) {
        let counts = self.outcomes.each_ref().map(|count| count.load(Relaxed));
        if counts.iter().sum::<u64>() == 0 {
            return;
        }
        for (outcome, count) in OUTCOMES.iter().zip(counts) {
            let labels =
                [("type", tag), ("operation", operation.name()), ("outcome", outcome.name())];
            samples.push(Family::Data.of(&labels, count as f64));
        }
    }
}

/// Adds one while it lives.
pub struct Gauge<'a>(&'a AtomicU64);

impl<'a> Gauge<'a> {
    /// Adds one to `value`.
    pub fn new(value: &'a AtomicU64) -> Self {
        value.fetch_add(1, Relaxed);
        Gauge(value)
    }
}

impl Drop for Gauge<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_in_its_class_its_outcome_and_its_consistency() {
        let meter = Meter::default();
        let asked = Asked::of(Some("w=all"));
        meter.answered(Some(Call::KvPut), asked, 200, Duration::from_millis(3));
        meter.answered(Some(Call::KvPut), asked, 503, Duration::from_secs(20));
        meter.answered(None, Asked::of(None), 404, Duration::ZERO);
        let mut samples = Vec::new();
        meter.samples(&mut samples);
        let number = |family, wanted: &[(&str, &str)]| {
            let has = |sample: &Sample, (name, text): &(&str, &str)| {
                sample.labels.iter().any(|(label, value)| label == name && value == text)
            };
            let mut found = samples.iter().filter(|sample| sample.family == family);
            let found = found.find(|sample| wanted.iter().all(|label| has(sample, label)));
            found.map(Sample::number)
        };
        let put = ("operation", "kv_put");
        assert_eq!(number(Family::Requests, &[put, ("status", "2xx")]), Some(1.0));
        assert_eq!(number(Family::Requests, &[put, ("status", "5xx")]), Some(1.0));
        assert_eq!(number(Family::Requests, &[("operation", "unmatched")]), Some(1.0));
        assert_eq!(number(Family::Latency, &[put]), Some(2.0));
        let write = ("operation", "write");
        assert_eq!(number(Family::Data, &[write, ("outcome", "ok")]), Some(1.0));
        assert_eq!(number(Family::Data, &[write, ("outcome", "unavailable")]), Some(1.0));
        assert_eq!(number(Family::Data, &[write, ("outcome", "unknown")]), Some(0.0));
        assert_eq!(number(Family::DataLatency, &[write, ("consistency", "all")]), Some(2.0));
        assert_eq!(number(Family::DataLatency, &[write, ("consistency", "one")]), Some(0.0));
        assert_eq!(number(Family::DataLatency, &[("operation", "read")]), None);
    }
}
