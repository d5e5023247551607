//! Damage to the files of a store that is closed: rows as they were written, or a refusal.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use starling_node::store::rocks::RocksStore;
use starling_node::store::{Family, Store, StoreError};

use crate::rocks::{open, small};
use crate::{batch, rows};

/// Writes `count` synced batches, one row each, and closes.
fn written(dir: &Path, count: u32, value: &[u8]) {
    let (mut store, syncer) = open(dir);
    for key in 0..count {
        store.write(batch(&[(Family::Rows, &key.to_be_bytes(), Some(value))])).unwrap();
    }
    syncer.sync().unwrap();
}

/// The largest file of a kind.
fn file(dir: &Path, extension: &str) -> PathBuf {
    let files = fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
    let files = files.filter(|file| file.extension().is_some_and(|found| found == extension));
    files.max_by_key(|file| fs::metadata(file).unwrap().len()).expect(extension)
}

fn flip_bit(file: &Path, at: u64) {
    let file = OpenOptions::new().read(true).write(true).open(file).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
}

#[test]
fn a_torn_log_keeps_a_prefix_of_whole_batches() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 20, b"value");
    let log = fs::read(file(dir.path(), "log")).unwrap();
    let name = file(dir.path(), "log").file_name().unwrap().to_owned();
    let mut last = 0;
    for len in (0..=log.len()).step_by(37) {
        let copy = tempfile::tempdir().unwrap();
        for file in fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap()) {
            fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
        }
        fs::write(copy.path().join(&name), &log[..len]).unwrap();
        let (store, _syncer) = open(copy.path());
        let found = rows(&store, Family::Rows, b"", None).unwrap();
        for (place, (key, value)) in found.iter().enumerate() {
            assert_eq!((key, &value[..]), (&(place as u32).to_be_bytes().to_vec(), &b"value"[..]));
        }
        assert!(found.len() >= last, "a longer log gave fewer rows");
        last = found.len();
    }
    assert!((18..=20).contains(&last), "the whole log gave {last} rows");
}

#[test]
fn a_flipped_bit_inside_the_log_is_refused_and_not_taken_for_its_end() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 300, &[7; 1_000]);
    flip_bit(&file(dir.path(), "log"), 100_500);
    match RocksStore::open(dir.path(), small()) {
        Err(StoreError::Corrupt(_)) => {}
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("synced batches after the flipped bit were dropped silently"),
    }
}

#[test]
fn a_flipped_bit_in_a_table_is_reported_by_the_read_that_meets_it() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 3_000, &[7; 1_000]);
    drop(open(dir.path())); // Recovery turns the log into tables.
    flip_bit(&file(dir.path(), "sst"), 2_000);
    let (store, _syncer) = open(dir.path());
    match rows(&store, Family::Rows, b"", None) {
        Err(StoreError::Corrupt(_)) => {}
        other => panic!("{other:?}"),
    }
    let mut refused = 0;
    for key in 0..3_000_u32 {
        match store.get(Family::Rows, &key.to_be_bytes()) {
            Ok(value) => assert!(value == Some(vec![7; 1_000]), "wrong bytes at {key}"),
            Err(StoreError::Corrupt(_)) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!((1..3_000).contains(&refused), "{refused} rows refused");
}
