//! The memory store: the suite, and what its crashes lose.

use proptest::collection::vec;
use proptest::prelude::*;
use starling_node::store::memory::MemoryStore;
use starling_node::store::{Batch, Family, Lsn, Store, StoreError};

use crate::model::{Model, assert_equal, batches};
use crate::{Subject, batch, rows, suite};

impl Subject for MemoryStore {
    fn fresh() -> MemoryStore {
        MemoryStore::new()
    }

    fn store(&mut self) -> &mut dyn Store {
        self
    }

    fn sync(&mut self) -> Lsn {
        MemoryStore::sync(self, self.last());
        self.synced()
    }

    fn restart(&mut self) {
        self.crash(&mut |_| 0);
    }
}

suite::conforms!(MemoryStore);

fn put(key: &[u8], value: &[u8]) -> Batch {
    batch(&[(Family::Rows, key, Some(value))])
}

/// Batches of which some are synced, over a history of crashes.
#[derive(Clone, Debug)]
enum Step {
    Write(Batch),
    SyncSome(prop::sample::Index),
    Crash(prop::sample::Index),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => batches().prop_map(Step::Write),
        2 => any::<prop::sample::Index>().prop_map(Step::SyncSome),
        1 => any::<prop::sample::Index>().prop_map(Step::Crash),
    ];
    vec(step, 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_crash_leaves_the_synced_batches_and_a_prefix_of_the_others(steps in steps()) {
        let mut store = MemoryStore::new();
        // The rows after each batch since opening; the first entry is before any.
        let mut history = vec![Model::default()];
        for step in steps {
            match step {
                Step::Write(batch) => {
                    let mut next = history.last().unwrap().clone();
                    next.write(&batch);
                    history.push(next);
                    store.write(batch).unwrap();
                }
                Step::SyncSome(index) => {
                    let upto = Lsn(index.index(history.len()) as u64);
                    let before = store.synced();
                    store.sync(upto);
                    prop_assert_eq!(store.synced(), before.max(upto));
                }
                Step::Crash(index) => {
                    let synced = store.synced().0;
                    let mut kept = 0;
                    store.crash(&mut |bound| {
                        assert_eq!(bound, history.len() as u64 - synced);
                        kept = index.index(bound as usize);
                        kept as u64
                    });
                    history = vec![history.swap_remove(synced as usize + kept)];
                    prop_assert_eq!((store.synced(), store.last()), (Lsn(0), Lsn(0)));
                }
            }
            assert_equal(&mut store, history.last().unwrap());
        }
        for family in Family::ALL {
            let model = history.last().unwrap().rows(family, b"", None);
            let bytes: usize = model.iter().map(|(key, value)| key.len() + value.len()).sum();
            prop_assert_eq!(store.bytes(family), bytes as u64);
            prop_assert_eq!(store.len(family), model.len());
        }
    }
}

#[test]
fn what_survived_a_crash_survives_the_next_one() {
    let mut store = MemoryStore::new();
    store.write(put(b"a", b"")).unwrap();
    store.write(put(b"b", b"")).unwrap();
    store.crash(&mut |_| 1);
    store.crash(&mut |bound| {
        assert_eq!(bound, 1);
        0
    });
    assert_eq!(rows(&store, Family::Rows, b"", None), Ok(vec![(b"a".to_vec(), vec![])]));
}

#[test]
fn a_draw_beyond_its_bound_keeps_everything() {
    let mut store = MemoryStore::new();
    store.write(put(b"a", b"")).unwrap();
    store.crash(&mut |_| u64::MAX);
    assert_eq!(store.len(Family::Rows), 1);
}

#[test]
fn a_sync_beyond_the_last_batch_does_not_cover_later_ones() {
    let mut store = MemoryStore::new();
    store.write(put(b"a", b"")).unwrap();
    store.sync(Lsn(9));
    assert_eq!(store.synced(), Lsn(1));
    store.write(put(b"b", b"")).unwrap();
    store.crash(&mut |_| 0);
    assert_eq!(store.get(Family::Rows, b"b"), Ok(None));
}

#[test]
fn a_write_that_fails_changes_nothing_and_takes_no_place() {
    for fault in [StoreError::Full, StoreError::Failed("gone".into())] {
        let mut store = MemoryStore::new();
        store.write(put(b"k", b"1")).unwrap();
        store.fail_writes(Some(fault.clone()));
        assert_eq!(store.write(put(b"k", b"2")), Err(fault.clone()));
        assert_eq!(store.get(Family::Rows, b"k"), Ok(Some(b"1".to_vec())));
        assert_eq!(store.last(), Lsn(1));
        store.crash(&mut |_| 0);
        assert_eq!(store.write(put(b"k", b"2")), Err(fault));
        store.fail_writes(None);
        assert_eq!(store.write(put(b"k", b"2")), Ok(Lsn(1)));
    }
}

#[test]
fn a_wiped_store_is_as_new_and_keeps_its_fault() {
    let mut store = MemoryStore::new();
    store.write(put(b"k", b"1")).unwrap();
    store.sync(Lsn(1));
    store.fail_writes(Some(StoreError::Full));
    store.wipe();
    assert!(store.is_empty());
    assert_eq!((store.bytes(Family::Rows), store.last(), store.synced()), (0, Lsn(0), Lsn(0)));
    assert_eq!(store.write(put(b"k", b"2")), Err(StoreError::Full));
}
