//! The store's measurements as series.

use super::families::{Family, Sample};
use crate::store::cached::CacheStats;
use crate::store::rocks::{FamilyStats, Probe, RocksStats};

/// A number of one column family.
type Read = fn(&FamilyStats) -> u64;
/// A number of the whole database.
type ReadAll = fn(&RocksStats) -> u64;

const PER_FAMILY: [(Family, Read); 5] = [
    (Family::TableBytes, |f| f.table_bytes),
    (Family::Tables, |f| f.tables),
    (Family::Rows, |f| f.rows_estimate),
    (Family::MemtableBytes, |f| f.memtable_bytes),
    (Family::PendingCompaction, |f| f.pending_compaction_bytes),
];

const WHOLE: [(Family, ReadAll); 15] = [
    (Family::CacheBytes, |s| s.block_cache_bytes),
    (Family::CachePinned, |s| s.block_cache_pinned_bytes),
    (Family::CacheCapacity, |s| s.block_cache_capacity_bytes),
    (Family::CacheHits, |s| s.block_cache_hits),
    (Family::CacheMisses, |s| s.block_cache_misses),
    (Family::LogBytes, |s| s.log_bytes),
    (Family::Flushed, |s| s.flushed_bytes),
    (Family::Compacted, |s| s.compacted_bytes),
    (Family::Compactions, |s| s.compactions),
    (Family::WriteStopped, |s| s.write_stopped.into()),
    (Family::BackgroundErrors, |s| s.background_errors),
    (Family::DiskFree, |s| s.disk_free_bytes),
    (Family::DiskSize, |s| s.disk_size_bytes),
    (Family::DiskReserve, |s| s.disk_reserve_bytes),
    (Family::WritesRefused, |s| s.writes_refused),
];

/// Appends them; a store that cannot say leaves them out and is logged.
pub fn samples(probe: &Probe, samples: &mut Vec<Sample>) {
    let stats = match probe.stats() {
        Ok(stats) => stats,
        Err(error) => {
            tracing::warn!(%error, "the store's measurements cannot be read");
            return;
        }
    };
    for (family, read) in PER_FAMILY {
        for rows in &stats.families {
            samples.push(family.of(&[("family", rows.family.name())], read(rows) as f64));
        }
    }
    samples.extend(WHOLE.iter().map(|(family, read)| family.is(read(&stats) as f64)));
    samples.push(Family::Stalled.is(stats.stalled_us as f64 / 1e6));
}

/// Appends what the object cache does.
pub fn cache_samples(cache: &CacheStats, samples: &mut Vec<Sample>) {
    samples.extend([
        Family::ObjectCacheBytes.is(cache.bytes() as f64),
        Family::ObjectCacheCapacity.is(cache.capacity() as f64),
        Family::ObjectCacheHits.is(cache.hits() as f64),
        Family::ObjectCacheMisses.is(cache.misses() as f64),
    ]);
}
