//! SIGKILL to a real process that writes: every synced batch is there afterwards, and of the
//! others a prefix, each batch whole.
//!
//! A test starts itself again as the child, which finds its directory in the environment.

use std::io::{BufRead, BufReader, Lines, Write, stdout};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;
use std::{env, thread};

use starling_node::store::rocks::RocksStore;
use starling_node::store::{Batch, Family, Lsn, Store, StoreError};

use crate::rocks::{open, small};

const DIR: &str = "STARLING_TEST_STORE_DIR";

/// The directory to write to, if this process is the child.
fn child_dir() -> Option<std::path::PathBuf> {
    env::var_os(DIR).map(Into::into)
}

/// The child, killed at the latest when it is dropped.
struct Writer {
    child: Child,
    said: Lines<BufReader<ChildStdout>>,
}

impl Writer {
    /// Starts `test` of this module in a process of its own.
    fn start(test: &str, dir: &Path) -> Writer {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", &format!("rocks_kill::{test}"), "--nocapture", "--test-threads=1"])
            .env(DIR, dir)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap()).lines();
        Writer { child, said }
    }

    /// The number of the next line `word number` that the child says.
    fn hear(&mut self, word: &str) -> u64 {
        for line in &mut self.said {
            let line = line.unwrap();
            if let Some(number) = line.rsplit_once(' ').filter(|(start, _)| start.ends_with(word)) {
                return number.1.parse().unwrap();
            }
        }
        panic!("the child ended without saying {word}");
    }

    /// Kills it and returns the last number it had still said after `word`, if any.
    fn kill(mut self, word: &str) -> Option<u64> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let said: Vec<String> = self.said.by_ref().map_while(Result::ok).collect();
        let numbers = said.iter().filter_map(|line| line.strip_prefix(word));
        numbers.filter_map(|number| number.trim().parse().ok()).next_back()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn say(word: &str, number: u64) {
    println!("\n{word} {number}");
    stdout().flush().unwrap();
}

/// Batch `n`: rows in three families. Below 100, every tenth is large, so that the log's buffer of
/// a mebibyte spills into the file before a sync; above, the buffer lasts for thousands.
fn changes(n: u64) -> Batch {
    let mut batch = Batch::default();
    for (part, family) in [Family::Headers, Family::Rows, Family::Hints].into_iter().enumerate() {
        let len = if n < 100 && n.is_multiple_of(10) { 150_000 } else { 40 };
        let byte = (n as u8).wrapping_mul(3).wrapping_add(part as u8);
        batch.put(family, n.to_be_bytes().to_vec(), vec![byte; len]);
    }
    batch
}

/// Opens what the killed process left and returns how many batches, from the first, are there.
/// Every batch is there whole or not at all, and none after one that is missing.
fn surviving_batches(dir: &Path) -> u64 {
    let (store, _syncer) = open(dir);
    let mut found = 0;
    let rows = |family| crate::rows(&store, family, b"", None).unwrap().len() as u64;
    while let Some(_row) = store.get(Family::Headers, &(found + 1_u64).to_be_bytes()).unwrap() {
        found += 1;
        for change in changes(found).changes {
            let row = store.get(change.family, &change.key).unwrap();
            assert!(row == change.value, "batch {found} is torn in {}", change.family.name());
        }
    }
    for family in [Family::Headers, Family::Rows, Family::Hints] {
        assert_eq!(rows(family), found, "a batch after {found} is there in {}", family.name());
    }
    found
}

#[test]
fn a_kill_between_write_and_sync_loses_nothing_that_was_synced() {
    const SYNCED: u64 = 25;
    const WRITTEN: u64 = 95;
    if let Some(dir) = child_dir() {
        let (mut store, syncer) = open(&dir);
        for n in 1..=SYNCED {
            assert_eq!(store.write(changes(n)), Ok(Lsn(n)));
        }
        assert_eq!(syncer.sync(), Ok(Lsn(SYNCED)));
        for n in SYNCED + 1..=WRITTEN {
            store.write(changes(n)).unwrap();
        }
        say("written", WRITTEN);
        thread::sleep(Duration::from_secs(600));
        panic!("nobody killed this process");
    }
    let dir = tempfile::tempdir().unwrap();
    let test = "a_kill_between_write_and_sync_loses_nothing_that_was_synced";
    let mut writer = Writer::start(test, dir.path());
    assert_eq!(writer.hear("written"), WRITTEN);
    writer.kill("written");

    let found = surviving_batches(dir.path());
    assert!((SYNCED..=WRITTEN).contains(&found), "{found} batches survived");
    // The end of what was written was in the buffer of the process, and that is gone.
    assert!(found < WRITTEN, "the log was not buffered: {found} batches survived");
}

#[test]
fn a_kill_at_any_moment_loses_nothing_that_was_synced() {
    if let Some(dir) = child_dir() {
        let (mut store, syncer) = open(&dir);
        for n in 1.. {
            store.write(changes(n)).unwrap();
            if n % 7 == 0 {
                say("synced", syncer.sync().unwrap().0);
            }
        }
    }
    for round in 0..6 {
        let dir = tempfile::tempdir().unwrap();
        let test = "a_kill_at_any_moment_loses_nothing_that_was_synced";
        let mut writer = Writer::start(test, dir.path());
        let mut synced = writer.hear("synced");
        while synced < 60 * round {
            synced = writer.hear("synced");
        }
        thread::sleep(Duration::from_micros(700 * round));
        let synced = writer.kill("synced").unwrap_or(synced).max(synced);
        let found = surviving_batches(dir.path());
        assert!(found >= synced, "{synced} batches were synced, {found} survived");
    }
}

#[test]
fn a_sync_beside_writes_claims_no_batch_that_came_after_it_began() {
    if let Some(dir) = child_dir() {
        let (mut store, syncer) = open(&dir);
        thread::spawn(move || {
            loop {
                say("synced", syncer.sync().unwrap().0);
                thread::sleep(Duration::from_millis(20));
            }
        });
        for n in 1.. {
            store.write(changes(n)).unwrap();
        }
    }
    for _ in 0..6 {
        let dir = tempfile::tempdir().unwrap();
        let test = "a_sync_beside_writes_claims_no_batch_that_came_after_it_began";
        let mut writer = Writer::start(test, dir.path());
        while writer.hear("synced") < 1_000 {}
        let synced = writer.hear("synced");
        let synced = writer.kill("synced").unwrap_or(synced);
        let found = surviving_batches(dir.path());
        assert!(found >= synced, "{synced} batches were synced, {found} survived");
    }
}

#[test]
fn a_directory_that_another_process_holds_is_refused_until_that_process_is_gone() {
    if let Some(dir) = child_dir() {
        let (mut store, syncer) = open(&dir);
        store.write(changes(1)).unwrap();
        say("synced", syncer.sync().unwrap().0);
        thread::sleep(Duration::from_secs(600));
        panic!("nobody killed this process");
    }
    let dir = tempfile::tempdir().unwrap();
    let test = "a_directory_that_another_process_holds_is_refused_until_that_process_is_gone";
    let mut writer = Writer::start(test, dir.path());
    writer.hear("synced");
    match RocksStore::open(dir.path(), small()) {
        Err(StoreError::Failed(why)) => assert!(why.contains("is in use"), "{why}"),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("two processes have one database open"),
    }
    writer.kill("synced");
    assert_eq!(surviving_batches(dir.path()), 1);
}
