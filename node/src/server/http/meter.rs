//! What the HTTP layer counts: fixed arrays of atomics, one slot a series, so that counting costs
//! a few nanoseconds and no request can make a new series.

use super::families::LATENCY_BOUNDS;
use super::problem::Code;
use super::router::{Call, ROUTES};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Classes of status, `1xx` to `5xx`.
pub const CLASSES: usize = 5;
/// The slot for requests that matched no route.
const UNMATCHED: usize = ROUTES.len();

/// Counters of one server.
pub struct Meter {
    /// When the server began.
    pub started: Instant,
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
    calls: Vec<CallMeter>,
    problems: Vec<AtomicU64>,
}

/// Counters of one call.
#[derive(Default)]
pub struct CallMeter {
    classes: [AtomicU64; CLASSES],
    buckets: [AtomicU64; LATENCY_BOUNDS.len() + 1],
    sum_ns: AtomicU64,
}

/// One call's counters at one moment.
#[derive(Clone, PartialEq, Debug)]
pub struct CallReading {
    /// Answers by class of status, `1xx` first.
    pub classes: [u64; CLASSES],
    /// Answers at or below each of the bounds, then all.
    pub cumulative: Vec<u64>,
    /// Time taken by all of them.
    pub sum: Duration,
}

impl Default for Meter {
    fn default() -> Self {
        Meter {
            started: Instant::now(),
            connections_open: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            contexts_omitted: AtomicU64::new(0),
            calls: std::iter::repeat_with(CallMeter::default).take(UNMATCHED + 1).collect(),
            problems: std::iter::repeat_with(AtomicU64::default).take(Code::TABLE.len()).collect(),
        }
    }
}

impl Meter {
    /// Counts one answer; `call` is `None` when no route matched.
    pub fn answered(&self, call: Option<Call>, status: u16, took: Duration) {
        let meter = &self.calls[call.map_or(UNMATCHED, |call| call as usize)];
        let class = usize::from(status / 100).clamp(1, CLASSES) - 1;
        meter.classes[class].fetch_add(1, Relaxed);
        let bucket = LATENCY_BOUNDS.partition_point(|bound| *bound < took.as_secs_f64());
        meter.buckets[bucket].fetch_add(1, Relaxed);
        meter.sum_ns.fetch_add(took.as_nanos() as u64, Relaxed);
    }

    /// Counts one problem.
    pub fn problem(&self, code: Code) {
        self.problems[code as usize].fetch_add(1, Relaxed);
    }

    /// Problems so far of the code at that place in [`Code::TABLE`].
    pub fn problems(&self, at: usize) -> u64 {
        self.problems[at].load(Relaxed)
    }

    /// Counters of the call at that place in [`ROUTES`], or of unmatched requests behind them.
    pub fn reading(&self, at: usize) -> CallReading {
        let meter = &self.calls[at];
        let mut sum = 0;
        let cumulative = meter.buckets.iter().map(|bucket| {
            sum += bucket.load(Relaxed);
            sum
        });
        CallReading {
            cumulative: cumulative.collect(),
            classes: std::array::from_fn(|class| meter.classes[class].load(Relaxed)),
            sum: Duration::from_nanos(meter.sum_ns.load(Relaxed)),
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
    fn an_answer_counts_in_its_class_and_in_every_bucket_above_it() {
        let meter = Meter::default();
        meter.answered(Some(Call::KvPut), 200, Duration::from_millis(3));
        meter.answered(Some(Call::KvPut), 503, Duration::from_secs(20));
        meter.answered(None, 404, Duration::ZERO);
        let put = meter.reading(Call::KvPut as usize);
        assert_eq!(put.classes, [0, 1, 0, 0, 1]);
        assert_eq!(put.cumulative[3..5], [0, 1]);
        assert_eq!(put.cumulative.last(), Some(&2));
        assert_eq!(put.sum, Duration::from_millis(20_003));
        assert_eq!(meter.reading(UNMATCHED).classes, [0, 0, 0, 1, 0]);
    }
}
