//! Expiry at one replica: what is absent from which instant on, and what becomes of it.
//!
//! A queue on disk holds (instant, object) for every object that expires. From its instant on an
//! object is out of the digest trees, so replicas whose clocks agree have nothing to exchange
//! about it, whether or not one of them has collected it. After a grace its content is deleted
//! and a husk is left: what was seen of it, and the settings. A husk is no removal. When somebody
//! extended the object in time, unheard until now, the husk makes way for what they have.

use super::Replica;
use super::keys::{META_EXPIRE, expire_key, object_key, parse_object_key, prefix_end};
use super::rows::{self, HUSK, Header};
use crate::cluster::View;
use crate::crdt::expiry::bucket_of;
use crate::crdt::{CausalContext, Dot, Mint, NodeId, Object, ObjectId};
use crate::metrics::Metric;
use crate::store::{Batch, Family, Store, StoreError, Visit};
use crate::time::Time;
use crate::wire::peer::PeerBody;
use std::collections::BTreeSet;

/// Objects that leave the trees, or are collected, in one step.
const STEP_OBJECTS: usize = 256;
/// After a step that failed the next one follows so much later, µs.
const RETRY_US: u64 = 1_000_000;

/// What the replica knows of the queue without reading it.
#[derive(Debug, Default)]
pub(super) struct Expiring {
    /// Not later than the first instant in the queue that the trees are not past.
    next: Option<u64>,
    /// Not later than the first instant in the queue.
    oldest: Option<u64>,
    /// The clocks at the last step.
    seen: Time,
    /// Not before that, µs: a step failed.
    wait_us: u64,
}

impl Expiring {
    /// Of a store just opened: to be found out.
    pub(super) fn unknown(now: Time) -> Expiring {
        Expiring { next: Some(0), oldest: Some(0), seen: now, wait_us: 0 }
    }

    /// When there is something to do, µs.
    pub(super) fn due(&self, grace_s: u32) -> Option<u64> {
        let collect = self.oldest.map(|at| at.saturating_add(grace_s.into()));
        let at = self.next.into_iter().chain(collect).min()?;
        let left_ms = at.saturating_mul(1_000).saturating_sub(self.seen.wall_ms);
        Some(self.seen.mono_us.saturating_add(left_ms.saturating_mul(1_000)).max(self.wait_us))
    }
}

/// How an incoming delta meets what is held.
enum Reception {
    /// It is joined.
    Join,
    /// What is held has expired, and the delta is about a new beginning: what is held goes first.
    Clear,
    /// What is held is a husk, and the delta extends what was there.
    Forget,
}

impl<S: Store> Replica<S> {
    /// Takes out of the trees what has expired, and collects what expired long ago.
    pub(super) fn expire_some(&mut self, view: &View, now: Time) {
        self.expiring.seen = now;
        if self.expiring.wait_us > now.mono_us {
            return;
        }
        let stepped = self.sweep(view, now).and_then(|()| self.collect_expired(view, now));
        if let Err(error) = stepped {
            self.refusal(error);
            self.expiring.wait_us = now.mono_us + RETRY_US;
        }
    }

    /// Moves the line up to which the trees know of expiry to the bucket of `now`: objects behind
    /// it leave, and come back when a clock was set back.
    fn sweep(&mut self, view: &View, now: Time) -> Result<(), StoreError> {
        let at = bucket_of(now.wall_ms);
        let line = (at + 1).to_be_bytes().to_vec();
        if line < self.trees.line {
            let back =
                self.queued(Some(line.clone()), Some(self.trees.line.clone()), usize::MAX)?;
            self.trees.line = line;
            self.expiring.next = Some(0);
            for (goes, object) in back {
                self.recount(view, goes, &object, true)?;
            }
        } else if self.expiring.next.is_none_or(|next| next > at) {
            self.trees.line = line;
        } else {
            let from = self.trees.line.clone();
            let gone = self.queued(Some(from), Some(line.clone()), STEP_OBJECTS)?;
            let done = gone.len() < STEP_OBJECTS;
            for (goes, object) in gone {
                self.recount(view, goes, &object, false)?;
                self.trees.line = [expire_key(goes, &object_key(&object)), vec![0]].concat();
                self.metrics.count(Metric::ObjectsExpired);
            }
            if done {
                self.trees.line = line.clone();
                let next = self.queued(Some(line), None, 1)?;
                self.expiring.next = next.first().map(|(at, _)| *at);
            }
        }
        Ok(())
    }

    /// Takes one object out of its tree, or back in.
    fn recount(
        &mut self,
        view: &View,
        goes: u64,
        object: &ObjectId,
        back: bool,
    ) -> Result<(), StoreError> {
        let key = object_key(object);
        let bytes = self.store.get(Family::Headers, &key)?;
        let known = bytes.as_deref().map_or(0, rows::goes_of) == goes;
        let digest = if known { rows::digest_of(bytes.as_deref()) } else { 0 };
        let (before, after) = if back { (0, digest) } else { (digest, 0) };
        self.trees.replace(&key, view.n_of(&object.bucket), before, after);
        Ok(())
    }

    /// Entries of the queue between two places in it.
    fn queued(
        &self,
        from: Option<Vec<u8>>,
        upto: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<Vec<(u64, ObjectId)>, StoreError> {
        let start = [META_EXPIRE, &from.unwrap_or_default()].concat();
        let end = match upto {
            Some(upto) => Some([META_EXPIRE, &upto].concat()),
            None => prefix_end(META_EXPIRE),
        };
        let mut found = Vec::new();
        self.store.scan(Family::Meta, &start, end.as_deref(), &mut |key, _| {
            found.extend(parse_queued(&key[META_EXPIRE.len()..]));
            if found.len() < limit { Visit::Next } else { Visit::Stop }
        })?;
        Ok(found)
    }

    /// An object whose header said `before` says `after`: keeps the queue in step.
    pub(super) fn requeue(&mut self, key: &[u8], before: u64, after: u64, batch: &mut Batch) {
        if before == after {
            return;
        }
        let at = |goes| [META_EXPIRE, &expire_key(goes, key)].concat();
        if before > HUSK {
            batch.delete(Family::Meta, at(before));
        }
        if after > HUSK {
            batch.put(Family::Meta, at(after), Vec::new());
            let earliest = |known: Option<u64>| Some(known.map_or(after, |known| known.min(after)));
            self.expiring.next = earliest(self.expiring.next);
            self.expiring.oldest = earliest(self.expiring.oldest);
        }
    }

    /// Collects some of what expired longer ago than the grace.
    fn collect_expired(&mut self, view: &View, now: Time) -> Result<(), StoreError> {
        let last = bucket_of(now.wall_ms).saturating_sub(self.config.expiry_grace_s.into());
        if self.expiring.oldest.is_none_or(|oldest| oldest > last) {
            return Ok(());
        }
        let upto = last.saturating_add(1).to_be_bytes().to_vec();
        for (goes, object) in self.queued(None, Some(upto), STEP_OBJECTS)? {
            self.leave_husk(view, goes, &object)?;
        }
        let oldest = self.queued(None, None, 1)?;
        self.expiring.oldest = oldest.first().map(|(at, _)| *at);
        Ok(())
    }

    fn leave_husk(&mut self, view: &View, goes: u64, object: &ObjectId) -> Result<(), StoreError> {
        let key = object_key(object);
        let mut batch = Batch::default();
        batch.delete(Family::Meta, [META_EXPIRE, &expire_key(goes, &key)].concat());
        let (header, digest) = match rows::load(&self.store, object) {
            Ok(loaded) => loaded,
            Err(StoreError::Corrupt(_)) => {
                // Queued again with what comes in its place.
                self.note_damage(object);
                return self.commit(batch).map(drop);
            }
            Err(error) => return Err(error),
        };
        // A stand-in's copy goes when it was handed over.
        if header.goes != goes || !view.owns(object) {
            return self.commit(batch).map(drop);
        }
        let husk =
            Header { goes: HUSK, object: header.object.husk(), rows: rows::Summary::default() };
        rows::save(object, &husk, &mut batch);
        if header.rows.totals > 0 {
            // What removals observed of totals would outlive a clear.
            self.delete_rows(&key, &mut batch)?;
        } else if header.rows.held > 0 {
            self.queue_collection(object, &mut batch);
        }
        self.commit(batch)?;
        self.note_settling(view, object, &husk);
        let counted = self.trees.counted(&key, header.goes, digest);
        self.trees.replace(&key, view.n_of(&object.bucket), counted, 0);
        self.metrics.count(Metric::ExpiredCollected);
        Ok(())
    }

    pub(super) fn delete_rows(&self, key: &[u8], batch: &mut Batch) -> Result<(), StoreError> {
        let end = prefix_end(key);
        for family in [Family::Rows, Family::Scores] {
            self.store.scan(family, key, end.as_deref(), &mut |row, _| {
                batch.delete(family, row.to_vec());
                Visit::Next
            })?;
        }
        Ok(())
    }

    /// Makes what is held ready for `delta`, and gives it as it is then.
    pub(super) fn receive(
        &mut self,
        view: &View,
        now: Time,
        object: &ObjectId,
        delta: &Object,
    ) -> Result<(Header, u64), StoreError> {
        let held = rows::load(&self.store, object)?;
        match reception(&held.0, delta, bucket_of(now.wall_ms)) {
            Reception::Join => return Ok(held),
            Reception::Clear => {
                let window = self.clearing_window(object, &held.0)?;
                let mut mint = Mint::new(self.actor, 1, self.clock.now(now.wall_ms));
                let cleared = window.cleared_away(&mut mint);
                let cleared = cleared.map_err(|why| StoreError::Corrupt(why.to_string()))?;
                self.join_marked(view, object, held, &cleared, &[], true)?;
            }
            Reception::Forget => {
                let mut batch = Batch::default();
                let key = object_key(object);
                batch.delete(Family::Headers, key.clone());
                self.delete_rows(&key, &mut batch)?;
                self.raise_floor(object, &held.0.object);
                self.unsettle(view, object, &mut batch);
                self.commit(batch)?;
            }
        }
        rows::load(&self.store, object)
    }

    /// Whether a state that a peer sent on its own says nothing here: it has expired, and either
    /// there is nothing of the object, or all its settings are known and may have been extended,
    /// and none of those in force here was replaced there.
    pub(super) fn is_over(
        &self,
        now: Time,
        object: &ObjectId,
        delta: &Object,
    ) -> Result<bool, StoreError> {
        if !delta.is_expired(bucket_of(now.wall_ms)) {
            return Ok(false);
        }
        let (header, digest) = rows::load(&self.store, object)?;
        let known = |dot| header.object.context().contains(dot);
        let replaced = || !replaced_settings(delta, header.object.expiry_dots()).is_empty();
        Ok(digest == 0 || delta.expiry_dots().all(known) && !replaced())
    }

    /// Tells a peer that sent a state of something that has expired here by settings it does not
    /// know, or with settings that were replaced here. Without that both would compare for ever.
    pub(super) fn tell_expiry(&mut self, now: Time, to: NodeId, object: &ObjectId, sent: &Object) {
        let Ok((header, _)) = rows::load(&self.store, object) else { return };
        let unknown = |dot| !sent.context().contains(dot);
        let replaced = replaced_settings(&header.object, sent.expiry_dots());
        let new = header.object.expiry_dots().any(unknown) || !replaced.is_empty();
        if header.is_expired(bucket_of(now.wall_ms)) && new {
            let delta = expired_word(&header, &replaced);
            self.send(to, PeerBody::Repair { object: object.clone(), delta });
        }
    }
}

/// Those of the settings that were seen here and are not in force any more.
pub(super) fn replaced_settings(
    held: &Object,
    settings: impl Iterator<Item = Dot>,
) -> CausalContext {
    let in_force: BTreeSet<Dot> = held.expiry_dots().collect();
    let dead = |dot: &Dot| held.context().contains(*dot) && !in_force.contains(dot);
    settings.filter(dead).collect()
}

/// What is said of an object that has expired: of a collection only that and which settings were
/// `replaced`, of a small object the state, since its settings are about its values.
pub(super) fn expired_word(header: &Header, replaced: &CausalContext) -> Object {
    match header.object.rows() {
        Some(_) => header.object.expiry_part(replaced),
        None => header.object.clone(),
    }
}

fn reception(held: &Header, delta: &Object, at: u64) -> Reception {
    if !held.is_expired(at) || held.object.joint_expiry(delta).is_some_and(|joint| joint <= at) {
        return Reception::Join;
    }
    match (held.goes == HUSK, held.object.is_extended_by(delta)) {
        (true, true) => Reception::Forget,
        (false, false) => Reception::Clear,
        _ => Reception::Join,
    }
}

fn parse_queued(bytes: &[u8]) -> Option<(u64, ObjectId)> {
    let (at, key) = bytes.split_at_checked(8)?;
    let at = u64::from_be_bytes(at.try_into().ok()?);
    parse_object_key(key).map(|(object, _)| (at, object))
}
