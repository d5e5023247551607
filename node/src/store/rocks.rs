//! The store on disk: one RocksDB a node, one column family a [`Family`], one log for all.
//!
//! A write goes into memtables and the log's buffer and waits for nothing. [`Syncer::sync`] puts
//! on disk, with one sync, every batch written before it was called; all writers that wait share
//! it. Stopping without it (SIGKILL, power) keeps every synced batch and a prefix of the others,
//! each whole or not at all: most often none of them, as the buffer dies with the process.
//! Opening accepts a torn end of the log and refuses any other damage.
//!
//! After a sync that failed nobody knows what is on disk, and a second one may succeed without
//! writing what the first one lost. So it is never tried again: writing and syncing end there.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // The store that has files.

mod options;
mod stats;

use std::fs::{self, File};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use rocksdb::{ColumnFamily, DBWithThreadMode, ErrorKind, ReadOptions, SingleThreaded, WriteBatch};

use super::{Batch, Change, Family, Lsn, Store, StoreError, Visit};

pub use options::RocksOptions;
pub use stats::{FamilyStats, Probe, RocksStats};

/// Families are opened once and never created later, so looking one up needs no lock.
type Db = DBWithThreadMode<SingleThreaded>;

/// What the store and its handles share. The database closes with the last of them.
struct Shared {
    db: Db,
    /// Its memory and its statistics live as long as the database.
    tuning: options::Tuning,
    /// The highest [`Lsn`] that is in the log's buffer.
    written: AtomicU64,
    /// Why syncing ended, once it has.
    fenced: OnceLock<StoreError>,
}

impl Shared {
    fn family(&self, family: Family) -> Result<&ColumnFamily, StoreError> {
        let missing = || StoreError::Failed(format!("family {} is not open", family.name()));
        self.db.cf_handle(family.name()).ok_or_else(missing)
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
/// Once a write has failed with [`StoreError::Full`] all writes do, also when space was freed,
/// until the directory is opened again; reads, and syncs of what was written before, go on.
pub struct RocksStore {
    shared: Arc<Shared>,
}

impl RocksStore {
    /// Opens the database in `dir`, creating both if there is none.
    ///
    /// What was only written and never synced is on disk after a clean stop only if
    /// [`Syncer::sync`] was called last. The directory is free again when the store and every
    /// [`Syncer`] and [`Probe`] are dropped.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if what is on disk is not what was written,
    /// [`StoreError::Failed`] if another process has it open or it cannot be read or written,
    /// [`StoreError::Full`] if there is no space to recover.
    pub fn open(dir: &Path, options: RocksOptions) -> Result<(RocksStore, Syncer), StoreError> {
        create_durably(dir)?;
        let tuning = options::Tuning::new(&options);
        let families = Family::ALL.map(|family| (family.name(), tuning.family.clone()));
        let db = Db::open_cf_with_opts(&tuning.database, dir, families).map_err(|e| {
            match e.as_ref().contains("LOCK") {
                true => StoreError::Failed(format!(
                    "{} is in use by another process, or by this one twice ({e})",
                    dir.display()
                )),
                false => failure(&e),
            }
        })?;
        let (written, fenced) = (AtomicU64::new(0), OnceLock::new());
        let shared = Arc::new(Shared { db, tuning, written, fenced });
        Ok((RocksStore { shared: shared.clone() }, Syncer { shared }))
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

    fn write(&mut self, batch: Batch) -> Result<Lsn, StoreError> {
        self.shared.check_fence()?;
        let mut changes = WriteBatch::default();
        for Change { family, key, value } in &batch.changes {
            let family = self.shared.family(*family)?;
            match value {
                Some(value) => changes.put_cf(family, key, value),
                None => changes.delete_cf(family, key),
            }
        }
        self.shared.db.write(changes).map_err(|e| failure(&e))?;
        // Release: a sync that reads this number finds its batch in the log's buffer.
        let before = self.shared.written.fetch_add(1, Ordering::Release);
        Ok(Lsn(before + 1))
    }
}

/// Makes written batches durable, from any thread. Clones share one database.
#[derive(Clone)]
pub struct Syncer {
    shared: Arc<Shared>,
}

impl Syncer {
    /// Puts every batch written so far on disk and returns the last of them, 0 if there is none.
    /// Blocks for one sync of the disk; writes go on meanwhile.
    ///
    /// # Errors
    /// The batches since the last sync may or may not be on disk, and this store never syncs or
    /// writes again: stop the node.
    pub fn sync(&self) -> Result<Lsn, StoreError> {
        self.shared.check_fence()?;
        let upto = Lsn(self.shared.written.load(Ordering::Acquire));
        match self.shared.db.flush_wal(true) {
            Ok(()) => {
                // One that failed beside this one may have lost what this one was to write.
                self.shared.check_fence()?;
                Ok(upto)
            }
            Err(e) => {
                let why = failure(&e);
                let _ = self.shared.fenced.set(why.clone());
                Err(why)
            }
        }
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
