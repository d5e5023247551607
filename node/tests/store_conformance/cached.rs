//! The object cache in front of a store: the suite with a cache that is always full, and what it
//! keeps.

use crate::{Subject, batch, suite};
use starling_node::store::cached::Cached;
use starling_node::store::memory::MemoryStore;
use starling_node::store::{Batch, Family, Lsn, Store, StoreError};

/// Some sixty headers of the suite's size.
const BYTES: u64 = 10_000;

impl Subject for Cached<MemoryStore> {
    fn fresh() -> Cached<MemoryStore> {
        Cached::new(MemoryStore::fresh(), BYTES)
    }

    fn store(&mut self) -> &mut dyn Store {
        self
    }

    fn sync(&mut self) -> Lsn {
        Subject::sync(self.below())
    }

    fn restart(&mut self) {
        let mut store = std::mem::take(self.below());
        Subject::restart(&mut store);
        *self = Cached::new(store, BYTES);
    }
}

suite::conforms!(Cached<MemoryStore>);

fn put(key: &str, value: &[u8]) -> Batch {
    batch(&[(Family::Headers, key.as_bytes(), Some(value))])
}

#[test]
fn what_was_written_or_read_is_found_without_the_store_below() {
    let mut below = MemoryStore::new();
    below.write(put("read", b"old")).unwrap();
    let mut store = Cached::new(below, BYTES);
    let stats = store.stats();
    assert_eq!(store.get(Family::Headers, b"read"), Ok(Some(b"old".to_vec())));
    store.write(put("written", b"new")).unwrap();
    assert_eq!((stats.hits(), stats.misses(), stats.headers()), (0, 1, 2));
    store.below().wipe();
    assert_eq!(store.get(Family::Headers, b"read"), Ok(Some(b"old".to_vec())));
    assert_eq!(store.get(Family::Headers, b"written"), Ok(Some(b"new".to_vec())));
    assert_eq!((stats.hits(), stats.misses()), (2, 1));
    assert_eq!(store.get(Family::Headers, b"neither"), Ok(None));
    assert_eq!((stats.hits(), stats.misses(), stats.headers()), (2, 2, 2));
}

#[test]
fn a_deleted_header_is_gone_and_a_row_is_none_of_it() {
    let mut store = Cached::new(MemoryStore::new(), BYTES);
    store.write(put("a", b"1")).unwrap();
    store.write(batch(&[(Family::Rows, b"a", Some(b"row"))])).unwrap();
    assert_eq!(store.get(Family::Headers, b"a"), Ok(Some(b"1".to_vec())));
    assert_eq!(store.get(Family::Rows, b"a"), Ok(Some(b"row".to_vec())));
    store.write(batch(&[(Family::Headers, b"a", None)])).unwrap();
    assert_eq!(store.get(Family::Headers, b"a"), Ok(None));
    assert_eq!((store.stats().headers(), store.stats().bytes()), (0, 0));
}

#[test]
fn a_batch_that_was_refused_is_not_believed() {
    let mut store = Cached::new(MemoryStore::new(), BYTES);
    store.write(put("a", b"1")).unwrap();
    store.below().fail_writes(Some(StoreError::Full));
    assert_eq!(store.write(put("a", b"2")), Err(StoreError::Full));
    assert_eq!(store.get(Family::Headers, b"a"), Ok(Some(b"1".to_vec())));
}

#[test]
fn it_holds_no_more_than_it_may_and_what_was_used_last() {
    let mut store = Cached::new(MemoryStore::new(), BYTES);
    let stats = store.stats();
    for at in 0..1_000 {
        store.write(put(&format!("key {at:03}"), b"0123456789")).unwrap();
        assert!(stats.bytes() <= stats.capacity());
        store.get(Family::Headers, b"key 000").unwrap();
    }
    // 7 of a key, 10 of a value, 128 beside them.
    assert_eq!((stats.headers(), stats.bytes()), (BYTES / 145, BYTES / 145 * 145));
    assert_eq!((stats.hits(), stats.misses()), (1_000, 0));
    store.get(Family::Headers, b"key 001").unwrap();
    assert_eq!(stats.misses(), 1);
}

#[test]
fn one_header_does_not_push_out_all_others() {
    let mut store = Cached::new(MemoryStore::new(), BYTES);
    store.write(put("small", b"1")).unwrap();
    store.write(put("large", &[0; 1_000])).unwrap();
    assert_eq!(store.stats().headers(), 1);
    store.write(put("small", &[0; 1_000])).unwrap();
    assert_eq!((store.stats().headers(), store.stats().bytes()), (0, 0));
    assert_eq!(store.get(Family::Headers, b"small"), Ok(Some(vec![0; 1_000])));
}

#[test]
fn of_no_bytes_it_keeps_nothing() {
    let mut store = Cached::new(MemoryStore::new(), 0);
    store.write(put("a", b"1")).unwrap();
    assert_eq!(store.get(Family::Headers, b"a"), Ok(Some(b"1".to_vec())));
    assert_eq!((store.stats().headers(), store.stats().hits()), (0, 0));
}
