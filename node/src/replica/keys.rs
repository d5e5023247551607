//! Row keys: ordered so that a partition, an object and a prefix of members are each one range.
//!
//! Object key: `partition (2, big endian) | type (1) | bucket length (1) | bucket | key, escaped`.
//! Escaping writes `00` as `00 01` and ends with `00 00`, which keeps the order and makes no
//! object key a prefix of another. A member's row key is the object key followed by the member.

use crate::crdt::{NodeId, ObjectId, TypeTag};
use crate::placement::partition_of;

/// Key of an object's header row.
pub fn object_key(object: &ObjectId) -> Vec<u8> {
    let mut key = Vec::with_capacity(object.bucket.len() + object.key.len() + 8);
    key.extend_from_slice(&partition_of(object).to_be_bytes());
    key.push(object.tag as u8);
    key.push(object.bucket.len() as u8);
    key.extend_from_slice(object.bucket.as_bytes());
    for &byte in &object.key {
        key.push(byte);
        if byte == 0 {
            key.push(1);
        }
    }
    key.extend_from_slice(&[0, 0]);
    key
}

/// The object of a header row, and how long its key is (a row key goes on with the member).
/// `None` when the bytes are no such key.
pub fn parse_object_key(bytes: &[u8]) -> Option<(ObjectId, usize)> {
    let tag = TypeTag::of_byte(*bytes.get(2)?)?;
    let bucket_end = 4 + usize::from(*bytes.get(3)?);
    let bucket = std::str::from_utf8(bytes.get(4..bucket_end)?).ok()?.to_owned();
    let mut key = Vec::new();
    let mut at = bucket_end;
    loop {
        match (*bytes.get(at)?, bytes.get(at + 1)) {
            (0, Some(0)) => break,
            (0, Some(1)) => {
                key.push(0);
                at += 2;
            }
            (0, _) => return None,
            (byte, _) => {
                key.push(byte);
                at += 1;
            }
        }
    }
    let object = ObjectId { bucket, tag, key };
    let fits = partition_of(&object).to_be_bytes() == bytes[..2];
    fits.then_some((object, at + 2))
}

/// The first key behind every key that begins with `prefix`; `None` when there is none.
pub fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let keep = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end = prefix[..=keep].to_vec();
    end[keep] += 1;
    Some(end)
}

/// What a hint mark is about, within its object.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Marked {
    /// The header: all of a small object, clears and waiting removals of a set.
    Header,
    /// The expiry of a collection.
    Expiry,
    /// One member of a set.
    Member(Vec<u8>),
}

impl Marked {
    /// Bytes of its name.
    pub fn bytes(&self) -> usize {
        match self {
            Marked::Header | Marked::Expiry => 0,
            Marked::Member(member) => member.len(),
        }
    }
}

/// Key of a hint mark: `target (8, big endian) | object key | 00` of the header, `… | 01 | member`,
/// or `… | 02` of the expiry.
pub fn hint_key(target: NodeId, object_key: &[u8], marked: &Marked) -> Vec<u8> {
    let mut key = target.0.to_be_bytes().to_vec();
    key.extend_from_slice(object_key);
    match marked {
        Marked::Header => key.push(0),
        Marked::Expiry => key.push(2),
        Marked::Member(member) => {
            key.push(1);
            key.extend_from_slice(member);
        }
    }
    key
}

/// The parts of a hint mark's key.
pub fn parse_hint_key(bytes: &[u8]) -> Option<(NodeId, ObjectId, Marked)> {
    let (target, rest) = bytes.split_at_checked(8)?;
    let target = NodeId(u64::from_be_bytes(target.try_into().ok()?));
    let (object, length) = parse_object_key(rest)?;
    let marked = match rest[length..].split_first()? {
        (0, []) => Marked::Header,
        (2, []) => Marked::Expiry,
        (1, member) => Marked::Member(member.to_vec()),
        _ => return None,
    };
    Some((target, object, marked))
}

/// The layout in force.
pub const META_LAYOUT: &[u8] = b"layout";
/// Prefix of the objects whose rows wait for collection.
pub const META_COLLECT: &[u8] = b"collect/";
/// Prefix of what is doubted of objects that were damaged.
pub const META_DOUBT: &[u8] = b"doubt/";
/// Prefix of what is stable in each digest tree.
pub const META_STABLE: &[u8] = b"stable/";
/// Prefix of the queue of objects that expire.
pub const META_EXPIRE: &[u8] = b"expire/";

/// Place in the queue of an object that expires at `goes`: `instant (8, big endian) | object key`.
pub fn expire_key(goes: u64, object_key: &[u8]) -> Vec<u8> {
    [&goes.to_be_bytes()[..], object_key].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn objects() -> impl Strategy<Value = ObjectId> {
        let tag = proptest::sample::select(TypeTag::ALL.to_vec());
        let key = prop::collection::vec(prop::sample::select(vec![0u8, 1, 2, 0xff, b'a']), 1..6);
        ("[a-b]{1,3}", tag, key).prop_map(|(bucket, tag, key)| ObjectId { bucket, tag, key })
    }

    proptest! {
        #[test]
        fn an_object_key_reads_back_and_is_no_prefix_of_another(a in objects(), b in objects()) {
            let (key_a, key_b) = (object_key(&a), object_key(&b));
            prop_assert_eq!(parse_object_key(&key_a), Some((a.clone(), key_a.len())));
            prop_assert_eq!(a == b, key_b.starts_with(&key_a));
        }

        #[test]
        fn keys_of_one_partition_type_and_bucket_sort_like_the_client_keys(
            a in objects(), b in objects(),
        ) {
            let (key_a, key_b) = (object_key(&a), object_key(&b));
            if (a.tag, &a.bucket) == (b.tag, &b.bucket) {
                prop_assert_eq!(a.key.cmp(&b.key), key_a[2..].cmp(&key_b[2..]));
            }
        }

        #[test]
        fn a_hint_key_reads_back(object in objects(), member: Option<Vec<u8>>, target: u64) {
            let marked = member.map_or(Marked::Header, Marked::Member);
            let key = hint_key(NodeId(target), &object_key(&object), &marked);
            prop_assert_eq!(parse_hint_key(&key), Some((NodeId(target), object, marked)));
        }

        #[test]
        fn the_end_of_a_prefix_is_behind_all_its_keys(prefix: Vec<u8>, rest: Vec<u8>) {
            let key = [prefix.clone(), rest].concat();
            prop_assert!(prefix_end(&prefix).is_none_or(|end| key < end && prefix < end));
        }
    }

    #[test]
    fn junk_is_no_key() {
        for junk in [&b""[..], b"\0", b"\0\0\x01\x01", b"\0\0\x09\x01ab\0\0", b"\0\0\x01\x01ak\0\0"]
        {
            assert_eq!(parse_object_key(junk), None);
        }
    }
}
