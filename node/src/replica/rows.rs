//! Objects in the store: a header row each, and for collections a row for each member or leaf.
//!
//! A small object is its header. A collection's header holds context, clears and waiting
//! removals, how many rows there are and the XOR of their digests, all functions of the state:
//! equal states have byte-equal headers, so a digest needs no scan.

use super::keys::object_key;
use super::scores;
use crate::crdt::rows::Covers;
use crate::crdt::{Actor, Needs, Object, ObjectId, Row, Rows, Stable};
use crate::store::{Batch, Family, Store, StoreError, Visit};
use crate::wire::codec;
use bincode::{Decode, Encode};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use xxhash_rust::xxh3::xxh3_64;

/// The instant of an object that expired and was collected.
pub const HUSK: u64 = crate::crdt::expiry::AT_MIN;

/// A header row.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Header {
    /// From when on the object is absent, in seconds since the Unix epoch: 0 stands for never,
    /// [`HUSK`] for an object that was collected. Comes first so that it is read alone.
    pub goes: u64,
    /// A small object whole; a collection without rows.
    pub object: Object,
    /// The rows of a collection; nothing for other types.
    pub rows: Summary,
}

/// What a header knows of the rows: a function of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct Summary {
    /// Rows that clients see.
    pub present: u64,
    /// Rows that say anything.
    pub held: u64,
    /// Rows with totals.
    pub totals: u64,
    /// Rows that say what removals observed of totals.
    pub bases: u64,
    /// XOR over the digests of the rows held.
    pub digest: u64,
}

impl Summary {
    /// A row was `old` and is `new`.
    pub(super) fn replace(&mut self, key: &[u8], old: &Row, new: &Row) {
        let change = |count: &mut u64, is: fn(&Row) -> bool| {
            *count = *count + u64::from(is(new)) - u64::from(is(old));
        };
        change(&mut self.present, Row::is_present);
        change(&mut self.held, |row| !row.is_empty());
        change(&mut self.totals, Row::is_totalled);
        change(&mut self.bases, |row| !row.base.is_empty());
        self.digest ^= row_digest(key, old) ^ row_digest(key, new);
    }
}

impl Header {
    /// Of an object never written.
    pub fn empty(object: &ObjectId) -> Header {
        Header::of(Object::empty(object.tag), Summary::default())
    }

    fn of(object: Object, rows: Summary) -> Header {
        Header { goes: object.expires_at().unwrap_or(0), object, rows }
    }

    /// Whether the object is absent in that bucket of time.
    pub fn is_expired(&self, at: u64) -> bool {
        self.goes != 0 && self.goes <= at
    }

    /// Whether a client would find the object.
    pub fn is_present(&self) -> bool {
        self.rows.present > 0 || self.object.is_present()
    }

    /// Whether it says nothing at all. One without any dot may have rows that say what a removal
    /// observed of totals which are over.
    pub fn is_empty(&self) -> bool {
        self.rows == Summary::default() && self.object == Object::empty(self.object.tag())
    }

    /// Rows of a collection that clients see; of other types 1 when present.
    pub fn visible_count(&self) -> u64 {
        match self.object.rows() {
            Some(_) => self.rows.present,
            None => self.is_present().into(),
        }
    }
}

/// Digest of an object given its header row's bytes; absent rows have 0.
pub fn digest_of(header: Option<&[u8]>) -> u64 {
    header.map_or(0, |bytes| xxh3_64(bytes).max(1))
}

/// From when on the object of this header is absent, see [`Header::goes`].
pub fn goes_of(header: &[u8]) -> u64 {
    codec::first_number(header).unwrap_or(0)
}

/// Digest that a replica with exactly this small object has.
pub fn digest_of_small(object: &Object) -> u64 {
    let header = Header::of(object.clone(), Summary::default());
    if header.is_empty() { 0 } else { digest_of(Some(&codec::encode(&header))) }
}

fn row_digest(key: &[u8], row: &Row) -> u64 {
    if row.is_empty() { 0 } else { xxh3_64(&codec::encode(&(key, row))) }
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

/// What is visible of one row, nothing when there is none.
pub fn load_row<S: Store>(
    store: &S,
    object: &ObjectId,
    header: &Rows,
    key: &[u8],
) -> Result<Row, StoreError> {
    let mut at = object_key(object);
    at.extend_from_slice(key);
    let Some(bytes) = store.get(Family::Rows, &at)? else { return Ok(Row::default()) };
    Ok(header.visible(key, &decode_row(object, &bytes)?))
}

pub(super) fn decode_row(object: &ObjectId, bytes: &[u8]) -> Result<Row, StoreError> {
    let row: Row = codec::decode(bytes).map_err(|why| corrupt("row", object, why))?;
    row.is_sound().then_some(row).ok_or_else(|| corrupt("row", object, "not what belongs there"))
}

/// The rows of a collection that an operation looks at, as a window of it.
pub fn load_window<S: Store>(
    store: &S,
    object: &ObjectId,
    head: &Rows,
    needs: &Needs,
) -> Result<Rows, StoreError> {
    let mut window = head.header();
    window.covers = Covers::Rows;
    for key in &needs.keys {
        let row = load_row(store, object, head, key)?;
        window.rows.insert(key.clone(), row);
    }
    let mut take = |prefix: &[u8], wanted: fn(&Row) -> bool, first: bool| {
        let range = RowRange { prefix, ..RowRange::ALL };
        scan_rows(store, object, head, range, &mut |key, row| {
            if !wanted(&row) {
                return Visit::Next;
            }
            window.rows.insert(key.to_vec(), row);
            if first { Visit::Stop } else { Visit::Next }
        })
    };
    for prefix in &needs.firsts {
        take(prefix, Row::is_present, true)?;
    }
    for prefix in &needs.prefixes {
        take(prefix, |row| !row.is_empty(), false)?;
    }
    if needs.totals {
        take(b"", Row::is_totalled, false)?;
    }
    Ok(window)
}

/// Which rows of a collection to scan.
#[derive(Clone, Copy, Debug)]
pub struct RowRange<'a> {
    /// Lower bound of the keys.
    pub from: Bound<&'a [u8]>,
    /// Inclusive upper bound.
    pub upto: Option<&'a [u8]>,
    /// Beginning of the keys.
    pub prefix: &'a [u8],
}

impl RowRange<'_> {
    /// Every row.
    pub const ALL: RowRange<'static> = RowRange { from: Bound::Unbounded, upto: None, prefix: b"" };
}

/// Visits stored rows in order: the key, and what is visible of the row (nothing of one that
/// waits for collection).
pub fn scan_rows<S: Store>(
    store: &S,
    object: &ObjectId,
    header: &Rows,
    range: RowRange<'_>,
    visit: &mut dyn FnMut(&[u8], Row) -> Visit,
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
        let key = &key[base.len()..];
        match decode_row(object, bytes) {
            Ok(row) => visit(key, header.visible(key, &row)),
            Err(error) => {
                failed = Some(error);
                Visit::Stop
            }
        }
    })?;
    failed.map_or(Ok(()), Err)
}

/// Leaves out of the rows what need not be kept because it is stable, of a collection that has not
/// changed since that was agreed upon.
///
/// # Errors
/// A row could not be read; `batch` is then to be thrown away.
pub fn settle<S: Store>(
    store: &S,
    object: &ObjectId,
    header: &mut Header,
    stable: &Stable,
    batch: &mut Batch,
) -> Result<(), StoreError> {
    let Some(head) = header.object.rows() else { return Ok(()) };
    if header.rows.held == header.rows.present && header.rows.bases == 0 {
        return Ok(());
    }
    let mut changed = Vec::new();
    scan_rows(store, object, head, RowRange::ALL, &mut |key, row| {
        let settled = row.settled(stable);
        if settled != row {
            changed.push((key.to_vec(), row, settled));
        }
        Visit::Next
    })?;
    for (key, old, new) in changed {
        replace_row(object, &mut header.rows, &key, (&old, &new), batch);
    }
    Ok(())
}

/// Writes a row that was `old` and is `new`.
fn replace_row(
    object: &ObjectId,
    summary: &mut Summary,
    key: &[u8],
    (old, new): (&Row, &Row),
    batch: &mut Batch,
) {
    summary.replace(key, old, new);
    scores::replace(object, key, old, new, batch);
    let at = [&object_key(object)[..], key].concat();
    match new.is_empty() {
        true => batch.delete(Family::Rows, at),
        false => batch.put(Family::Rows, at, codec::encode(new)),
    }
}

/// The whole object, for small collections and checks.
///
/// # Errors
/// A row could not be read or failed its check.
pub fn load_whole<S: Store>(store: &S, object: &ObjectId) -> Result<(Header, Object), StoreError> {
    let (header, _) = load(store, object)?;
    let mut whole = header.object.clone();
    if let (Some(whole), Some(head)) = (whole.rows_mut(), header.object.rows()) {
        scan_rows(store, object, head, RowRange::ALL, &mut |key, row| {
            if !row.is_empty() {
                whole.rows.insert(key.to_vec(), row);
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
    match header.object.rows() {
        Some(head) => scan_rows(store, object, head, RowRange::ALL, &mut |_, _| Visit::Next),
        None => Ok(()),
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
    /// See [`Header::goes`], before.
    pub goes_before: u64,
    /// Whether rows were left behind that nobody can see.
    pub garbage: bool,
    /// The highest counter of `own` that the replica knew before.
    pub own_before: u64,
}

/// Joins `delta` into the stored object, touching the rows it mentions. `held` is what [`load`]
/// gives for the object now; `own` is this node's actor, and `stable` what is stable among the
/// objects of its tree.
///
/// # Errors
/// A row could not be read, or the types differ ([`StoreError::Corrupt`]); `batch` is then to be
/// thrown away.
pub fn join<S: Store>(
    store: &S,
    object: &ObjectId,
    held: (Header, u64),
    delta: &Object,
    (own, stable): (Actor, Option<&Stable>),
    batch: &mut Batch,
) -> Result<Joined, StoreError> {
    let (mut header, before) = held;
    let own_before = header.object.context().highest(own);
    let goes_before = header.goes;
    let garbage = match (header.object.rows_mut(), delta.rows()) {
        (Some(head), Some(rows)) if delta.tag() == object.tag => {
            RowsOf { store, object, summary: &mut header.rows, batch }.join(head, rows)?
        }
        _ => {
            header.object.join(delta).map_err(|why| corrupt("delta", object, why))?;
            false
        }
    };
    header.goes = header.object.expires_at().unwrap_or(0);
    if let Some(stable) = stable {
        header.object.fill(stable);
        let bare = before == 0 && header.rows == Summary::default();
        if bare && !header.is_present() && header.object.is_settled(stable) {
            // That all of it is dead was known when nothing of it was kept.
            header = Header::empty(object);
        }
    }
    let after = if header.is_empty() { before } else { save(object, &header, batch) };
    Ok(Joined { header, before, after, goes_before, garbage, own_before })
}

/// The rows of one collection during a join.
struct RowsOf<'a, S> {
    store: &'a S,
    object: &'a ObjectId,
    summary: &'a mut Summary,
    batch: &'a mut Batch,
}

impl<S: Store> RowsOf<'_, S> {
    /// Joins `delta` into the collection whose header is `head`; whether rows became invisible
    /// unseen.
    fn join(&mut self, head: &mut Rows, delta: &Rows) -> Result<bool, StoreError> {
        let clears = !delta.cleared.is_subset(&head.cleared);
        // What removals observed of totals outlives a clear, so those rows are looked at.
        let scan = head.clear_needs_scan(delta) || (clears && self.summary.totals > 0);
        let mut window = head.header();
        window.covers = Covers::Rows;
        window.rows = self.load_window(head, delta, scan)?;
        let before = window.rows.clone();
        window.join(delta);
        let all_gone = clears && !scan;
        if all_gone {
            // Every live dot was in what the delta clears: no row survives it.
            *self.summary = Summary::default();
        }
        let keys: BTreeSet<_> = before.keys().chain(window.rows.keys()).collect();
        for key in keys {
            let old = before.get(key).filter(|_| !all_gone);
            self.replace(key, old, window.rows.get(key));
        }
        *head = window.header();
        Ok(all_gone)
    }

    fn load_window(
        &self,
        head: &Rows,
        delta: &Rows,
        scan: bool,
    ) -> Result<BTreeMap<Vec<u8>, Row>, StoreError> {
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
            scan_rows(self.store, self.object, head, range, &mut |key, row| {
                rows.insert(key.to_vec(), row);
                Visit::Next
            })?;
        }
        for prefix in delta.deferred_under.keys() {
            let range = RowRange { prefix, ..RowRange::ALL };
            scan_rows(self.store, self.object, head, range, &mut |key, row| {
                rows.insert(key.to_vec(), row);
                Visit::Next
            })?;
        }
        for key in delta.mentioned().chain(delta.deferred.keys()) {
            if !rows.contains_key(key) {
                let row = load_row(self.store, self.object, head, key)?;
                rows.insert(key.clone(), row);
            }
        }
        Ok(rows)
    }

    fn replace(&mut self, key: &[u8], old: Option<&Row>, new: Option<&Row>) {
        let empty = Row::default();
        let (old, new) = (old.unwrap_or(&empty), new.unwrap_or(&empty));
        if old == new && !new.is_empty() {
            return;
        }
        replace_row(self.object, self.summary, key, (old, new), self.batch);
    }
}
