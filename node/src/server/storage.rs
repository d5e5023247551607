//! The store's measurements as series.

use super::handle::Sample;
use crate::metrics::Kind;
use crate::store::rocks::{FamilyStats, Probe};

/// A number of one family.
type Read = fn(&FamilyStats) -> u64;

const PER_FAMILY: [(&str, &str, Read); 5] = [
    ("starling_storage_table_bytes", "Bytes of live tables on disk.", |f| f.table_bytes),
    ("starling_storage_tables", "Live tables on disk.", |f| f.tables),
    ("starling_storage_rows_estimate", "Rows, as the store estimates.", |f| f.rows_estimate),
    ("starling_storage_memtable_bytes", "Bytes of rows in memory.", |f| f.memtable_bytes),
    (
        "starling_storage_pending_compaction_bytes",
        "Bytes that compaction has still to rewrite.",
        |f| f.pending_compaction_bytes,
    ),
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
    for (name, help, read) in PER_FAMILY {
        for family in &stats.families {
            let labels = vec![("family", family.family.name().to_owned())];
            let value = read(family) as f64;
            samples.push(Sample { name, help, kind: Kind::Gauge, labels, value });
        }
    }
    for (name, help, kind, value) in [
        (
            "starling_storage_cache_bytes",
            "Bytes in the block cache, memtables included.",
            Kind::Gauge,
            stats.block_cache_bytes,
        ),
        (
            "starling_storage_cache_hits_total",
            "Blocks found in the cache.",
            Kind::Counter,
            stats.block_cache_hits,
        ),
        (
            "starling_storage_cache_misses_total",
            "Blocks read from disk.",
            Kind::Counter,
            stats.block_cache_misses,
        ),
        (
            "starling_storage_background_errors",
            "Background work of the store that failed since the start.",
            Kind::Gauge,
            stats.background_errors,
        ),
        (
            "starling_storage_write_stopped",
            "1 while writes wait because flushing or compaction lags.",
            Kind::Gauge,
            stats.write_stopped.into(),
        ),
        (
            "starling_storage_disk_free_bytes",
            "Bytes free on the file system when a write last asked.",
            Kind::Gauge,
            stats.disk_free_bytes,
        ),
        (
            "starling_storage_disk_reserve_bytes",
            "Bytes kept free: writes are refused while less is free.",
            Kind::Gauge,
            stats.disk_reserve_bytes,
        ),
        (
            "starling_storage_writes_refused_total",
            "Batches refused because too little was free.",
            Kind::Counter,
            stats.writes_refused,
        ),
    ] {
        samples.push(Sample { name, help, kind, labels: Vec::new(), value: value as f64 });
    }
}
