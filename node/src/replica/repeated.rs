//! Operations with a key: applied with a note, answered where the note and what it is about are
//! here; and what the counter is told where several replicas applied one. See
//! [`crate::crdt::note`].

use super::Replica;
use super::apply::Held;
use super::rows;
use crate::cluster::View;
use crate::config::Mutant;
use crate::crdt::note::{doubles_of, notes_in};
use crate::crdt::{
    CounterOp, DeltaType, KvOp, NodeId, Note, Object, ObjectId, ObjectOp, Observed, Once, OpError,
    Ttl,
};
use crate::metrics::Metric;
use crate::store::{Batch, Store, StoreError};
use crate::time::Time;
use crate::wire::peer::{Applied, Refusal};

impl<S: Store> Replica<S> {
    /// Applies a change of a counter unless it is known to have been applied. Counter and note are
    /// written in one batch.
    pub(super) fn apply_once(
        &mut self,
        view: &View,
        now: Time,
        object: &ObjectId,
        (action, ttl): (ObjectOp, Option<Ttl>),
        once: &Once,
        hint_for: &[NodeId],
    ) -> Result<Applied, Refusal> {
        let id = object.note(&once.key);
        let held = rows::load(&self.store, object);
        let held = held.map_err(|error| self.refusal_of(object, error))?;
        let noted = rows::load(&self.store, &id).map_err(|error| self.refusal_of(&id, error))?;
        // One that has expired and was not collected yet still says what was done.
        let mut notes = match &noted.0.object {
            Object::Kv(kv) => notes_in(kv),
            _ => Vec::new(),
        };
        if notes.iter().any(|note| note.asked != once.asked) {
            return Err(Refusal::Op(OpError::KeyReused));
        }
        let stable = self.stable_for(view, object);
        let is_here = |note: &&Note| {
            held.0.object.context().contains(note.dot)
                || stable.is_some_and(|stable| stable.has(note.dot))
        };
        let done = notes.iter().find(is_here).map(|note| note.dot);
        if let Some(dot) = done {
            self.metrics.count(Metric::Repeated);
            let (delta, note) = (held.0.object.clone(), noted.0.object.clone());
            self.join_both(view, (object, held, &delta), (&id, noted, &note), hint_for)?;
            let (state, note) = (delta.clone(), Some(Box::new((id, note))));
            return Ok(Applied { delta, state, note, again: Some(dot), settled: false });
        }
        let amount = match &action {
            ObjectOp::Counter(CounterOp::Add { amount, .. }) => *amount,
            _ => 0,
        };
        let (held, mut delta) = self.delta_of(view, now, object, (action, ttl))?;
        let Object::Counter(counter) = &mut delta else {
            return Err(Refusal::Op(OpError::WrongType));
        };
        let own = Note::of(counter, self.actor, once.asked, amount);
        let own = own.ok_or(Refusal::Op(OpError::WrongType))?;
        let value = own.encode();
        notes.push(own);
        let doubles = doubles_of(&once.key, &notes);
        if let Some(doubles) = doubles.filter(|_| !self.config.is_mutant(Mutant::ForgetDoubles)) {
            self.metrics.count(Metric::Doubled);
            counter.join(&doubles);
        }
        // Beside those that are there, not in place of them.
        let observed = Observed::Nothing;
        let content_type = String::new();
        let put = ObjectOp::Kv(KvOp::Put { value, content_type, observed });
        let (noted, note) = self.delta_of(view, now, &id, (put, None))?;
        let state = self.join_both(view, (object, held, &delta), (&id, noted, &note), hint_for)?;
        let note = Some(Box::new((id, note)));
        Ok(Applied { delta, state, note, again: None, settled: false })
    }

    /// Joins what another replica applied and its note in one batch: who held the one alone would
    /// answer a repetition with a write that is not there, or apply it again.
    ///
    /// # Errors
    /// The store failed, or one of the two is damaged.
    pub(super) fn join_noted(
        &mut self,
        view: &View,
        now: Time,
        (object, delta): (&ObjectId, &Object),
        (id, note): &(ObjectId, Object),
        hint_for: &[NodeId],
    ) -> Result<(), StoreError> {
        let (noted, fresh) = self.before_join(view, now, id, note)?;
        let note = fresh.as_ref().unwrap_or(note);
        self.tell_doubles(view, id, &noted.0.object, note)?;
        let (held, fresh) = self.before_join(view, now, object, delta)?;
        let delta = fresh.as_ref().unwrap_or(delta);
        let mut batch = Batch::default();
        let first = self.join_into(view, object, held, delta, hint_for, false, &mut batch)?;
        let second = self.join_into(view, id, noted, note, hint_for, false, &mut batch)?;
        self.commit(batch)?;
        self.after_join(view, id, second);
        self.after_join(view, object, first);
        Ok(())
    }

    /// Joins both in one batch; the counter after it.
    fn join_both(
        &mut self,
        view: &View,
        (object, held, delta): (&ObjectId, Held, &Object),
        (id, noted, note): (&ObjectId, Held, &Object),
        hint_for: &[NodeId],
    ) -> Result<Object, Refusal> {
        let mut batch = Batch::default();
        let first = self.join_into(view, object, held, delta, hint_for, true, &mut batch);
        let first = first.map_err(|error| self.refusal_of(object, error))?;
        let second = self.join_into(view, id, noted, note, hint_for, true, &mut batch);
        let second = second.map_err(|error| self.refusal_of(id, error))?;
        self.commit(batch).map_err(|error| self.refusal_of(object, error))?;
        self.after_join(view, id, second);
        Ok(self.after_join(view, object, first).object)
    }

    /// Before `delta` is joined into a note: tells the counter where the note will then be of
    /// several applications. Told before it is noted, so that no crash comes between.
    ///
    /// # Errors
    /// The counter could not be written. One that is damaged is mended from an owner that was told.
    pub(super) fn tell_doubles(
        &mut self,
        view: &View,
        id: &ObjectId,
        held: &Object,
        delta: &Object,
    ) -> Result<(), StoreError> {
        let Some((object, key)) = id.noted() else { return Ok(()) };
        let (Object::Kv(held), Object::Kv(more)) = (held, delta) else { return Ok(()) };
        let mut kv = held.clone();
        kv.join(more);
        let Some(told) = doubles_of(key, &notes_in(&kv)) else { return Ok(()) };
        if !view.owns(&object) || self.config.is_mutant(Mutant::ForgetDoubles) {
            return Ok(());
        }
        let counter = match rows::load(&self.store, &object) {
            Ok(counter) => counter,
            Err(error @ StoreError::Corrupt(_)) => {
                self.refusal_of(&object, error);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if matches!(&counter.0.object, Object::Counter(known) if !known.has_doubles_of(&told)) {
            self.metrics.count(Metric::Doubled);
            self.join_marked(view, &object, counter, &Object::Counter(told), &[], false)?;
        }
        Ok(())
    }
}
