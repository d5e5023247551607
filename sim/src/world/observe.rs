//! Looks at a run from outside while it goes on, for its figures and pictures: what nodes do, what
//! they owe, how many objects differ. Looking changes nothing: the trace is the same without it.

use super::{Event, Phase, World};
use crate::checks::{layout_of, owners};
use crate::faults::Plan;
use crate::history::History;
use starling_node::crdt::ObjectId;
use std::collections::{BTreeMap, BTreeSet};

/// Between two looks while recovery is awaited, microseconds, of somebody who sees all at once.
const CLOSE_US: u64 = 50_000;
/// From the end of a look to the next one of somebody who needs time to look, microseconds.
const POLL_US: u64 = 100_000;
/// Between two looks otherwise at least, microseconds.
const WIDE_US: u64 = 250_000;
/// Looks of a run, about, while recovery is not awaited.
const LOOKS: u64 = 240;
/// Looks kept of a run at most.
const LOOKS_MAX: usize = 50_000;

/// What a node does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum State {
    /// It serves and reaches all others.
    Up,
    /// Something does not pass between it and some others.
    CutFromSome,
    /// Something does not pass between it and each of the others.
    CutFromAll,
    /// It stands still.
    Paused,
    /// It does not run.
    Down,
}

/// A node's new state.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    /// When, microseconds.
    pub at_us: u64,
    /// Which node.
    pub node: usize,
    /// What it does from now on.
    pub state: State,
}

/// What one look saw.
#[derive(Clone, Debug)]
pub struct Look {
    /// When, microseconds.
    pub at_us: u64,
    /// Hint marks by node; of a node that is down none.
    pub hints: Vec<u64>,
    /// Objects of which not all owners hold the same; of a node that is down counts what it held
    /// when it was seen last.
    pub divergent: u64,
}

/// A run as it was seen.
#[derive(Default)]
pub struct Observed {
    /// Names of the nodes with their zones, by place.
    pub nodes: Vec<String>,
    /// Failure domains, by place.
    pub zones: Vec<String>,
    /// What went wrong.
    pub plan: Plan,
    /// When faults and clients began, microseconds.
    pub from_us: u64,
    /// When both had ended, microseconds.
    pub until_us: u64,
    /// When all was at rest, microseconds.
    pub rest_us: u64,
    /// When, after the last fault, nothing was owed, all nodes heard each other and all replicas
    /// were equal, microseconds; looked for every 50 ms, or as long as a look takes and 100 ms.
    pub recovered_us: Option<u64>,
    /// How long it takes to see whether a cluster has recovered, microseconds.
    pub(super) look_us: u64,
    /// When the next look at that ends, microseconds.
    check_us: u64,
    /// By node: what it held when it was looked at last.
    digests: Vec<BTreeMap<ObjectId, u64>>,
    /// An object that differed at the last look.
    known_different: Option<ObjectId>,
    /// When the next picture is due, microseconds.
    picture_us: u64,
    /// In order of time.
    pub looks: Vec<Look>,
    /// In order of time.
    pub changes: Vec<Change>,
    /// What clients asked for and were told.
    pub history: History,
}

impl Observed {
    /// Nothing yet; it takes so long to see whether the cluster has recovered, microseconds.
    pub(super) fn of_looks(look_us: u64) -> Observed {
        Observed { look_us, ..Observed::default() }
    }

    /// When the last fault ended, microseconds; the beginning without a fault.
    pub fn faults_end_us(&self) -> u64 {
        let last_ms = self.plan.iter().map(|fault| fault.until_ms).max().unwrap_or(0);
        self.from_us + last_ms * 1_000
    }

    /// Notes that there is nothing more to see, unless there was nothing more before.
    pub(super) fn rest_at(&mut self, at_us: u64) {
        if self.rest_us == 0 {
            self.rest_us = at_us;
        }
    }

    /// Whether a fault is active at that time, microseconds.
    pub fn is_broken(&self, at_us: u64) -> bool {
        let since_ms = at_us.saturating_sub(self.from_us) / 1_000;
        at_us >= self.from_us
            && self.plan.iter().any(|one| (one.from_ms..one.until_ms).contains(&since_ms))
    }
}

impl World {
    /// Begins to look; call it when faults begin.
    pub(super) fn begin_looking(&mut self) {
        let count = self.nodes.len();
        let Some(observed) = &mut self.observed else { return };
        observed.nodes = self.nodes.iter().map(ToString::to_string).collect();
        observed.zones = self.nodes.iter().map(|node| node.zone().to_string()).collect();
        observed.plan = self.plan.clone();
        observed.from_us = self.now_us;
        observed.until_us = self.clients_until_us;
        observed.picture_us = self.now_us;
        observed.check_us = observed.faults_end_us() + observed.look_us;
        observed.digests = vec![BTreeMap::new(); count];
        self.note_states();
        self.push(self.now_us, Event::Look);
    }

    /// Notes what nodes do where that has changed.
    pub(super) fn note_states(&mut self) {
        if self.phase == Phase::Forming || self.observed.is_none() {
            return;
        }
        for node in 0..self.nodes.len() {
            let (state, at_us) = (self.state_of(node), self.now_us);
            let Some(observed) = &mut self.observed else { return };
            let last = observed.changes.iter().rev().find(|change| change.node == node);
            if last.is_none_or(|change| change.state != state) {
                observed.changes.push(Change { at_us, node, state });
            }
        }
    }

    fn state_of(&self, node: usize) -> State {
        if !self.nodes[node].is_up() {
            return State::Down;
        }
        if self.is_paused(node) {
            return State::Paused;
        }
        let links = &self.conditions.links;
        let others = (0..self.nodes.len()).filter(|other| *other != node);
        let cut = others.filter(|other| links[node][*other].cut || links[*other][node].cut).count();
        match cut {
            0 => State::Up,
            _ if cut + 1 == self.nodes.len() => State::CutFromAll,
            _ => State::CutFromSome,
        }
    }

    /// One look, and the time of the next.
    pub(super) fn look(&mut self) {
        if self.observed.as_ref().is_none_or(|observed| observed.rest_us > 0) {
            return;
        }
        let Some(mut observed) = self.observed.take() else { return };
        let now_us = self.now_us;
        if now_us >= observed.check_us && observed.recovered_us.is_none() {
            let pause_us = if observed.look_us > 0 { POLL_US } else { CLOSE_US };
            observed.check_us = now_us + pause_us + observed.look_us;
            if self.has_recovered(&mut observed) {
                observed.recovered_us = Some(now_us);
                observed.picture_us = now_us;
            }
        }
        let span_us = observed.until_us - observed.from_us;
        if now_us >= observed.picture_us && observed.looks.len() < LOOKS_MAX {
            self.refresh(&mut observed);
            let divergent = self.divergent(&observed).len() as u64;
            let hints = self.nodes.iter().map(crate::node::Node::hints_pending).collect();
            observed.looks.push(Look { at_us: now_us, hints, divergent });
            observed.picture_us = now_us + (span_us / LOOKS).max(WIDE_US);
        }
        let next_us = match observed.recovered_us {
            None => observed.check_us.min(observed.picture_us),
            Some(_) => observed.picture_us,
        };
        self.observed = Some(observed);
        self.push(next_us, Event::Look);
    }

    fn has_recovered(&self, observed: &mut Observed) -> bool {
        let at_rest = |node: &crate::node::Node| {
            node.is_ready() && node.hints_pending() == 0 && node.heard() == self.nodes.len()
        };
        if !self.nodes.iter().all(at_rest) {
            return false;
        }
        if let Some(id) = &observed.known_different {
            // One object that still differs is enough, and cheaper to see than all.
            let Some(layout) = layout_of(&self.nodes) else { return false };
            let places = owners(&layout, &self.nodes, id);
            let held: Vec<_> = places.iter().map(|at| self.nodes[*at].held(id, false)).collect();
            if held.windows(2).any(|two| two[0] != two[1]) {
                return false;
            }
        }
        self.refresh(observed);
        observed.known_different = self.divergent(observed).into_iter().next();
        observed.known_different.is_none()
    }

    fn refresh(&self, observed: &mut Observed) {
        for (node, digests) in self.nodes.iter().zip(&mut observed.digests) {
            if let (true, Ok(audits)) = (node.is_up(), node.audit()) {
                *digests = audits.into_iter().map(|(id, audit)| (id, audit.digest)).collect();
            }
        }
    }

    fn divergent(&self, observed: &Observed) -> Vec<ObjectId> {
        let ids: BTreeSet<&ObjectId> = observed.digests.iter().flat_map(BTreeMap::keys).collect();
        let layout = layout_of(&self.nodes);
        let differs = |id: &ObjectId| {
            let Some(layout) = &layout else { return false };
            let places = owners(layout, &self.nodes, id);
            let mut digests = places.iter().map(|at| observed.digests[*at].get(id));
            let first = digests.next();
            digests.any(|digest| Some(digest) != first)
        };
        ids.into_iter().filter(|id| differs(id)).cloned().collect()
    }
}
