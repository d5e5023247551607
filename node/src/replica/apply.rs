//! Applying a client's operation and joining a delta: the two ways in, one path.

use super::Replica;
use super::hints::Mark;
use super::keys::object_key;
use super::mutants;
use super::rows;
use crate::cluster::{BUCKETS, View};
use crate::config::{Durability, Mutant};
use crate::crdt::expiry::{NEVER, Terms, Ttl, bucket_of, instant_after};
use crate::crdt::{
    BoundedOp, CounterOp, Dot, Mint, Needs, NodeId, Object, ObjectId, ObjectOp, Once, OpError,
    TypeTag,
};
use crate::metrics::Metric;
use crate::store::{Batch, Store, StoreError};
use crate::time::Time;
use crate::wire::peer::{Applied, OpId, PeerBody, Refusal};
use std::collections::BTreeSet;

/// Rows with totals that one removal of everything can name: they travel in its delta.
const TOTALS_MAX: u64 = 10_000;

/// What [`rows::load`] gives.
pub(super) type Held = (rows::Header, u64);

/// A join that is in a batch and not yet in force.
pub(super) struct JoinStep {
    pub(super) joined: rows::Joined,
    marks: Vec<Mark>,
}

impl JoinStep {
    /// Whether it changes nothing.
    fn is_idle(&self) -> bool {
        self.joined.before == self.joined.after && self.marks.is_empty()
    }
}

impl<S: Store> Replica<S> {
    #[allow(clippy::too_many_arguments)] // The fields of one message.
    pub(super) fn on_apply(
        &mut self,
        view: &View,
        now: Time,
        from: NodeId,
        op: OpId,
        object: &ObjectId,
        (action, ttl, once): (ObjectOp, Option<Ttl>, Option<Box<Once>>),
        hint_for: &[NodeId],
    ) {
        // Of its own node's operations only these may end without their coordinator.
        let takes = matches!(action, ObjectOp::Bounded(BoundedOp::Take { .. }));
        let outcome = self.may_hold(view, object, hint_for).and_then(|()| match once {
            None => self.apply(view, now, object, (action, ttl), hint_for),
            Some(once) => self.apply_once(view, now, object, (action, ttl), &once, hint_for),
        });
        let mut applied = match outcome {
            Ok(applied) => Box::new(applied),
            Err(refusal) => {
                return self.send(from, PeerBody::Applied { op, outcome: Err(refusal) });
            }
        };
        self.metrics.count(Metric::Applied);
        if from != view.me || takes {
            self.lately.note(from, op, object, &applied);
        }
        let durability = self.durability(view, object);
        applied.settled = durability == Durability::Batched;
        let applied = PeerBody::Applied { op, outcome: Ok(applied) };
        self.send(from, applied);
        self.acknowledge(now, durability, from, PeerBody::AppliedDurable { op });
    }

    #[allow(clippy::too_many_arguments)] // The fields of one message.
    pub(super) fn on_join(
        &mut self,
        view: &View,
        now: Time,
        from: NodeId,
        op: OpId,
        object: &ObjectId,
        (delta, note): (&Object, Option<&(ObjectId, Object)>),
        hint_for: &[NodeId],
    ) {
        let joined = self.may_hold(view, object, hint_for).and_then(|()| {
            let stale = self.stale_in(view, object, delta);
            if !stale.map_err(|error| self.refusal_of(object, error))?.is_empty() {
                self.metrics.count(Metric::StaleDots);
                return Err(Refusal::Stale);
            }
            let note = note.filter(|(id, _)| id.is_about(object));
            let joined = match note {
                None => self.join_now(view, now, object, delta, hint_for).map(drop),
                Some(note) => self.join_noted(view, now, (object, delta), note, hint_for),
            };
            joined.map_err(|error| {
                let damaged = note.filter(|(id, _)| rows::check(&self.store, id).is_err());
                self.refusal_of(damaged.map_or(object, |(id, _)| id), error)
            })
        });
        if let Err(refusal) = joined {
            return self.send(from, PeerBody::Joined { op, outcome: Err(refusal) });
        }
        let durability = self.durability(view, object);
        if durability == Durability::Batched {
            self.send(from, PeerBody::Joined { op, outcome: Ok(false) });
        }
        self.acknowledge(now, durability, from, PeerBody::Joined { op, outcome: Ok(true) });
    }

    fn acknowledge(&mut self, now: Time, durability: Durability, to: NodeId, body: PeerBody) {
        match durability {
            Durability::Sync => self.send_durable(to, body),
            Durability::Batched => self.send_batched(now, to, body),
        }
    }

    /// An owner holds its objects; anybody else only as a stand-in that can keep the marks.
    fn may_hold(&self, view: &View, object: &ObjectId, hint_for: &[NodeId]) -> Result<(), Refusal> {
        let owner = view.owns(object);
        let full = |target: &NodeId| self.hints.pending_for(*target) >= self.config.hints_max;
        match owner {
            true => Ok(()),
            // Without a mark nothing would ever bring the write from here to its owners.
            false if hint_for.iter().any(full) => Err(Refusal::HintsFull),
            false if hint_for.is_empty() => Err(Refusal::Misdirected),
            false => Ok(()),
        }
    }

    pub(super) fn apply(
        &mut self,
        view: &View,
        now: Time,
        object: &ObjectId,
        action: (ObjectOp, Option<Ttl>),
        hint_for: &[NodeId],
    ) -> Result<Applied, Refusal> {
        let (held, delta) = self.delta_of(view, now, object, action)?;
        let joined = self.join_marked(view, object, held, &delta, hint_for, true);
        let header = joined.map_err(|error| self.refusal_of(object, error))?;
        let (state, note, again) = (header.object, None, None);
        Ok(Applied { delta, state, note, again, settled: false })
    }

    /// What this replica holds, and the delta that the operation is here.
    pub(super) fn delta_of(
        &mut self,
        view: &View,
        now: Time,
        object: &ObjectId,
        (mut action, ttl): (ObjectOp, Option<Ttl>),
    ) -> Result<(Held, Object), Refusal> {
        if let ObjectOp::Counter(CounterOp::Add { floor, .. } | CounterOp::Reset { floor, .. }) =
            &mut action
        {
            *floor = self.floor;
        }
        let held = rows::load(&self.store, object);
        let held = held.map_err(|error| self.refusal_of(object, error))?;
        let takes = match action {
            ObjectOp::Bounded(BoundedOp::Add { amount }) => amount < 0,
            ObjectOp::Bounded(BoundedOp::Take { .. }) => true,
            _ => false,
        };
        if let (Object::Bounded(state), true) = (&held.0.object, takes && !view.owns(object)) {
            // What a stand-in may have made rights of goes to the owners.
            return Err(Refusal::Op(state.insufficient(0)));
        }
        let terms = self.terms(view, now, object, ttl, &held.0);
        let window = match self.window(object, &held.0, &action, terms.expired) {
            Ok(window) => window.map_err(Refusal::Op)?,
            Err(error) => return Err(self.refusal_of(object, error)),
        };
        let floor = self.floor.max(self.settling.floor(object));
        let next = window.context().highest(self.actor).max(floor) + 1;
        let mint = Mint::new(self.actor, next, self.clock.now(now.wall_ms));
        let mut mint = mint.with_floor(match object.tag {
            TypeTag::Bounded => self.rights.floor_of(object),
            _ => self.floor,
        });
        let delta = window.write(&action, terms, &mut mint).map_err(Refusal::Op)?;
        Ok((held, delta))
    }

    /// What the write means for the expiry. Instants are taken from the wall clock, with which
    /// they are compared: the hybrid clock may have followed another one into the future.
    fn terms(
        &self,
        view: &View,
        now: Time,
        object: &ObjectId,
        ttl: Option<Ttl>,
        held: &rows::Header,
    ) -> Terms {
        let after = |seconds| instant_after(now.wall_ms, seconds);
        Terms {
            asked: ttl.map(|ttl| match ttl {
                Ttl::For(seconds) => after(seconds),
                Ttl::Persist => NEVER,
            }),
            default: view.bucket(&object.bucket).ttl_seconds.map(after),
            expired: held.is_expired(bucket_of(now.wall_ms)),
            present: held.is_present(),
        }
    }

    /// Everything that a removal of what has expired must name.
    pub(super) fn clearing_window(
        &self,
        object: &ObjectId,
        header: &rows::Header,
    ) -> Result<Object, StoreError> {
        let Some(head) = header.object.rows() else { return Ok(header.object.clone()) };
        let needs = Needs { totals: header.rows.totals > 0, ..Needs::default() };
        let window = rows::load_window(&self.store, object, head, &needs)?;
        Ok(Object::with_rows(object.tag, window))
    }

    /// The object as far as the operation looks at it: all of a small one, of a collection the
    /// rows it needs.
    fn window(
        &self,
        object: &ObjectId,
        header: &rows::Header,
        action: &ObjectOp,
        expired: bool,
    ) -> Result<Result<Object, OpError>, StoreError> {
        let Some(head) = header.object.rows() else { return Ok(Ok(header.object.clone())) };
        let mut needs = action.needs();
        needs.totals |= expired;
        if needs.totals && header.rows.totals > TOTALS_MAX {
            let (count, limit) = (header.rows.totals, TOTALS_MAX);
            return Ok(Err(OpError::TooManyTotals { count, limit }));
        }
        let needs = Needs { totals: needs.totals && header.rows.totals > 0, ..needs };
        let window = rows::load_window(&self.store, object, head, &needs)?;
        Ok(Ok(Object::with_rows(object.tag, window)))
    }

    /// Joins `delta` and marks it as owed to `hint_for`, in one batch. Returns the header after.
    pub(super) fn join_now(
        &mut self,
        view: &View,
        now: Time,
        object: &ObjectId,
        delta: &Object,
        hint_for: &[NodeId],
    ) -> Result<rows::Header, StoreError> {
        let (held, fresh) = self.before_join(view, now, object, delta)?;
        self.join_marked(view, object, held, fresh.as_ref().unwrap_or(delta), hint_for, false)
    }

    /// What is held of the object, and what of `delta` is to be joined where that is not all.
    pub(super) fn before_join(
        &mut self,
        view: &View,
        now: Time,
        object: &ObjectId,
        delta: &Object,
    ) -> Result<(Held, Option<Object>), StoreError> {
        self.observe(now, delta);
        let held = self.receive(view, now, object, delta)?;
        let stale = self.stale_in(view, object, delta)?;
        let fresh = (!stale.is_empty()).then(|| delta.without(&stale));
        let delta = fresh.as_ref().unwrap_or(delta);
        let spoilt = match &self.config {
            config if config.is_mutant(Mutant::ForgetDot) => Some(mutants::forget_dots(delta)),
            config if config.is_mutant(Mutant::WrongMax) => {
                Some(mutants::keep_higher(delta, &held.0.object))
            }
            _ => None,
        };
        Ok((held, spoilt.or(fresh)))
    }

    pub(super) fn join_marked(
        &mut self,
        view: &View,
        object: &ObjectId,
        held: Held,
        delta: &Object,
        hint_for: &[NodeId],
        minted: bool,
    ) -> Result<rows::Header, StoreError> {
        self.tell_doubles(view, object, &held.0.object, delta)?;
        let mut batch = Batch::default();
        let step = self.join_into(view, object, held, delta, hint_for, minted, &mut batch)?;
        if step.is_idle() {
            return Ok(step.joined.header);
        }
        self.commit(batch)?;
        Ok(self.after_join(view, object, step))
    }

    /// Adds to `batch` what joins `delta` and marks it as owed to `hint_for`. `minted`: the delta
    /// has dots that this node gave out just now.
    #[allow(clippy::too_many_arguments)] // One step of three callers.
    pub(super) fn join_into(
        &mut self,
        view: &View,
        object: &ObjectId,
        held: Held,
        delta: &Object,
        hint_for: &[NodeId],
        minted: bool,
        batch: &mut Batch,
    ) -> Result<JoinStep, StoreError> {
        let settled = (self.actor, self.stable_for(view, object));
        let mut joined = rows::join(&self.store, object, held, delta, settled, batch)?;
        if let (Object::Kv(kv), true) =
            (&mut joined.header.object, self.config.is_mutant(Mutant::WallClockLww))
        {
            mutants::keep_latest(kv);
            joined.after = rows::save(object, &joined.header, batch);
        }
        let known = joined.own_before.max(self.floor).max(self.settling.floor(object));
        if !minted && delta.context().highest(self.actor) > known {
            // A peer has dots of this actor that this node forgot: it lost writes on disk.
            self.new_epoch();
        }
        let key = object_key(object);
        self.requeue(&key, joined.goes_before, joined.header.goes, batch);
        let marks = self.mark(object, delta, hint_for, batch)?;
        let early = self.config.is_mutant(Mutant::CollectEarly) && !view.owns(object);
        if joined.garbage || early {
            self.queue_collection(object, batch);
        }
        Ok(JoinStep { joined, marks })
    }

    /// Takes note of a join whose batch is written.
    pub(super) fn after_join(
        &mut self,
        view: &View,
        object: &ObjectId,
        JoinStep { joined, marks }: JoinStep,
    ) -> rows::Header {
        self.count_marks(&marks);
        self.metrics.count(Metric::Joined);
        if joined.before != joined.after {
            self.metrics.count(Metric::JoinedNew);
            let key = object_key(object);
            let n = view.n_of(&object.bucket);
            let before = self.trees.counted(&key, joined.goes_before, joined.before);
            let after = self.trees.counted(&key, joined.header.goes, joined.after);
            self.trees.replace(&key, n, before, after);
            self.note_bucket(object, &joined.header.object);
            self.note_settling(view, object, &joined.header);
            if object.tag == TypeTag::Bounded {
                self.rights.note_change(object);
            }
        }
        joined.header
    }

    /// The live dots of `delta` that are copies of something removed: long ago, or here before
    /// another row was damaged.
    pub(super) fn stale_in(
        &self,
        view: &View,
        object: &ObjectId,
        delta: &Object,
    ) -> Result<BTreeSet<Dot>, StoreError> {
        let doubt = self.doubts.get(object);
        let mut removed = doubt.map(|doubt| doubt.removed(delta)).unwrap_or_default();
        let stable = self.stable_for(view, object);
        if doubt.is_some() || stable.is_some() {
            let (header, _) = rows::load(&self.store, object)?;
            let known = header.object.context();
            removed.retain(|dot| !known.contains(*dot));
            removed.extend(stable.iter().flat_map(|stable| delta.stale_dots(stable, known)));
        }
        Ok(removed)
    }

    /// Follows the clocks in the delta as far as they are not too far ahead.
    fn observe(&mut self, now: Time, delta: &Object) {
        for at in delta.times() {
            if !self.clock.observe(at, now.wall_ms) {
                self.metrics.count(Metric::ClockIgnored);
            }
        }
    }

    fn note_bucket(&mut self, object: &ObjectId, state: &Object) {
        if object.bucket == BUCKETS {
            self.effects.buckets.push(super::bucket_of(object, state));
        }
    }
}
