//! Collection: rows that a clear made invisible, and copies that a stand-in no longer owes to
//! anybody, deleted in small batches between other work.
//!
//! Before a header goes, the dot floor rises to the highest counter it holds of this life's actor,
//! so that the object, should this node write it again, never gets a dot twice.

use super::Replica;
use super::keys::{META_COLLECT, object_key, parse_object_key, prefix_end};
use super::rows::{self, RowRange};
use super::scores;
use crate::cluster::View;
use crate::config::Mutant;
use crate::crdt::{Object, ObjectId, TypeTag};
use crate::metrics::Metric;
use crate::store::{Batch, Family, Store, StoreError, Visit};
use crate::time::Time;
use crate::wire::codec;
use std::ops::Bound;

/// Rows looked at in one step.
const STEP_ROWS: usize = 256;

/// How far collection of one object came: whether at the scores, and the last key looked at.
type Cursor = (bool, Vec<u8>);
/// After a step that failed, as on a full disk, the next one follows so much later, µs.
const RETRY_US: u64 = 1_000_000;

impl<S: Store> Replica<S> {
    /// Notes that the object has something to collect.
    pub(super) fn queue_collection(&mut self, object: &ObjectId, batch: &mut Batch) {
        batch.put(Family::Meta, queue_key(object), codec::encode(&Cursor::default()));
        self.collecting = true;
    }

    /// Collects a little; the queue remembers how far it came.
    pub(super) fn collect_some(&mut self, view: &View, now: Time) {
        self.collecting |= self.collect_us.is_some_and(|due| due <= now.mono_us);
        if !self.collecting {
            return;
        }
        self.collect_us = None;
        match self.collect_step(view) {
            Ok(more) => self.collecting = more,
            Err(error) => {
                self.refusal(error);
                self.collecting = false;
                self.collect_us = Some(now.mono_us + RETRY_US);
            }
        }
    }

    fn collect_step(&mut self, view: &View) -> Result<bool, StoreError> {
        if view.layout.is_none() {
            return Ok(false);
        }
        let mut found = None;
        let end = prefix_end(META_COLLECT);
        self.store.scan(Family::Meta, META_COLLECT, end.as_deref(), &mut |key, value| {
            found = Some((key.to_vec(), codec::decode::<Cursor>(value).unwrap_or_default()));
            Visit::Stop
        })?;
        let Some((key, cursor)) = found else { return Ok(false) };
        let mut batch = Batch::default();
        match parse_object_key(&key[META_COLLECT.len()..]) {
            Some((object, _)) => self.collect_object(view, &object, cursor, &mut batch)?,
            None => batch.delete(Family::Meta, key.clone()),
        }
        let rows = batch.changes.iter().filter(|change| change.family == Family::Rows).count();
        self.commit(batch)?;
        self.metrics.add(Metric::Collected, rows as u64);
        if let Some((object, _)) = parse_object_key(&key[META_COLLECT.len()..])
            && self.store.get(Family::Meta, &key)?.is_none()
        {
            self.settle_collected(view, &object)?;
        }
        Ok(true)
    }

    fn collect_object(
        &mut self,
        view: &View,
        object: &ObjectId,
        cursor: Cursor,
        batch: &mut Batch,
    ) -> Result<(), StoreError> {
        let unowned = !view.owns(object);
        let (header, digest) = match rows::load(&self.store, object) {
            Ok(loaded) => loaded,
            Err(StoreError::Corrupt(_)) => {
                // Mended first; what comes in its place is collected when it is queued again.
                self.note_damage(object);
                batch.delete(Family::Meta, queue_key(object));
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        // A stand-in's copy whose marks are out is collected when they are delivered, not before.
        let early = self.config.is_mutant(Mutant::CollectEarly);
        if unowned && !early && self.owes(object)? {
            batch.delete(Family::Meta, queue_key(object));
            return Ok(());
        }
        // An owner asks for the rights that were made here; what gives them collects the rest.
        if unowned && !early && self.holds_rights(object, &header.object) {
            batch.delete(Family::Meta, queue_key(object));
            return Ok(());
        }
        let next = self.collect_from(object, &header.object, unowned, cursor, batch)?;
        match next {
            Some(next) => batch.put(Family::Meta, queue_key(object), codec::encode(&next)),
            None => {
                batch.delete(Family::Meta, queue_key(object));
                if unowned && digest != 0 {
                    self.raise_floor(object, &header.object);
                    batch.delete(Family::Headers, object_key(object));
                    let key = object_key(object);
                    self.requeue(&key, header.goes, 0, batch);
                    let counted = self.trees.counted(&key, header.goes, digest);
                    self.trees.replace(&key, view.n_of(&object.bucket), counted, 0);
                }
            }
        }
        Ok(())
    }

    /// Collects rows, and of a sorted set then scores: where to go on.
    fn collect_from(
        &self,
        object: &ObjectId,
        state: &Object,
        all: bool,
        (at_scores, after): Cursor,
        batch: &mut Batch,
    ) -> Result<Option<Cursor>, StoreError> {
        if !at_scores {
            if let Some(next) = self.collect_rows(object, state, all, &after, batch)? {
                return Ok(Some((false, next)));
            }
            let has_scores = object.tag == TypeTag::Zset;
            return Ok(has_scores.then(|| (true, Vec::new())));
        }
        let Some(head) = state.rows() else { return Ok(None) };
        let step = (all, &after[..], STEP_ROWS);
        let next = scores::collect(&self.store, object, head, step, batch)?;
        Ok(next.map(|next| (true, next)))
    }

    /// Deletes rows after `after` that nobody can see, or all of them; where to go on.
    fn collect_rows(
        &self,
        object: &ObjectId,
        state: &Object,
        all: bool,
        after: &[u8],
        batch: &mut Batch,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(head) = state.rows() else { return Ok(None) };
        let from = if after.is_empty() { Bound::Unbounded } else { Bound::Excluded(after) };
        let mut seen = 0;
        let mut next = None;
        let range = RowRange { from, ..RowRange::ALL };
        rows::scan_rows(&self.store, object, head, range, &mut |key, row| {
            if all || row.is_empty() {
                let key = [&object_key(object)[..], key].concat();
                batch.delete(Family::Rows, key);
            }
            seen += 1;
            if seen < STEP_ROWS {
                return Visit::Next;
            }
            next = Some(key.to_vec());
            Visit::Stop
        })?;
        Ok(next)
    }

    pub(super) fn raise_floor(&mut self, object: &ObjectId, state: &Object) {
        let highest = state.context().highest(self.actor);
        self.floor = self.floor.max(highest);
        if matches!(state, Object::Bounded(_)) && highest > 0 {
            self.rights.forget(object, highest);
        }
    }
}

fn queue_key(object: &ObjectId) -> Vec<u8> {
    [META_COLLECT, &object_key(object)].concat()
}
