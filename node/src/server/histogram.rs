//! Histograms of fixed buckets: counting one value is three additions, and nobody waits.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Upper bounds for requests and calls, seconds.
pub const LATENCY_BOUNDS: &[f64] = &[
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0,
];
/// Upper bounds for syncs, seconds.
pub const SYNC_BOUNDS: &[f64] = &[
    0.000_1, 0.000_2, 0.000_4, 0.000_8, 0.001_6, 0.003_2, 0.006_4, 0.012_8, 0.025_6, 0.051_2,
    0.204_8, 1.0,
];
/// Upper bounds for numbers of things that come in batches.
pub const BATCH_BOUNDS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 1_024.0];
/// Upper bounds for siblings: a client is warned above 8 and refused above 32.
pub const SIBLING_BOUNDS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0];
/// Upper bounds for contexts, bytes; the last is the longest that fits a header.
pub const CONTEXT_BOUNDS: &[f64] =
    &[128.0, 256.0, 512.0, 1_024.0, 2_048.0, 4_096.0, 8_192.0, 12_288.0];

/// A histogram that threads share.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    /// Parts of the unit in which the sum is kept.
    parts: f64,
    /// Values at or below each bound and above the one before it; the last is above all.
    buckets: Vec<AtomicU64>,
    sum: AtomicU64,
}

/// A histogram at one moment.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Reading {
    /// Bounds and how many values were at most that; cumulative. All of them are `count`.
    pub buckets: Vec<(f64, u64)>,
    /// Values in all.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
}

impl Histogram {
    /// For durations; the sum is kept in nanoseconds.
    pub fn of_seconds(bounds: &'static [f64]) -> Histogram {
        Histogram::new(bounds, 1e9)
    }

    /// For whole numbers.
    pub fn of_numbers(bounds: &'static [f64]) -> Histogram {
        Histogram::new(bounds, 1.0)
    }

    fn new(bounds: &'static [f64], parts: f64) -> Histogram {
        let buckets = std::iter::repeat_with(AtomicU64::default).take(bounds.len() + 1).collect();
        Histogram { bounds, parts, buckets, sum: AtomicU64::new(0) }
    }

    /// Counts one value.
    pub fn record(&self, value: f64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.sum.fetch_add((value * self.parts).round() as u64, Relaxed);
    }

    /// Counts one duration.
    pub fn took(&self, took: Duration) {
        self.record(took.as_secs_f64());
    }

    /// Its values now.
    pub fn read(&self) -> Reading {
        let mut count = 0;
        let mut counted = self.buckets.iter().map(|bucket| {
            count += bucket.load(Relaxed);
            count
        });
        let buckets = self.bounds.iter().copied().zip(counted.by_ref()).collect();
        counted.for_each(drop);
        Reading { buckets, count, sum: self.sum.load(Relaxed) as f64 / self.parts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_in_every_bucket_above_it() {
        let histogram = Histogram::of_seconds(LATENCY_BOUNDS);
        histogram.took(Duration::from_millis(3));
        histogram.took(Duration::from_millis(5));
        histogram.took(Duration::from_secs(20));
        let reading = histogram.read();
        assert_eq!(reading.buckets[3..5], [(0.002_5, 0), (0.005, 2)]);
        assert_eq!(reading.buckets.last(), Some(&(10.0, 2)));
        assert_eq!((reading.count, reading.sum), (3, 20.008));
        let sizes = Histogram::of_numbers(BATCH_BOUNDS);
        sizes.record(2_000.0);
        assert_eq!((sizes.read().count, sizes.read().sum), (1, 2_000.0));
    }
}
