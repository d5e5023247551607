//! What is forgotten of objects once it is stable: all of what is removed, and of what is there the
//! removals that nobody needs any more. See `settle.rs` for how that is agreed upon.

use super::Replica;
use super::keys::{META_COLLECT, object_key, parse_object_key, prefix_end};
use super::rows::{self, HUSK, Header, Summary};
use super::settle::{ACTORS_MAX, Unchanged};
use super::trees::{TreeKey, Trees};
use crate::cluster::View;
use crate::crdt::{CausalContext, NodeId, Object, ObjectId, Stable, StableByBucket, TypeTag};
use crate::metrics::Metric;
use crate::store::{Batch, Family, Store, StoreError, Visit};
use crate::wire::codec;
use crate::wire::peer::{PeerBody, Settle};

/// Objects settled in one step.
const STEP_HEADERS: usize = 256;
/// Objects settled after one agreement; the others wait for the next.
const CHANGES_MAX: usize = 16_384;
/// Rows of one collection looked through at a time; in larger ones they stay.
const ROWS_MAX: u64 = 16_384;
/// Headers read for one proposal at most.
const LOOK_HEADERS: usize = 4_096;
/// An object whose context has more intervals is looked through for actors that are no more.
const INTERVALS_MAX: usize = 8;

/// Whether nothing of the object need be kept.
fn is_over(header: &Header, stable: &Stable) -> bool {
    (header.goes == HUSK || !header.is_present()) && header.object.is_settled(stable)
}

/// The header as it is when what is stable was left out; `None` when nothing is left.
fn settled(mut header: Header, stable: &Stable) -> Option<Header> {
    if is_over(&header, stable) {
        return None;
    }
    header.object.settle(stable);
    Some(header)
}

/// Whether there is something in it that may be forgotten one day, and a part of what is there.
fn garbage(header: &Header) -> (bool, bool) {
    let gone = header.goes == HUSK || !header.is_present();
    let long = header.object.context().interval_count() > INTERVALS_MAX;
    let dirty = header.rows.held > header.rows.present || header.rows.bases > 0;
    (gone, dirty || (long && header.object.rows().is_none()))
}

impl<S: Store> Replica<S> {
    /// The object changed: notes when there is something to settle that this node leads.
    pub(super) fn note_settling(&mut self, view: &View, object: &ObjectId, header: &Header) {
        let (gone, partly) = garbage(header);
        if (gone || partly) && object.tag != TypeTag::Bounded {
            self.note_tree(view, Self::tree_of(view, object));
        }
    }

    /// Everything seen of objects that are removed, and of those with long contexts, beyond what is
    /// stable.
    pub(super) fn removed_in(&self, view: &View, tree: TreeKey) -> Result<Stable, StoreError> {
        let (partition, n) = tree;
        let none = StableByBucket::default();
        let known = self.settling.stable.get(&tree).unwrap_or(&none);
        let mut stable = Stable::default();
        let mut left = LOOK_HEADERS;
        let from = partition.to_be_bytes();
        self.store.scan(
            Family::Headers,
            &from,
            prefix_end(&from).as_deref(),
            &mut |key, bytes| {
                left -= 1;
                let object = parse_object_key(key).map(|(object, _)| object);
                if let Some(object) = object.filter(|object| view.n_of(&object.bucket) == n)
                    && let Ok(header) = rows::decode_header(&object, bytes)
                    && !matches!(header.object, Object::Bounded(_))
                {
                    let gone = header.goes == HUSK || !header.is_present();
                    let long = header.object.context().interval_count() > INTERVALS_MAX;
                    let small = header.object.rows().is_none();
                    let dirty = header.rows.held > header.rows.present || header.rows.bases > 0;
                    let new = !known.of(&object.bucket).covers(header.object.context());
                    if gone || (new && (dirty || (long && small))) {
                        stable.raise(header.object.context());
                    }
                }
                if left == 0 || stable.len() >= ACTORS_MAX / 2 { Visit::Stop } else { Visit::Next }
            },
        )?;
        Ok(stable)
    }

    /// The root that the tree has when all in it was settled, and what that would change, not more
    /// than is done at a time.
    pub(super) fn settled_tree(
        &self,
        view: &View,
        tree: TreeKey,
        stable: &StableByBucket,
    ) -> Result<(u64, Unchanged), StoreError> {
        let (partition, n) = tree;
        let mut trees = Trees::default();
        trees.line = self.trees.line.clone();
        let (mut changes, mut damaged) = (Vec::new(), false);
        let from = partition.to_be_bytes();
        self.store.scan(
            Family::Headers,
            &from,
            prefix_end(&from).as_deref(),
            &mut |key, bytes| {
                let object = parse_object_key(key).map(|(object, _)| object);
                let Some(object) = object.filter(|object| view.n_of(&object.bucket) == n) else {
                    return Visit::Next;
                };
                let Ok(header) = rows::decode_header(&object, bytes) else {
                    damaged = true;
                    return Visit::Stop;
                };
                let settled = settled(header.clone(), stable.of(&object.bucket));
                let dirty = header.rows.held > header.rows.present || header.rows.bases > 0;
                if (settled.as_ref() != Some(&header) || dirty) && changes.len() < CHANGES_MAX {
                    changes.push((key.to_vec(), rows::digest_of(Some(bytes))));
                }
                if let Some(header) = settled {
                    trees.replace(key, n, 0, trees.counted_row(key, &codec::encode(&header)));
                }
                Visit::Next
            },
        )?;
        match damaged {
            true => Err(StoreError::Corrupt(format!("partition {partition}"))),
            false => Ok((trees.root(tree), changes)),
        }
    }

    /// Tells an owner that sent its state of an object that it is forgotten here: it is removed,
    /// all of it is stable, and that was known to all owners when nothing of it was kept.
    pub(super) fn tell_forgotten(
        &mut self,
        view: &View,
        to: NodeId,
        object: &ObjectId,
        sent: &Object,
    ) {
        let Some(stable) = self.stable_for(view, object) else { return };
        let rows_left = sent.rows().is_some_and(|rows| rows.held().next().is_some());
        let over = !sent.is_present() && !rows_left && sent.is_settled(stable);
        if over && matches!(rows::load(&self.store, object), Ok((_, 0))) {
            let (partition, n) = Self::tree_of(view, object);
            let dots = sent.context().clone();
            let what = Settle::Forgotten { object: object.clone(), dots };
            self.send(to, PeerBody::Settle { partition, n, what });
        }
    }

    /// An owner has forgotten the object, of which these dots were seen; so may this node, if it
    /// has seen no others.
    pub(super) fn on_forgotten(
        &mut self,
        view: &View,
        from: NodeId,
        object: &ObjectId,
        dots: &CausalContext,
    ) -> Result<(), StoreError> {
        if !view.owns(object) || !view.owned_by(from, object) {
            return Ok(());
        }
        let (header, digest) = rows::load(&self.store, object)?;
        let mut stable = Stable::default();
        stable.raise(dots);
        let same = header.object.context().is_subset(dots) && is_over(&header, &stable);
        if digest == 0 || !same || header.rows.held > 0 {
            return Ok(());
        }
        self.settle_object(object, header, view.n_of(&object.bucket), &stable)
    }

    /// Brings every header of the tree to the form that joining gives it.
    pub(super) fn fill_tree(&mut self, view: &View, tree: TreeKey) -> Result<(), StoreError> {
        let (partition, n) = tree;
        let Some(stable) = self.settling.stable.get(&tree).cloned() else { return Ok(()) };
        let (mut batch, mut changes) = (Batch::default(), Vec::new());
        let from = partition.to_be_bytes();
        self.store.scan(
            Family::Headers,
            &from,
            prefix_end(&from).as_deref(),
            &mut |key, bytes| {
                let object = parse_object_key(key).map(|(object, _)| object);
                if let Some(object) = object.filter(|object| view.n_of(&object.bucket) == n)
                    && let Ok(mut header) = rows::decode_header(&object, bytes)
                {
                    let before = header.clone();
                    header.object.fill(stable.of(&object.bucket));
                    if header != before {
                        let after = rows::save(&object, &header, &mut batch);
                        let old = rows::digest_of(Some(bytes));
                        changes.push((key.to_vec(), header.goes, old, after));
                    }
                }
                Visit::Next
            },
        )?;
        self.commit(batch)?;
        for (key, goes, old, new) in changes {
            let old = self.trees.counted(&key, goes, old);
            let new = self.trees.counted(&key, goes, new);
            self.trees.replace(&key, n, old, new);
        }
        Ok(())
    }

    /// Settles some objects of the tree; the rest waits for the next step.
    pub(super) fn settle_headers(
        &mut self,
        tree: TreeKey,
        mut left: Unchanged,
    ) -> Result<(), StoreError> {
        let Some(stable) = self.settling.stable.get(&tree).cloned() else { return Ok(()) };
        let rest = left.split_off(left.len().min(STEP_HEADERS));
        if !rest.is_empty() {
            self.settling.at_work.insert(tree, rest);
        }
        for (key, digest) in left {
            let Some((object, _)) = parse_object_key(&key) else { continue };
            let Some(bytes) = self.store.get(Family::Headers, &key)? else { continue };
            if rows::digest_of(Some(&bytes)) != digest {
                continue; // Next time.
            }
            match rows::decode_header(&object, &bytes) {
                Ok(header) => {
                    self.settle_object(&object, header, tree.1, stable.of(&object.bucket))?;
                }
                Err(_) => self.note_damage(&object),
            }
        }
        Ok(())
    }

    fn settle_object(
        &mut self,
        object: &ObjectId,
        header: Header,
        n: u8,
        stable: &Stable,
    ) -> Result<(), StoreError> {
        let key = object_key(object);
        let goes = header.goes;
        let before = rows::digest_of(Some(&codec::encode(&header)));
        let mut batch = Batch::default();
        let after = match settled(header.clone(), stable) {
            Some(mut left) => {
                if left.rows.held <= ROWS_MAX {
                    rows::settle(&self.store, object, &mut left, stable, &mut batch)?;
                }
                if left == header {
                    return Ok(());
                }
                rows::save(object, &left, &mut batch)
            }
            None => match self.forget_settled(object, &header, n, &mut batch)? {
                true => 0,
                false => return Ok(()),
            },
        };
        if after == 0 {
            self.requeue(&key, goes, 0, &mut batch);
        }
        self.commit(batch)?;
        let before = self.trees.counted(&key, goes, before);
        let after = self.trees.counted(&key, goes, after);
        self.trees.replace(&key, n, before, after);
        Ok(())
    }

    /// Deletes the object, of which nothing need be kept; whether it is gone. Rows that nobody sees
    /// go first, in steps: it is looked at again when they have gone.
    fn forget_settled(
        &mut self,
        object: &ObjectId,
        header: &Header,
        n: u8,
        batch: &mut Batch,
    ) -> Result<bool, StoreError> {
        let key = object_key(object);
        let queued = [META_COLLECT, &key].concat();
        if self.store.get(Family::Meta, &queued)?.is_some() {
            return Ok(false);
        }
        if header.rows.totals > 0 || (0 < header.rows.held && header.rows.held < 64) {
            self.delete_rows(&key, batch)?;
        } else if header.rows.held > 0 {
            self.clear_settled(object, header, n)?;
            return Ok(false);
        }
        batch.delete(Family::Headers, key);
        self.metrics.count(Metric::ContextsCollected);
        Ok(true)
    }

    /// Makes all rows invisible, and queues them for collection.
    fn clear_settled(
        &mut self,
        object: &ObjectId,
        header: &Header,
        n: u8,
    ) -> Result<(), StoreError> {
        let mut cleared = header.clone();
        let Some(head) = cleared.object.rows_mut() else { return Ok(()) };
        head.cleared = head.context.clone();
        cleared.rows = Summary::default();
        let before = rows::digest_of(Some(&codec::encode(header)));
        let mut batch = Batch::default();
        let after = rows::save(object, &cleared, &mut batch);
        self.queue_collection(object, &mut batch);
        self.settling.closing.insert(object.clone());
        self.commit(batch)?;
        let (key, goes) = (object_key(object), header.goes);
        let before = self.trees.counted(&key, goes, before);
        let after = self.trees.counted(&key, goes, after);
        self.trees.replace(&key, n, before, after);
        Ok(())
    }

    /// The rows that nobody sees of an object are gone: so may be the object.
    pub(super) fn settle_collected(
        &mut self,
        view: &View,
        object: &ObjectId,
    ) -> Result<(), StoreError> {
        if !self.settling.closing.remove(object) {
            return Ok(());
        }
        let Some(stable) = self.stable_for(view, object).cloned() else { return Ok(()) };
        let (header, digest) = rows::load(&self.store, object)?;
        match digest {
            0 => Ok(()),
            _ => self.settle_object(object, header, view.n_of(&object.bucket), &stable),
        }
    }
}
