//! Rights of bounded counters on the move between replicas; see [`crate::crdt::bounded`].
//!
//! A decrement that the rights here do not cover waits while those who have more are asked, the
//! richest first, until it is covered or everybody was asked. Beside that owners even out: one
//! that has less than a third of a fair share asks for more, before a client has to wait. Whoever
//! is asked gives from its own ledger and has that on disk before it tells, so rights may get lost
//! on the way (to be found by the next exchange of states) and are never in two hands.
//!
//! Rights under an actor of an earlier life of a node rest for ever: after a restart its disk may
//! be an older copy, which knows less of what was used than others do.

use super::Replica;
use super::rows;
use crate::cluster::View;
use crate::crdt::{Bounded, BoundedOp, Dot, NodeId, Object, ObjectId, ObjectOp, TypeTag};
use crate::metrics::Metric;
use crate::store::{Batch, Store};
use crate::time::Time;
use crate::wire::peer::{OpId, PeerBody, Refusal};
use std::collections::{BTreeMap, BTreeSet};

/// Decrements that may wait at once; further ones are refused as not covered.
const WAITING_MAX: usize = 1_024;
/// A replica that was asked has so long to answer before the next ones are asked, µs.
const ROUND_US: u64 = 300_000;
/// A decrement waits no longer than that, µs.
const PATIENCE_US: u64 = 1_500_000;
/// Between two looks at who has too little, µs.
const EVEN_US: u64 = 1_000_000;
/// Objects looked at each time.
const EVEN_OBJECTS: usize = 16;
/// Objects remembered to look at; of others rights move when a decrement asks for them.
const UNEVEN_MAX: usize = 10_000;
/// How often others are asked again about one change of an object.
const EVEN_TRIES: u8 = 3;
/// Objects collected in this life whose floors are kept one by one.
const FORGOTTEN_MAX: usize = 10_000;

/// What moves, and what must not be taken for this life's own any more.
#[derive(Debug, Default)]
pub(super) struct Rights {
    /// Decrements that wait, by who coordinates them.
    waiting: BTreeMap<(NodeId, OpId), Waiting>,
    /// Objects that changed, and how often others were asked since.
    uneven: BTreeMap<ObjectId, u8>,
    /// When they are looked at next, µs.
    even_us: Option<u64>,
    /// Collected in this life: the dots up to there may have used what is not known here now.
    forgotten: BTreeMap<ObjectId, u64>,
    /// The same for all objects, once there were too many.
    floor: u64,
}

/// A decrement that waits for rights.
#[derive(Debug)]
struct Waiting {
    object: ObjectId,
    action: ObjectOp,
    hint_for: Vec<NodeId>,
    asked: BTreeSet<NodeId>,
    /// Those among them that have not answered.
    silent: BTreeSet<NodeId>,
    round_us: u64,
    give_up_us: u64,
}

/// What a decrement lacks.
enum Lack {
    /// Nothing, or what nobody can give: it is applied or refused as it stands.
    Settled,
    /// So many rights for that ledger, which has `have`.
    Rights { run: Dot, have: u64, amount: u64, state: Box<Bounded> },
}

impl Rights {
    pub(super) fn due(&self) -> Option<u64> {
        let even = (!self.uneven.is_empty()).then_some(self.even_us.unwrap_or(0));
        let waiting = self.waiting.values().map(|waits| waits.round_us.min(waits.give_up_us));
        waiting.chain(even).min()
    }

    /// The dots of this actor that its ledger of the object must be newer than.
    pub(super) fn floor_of(&self, object: &ObjectId) -> u64 {
        self.forgotten.get(object).map_or(self.floor, |floor| self.floor.max(*floor))
    }

    /// The object is collected: what this actor wrote to it, up to `highest`, is forgotten.
    pub(super) fn forget(&mut self, object: &ObjectId, highest: u64) {
        if self.forgotten.len() >= FORGOTTEN_MAX {
            self.floor =
                std::mem::take(&mut self.forgotten).into_values().fold(self.floor, u64::max);
        }
        let kept = self.forgotten.entry(object.clone()).or_default();
        *kept = highest.max(*kept);
    }

    /// Decrements that wait, and objects whose rights may be asked for or were just asked for.
    pub(super) fn moving(&self) -> u64 {
        (self.waiting.len() + self.uneven.len()) as u64
    }

    /// Whether an operation waits for rights.
    pub(super) fn is_waiting(&self, key: (NodeId, OpId)) -> bool {
        self.waiting.contains_key(&key)
    }

    /// An object changed here.
    pub(super) fn note_change(&mut self, object: &ObjectId) {
        if self.uneven.len() < UNEVEN_MAX {
            self.uneven.insert(object.clone(), 0);
        }
    }
}

/// Rights by node, those of earlier lives included: which those are only the node itself knows.
fn by_node(state: &Bounded) -> BTreeMap<NodeId, i128> {
    let mut rights = BTreeMap::new();
    for (run, _) in state.ledgers() {
        *rights.entry(run.actor.node).or_default() += state.rights_of(*run).max(0);
    }
    rights
}

fn clamped(rights: i128) -> u64 {
    u64::try_from(rights.max(0)).unwrap_or(u64::MAX)
}

/// What a giver with `own` rights parts with: what is asked for, and of the rest what makes both
/// equal. Who asks for nothing in particular gets as much only if it has less than a third.
fn gift(own: u64, have: u64, amount: u64) -> u64 {
    match amount {
        0 if own / 3 <= have => 0,
        0 => (own - have) / 2,
        amount if amount >= own => own,
        amount => amount + (own - amount).saturating_sub(have.saturating_add(amount)) / 2,
    }
}

impl<S: Store> Replica<S> {
    /// Applies a decrement; first asks others for rights if those here do not cover it.
    pub(super) fn on_take(
        &mut self,
        view: &View,
        now: Time,
        (from, op): (NodeId, OpId),
        object: ObjectId,
        action: ObjectOp,
        hint_for: Vec<NodeId>,
    ) {
        let waits = Waiting {
            object,
            action,
            hint_for,
            asked: BTreeSet::from([view.me]),
            silent: BTreeSet::new(),
            round_us: now.mono_us,
            give_up_us: now.mono_us + PATIENCE_US,
        };
        self.go_on_waiting(view, now, (from, op), waits);
    }

    /// Applies it if it is covered or there is nobody left to ask, or asks and waits.
    fn go_on_waiting(&mut self, view: &View, now: Time, key: (NodeId, OpId), mut waits: Waiting) {
        let lack = match self.rights.waiting.len() < WAITING_MAX && now.mono_us < waits.give_up_us {
            true => self.lack(view, now, &waits),
            false => Ok(Lack::Settled),
        };
        let (from, op) = key;
        match lack {
            Ok(Lack::Settled) => {}
            Ok(Lack::Rights { run, have, amount, state }) => {
                if waits.silent.is_empty() || waits.round_us <= now.mono_us {
                    let next = next_to_ask(view, &waits, &state, amount);
                    waits.round_us = now.mono_us + ROUND_US;
                    waits.silent.extend(&next);
                    for node in next {
                        waits.asked.insert(node);
                        let object = waits.object.clone();
                        self.metrics.count(Metric::RightsAsked);
                        self.send(node, PeerBody::RightsWanted { object, to: run, have, amount });
                    }
                }
                if !waits.silent.is_empty() && waits.round_us > now.mono_us {
                    self.rights.waiting.insert(key, waits);
                    return;
                }
            }
            Err(refusal) => {
                return self.send(from, PeerBody::Applied { op, outcome: Err(refusal) });
            }
        }
        let asked = (waits.action, None, None);
        self.on_apply(view, now, from, op, &waits.object, asked, &waits.hint_for);
    }

    /// What the decrement lacks; begins a ledger for it where there is none to give rights to.
    fn lack(&mut self, view: &View, now: Time, waits: &Waiting) -> Result<Lack, Refusal> {
        let ObjectOp::Bounded(BoundedOp::Take { amount }) = &waits.action else {
            return Ok(Lack::Settled);
        };
        if !view.owns(&waits.object) {
            return Ok(Lack::Settled);
        }
        let amount = i128::from(*amount);
        let (mut own, mut state) = self.own_ledger(&waits.object)?;
        if own.is_none() && amount > 0 && state.total() >= amount {
            (own, state) = self.begin_ledger(view, now, &waits.object)?;
        }
        let Some(run) = own else { return Ok(Lack::Settled) };
        let have = state.rights_of(run);
        Ok(match have >= amount || state.total() < amount {
            true => Lack::Settled,
            false => {
                let (have, amount) = (clamped(have), clamped(amount - have));
                Lack::Rights { run, have, amount, state: Box::new(state) }
            }
        })
    }

    /// The ledger of this life, and the whole state.
    fn own_ledger(&mut self, object: &ObjectId) -> Result<(Option<Dot>, Bounded), Refusal> {
        let held = rows::load(&self.store, object);
        let (header, _) = held.map_err(|error| self.refusal_of(object, error))?;
        let Object::Bounded(state) = header.object else {
            return Ok((None, Bounded::default()));
        };
        Ok((state.open_run(self.actor, self.rights.floor_of(object)), state))
    }

    fn begin_ledger(
        &mut self,
        view: &View,
        now: Time,
        object: &ObjectId,
    ) -> Result<(Option<Dot>, Bounded), Refusal> {
        let begin = ObjectOp::Bounded(BoundedOp::Add { amount: 0 });
        let begun = self.apply(view, now, object, (begin, None), &[])?;
        self.tell_owners(view, object, &begun.delta, view.me);
        self.own_ledger(object)
    }

    /// Sends a write that no client waits for to the other owners; one that misses it gets it from
    /// the next write that depends on it, or the next exchange.
    fn tell_owners(&mut self, view: &View, object: &ObjectId, delta: &Object, except: NodeId) {
        let others = view.owners(object).into_iter();
        for owner in others.filter(|node| *node != except && *node != view.me) {
            if view.is_alive(owner) {
                let (object, delta) = (object.clone(), delta.clone());
                self.send_durable(owner, PeerBody::Repair { object, delta });
            }
        }
    }

    /// Somebody asks for rights: gives what it has to give, and says so in any case.
    pub(super) fn on_rights_wanted(
        &mut self,
        view: &View,
        now: Time,
        from: NodeId,
        object: ObjectId,
        (to, have, amount): (Dot, u64, u64),
    ) {
        if object.tag != TypeTag::Bounded || to.actor.node != from || from == view.me {
            return;
        }
        let delta = self.give(view, now, &object, (to, have, amount)).unwrap_or_default();
        let delta = Object::Bounded(delta);
        if !delta.context().is_empty() {
            self.metrics.count(Metric::RightsGiven);
            self.tell_owners(view, &object, &delta, from);
        }
        self.send_durable(from, PeerBody::RightsGiven { object, delta });
    }

    fn give(
        &mut self,
        view: &View,
        now: Time,
        object: &ObjectId,
        (to, have, amount): (Dot, u64, u64),
    ) -> Option<Bounded> {
        let (own, state) = self.own_ledger(object).ok()?;
        let rights = clamped(state.rights_of(own?));
        // What this node gave since may not have come to where the question was asked.
        let known = if amount == 0 { clamped(state.rights_of(to)) } else { 0 };
        let have = have.max(known);
        // Nobody takes anything at a stand-in: it keeps nothing.
        let amount = if view.owns(object) { gift(rights, have, amount) } else { rights };
        if amount == 0 {
            return None;
        }
        let give = ObjectOp::Bounded(BoundedOp::Give { to, amount });
        let Object::Bounded(delta) = self.apply(view, now, object, (give, None), &[]).ok()?.delta
        else {
            return None;
        };
        if !view.owns(object) {
            let mut batch = Batch::default();
            self.queue_collection(object, &mut batch);
            self.commit(batch).map_err(|error| self.refusal(error)).ok()?;
        }
        Some(delta)
    }

    /// An answer to [`PeerBody::RightsWanted`].
    pub(super) fn on_rights_given(
        &mut self,
        view: &View,
        now: Time,
        from: NodeId,
        object: &ObjectId,
        delta: &Object,
    ) {
        if object.tag != TypeTag::Bounded {
            return;
        }
        if !delta.context().is_empty() && view.owns(object) {
            // Not in place of a damaged copy: it is no whole state.
            self.join_quietly(view, now, object, delta);
        }
        let waiting = self.rights.waiting.iter();
        let of = waiting.filter(|(_, waits)| waits.object == *object);
        let keys: Vec<_> = of.map(|(key, _)| *key).collect();
        for key in keys {
            let Some(mut waits) = self.rights.waiting.remove(&key) else { continue };
            waits.silent.remove(&from);
            self.go_on_waiting(view, now, key, waits);
        }
    }

    /// Whether a copy that nobody owns must stay, because this life holds rights in it that an
    /// owner will ask for.
    pub(super) fn holds_rights(&self, object: &ObjectId, state: &Object) -> bool {
        let Object::Bounded(state) = state else { return false };
        let own = state.open_run(self.actor, self.rights.floor_of(object));
        own.is_some_and(|run| state.rights_of(run) > 0)
    }

    /// Goes on with decrements whose time has come, and looks at who has too little.
    pub(super) fn move_rights(&mut self, view: &View, now: Time) {
        let waiting = self.rights.waiting.iter();
        let due = waiting.filter(|(_, waits)| waits.round_us.min(waits.give_up_us) <= now.mono_us);
        let keys: Vec<_> = due.map(|(key, _)| *key).collect();
        for key in keys {
            let Some(mut waits) = self.rights.waiting.remove(&key) else { continue };
            waits.silent.clear();
            self.go_on_waiting(view, now, key, waits);
        }
        if self.rights.uneven.is_empty() {
            return;
        }
        match self.rights.even_us {
            Some(due) if due > now.mono_us => {}
            Some(_) => {
                let mut again = Vec::new();
                for _ in 0..EVEN_OBJECTS {
                    let Some((object, tries)) = self.rights.uneven.pop_first() else { break };
                    // The last look only gives time for the answer.
                    let asks = tries <= EVEN_TRIES;
                    let asked = asks && self.even_out(view, now, &object).unwrap_or(false);
                    again.extend(asked.then_some((object, tries + 1)));
                }
                self.rights.uneven.extend(again);
                self.rights.even_us = Some(now.mono_us + EVEN_US);
            }
            None => self.rights.even_us = Some(now.mono_us + EVEN_US),
        }
    }

    /// Asks for rights if this owner has too few, and for those that stand-ins hold. Whether
    /// anybody was asked.
    fn even_out(&mut self, view: &View, now: Time, object: &ObjectId) -> Result<bool, Refusal> {
        let owners = view.owners(object);
        if !owners.contains(&view.me) {
            return Ok(false);
        }
        let (own, state) = self.own_ledger(object)?;
        let have = own.map_or(0, |run| state.rights_of(run));
        let rights = by_node(&state);
        let alive = |node: &NodeId| *node != view.me && view.is_alive(*node);
        let held = |node: &NodeId| rights.get(node).copied().unwrap_or(0);
        let others: Vec<NodeId> = owners.iter().copied().filter(|node| alive(node)).collect();
        let pool = others.iter().map(held).fold(have, i128::saturating_add);
        let fair = pool / (others.len() as i128 + 1);
        // Several, since the rights of one may all be of an earlier life.
        let mut rich: Vec<NodeId> = others.into_iter().filter(|node| held(node) > fair).collect();
        rich.sort_by_key(|node| (-held(node), *node));
        rich.truncate(if have.saturating_mul(3) < fair { 2 } else { 0 });
        let strangers = rights.iter().filter(|(node, rights)| **rights > 0 && alive(node));
        let strangers = strangers.map(|(node, _)| *node).filter(|node| !owners.contains(node));
        let asked: Vec<NodeId> = rich.into_iter().chain(strangers).collect();
        if asked.is_empty() {
            return Ok(false);
        }
        let own = match own {
            Some(own) => Some(own),
            None => self.begin_ledger(view, now, object)?.0,
        };
        let Some(to) = own else { return Ok(false) };
        for node in asked {
            let (object, have, amount) = (object.clone(), clamped(have), 0);
            self.send(node, PeerBody::RightsWanted { object, to, have, amount });
        }
        Ok(true)
    }
}

/// Whom to ask next: the richest that together have enough as far as is known here; where even all
/// of them have not, everybody.
fn next_to_ask(view: &View, waits: &Waiting, state: &Bounded, amount: u64) -> Vec<NodeId> {
    let rights = by_node(state);
    let mut nodes: BTreeSet<NodeId> = view.owners(&waits.object).into_iter().collect();
    nodes.extend(rights.iter().filter(|(_, rights)| **rights > 0).map(|(node, _)| *node));
    nodes.retain(|node| view.is_alive(*node) && !waits.asked.contains(node));
    let held = |node: &NodeId| rights.get(node).copied().unwrap_or(0);
    let mut nodes: Vec<NodeId> = nodes.into_iter().collect();
    nodes.sort_by_key(|node| (-held(node), *node));
    let mut sum = 0i128;
    let enough = nodes.iter().position(|node| {
        sum = held(node).saturating_add(sum);
        sum >= i128::from(amount)
    });
    nodes.truncate(enough.map_or(nodes.len(), |last| last + 1));
    nodes
}

#[cfg(test)]
mod tests {
    use super::gift;

    #[test]
    fn a_gift_covers_what_is_asked_for_and_leaves_both_equal() {
        assert_eq!(gift(10, 0, 10), 10);
        assert_eq!(gift(10, 0, 20), 10);
        assert_eq!(gift(10, 0, 4), 5);
        assert_eq!(gift(100, 20, 10), 40);
        assert_eq!(gift(0, 0, 1), 0);
        // Without need only to one that has less than a third.
        assert_eq!((gift(90, 30, 0), gift(90, 29, 0), gift(1, 0, 0)), (0, 30, 0));
    }
}
