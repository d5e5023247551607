//! What each choice of the store is worth: the same work with it and without it.
//!
//! `store_choices DIR` takes about a minute and prints tab-separated lines for `.ci/profile`:
//!
//! - `sync`, batches that share a sync, batches per second, median time of a sync in µs
//! - `bloom`, `on` or `off`, `present` or `absent`, ns a get: the same tables, opened once as they
//!   are and once so that their filters are not used
//! - `page`, rows asked for, µs: the first rows of an ordered range of 100,000
//! - `cache`, MiB, `even` or `skewed`, share of blocks found in the cache, gets per second
//! - `objects`, MiB, `even` or `skewed`, share of headers found in an object cache of that size in
//!   front of the default block cache, gets per second; with 0 MiB there is none
//!
//! Alternatives are measured in turns, so that what drifts on the machine touches both.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // Measures time.

use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use rocksdb::{BlockBasedOptions, Cache, DB, Options};
use starling_node::store::cached::Cached;
use starling_node::store::rocks::{RocksOptions, RocksStore};
use starling_node::store::{Batch, Family, Store, Visit};
use std::path::Path;
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const MIB: u64 = 1 << 20;
/// Rows of the store that is read, of [`VALUE_BYTES`] that do not compress: about 100 MiB.
const ROWS: u64 = 400_000;
const VALUE_BYTES: usize = 250;
/// Rows of the range of which the first are read.
const RANGE: u64 = 100_000;
const TURNS: usize = 3;

fn main() -> anyhow::Result<()> {
    let dir = std::env::args().nth(1);
    let dir = dir.ok_or_else(|| anyhow::anyhow!("usage: store_choices DIR"))?;
    let (dir, random) = (Path::new(&dir), &mut StdRng::seed_from_u64(1));
    syncs(&dir.join("syncs"), random)?;
    let filled = dir.join("filled");
    fill(&filled, random)?;
    blooms(&filled, random)?;
    pages(&filled)?;
    caches(&filled, random)?;
    objects(&filled, random)
}

/// Batches as the core writes them, then one sync for all that wait.
fn syncs(dir: &Path, random: &mut StdRng) -> anyhow::Result<()> {
    let (mut store, syncer) = RocksStore::open(dir, RocksOptions::default())?;
    let shared = [1_usize, 2, 4, 8, 16, 32, 64, 128];
    let mut rates = vec![Vec::new(); shared.len()];
    let mut times = vec![Vec::new(); shared.len()];
    for _ in 0..TURNS {
        for (at, batches) in shared.iter().enumerate() {
            let (begun, mut done) = (Instant::now(), 0);
            while begun.elapsed() < Duration::from_millis(300) {
                for _ in 0..*batches {
                    let mut batch = Batch::default();
                    batch.put(Family::Headers, key(random.random_range(0..10_000)), value(random));
                    store.write(batch)?;
                }
                let syncing = Instant::now();
                syncer.sync()?;
                times[at].push(syncing.elapsed().as_secs_f64() * 1e6);
                done += *batches;
            }
            rates[at].push(done as f64 / begun.elapsed().as_secs_f64());
        }
    }
    for ((batches, rates), times) in shared.iter().zip(&mut rates).zip(&mut times) {
        println!("sync\t{batches}\t{:.0}\t{:.0}", median(rates), median(times));
    }
    Ok(())
}

/// Even keys in random order, so that every table spans all of them; the range in order.
fn fill(dir: &Path, random: &mut StdRng) -> anyhow::Result<()> {
    let small = RocksOptions { memtable_bytes: 16 * MIB, ..RocksOptions::default() };
    let (mut store, syncer) = RocksStore::open(dir, small.clone())?;
    let mut order: Vec<u64> = (0..ROWS).collect();
    for at in (1..order.len()).rev() {
        order.swap(at, random.random_range(0..=at));
    }
    for some in order.chunks(1_000) {
        let mut batch = Batch::default();
        some.iter().for_each(|at| batch.put(Family::Headers, key(2 * at), value(random)));
        store.write(batch)?;
    }
    for first in (0..RANGE).step_by(1_000) {
        let mut batch = Batch::default();
        (first..first + 1_000).for_each(|at| batch.put(Family::Rows, key(at), vec![b'v'; 16]));
        store.write(batch)?;
    }
    syncer.sync()?;
    drop((store, syncer));
    // Opening puts what only the log had into tables.
    RocksStore::open(dir, small).map(drop).map_err(Into::into)
}

/// Gets of keys that are there and of keys between them, with the filters and without.
fn blooms(dir: &Path, random: &mut StdRng) -> anyhow::Result<()> {
    let open = |filters: bool| -> anyhow::Result<DB> {
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&Cache::new_lru_cache(usize::try_from(512 * MIB)?));
        if filters {
            table.set_bloom_filter(10.0, false);
        }
        let mut options = Options::default();
        options.set_block_based_table_factory(&table);
        let families = DB::list_cf(&options, dir)?;
        let families = families.iter().map(|name| (name.as_str(), options.clone()));
        Ok(DB::open_cf_with_opts_for_read_only(&options, dir, families, false)?)
    };
    let dbs = [("on", open(true)?), ("off", open(false)?)];
    let mut took = [[Vec::new(), Vec::new()], [Vec::new(), Vec::new()]];
    for turn in 0..=TURNS {
        for (at, (_, db)) in dbs.iter().enumerate() {
            for absent in [0, 1] {
                let ns = gets(db, absent, random)?;
                // The first turn fills the caches.
                took[at][usize::try_from(absent)?].extend((turn > 0).then_some(ns));
            }
        }
    }
    for ((name, _), took) in dbs.iter().zip(&mut took) {
        println!("bloom\t{name}\tpresent\t{:.0}", median(&mut took[0]));
        println!("bloom\t{name}\tabsent\t{:.0}", median(&mut took[1]));
    }
    Ok(())
}

/// Nanoseconds a get.
fn gets(db: &DB, absent: u64, random: &mut StdRng) -> anyhow::Result<f64> {
    const GETS: u32 = 50_000;
    let family = db.cf_handle(Family::Headers.name());
    let family = family.ok_or_else(|| anyhow::anyhow!("the family of headers is there"))?;
    let begun = Instant::now();
    for _ in 0..GETS {
        let key = key(2 * random.random_range(0..ROWS) + absent);
        anyhow::ensure!(db.get_pinned_cf(&family, key)?.is_some() == (absent == 0), "wrong answer");
    }
    Ok(begun.elapsed().as_nanos() as f64 / f64::from(GETS))
}

/// The first rows of an ordered range, and all of it.
fn pages(dir: &Path) -> anyhow::Result<()> {
    let (store, _syncer) = RocksStore::open(dir, RocksOptions::default())?;
    let sizes = [10, 100, 1_000, 10_000, RANGE];
    let mut took = vec![Vec::new(); sizes.len()];
    for turn in 0..=9 {
        for (limit, took) in sizes.iter().zip(&mut took) {
            // The second of two: the first brings back what longer scans pushed out of caches.
            let mut us = 0.0;
            for _ in 0..2 {
                let (mut seen, begun) = (0, Instant::now());
                store.scan(Family::Rows, &[], None, &mut |_, _| {
                    seen += 1;
                    if seen < *limit { Visit::Next } else { Visit::Stop }
                })?;
                us = begun.elapsed().as_secs_f64() * 1e6;
                anyhow::ensure!(seen == *limit, "{seen} rows in place of {limit}");
            }
            took.extend((turn > 0).then_some(us));
        }
    }
    for (limit, took) in sizes.iter().zip(&mut took) {
        println!("page\t{limit}\t{:.1}", median(took));
    }
    Ok(())
}

/// Gets with block caches of several sizes, once they are warm.
fn caches(dir: &Path, random: &mut StdRng) -> anyhow::Result<()> {
    for mib in [16, 24, 32, 48, 64, 96, 128, 192] {
        let options = RocksOptions { memory_bytes: mib * MIB, ..RocksOptions::default() };
        let (store, _syncer) = RocksStore::open(dir, options)?;
        for draw in DRAWS {
            read(&store, draw, random, Duration::from_millis(1_000))?;
            let before = store.probe().stats()?;
            let rate = read(&store, draw, random, Duration::from_millis(800))?;
            let after = store.probe().stats()?;
            let hits = (after.block_cache_hits - before.block_cache_hits) as f64;
            let misses = (after.block_cache_misses - before.block_cache_misses) as f64;
            println!("cache\t{mib}\t{}\t{:.4}\t{rate:.0}", draw.0, hits / (hits + misses));
        }
    }
    Ok(())
}

/// Gets with object caches of several sizes in front of the default store, in turns.
fn objects(dir: &Path, random: &mut StdRng) -> anyhow::Result<()> {
    let sizes = [0_u64, 1, 2, 4, 8, 16, 32, 64, 128, 192];
    let mut found = vec![[0.0; DRAWS.len()]; sizes.len()];
    let mut rates = vec![vec![Vec::new(); DRAWS.len()]; sizes.len()];
    let (store, _syncer) = RocksStore::open(dir, RocksOptions::default())?;
    let mut store = Some(store);
    for _ in 0..TURNS {
        for (at, mib) in sizes.iter().enumerate() {
            let Some(below) = store.take() else { break };
            let cached = Cached::new(below, mib * MIB);
            for (place, draw) in DRAWS.into_iter().enumerate() {
                read(&cached, draw, random, Duration::from_millis(1_500))?;
                let stats = cached.stats();
                let (hits, misses) = (stats.hits(), stats.misses());
                rates[at][place].push(read(&cached, draw, random, Duration::from_millis(500))?);
                let (hits, misses) = (stats.hits() - hits, stats.misses() - misses);
                found[at][place] = hits as f64 / (hits + misses) as f64;
            }
            store = Some(cached.into_below());
        }
    }
    for (at, mib) in sizes.iter().enumerate() {
        for (place, (name, _)) in DRAWS.into_iter().enumerate() {
            let rate = median(&mut rates[at][place]);
            println!("objects\t{mib}\t{name}\t{:.4}\t{rate:.0}", found[at][place]);
        }
    }
    Ok(())
}

/// How keys are drawn: a name and a power. With one above 1 few keys, spread over all tables, draw
/// most gets.
const DRAWS: [(&str, i32); 2] = [("even", 1), ("skewed", 4)];

/// Gets of headers for that long; how many a second.
fn read(
    store: &impl Store,
    (_, power): (&str, i32),
    random: &mut StdRng,
    span: Duration,
) -> anyhow::Result<f64> {
    let (begun, mut done) = (Instant::now(), 0_u32);
    while begun.elapsed() < span {
        for _ in 0..100 {
            let rank = (random.random::<f64>().powi(power) * ROWS as f64) as u64;
            let key = key(2 * (rank.wrapping_mul(7_919) % ROWS));
            anyhow::ensure!(store.get(Family::Headers, &key)?.is_some(), "a row lacks");
        }
        done += 100;
    }
    Ok(f64::from(done) / begun.elapsed().as_secs_f64())
}

fn key(at: u64) -> Vec<u8> {
    format!("key:{at:012}").into_bytes()
}

fn value(random: &mut StdRng) -> Vec<u8> {
    let mut value = vec![0; VALUE_BYTES];
    random.fill_bytes(&mut value);
    value
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
