//! Hints: marks of what other nodes missed. A mark is (target, object, row) and the dots missed;
//! the data is in the rows. So marks coalesce, and their number is bounded by distinct rows.
//!
//! Each mark is a delta of its own: the row as it is now, plus the dots missed. One batch a target
//! is under way at a time; a mark goes when the target has the batch on disk, and what was missed
//! in the meantime stays.

use super::Replica;
use super::expiry::expired_word;
use super::keys::{Marked, hint_key, object_key, parse_hint_key, prefix_end};
use super::rows;
use crate::cluster::View;
use crate::config::Mutant;
use crate::crdt::expiry::bucket_of;
use crate::crdt::{CausalContext, NodeId, Object, ObjectId, Rows};
use crate::metrics::Metric;
use crate::placement::LayoutId;
use crate::store::{Batch, Family, Store, StoreError, Visit};
use crate::time::Time;
use crate::wire::codec;
use crate::wire::peer::PeerBody;
use std::collections::{BTreeMap, BTreeSet};

/// Marks delivered in one batch.
const BATCH_MARKS: usize = 512;
/// Bytes of state delivered in one batch, at least one object.
const BATCH_BYTES: usize = 1 << 20;
/// A batch is sent again when its answer has not come for so many retry intervals.
const PATIENCE: u64 = 5;

/// What the node knows of its marks without reading them.
#[derive(Debug, Default)]
pub(super) struct Hints {
    pending: BTreeMap<NodeId, u64>,
    /// Since when each target of those has been owed something, µs.
    since_us: BTreeMap<NodeId, u64>,
    under_way: BTreeMap<NodeId, UnderWay>,
    /// Members heard lately, to notice those that come back.
    alive: BTreeSet<NodeId>,
    /// Which start of each of them that was, and the layout it worked with.
    lives: BTreeSet<(NodeId, u64, LayoutId)>,
    batches: u64,
    next_us: Option<u64>,
}

#[derive(Debug)]
struct UnderWay {
    batch: u64,
    sent_us: u64,
    give_up_us: u64,
    /// Key and bytes of each mark as sent.
    marks: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A row that a delta speaks of, with the dots that it says of it.
pub(super) type Part = (Marked, CausalContext);

/// A mark that a batch will add or extend.
pub(super) struct Mark {
    target: NodeId,
    new: bool,
}

impl Hints {
    pub(super) fn open<S: Store>(store: &S) -> Result<Hints, StoreError> {
        let mut hints = Hints::default();
        store.scan(Family::Hints, b"", None, &mut |key, _| {
            if let Some((target, ..)) = parse_hint_key(key) {
                *hints.pending.entry(target).or_default() += 1;
            }
            Visit::Next
        })?;
        hints.next_us = (!hints.pending.is_empty()).then_some(0);
        Ok(hints)
    }

    pub(super) fn pending(&self) -> u64 {
        self.pending.values().sum()
    }

    pub(super) fn pending_for(&self, node: NodeId) -> u64 {
        self.pending.get(&node).copied().unwrap_or(0)
    }

    pub(super) fn due(&self) -> Option<u64> {
        self.next_us
    }

    /// For how long the target that has waited longest has been owed something, µs.
    pub(super) fn oldest_us(&self, now_us: u64) -> u64 {
        self.since_us.values().min().map_or(0, |since_us| now_us.saturating_sub(*since_us))
    }

    /// Notes when targets began to be owed something.
    fn note_since(&mut self, now_us: u64) {
        for target in self.pending.keys() {
            self.since_us.entry(*target).or_insert(now_us);
        }
    }

    /// Nodes that something is owed to.
    pub(super) fn targets(&self) -> impl Iterator<Item = NodeId> {
        self.pending.keys().copied()
    }

    fn settle(&mut self, target: NodeId, delivered: u64) {
        let left = self.pending_for(target).saturating_sub(delivered);
        match left {
            0 => {
                self.since_us.remove(&target);
                self.pending.remove(&target)
            }
            _ => self.pending.insert(target, left),
        };
    }
}

impl<S: Store> Replica<S> {
    /// Adds to `batch` the marks that `delta` is owed to each of `targets`.
    pub(super) fn mark(
        &mut self,
        object: &ObjectId,
        delta: &Object,
        targets: &[NodeId],
        batch: &mut Batch,
    ) -> Result<Vec<Mark>, StoreError> {
        match targets {
            [] => Ok(Vec::new()),
            _ => self.mark_parts(&object_key(object), &parts_of(delta), targets, batch),
        }
    }

    /// The same of the rows that a delta spoke of.
    pub(super) fn mark_parts(
        &mut self,
        base: &[u8],
        parts: &[Part],
        targets: &[NodeId],
        batch: &mut Batch,
    ) -> Result<Vec<Mark>, StoreError> {
        let mut marks = Vec::new();
        if self.config.is_mutant(Mutant::DropHint) {
            return Ok(marks);
        }
        for &target in targets {
            if self.hints.pending_for(target) >= self.config.hints_max {
                self.metrics.add(Metric::HintsDropped, parts.len() as u64);
                continue;
            }
            for (marked, said) in parts {
                let key = hint_key(target, base, marked);
                let old = self.store.get(Family::Hints, &key)?;
                let mut missed = said.clone();
                match old.as_deref().map(codec::decode::<CausalContext>) {
                    Some(Ok(old)) => missed.join(&old),
                    // A mark that cannot be read stays: it stands for the whole object.
                    Some(Err(_)) => continue,
                    None => {}
                }
                let bytes = codec::encode(&missed);
                if old.as_ref() != Some(&bytes) {
                    batch.put(Family::Hints, key, bytes);
                    marks.push(Mark { target, new: old.is_none() });
                }
            }
        }
        Ok(marks)
    }

    /// Counts the marks once their batch is written.
    pub(super) fn count_marks(&mut self, marks: &[Mark]) {
        for mark in marks.iter().filter(|mark| mark.new) {
            *self.hints.pending.entry(mark.target).or_default() += 1;
            self.metrics.count(Metric::HintsMade);
        }
        if !marks.is_empty() && self.hints.next_us.is_none() {
            self.hints.next_us = Some(0);
        }
    }

    /// Sends a batch to each target that is alive and has none under way.
    pub(super) fn deliver_hints(&mut self, view: &View, now: Time) {
        if self.hints.next_us.is_none_or(|due| due > now.mono_us) {
            return;
        }
        self.hints.note_since(now.mono_us);
        if view.layout.is_none() {
            // Damaged on disk: until a member has sent it nobody can tell who owns what, and every
            // mark would look like one for a stranger.
            self.hints.next_us = Some(now.mono_us + u64::from(self.config.hint_retry_ms) * 1_000);
            return;
        }
        let retry_us = u64::from(self.config.hint_retry_ms) * 1_000;
        self.hints.under_way.retain(|_, batch| batch.give_up_us > now.mono_us);
        let idle: Vec<_> = self
            .hints
            .targets()
            .filter(|target| view.is_alive(*target) && !self.hints.under_way.contains_key(target))
            .collect();
        for target in idle {
            self.deliver_to(view, now, target);
        }
        self.hints.next_us = (!self.hints.pending.is_empty()).then_some(now.mono_us + retry_us);
    }

    /// Members changed: targets that came back get their hints at once. What a member that went
    /// away had begun to spread nobody owes: those that are left compare.
    pub fn members_changed(&mut self, view: &View, now: Time) {
        let heard = || view.members.iter().filter(|m| m.alive && m.id != view.me);
        let alive: BTreeSet<_> = heard().map(|m| m.id).collect();
        let lives = heard().map(|m| (m.id, m.generation, m.layout)).collect();
        self.members_renewed(view, &alive, lives, now);
        let came_back: Vec<_> = alive.difference(&self.hints.alive).copied().collect();
        if !self.hints.alive.is_subset(&alive) {
            self.exchange_soon_with_all(view, &alive, now);
        }
        self.hints.alive = alive;
        for node in came_back {
            self.hints.under_way.remove(&node);
            if self.hints.pending_for(node) > 0 {
                self.hints.next_us = Some(now.mono_us);
            }
            self.exchange_soon(node, now);
        }
    }

    /// What was sent to a process that has ended since, or had no layout, is lost: it is sent again
    /// at once. And nobody owes what such a process had begun to spread, as when a member is away.
    fn members_renewed(
        &mut self,
        view: &View,
        alive: &BTreeSet<NodeId>,
        lives: BTreeSet<(NodeId, u64, LayoutId)>,
        now: Time,
    ) {
        let began = |lives: &BTreeSet<(NodeId, u64, LayoutId)>| -> BTreeMap<NodeId, u64> {
            lives.iter().map(|(node, generation, _)| (*node, *generation)).collect()
        };
        let before = began(&self.hints.lives);
        let again = |(node, at): (&NodeId, &u64)| before.get(node).is_some_and(|then| then != at);
        if began(&lives).iter().any(again) {
            self.exchange_soon_with_all(view, alive, now);
        }
        for (node, ..) in lives.difference(&self.hints.lives) {
            if self.hints.pending_for(*node) > 0 {
                self.hints.under_way.remove(node);
                self.hints.next_us = Some(now.mono_us);
            }
        }
        self.hints.lives = lives;
    }

    /// A peer answers that was silent: what it was sent meanwhile is lost, unless its answer comes
    /// within the interval of one retry.
    pub fn answers_again(&mut self, node: NodeId, now: Time) {
        let retry_us = u64::from(self.config.hint_retry_ms) * 1_000;
        let Some(batch) = self.hints.under_way.get_mut(&node) else { return };
        batch.give_up_us = batch.give_up_us.min(batch.sent_us + retry_us);
        let due_us = batch.give_up_us.max(now.mono_us);
        self.hints.next_us = self.hints.next_us.map(|next_us| next_us.min(due_us));
    }

    fn deliver_to(&mut self, view: &View, now: Time, target: NodeId) {
        let prefix = target.0.to_be_bytes();
        let mut found = Vec::new();
        let scanned = self.store.scan(
            Family::Hints,
            &prefix,
            prefix_end(&prefix).as_deref(),
            &mut |key, value| {
                found.push((key.to_vec(), value.to_vec()));
                if found.len() < BATCH_MARKS { Visit::Next } else { Visit::Stop }
            },
        );
        if let Err(error) = scanned {
            self.refusal(error);
            return;
        }
        let (found, strays): (Vec<_>, Vec<_>) = found.into_iter().partition(|(key, _)| {
            parse_hint_key(key).is_none_or(|(_, object, _)| view.owned_by(target, &object))
        });
        if !strays.is_empty() {
            self.readdress(view, target, strays);
        }
        let (items, marks) = self.owed(now, found);
        if marks.is_empty() {
            return;
        }
        self.hints.batches += 1;
        let batch = self.hints.batches;
        let patience_us = PATIENCE * u64::from(self.config.hint_retry_ms) * 1_000;
        let (sent_us, give_up_us) = (now.mono_us, now.mono_us + patience_us);
        if items.is_empty() {
            // Nothing is left to say, as after a repair of the store.
            self.forget_marks(view, target, marks);
            return;
        }
        self.hints.under_way.insert(target, UnderWay { batch, sent_us, give_up_us, marks });
        self.send(target, PeerBody::Handoff { batch, items });
    }

    /// Marks for a node that does not own their objects, as of a time when this node knew the
    /// bucket by other properties: whoever owns them now is owed what they say. Where this node
    /// owns the object itself, the comparison of trees sees to that.
    fn readdress(&mut self, view: &View, target: NodeId, strays: Vec<(Vec<u8>, Vec<u8>)>) {
        let mut batch = Batch::default();
        let mut marks = Vec::new();
        let gone = strays.len() as u64;
        for (key, missed) in strays {
            batch.delete(Family::Hints, key.clone());
            let Some((_, object, marked)) = parse_hint_key(&key) else { continue };
            if view.owns(&object) {
                continue;
            }
            for owner in view.owners(&object) {
                let key = hint_key(owner, &object_key(&object), &marked);
                match self.store.get(Family::Hints, &key) {
                    Ok(None) => {
                        batch.put(Family::Hints, key, missed.clone());
                        marks.push(Mark { target: owner, new: true });
                    }
                    Ok(Some(had)) => {
                        let both = [&had, &missed].map(|m| codec::decode::<CausalContext>(m));
                        if let [Ok(mut had), Ok(missed)] = both {
                            had.join(&missed);
                            batch.put(Family::Hints, key, codec::encode(&had));
                        }
                    }
                    Err(error) => {
                        self.refusal(error);
                        return;
                    }
                }
            }
        }
        match self.commit(batch) {
            Ok(_) => {
                self.hints.settle(target, gone);
                self.count_marks(&marks);
            }
            Err(error) => {
                self.refusal(error);
            }
        }
    }

    /// The deltas that these marks stand for, up to the limit of a batch.
    #[allow(clippy::type_complexity)] // Items and the marks they settle.
    fn owed(
        &mut self,
        now: Time,
        found: Vec<(Vec<u8>, Vec<u8>)>,
    ) -> (Vec<(ObjectId, Object)>, Vec<(Vec<u8>, Vec<u8>)>) {
        let (mut items, mut taken, mut bytes) = (Vec::new(), Vec::new(), 0);
        for (key, value) in found {
            let Some((_, object, marked)) = parse_hint_key(&key) else {
                self.metrics.count(Metric::CorruptRows);
                taken.push((key, value));
                continue;
            };
            let missed = codec::decode::<CausalContext>(&value).ok();
            if missed.is_none() {
                self.metrics.count(Metric::CorruptRows);
            }
            match self.owed_delta(now, &object, &marked, missed.as_ref()) {
                Ok(delta) => {
                    bytes += codec::encode(&delta).len();
                    items.push((object, delta));
                    taken.push((key, value));
                }
                Err(error) => {
                    // Left marked until the object is mended.
                    self.refusal_of(&object, error);
                }
            }
            if bytes >= BATCH_BYTES {
                break;
            }
        }
        (items, taken)
    }

    fn owed_delta(
        &self,
        now: Time,
        object: &ObjectId,
        marked: &Marked,
        missed: Option<&CausalContext>,
    ) -> Result<Object, StoreError> {
        let (header, _) = rows::load(&self.store, object)?;
        let Some(head) = header.object.rows() else { return Ok(header.object) };
        if header.is_expired(bucket_of(now.wall_ms)) {
            // What it held is owed to nobody any more; that it expired still is, and by which
            // setting in place of which.
            let missed = missed.filter(|_| *marked == Marked::Expiry);
            let none = CausalContext::new();
            let missed = missed.unwrap_or(&none);
            let unseen = missed.minus(&head.context);
            return Ok(expired_word(&header, &missed.minus(&unseen)));
        }
        let Some(missed) = missed else {
            // Which dots were missed cannot be read: all of it says it too.
            return rows::load_whole(&self.store, object).map(|(_, whole)| whole);
        };
        let settings = |missed: &CausalContext| {
            let unseen = missed.minus(&head.context);
            header.object.expiry_part(&missed.minus(&unseen))
        };
        let owed = match marked {
            Marked::Expiry => return Ok(settings(missed)),
            Marked::Header => head.clears(),
            Marked::Member(key) => {
                let row = rows::load_row(&self.store, object, head, key)?;
                // Of dots that this copy has not seen, as after it was mended, it says nothing:
                // that they are not here does not mean that they were removed.
                let unseen = missed.minus(&head.context);
                Rows::owed(key, &missed.minus(&unseen), &row)
            }
        };
        // A row that goes with its object is not shown without knowing when.
        let mut owed = Object::with_rows(object.tag, owed);
        if header.goes != 0 {
            let joined = owed.join(&settings(&CausalContext::new()));
            joined.map_err(|why| StoreError::Corrupt(why.to_string()))?;
        }
        Ok(owed)
    }

    pub(super) fn on_handoff(
        &mut self,
        view: &View,
        now: Time,
        from: NodeId,
        batch: u64,
        items: &[(ObjectId, Object)],
    ) {
        // Owners only: anybody else would have no reason to keep it.
        let mut joined = true;
        for (object, delta) in items {
            joined &= view.owns(object) && self.join_owed(view, now, object, delta);
        }
        if joined {
            self.send_durable(from, PeerBody::HandoffDone { batch });
        }
    }

    pub(super) fn on_handoff_done(&mut self, view: &View, now: Time, from: NodeId, batch: u64) {
        let under_way = self.hints.under_way.get(&from);
        if under_way.is_none_or(|under_way| under_way.batch != batch) {
            return;
        }
        let done = self.hints.under_way.remove(&from).expect("just seen");
        // Marks that could not be deleted, as on a full disk, are delivered again with the next
        // retry, not at once: that would go round and round.
        let forgotten = self.forget_marks(view, from, done.marks);
        if forgotten && self.hints.pending_for(from) > 0 {
            self.deliver_to(view, now, from);
        }
    }

    /// Deletes marks that were delivered; of those extended meanwhile the rest stays. Whether that
    /// could be written.
    fn forget_marks(
        &mut self,
        view: &View,
        target: NodeId,
        marks: Vec<(Vec<u8>, Vec<u8>)>,
    ) -> bool {
        let mut batch = Batch::default();
        let mut objects = BTreeSet::new();
        let mut gone = 0;
        for (key, sent) in &marks {
            let current = match self.store.get(Family::Hints, key) {
                Ok(current) => current,
                Err(error) => {
                    self.refusal(error);
                    return false;
                }
            };
            match rest_of(current.as_deref(), sent) {
                Some(rest) => batch.put(Family::Hints, key.clone(), codec::encode(&rest)),
                None => {
                    batch.delete(Family::Hints, key.clone());
                    gone += u64::from(current.is_some());
                }
            }
            objects.extend(parse_hint_key(key).map(|(_, object, _)| object));
        }
        for object in objects.iter().filter(|object| !view.owns(object)) {
            self.queue_collection(object, &mut batch);
        }
        match self.commit(batch) {
            Ok(_) => {
                self.hints.settle(target, gone);
                self.metrics.add(Metric::HintsDelivered, gone);
                true
            }
            Err(error) => {
                self.refusal(error);
                false
            }
        }
    }

    /// Whether anything of the object is still owed to anybody.
    pub(super) fn owes(&self, object: &ObjectId) -> Result<bool, StoreError> {
        Ok(!self.owed_to(object)?.is_empty())
    }

    /// Who is owed something of the object, and which dots.
    pub(super) fn owed_to(
        &self,
        object: &ObjectId,
    ) -> Result<Vec<(NodeId, CausalContext)>, StoreError> {
        let base = object_key(object);
        let mut owed = Vec::new();
        for target in self.hints.targets() {
            let prefix = [&target.0.to_be_bytes()[..], &base].concat();
            let mut missed = CausalContext::new();
            let mut any = false;
            let end = prefix_end(&prefix);
            self.store.scan(Family::Hints, &prefix, end.as_deref(), &mut |_, value| {
                any = true;
                codec::decode(value).iter().for_each(|said| missed.join(said));
                Visit::Next
            })?;
            if any {
                owed.push((target, missed));
            }
        }
        Ok(owed)
    }
}

/// The dots of the object that a store owes to any of `targets`, by the row that they are about
/// (`None`: the header, of a small object all of it), for checks of disks whose node is down;
/// `None` when it owes nothing, or a mark cannot be read.
pub fn owed_dots<S: Store>(
    store: &S,
    object: &ObjectId,
    targets: &[NodeId],
) -> Option<BTreeMap<Option<Vec<u8>>, CausalContext>> {
    let base = object_key(object);
    let mut owed: BTreeMap<_, CausalContext> = BTreeMap::new();
    for target in targets {
        let prefix = [&target.0.to_be_bytes()[..], &base].concat();
        let end = prefix_end(&prefix);
        let mut visit = |key: &[u8], value: &[u8]| {
            let row = match parse_hint_key(key) {
                Some((_, _, Marked::Member(member))) => Some(member),
                _ => None,
            };
            let dots = owed.entry(row).or_default();
            codec::decode::<CausalContext>(value).iter().for_each(|missed| dots.join(missed));
            Visit::Next
        };
        store.scan(Family::Hints, &prefix, end.as_deref(), &mut visit).ok()?;
    }
    (!owed.is_empty()).then_some(owed)
}

/// What a mark still says when `sent` of it was delivered.
fn rest_of(current: Option<&[u8]>, sent: &[u8]) -> Option<CausalContext> {
    let current = current.filter(|current| *current != sent)?;
    let current: CausalContext = codec::decode(current).ok()?;
    let sent = codec::decode(sent).unwrap_or_default();
    Some(current.minus(&sent)).filter(|rest| !rest.is_empty())
}

/// The rows that a delta speaks of, each with the dots it says of that row.
pub(super) fn parts_of(delta: &Object) -> Vec<Part> {
    let Some(rows) = delta.rows() else { return vec![(Marked::Header, delta.context().clone())] };
    // A row may say no more than which totals a removal observed.
    let mut parts: Vec<_> = rows
        .rows
        .iter()
        .map(|(key, row)| (key, row, rows.said_of(key)))
        .filter(|(_, row, said)| !said.is_empty() || !row.is_empty())
        .map(|(key, _, said)| (Marked::Member(key.clone()), said))
        .collect();
    let expiry = rows.said_of_expiry();
    if !expiry.is_empty() {
        parts.push((Marked::Expiry, expiry));
    }
    let clears = rows.clears();
    let waiting: Vec<_> = clears.deferred.values().chain(clears.deferred_under.values()).collect();
    if !clears.cleared.is_empty() || !waiting.is_empty() {
        let mut said = clears.cleared.clone();
        waiting.into_iter().for_each(|waiting| said.join(waiting));
        parts.push((Marked::Header, said));
    }
    parts
}
