//! Up to where everything is on disk, remembered beside the log: file `synced`.
//!
//! A log that lost its end looks like one that was never longer. The mark tells them apart. It is
//! written after each sync and not synced itself, which would double the cost of a write: after a
//! loss of power it may claim less than the truth, never more. Two slots are written in turn, each
//! `magic (8) | number (8, little endian) | xxh3 of both (8)`, 512 bytes apart, so a damaged slot
//! leaves the one before it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::xxh3_64;

const MAGIC: &[u8; 8] = b"STARSYN1";
const SLOT: u64 = 512;
const SLOT_LEN: usize = 24;

/// What a file says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Read {
    /// There is none.
    Missing,
    /// No slot of it is sound.
    Damaged,
    /// Everything up to this number was on disk.
    Upto(u64),
}

/// The open file.
pub(super) struct Mark {
    file: File,
    /// What it says now.
    upto: u64,
    /// The slot that is written next.
    next: u64,
}

/// Where the mark of the store in `dir` is.
pub(super) fn path(dir: &Path) -> PathBuf {
    dir.join("synced")
}

/// What the mark of the store in `dir` says.
///
/// # Errors
/// The file is there and cannot be read.
pub(super) fn read(dir: &Path) -> io::Result<Read> {
    let bytes = match fs::read(path(dir)) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Read::Missing),
        Err(e) => return Err(e),
    };
    let slots = [0, SLOT as usize].into_iter();
    let found = slots.filter_map(|at| number_of(bytes.get(at..at + SLOT_LEN)?)).max();
    Ok(found.map_or(Read::Damaged, Read::Upto))
}

impl Mark {
    /// Makes a file that says `upto`, durably, in place of any other.
    ///
    /// # Errors
    /// It could not be written; the old one may be left.
    pub fn create(dir: &Path, upto: u64) -> io::Result<Mark> {
        let partial = path(dir).with_extension("new");
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(&partial)?;
        file.set_len(2 * SLOT)?;
        for at in [0, SLOT] {
            file.write_all_at(&slot_of(upto), at)?;
        }
        file.sync_all()?;
        fs::rename(&partial, path(dir))?;
        File::open(dir)?.sync_all()?;
        Ok(Mark { file, upto, next: 0 })
    }

    /// Everything up to `upto` is on disk. Less than it says already changes nothing.
    ///
    /// # Errors
    /// It could not be written; it then says what it said before.
    pub fn advance(&mut self, upto: u64) -> io::Result<()> {
        if upto > self.upto {
            self.file.write_all_at(&slot_of(upto), self.next)?;
            self.next = SLOT - self.next;
            self.upto = upto;
        }
        Ok(())
    }
}

fn slot_of(number: u64) -> [u8; SLOT_LEN] {
    let mut slot = [0; SLOT_LEN];
    slot[..8].copy_from_slice(MAGIC);
    slot[8..16].copy_from_slice(&number.to_le_bytes());
    let sum = xxh3_64(&slot[..16]).to_le_bytes();
    slot[16..].copy_from_slice(&sum);
    slot
}

fn number_of(slot: &[u8]) -> Option<u64> {
    let number = u64::from_le_bytes(slot[8..16].try_into().ok()?);
    (slot == slot_of(number)).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_claim_is_read_back_and_a_damaged_one_leaves_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()).unwrap(), Read::Missing);
        let mut mark = Mark::create(dir.path(), 7).unwrap();
        assert_eq!(read(dir.path()).unwrap(), Read::Upto(7));
        for upto in [8, 11, 11, 9] {
            mark.advance(upto).unwrap();
        }
        assert_eq!(read(dir.path()).unwrap(), Read::Upto(11));
        let whole = fs::read(path(dir.path())).unwrap();
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            fs::write(path(dir.path()), &flipped).unwrap();
            let found = read(dir.path()).unwrap();
            assert!(matches!(found, Read::Upto(8 | 11)), "byte {at}: {found:?}");
        }
        for len in 0..SLOT_LEN {
            fs::write(path(dir.path()), &whole[..len]).unwrap();
            assert_eq!(read(dir.path()).unwrap(), Read::Damaged);
        }
    }
}
