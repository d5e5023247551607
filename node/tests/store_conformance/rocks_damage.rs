//! Damage to the files of a store that is closed: rows as they were written, or a refusal.
//!
//! Every test works on copies of a folder in memory. `STARLING_DAMAGE=all` takes every offset and
//! one bit of every byte, `STARLING_DAMAGE=bits` every bit; without it a spread of them is taken,
//! so that a run takes seconds.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use starling_node::store::rocks::RocksStore;
use starling_node::store::{Batch, Family, Store, StoreError};
use tempfile::TempDir;

use crate::rocks::{open, small};
use crate::{Row, rows};

/// An opening that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(60);

fn is_asked(words: &[&str]) -> bool {
    std::env::var("STARLING_DAMAGE").is_ok_and(|word| words.contains(&word.as_str()))
}

fn is_whole() -> bool {
    is_asked(&["all", "bits"])
}

fn in_memory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap()
}

/// The files of a folder, by name.
type Files = BTreeMap<String, Vec<u8>>;

fn read_all(dir: &Path) -> Files {
    let files = fs::read_dir(dir).unwrap().map(|file| file.unwrap());
    let name = |file: &fs::DirEntry| file.file_name().into_string().unwrap();
    files.map(|file| (name(&file), fs::read(file.path()).unwrap())).collect()
}

fn write_all(files: &Files) -> TempDir {
    let dir = in_memory();
    for (name, bytes) in files {
        fs::write(dir.path().join(name), bytes).unwrap();
    }
    dir
}

/// The largest file of a kind.
fn largest(files: &Files, extension: &str) -> String {
    let found = files.iter().filter(|(name, _)| name.ends_with(extension));
    found.max_by_key(|(_, bytes)| bytes.len()).expect(extension).0.clone()
}

/// Batch `n`: one row in each family, of different lengths.
fn changes(n: u64) -> Batch {
    let mut batch = Batch::default();
    for (part, family) in Family::ALL.into_iter().enumerate() {
        let len = 10 + (n as usize * 37 + part * 11) % 90;
        batch.put(family, n.to_be_bytes().to_vec(), vec![n as u8 ^ part as u8; len]);
    }
    batch
}

/// How many batches, from the first, the store holds, or why it does not say. Fails on a wrong
/// byte, a batch that is there in part and one that is there after one that is not.
fn surviving(dir: &Path) -> Result<u64, StoreError> {
    let (store, _syncer) = RocksStore::open(dir, small())?;
    let mut found: Vec<Vec<Row>> = Vec::new();
    for family in Family::ALL {
        found.push(rows(&store, family, b"", None)?);
    }
    let count = found[0].len() as u64;
    for (part, family) in Family::ALL.into_iter().enumerate() {
        let expected = (1..=count).map(|n| changes(n).changes.swap_remove(part));
        let expected: Vec<Row> = expected.map(|c| (c.key, c.value.unwrap())).collect();
        assert!(found[part] == expected, "{} is no prefix of {count}", family.name());
    }
    Ok(count)
}

/// What came of one case: batches found, or why not.
type Outcome = Result<u64, StoreError>;

/// Runs `case` for each of `cases` on all cores and fails when one hangs.
fn run_all<T: Send + Sync + 'static>(
    cases: Vec<T>,
    case: impl Fn(&T) -> Outcome + Send + Sync + 'static,
    mut check: impl FnMut(&T, &Outcome),
) {
    let shared = std::sync::Arc::new((cases, case, AtomicUsize::new(0), Mutex::new(())));
    let (done, outcomes) = mpsc::channel();
    for _ in 0..thread::available_parallelism().unwrap().get() {
        let (shared, done) = (shared.clone(), done.clone());
        thread::spawn(move || {
            loop {
                let at = shared.2.fetch_add(1, Ordering::Relaxed);
                let Some(next) = shared.0.get(at) else { return };
                let _ = done.send((at, (shared.1)(next)));
            }
        });
    }
    drop(done);
    for _ in 0..shared.0.len() {
        let (at, outcome) = outcomes.recv_timeout(PATIENCE).expect("a case panicked or hangs");
        check(&shared.0[at], &outcome);
    }
}

/// A folder as a crash leaves it.
struct Crashed {
    files: Files,
    /// The log's name.
    log: String,
    /// Lengths of the log at which so many batches were whole.
    ends: Vec<(usize, u64)>,
    /// Batches that were synced and marked.
    marked: u64,
}

/// A store that is killed when its log is a bit longer than `len` bytes; the mark tells of the
/// batches in all but the last 32 KiB.
fn crashed(len: usize) -> Crashed {
    let dir = in_memory();
    let (mut store, syncer) = open(dir.path());
    let log = largest(&read_all(dir.path()), ".log");
    let (mut ends, mut mark, mut marked) = (Vec::new(), Vec::new(), 0);
    for n in 1.. {
        store.write(changes(n)).unwrap();
        if n % 5 != 0 {
            continue;
        }
        syncer.sync().unwrap();
        let now = fs::metadata(dir.path().join(&log)).unwrap().len() as usize;
        ends.push((now, n));
        if now + (32 << 10) < len {
            (mark, marked) = (fs::read(dir.path().join("synced")).unwrap(), n);
        }
        if now > len {
            break;
        }
    }
    let mut files = read_all(dir.path());
    files.insert("synced".into(), mark);
    files.retain(|name, _| name != "LOG" && !name.starts_with("OPTIONS"));
    Crashed { files, log, ends, marked }
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Tear {
    Cut,
    Zeros,
    Garbage,
}

impl Tear {
    fn apply(self, log: &[u8], at: usize) -> Vec<u8> {
        let mut torn = log[..at].to_vec();
        let mut state = at as u64 | 1;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        };
        match self {
            Tear::Cut => {}
            Tear::Zeros => torn.resize(log.len(), 0),
            Tear::Garbage => torn.resize_with(log.len(), &mut random),
        }
        torn
    }
}

/// Tears the log at every offset of its last 64 KiB (or a spread of them); with the mark a
/// refusal is demanded where synced batches are gone, without it a prefix everywhere.
fn torn_at_every_offset(tear: Tear) {
    let Crashed { mut files, log: name, ends, marked } = crashed(66 << 10);
    let log = files.remove(&name).unwrap();
    let first = log.len() - (64 << 10);
    let spread = |at: &usize| is_whole() || at.is_multiple_of(997) || log.len() - at <= 128;
    let offsets: Vec<usize> = (first..=log.len()).filter(spread).collect();
    let cases = offsets.iter().flat_map(|at| [(*at, false), (*at, true)]).collect();
    let whole = ends.last().unwrap().1;
    let (begun, mut refused, mut prefix, mut opened) = (Instant::now(), 0, 0, 0);
    let check = |(at, is_marked): &(usize, bool), outcome: &Outcome| {
        let least = ends.iter().rfind(|(len, _)| len <= at).map_or(0, |(_, n)| *n);
        match outcome {
            Ok(found) => {
                assert!(*found >= least, "{tear:?} at {at}: {found} of {least}");
                assert!(!is_marked || *found >= marked, "{tear:?} at {at}: {found} < {marked}");
                assert!(*found <= least + 5, "{tear:?} at {at}: {found} batches");
                *(if *found == whole { &mut opened } else { &mut prefix }) += 1;
            }
            Err(StoreError::Corrupt(why)) => {
                let reached = format!("up to {marked} were synced");
                assert!(*is_marked && least < marked && why.contains(&reached), "{at}: {why}");
                refused += 1;
            }
            Err(other) => panic!("{tear:?} at {at}: {other}"),
        }
    };
    let case = move |(at, is_marked): &(usize, bool)| {
        let dir = write_all(&files);
        fs::write(dir.path().join(&name), tear.apply(&log, *at)).unwrap();
        if !is_marked {
            fs::remove_file(dir.path().join("synced")).unwrap();
        }
        surviving(dir.path())
    };
    run_all(cases, case, check);
    println!(
        "{tear:?}: {} offsets: {opened} whole, {prefix} prefixes, {refused} refused, {:?}",
        offsets.len(),
        begun.elapsed()
    );
    assert!(opened > 0 && prefix > 0 && refused > 0);
}

#[test]
fn a_log_cut_at_any_offset_gives_a_prefix_or_is_refused() {
    torn_at_every_offset(Tear::Cut);
}

#[test]
fn a_log_that_ends_in_zeros_gives_a_prefix_or_is_refused() {
    torn_at_every_offset(Tear::Zeros);
}

#[test]
fn a_log_that_ends_in_garbage_gives_a_prefix_or_is_refused() {
    torn_at_every_offset(Tear::Garbage);
}

/// A closed store with tables and a log: 120 batches, all synced.
fn closed() -> Files {
    let dir = in_memory();
    for part in [1..=80, 81..=120] {
        let (mut store, syncer) = open(dir.path());
        for n in part {
            store.write(changes(n)).unwrap();
        }
        syncer.sync().unwrap();
    }
    let files = read_all(dir.path());
    assert_eq!(surviving(dir.path()), Ok(120));
    files
}

#[test]
fn a_flipped_bit_anywhere_gives_what_was_written_or_is_refused() {
    let files = closed();
    for kind in [".sst", ".log"] {
        assert!(largest(&files, kind).len() > 4, "tables and a log");
    }
    let mut cases = Vec::new();
    for (name, bytes) in &files {
        // Text about the database that nothing reads.
        let is_idle = name.starts_with("OPTIONS") || name.starts_with("LOG");
        let every = if is_idle {
            997
        } else if is_whole() {
            1
        } else {
            17
        };
        for at in (0..bytes.len()).filter(|at| at % every == 0) {
            let drawn = (at as u32).wrapping_mul(2_654_435_761) >> 29;
            let bits = if is_asked(&["bits"]) && !is_idle { 0..8 } else { drawn..drawn + 1 };
            cases.extend(bits.map(|bit| (name.clone(), at, bit)));
        }
    }
    let (begun, count) = (Instant::now(), cases.len());
    let mut table: BTreeMap<String, [u64; 2]> = BTreeMap::new();
    let check = |(name, at, bit): &(String, usize, u32), outcome: &Outcome| {
        let entry = table.entry(name.clone()).or_default();
        match outcome {
            Ok(120) => entry[0] += 1,
            Err(StoreError::Corrupt(_)) => entry[1] += 1,
            other => panic!("{name} byte {at} bit {bit}: {other:?}"),
        }
    };
    let case = move |(name, at, bit): &(String, usize, u32)| {
        let dir = write_all(&files);
        let mut bytes = files[name].clone();
        bytes[*at] ^= 1 << bit;
        fs::write(dir.path().join(name), bytes).unwrap();
        surviving(dir.path())
    };
    run_all(cases, case, check);
    println!("{count} flips in {:?}", begun.elapsed());
    for (name, [correct, refused]) in table {
        println!("  {name}: {correct} correct, {refused} refused");
    }
}

#[test]
fn a_lost_file_is_refused_or_not_needed() {
    let files = closed();
    for name in files.keys() {
        let mut left = files.clone();
        left.remove(name);
        let dir = write_all(&left);
        match surviving(dir.path()) {
            Ok(120) => {}
            Err(StoreError::Corrupt(_)) => {}
            other => panic!("without {name}: {other:?}"),
        }
    }
}

#[test]
fn tables_whose_blocks_were_exchanged_are_refused() {
    let dir = in_memory();
    {
        // Incompressible rows of one length: blocks of one length.
        let (mut store, syncer) = open(dir.path());
        for n in 0..400_u64 {
            let mut state = n + 1;
            let value = (0..1_000).map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state as u8
            });
            let mut batch = Batch::default();
            batch.put(Family::Rows, n.to_be_bytes().to_vec(), value.collect());
            store.write(batch).unwrap();
        }
        syncer.sync().unwrap();
    }
    drop(open(dir.path())); // Recovery turns the log into tables.
    let mut files = read_all(dir.path());
    let name = largest(&files, ".sst");
    let table = files.get_mut(&name).unwrap();
    // The first keys of blocks stand whole in them; where two of them are is where blocks begin.
    let key_at = |n: u64| {
        let key = [&[0, 16, 0xe8, 7], &n.to_be_bytes()[..]].concat();
        table.windows(key.len()).position(|bytes| bytes == key)
    };
    let begins: Vec<usize> = (0..200).filter_map(key_at).collect();
    let lens: Vec<usize> = begins.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let same = lens.windows(2).position(|pair| pair[0] == pair[1]).expect("two equal blocks");
    let (a, b, len) = (begins[same], begins[same + 1], lens[same]);
    assert!(len > 4_000, "blocks and not rows: {len}");
    let (left, right) = table.split_at_mut(b);
    left[a..a + len].swap_with_slice(&mut right[..len]);
    let exchanged = write_all(&files);
    let (store, _syncer) = open(exchanged.path());
    let found = rows(&store, Family::Rows, b"", None);
    match found {
        Err(StoreError::Corrupt(why)) => assert!(why.contains("checksum mismatch"), "{why}"),
        other => panic!("{:?}", other.map(|rows| rows.len())),
    }
}
