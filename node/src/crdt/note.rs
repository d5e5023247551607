//! Notes of what was done under which key, so that an operation asked again counts once.
//!
//! A note is a register beside the object, in a bucket of its own that goes with the object's: it
//! is placed where the object is, and replicated, compared and expired like any other. It says by
//! which dot the operation was applied. A replica that holds the note and what the dot stands for
//! answers a repetition without applying it. Where two replicas applied the operation, neither
//! knowing of the other, their notes become siblings; whoever holds both tells the counter, of
//! whose applications all but one then count for nothing ([`doubles_of`]). So it counts
//! once at every replica that has heard of all that was done, and nobody has to agree with anybody
//! before it is answered.

use super::{Counter, Dot, Kv, ObjectId, TypeTag};
use bincode::{Decode, Encode};
use std::collections::BTreeMap;
use xxhash_rust::xxh3::xxh3_128;

/// What the name of a bucket of notes begins with; the rest is the bucket they are about. No
/// client can name it.
const NOTES: &str = "_once/";

/// For so long a key is remembered, seconds.
pub const REMEMBERED_S: u32 = 24 * 60 * 60;

/// Bytes of a key at most; at least 1.
pub const ONCE_KEY_BYTES_MAX: usize = 255;

/// The key of an operation that is to count once, and a digest of what was asked under it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Encode, Decode)]
pub struct Once {
    /// 1 to [`ONCE_KEY_BYTES_MAX`] bytes, of any kind.
    pub key: Vec<u8>,
    /// Equal for equal operations.
    pub asked: u64,
}

/// What was done under a key.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Note {
    /// As in [`Once`].
    pub asked: u64,
    /// The dot that the operation was given.
    pub dot: Dot,
    /// The counter of the dot that began the run it belongs to.
    pub run: u64,
    /// What it adds.
    pub amount: i128,
}

/// The bucket that the objects of `bucket` take their properties from: notes go with what they
/// are about.
pub fn base_bucket(bucket: &str) -> &str {
    bucket.strip_prefix(NOTES).unwrap_or(bucket)
}

/// The bucket of the notes about objects of `bucket`.
pub fn notes_of(bucket: &str) -> String {
    format!("{NOTES}{bucket}")
}

/// Whether that is a bucket of notes.
pub fn is_notes(bucket: &str) -> bool {
    bucket.starts_with(NOTES)
}

impl ObjectId {
    /// The note about what is done to this object under `key`.
    pub fn note(&self, key: &[u8]) -> ObjectId {
        let length = u16::try_from(self.key.len()).expect("at most 1,024 bytes");
        let key = [&[self.tag as u8][..], &length.to_be_bytes(), &self.key, key].concat();
        ObjectId { bucket: notes_of(&self.bucket), tag: TypeTag::Kv, key }
    }

    /// The object that this is a note about, and the key.
    pub fn noted(&self) -> Option<(ObjectId, &[u8])> {
        let bucket = self.bucket.strip_prefix(NOTES)?.to_owned();
        let (tag, key, once) = self.note_parts()?;
        Some((ObjectId { bucket, tag, key: key.to_vec() }, once))
    }

    /// Whether this is a note about `object`.
    pub fn is_about(&self, object: &ObjectId) -> bool {
        self.noted().is_some_and(|(noted, _)| noted == *object)
    }

    /// Bucket and key that decide on which nodes it is.
    pub fn place(&self) -> (&str, &[u8]) {
        match (self.bucket.strip_prefix(NOTES), self.note_parts()) {
            (Some(bucket), Some((_, key, _))) => (bucket, key),
            _ => (&self.bucket, &self.key),
        }
    }

    fn note_parts(&self) -> Option<(TypeTag, &[u8], &[u8])> {
        let (tag, rest) = self.key.split_first()?;
        let (length, rest) = rest.split_at_checked(2)?;
        let length = usize::from(u16::from_be_bytes(length.try_into().ok()?));
        let (key, once) = rest.split_at_checked(length)?;
        Some((TypeTag::of_byte(*tag)?, key, once))
    }
}

/// The notes that a register holds; what cannot be read is none.
pub fn notes_in(kv: &Kv) -> Vec<Note> {
    let read = |value: &[u8]| bincode::decode_from_slice(value, bincode::config::standard());
    kv.siblings.values().filter_map(|sibling| Some(read(&sibling.value).ok()?.0)).collect()
}

impl Note {
    /// As the value of a register.
    pub fn encode(&self) -> Vec<u8> {
        bincode::encode_to_vec(self, bincode::config::standard()).expect("plain numbers")
    }

    /// Of the operation that `delta` of `actor`'s is, which adds `amount`. `None` where it is none
    /// of that actor's.
    pub fn of(delta: &Counter, actor: super::Actor, asked: u64, amount: i128) -> Option<Note> {
        let own = delta.runs.iter().filter(|(run, tally)| {
            run.actor == actor && delta.base.get(run).is_none_or(|base| base.last < tally.last)
        });
        let (run, tally) = own.max_by_key(|(_, tally)| tally.last)?;
        Some(Note { asked, dot: Dot { actor, counter: tally.last }, run: run.counter, amount })
    }
}

/// What the counter must be told where `notes`, all under `key`, are of several applications of one
/// operation: the delta, nothing where there are none.
pub fn doubles_of(key: &[u8], notes: &[Note]) -> Option<Counter> {
    let mut asked: BTreeMap<u64, Vec<&Note>> = BTreeMap::new();
    notes.iter().for_each(|note| asked.entry(note.asked).or_default().push(note));
    let mut delta = Counter::default();
    for (asked, notes) in asked.into_iter().filter(|(_, notes)| notes.len() > 1) {
        let name = xxh3_128(&[key, &asked.to_be_bytes()].concat());
        let dots = notes.iter().map(|note| (note.dot, note.run)).collect();
        delta.add_double(name, notes[0].amount, dots);
    }
    (delta != Counter::default()).then_some(delta)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_note_says_what_it_is_about_and_is_placed_there(
            bucket in "[a-z._-]{1,64}",
            key in prop::collection::vec(any::<u8>(), 1..1_024),
            once in prop::collection::vec(any::<u8>(), 1..255),
        ) {
            let object = ObjectId { bucket, tag: TypeTag::Counter, key };
            let note = object.note(&once);
            prop_assert_eq!(note.noted(), Some((object.clone(), &once[..])));
            prop_assert_eq!(note.place(), object.place());
            prop_assert_eq!(object.noted(), None);
            prop_assert_eq!(base_bucket(&note.bucket), &object.bucket);
        }
    }
}
