//! Damage: an object whose rows fail their check is refused to readers, asked for from its owners,
//! and mended when one of them has sent it whole: its state is joined with what is intact here. The
//! scrub reads every row now and then, so that damage is found before the last good copy is
//! damaged too.
//!
//! An object that each of the other owners says it has not is given up: its last copy was here.
//! What is damaged of it is dropped, counted in `starling_objects_lost_total`, which nothing else
//! ever raises.

use super::Replica;
use super::keys::{self, parse_object_key};
use super::rows;
use crate::cluster::View;
use crate::crdt::rows::Covers;
use crate::crdt::{NodeId, Object, ObjectId};
use crate::metrics::Metric;
use crate::placement::partition_of;
use crate::store::{Family, Store, StoreError, Visit};
use crate::time::Time;
use crate::wire::codec;
use crate::wire::peer::PeerBody;
use std::collections::{BTreeMap, BTreeSet};

/// Damaged objects remembered; further ones are found again by the scrub.
const DAMAGED_MAX: usize = 4_096;
/// Damaged objects asked for at once.
const ASK_MAX: usize = 256;
/// Rows read in one step of the scrub.
const SCRUB_ROWS: usize = 256;

/// What is damaged, and how far the scrub came.
#[derive(Debug, Default)]
pub(super) struct Mending {
    /// Objects, and the owners that said they have nothing of each.
    damaged: BTreeMap<ObjectId, BTreeSet<NodeId>>,
    ask_us: Option<u64>,
    scrub_us: Option<u64>,
    /// Where the scrub goes on: the family, and the first key not read yet.
    at: (Option<Family>, Vec<u8>),
}

impl Mending {
    pub(super) fn due(&self, scrub_ms: u32) -> Option<u64> {
        let scrub = (scrub_ms > 0).then_some(self.scrub_us.unwrap_or(0));
        [self.ask_us, scrub].into_iter().flatten().min()
    }

    pub(super) fn count(&self) -> u64 {
        self.damaged.len() as u64
    }

    /// Whether an object of the partition is damaged.
    pub(super) fn is_in(&self, partition: u16) -> bool {
        self.damaged.keys().any(|object| partition_of(object) == partition)
    }

    pub(super) fn has(&self, object: &ObjectId) -> bool {
        self.damaged.contains_key(object)
    }
}

impl<S: Store> Replica<S> {
    /// Notes that something of the object cannot be read intact.
    pub(super) fn note_damage(&mut self, object: &ObjectId) {
        if self.mending.has(object) || self.mending.damaged.len() >= DAMAGED_MAX {
            return;
        }
        self.mending.damaged.insert(object.clone(), BTreeSet::new());
        self.mending.ask_us.get_or_insert(0);
        self.metrics.count(Metric::ObjectsDamaged);
    }

    /// As [`Replica::refusal`], of an operation on one object.
    pub(super) fn refusal_of(
        &mut self,
        object: &ObjectId,
        error: StoreError,
    ) -> crate::wire::peer::Refusal {
        // What a peer sent may be wrong as well: only rows that cannot be read are damaged.
        let unreadable = matches!(error, StoreError::Corrupt(_))
            && matches!(rows::check(&self.store, object), Err(StoreError::Corrupt(_)));
        if unreadable {
            self.note_damage(object);
        }
        self.refusal(error)
    }

    /// Asks the owners for what is damaged, and reads on in search of damage.
    pub(super) fn mend(&mut self, view: &View, now: Time) {
        if self.mending.ask_us.is_some_and(|due| due <= now.mono_us) {
            self.ask_for_damaged(view);
            let again_us = now.mono_us + u64::from(self.config.hint_retry_ms) * 1_000;
            self.mending.ask_us = (!self.mending.damaged.is_empty()).then_some(again_us);
        }
        let on = self.config.scrub_ms > 0;
        if on && self.mending.scrub_us.is_none_or(|due| due <= now.mono_us) {
            self.mending.scrub_us = Some(now.mono_us + u64::from(self.config.scrub_ms) * 1_000);
            if let Err(error) = self.scrub_some() {
                self.refusal(error);
            }
        }
    }

    fn ask_for_damaged(&mut self, view: &View) {
        let mut by_owner: BTreeMap<NodeId, Vec<ObjectId>> = BTreeMap::new();
        for (object, lacking) in self.mending.damaged.iter_mut().take(ASK_MAX) {
            let mut others = view.owners(object);
            others.retain(|owner| *owner != view.me);
            if others.iter().all(|owner| lacking.contains(owner)) {
                // They said so when others owned it too, as this node knew the bucket then.
                lacking.clear();
            }
            for owner in others {
                if view.is_alive(owner) && !lacking.contains(&owner) {
                    by_owner.entry(owner).or_default().push(object.clone());
                }
            }
        }
        for (owner, objects) in by_owner {
            self.send(owner, PeerBody::Pull(objects));
        }
    }

    /// An owner says that it has nothing of these objects.
    pub(super) fn on_lacks(&mut self, view: &View, from: NodeId, objects: &[ObjectId]) {
        for object in objects {
            let Some(lacking) = self.mending.damaged.get_mut(object) else { continue };
            lacking.insert(from);
            let mut others = view.owners(object);
            others.retain(|owner| *owner != view.me);
            let nobody = others.iter().all(|owner| lacking.contains(owner));
            // With nobody to ask it stays refused: a person may have a backup.
            if nobody && !others.is_empty() {
                let given_up = self.drop_damaged(view, object, None);
                match given_up.map_err(|error| self.refusal(error)) {
                    Ok(()) => self.metrics.count(Metric::ObjectsLost),
                    Err(_) => {
                        // As on a full disk: its next answer is what tries again.
                        if let Some(lacking) = self.mending.damaged.get_mut(object) {
                            lacking.remove(&from);
                        }
                    }
                }
            }
        }
    }

    /// The object is not known to be damaged any more.
    pub(super) fn forget_damage(&mut self, object: &ObjectId) {
        self.mending.damaged.remove(object);
    }

    /// Makes room for an owner's state in a damaged object.
    pub(super) fn replace_damaged(
        &mut self,
        view: &View,
        object: &ObjectId,
        state: &Object,
    ) -> Result<(), StoreError> {
        self.drop_damaged(view, object, Some(state))?;
        self.metrics.count(Metric::ObjectsMended);
        Ok(())
    }

    /// Reads some rows and notes the objects of those that are not intact.
    fn scrub_some(&mut self) -> Result<(), StoreError> {
        let (family, from) = std::mem::take(&mut self.mending.at);
        let family = family.unwrap_or(Family::Headers);
        let mut found = Vec::new();
        let mut next = None;
        let mut seen = 0;
        self.store.scan(family, &from, None, &mut |key, bytes| {
            if seen == SCRUB_ROWS {
                next = Some(key.to_vec());
                return Visit::Stop;
            }
            seen += 1;
            if !codec::is_intact(bytes) {
                found.extend(parse_object_key(key).map(|(object, _)| object));
            }
            Visit::Next
        })?;
        self.mending.at = match (next, family) {
            (Some(next), family) => (Some(family), next),
            (None, Family::Headers) => (Some(Family::Rows), Vec::new()),
            (None, _) => {
                self.metrics.count(Metric::Scrubs);
                (None, Vec::new())
            }
        };
        self.metrics.add(Metric::ScrubbedRows, seen as u64);
        for object in found {
            self.metrics.count(Metric::CorruptRows);
            self.note_damage(&object);
        }
        Ok(())
    }
}

/// The object that a header row or a member's row belongs to.
pub fn object_of_key(key: &[u8]) -> Option<ObjectId> {
    keys::parse_object_key(key).map(|(object, _)| object)
}

/// Whether a state can take the place of a damaged object: all of a small one, or a
/// collection from its first row on.
pub(super) fn begins_whole(state: &Object) -> bool {
    match state.rows().map(|rows| &rows.covers) {
        None | Some(Covers::All) => true,
        Some(Covers::Range { after, .. }) => after.is_none(),
        Some(Covers::Rows) => false,
    }
}
