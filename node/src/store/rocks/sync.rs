//! Making batches durable, and remembering that they are.
//!
//! Each sync first puts the number of the last batch it covers, as a row of a family of its own,
//! into the log: where that row is, everything before it is. After the sync the mark says the
//! number too ([`super::mark`]). At opening the row must be at least what the mark says.

use super::mark::Mark;
use super::{Db, Lsn, Shared, StoreError, failure};
use rocksdb::WriteBatch;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The family of the row.
pub(super) const FAMILY: &str = "order";
/// The key of the row; its value is the number, 8 bytes little endian.
pub(super) const KEY: u8 = b'n';

/// Numbers of batches since the store was created, as far as they were synced.
pub(super) struct Order {
    /// The number at opening; a batch has this plus its [`Lsn`].
    base: u64,
    state: Mutex<State>,
}

struct State {
    /// The number of the last row put.
    put: u64,
    /// `None` until the store is open.
    mark: Option<Mark>,
}

impl Order {
    /// For a store whose last row has the number `base`.
    pub fn new(base: u64) -> Order {
        Order { base, state: Mutex::new(State { put: base, mark: None }) }
    }

    /// From now on syncs are marked.
    pub fn keep(&self, mark: Mark) {
        self.lock().mark = Some(mark);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts the row for everything up to `upto` into the log, unless it is there.
    fn put(&self, shared: &Shared, upto: Lsn) -> Result<(), StoreError> {
        let number = self.base + upto.0;
        let mut state = self.lock();
        if number > state.put {
            let family = shared.db.cf_handle(FAMILY);
            let family = family.ok_or_else(|| StoreError::Failed("no family order".into()))?;
            let mut row = WriteBatch::default();
            row.put_cf(family, [KEY], number.to_le_bytes());
            shared.write(row)?;
            state.put = number;
        }
        Ok(())
    }

    /// Marks everything up to `upto` as synced.
    fn mark(&self, upto: Lsn) {
        let mut state = self.lock();
        let advanced = state.mark.as_mut().map(|mark| mark.advance(self.base + upto.0));
        if let Some(Err(error)) = advanced {
            tracing::warn!(%error, "the mark of what was synced could not be written");
        }
    }
}

/// The number that the last row of `db` has.
///
/// # Errors
/// It could not be read.
pub(super) fn last_number(db: &Db) -> Result<u64, StoreError> {
    let Some(family) = db.cf_handle(FAMILY) else { return Ok(0) };
    let Some(row) = db.get_cf(family, [KEY]).map_err(|e| failure(&e))? else { return Ok(0) };
    let wrong = |_| StoreError::Corrupt("the number of the last batch is not a number".into());
    Ok(u64::from_le_bytes(row.try_into().map_err(wrong)?))
}

/// Makes written batches durable, from any thread. Clones share one database.
#[derive(Clone)]
pub struct Syncer {
    pub(super) shared: Arc<Shared>,
}

impl Syncer {
    /// Puts every batch written so far on disk and returns the last of them, 0 if there is none.
    /// Blocks for one sync of the disk; writes go on meanwhile.
    ///
    /// # Errors
    /// The batches since the last sync may or may not be on disk, and this store never syncs or
    /// writes again: stop the node.
    pub fn sync(&self) -> Result<Lsn, StoreError> {
        let shared = &self.shared;
        shared.check_fence()?;
        // Acquire: every batch up to this one is in the log's buffer.
        let upto = Lsn(shared.written.load(Ordering::Acquire));
        // Without room for the row, while RocksDB waits for some, the mark is left as it is.
        let (put, marked) = match shared.order.put(shared, upto) {
            Err(StoreError::Full) => (Ok(()), false),
            put => (put, true),
        };
        let flush = || shared.db.flush_wal(true).map_err(|e| failure(&e));
        match put.and_then(|()| flush()) {
            Ok(()) => {
                // One that failed beside this one may have lost what this one was to write.
                shared.check_fence()?;
                if marked {
                    shared.order.mark(upto);
                }
                Ok(upto)
            }
            Err(why) => {
                let _ = shared.fenced.set(why.clone());
                Err(why)
            }
        }
    }
}
