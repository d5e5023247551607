//! A node's directory: locked while in use, with the node's name and a count of its starts.
//!
//! `lock`, `node.toml` (name, generation and a checksum of both), `db/`. The generation grows with
//! every start. It is made of the time, or one more than the last where the clock is behind, and of
//! a number drawn: a directory that was lost, or put back as it was before, must not lead to the
//! generation of an earlier life, since gossip would hear nothing of this one before it had lived
//! as long. A changed letter in the name would make it another node: it is refused.

use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// An open directory; the lock goes with it.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// The node that lives here.
    pub name: String,
    /// Of this start.
    pub generation: u64,
    _lock: File,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Identity {
    name: String,
    generation: u64,
    /// Of the others, hexadecimal. A directory of a version that did not write it has none.
    check: Option<String>,
}

impl Identity {
    fn sum(&self) -> String {
        format!("{:016x}", xxh3_64_with_seed(self.name.as_bytes(), self.generation))
    }

    fn parse(text: &str) -> Result<Identity, String> {
        let identity: Identity = toml::from_str(text).map_err(|e| e.to_string())?;
        let sound = identity.check.as_ref().is_none_or(|check| *check == identity.sum());
        sound.then_some(identity).ok_or_else(|| "its checksum does not match".to_owned())
    }
}

impl DataDir {
    /// Opens or creates the directory for the node called `name`, or whoever lives there.
    ///
    /// # Errors
    /// Another process has it open, another node lives there, or it cannot be written; the text
    /// says so.
    pub fn open(path: &Path, name: Option<&str>) -> Result<DataDir, String> {
        let at = path.display();
        let failed = |e: io::Error| format!("cannot use the data directory {at}: {e}");
        fs::create_dir_all(path).map_err(failed)?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path.join("lock"))
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(format!("the data directory {at} is in use by another process"));
            }
            Err(TryLockError::Error(e)) => return Err(failed(e)),
        }
        let file = path.join("node.toml");
        let mut identity = match fs::read(&file) {
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes);
                Identity::parse(&text).map_err(|why| {
                    format!(
                        "{} is damaged: {why}. Restore the data directory from a backup, or empty \
                         it: the other nodes fill it again",
                        file.display()
                    )
                })?
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => new_identity(name),
            Err(e) => return Err(failed(e)),
        };
        if let Some(name) = name.filter(|name| *name != identity.name) {
            let lives = &identity.name;
            return Err(format!("the data directory {at} belongs to the node {lives}, not {name}"));
        }
        identity.generation = next_generation(identity.generation, SystemTime::now());
        identity.check = Some(identity.sum());
        let text = toml::to_string(&identity).map_err(|e| format!("{at}: {e}"))?;
        write_durably(path, &file, &text).map_err(failed)?;
        let Identity { name, generation, .. } = identity;
        Ok(DataDir { path: path.to_owned(), name, generation, _lock: lock })
    }

    /// Where the database lives.
    pub fn db(&self) -> PathBuf {
        self.path.join("db")
    }
}

fn new_identity(name: Option<&str>) -> Identity {
    let drawn = || format!("node-{:08x}", rand::random::<u32>());
    Identity { name: name.map_or_else(drawn, str::to_owned), generation: 0, check: None }
}

/// Bits of a generation that are drawn; those above count. JSON keeps 53 bits.
const DRAWN_BITS: u32 = 20;

/// The generation of a start at `wall` after that of `last`.
fn next_generation(last: u64, wall: SystemTime) -> u64 {
    let wall_s = wall.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let count = wall_s.min(u32::MAX.into()).max((last >> DRAWN_BITS) + 1);
    count << DRAWN_BITS | u64::from(rand::random::<u32>() >> (u32::BITS - DRAWN_BITS))
}

fn write_durably(dir: &Path, file: &Path, text: &str) -> io::Result<()> {
    let partial = file.with_extension("new");
    let mut out = File::create(&partial)?;
    out.write_all(text.as_bytes())?;
    out.sync_all()?;
    fs::rename(&partial, file)?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_keeps_its_name_and_admits_one_process() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let first = DataDir::open(dir.path(), Some("ada")).expect("it opens");
        let second = DataDir::open(dir.path(), None).expect_err("it is locked");
        assert!(second.contains("in use by another process"), "{second}");
        let generation = first.generation;
        drop(first);
        let wrong = DataDir::open(dir.path(), Some("bob")).expect_err("ada lives there");
        assert!(wrong.contains("belongs to the node ada"), "{wrong}");
        let again = DataDir::open(dir.path(), None).expect("it is free again");
        assert!(again.name == "ada" && again.generation > generation);
    }

    #[test]
    fn a_directory_put_back_as_it_was_comes_to_a_generation_that_was_never_there() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let start = || DataDir::open(dir.path(), Some("ada")).expect("it opens").generation;
        let file = dir.path().join("node.toml");
        let mut seen = vec![start()];
        let copy = fs::read(&file).expect("it is there");
        for _ in 0..5 {
            seen.push(start());
            fs::write(&file, &copy).expect("it is put back");
        }
        fs::remove_file(&file).expect("it is lost");
        seen.push(start());
        let different: std::collections::BTreeSet<u64> = seen.iter().copied().collect();
        assert_eq!(different.len(), seen.len(), "{seen:?}");
    }

    #[test]
    fn generations_grow_by_the_clock_and_where_it_is_behind_by_one() {
        let at = |seconds| UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        let first = next_generation(0, at(1_000));
        assert_eq!(first >> DRAWN_BITS, 1_000);
        let same_second = next_generation(first, at(1_000));
        let clock_back = next_generation(same_second, at(10));
        assert_eq!((same_second >> DRAWN_BITS, clock_back >> DRAWN_BITS), (1_001, 1_002));
        assert_eq!(next_generation(clock_back, at(5_000)) >> DRAWN_BITS, 5_000);
        let late = next_generation(0, at(u64::from(u32::MAX) * 1_000));
        assert!(late < 1 << 53, "{late}");
    }

    #[test]
    fn a_flipped_bit_in_the_identity_is_refused_or_changes_nothing() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let generation = DataDir::open(dir.path(), Some("ada")).expect("it opens").generation;
        let file = dir.path().join("node.toml");
        let whole = fs::read(&file).expect("it is there");
        let mut refused = 0;
        for at in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[at / 8] ^= 1 << (at % 8);
            fs::write(&file, flipped).expect("it is written");
            match DataDir::open(dir.path(), None) {
                Ok(opened) => {
                    assert!(opened.name == "ada" && opened.generation > generation, "bit {at}");
                }
                Err(why) => {
                    assert!(why.contains("is damaged"), "{why}");
                    refused += 1;
                }
            }
        }
        assert!(refused > whole.len() * 4, "{refused} of {} bits", whole.len() * 8);
    }
}
