//! What the store alone gives: records per second with one sync for all that wait, and cached
//! gets, through [`RocksStore`] with its default options.
//!
//! `rocksdb_floor DIR SECONDS` writes 100-byte values under 10,000 random keys. Of W writers that
//! wait for each other's sync all are written, then one sync lets all of them go: `each` in a
//! batch of its own, as the core writes them, or all in `one` batch. Prints tab-separated
//! `result`, name, waiting writers, records per second.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // Measures time.

use rand::Rng;
use rand::rngs::ThreadRng;
use starling_node::store::rocks::{RocksOptions, RocksStore, Syncer};
use starling_node::store::{Batch, Family, Store, StoreError};
use std::path::Path;
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const KEYS: u32 = 10_000;
const VALUE: [u8; 100] = [b'v'; 100];

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let (Some(dir), Some(seconds)) = (args.next(), args.next()) else {
        anyhow::bail!("usage: rocksdb_floor DIR SECONDS");
    };
    let span = Duration::from_secs_f64(seconds.parse()?);
    let (mut store, syncer) = RocksStore::open(Path::new(&dir), RocksOptions::default())?;
    let random = &mut rand::rng();
    fill(&mut store, &syncer)?;
    for waiting in [32, 64] {
        let each = rate(span, waiting, || write(&mut store, &syncer, waiting, 1, random))?;
        println!("result\teach\t{waiting}\t{each:.0}");
        let one = rate(span, waiting, || write(&mut store, &syncer, 1, waiting, random))?;
        println!("result\tone\t{waiting}\t{one:.0}");
    }
    let gets = rate(span, 100, || (0..100).try_for_each(|_| get(&store, random)))?;
    println!("result\tget\t1\t{gets:.0}");
    Ok(())
}

/// Records per second of `turn`, which does `records` of them, over `span`.
fn rate(
    span: Duration,
    records: u32,
    mut turn: impl FnMut() -> Result<(), StoreError>,
) -> Result<f64, StoreError> {
    let (begun, mut done) = (Instant::now(), 0_u64);
    while begun.elapsed() < span {
        turn()?;
        done += u64::from(records);
    }
    Ok(done as f64 / begun.elapsed().as_secs_f64())
}

fn fill(store: &mut RocksStore, syncer: &Syncer) -> Result<(), StoreError> {
    let mut batch = Batch::default();
    (0..KEYS).for_each(|at| batch.put(Family::Headers, key(at), VALUE.to_vec()));
    store.write(batch)?;
    syncer.sync().map(drop)
}

/// `batches` batches of `records` records each, then one sync.
fn write(
    store: &mut RocksStore,
    syncer: &Syncer,
    batches: u32,
    records: u32,
    random: &mut ThreadRng,
) -> Result<(), StoreError> {
    for _ in 0..batches {
        let mut batch = Batch::default();
        for _ in 0..records {
            batch.put(Family::Headers, key(random.random_range(0..KEYS)), VALUE.to_vec());
        }
        store.write(batch)?;
    }
    syncer.sync().map(drop)
}

fn get(store: &RocksStore, random: &mut ThreadRng) -> Result<(), StoreError> {
    let found = store.get(Family::Headers, &key(random.random_range(0..KEYS)))?;
    assert_eq!(found.as_deref(), Some(&VALUE[..]), "what was written is read");
    Ok(())
}

fn key(at: u32) -> Vec<u8> {
    format!("key:{at:012}").into_bytes()
}
