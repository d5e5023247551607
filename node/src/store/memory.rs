//! A store in memory that loses on a crash what a disk would lose.
//!
//! Every batch is in the log in the order of writes. A crash keeps all that was synced and some
//! prefix of the rest; a batch that was torn is dropped whole, as a log with checksums does.
//! Nothing here draws a random number or looks at a clock: the same calls give the same rows.
//! Unsynced batches are remembered by what they replaced, so a sync costs what it syncs and a
//! crash what it loses, however many rows there are.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;

use super::{Batch, Change, Family, Lsn, Store, StoreError, Visit};

/// Ordered rows of one family and the bytes of their keys and values.
#[derive(Clone, Debug, Default)]
struct Table {
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    bytes: u64,
}

impl Table {
    /// Sets or deletes a row and returns what it held.
    fn set(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) -> Option<Vec<u8>> {
        let key_len = key.len();
        let added = value.as_ref().map_or(0, |v| key_len + v.len());
        let old = match value {
            Some(value) => self.rows.insert(key, value),
            None => self.rows.remove(&key),
        };
        let removed = old.as_ref().map_or(0, |v| key_len + v.len());
        self.bytes = self.bytes + added as u64 - removed as u64;
        old
    }
}

/// The reverse of an unsynced batch: what each of its changes replaced, in their order.
type Undo = Vec<Change>;

/// The store of the simulator and of tests. See the module for its promises.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    tables: [Table; Family::ALL.len()],
    /// The batches after `synced`, oldest first.
    unsynced: VecDeque<Undo>,
    synced: Lsn,
    write_fault: Option<StoreError>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> MemoryStore {
        MemoryStore::default()
    }

    /// The last batch that was written since opening, 0 if none was.
    pub fn last(&self) -> Lsn {
        Lsn(self.synced.0 + self.unsynced.len() as u64)
    }

    /// The last batch that a crash cannot take away.
    pub fn synced(&self) -> Lsn {
        self.synced
    }

    /// Makes every batch up to and including `upto` durable; what is not written yet is not.
    pub fn sync(&mut self, upto: Lsn) {
        let upto = upto.min(self.last());
        while self.synced < upto {
            self.unsynced.pop_front();
            self.synced.0 += 1;
        }
    }

    /// Stops without warning and opens again: all that was synced is there, and the first `k`
    /// unsynced batches, where `k` is `draw(unsynced + 1)`. The others are gone, the one that
    /// was being written with them.
    ///
    /// `draw(n)` returns a number below `n`; a larger one counts as `n - 1`. What survived is
    /// durable, and the next batch is number 1 again. Injected faults stay.
    pub fn crash(&mut self, draw: &mut dyn FnMut(u64) -> u64) {
        let unsynced = self.unsynced.len() as u64;
        let kept = draw(unsynced + 1).min(unsynced);
        for undo in self.unsynced.drain(kept as usize..).rev() {
            for change in undo.into_iter().rev() {
                self.tables[change.family as usize].set(change.key, change.value);
            }
        }
        self.unsynced.clear();
        self.synced = Lsn(0);
    }

    /// What a crash that keeps nothing unsynced would leave, without crashing. Costs what is
    /// unsynced.
    pub fn as_synced(&self) -> AsSynced<'_> {
        let mut old = BTreeMap::new();
        for change in self.unsynced.iter().flatten() {
            old.entry((change.family, &change.key[..])).or_insert(change.value.as_deref());
        }
        AsSynced { store: self, old }
    }

    /// Loses everything, as a disk that was replaced. Injected faults stay.
    pub fn wipe(&mut self) {
        *self = MemoryStore { write_fault: self.write_fault.take(), ..MemoryStore::default() };
    }

    /// Flips a bit of one row's value on disk, of a row and at a place drawn by the caller, and
    /// says which row; `None` when the family has no row with bytes there. A row that waits for
    /// its sync is not on the disk yet. Numbers are taken modulo what there is.
    pub fn flip(&mut self, family: Family, row: u64, bit: u64) -> Option<Vec<u8>> {
        let changed = self.unsynced.iter().flatten().filter(|change| change.family == family);
        let waiting: BTreeSet<&[u8]> = changed.map(|change| &change.key[..]).collect();
        let rows = &mut self.tables[family as usize].rows;
        let on_disk = || rows.keys().filter(|key| !waiting.contains(&key[..]));
        let place = (row % (on_disk().count() as u64).max(1)) as usize;
        let key = on_disk().nth(place)?.clone();
        let value = rows.get_mut(&key)?;
        let bits = value.len() as u64 * 8;
        let at = bit.checked_rem(bits)?;
        value[(at / 8) as usize] ^= 1 << (at % 8);
        Some(key)
    }

    /// Makes every following write fail with `fault` and change nothing, until it is `None`.
    pub fn fail_writes(&mut self, fault: Option<StoreError>) {
        self.write_fault = fault;
    }

    /// Bytes of the keys and values of a family.
    pub fn bytes(&self, family: Family) -> u64 {
        self.tables[family as usize].bytes
    }

    /// How many rows a family has.
    pub fn len(&self, family: Family) -> usize {
        self.tables[family as usize].rows.len()
    }

    /// Whether no family has a row.
    pub fn is_empty(&self) -> bool {
        self.tables.iter().all(|table| table.rows.is_empty())
    }
}

/// The synced part of a store, to read; see [`MemoryStore::as_synced`].
pub struct AsSynced<'a> {
    store: &'a MemoryStore,
    /// What rows written since held before, by family and key.
    old: BTreeMap<(Family, &'a [u8]), Option<&'a [u8]>>,
}

impl Store for AsSynced<'_> {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.old.get(&(family, key)) {
            Some(old) => Ok(old.map(<[u8]>::to_vec)),
            None => self.store.get(family, key),
        }
    }

    fn scan(
        &self,
        family: Family,
        from: &[u8],
        until: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Visit,
    ) -> Result<(), StoreError> {
        let mut rows = BTreeMap::new();
        self.store.scan(family, from, until, &mut |key, value| {
            rows.insert(key.to_vec(), value.to_vec());
            Visit::Next
        })?;
        for ((_, key), old) in self.old.iter().filter(|((of, _), _)| *of == family) {
            if *key >= from && until.is_none_or(|until| *key < until) {
                match old {
                    Some(old) => rows.insert(key.to_vec(), old.to_vec()),
                    None => rows.remove(*key),
                };
            }
        }
        for (key, value) in &rows {
            if visit(key, value) == Visit::Stop {
                break;
            }
        }
        Ok(())
    }

    fn scan_back(
        &self,
        family: Family,
        from: &[u8],
        until: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Visit,
    ) -> Result<(), StoreError> {
        let mut rows = Vec::new();
        self.scan(family, from, until, &mut |key, value| {
            rows.push((key.to_vec(), value.to_vec()));
            Visit::Next
        })?;
        let _ = rows.iter().rev().find(|(key, value)| visit(key, value) == Visit::Stop);
        Ok(())
    }

    fn write(&mut self, _batch: Batch) -> Result<Lsn, StoreError> {
        Err(StoreError::Failed("what a crash would leave can only be read".into()))
    }
}

impl Store for MemoryStore {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.tables[family as usize].rows.get(key).cloned())
    }

    fn scan(
        &self,
        family: Family,
        from: &[u8],
        until: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Visit,
    ) -> Result<(), StoreError> {
        if until.is_some_and(|until| until <= from) {
            return Ok(()); // BTreeMap::range panics on a reversed range.
        }
        let until = until.map_or(Bound::Unbounded, Bound::Excluded);
        let range = (Bound::Included(from), until);
        for (key, value) in self.tables[family as usize].rows.range::<[u8], _>(range) {
            if visit(key, value) == Visit::Stop {
                break;
            }
        }
        Ok(())
    }

    fn scan_back(
        &self,
        family: Family,
        from: &[u8],
        until: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Visit,
    ) -> Result<(), StoreError> {
        if until.is_some_and(|until| until <= from) {
            return Ok(());
        }
        let until = until.map_or(Bound::Unbounded, Bound::Excluded);
        let range = (Bound::Included(from), until);
        for (key, value) in self.tables[family as usize].rows.range::<[u8], _>(range).rev() {
            if visit(key, value) == Visit::Stop {
                break;
            }
        }
        Ok(())
    }

    fn write(&mut self, batch: Batch) -> Result<Lsn, StoreError> {
        if let Some(fault) = &self.write_fault {
            return Err(fault.clone());
        }
        let mut undo = Undo::with_capacity(batch.changes.len());
        for Change { family, key, value } in batch.changes {
            let old = self.tables[family as usize].set(key.clone(), value);
            undo.push(Change { family, key, value: old });
        }
        self.unsynced.push_back(undo);
        Ok(self.last())
    }
}
