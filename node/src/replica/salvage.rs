//! What stays of an object when some of it cannot be read.
//!
//! A collection whose header is intact goes on taking writes for the rows that are intact, also
//! after its disk was damaged and before that was found: those are acknowledged and may be nowhere
//! else. So only the damaged rows go, and from the header every claim that could be about them.
//! The context keeps a dot only where it is certain that no damaged row held it: dots in intact
//! rows, dots of intact rows that a mark or the other owner's state names, those of the expiry, and
//! those that a removal of everything covered. Any other dot may have been live in a damaged row,
//! and to go on claiming it would tell all others that it was removed. Such dots are kept beside
//! the object: one that comes back in a row that was not damaged was removed here.

use super::Replica;
use super::keys::{META_DOUBT, Marked, object_key, parse_hint_key, parse_object_key, prefix_end};
use super::rows::{self, Header, Summary};
use crate::cluster::View;
use crate::crdt::{CausalContext, Dot, Object, ObjectId, Row, Rows};
use crate::placement::partition_of;
use crate::store::{Batch, Family, Store, StoreError, Visit};
use crate::wire::codec;
use bincode::{Decode, Encode};
use std::collections::{BTreeMap, BTreeSet};

/// What was seen of a collection, and may have been live in rows that were lost.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub(super) struct Doubt {
    dots: CausalContext,
    /// Keys of those rows.
    lost: BTreeSet<Vec<u8>>,
}

impl Doubt {
    /// The live dots of `state` that were removed here: they are in rows that were not lost.
    pub(super) fn removed(&self, state: &Object) -> BTreeSet<Dot> {
        let rows = state.rows().into_iter().flat_map(Rows::held);
        let intact = rows.filter(|(key, _)| !self.lost.contains(*key));
        let dots = intact.flat_map(|(_, row)| row.live.keys().copied());
        dots.filter(|dot| self.dots.contains(*dot)).collect()
    }
}

/// Reads what is doubted of each object.
pub(super) fn load_doubts<S: Store>(store: &S) -> Result<BTreeMap<ObjectId, Doubt>, StoreError> {
    let mut doubts = BTreeMap::new();
    let end = prefix_end(META_DOUBT);
    store.scan(Family::Meta, META_DOUBT, end.as_deref(), &mut |key, value| {
        if let (Some((object, _)), Ok(doubt)) =
            (parse_object_key(&key[META_DOUBT.len()..]), codec::decode(value))
        {
            doubts.insert(object, doubt);
        }
        Visit::Next
    })?;
    Ok(doubts)
}

/// A collection read row by row.
#[derive(Default)]
struct Intact {
    live: Vec<Dot>,
    summary: Summary,
    /// Keys of rows that cannot be read.
    lost: BTreeSet<Vec<u8>>,
}

impl<S: Store> Replica<S> {
    /// Drops what is damaged of an object, so that `state`, another owner's, can be joined, or of
    /// which nobody has anything. The object is then no longer known to be damaged.
    ///
    /// # Errors
    /// Nothing was dropped.
    pub(super) fn drop_damaged(
        &mut self,
        view: &View,
        object: &ObjectId,
        state: Option<&Object>,
    ) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        match rows::load(&self.store, object) {
            Ok((header, digest)) if digest != 0 && header.object.rows().is_some() => {
                self.keep_intact(object, header, state, &mut batch)?;
            }
            Ok((_, digest)) if digest != 0 => {}
            Ok(_) | Err(StoreError::Corrupt(_)) => self.drop_all(object, &mut batch)?,
            Err(error) => return Err(error),
        }
        let dropped = !batch.is_empty();
        if dropped {
            self.unsettle(view, object, &mut batch);
        }
        self.commit(batch)?;
        self.forget_damage(object);
        if !dropped {
            return Ok(());
        }
        // A context taken over at the end of a pull would claim dots of rows that are gone again.
        self.pulls.forget(object);
        // Dots of this actor may have been known here alone: none of them is given out again.
        self.new_epoch();
        self.refresh_tree(view, partition_of(object), view.n_of(&object.bucket))
    }

    /// Rows without a header say nothing: which of their dots were removed stood there.
    fn drop_all(&self, object: &ObjectId, batch: &mut Batch) -> Result<(), StoreError> {
        let base = object_key(object);
        batch.delete(Family::Headers, base.clone());
        let end = prefix_end(&base);
        for family in [Family::Rows, Family::Scores] {
            self.store.scan(family, &base, end.as_deref(), &mut |key, _| {
                batch.delete(family, key.to_vec());
                Visit::Next
            })?;
        }
        Ok(())
    }

    fn keep_intact(
        &mut self,
        object: &ObjectId,
        mut header: Header,
        state: Option<&Object>,
        batch: &mut Batch,
    ) -> Result<(), StoreError> {
        let head = header.object.rows().expect("a collection");
        let intact = self.read_intact(object, head)?;
        if intact.lost.is_empty() {
            return Ok(());
        }
        let base = object_key(object);
        let row = |member: &Vec<u8>| [&base[..], member].concat();
        intact.lost.iter().for_each(|member| batch.delete(Family::Rows, row(member)));
        let mut left = head.header();
        left.context = self.certain(object, head, state, intact.live, &intact.lost)?;
        let mut doubt = self.doubts.get(object).cloned().unwrap_or_default();
        doubt.dots.join(&head.context.minus(&left.context));
        doubt.lost.extend(intact.lost);
        let doubted = [META_DOUBT, &base].concat();
        batch.put(Family::Meta, doubted, codec::encode(&doubt));
        self.doubts.insert(object.clone(), doubt);
        header.object = Object::with_rows(object.tag, left);
        header.rows = intact.summary;
        match header.is_empty() {
            true => batch.delete(Family::Headers, base),
            false => {
                rows::save(object, &header, batch);
            }
        }
        Ok(())
    }

    fn read_intact(&self, object: &ObjectId, head: &Rows) -> Result<Intact, StoreError> {
        let mut intact = Intact::default();
        let base = object_key(object);
        let end = prefix_end(&base);
        self.store.scan(Family::Rows, &base, end.as_deref(), &mut |key, bytes| {
            let member = &key[base.len()..];
            let Ok(row) = rows::decode_row(object, bytes) else {
                intact.lost.insert(member.to_vec());
                return Visit::Next;
            };
            let row = head.visible(member, &row);
            intact.summary.replace(member, &Row::default(), &row);
            intact.live.extend(row.live.keys());
            Visit::Next
        })?;
        Ok(intact)
    }

    /// The dots that this copy has seen and that no damaged row can have held.
    fn certain(
        &self,
        object: &ObjectId,
        head: &Rows,
        state: Option<&Object>,
        mut live: Vec<Dot>,
        lost: &BTreeSet<Vec<u8>>,
    ) -> Result<CausalContext, StoreError> {
        // In their order each is added at the end, however many there are.
        live.sort_unstable();
        let mut certain: CausalContext = live.into_iter().collect();
        certain.join(&head.cleared);
        head.expiry.dots().for_each(|dot| certain.insert(dot));
        let mut named = self.marked_dots(object, lost)?;
        if let Some(theirs) = state.and_then(Object::rows) {
            let theirs = theirs.held().filter(|(key, _)| !lost.contains(*key));
            theirs.flat_map(|(_, row)| row.live.keys()).for_each(|dot| named.insert(*dot));
        }
        certain.join(&named.minus(&named.minus(&head.context)));
        Ok(certain)
    }

    /// Dots that marks name of the object's members except `lost`.
    fn marked_dots(
        &self,
        object: &ObjectId,
        lost: &BTreeSet<Vec<u8>>,
    ) -> Result<CausalContext, StoreError> {
        let base = object_key(object);
        let mut named = CausalContext::new();
        for target in self.hints.targets() {
            let prefix = [&target.0.to_be_bytes()[..], &base].concat();
            let end = prefix_end(&prefix);
            self.store.scan(Family::Hints, &prefix, end.as_deref(), &mut |key, value| {
                if let (Some((_, _, Marked::Member(member))), Ok(said)) =
                    (parse_hint_key(key), codec::decode::<CausalContext>(value))
                    && !lost.contains(&member)
                {
                    named.join(&said);
                }
                Visit::Next
            })?;
        }
        Ok(named)
    }
}
