//! The store on disk: one RocksDB a node, one column family a [`Family`], one log for all.
//!
//! A write goes into memtables and the log's buffer and waits for nothing. [`Syncer::sync`] puts
//! on disk, with one sync, every batch written before it was called; all writers that wait share
//! it. Stopping without it (SIGKILL, power) keeps every synced batch and a prefix of the others,
//! each whole or not at all: most often none of them, as the buffer dies with the process.
//! Opening accepts the loss of what was not synced and refuses any other damage.
//!
//! After a sync that failed nobody knows what is on disk, and a second one may succeed without
//! writing what the first one lost. So it is never tried again: writing and syncing end there.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // The store that has files.

mod log;
mod mark;
mod options;
mod recovery;
mod space;
mod stats;
mod sync;

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rocksdb::{
    ColumnFamily, DBRecoveryMode, DBWithThreadMode, DEFAULT_COLUMN_FAMILY_NAME, ErrorKind, Options,
    ReadOptions, SingleThreaded, WriteBatch,
};

use super::{Batch, Change, Family, Lsn, Store, StoreError, Visit};

pub use options::RocksOptions;
pub use stats::{FamilyStats, Probe, RocksStats};
pub use sync::Syncer;
use sync::last_number;

/// Families are opened once and never created later, so looking one up needs no lock.
type Db = DBWithThreadMode<SingleThreaded>;

/// RocksDB's name for the lowest log that it still needs.
const MIN_LOG: &str = "rocksdb.min-log-number-to-keep";

/// What the store and its handles share. The database closes with the last of them.
struct Shared {
    db: Db,
    /// Its memory and its statistics live as long as the database.
    tuning: options::Tuning,
    /// The highest [`Lsn`] that is in the log's buffer.
    written: AtomicU64,
    /// What was synced, by number.
    order: sync::Order,
    /// Held while a batch is written. RocksDB would join batches that meet into one record of
    /// the log, where the row of [`sync`] must be the first in its own.
    writing: Mutex<()>,
    /// Room on the file system.
    space: space::SpaceStats,
    /// Why syncing ended, once it has.
    fenced: OnceLock<StoreError>,
    /// Of the directory; goes last.
    _lock: File,
}

impl Shared {
    fn family(&self, family: Family) -> Result<&ColumnFamily, StoreError> {
        let missing = || StoreError::Failed(format!("family {} is not open", family.name()));
        self.db.cf_handle(family.name()).ok_or_else(missing)
    }

    fn write(&self, changes: WriteBatch) -> Result<(), StoreError> {
        let _alone = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.db.write(changes).map_err(|e| failure(&e))
    }

    fn check_fence(&self) -> Result<(), StoreError> {
        match self.fenced.get() {
            Some(why) => Err(StoreError::Failed(format!("an earlier sync failed: {why}"))),
            None => Ok(()),
        }
    }
}

/// The rows of one node, on disk. The only writer of its database.
///
/// Writes are refused with [`StoreError::Full`] while less than the reserve
/// ([`RocksOptions::reserve_bytes`]) is free, and go on when there is room again; reads, syncs,
/// and batches that only delete or only touch [`Family::Meta`], go on meanwhile. Where a flush
/// finds no room all the same, writes are refused until RocksDB has resumed, which it tries
/// every 5 seconds.
pub struct RocksStore {
    shared: Arc<Shared>,
    room: space::Space,
}

impl RocksStore {
    /// Opens the database in `dir`, creating both if there is none.
    ///
    /// What was only written and never synced is on disk after a clean stop only if
    /// [`Syncer::sync`] was called last. The directory is free again when the store and every
    /// [`Syncer`] and [`Probe`] are dropped.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if what is on disk is not what was written, or synced batches are
    /// missing, [`StoreError::Failed`] if another process has it open or it cannot be read or
    /// written, [`StoreError::Full`] if there is no space to recover.
    pub fn open(dir: &Path, options: RocksOptions) -> Result<(RocksStore, Syncer), StoreError> {
        create_durably(dir)?;
        let lock = lock(dir)?;
        let tuning = options::Tuning::new(&options);
        let claimed = recovery::prepare(dir, &|| without_log(dir, &tuning))?;
        let db = Db::open_cf_with_opts(&tuning.database, dir, families(&tuning));
        let db = db.map_err(|e| match e.as_ref().contains("LOCK") {
            true => in_use(dir, &e),
            false => failure(&e),
        })?;
        let base = last_number(&db)?;
        if claimed.is_some_and(|claimed| base < claimed) {
            let claimed = claimed.unwrap_or(0);
            let lost = format!("batches up to {claimed} were synced, {base} are there");
            return Err(recovery::refusal(dir, &lost));
        }
        let shared = Arc::new(Shared {
            db,
            tuning,
            written: AtomicU64::new(0),
            order: sync::Order::new(base),
            writing: Mutex::new(()),
            space: space::SpaceStats::new(dir.to_owned()),
            fenced: OnceLock::new(),
            _lock: lock,
        });
        let mark = mark::Mark::create(dir, base).map_err(|e| io_failure(dir, &e))?;
        shared.order.keep(mark);
        let room = space::Space::new(options.reserve_bytes, &shared.space);
        Ok((RocksStore { shared: shared.clone(), room }, Syncer { shared }))
    }

    /// A handle that reads the store's measurements from any thread.
    pub fn probe(&self) -> Probe {
        Probe::new(self.shared.clone())
    }
}

impl Store for RocksStore {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let family = self.shared.family(family)?;
        self.shared.db.get_cf(family, key).map_err(|e| failure(&e))
    }

    fn scan(
        &self,
        family: Family,
        from: &[u8],
        until: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Visit,
    ) -> Result<(), StoreError> {
        if until.is_some_and(|until| until <= from) {
            return Ok(());
        }
        let mut read = ReadOptions::default();
        if let Some(until) = until {
            read.set_iterate_upper_bound(until);
        }
        let family = self.shared.family(family)?;
        let mut rows = self.shared.db.raw_iterator_cf_opt(family, read);
        rows.seek(from);
        while let Some((key, value)) = rows.item() {
            if visit(key, value) == Visit::Stop {
                return Ok(());
            }
            rows.next();
        }
        rows.status().map_err(|e| failure(&e))
    }

    fn scan_back(
        &self,
        family: Family,
        from: &[u8],
        until: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Visit,
    ) -> Result<(), StoreError> {
        if until.is_some_and(|until| until <= from) {
            return Ok(());
        }
        let mut read = ReadOptions::default();
        read.set_iterate_lower_bound(from);
        if let Some(until) = until {
            read.set_iterate_upper_bound(until);
        }
        let family = self.shared.family(family)?;
        let mut rows = self.shared.db.raw_iterator_cf_opt(family, read);
        rows.seek_to_last();
        while let Some((key, value)) = rows.item() {
            if visit(key, value) == Visit::Stop {
                return Ok(());
            }
            rows.prev();
        }
        rows.status().map_err(|e| failure(&e))
    }

    fn write(&mut self, batch: Batch) -> Result<Lsn, StoreError> {
        self.shared.check_fence()?;
        let is_little = |change: &Change| change.value.is_none() || change.family == Family::Meta;
        let bytes = batch.changes.iter().map(bytes_of).sum();
        let is_little = batch.changes.iter().all(is_little);
        if !self.room.admits(bytes, is_little, &self.shared.space) {
            return Err(StoreError::Full);
        }
        let mut changes = WriteBatch::default();
        for Change { family, key, value } in &batch.changes {
            let family = self.shared.family(*family)?;
            match value {
                Some(value) => changes.put_cf(family, key, value),
                None => changes.delete_cf(family, key),
            }
        }
        self.shared.write(changes)?;
        // Release: a sync that reads this number finds its batch in the log's buffer.
        let before = self.shared.written.fetch_add(1, Ordering::Release);
        Ok(Lsn(before + 1))
    }
}

/// Creates `dir` so that it survives a loss of power: a new name is durable only when the
/// directory that holds it is synced.
fn create_durably(dir: &Path) -> Result<(), StoreError> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = match dir.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(dir)
        .and_then(|()| File::open(parent)?.sync_all())
        .map_err(|e| StoreError::Failed(format!("creating {}: {e}", dir.display())))
}

/// Keeps others away from before the files are looked at until the database is closed. RocksDB
/// takes a lock of its own, but only when it opens.
fn lock(dir: &Path) -> Result<File, StoreError> {
    let path = dir.join("in-use");
    let file = File::create(&path).map_err(|e| io_failure(&path, &e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(e) => Err(in_use(dir, &e)),
    }
}

fn in_use(dir: &Path, why: &dyn std::fmt::Display) -> StoreError {
    let dir = dir.display();
    StoreError::Failed(format!("{dir} is in use by another process, or by this one twice ({why})"))
}

/// All families of the database: those of the store, the one of [`sync`], and the one that
/// RocksDB wants. Its options would be others if it were not named, with memtables so large that
/// RocksDB waits for more room than there may be before it resumes after a full disk.
fn families(tuning: &options::Tuning) -> impl Iterator<Item = (&'static str, Options)> {
    let more = [sync::FAMILY, DEFAULT_COLUMN_FAMILY_NAME];
    let names = Family::ALL.map(Family::name).into_iter().chain(more);
    names.map(|name| (name, tuning.family.clone()))
}

/// What the tables hold: opened to be read, with zeros in place of the log. Files of its size,
/// because RocksDB compares sizes with what it has noted.
fn without_log(dir: &Path, tuning: &options::Tuning) -> Result<recovery::Flushed, StoreError> {
    let blank = dir.join("blank-log");
    let failed = |e: io::Error| io_failure(&blank, &e);
    fs::create_dir_all(&blank).map_err(failed)?;
    for (_, log) in recovery::logs(dir)? {
        let len = fs::metadata(&log).map_err(failed)?.len();
        let name = log.file_name().unwrap_or_default();
        File::create(blank.join(name)).and_then(|file| file.set_len(len)).map_err(failed)?;
    }
    let mut database = tuning.database.clone();
    database.set_wal_dir(&blank);
    database.set_wal_recovery_mode(DBRecoveryMode::SkipAnyCorruptedRecord);
    let opened = Db::list_cf(&database, dir).and_then(|names| {
        // A store of a version without the family of [`sync`] is opened without it.
        let there = families(tuning).filter(|(name, _)| names.iter().any(|found| found == name));
        Db::open_cf_with_opts_for_read_only(&database, dir, there, false)
    });
    let flushed = opened.map_err(|e| failure(&e)).and_then(|db| {
        let log_min = db.property_int_value(MIN_LOG).map_err(|e| failure(&e))?;
        let missing = || StoreError::Failed("RocksDB lacks a property".into());
        Ok(recovery::Flushed { log_min: log_min.ok_or_else(missing)?, upto: last_number(&db)? })
    });
    fs::remove_dir_all(&blank).map_err(failed)?;
    flushed
}

fn io_failure(path: &Path, error: &io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full,
        _ => StoreError::Failed(format!("{}: {error}", path.display())),
    }
}

/// What a change adds to the log, about.
fn bytes_of(change: &Change) -> u64 {
    (change.key.len() + change.value.as_ref().map_or(0, Vec::len) + 16) as u64
}

fn failure(error: &rocksdb::Error) -> StoreError {
    classify(error.kind(), error.as_ref())
}

/// RocksDB's subcodes do not reach Rust, only its words do.
fn classify(kind: ErrorKind, words: &str) -> StoreError {
    const FULL: [&str; 3] =
        ["No space left on device", "Disk quota exceeded", "Max allowed space was reached"];
    if FULL.iter().any(|full| words.contains(full)) {
        return StoreError::Full;
    }
    match kind {
        ErrorKind::Corruption => StoreError::Corrupt(words.to_owned()),
        _ => StoreError::Failed(words.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_disk_keep_their_meaning() {
        let full = "IO error: No space left on device: While appending to file: 000042.log";
        assert_eq!(classify(ErrorKind::IOError, full), StoreError::Full);
        let corrupt = "Corruption: block checksum mismatch in 000007.sst";
        assert_eq!(
            classify(ErrorKind::Corruption, corrupt),
            StoreError::Corrupt(corrupt.to_owned())
        );
        let failed = "IO error: Input/output error: While fdatasync: 000042.log";
        assert_eq!(classify(ErrorKind::IOError, failed), StoreError::Failed(failed.to_owned()));
    }

    #[test]
    fn after_a_failed_sync_nothing_is_synced_or_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let (mut store, syncer) = RocksStore::open(dir.path(), RocksOptions::default()).unwrap();
        let mut batch = Batch::default();
        batch.put(Family::Rows, b"key".to_vec(), b"value".to_vec());
        assert_eq!(store.write(batch.clone()), Ok(Lsn(1)));

        store.shared.fenced.set(StoreError::Full).unwrap();

        assert!(matches!(syncer.sync(), Err(StoreError::Failed(_))));
        assert!(matches!(store.write(batch), Err(StoreError::Failed(_))));
        assert_eq!(store.get(Family::Rows, b"key"), Ok(Some(b"value".to_vec())));
    }

    #[test]
    fn handles_go_where_threads_are() {
        fn travels<T: Send + Sync + Clone + 'static>() {}
        fn moves<T: Send + 'static>() {}
        travels::<Syncer>();
        travels::<Probe>();
        moves::<RocksStore>();
    }
}
