//! Anti-entropy: replicas compare digest trees and send each other what differs.
//!
//! One round: A sends one digest over everything in common, and where all is equal that is all. B
//! answers with its roots; A with the leaves of trees that differ; B sends the objects in the
//! leaves that differ, with digests; A sends its state of those and pulls B's.
//! Nothing waits for an answer: a lost message is made good by the next round.

use super::keys::{object_key, parse_object_key};
use super::rows;
use super::trees::{LEAVES, TreeKey, leaf_of};
use super::{Mutant, Replica};
use crate::cluster::View;
use crate::crdt::{NodeId, ObjectId};
use crate::metrics::Metric;
use crate::placement::PARTITIONS;
use crate::store::{Family, Store, StoreError, Visit};
use crate::time::Time;
use crate::wire::codec;
use crate::wire::peer::{PeerBody, TreeRoot};
use std::collections::{BTreeMap, BTreeSet};
use xxhash_rust::xxh3::Xxh3;

/// Objects listed in one message.
const LIST_MAX: usize = 1_024;
/// Bytes of state sent in answer to one message; the rest waits for the next round.
const STATE_BYTES_MAX: usize = 4 << 20;
/// A round that was cut short is followed by the next one after so long, µs.
const SOON_US: u64 = 1_000_000;
/// Between rounds with several peers that are to come soon, µs.
const APART_US: u64 = 10_000;
/// Sets of more members travel by pages.
const WHOLE_ROWS_MAX: u64 = 256;

/// When to compare with whom.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    next_us: BTreeMap<NodeId, u64>,
    compared: BTreeMap<NodeId, Compared>,
    opened_us: u64,
}

/// What the last comparison with one peer found.
#[derive(Debug)]
struct Compared {
    /// When it was.
    at_us: u64,
    /// Partitions that differed, and when each was last found equal.
    differing: BTreeMap<u16, u64>,
}

impl Exchange {
    /// Nothing is compared yet.
    pub(super) fn new(now_us: u64) -> Exchange {
        Exchange { opened_us: now_us, ..Exchange::default() }
    }

    /// Notes a comparison with `peer`; all partitions but `differing` were equal.
    fn note(&mut self, view: &View, peer: NodeId, now_us: u64, differing: BTreeSet<u16>) {
        if !view.layout.as_ref().is_some_and(|layout| layout.has(peer)) {
            return;
        }
        let before = self.compared.get(&peer);
        let proven_us = |partition: &u16| match before {
            Some(last) => *last.differing.get(partition).unwrap_or(&last.at_us),
            None => self.opened_us,
        };
        let differing = differing.into_iter().map(|at| (at, proven_us(&at))).collect();
        self.compared.insert(peer, Compared { at_us: now_us, differing });
    }

    /// Since when some partition was not found equal to some other member's, at the most, µs.
    pub(super) fn unproven_us(&self, view: &View, now_us: u64) -> u64 {
        let Some(layout) = &view.layout else { return 0 };
        let others = layout.members.iter().filter(|member| member.id != view.me);
        let proven_us = others.map(|member| match self.compared.get(&member.id) {
            Some(last) => last.differing.values().copied().min().unwrap_or(last.at_us),
            None => self.opened_us,
        });
        proven_us.min().map_or(0, |proven_us| now_us.saturating_sub(proven_us))
    }

    pub(super) fn due(&self) -> Option<u64> {
        self.next_us.values().copied().min()
    }
}

/// The content of [`PeerBody::Objects`].
pub(super) struct Listed {
    pub(super) partition: u16,
    pub(super) n: u8,
    pub(super) after: Option<ObjectId>,
    pub(super) leaves: u64,
    pub(super) objects: Vec<(ObjectId, u64)>,
    pub(super) more: bool,
}

impl<S: Store> Replica<S> {
    /// Compares with `peer` soon: it was away, or a round was cut short.
    pub(super) fn exchange_soon(&mut self, peer: NodeId, now: Time) {
        let due = now.mono_us + SOON_US;
        let next = self.exchange.next_us.entry(peer).or_insert(due);
        *next = (*next).min(due);
    }

    /// Compares with all of `peers` soon, each node in another order, so that no peer is asked by
    /// all at once.
    pub(super) fn exchange_soon_with_all(
        &mut self,
        view: &View,
        peers: &BTreeSet<NodeId>,
        now: Time,
    ) {
        let from_here = peers.range(view.me..).chain(peers.range(..view.me));
        for (rank, peer) in from_here.enumerate() {
            let later = Time { mono_us: now.mono_us + rank as u64 * APART_US, ..now };
            self.exchange_soon(*peer, later);
        }
    }

    /// Begins the rounds that are due.
    pub(super) fn exchange_due(&mut self, view: &View, now: Time) {
        if self.exchange.due().is_none_or(|due| due > now.mono_us) {
            return;
        }
        let interval_us = u64::from(self.config.exchange_ms) * 1_000;
        let due: Vec<NodeId> = self
            .exchange
            .next_us
            .iter()
            .filter(|(_, due)| **due <= now.mono_us)
            .map(|(peer, _)| *peer)
            .collect();
        for peer in due {
            if !view.is_alive(peer) {
                // Its return schedules the next round.
                self.exchange.next_us.remove(&peer);
                continue;
            }
            self.exchange.next_us.insert(peer, now.mono_us + interval_us);
            if !self.config.is_mutant(Mutant::DropHint) {
                self.begin_round(view, peer);
            }
        }
    }

    fn begin_round(&mut self, view: &View, peer: NodeId) {
        if view.layout.is_some() {
            self.metrics.count(Metric::Exchanges);
            let summary = self.summary(view, peer);
            self.send(peer, PeerBody::Summary(summary));
        }
    }

    /// A digest over the roots of all trees in common with `peer` that hold anything.
    fn summary(&self, view: &View, peer: NodeId) -> u64 {
        let mut hash = Xxh3::new();
        for ((partition, n), root) in self.trees.roots() {
            if common(view, peer, (partition, n)) {
                hash.update(&partition.to_le_bytes());
                hash.update(&[n]);
                hash.update(&root.to_le_bytes());
            }
        }
        hash.digest()
    }

    /// The peer's summary: where it differs the comparison goes on with the roots.
    pub(super) fn on_summary(&mut self, view: &View, now: Time, from: NodeId, theirs: u64) {
        let Some(layout) = &view.layout else { return };
        if self.summary(view, from) == theirs {
            self.exchange.note(view, from, now.mono_us, BTreeSet::new());
            return;
        }
        // Trees of buckets the peer may have data in while this node has none count too.
        let mut factors: Vec<u8> = self.trees.keys().map(|(_, n)| n).collect();
        factors.extend(view.buckets.values().map(|props| props.n));
        factors.extend([view.default_bucket.n, crate::placement::N_ALL]);
        factors.sort_unstable();
        factors.dedup();
        let mut roots = Vec::new();
        for partition in 0..PARTITIONS {
            for &n in &factors {
                let both = layout.owns(view.me, partition, n) && layout.owns(from, partition, n);
                if both {
                    roots.push(TreeRoot { partition, n, root: self.trees.root((partition, n)) });
                }
            }
        }
        self.send(from, PeerBody::Roots(roots));
    }

    pub(super) fn on_roots(&mut self, view: &View, now: Time, from: NodeId, roots: &[TreeRoot]) {
        let mut differing = BTreeSet::new();
        for root in roots.iter().take(usize::from(PARTITIONS) * 8) {
            let key = (root.partition, root.n);
            if !common(view, from, key) || self.trees.root(key) == root.root {
                continue;
            }
            let leaves = self.trees.leaves(key).to_vec();
            let (partition, n) = key;
            differing.insert(partition);
            self.send(from, PeerBody::Leaves { partition, n, leaves });
            self.tell_stable(view, from, key);
        }
        self.exchange.note(view, from, now.mono_us, differing);
    }

    pub(super) fn on_leaves(
        &mut self,
        view: &View,
        from: NodeId,
        partition: u16,
        n: u8,
        theirs: &[u64],
    ) {
        if !common(view, from, (partition, n)) || theirs.len() != LEAVES {
            return;
        }
        let mine = self.trees.leaves((partition, n));
        let differ = (0..LEAVES).filter(|at| mine[*at] != theirs[*at]);
        let leaves = differ.fold(0u64, |bits, at| bits | 1 << at);
        if leaves == 0 {
            return;
        }
        self.tell_stable(view, from, (partition, n));
        let mut after = None;
        loop {
            let listed = self.list(view, (partition, n), leaves, after.as_ref());
            let Ok((objects, more)) = listed.map_err(|error| self.refusal(error)) else { return };
            let last = objects.last().map(|(object, _)| object.clone());
            self.send(from, PeerBody::Objects { partition, n, after, leaves, objects, more });
            if !more {
                return;
            }
            after = last;
        }
    }

    /// Objects of one tree in some leaves, in the order of their keys, and whether there are more.
    #[allow(clippy::type_complexity)] // A page.
    fn list(
        &self,
        view: &View,
        (partition, n): TreeKey,
        leaves: u64,
        after: Option<&ObjectId>,
    ) -> Result<(Vec<(ObjectId, u64)>, bool), StoreError> {
        let from = match after {
            Some(object) => [&object_key(object)[..], &[0]].concat(),
            None => partition.to_be_bytes().to_vec(),
        };
        let end = super::keys::prefix_end(&partition.to_be_bytes());
        let (mut objects, mut more) = (Vec::new(), false);
        self.store.scan(Family::Headers, &from, end.as_deref(), &mut |key, bytes| {
            let Some((object, _)) = parse_object_key(key) else { return Visit::Next };
            if leaves & (1 << leaf_of(key)) == 0 || view.n_of(&object.bucket) != n {
                return Visit::Next;
            }
            if objects.len() == LIST_MAX {
                more = true;
                return Visit::Stop;
            }
            let digest = self.trees.counted_row(key, bytes);
            if digest != 0 {
                objects.push((object, digest));
            }
            Visit::Next
        })?;
        Ok((objects, more))
    }

    pub(super) fn on_objects(&mut self, view: &View, now: Time, from: NodeId, listed: Listed) {
        let key = (listed.partition, listed.n);
        if !common(view, from, key) || listed.objects.len() > LIST_MAX {
            return;
        }
        let mine = self.list_between(view, key, &listed);
        let Ok(mine) = mine.map_err(|error| self.refusal(error)) else { return };
        let theirs: BTreeMap<&ObjectId, u64> =
            listed.objects.iter().map(|(object, digest)| (object, *digest)).collect();
        let lacks =
            listed.objects.iter().filter(|(object, digest)| mine.get(object) != Some(digest));
        let wanted: Vec<ObjectId> = lacks.map(|(object, _)| object.clone()).collect();
        let surplus = mine.iter().filter(|(object, digest)| theirs.get(object) != Some(digest));
        let surplus: Vec<ObjectId> = surplus.map(|(object, _)| object.clone()).collect();
        self.metrics.add(Metric::ExchangeObjects, wanted.len().max(surplus.len()) as u64);
        if !wanted.is_empty() {
            self.send(from, PeerBody::Pull(wanted));
        }
        if !self.send_states(from, &surplus) {
            self.exchange_soon(from, now);
        }
    }

    fn list_between(
        &self,
        view: &View,
        key: TreeKey,
        listed: &Listed,
    ) -> Result<BTreeMap<ObjectId, u64>, StoreError> {
        let upto = listed.objects.last().filter(|_| listed.more).map(|(last, _)| object_key(last));
        let mut mine = BTreeMap::new();
        let mut after = listed.after.clone();
        loop {
            let (page, more) = self.list(view, key, listed.leaves, after.as_ref())?;
            after = page.last().map(|(object, _)| object.clone());
            for (object, digest) in page {
                if upto.as_ref().is_some_and(|upto| object_key(&object) > *upto) {
                    return Ok(mine);
                }
                mine.insert(object, digest);
            }
            if !more {
                return Ok(mine);
            }
        }
    }

    pub(super) fn on_pull(&mut self, view: &View, from: NodeId, objects: &[ObjectId]) {
        // Other owners compare, and stand-ins mend what was damaged.
        let member = view.layout.as_ref().is_some_and(|layout| layout.has(from));
        let mine = objects.iter().filter(|object| member && view.owns(object));
        let mine: Vec<_> = mine.take(LIST_MAX).cloned().collect();
        // A damaged copy is none: two owners with one each would wait for each other.
        let lacks = |object: &&ObjectId| {
            self.mending.has(object) || matches!(rows::load(&self.store, object), Ok((_, 0)))
        };
        let absent: Vec<ObjectId> = mine.iter().filter(lacks).cloned().collect();
        if !absent.is_empty() {
            self.send(from, PeerBody::Lacks(absent));
        }
        self.send_states(from, &mine);
    }

    /// Sends the state of `objects` up to a number of bytes; whether all were sent.
    fn send_states(&mut self, to: NodeId, objects: &[ObjectId]) -> bool {
        let mut bytes = 0;
        let me = self.actor.node;
        for object in objects {
            if bytes > STATE_BYTES_MAX {
                return false;
            }
            match self.state_message(object) {
                Ok(Some(body)) => {
                    bytes += codec::encode(&body).len();
                    self.metrics.count(Metric::RepairsSent);
                    let to = if self.config.is_mutant(Mutant::RepairWrongNode) { me } else { to };
                    self.send(to, body);
                }
                Ok(None) => {}
                Err(error) => {
                    self.refusal_of(object, error);
                }
            }
        }
        true
    }

    /// The object whole, or the first page of a large set.
    fn state_message(&self, object: &ObjectId) -> Result<Option<PeerBody>, StoreError> {
        let (header, digest) = rows::load(&self.store, object)?;
        if digest == 0 {
            return Ok(None);
        }
        if header.goes == rows::HUSK {
            let delta = header.object;
            return Ok(Some(PeerBody::Repair { object: object.clone(), delta }));
        }
        if header.rows.held > WHOLE_ROWS_MAX {
            return self.page(object, None).map(Some);
        }
        let (_, delta) = rows::load_whole(&self.store, object)?;
        Ok(Some(PeerBody::Repair { object: object.clone(), delta }))
    }
}

/// Whether both this node and the peer own the tree.
pub(super) fn common(view: &View, peer: NodeId, (partition, n): TreeKey) -> bool {
    partition < PARTITIONS
        && view.layout.as_ref().is_some_and(|layout| {
            layout.owns(view.me, partition, n) && layout.owns(peer, partition, n)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::{Layout, LayoutMember};
    use std::sync::Arc;

    #[test]
    fn a_partition_that_is_never_equal_ages_though_all_others_are() {
        let member = |name: &str| {
            let (id, name, zone) = (NodeId::of_name(name), name.to_owned(), "z".to_owned());
            LayoutMember { id, name, zone, capacity: 1 }
        };
        let (me, peer) = (NodeId::of_name("me"), NodeId::of_name("peer"));
        let mut view = View::new(me);
        view.set_layout(Arc::new(Layout::first(vec![member("me"), member("peer")])));
        let mut exchange = Exchange::new(10);
        assert_eq!(exchange.unproven_us(&view, 15), 5, "never compared");
        for (now_us, differing, proven_us) in [
            (20, vec![], 20),
            (30, vec![7], 20),
            (40, vec![7, 8], 20),
            (50, vec![8], 30),
            (60, vec![], 60),
        ] {
            exchange.note(&view, peer, now_us, differing.into_iter().collect());
            exchange.note(&view, NodeId::of_name("stranger"), now_us, BTreeSet::new());
            assert_eq!(exchange.unproven_us(&view, 100), 100 - proven_us, "at {now_us}");
        }
        assert_eq!(exchange.compared.len(), 1);
    }
}
