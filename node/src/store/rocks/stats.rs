//! What the database says about itself, cheap enough to be read at every scrape.
//!
//! Sizes are gauges and may move either way; hits and misses count up from opening.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rocksdb::properties;
use rocksdb::statistics::Ticker;

use super::{Family, Shared, StoreError, failure};

/// Measurements of one family.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FamilyStats {
    /// Which family.
    pub family: Family,
    /// Bytes of its live tables on disk, compressed. Rows that are only in memtables are not in.
    pub table_bytes: u64,
    /// Number of its live tables.
    pub tables: u64,
    /// Rows, by RocksDB's estimate: overwritten and deleted ones may be counted.
    pub rows_estimate: u64,
    /// Bytes of its memtables, those being flushed included.
    pub memtable_bytes: u64,
    /// Bytes that compaction has still to rewrite.
    pub pending_compaction_bytes: u64,
}

/// Measurements of the whole database.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RocksStats {
    /// One entry a family, in the order of [`Family::ALL`].
    pub families: Vec<FamilyStats>,
    /// Bytes in the block cache, what memtables reserve in it included.
    pub block_cache_bytes: u64,
    /// The part of them that cannot be evicted now.
    pub block_cache_pinned_bytes: u64,
    /// Bytes that it may hold.
    pub block_cache_capacity_bytes: u64,
    /// Blocks that were found in the cache.
    pub block_cache_hits: u64,
    /// Blocks that were read from disk.
    pub block_cache_misses: u64,
    /// Bytes that all memtables hold.
    pub memtable_bytes: u64,
    /// Background work that failed since opening; any is a reason to look.
    pub background_errors: u64,
    /// Whether writes wait because flushing or compaction lags.
    pub write_stopped: bool,
    /// Time that writes waited for it since opening, µs.
    pub stalled_us: u64,
    /// Bytes written to the log since opening.
    pub log_bytes: u64,
    /// Bytes written to tables from memory since opening.
    pub flushed_bytes: u64,
    /// Bytes of tables rewritten since opening.
    pub compacted_bytes: u64,
    /// Compactions under way.
    pub compactions: u64,
    /// Bytes free on the file system, 0 when it cannot be asked.
    pub disk_free_bytes: u64,
    /// Bytes of the whole file system, 0 when it cannot be asked.
    pub disk_size_bytes: u64,
    /// Bytes that are kept free there.
    pub disk_reserve_bytes: u64,
    /// Batches refused since opening because less was free.
    pub writes_refused: u64,
}

/// Reads measurements from any thread. Keeps the database open.
#[derive(Clone)]
pub struct Probe {
    shared: Arc<Shared>,
}

impl Probe {
    pub(super) fn new(shared: Arc<Shared>) -> Probe {
        Probe { shared }
    }

    /// All measurements, now.
    ///
    /// # Errors
    /// RocksDB did not give a number it is known to have.
    pub fn stats(&self) -> Result<RocksStats, StoreError> {
        let (tuning, space) = (&self.shared.tuning, &self.shared.space);
        let (disk_free_bytes, disk_size_bytes) = space.ask().unwrap_or_default();
        let count = |ticker| tuning.database.get_ticker_count(ticker);
        let families: Result<Vec<_>, _> =
            Family::ALL.into_iter().map(|family| self.family(family)).collect();
        Ok(RocksStats {
            families: families?,
            block_cache_bytes: tuning.cache.get_usage() as u64,
            block_cache_pinned_bytes: tuning.cache.get_pinned_usage() as u64,
            block_cache_capacity_bytes: tuning.cache_bytes,
            block_cache_hits: count(Ticker::BlockCacheHit),
            block_cache_misses: count(Ticker::BlockCacheMiss),
            memtable_bytes: tuning.memtables.get_usage() as u64,
            background_errors: self.number(Family::Meta, properties::BACKGROUND_ERRORS)?,
            write_stopped: self.number(Family::Meta, properties::IS_WRITE_STOPPED)? != 0,
            stalled_us: count(Ticker::StallMicros),
            log_bytes: count(Ticker::WalFileBytes),
            flushed_bytes: count(Ticker::FlushWriteBytes),
            compacted_bytes: count(Ticker::CompactWriteBytes),
            compactions: self.number(Family::Meta, properties::NUM_RUNNING_COMPACTIONS)?,
            disk_free_bytes,
            disk_size_bytes,
            disk_reserve_bytes: space.reserve.load(Ordering::Relaxed),
            writes_refused: space.refused.load(Ordering::Relaxed),
        })
    }

    fn family(&self, family: Family) -> Result<FamilyStats, StoreError> {
        let pending = properties::ESTIMATE_PENDING_COMPACTION_BYTES;
        let handle = self.shared.family(family)?;
        let tables = self.shared.db.get_column_family_metadata_cf(handle).file_count;
        Ok(FamilyStats {
            family,
            table_bytes: self.number(family, properties::LIVE_SST_FILES_SIZE)?,
            tables: tables as u64,
            rows_estimate: self.number(family, properties::ESTIMATE_NUM_KEYS)?,
            memtable_bytes: self.number(family, properties::CUR_SIZE_ALL_MEM_TABLES)?,
            pending_compaction_bytes: self.number(family, pending)?,
        })
    }

    fn number(&self, family: Family, name: &properties::PropName) -> Result<u64, StoreError> {
        let handle = self.shared.family(family)?;
        let value = self.shared.db.property_int_value_cf(handle, name).map_err(|e| failure(&e))?;
        value.ok_or_else(|| StoreError::Failed("RocksDB lacks a property".to_owned()))
    }
}
