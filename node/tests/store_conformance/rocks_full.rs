//! A file system that fills: writes are refused before syncs fail, nothing acknowledged is lost,
//! and writing goes on when there is room again.
//!
//! Each test starts itself again in namespaces of its own, where it may mount a small tmpfs that
//! goes with the process.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use starling_node::store::rocks::{RocksOptions, RocksStore, Syncer};
use starling_node::store::{Batch, Family, Lsn, Store, StoreError};

use crate::rocks::small;
use crate::{batch, rows};

const MOUNT: &str = "STARLING_TEST_MOUNT";
const MIB: u64 = 1 << 20;
const VALUE: usize = 4_000;

/// Runs `body` in a folder with `mib` MiB, in a process of its own.
fn on_a_small_disk(test: &str, mib: u64, body: impl FnOnce(&Path)) {
    if let Some(mount) = env::var_os(MOUNT) {
        return body(Path::new(&mount));
    }
    let dir = tempfile::tempdir().unwrap();
    let mounting = format!("mount -t tmpfs -o size={mib}m starling-test \"$0\" && exec \"$@\"");
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", &mounting])
        .arg(dir.path())
        .arg(env::current_exe().unwrap())
        .args(["--exact", &format!("rocks_full::{test}"), "--nocapture", "--test-threads=1"])
        .env(MOUNT, dir.path())
        .output()
        .expect("unshare is there: install util-linux");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    print!("{said}");
}

/// Batch `n`: rows that do not compress.
fn changes(n: u64) -> Batch {
    let mut state = n | 1 << 40;
    let value: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    })
    .take(VALUE)
    .collect();
    batch(&[(Family::Rows, &n.to_be_bytes(), Some(&value))])
}

/// Writes and syncs batches from `first` on until one is refused for a second, which is returned.
/// Compaction takes room for a while and gives it back.
fn fill(store: &mut RocksStore, syncer: &Syncer, first: u64) -> u64 {
    let (mut n, mut since) = (first, None);
    loop {
        match store.write(changes(n)) {
            Ok(_) => {
                if n % 16 == 0 {
                    syncer.sync().expect("a sync finds room");
                }
                (n, since) = (n + 1, None);
            }
            Err(StoreError::Full) => {
                syncer.sync().expect("a sync finds room");
                if since.get_or_insert_with(Instant::now).elapsed() > Duration::from_secs(1) {
                    return n;
                }
                thread::sleep(Duration::from_millis(50));
            }
            Err(other) => panic!("batch {n}: {other}"),
        }
    }
}

/// Every batch below `end` is there.
fn assert_there(store: &dyn Store, end: u64) {
    for n in 1..end {
        let row = store.get(Family::Rows, &n.to_be_bytes()).unwrap();
        assert!(row == changes(n).changes[0].value, "batch {n}");
    }
}

fn writable_within(store: &mut RocksStore, n: u64, patience: Duration) {
    let begun = Instant::now();
    while let Err(error) = store.write(changes(n)) {
        assert_eq!(error, StoreError::Full);
        assert!(begun.elapsed() < patience, "refused for {patience:?} with room");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_full_disk_refuses_writes_keeps_reading_and_takes_writes_again_without_a_restart() {
    let test = "a_full_disk_refuses_writes_keeps_reading_and_takes_writes_again_without_a_restart";
    on_a_small_disk(test, 96, |mount| {
        let (ballast, dir) = (mount.join("ballast"), mount.join("db"));
        fs::write(&ballast, vec![1; 40 << 20]).unwrap();
        let options = RocksOptions { reserve_bytes: Some(16 * MIB), ..small() };
        let (mut store, syncer) = RocksStore::open(&dir, options.clone()).unwrap();
        let refused = fill(&mut store, &syncer, 1);
        let stats = store.probe().stats().unwrap();
        assert!(stats.writes_refused > 0 && stats.disk_reserve_bytes == 16 * MIB, "{stats:?}");
        // About 40 MiB were free; tables and log hold some rows twice for a while.
        assert!(refused * VALUE as u64 > 12 * MIB, "{refused} batches on 40 MiB");
        assert_there(&store, refused);
        let delete = batch(&[(Family::Rows, &1_u64.to_be_bytes(), None)]);
        store.write(delete).expect("deletions go on");
        store.write(changes_of_meta()).expect("the node's own state goes on");
        syncer.sync().unwrap();
        assert_eq!(store.get(Family::Rows, &1_u64.to_be_bytes()), Ok(None));
        assert_eq!(store.write(changes(1)), Err(StoreError::Full));

        fs::remove_file(&ballast).unwrap();
        writable_within(&mut store, 1, Duration::from_secs(2));
        let end = fill(&mut store, &syncer, refused);
        assert!(end > refused + 1_000, "{end}");
        println!("refused at {refused}, then at {end}");
        drop((store, syncer));
        let (store, _syncer) = RocksStore::open(&dir, options).unwrap();
        assert_there(&store, end);
        assert_eq!(rows(&store, Family::Rows, b"", None).unwrap().len() as u64, end - 1);
    });
}

fn changes_of_meta() -> Batch {
    batch(&[(Family::Meta, b"state", Some(b"kept"))])
}

#[test]
fn when_others_take_the_reserve_flushing_fails_and_resumes_and_nothing_synced_is_lost() {
    let test = "when_others_take_the_reserve_flushing_fails_and_resumes_and_nothing_synced_is_lost";
    on_a_small_disk(test, 64, |mount| {
        let (ballast, dir) = (mount.join("ballast"), mount.join("db"));
        let options = RocksOptions { reserve_bytes: Some(0), ..small() };
        let (mut store, syncer) = RocksStore::open(&dir, options.clone()).unwrap();
        let mut synced = 0;
        let mut n = 0;
        let failed = loop {
            n += 1;
            if n == 2_000 {
                // All but a little is taken at once.
                let mut size = 60 << 20;
                while fs::write(&ballast, vec![1; size]).is_err() {
                    size -= 1 << 19;
                }
            }
            match store.write(changes(n)) {
                Ok(_) => {}
                Err(error) => break error,
            }
            match syncer.sync() {
                Ok(Lsn(_)) => synced = n,
                Err(error) => break error,
            }
        };
        assert_eq!(failed, StoreError::Full, "batch {n}");
        assert_there(&store, synced + 1);
        fs::remove_file(&ballast).unwrap();
        if matches!(syncer.sync(), Err(StoreError::Failed(_))) {
            // The log itself found no room in a sync: that store ends, as after any failed sync.
            drop((store, syncer));
            let (store, _syncer) = RocksStore::open(&dir, options).unwrap();
            return assert_there(&store, synced + 1);
        }
        let begun = Instant::now();
        writable_within(&mut store, n, Duration::from_secs(30));
        syncer.sync().unwrap();
        println!("{synced} synced, resumed after {:?}", begun.elapsed());
        drop((store, syncer));
        let (mut store, syncer) = RocksStore::open(&dir, options).unwrap();
        assert_there(&store, synced + 2);
        store.write(changes(n)).unwrap();
        syncer.sync().unwrap();
    });
}
