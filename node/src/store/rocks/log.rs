//! RocksDB's log format, read to see where a log or a manifest is whole.
//!
//! Files of 32 KiB blocks; a record is one fragment or several, each with a header of seven bytes:
//! checksum (CRC-32C of type and payload, masked), length, type. RocksDB's own reader cannot be
//! asked: it takes a length that one bit made too long for the end of the file, skips the rest of
//! a block whose header is zeros, and never returns when a flipped bit makes a type recyclable.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

const BLOCK: usize = 32 << 10;
const HEADER: usize = 7;
/// Bytes of a record that are kept to be looked at.
const HEAD_MAX: usize = 64;

const ZERO: u8 = 0;
const FULL: u8 = 1;
const FIRST: u8 = 2;
const MIDDLE: u8 = 3;
const LAST: u8 = 4;

/// Where a file stops being what was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Damage {
    /// Where the record begins that is not whole, in bytes from the beginning of the file.
    pub at: u64,
    /// What is wrong with it.
    pub why: &'static str,
    /// Whether it is what a write leaves that was cut short: nothing behind it was ever whole.
    pub torn: bool,
}

/// Visits the beginnings (up to 64 bytes) of the whole records of `file`, in order, and returns
/// the first damage. A visitor that returns a reason ends the walk with it.
///
/// # Errors
/// The file cannot be read.
pub(super) fn walk(
    file: &Path,
    visit: &mut dyn FnMut(&[u8]) -> Result<(), &'static str>,
) -> io::Result<Option<Damage>> {
    let mut file = File::open(file)?;
    let mut walk = Walk { begun: None, head: Vec::with_capacity(HEAD_MAX), at: 0, visit };
    let mut block = Vec::with_capacity(BLOCK);
    loop {
        block.clear();
        file.by_ref().take(BLOCK as u64).read_to_end(&mut block)?;
        let begins = walk.at;
        if let Some((place, why)) = walk.block(&block) {
            let mut rest = block[place..].to_vec();
            // One byte more tells whether this was the last block; zeros may go on.
            let ends = block.len() < BLOCK || is_zero_to_the_end(&mut file)?;
            rest.truncate(BLOCK);
            let torn = ends && is_torn(&rest);
            let at = walk.begun.unwrap_or(begins + place as u64);
            return Ok(Some(Damage { at, why, torn }));
        }
        walk.at = begins + block.len() as u64;
        if block.len() < BLOCK {
            let cut = |at| Damage { at, why: "a record that was cut off", torn: true };
            return Ok(walk.begun.map(cut));
        }
    }
}

/// The state between blocks.
struct Walk<'a> {
    /// Where the record begins whose fragments are being read.
    begun: Option<u64>,
    /// Its first bytes.
    head: Vec<u8>,
    /// Where the block begins.
    at: u64,
    visit: &'a mut dyn FnMut(&[u8]) -> Result<(), &'static str>,
}

impl Walk<'_> {
    /// Reads one block; what stops it, and where in the block.
    fn block(&mut self, block: &[u8]) -> Option<(usize, &'static str)> {
        let mut place = 0;
        while block.len() - place >= HEADER {
            let (kind, payload) = match fragment(&block[place..]) {
                Ok(fragment) => fragment,
                Err(why) => return Some((place, why)),
            };
            let starts = matches!(kind, FULL | FIRST);
            if starts == self.begun.is_some() {
                return Some((place, "a record without its beginning or its end"));
            }
            if starts {
                self.begun = Some(self.at + place as u64);
                self.head.clear();
            }
            let more = payload.len().min(HEAD_MAX - self.head.len());
            self.head.extend_from_slice(&payload[..more]);
            if matches!(kind, FULL | LAST) {
                if let Err(why) = (self.visit)(&self.head) {
                    return Some((place, why));
                }
                self.begun = None;
            }
            place += HEADER + payload.len();
        }
        // A whole block ends with up to six bytes that mean nothing.
        let cut = block.len() < BLOCK && place < block.len();
        cut.then_some((place, "a header that was cut off"))
    }
}

/// The type and payload of the fragment that `bytes` begins with.
fn fragment(bytes: &[u8]) -> Result<(u8, &[u8]), &'static str> {
    let (length, kind) = (usize::from(u16::from_le_bytes([bytes[4], bytes[5]])), bytes[6]);
    if kind == ZERO && length == 0 {
        return Err("zeros where a record should be");
    }
    if !matches!(kind, FULL | FIRST | MIDDLE | LAST) {
        return Err("an unknown type of record");
    }
    let payload = bytes.get(HEADER..HEADER + length).ok_or("a record longer than its block")?;
    match is_sound(bytes, length) {
        true => Ok((kind, payload)),
        false => Err("a checksum that does not match"),
    }
}

/// Whether the fragment at the beginning of `bytes` has its checksum if it is `length` long.
fn is_sound(bytes: &[u8], length: usize) -> bool {
    let Some(covered) = bytes.get(6..HEADER + length) else { return false };
    let masked = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    crc32c::crc32c(covered) == masked.wrapping_sub(0xa282_ead8).rotate_left(15)
}

/// Whether `rest`, the end of a file from its first damage, is the beginning of a record whose
/// writing was cut short, as opposed to a whole record that was changed later.
fn is_torn(rest: &[u8]) -> bool {
    if rest.len() < HEADER || rest.iter().all(|byte| *byte == 0) {
        return true;
    }
    let length = u16::from_le_bytes([rest[4], rest[5]]);
    let is_short = HEADER + usize::from(length) > rest.len();
    let flipped = (0..16).map(|bit| usize::from(length ^ (1 << bit)));
    is_short
        && matches!(rest[6], FULL | FIRST | MIDDLE | LAST)
        && !flipped.into_iter().any(|length| length > 0 && is_sound(rest, length))
        && !(1..rest.len())
            .any(|from| rest.len() - from > HEADER && fragment(&rest[from..]).is_ok())
}

fn is_zero_to_the_end(file: &mut File) -> io::Result<bool> {
    let mut bytes = [0; 4 << 10];
    loop {
        match file.read(&mut bytes)? {
            0 => return Ok(true),
            read if bytes[..read].iter().any(|byte| *byte != 0) => return Ok(false),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn framed(kind: u8, payload: &[u8]) -> Vec<u8> {
        let covered = [&[kind], payload].concat();
        let masked = crc32c::crc32c(&covered).rotate_right(15).wrapping_add(0xa282_ead8);
        let length = (payload.len() as u16).to_le_bytes();
        [&masked.to_le_bytes()[..], &length, &covered].concat()
    }

    fn walked(bytes: &[u8]) -> (Vec<Vec<u8>>, Option<Damage>) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        let mut heads = Vec::new();
        let mut visit = |head: &[u8]| {
            heads.push(head.to_vec());
            Ok(())
        };
        let damage = walk(file.path(), &mut visit).unwrap();
        (heads, damage)
    }

    #[test]
    fn whole_records_are_visited_also_when_they_span_blocks() {
        let first = framed(FULL, b"one");
        let room = BLOCK - first.len() - 2 * HEADER;
        let long = [framed(FIRST, &vec![7; room + HEADER]), framed(MIDDLE, &[8; BLOCK - HEADER])];
        let file = [first, long.concat(), framed(LAST, b"end"), framed(FULL, b"two")].concat();
        let (heads, damage) = walked(&file);
        assert_eq!((heads.len(), damage), (3, None));
        assert_eq!((&heads[0][..], heads[1].len(), &heads[2][..]), (&b"one"[..], 64, &b"two"[..]));
    }

    #[test]
    fn every_cut_is_torn_and_every_flip_is_not() {
        let records = [framed(FULL, b"first"), framed(FULL, b"second"), framed(FULL, b"third")];
        let file = records.concat();
        for len in 0..file.len() {
            let (heads, damage) = walked(&file[..len]);
            let whole = [0, 12, 25].iter().filter(|end| len >= **end).count() - 1;
            assert_eq!(heads.len(), whole, "cut at {len}");
            assert!(damage.is_none_or(|damage| damage.torn), "cut at {len}");
        }
        for at in 0..file.len() {
            for bit in 0..8 {
                let mut flipped = file.clone();
                flipped[at] ^= 1 << bit;
                let damage = walked(&flipped).1.unwrap_or_else(|| panic!("byte {at} bit {bit}"));
                assert!(!damage.torn, "byte {at} bit {bit}: {damage:?}");
            }
        }
    }

    #[test]
    fn zeros_up_to_the_end_are_torn_and_zeros_before_a_record_are_not() {
        let first = framed(FULL, b"first");
        let (heads, damage) = walked(&[&first[..], &vec![0; 3 * BLOCK]].concat());
        assert_eq!(heads.len(), 1);
        assert!(damage.is_some_and(|damage| damage.torn && damage.at == first.len() as u64));
        let hole = [&first[..], &vec![0; BLOCK - first.len()], &framed(FULL, b"next")].concat();
        assert!(walked(&hole).1.is_some_and(|damage| !damage.torn));
    }
}
