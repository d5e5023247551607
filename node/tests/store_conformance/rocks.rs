//! RocksDB: the suite, syncs beside writes, the limits of its log, and what it measures.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use starling_node::store::rocks::{RocksOptions, RocksStore, Syncer};
use starling_node::store::{Family, Lsn, Store};
use tempfile::TempDir;

use crate::{Subject, batch, suite};

/// Small enough that a test crosses every limit.
pub fn small() -> RocksOptions {
    RocksOptions {
        memory_bytes: 8 << 20,
        memtable_bytes: 1 << 20,
        wal_bytes_max: 2 << 20,
        open_files_max: 32,
        background_jobs: 2,
        reserve_bytes: None,
    }
}

pub fn open(dir: &Path) -> (RocksStore, Syncer) {
    RocksStore::open(dir, small()).unwrap()
}

struct OnDisk {
    dir: TempDir,
    open: Option<(RocksStore, Syncer)>,
}

impl Subject for OnDisk {
    fn fresh() -> OnDisk {
        let dir = tempfile::tempdir().unwrap();
        let open = Some(open(dir.path()));
        OnDisk { dir, open }
    }

    fn store(&mut self) -> &mut dyn Store {
        &mut self.open.as_mut().unwrap().0
    }

    fn sync(&mut self) -> Lsn {
        self.open.as_ref().unwrap().1.sync().unwrap()
    }

    fn restart(&mut self) {
        self.open = None;
        self.open = Some(open(self.dir.path()));
    }
}

suite::conforms!(OnDisk);

#[test]
fn a_sync_from_another_thread_never_claims_a_batch_that_is_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, syncer) = open(dir.path());
    let last = Lsn(5_000);
    let syncers: Vec<_> = (0..3)
        .map(|_| {
            let syncer = syncer.clone();
            thread::spawn(move || {
                let mut synced = Lsn(0);
                while synced < last {
                    let next = syncer.sync().unwrap();
                    assert!(synced <= next && next <= last);
                    synced = next;
                }
            })
        })
        .collect();
    for place in 1..=last.0 {
        let changes = batch(&[(Family::Rows, &place.to_be_bytes(), Some(b"value"))]);
        assert_eq!(store.write(changes), Ok(Lsn(place)));
    }
    syncers.into_iter().for_each(|syncer| syncer.join().unwrap());
}

#[test]
fn measurements_follow_what_is_written_and_read() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, syncer) = open(dir.path());
    let probe = store.probe();
    let before = probe.stats().unwrap();
    assert_eq!(before.families.iter().map(|f| f.table_bytes).sum::<u64>(), 0);

    for key in 0..6_000_u32 {
        let value: Vec<u8> = (0..250).flat_map(|i| (key.wrapping_mul(i)).to_le_bytes()).collect();
        store.write(batch(&[(Family::Rows, &key.to_be_bytes(), Some(&value))])).unwrap();
    }
    syncer.sync().unwrap();
    for key in (0..6_000_u32).chain(0..100) {
        assert!(store.get(Family::Rows, &key.to_be_bytes()).unwrap().is_some());
    }

    let after = probe.stats().unwrap();
    let [headers, rows, ..] = &after.families[..] else { panic!("no families") };
    assert_eq!((headers.family, rows.family), (Family::Headers, Family::Rows));
    assert!(rows.tables > 0 && rows.table_bytes > 0, "6 MB in 1 MiB of memtables: {after:?}");
    assert!(rows.rows_estimate > 3_000, "{after:?}");
    assert_eq!((headers.tables, headers.rows_estimate), (0, 0));
    assert!(after.memtable_bytes > 0 && after.block_cache_bytes > 0, "{after:?}");
    assert!(after.block_cache_misses > before.block_cache_misses, "{after:?}");
    assert!(after.block_cache_hits > before.block_cache_hits, "{after:?}");
    assert_eq!((after.background_errors, after.write_stopped), (0, false));
}

#[test]
fn the_log_stays_near_its_limit() {
    let dir = tempfile::tempdir().unwrap();
    // Memtables are far larger than the log may be, so only the log's limit makes them flush.
    let options = RocksOptions { memory_bytes: 256 << 20, memtable_bytes: 128 << 20, ..small() };
    let (mut store, syncer) = RocksStore::open(dir.path(), options).unwrap();
    let value = vec![7; 4_000];
    let log_bytes = |dir: &Path| -> u64 {
        let files = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap());
        let logs = files.filter(|file| file.path().extension().is_some_and(|ext| ext == "log"));
        logs.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum()
    };
    // One early row of a family that is never written again must not keep the log for ever.
    store.write(batch(&[(Family::Meta, b"once", Some(b"value"))])).unwrap();
    for round in 0..20_u32 {
        for key in 0..250_u32 {
            let key = [round.to_be_bytes(), key.to_be_bytes()].concat();
            store.write(batch(&[(Family::Rows, &key, Some(&value))])).unwrap();
        }
        syncer.sync().unwrap();
    }
    // 20 MB were written. Flushes run beside, and it is a write that starts the next one.
    let deadline = Instant::now() + Duration::from_secs(20);
    while log_bytes(dir.path()) > 4 << 20 {
        assert!(Instant::now() < deadline, "log of {} bytes", log_bytes(dir.path()));
        store.write(batch(&[(Family::Rows, b"later", Some(b"value"))])).unwrap();
        thread::sleep(Duration::from_millis(20));
    }
}
