//! How busy the node's own threads are: the core's, which takes one input after another, and the
//! one that syncs.

use super::families::{Family, Sample};
use super::histogram::{BATCH_BOUNDS, Histogram, Reading, SYNC_BOUNDS};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What the node's threads did.
#[derive(Debug)]
pub struct Work {
    sync_times: Histogram,
    sync_batches: Histogram,
    busy_ns: AtomicU64,
    turns: AtomicU64,
    inputs: AtomicU64,
}

impl Default for Work {
    fn default() -> Work {
        Work {
            sync_times: Histogram::of_seconds(SYNC_BOUNDS),
            sync_batches: Histogram::of_numbers(BATCH_BOUNDS),
            busy_ns: AtomicU64::new(0),
            turns: AtomicU64::new(0),
            inputs: AtomicU64::new(0),
        }
    }
}

impl Work {
    /// Appends them.
    pub fn samples(&self, samples: &mut Vec<Sample>) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed) as f64;
        samples.extend([
            Family::CoreBusy.is(read(&self.busy_ns) / 1e9),
            Family::CoreTurns.is(read(&self.turns)),
            Family::CoreInputs.is(read(&self.inputs)),
            Family::SyncDuration.spread(&[], self.syncs()),
            Family::SyncBatches.spread(&[], self.sync_batches.read()),
        ]);
    }

    /// Counts one turn of the core's thread.
    pub fn turned(&self, inputs: usize, took: Duration) {
        self.busy_ns.fetch_add(took.as_nanos() as u64, Ordering::Relaxed);
        self.turns.fetch_add(1, Ordering::Relaxed);
        self.inputs.fetch_add(inputs as u64, Ordering::Relaxed);
    }

    /// Counts one sync.
    pub fn synced(&self, batches: u64, took: Duration) {
        self.sync_times.took(took);
        self.sync_batches.record(batches as f64);
    }

    /// How long syncs took.
    pub fn syncs(&self) -> Reading {
        self.sync_times.read()
    }
}
