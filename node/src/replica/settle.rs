//! Collection of contexts: what becomes of removed objects, and of actors that are no more.
//!
//! A removed object is its context: the dots that are dead. It may go when every owner has it and
//! nobody owes anything (see [`crate::crdt::stable`]), which all members together find out for one
//! digest tree at a time. The tree's first owner proposes which dots are to be stable: those of
//! what is removed. Each member agrees if it owes nothing in this partition and works on no write
//! in it; an owner if its tree is equal besides, any other member if it holds nothing of the tree.
//! Who agrees gives out only later dots in the partition from then on. When all members agreed, so
//! none is away, the owners keep what is stable and forget what that says anyway, of each object
//! that has not changed since.
//!
//! From then on a live dot that is stable and not known is a copy of something removed: refused,
//! and whoever holds it is told. That holds only while this node knows of the tree all it knew, so
//! whatever loses a part of it, as damage does, also loses what was stable. Nothing acknowledged
//! depends on it: what is forgotten was known to all.

use super::Replica;
use super::keys::{META_STABLE, prefix_end};
use super::trees::TreeKey;
use crate::cluster::View;
use crate::config::Mutant;
use crate::crdt::{NodeId, ObjectId, Stable, StableByBucket};
use crate::metrics::Metric;
use crate::placement::{N_ALL, PARTITIONS, partition_of};
use crate::store::{Batch, Family, Store, StoreError, Visit};
use crate::time::Time;
use crate::wire::codec;
use crate::wire::peer::{PeerBody, Settle};
use std::collections::{BTreeMap, BTreeSet};

/// Trees of which this node asks all members at the same time.
const OPEN_MAX: usize = 16;
/// Members that have not agreed by then have not, µs.
const PATIENCE_US: u64 = 5_000_000;
/// After a step that failed the next one follows so much later, µs.
const RETRY_US: u64 = 1_000_000;
/// Buckets that came to a tree since something was agreed upon there; with more, what is stable
/// there is forgotten.
const LATER_MAX: usize = 64;
/// Actors in one proposal.
pub(super) const ACTORS_MAX: usize = 4_096;

/// What the replica knows of stability.
#[derive(Debug, Default)]
pub(super) struct Settling {
    pub(super) stable: BTreeMap<TreeKey, StableByBucket>,
    /// The replication factors under which `stable` holds, see [`factors_of`].
    factors: u64,
    /// By partition: dots of this life's actor up to there are given out no more.
    floors: BTreeMap<u16, u64>,
    /// Trees that this node leads and that have something to settle; from when on.
    candidates: BTreeMap<TreeKey, Option<u64>>,
    /// Whether the trees found at the start are among the candidates.
    looked: bool,
    rounds: u64,
    open: BTreeMap<TreeKey, Round>,
    agreed: BTreeMap<TreeKey, Agreed>,
    /// Objects that may be settled, if they still are as they were when all agreed.
    pub(super) at_work: BTreeMap<TreeKey, Unchanged>,
    /// Of those, the ones whose rows are being collected before they go.
    pub(super) closing: BTreeSet<ObjectId>,
    wait_us: u64,
    opened_us: u64,
}

/// A proposal that members are asked about.
#[derive(Debug)]
struct Round {
    number: u64,
    agreed: BTreeSet<NodeId>,
    give_up_us: u64,
}

/// A proposal that this owner agreed to.
#[derive(Debug)]
struct Agreed {
    leader: NodeId,
    number: u64,
    stable: Stable,
    unchanged: Unchanged,
}

/// Keys and digests of headers that say more than what is stable needs.
pub(super) type Unchanged = Vec<(Vec<u8>, u64)>;

impl Settling {
    pub(super) fn opened(now: Time) -> Settling {
        Settling { opened_us: now.mono_us, ..Settling::default() }
    }

    pub(super) fn due(&self) -> Option<u64> {
        if !self.at_work.is_empty() || !self.looked {
            return Some(self.wait_us);
        }
        let next = self.candidates.values().map(|due| due.unwrap_or(0)).min();
        next.map(|due| due.max(self.wait_us))
    }

    /// See [`Settling::floors`].
    pub(super) fn floor(&self, object: &ObjectId) -> u64 {
        self.floors.get(&partition_of(object)).copied().unwrap_or(0)
    }
}

/// A digest of all replication factors: by them objects belong to trees.
fn factors_of(view: &View) -> u64 {
    let usual = view.default_bucket.n;
    let others = view.buckets.iter().filter(|(_, props)| props.n != usual);
    let factors: Vec<(&String, u8)> = others.map(|(name, props)| (name, props.n)).collect();
    xxhash_rust::xxh3::xxh3_64(&codec::encode(&(factors, usual)))
}

fn stable_key((partition, n): TreeKey) -> Vec<u8> {
    [META_STABLE, &partition.to_be_bytes(), &[n]].concat()
}

impl<S: Store> Replica<S> {
    pub(super) fn tree_of(view: &View, object: &ObjectId) -> TreeKey {
        (partition_of(object), view.n_of(&object.bucket))
    }

    /// What is stable among the objects of this one's tree, for an owner.
    pub(super) fn stable_for(&self, view: &View, object: &ObjectId) -> Option<&Stable> {
        if self.settling.stable.is_empty() || !view.owns(object) {
            return None;
        }
        self.settling.stable.get(&Self::tree_of(view, object)).map(|all| all.of(&object.bucket))
    }

    /// Reads what was stable, as far as the buckets are still as they were.
    pub(super) fn load_stable(&mut self, view: &View) -> Result<(), StoreError> {
        let factors = factors_of(view);
        let mut found = BTreeMap::new();
        let end = prefix_end(META_STABLE);
        self.store.scan(Family::Meta, META_STABLE, end.as_deref(), &mut |key, value| {
            if let ([high, low, n], Ok((under, stable))) =
                (&key[META_STABLE.len()..], codec::decode::<(u64, StableByBucket)>(value))
                && under == factors
            {
                found.insert((u16::from_be_bytes([*high, *low]), *n), stable);
            }
            Visit::Next
        })?;
        self.settling.stable = found;
        self.settling.factors = factors;
        Ok(())
    }

    /// The objects of a bucket belong to trees of another replication factor now, `gained`. In
    /// those nothing is known to be stable of them: that was not said of these objects.
    ///
    /// # Errors
    /// The store could not be written.
    pub fn regroup(&mut self, view: &View, bucket: &str, gained: u8) -> Result<(), StoreError> {
        let factors = factors_of(view);
        self.settling.factors = factors;
        self.settling.agreed.clear();
        self.settling.open.clear();
        self.settling.at_work.clear();
        let mut batch = Batch::default();
        self.settling.stable.retain(|tree, stable| {
            match tree.1 == gained {
                true => stable.come(bucket),
                false => stable.leave(bucket),
            }
            let stays = stable.later() <= LATER_MAX;
            match stays {
                true => {
                    let row = codec::encode(&(factors, &*stable));
                    batch.put(Family::Meta, stable_key(*tree), row);
                }
                false => batch.delete(Family::Meta, stable_key(*tree)),
            }
            stays
        });
        self.commit(batch).map(drop)
    }

    /// This node forgets something of the object, with `batch`: what is not known to it is not
    /// dead any more because it is stable.
    pub(super) fn unsettle(&mut self, view: &View, object: &ObjectId, batch: &mut Batch) {
        let tree = Self::tree_of(view, object);
        self.settling.agreed.remove(&tree);
        self.settling.at_work.remove(&tree);
        if self.settling.stable.remove(&tree).is_some() {
            batch.delete(Family::Meta, stable_key(tree));
        }
    }

    pub(super) fn note_tree(&mut self, view: &View, (partition, n): TreeKey) {
        let leads = |layout: &std::sync::Arc<crate::placement::Layout>| {
            layout.preference(partition, n).owners().first() == Some(&view.me)
        };
        if n != N_ALL && view.layout.as_ref().is_some_and(leads) {
            self.settling.candidates.entry((partition, n)).or_default();
        }
    }

    /// Settles a little, and begins the rounds that are due.
    pub(super) fn settle_some(&mut self, view: &View, now: Time) {
        if self.settling.wait_us > now.mono_us {
            return;
        }
        if let Err(error) = self.settle_step(view, now) {
            self.refusal(error);
            self.settling.wait_us = now.mono_us + RETRY_US;
        }
    }

    fn settle_step(&mut self, view: &View, now: Time) -> Result<(), StoreError> {
        if view.layout.is_none() {
            self.settling.wait_us = now.mono_us + RETRY_US;
            return Ok(());
        }
        if !self.settling.looked {
            self.settling.looked = true;
            let trees: Vec<TreeKey> = self.trees.keys().collect();
            trees.into_iter().for_each(|tree| self.note_tree(view, tree));
        }
        if let Some((tree, unchanged)) = self.settling.at_work.pop_first() {
            return self.settle_headers(tree, unchanged);
        }
        self.settling.open.retain(|_, round| round.give_up_us > now.mono_us);
        let interval_us = u64::from(self.config.settle_ms) * 1_000;
        for due in self.settling.candidates.values_mut() {
            due.get_or_insert(now.mono_us + interval_us);
        }
        let candidates = self.settling.candidates.iter();
        let due: Vec<TreeKey> = candidates
            .filter(|(_, due)| due.is_none_or(|due| due <= now.mono_us))
            .map(|(tree, _)| *tree)
            .take(OPEN_MAX.saturating_sub(self.settling.open.len()))
            .collect();
        if due.is_empty() && self.settling.due().is_some_and(|due| due <= now.mono_us) {
            // As many as may be are open.
            self.settling.wait_us = now.mono_us + RETRY_US;
        }
        for tree in due {
            self.propose(view, now, tree)?;
        }
        Ok(())
    }

    /// Asks all members whether the dots of what is removed in the tree are known wherever they
    /// must be.
    fn propose(&mut self, view: &View, now: Time, tree: TreeKey) -> Result<(), StoreError> {
        let mut stable = self.removed_in(view, tree)?;
        if stable.is_empty() {
            self.settling.candidates.remove(&tree);
            return Ok(());
        }
        if let Some(known) = self.settling.stable.get(&tree)
            && known.later() > 0
            && known.most().len() + stable.len() <= ACTORS_MAX
        {
            // The same is asked of the buckets that came later.
            stable.join(known.most());
        }
        let again_us = now.mono_us + u64::from(self.config.settle_ms) * 1_000;
        self.settling.candidates.insert(tree, Some(again_us));
        let Some(layout) = view.layout.clone() else { return Ok(()) };
        if !layout.members.iter().all(|member| view.is_alive(member.id)) {
            return Ok(());
        }
        self.metrics.count(Metric::SettleRounds);
        self.settling.rounds += 1;
        let number = self.settling.rounds ^ self.actor.epoch;
        let give_up_us = now.mono_us + PATIENCE_US;
        let round = Round { number, agreed: BTreeSet::new(), give_up_us };
        self.settling.open.insert(tree, round);
        let (partition, n) = tree;
        let (root, factors) = (self.trees.root(tree), self.settling.factors);
        for member in &layout.members {
            let stable = stable.clone();
            let ask = Settle::Ask { number, root, factors, stable };
            self.send(member.id, PeerBody::Settle { partition, n, what: ask });
        }
        Ok(())
    }

    /// A message about stability; `busy`: this node works on a write in that partition.
    pub(super) fn on_settle(
        &mut self,
        view: &View,
        now: Time,
        from: NodeId,
        tree: TreeKey,
        what: Settle,
        busy: bool,
    ) {
        let handled = match what {
            Settle::Ask { number, root, factors, stable } => {
                let equal = Equal { root, factors };
                self.on_ask(view, now, from, tree, number, equal, stable, busy)
            }
            Settle::Agree { number } => {
                self.on_agree(view, from, tree, number);
                Ok(())
            }
            Settle::Done { number } => {
                let agreed = self.settling.agreed.remove(&tree);
                match agreed.filter(|a| (a.leader, a.number) == (from, number)) {
                    Some(agreed) => {
                        let learn = |known: &mut StableByBucket| known.add(&agreed.stable);
                        self.adopt(view, tree, learn, agreed.unchanged)
                    }
                    None => Ok(()),
                }
            }
            Settle::Forgotten { object, dots } => self.on_forgotten(view, from, &object, &dots),
            Settle::Known { root, factors, stable } => {
                self.on_known(view, from, tree, &Equal { root, factors }, &stable)
            }
        };
        if let Err(error) = handled {
            self.refusal(error);
        }
    }

    #[allow(clippy::too_many_arguments)] // The fields of one message.
    fn on_ask(
        &mut self,
        view: &View,
        now: Time,
        from: NodeId,
        tree: TreeKey,
        number: u64,
        equal: Equal,
        stable: Stable,
        busy: bool,
    ) -> Result<(), StoreError> {
        let (partition, n) = tree;
        let Some(layout) = &view.layout else { return Ok(()) };
        if partition >= PARTITIONS || n == N_ALL || stable.len() > ACTORS_MAX {
            return Ok(());
        }
        let leads = layout.preference(partition, n).owners().first() == Some(&from);
        let owner = layout.owns(view.me, partition, n);
        let early = self.config.is_mutant(Mutant::SettleEarly);
        let long_up = now.mono_us
            >= self.settling.opened_us + u64::from(self.config.settle_ms).saturating_mul(1_000);
        let still = leads
            && long_up
            && !busy
            && equal.factors == self.settling.factors
            && self.trees.root(tree) == if owner { equal.root } else { 0 }
            && !self.mending.is_in(partition)
            && !self.owes_in(partition)?;
        if !still && !early {
            return Ok(());
        }
        let floor = self.settling.floors.entry(partition).or_default();
        *floor = (*floor).max(stable.upto(self.actor));
        if owner {
            let known = self.settling.stable.get(&tree).cloned().unwrap_or_default();
            let mut joined = known;
            joined.add(&stable);
            let (_, unchanged) = self.settled_tree(view, tree, &joined)?;
            let agreed = Agreed { leader: from, number, stable, unchanged };
            self.settling.agreed.insert(tree, agreed);
        }
        let what = Settle::Agree { number };
        self.send(from, PeerBody::Settle { partition, n, what });
        Ok(())
    }

    fn on_agree(&mut self, view: &View, from: NodeId, tree: TreeKey, number: u64) {
        let Some(layout) = &view.layout else { return };
        let Some(round) = self.settling.open.get_mut(&tree).filter(|r| r.number == number) else {
            return;
        };
        round.agreed.insert(from);
        if !layout.members.iter().all(|member| round.agreed.contains(&member.id)) {
            return;
        }
        self.settling.open.remove(&tree);
        self.metrics.count(Metric::SettleAgreed);
        let (partition, n) = tree;
        for owner in layout.preference(partition, n).owners().to_vec() {
            let what = Settle::Done { number };
            self.send(owner, PeerBody::Settle { partition, n, what });
        }
    }

    /// What an owner takes for stable whose tree is equal but for what need not be kept is so here.
    fn on_known(
        &mut self,
        view: &View,
        from: NodeId,
        tree: TreeKey,
        equal: &Equal,
        stable: &StableByBucket,
    ) -> Result<(), StoreError> {
        let both = super::exchange::common(view, from, tree);
        let large = stable.most().len() > ACTORS_MAX || stable.later() > LATER_MAX;
        if !both || equal.factors != self.settling.factors || large {
            return Ok(());
        }
        let mut joined = self.settling.stable.get(&tree).cloned().unwrap_or_default();
        let before = joined.clone();
        joined.join(stable);
        if joined == before {
            return self.fill_tree(view, tree);
        }
        let (root, _) = self.settled_tree(view, tree, &joined)?;
        match root == equal.root {
            true => self.adopt(view, tree, |known| known.join(stable), Vec::new()),
            false => Ok(()),
        }
    }

    /// Tells a peer whose tree differs what is stable here: it may not know.
    pub(super) fn tell_stable(&mut self, view: &View, to: NodeId, tree: TreeKey) {
        let Some(stable) = self.settling.stable.get(&tree).cloned() else { return };
        let (partition, n) = tree;
        let Ok((root, _)) = self.settled_tree(view, tree, &stable) else { return };
        let factors = self.settling.factors;
        let what = Settle::Known { root, factors, stable };
        self.send(to, PeerBody::Settle { partition, n, what });
    }

    fn adopt(
        &mut self,
        view: &View,
        tree: TreeKey,
        learn: impl FnOnce(&mut StableByBucket),
        unchanged: Unchanged,
    ) -> Result<(), StoreError> {
        let mut joined = self.settling.stable.get(&tree).cloned().unwrap_or_default();
        learn(&mut joined);
        let mut batch = Batch::default();
        let row = codec::encode(&(self.settling.factors, joined.clone()));
        batch.put(Family::Meta, stable_key(tree), row);
        self.commit(batch)?;
        self.settling.stable.insert(tree, joined);
        self.settling.at_work.insert(tree, unchanged);
        self.fill_tree(view, tree)
    }

    /// Whether this node owes anybody anything in the partition.
    fn owes_in(&self, partition: u16) -> Result<bool, StoreError> {
        let mut owes = false;
        for target in self.hints.targets() {
            let prefix = [&target.0.to_be_bytes()[..], &partition.to_be_bytes()].concat();
            let end = prefix_end(&prefix);
            self.store.scan(Family::Hints, &prefix, end.as_deref(), &mut |_, _| {
                owes = true;
                Visit::Stop
            })?;
        }
        Ok(owes)
    }
}

/// What must be equal for two owners to know the same.
struct Equal {
    root: u64,
    factors: u64,
}
