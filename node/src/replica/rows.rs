//! Objects in the store: a header row each, and for sets one row a member.
//!
//! A small object is its header. A set's header holds context, clears and waiting removals, the
//! number of visible members and the XOR of their digests, all functions of the state: equal
//! states have byte-equal headers, so a digest needs no scan.

use super::keys::object_key;
use crate::crdt::set::{Covers, MemberDots};
use crate::crdt::{Actor, DeltaType, Object, ObjectId, Set};
use crate::store::{Batch, Family, Store, StoreError, Visit};
use crate::wire::codec;
use bincode::{Decode, Encode};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use xxhash_rust::xxh3::xxh3_64;

/// A header row.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Header {
    /// A small object whole; a set without rows.
    pub object: Object,
    /// Visible members of a set, 0 otherwise.
    pub count: u64,
    /// XOR over the digests of the visible rows.
    pub rows_digest: u64,
}

impl Header {
    /// Of an object never written.
    pub fn empty(object: &ObjectId) -> Header {
        Header { object: Object::empty(object.tag), count: 0, rows_digest: 0 }
    }

    /// Whether a client would find the object.
    pub fn is_present(&self) -> bool {
        self.count > 0 || self.object.is_present()
    }

    /// Whether it says anything at all.
    pub fn is_empty(&self) -> bool {
        self.object == Object::empty(self.object.tag())
    }

    /// Members of a set; of other types 1 when present.
    pub fn visible_count(&self) -> u64 {
        if matches!(self.object, Object::Set(_)) { self.count } else { self.is_present().into() }
    }
}

/// Digest of an object given its header row's bytes; absent rows have 0.
pub fn digest_of(header: Option<&[u8]>) -> u64 {
    header.map_or(0, |bytes| xxh3_64(bytes).max(1))
}

/// Digest that a replica with exactly this small object has.
pub fn digest_of_small(object: &Object) -> u64 {
    let header = Header { object: object.clone(), count: 0, rows_digest: 0 };
    if header.is_empty() { 0 } else { digest_of(Some(&codec::encode(&header))) }
}

/// What a row adds to the digest of all rows: nothing when it has no visible dots.
pub(super) fn row_digest(member: &[u8], dots: &MemberDots) -> u64 {
    if dots.is_empty() { 0 } else { xxh3_64(&codec::encode(&(member, dots))) }
}

fn corrupt(what: &str, object: &ObjectId, why: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt(format!("{what} of {object}: {why}"))
}

/// The header and its bytes' digest.
pub fn load<S: Store>(store: &S, object: &ObjectId) -> Result<(Header, u64), StoreError> {
    let Some(bytes) = store.get(Family::Headers, &object_key(object))? else {
        return Ok((Header::empty(object), 0));
    };
    Ok((decode_header(object, &bytes)?, digest_of(Some(&bytes))))
}

/// A header from its bytes, checked.
pub fn decode_header(object: &ObjectId, bytes: &[u8]) -> Result<Header, StoreError> {
    let header: Header = codec::decode(bytes).map_err(|why| corrupt("header", object, why))?;
    let sound = header.object.tag() == object.tag && header.object.is_canonical();
    sound.then_some(header).ok_or_else(|| corrupt("header", object, "not what belongs there"))
}

/// Writes the header and returns its digest.
pub fn save(object: &ObjectId, header: &Header, batch: &mut Batch) -> u64 {
    let bytes = codec::encode(header);
    let digest = digest_of(Some(&bytes));
    batch.put(Family::Headers, object_key(object), bytes);
    digest
}

/// The visible dots of one member, empty when it is not in the set.
pub fn load_member<S: Store>(
    store: &S,
    object: &ObjectId,
    header: &Set,
    member: &[u8],
) -> Result<MemberDots, StoreError> {
    let mut key = object_key(object);
    key.extend_from_slice(member);
    let Some(bytes) = store.get(Family::Rows, &key)? else { return Ok(MemberDots::new()) };
    let dots: MemberDots = codec::decode(&bytes).map_err(|why| corrupt("row", object, why))?;
    Ok(header.visible(member, &dots))
}

/// Which rows of a set to scan.
#[derive(Clone, Copy, Debug)]
pub struct RowRange<'a> {
    /// Lower bound of the members.
    pub from: Bound<&'a [u8]>,
    /// Inclusive upper bound.
    pub upto: Option<&'a [u8]>,
    /// Beginning of the members.
    pub prefix: &'a [u8],
}

impl RowRange<'_> {
    /// Every row.
    pub const ALL: RowRange<'static> = RowRange { from: Bound::Unbounded, upto: None, prefix: b"" };
}

/// Visits stored rows in order: member, and its visible dots (none for a row that waits for
/// collection).
pub fn scan_members<S: Store>(
    store: &S,
    object: &ObjectId,
    header: &Set,
    range: RowRange<'_>,
    visit: &mut dyn FnMut(&[u8], MemberDots) -> Visit,
) -> Result<(), StoreError> {
    let base = object_key(object);
    let start = match range.from {
        Bound::Unbounded => [&base, range.prefix].concat(),
        Bound::Included(member) => [&base, member.max(range.prefix)].concat(),
        Bound::Excluded(member) if member < range.prefix => [&base, range.prefix].concat(),
        Bound::Excluded(member) => [&base, member, &[0]].concat(),
    };
    let end = match range.upto {
        Some(upto) => Some([&base, upto, &[0]].concat()),
        None => super::keys::prefix_end(&[&base, range.prefix].concat()),
    };
    let mut failed = None;
    store.scan(Family::Rows, &start, end.as_deref(), &mut |key, bytes| {
        let member = &key[base.len()..];
        match codec::decode::<MemberDots>(bytes) {
            Ok(dots) => visit(member, header.visible(member, &dots)),
            Err(why) => {
                failed = Some(corrupt("row", object, why));
                Visit::Stop
            }
        }
    })?;
    failed.map_or(Ok(()), Err)
}

/// The whole object, for small sets and checks.
///
/// # Errors
/// A row could not be read or failed its check.
pub fn load_whole<S: Store>(store: &S, object: &ObjectId) -> Result<(Header, Object), StoreError> {
    let (header, _) = load(store, object)?;
    let mut whole = header.object.clone();
    if let (Object::Set(set), Object::Set(head)) = (&mut whole, &header.object) {
        scan_members(store, object, head, RowRange::ALL, &mut |member, dots| {
            if !dots.is_empty() {
                set.rows.insert(member.to_vec(), dots);
            }
            Visit::Next
        })?;
    }
    Ok((header, whole))
}

/// Reads everything there is of the object and keeps nothing.
///
/// # Errors
/// A row could not be read or failed its check.
pub fn check<S: Store>(store: &S, object: &ObjectId) -> Result<(), StoreError> {
    let (header, _) = load(store, object)?;
    match &header.object {
        Object::Set(head) => {
            scan_members(store, object, head, RowRange::ALL, &mut |_, _| Visit::Next)
        }
        _ => Ok(()),
    }
}

/// What a join did to an object in the store.
#[derive(Debug)]
pub struct Joined {
    /// The header afterwards.
    pub header: Header,
    /// Digest before and after; equal when nothing changed.
    pub before: u64,
    /// See `before`.
    pub after: u64,
    /// Whether rows were left behind that nobody can see.
    pub garbage: bool,
    /// The highest counter of `own` that the replica knew before.
    pub own_before: u64,
}

/// Joins `delta` into the stored object, touching the rows it mentions. `held` is what [`load`]
/// gives for the object now.
///
/// # Errors
/// A row could not be read, or the types differ ([`StoreError::Corrupt`]); `batch` is then to be
/// thrown away.
pub fn join<S: Store>(
    store: &S,
    object: &ObjectId,
    held: (Header, u64),
    delta: &Object,
    own: Actor,
    batch: &mut Batch,
) -> Result<Joined, StoreError> {
    let (mut header, before) = held;
    let own_before = header.object.context().highest(own);
    let garbage = match (&mut header, delta) {
        (Header { object: Object::Set(head), count, rows_digest }, Object::Set(delta)) => {
            let mut rows = RowsOf { store, object, count, rows_digest, batch };
            rows.join(head, delta)?
        }
        (header, delta) => {
            header.object.join(delta).map_err(|why| corrupt("delta", object, why))?;
            false
        }
    };
    let after = if header.is_empty() { before } else { save(object, &header, batch) };
    Ok(Joined { header, before, after, garbage, own_before })
}

/// The rows of one set during a join.
struct RowsOf<'a, S> {
    store: &'a S,
    object: &'a ObjectId,
    count: &'a mut u64,
    rows_digest: &'a mut u64,
    batch: &'a mut Batch,
}

impl<S: Store> RowsOf<'_, S> {
    /// Joins `delta` into the set whose header is `head`; whether rows became invisible unseen.
    fn join(&mut self, head: &mut Set, delta: &Set) -> Result<bool, StoreError> {
        let clears = !delta.cleared.is_subset(&head.cleared);
        let scan = head.clear_needs_scan(delta);
        let mut window = head.header();
        window.covers = Covers::Rows;
        window.rows = self.load_window(head, delta, scan)?;
        let before = window.rows.clone();
        window.join(delta);
        let all_gone = clears && !scan;
        if all_gone {
            // Every live dot was in what the delta clears: no row survives it.
            *self.count = 0;
            *self.rows_digest = 0;
        }
        let members: BTreeSet<_> = before.keys().chain(window.rows.keys()).collect();
        for member in members {
            let old = before.get(member).filter(|_| !all_gone);
            self.replace(member, old, window.rows.get(member));
        }
        *head = window.header();
        Ok(all_gone)
    }

    fn load_window(
        &self,
        head: &Set,
        delta: &Set,
        scan: bool,
    ) -> Result<BTreeMap<Vec<u8>, MemberDots>, StoreError> {
        let mut rows = BTreeMap::new();
        let range = match &delta.covers {
            _ if scan => Some(RowRange::ALL),
            Covers::All => Some(RowRange::ALL),
            Covers::Range { after, upto } => Some(RowRange {
                from: after.as_deref().map_or(Bound::Unbounded, Bound::Excluded),
                upto: upto.as_deref(),
                prefix: b"",
            }),
            Covers::Rows => None,
        };
        if let Some(range) = range {
            scan_members(self.store, self.object, head, range, &mut |member, dots| {
                rows.insert(member.to_vec(), dots);
                Visit::Next
            })?;
        }
        for member in delta.mentioned().chain(delta.deferred.keys()) {
            if !rows.contains_key(member) {
                let dots = load_member(self.store, self.object, head, member)?;
                rows.insert(member.clone(), dots);
            }
        }
        Ok(rows)
    }

    fn replace(&mut self, member: &[u8], old: Option<&MemberDots>, new: Option<&MemberDots>) {
        let empty = MemberDots::new();
        let (old, new) = (old.unwrap_or(&empty), new.unwrap_or(&empty));
        if old == new && !new.is_empty() {
            return;
        }
        *self.rows_digest ^= row_digest(member, old) ^ row_digest(member, new);
        *self.count = *self.count + u64::from(!new.is_empty()) - u64::from(!old.is_empty());
        let mut key = object_key(self.object);
        key.extend_from_slice(member);
        match new.is_empty() {
            true => self.batch.delete(Family::Rows, key),
            false => self.batch.put(Family::Rows, key, codec::encode(new)),
        }
    }
}
