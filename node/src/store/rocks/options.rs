//! How much memory, log and background work the database may use, and everything tuned for it.
//!
//! One budget covers cached blocks, indexes, filters and memtables, so a node's memory is set by
//! one number. The formats (compression, filters, recovery) are fixed here and not options.

use std::ffi::c_int;

use rocksdb::statistics::StatsLevel;
use rocksdb::{
    BlockBasedOptions, Cache, DBCompressionType, DBRecoveryMode, LogLevel, Options,
    WriteBufferManager,
};

const MIB: u64 = 1 << 20;

/// Limits of one node's database. The defaults suit a machine with a few gigabytes of memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RocksOptions {
    /// Memory for cached blocks, indexes, filters and memtables together. More keeps more reads
    /// off the disk. A quarter to a half of the machine is sensible; at least 16 MiB. It may be
    /// exceeded for as long as a flush takes, and iterators that are open are not in it.
    pub memory_bytes: u64,
    /// The part of `memory_bytes` that rows may fill before they are flushed to tables. More
    /// means fewer and larger tables, and a longer recovery. At most half of `memory_bytes`
    /// is used.
    pub memtable_bytes: u64,
    /// Size of the log at which memtables are flushed so that it can shrink. It bounds what has
    /// to be read again at opening. At least `memtable_bytes`, or the log decides when to flush.
    pub wal_bytes_max: u64,
    /// Table files kept open, each a file descriptor. Fewer means opening files on reads.
    pub open_files_max: u32,
    /// Threads that flush and compact. One per two cores leaves room for serving.
    pub background_jobs: u32,
    /// Room kept on the file system: writes are refused while less is free. It has to last for
    /// what is flushed, compacted and logged meanwhile, and for what others write there. `None`
    /// for 64 MiB, or a twentieth of the file system if that is less.
    pub reserve_bytes: Option<u64>,
}

impl Default for RocksOptions {
    fn default() -> RocksOptions {
        RocksOptions {
            memory_bytes: 256 * MIB,
            memtable_bytes: 64 * MIB,
            wal_bytes_max: 256 * MIB,
            open_files_max: 512,
            background_jobs: 2,
            reserve_bytes: None,
        }
    }
}

/// RocksDB's own options, and what lives as long as the database.
pub(super) struct Tuning {
    pub database: Options,
    pub family: Options,
    pub cache: Cache,
    pub cache_bytes: u64,
    pub memtables: WriteBufferManager,
}

impl Tuning {
    pub fn new(options: &RocksOptions) -> Tuning {
        let cache = Cache::new_lru_cache(to_size(options.memory_bytes));
        let memtable_bytes = to_size(options.memtable_bytes.min(options.memory_bytes / 2));
        // No stalls: they would stop the only writer. RocksDB slows it down when flushes lag.
        let memtables = WriteBufferManager::new_write_buffer_manager_with_cache(
            memtable_bytes,
            false,
            cache.clone(),
        );
        let database = database_options(options, &memtables);
        let family = family_options(&cache, memtable_bytes);
        Tuning { database, family, cache, cache_bytes: options.memory_bytes, memtables }
    }
}

fn database_options(options: &RocksOptions, memtables: &WriteBufferManager) -> Options {
    let mut database = Options::default();
    database.create_if_missing(true);
    database.create_missing_column_families(true);
    database.set_paranoid_checks(true);

    database.set_manual_wal_flush(true);
    database.set_max_total_wal_size(options.wal_bytes_max);
    // What a crash tore off is cut before RocksDB looks ([`super::recovery`]); it must find
    // nothing but whole records.
    database.set_wal_recovery_mode(DBRecoveryMode::AbsoluteConsistency);
    database.set_track_and_verify_wals_in_manifest(true);

    database.set_write_buffer_manager(memtables);
    database.set_max_open_files(to_int(options.open_files_max));
    database.set_max_background_jobs(to_int(options.background_jobs.max(2)));
    // Written out as it goes, a large table does not delay the log's sync behind it.
    database.set_bytes_per_sync(MIB);

    database.enable_statistics();
    database.set_statistics_level(StatsLevel::ExceptHistogramOrTimers);
    database.set_stats_dump_period_sec(0);
    database.set_stats_persist_period_sec(0);
    database.set_log_level(LogLevel::Warn);
    database.set_max_log_file_size(to_size(16 * MIB));
    database.set_keep_log_file_num(4);
    database
}

fn family_options(cache: &Cache, memtable_bytes: usize) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_block_size(8 << 10);
    table.set_bloom_filter(10.0, false);
    // In the cache, so that they count against the budget; first in it, as every get needs them.
    table.set_cache_index_and_filter_blocks(true);
    table.set_cache_index_and_filter_blocks_with_high_priority(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);

    let mut family = Options::default();
    family.set_block_based_table_factory(&table);
    family.set_write_buffer_size(memtable_bytes / 2);
    family.set_max_write_buffer_number(4);
    family.set_compression_type(DBCompressionType::Lz4);
    family.set_bottommost_compression_type(DBCompressionType::Zstd);
    family
}

fn to_size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

fn to_int(count: u32) -> c_int {
    c_int::try_from(count).unwrap_or(c_int::MAX)
}
