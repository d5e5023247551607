//! A node's directory: locked while in use, with the node's name and a count of its starts.
//!
//! `lock`, `node.toml` (name, generation and a checksum of both), `db/`. The generation grows with
//! every start and begins at a random number, so a node that lost its directory is not taken for
//! its first life. A changed letter in the name would make it another node: it is refused.

use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
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
        identity.generation += 1;
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
    Identity {
        name: name.map_or_else(drawn, str::to_owned),
        generation: rand::random::<u32>().into(),
        check: None,
    }
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
    fn a_directory_keeps_its_name_counts_starts_and_admits_one_process() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let first = DataDir::open(dir.path(), Some("ada")).expect("it opens");
        let second = DataDir::open(dir.path(), None).expect_err("it is locked");
        assert!(second.contains("in use by another process"), "{second}");
        let generation = first.generation;
        drop(first);
        let wrong = DataDir::open(dir.path(), Some("bob")).expect_err("ada lives there");
        assert!(wrong.contains("belongs to the node ada"), "{wrong}");
        let again = DataDir::open(dir.path(), None).expect("it is free again");
        assert_eq!((again.name.as_str(), again.generation), ("ada", generation + 1));
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
                    let found = (opened.name.as_str(), opened.generation);
                    assert_eq!(found, ("ada", generation + 1), "bit {at}");
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
