//! Headers that were read or written lately, in front of a store: an object cache.
//!
//! Nearly every operation begins with the header of its object, and of a small object that is all
//! there is. A get from the store below looks through memtables and tables; one that is answered
//! here is a look into a hash table. Rows of collections and all scans go to the store below: its
//! own cache keeps their blocks.
//!
//! What is kept is what the store below would say: a batch that was written changes it, and one
//! that was refused forgets what it names. Headers that were used longest ago go first (LRU).

use super::{Batch, Change, Family, Lsn, Store, StoreError, Visit};
use lru::LruCache;
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What an entry takes beside its key and value, about: the links of the list, the place in the
/// table and two allocations.
const ENTRY_BYTES: u64 = 128;
/// A header larger than that part of the whole is not kept: it would push out many others.
const SHARE: u64 = 64;

/// A store and the headers that were used lately. One thread uses it; its [`CacheStats`] can be
/// read from any.
pub struct Cached<S> {
    store: S,
    headers: RefCell<LruCache<Vec<u8>, Vec<u8>>>,
    stats: Arc<CacheStats>,
}

/// What the cache holds and how often it was of use, since it was made.
#[derive(Debug, Default)]
pub struct CacheStats {
    capacity: u64,
    bytes: AtomicU64,
    headers: AtomicU64,
    hits: AtomicU64,
    misses: AtomicU64,
}

impl CacheStats {
    /// Bytes that it may hold.
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Bytes that it holds, about: keys, values and what each entry takes beside them.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Headers that it holds.
    pub fn headers(&self) -> u64 {
        self.headers.load(Ordering::Relaxed)
    }

    /// Gets of headers that were answered here.
    pub fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    /// Gets of headers that the store below was asked, those of absent ones too.
    pub fn misses(&self) -> u64 {
        self.misses.load(Ordering::Relaxed)
    }
}

impl<S> Cached<S> {
    /// A cache in front of `store` that holds about `capacity` bytes at most; with 0, none.
    pub fn new(store: S, capacity: u64) -> Cached<S> {
        let stats = Arc::new(CacheStats { capacity, ..CacheStats::default() });
        Cached { store, headers: RefCell::new(LruCache::unbounded()), stats }
    }

    /// The store below.
    pub fn below(&mut self) -> &mut S {
        &mut self.store
    }

    /// The store below, without the cache.
    pub fn into_below(self) -> S {
        self.store
    }

    /// A handle that reads what the cache does from any thread.
    pub fn stats(&self) -> Arc<CacheStats> {
        self.stats.clone()
    }

    fn keep(&self, key: Vec<u8>, value: Vec<u8>) {
        let capacity = self.stats.capacity;
        let adds = cost(&key, &value);
        if adds > capacity / SHARE {
            return self.forget(&key);
        }
        let mut headers = self.headers.borrow_mut();
        // An older value of the same key comes back too.
        let before = headers.push(key, value);
        let mut bytes =
            self.stats.bytes() + adds - before.map_or(0, |(key, value)| cost(&key, &value));
        while bytes > capacity {
            let Some((key, value)) = headers.pop_lru() else { break };
            bytes -= cost(&key, &value);
        }
        self.note(bytes, headers.len());
    }

    fn forget(&self, key: &[u8]) {
        let mut headers = self.headers.borrow_mut();
        if let Some((key, value)) = headers.pop_entry(key) {
            let bytes = self.stats.bytes() - cost(&key, &value);
            self.note(bytes, headers.len());
        }
    }

    fn note(&self, bytes: u64, headers: usize) {
        self.stats.bytes.store(bytes, Ordering::Relaxed);
        self.stats.headers.store(headers as u64, Ordering::Relaxed);
    }
}

fn cost(key: &[u8], value: &[u8]) -> u64 {
    (key.len() + value.len()) as u64 + ENTRY_BYTES
}

impl<S: Store> Store for Cached<S> {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        if family != Family::Headers {
            return self.store.get(family, key);
        }
        if let Some(value) = self.headers.borrow_mut().get(key) {
            self.stats.hits.fetch_add(1, Ordering::Relaxed);
            return Ok(Some(value.clone()));
        }
        self.stats.misses.fetch_add(1, Ordering::Relaxed);
        let value = self.store.get(family, key)?;
        if let Some(value) = &value {
            self.keep(key.to_vec(), value.clone());
        }
        Ok(value)
    }

    fn scan(
        &self,
        family: Family,
        from: &[u8],
        until: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Visit,
    ) -> Result<(), StoreError> {
        self.store.scan(family, from, until, visit)
    }

    fn scan_back(
        &self,
        family: Family,
        from: &[u8],
        until: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Visit,
    ) -> Result<(), StoreError> {
        self.store.scan_back(family, from, until, visit)
    }

    fn write(&mut self, batch: Batch) -> Result<Lsn, StoreError> {
        let is_header = |change: &&Change| change.family == Family::Headers;
        let changes: Vec<Change> = batch.changes.iter().filter(is_header).cloned().collect();
        let written = self.store.write(batch);
        for Change { key, value, .. } in changes {
            match value {
                Some(value) if written.is_ok() => self.keep(key, value),
                _ => self.forget(&key),
            }
        }
        written
    }
}
