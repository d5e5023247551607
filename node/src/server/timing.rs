//! The clocks that the core is shown, and how long syncs take.

use super::handle::SyncTimes;
use crate::core::Time;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Upper bounds of the histogram of syncs, microseconds.
const SYNC_BOUNDS_US: [u64; 12] =
    [100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 51_200, 204_800, 1_000_000];

/// Both clocks of this machine.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Monotonic time counts from now on.
    pub fn start() -> Clock {
        Clock { start: Instant::now() }
    }

    /// What they show.
    pub fn now(&self) -> Time {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Time { mono_us: self.start.elapsed().as_micros() as u64, wall_ms: wall.as_millis() as u64 }
    }
}

/// Counts how long syncs took.
#[derive(Debug, Default)]
pub struct SyncClock {
    buckets: [AtomicU64; SYNC_BOUNDS_US.len()],
    count: AtomicU64,
    sum_us: AtomicU64,
}

impl SyncClock {
    /// Counts one sync.
    pub fn record(&self, took: Duration) {
        let us = took.as_micros() as u64;
        if let Some(at) = SYNC_BOUNDS_US.iter().position(|bound| us <= *bound) {
            self.buckets[at].fetch_add(1, Ordering::Relaxed);
        }
        self.sum_us.fetch_add(us, Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// The histogram, cumulative.
    pub fn read(&self) -> SyncTimes {
        let mut below = 0;
        let buckets = SYNC_BOUNDS_US.iter().zip(&self.buckets).map(|(bound, bucket)| {
            below += bucket.load(Ordering::Relaxed);
            (*bound as f64 / 1e6, below)
        });
        SyncTimes {
            buckets: buckets.collect(),
            count: self.count.load(Ordering::Relaxed).max(below),
            sum_seconds: self.sum_us.load(Ordering::Relaxed) as f64 / 1e6,
        }
    }
}
