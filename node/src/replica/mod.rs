//! One node's copy of the data: applies, joins, reads, owes, compares, collects.
//!
//! Every change goes through one path: a delta is joined into rows, in one batch with the marks
//! and queues that depend on it. An acknowledgement leaves when the batch is on disk.

mod apply;
mod clock;
mod collect;
mod exchange;
mod expiry;
mod forget;
mod hints;
mod keys;
mod lately;
mod mend;
mod mutants;
mod once;
mod pages;
mod read;
mod repeated;
mod rights;
mod rows;
mod salvage;
mod scores;
mod settle;
mod trees;

pub use hints::owed_dots;
pub use mend::object_of_key;
pub use rows::{digest_of_small, load_whole};

use crate::cluster::{BUCKETS, View};
use crate::config::{BucketProps, Config, Durability, Mutant};
use crate::crdt::expiry::bucket_of as expiry_bucket;
use crate::crdt::{Actor, BoundedOp, NodeId, Object, ObjectId, ObjectOp};
use crate::metrics::{Metric, Metrics};
use crate::store::{Batch, Family, Lsn, Store, StoreError, Visit};
use crate::time::Time;
use crate::wire::codec;
use crate::wire::peer::{OpId, PeerBody, Refusal};
use clock::HybridClock;
use std::collections::{BTreeMap, VecDeque};

/// A write that is readable is synced after so many microseconds at the latest, also when nobody
/// waits for it (durability `batched`).
const BATCHED_SYNC_US: u64 = 100_000;

/// What a step of the replica leads to.
#[derive(Debug, Default)]
pub struct Effects {
    /// Messages, to this node itself as well.
    pub sends: Vec<(NodeId, PeerBody)>,
    /// Sync at least up to here.
    pub sync: Option<Lsn>,
    /// Buckets whose properties changed, by name; `None`: back to the defaults.
    pub buckets: Vec<(String, Option<BucketProps>)>,
    /// The store is unusable.
    pub halt: Option<String>,
}

/// One node's replica.
pub struct Replica<S> {
    pub(crate) store: S,
    config: Config,
    actor: Actor,
    /// Epochs of this node drawn so far; the next one is derived from it and the seed.
    epochs: u64,
    seed: u64,
    /// No dot at or below it is given out under this epoch.
    floor: u64,
    clock: HybridClock,
    trees: trees::Trees,
    hints: hints::Hints,
    exchange: exchange::Exchange,
    expiring: expiry::Expiring,
    once: once::Once,
    lately: lately::Lately,
    pulls: pages::Pulls,
    mending: mend::Mending,
    rights: rights::Rights,
    doubts: BTreeMap<ObjectId, salvage::Doubt>,
    settling: settle::Settling,
    collecting: bool,
    /// After a collection that failed: when to try again, µs.
    collect_us: Option<u64>,
    written: Lsn,
    synced: Lsn,
    /// Acknowledgements and the batch they wait for, in the order of batches.
    waiting: VecDeque<(Lsn, NodeId, PeerBody)>,
    /// When the next sync for batched durability is due.
    sync_due_us: Option<u64>,
    pub(crate) metrics: Metrics,
    pub(crate) effects: Effects,
}

impl<S: Store> Replica<S> {
    /// Opens the replica on `store`, reading every header once to rebuild digests and counts.
    /// The epoch is new with every start: nothing on a disk can tell whether it is the latest
    /// state of this node or a copy of an earlier one, whose dots were given out already.
    ///
    /// # Errors
    /// The store could not be read. A single damaged object is counted and left to repair.
    pub fn open(
        config: Config,
        store: S,
        view: &mut View,
        now: Time,
        seed: u64,
    ) -> Result<Self, StoreError> {
        let node = config.id();
        let epoch = match config.is_mutant(Mutant::ReuseActor) {
            true => 1,
            false => epoch_from(seed, 0),
        };
        let mut trees = trees::Trees::default();
        trees.blind = config.is_mutant(Mutant::BlindDigest);
        trees.line = (expiry_bucket(now.wall_ms) + 1).to_be_bytes().to_vec();
        let mut replica = Replica {
            hints: hints::Hints::open(&store)?,
            store,
            config,
            actor: Actor { node, epoch },
            epochs: 1,
            seed,
            floor: 0,
            clock: HybridClock::default(),
            trees,
            exchange: exchange::Exchange::new(now.mono_us),
            expiring: expiry::Expiring::unknown(now),
            once: once::Once::default(),
            lately: lately::Lately::default(),
            pulls: pages::Pulls::default(),
            mending: mend::Mending::default(),
            rights: rights::Rights::default(),
            doubts: BTreeMap::new(),
            settling: settle::Settling::opened(now),
            collecting: true,
            collect_us: None,
            written: Lsn(0),
            synced: Lsn(0),
            waiting: VecDeque::new(),
            sync_due_us: None,
            metrics: Metrics::default(),
            effects: Effects::default(),
        };
        replica.load_buckets(view)?;
        replica.doubts = salvage::load_doubts(&replica.store)?;
        replica.load_stable(view)?;
        replica.rebuild_trees(view)?;
        Ok(replica)
    }

    /// Handles one message from `from`, which may be this node. `busy`: the coordinator works on a
    /// write in the partition that the message is about.
    pub fn handle(&mut self, view: &View, now: Time, from: NodeId, body: PeerBody, busy: bool) {
        match body {
            PeerBody::Apply { op, object, action, ttl, once, hint_for } => {
                let takes = matches!(action, ObjectOp::Bounded(BoundedOp::Take { .. }));
                // No answer to a repetition: the coordinator has the first one or has given up.
                let again = from != view.me && !self.once.is_first(from, op);
                if again && !self.config.is_mutant(Mutant::DoubleCount) {
                    return;
                }
                match takes {
                    true => self.on_take(view, now, (from, op), object, action, hint_for),
                    false => {
                        let asked = (action, ttl, once);
                        self.on_apply(view, now, from, op, &object, asked, &hint_for);
                    }
                }
            }
            PeerBody::Join { op, object, delta, note, hint_for } => {
                let said = (&delta, note.as_deref());
                self.on_join(view, now, from, op, &object, said, &hint_for);
            }
            PeerBody::Get { op, object, query, digest_only } => {
                let outcome = self.answer((view, now), &object, &query, digest_only);
                let outcome = outcome.map_err(|error| self.refusal_of(&object, error));
                self.send(from, PeerBody::Got { op, outcome });
            }
            PeerBody::Inspect { op, object } => {
                let report = Box::new(self.inspect(view, now, &object));
                self.send(from, PeerBody::Inspected { op, report });
            }
            PeerBody::Repair { object, delta } => {
                self.join_state(view, now, from, &object, &delta);
            }
            PeerBody::Handoff { batch, items } => self.on_handoff(view, now, from, batch, &items),
            PeerBody::HandoffDone { batch } => self.on_handoff_done(view, now, from, batch),
            PeerBody::PullRows { object, after } => self.on_pull_rows(from, &object, after),
            PeerBody::Rows { object, page, next } => {
                self.on_rows(view, now, from, object, &page, next);
            }
            PeerBody::PullFrom { object, peer } => {
                let pull = PeerBody::PullRows { object, after: None };
                self.send(peer, pull);
            }
            PeerBody::Roots(roots) => self.on_roots(view, now, from, &roots),
            PeerBody::Leaves { partition, n, leaves } => {
                self.on_leaves(view, from, partition, n, &leaves);
            }
            PeerBody::Objects { partition, n, after, leaves, objects, more } => {
                let listed = exchange::Listed { partition, n, after, leaves, objects, more };
                self.on_objects(view, now, from, listed);
            }
            PeerBody::Pull(objects) => self.on_pull(view, from, &objects),
            PeerBody::Summary(summary) => self.on_summary(view, now, from, summary),
            PeerBody::Lacks(objects) => self.on_lacks(view, from, &objects),
            PeerBody::RightsWanted { object, to, have, amount } => {
                self.on_rights_wanted(view, now, from, object, (to, have, amount));
            }
            PeerBody::RightsGiven { object, delta } => {
                self.on_rights_given(view, now, from, &object, &delta);
            }
            PeerBody::Settle { partition, n, what } => {
                self.on_settle(view, now, from, (partition, n), what, busy);
            }
            PeerBody::Unheard(ops) => self.on_unheard(view, now, from, ops),
            // Answers belong to the coordinator, layouts to the core.
            PeerBody::Applied { .. }
            | PeerBody::AppliedDurable { .. }
            | PeerBody::Joined { .. }
            | PeerBody::Got { .. }
            | PeerBody::Inspected { .. }
            | PeerBody::Owed(_)
            | PeerBody::LayoutIs(_) => {}
        }
    }

    /// An operation was refused before it came here: what the network delivers of it again is not
    /// applied either, since its coordinator was told that nothing is.
    pub fn note_refused(&mut self, from: NodeId, op: OpId) {
        self.once.is_first(from, op);
    }

    /// Every batch up to `lsn` is on disk: lets the acknowledgements go that waited for it.
    pub fn synced(&mut self, lsn: Lsn) {
        assert!(lsn <= self.written, "only what was written can be synced");
        self.synced = self.synced.max(lsn);
        self.metrics.count(Metric::Syncs);
        while self.waiting.front().is_some_and(|(needs, ..)| *needs <= self.synced) {
            let (_, to, body) = self.waiting.pop_front().expect("just seen");
            self.send(to, body);
        }
        if self.synced == self.written {
            self.sync_due_us = None;
        }
    }

    /// Does what time asks for: batched syncs, hint delivery, exchanges, collection.
    pub fn tick(&mut self, view: &View, now: Time) {
        if self.sync_due_us.is_some_and(|due| due <= now.mono_us) {
            self.sync_due_us = None;
            self.effects.sync = Some(self.written);
        }
        self.deliver_hints(view, now);
        self.exchange_due(view, now);
        self.expire_some(view, now);
        self.collect_some(view, now);
        self.mend(view, now);
        self.move_rights(view, now);
        self.settle_some(view, now);
    }

    /// When `tick` is next due, µs.
    pub fn deadline(&self) -> Option<u64> {
        let collect = if self.collecting { Some(0) } else { self.collect_us };
        [
            self.sync_due_us,
            self.hints.due(),
            self.exchange.due(),
            collect,
            self.expiring.due(self.config.expiry_grace_s),
            self.mending.due(self.config.scrub_ms),
            self.rights.due(),
            self.settling.due(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Writes what may be read at once and is durable after its sync.
    pub(crate) fn commit(&mut self, batch: Batch) -> Result<Lsn, StoreError> {
        if !batch.is_empty() {
            let lsn = self.store.write(batch)?;
            assert!(lsn > self.written, "batches have one order");
            self.written = lsn;
        }
        Ok(self.written)
    }

    /// Sends `body` when everything written so far is on disk.
    fn send_durable(&mut self, to: NodeId, body: PeerBody) {
        if self.written <= self.synced || self.config.is_mutant(Mutant::SkipSync) {
            return self.send(to, body);
        }
        self.effects.sync = Some(self.written);
        self.waiting.push_back((self.written, to, body));
    }

    /// Sends `body` when everything written so far is on disk, as soon as a batched sync may be.
    fn send_batched(&mut self, now: Time, to: NodeId, body: PeerBody) {
        if self.written <= self.synced {
            return self.send(to, body);
        }
        self.sync_due_us.get_or_insert(now.mono_us + BATCHED_SYNC_US);
        self.waiting.push_back((self.written, to, body));
    }

    fn send(&mut self, to: NodeId, body: PeerBody) {
        self.effects.sends.push((to, body));
    }

    /// Joins without anybody waiting for it; a failure is counted and left to the next repair.
    fn join_quietly(&mut self, view: &View, now: Time, object: &ObjectId, delta: &Object) -> bool {
        match self.is_over(now, object, delta) {
            Ok(true) => true,
            Ok(false) => self.join_owed(view, now, object, delta),
            Err(error) => {
                self.refusal_of(object, error);
                false
            }
        }
    }

    /// The same of what the sender gives up when it hears that it is here, so that what expired is
    /// kept too: nobody else may know what it replaced.
    fn join_owed(&mut self, view: &View, now: Time, object: &ObjectId, delta: &Object) -> bool {
        let joined = self.join_now(view, now, object, delta, &[]);
        self.sync_due_us.get_or_insert(now.mono_us + BATCHED_SYNC_US);
        joined.map_err(|error| self.refusal_of(object, error)).is_ok()
    }

    /// Joins what `from` sent of its state; an owner's from the first row on mends a damaged
    /// object, what a stand-in has of it does not. Whether it was joined.
    fn join_state(
        &mut self,
        view: &View,
        now: Time,
        from: NodeId,
        object: &ObjectId,
        state: &Object,
    ) -> bool {
        let mends =
            self.mending.has(object) && mend::begins_whole(state) && view.owned_by(from, object);
        if mends {
            if let Err(error) = self.replace_damaged(view, object, state) {
                self.refusal(error);
                return false;
            }
        } else if !view.owns(object) {
            return false; // Nobody would ever collect it.
        }
        let stale = self.stale_in(view, object, state).unwrap_or_default();
        let joined = self.join_quietly(view, now, object, state);
        self.tell_expiry(now, from, object, state);
        self.tell_forgotten(view, from, object, state);
        if !stale.is_empty() {
            self.metrics.add(Metric::StaleDots, stale.len() as u64);
            let delta = state.obituary(&stale);
            self.send(from, PeerBody::Repair { object: object.clone(), delta });
        }
        joined
    }

    /// A sync failed: whether anything since the last one is on disk cannot be known any more.
    pub(crate) fn sync_failed(&mut self, why: String) {
        if self.config.is_mutant(Mutant::IgnoreSyncError) {
            return self.synced(self.written);
        }
        self.effects.halt = Some(why);
    }

    /// Counts a store error and says what to tell whoever asked. A store that failed halts the
    /// node.
    fn refusal(&mut self, error: StoreError) -> Refusal {
        self.metrics.count(Metric::StoreErrors);
        match error {
            StoreError::Full => Refusal::DiskFull,
            StoreError::Corrupt(detail) => {
                self.metrics.count(Metric::CorruptRows);
                Refusal::Corrupt(detail)
            }
            StoreError::Failed(detail) => {
                self.effects.halt = Some(detail.clone());
                Refusal::Failed(detail)
            }
        }
    }

    /// Takes a new epoch: this node may have given out dots it no longer knows.
    fn new_epoch(&mut self) {
        self.actor.epoch = epoch_from(self.seed, self.epochs);
        self.epochs += 1;
        self.metrics.count(Metric::EpochChanges);
    }

    fn durability(&self, view: &View, object: &ObjectId) -> Durability {
        view.bucket(&object.bucket).durability
    }

    /// The last batch written.
    pub(crate) fn written(&self) -> Lsn {
        self.written
    }

    /// Objects known to be damaged and not mended yet.
    pub fn damaged(&self) -> u64 {
        self.mending.count()
    }

    /// Hint marks held for one node.
    pub fn hints_for(&self, node: NodeId) -> u64 {
        self.hints.pending_for(node)
    }

    /// Hint marks held in all.
    pub fn hints_pending(&self) -> u64 {
        self.hints.pending()
    }

    /// Bounded counters whose rights may still move.
    pub fn rights_moving(&self) -> u64 {
        self.rights.moving()
    }

    /// Refreshes the gauges; ages are those at `now_us`.
    pub fn refresh_gauges(&mut self, view: &View, now_us: u64) {
        self.metrics.set(Metric::HintsPending, self.hints.pending());
        self.metrics.set(Metric::SyncWaiting, self.waiting.len() as u64);
        self.metrics.set(Metric::Damaged, self.mending.count());
        self.metrics.set(Metric::HintsOldest, self.hints.oldest_us(now_us) / 1_000_000);
        let unproven_us = self.exchange.unproven_us(view, now_us);
        self.metrics.set(Metric::Unproven, unproven_us / 1_000_000);
    }

    /// The layout kept on disk.
    ///
    /// # Errors
    /// It could not be read, or fails its check.
    pub fn stored_layout(&self) -> Result<Option<crate::placement::Layout>, StoreError> {
        let layout: Option<crate::placement::Layout> = read_meta(&self.store, keys::META_LAYOUT)?;
        let sound = layout.as_ref().is_none_or(crate::placement::Layout::is_valid);
        sound.then_some(layout).ok_or_else(|| StoreError::Corrupt("layout: not valid".into()))
    }

    /// Writes the layout; durable with the next sync, which is asked for.
    ///
    /// # Errors
    /// It could not be written.
    pub fn keep_layout(&mut self, layout: &crate::placement::Layout) -> Result<Lsn, StoreError> {
        let mut batch = Batch::default();
        batch.put(Family::Meta, keys::META_LAYOUT.to_vec(), codec::encode(layout));
        let lsn = self.commit(batch)?;
        self.effects.sync = Some(lsn);
        Ok(lsn)
    }

    /// Every object, whole; see [`crate::core::Core::audit`].
    ///
    /// # Errors
    /// A row could not be read.
    pub fn audit(&self) -> Result<BTreeMap<ObjectId, (u64, Object)>, StoreError> {
        let mut objects = Vec::new();
        self.store.scan(Family::Headers, b"", None, &mut |key, bytes| {
            objects.push((keys::parse_object_key(key), rows::digest_of(Some(bytes))));
            Visit::Next
        })?;
        let mut whole = BTreeMap::new();
        for (parsed, digest) in objects {
            let Some((object, _)) = parsed else {
                return Err(StoreError::Corrupt("a header key".into()));
            };
            let (_, state) = rows::load_whole(&self.store, &object)?;
            whole.insert(object, (digest, state));
        }
        Ok(whole)
    }

    fn load_buckets(&mut self, view: &mut View) -> Result<(), StoreError> {
        let mut found = Vec::new();
        self.store.scan(Family::Headers, b"", None, &mut |key, _| {
            let parsed = keys::parse_object_key(key).map(|(object, _)| object);
            found.extend(parsed.filter(|object| object.bucket == BUCKETS));
            Visit::Next
        })?;
        for object in found {
            match rows::load(&self.store, &object) {
                Ok((header, _)) => {
                    let (name, props) = bucket_of(&object, &header.object);
                    view.set_bucket(name, props);
                }
                // Every member has it: mended before long.
                Err(StoreError::Corrupt(_)) => self.note_damage(&object),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Whether the store holds a layout that passes its check, for harnesses that damage disks.
pub fn keeps_layout<S: Store>(store: &S) -> bool {
    let layout: Result<Option<crate::placement::Layout>, _> = read_meta(store, keys::META_LAYOUT);
    matches!(layout, Ok(Some(layout)) if layout.is_valid())
}

/// Digest and whole state of one object; see [`crate::core::audit_store`].
pub(crate) fn load_audited<S: Store>(
    store: &S,
    object: &ObjectId,
) -> Result<Option<(u64, Object)>, StoreError> {
    let (_, digest) = rows::load(store, object)?;
    let (_, state) = rows::load_whole(store, object)?;
    Ok((digest != 0).then_some((digest, state)))
}

/// Properties of the bucket that an object of the bucket of buckets describes.
fn bucket_of(object: &ObjectId, state: &Object) -> (String, Option<BucketProps>) {
    let name = String::from_utf8_lossy(&object.key).into_owned();
    let latest = match state {
        Object::Kv(kv) => kv.latest().and_then(|(_, sibling)| codec::decode(&sibling.value).ok()),
        _ => None,
    };
    (name, latest)
}

fn read_meta<S: Store, T: bincode::Decode<()>>(
    store: &S,
    key: &[u8],
) -> Result<Option<T>, StoreError> {
    let Some(bytes) = store.get(Family::Meta, key)? else { return Ok(None) };
    let corrupt = |why| StoreError::Corrupt(format!("{}: {why}", String::from_utf8_lossy(key)));
    codec::decode(&bytes).map(Some).map_err(corrupt)
}

fn epoch_from(seed: u64, count: u64) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(&count.to_le_bytes(), seed)
}
