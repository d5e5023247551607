//! One read: a full answer and R-1 digests; where they differ, all states are fetched, joined, and
//! the stale owners repaired.
//!
//! An owner's "not found" counts; a stand-in's does not, since it only ever saw what it stood in
//! for.

use super::quorum::ReadNeeds;
use super::scores::{self, Listed};
use super::write::Doing;
use crate::cluster::View;
use crate::config::Resolve;
use crate::crdt::expiry::bucket_of;
use crate::crdt::rows::Covers;
use crate::crdt::{NodeId, Object, ObjectId};
use crate::placement::PreferenceList;
use crate::replica::digest_of_small;
use crate::time::Time;
use crate::wire::api::{Failure, ReadQuery, ReadResult};
use crate::wire::peer::{Answer, OpId, PeerBody, Refusal};
use std::collections::{BTreeMap, BTreeSet};

/// A read under way.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) object: ObjectId,
    pub(super) deadline_us: u64,
    query: ReadQuery,
    /// Of a page by score, what replicas that differ listed; `query` then asks for the members.
    listed: Option<Listed>,
    needs: ReadNeeds,
    resolve: Resolve,
    list: PreferenceList,
    /// Replicas not asked yet, in order.
    spare: Vec<NodeId>,
    asked: BTreeMap<NodeId, Asked>,
    hedge_us: u64,
    timer_us: u64,
    /// The bucket of time that an expiry is compared with.
    at: u64,
    last_refusal: Option<Refusal>,
    /// The bug put back: a stand-in's "not found" counts.
    count_not_found: bool,
}

#[derive(Debug, Default)]
struct Asked {
    digest_only: bool,
    waiting: bool,
    answer: Option<Answer>,
}

/// Settings of a read besides the query.
pub(super) struct Terms {
    pub(super) needs: ReadNeeds,
    pub(super) resolve: Resolve,
    pub(super) list: PreferenceList,
    pub(super) silent: BTreeSet<NodeId>,
    pub(super) deadline_us: u64,
    pub(super) hedge_us: u64,
    pub(super) count_not_found: bool,
}

/// What a read came to.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) result: Result<ReadResult, Failure>,
    pub(super) diverged: bool,
}

impl Read {
    /// Begins a read, or says why it cannot be met.
    pub(super) fn begin(
        view: &View,
        now_us: u64,
        op: OpId,
        object: ObjectId,
        query: ReadQuery,
        terms: Terms,
        doing: &mut Doing,
    ) -> Result<Read, Failure> {
        let Terms { needs, resolve, list, silent, .. } = terms;
        let Terms { deadline_us, hedge_us, count_not_found, .. } = terms;
        let alive = |nodes: &[NodeId]| -> Vec<NodeId> {
            let mut alive: Vec<_> = nodes.iter().filter(|n| view.is_alive(**n)).copied().collect();
            alive.sort_by_key(|node| (*node != view.me, silent.contains(node)));
            alive
        };
        let owners = alive(list.owners());
        let owners_alive = owners.len();
        let spare = [owners, alive(list.stand_ins())].concat();
        if spare.len() < needs.r || owners_alive < needs.pr {
            return Err(Failure::Unavailable(format!(
                "r={} and pr={} cannot be met: {} replicas can be reached, {} of them owners",
                needs.r,
                needs.pr,
                spare.len(),
                owners_alive
            )));
        }
        let mut read = Read {
            object,
            deadline_us,
            query,
            listed: None,
            needs,
            resolve,
            list,
            spare,
            asked: BTreeMap::new(),
            hedge_us,
            timer_us: (now_us + hedge_us).min(deadline_us),
            at: 0,
            last_refusal: None,
            count_not_found,
        };
        for rank in 0..needs.r {
            read.ask_next(rank > 0, op, doing);
        }
        Ok(read)
    }

    /// When `on_timer` is next due, µs.
    pub(super) fn timer(&self) -> u64 {
        self.timer_us
    }

    /// Notes the time: what has expired when the read is answered is not found.
    pub(super) fn see(&mut self, now: Time) {
        self.at = bucket_of(now.wall_ms);
    }

    fn ask_next(&mut self, digest_only: bool, op: OpId, doing: &mut Doing) -> bool {
        if self.spare.is_empty() {
            return false;
        }
        let node = self.spare.remove(0);
        self.ask(node, digest_only, op, doing);
        true
    }

    fn ask(&mut self, node: NodeId, digest_only: bool, op: OpId, doing: &mut Doing) {
        // A member's row is as small as its digest.
        let digest_only = digest_only && !matches!(self.query, ReadQuery::Member(_));
        let asked = self.asked.entry(node).or_default();
        asked.digest_only = digest_only;
        asked.waiting = true;
        let (object, query) = (self.object.clone(), self.query.clone());
        doing.sends.push((node, PeerBody::Get { op, object, query, digest_only }));
    }

    /// A replica answers.
    pub(super) fn on_got(
        &mut self,
        op: OpId,
        from: NodeId,
        outcome: Result<Answer, Refusal>,
        doing: &mut Doing,
    ) -> Option<Outcome> {
        let asked = self.asked.get_mut(&from)?;
        match outcome {
            // A list that comes after the members on it were asked for is late.
            Ok(Answer { state: Some(state), .. })
                if self.listed.as_ref().is_some_and(|listed| !listed.is_of(&state)) =>
            {
                return None;
            }
            // A digest that comes after the state was asked for is late.
            Ok(answer) if answer.state.is_some() || asked.digest_only => {
                asked.waiting = false;
                asked.answer = Some(answer);
            }
            Ok(_) => return None,
            Err(refusal) => {
                asked.waiting = false;
                asked.answer = None;
                self.last_refusal = Some(refusal);
            }
        }
        self.evaluate(op, doing)
    }

    fn counts(&self, node: &NodeId, answer: &Answer) -> bool {
        answer.known || self.list.owners().contains(node) || self.count_not_found
    }

    fn valid(&self) -> impl Iterator<Item = (&NodeId, &Answer)> {
        self.asked
            .iter()
            .filter_map(|(node, asked)| asked.answer.as_ref().map(|answer| (node, answer)))
            .filter(|(node, answer)| self.counts(node, answer))
    }

    fn evaluate(&mut self, op: OpId, doing: &mut Doing) -> Option<Outcome> {
        let owners = self.valid().filter(|(node, _)| self.list.owners().contains(node)).count();
        let enough = self.valid().count() >= self.needs.r && owners >= self.needs.pr;
        if !enough {
            let waiting = self.asked.values().filter(|asked| asked.waiting).count();
            if self.valid().count() + waiting < self.needs.r || waiting == 0 {
                let full = !self.asked.values().any(|asked| !asked.digest_only && asked.waiting);
                if !self.ask_next(!full, op, doing) && waiting == 0 {
                    return Some(self.too_few());
                }
            }
            return None;
        }
        let digests: Vec<u64> = self.valid().map(|(_, answer)| answer.digest).collect();
        let diverged = digests.windows(2).any(|pair| pair[0] != pair[1]);
        let stateless: Vec<NodeId> = self
            .valid()
            .filter(|(_, answer)| answer.state.is_none())
            .map(|(node, _)| *node)
            .collect();
        let have_state = self.valid().count() - stateless.len();
        let wanted = if diverged { stateless.len() } else { 1usize.saturating_sub(have_state) };
        let mut waiting = false;
        for node in stateless.into_iter().take(wanted) {
            waiting = true;
            if self.asked[&node].digest_only {
                self.ask(node, false, op, doing);
            }
        }
        if waiting || (diverged && self.ask_for_listed(op, doing)) {
            return None;
        }
        Some(self.finish(diverged, doing))
    }

    /// Of a page by score on which replicas differ, asks each of them for all members that any
    /// of them listed; whether there was something to ask.
    fn ask_for_listed(&mut self, op: OpId, doing: &mut Doing) -> bool {
        let ReadQuery::Scores(query) = &self.query else { return false };
        let lists = self.valid().filter_map(|(_, a)| Some((a.state.as_ref()?, a.more)));
        let listed = Listed::new(query, lists);
        let nodes: Vec<NodeId> = self.valid().map(|(node, _)| *node).collect();
        self.query = ReadQuery::Members(listed.members());
        self.listed = Some(listed);
        for node in nodes {
            self.asked.remove(&node);
            self.ask(node, false, op, doing);
        }
        true
    }

    fn too_few(&self) -> Outcome {
        let failure = match &self.last_refusal {
            Some(Refusal::Corrupt(detail)) => Failure::Corrupt(detail.clone()),
            _ => Failure::Unavailable(format!(
                "r={} was not reached: {} of {} replicas asked gave an answer that counts",
                self.needs.r,
                self.valid().count(),
                self.asked.len()
            )),
        };
        Outcome { result: Err(failure), diverged: false }
    }

    /// Time has passed: another replica for the slow one, or the end.
    pub(super) fn on_timer(&mut self, now_us: u64, op: OpId, doing: &mut Doing) -> Option<Outcome> {
        if now_us >= self.deadline_us {
            return Some(self.too_few());
        }
        let full = self
            .asked
            .values()
            .any(|asked| asked.answer.as_ref().is_some_and(|answer| answer.state.is_some()));
        if self.ask_next(full, op, doing) {
            doing.hedges += 1;
        }
        self.timer_us = (now_us + self.hedge_us).min(self.deadline_us);
        None
    }

    fn finish(&self, diverged: bool, doing: &mut Doing) -> Outcome {
        let states: Vec<&Answer> =
            self.valid().map(|(_, answer)| answer).filter(|a| a.state.is_some()).collect();
        let parts = states.iter().map(|answer| without_stale(answer, &states));
        let (mut object, mut more) = merge(&states, parts.collect(), &self.query, self.object.tag);
        let expires_at = object.expires_at();
        let expired = expires_at.is_some_and(|at| at <= self.at);
        let repaired = if diverged && !expired { self.repair(&object, doing) } else { 0 };
        let mut count = states.iter().map(|answer| answer.count).max().unwrap_or(0);
        if expired {
            (object, more, count) = (object.hidden(), false, 0);
        }
        let (mut present, mut next) = presence(&object, &self.query, count, more, diverged);
        if let Some(listed) = self.listed.as_ref().filter(|_| !expired) {
            next = listed.trim(&mut object);
            present &= !listed.is_whole() || object.is_present();
        }
        let result = ReadResult {
            object,
            present,
            count,
            next,
            asked: self.asked.len() as u32,
            answered: self.valid().count() as u32,
            repaired,
            expires_at,
            left_s: expires_at.map(|at| at.saturating_sub(self.at)),
            resolve: self.resolve,
        };
        Outcome { result: Ok(result), diverged }
    }

    /// Brings the owners that answered with another digest up to date.
    fn repair(&self, merged: &Object, doing: &mut Doing) -> u32 {
        let owners: Vec<(NodeId, u64)> = self
            .valid()
            .filter(|(node, _)| self.list.owners().contains(node))
            .map(|(node, answer)| (*node, answer.digest))
            .collect();
        let object = || self.object.clone();
        let mut repaired = 0;
        if merged.rows().is_some() {
            // A page does not tell which side lacks what: each pulls from each.
            for (node, digest) in &owners {
                let others = self.valid().filter(|(_, answer)| answer.digest != *digest);
                for (peer, _) in others {
                    doing.sends.push((*node, PeerBody::PullFrom { object: object(), peer: *peer }));
                }
                repaired += 1;
            }
            return repaired;
        }
        let digest = digest_of_small(merged);
        for (node, _) in owners.iter().filter(|(_, theirs)| *theirs != digest) {
            repaired += 1;
            doing.sends.push((*node, PeerBody::Repair { object: object(), delta: merged.clone() }));
        }
        repaired
    }
}

/// A replica's state without what another one knows to be removed because it is stable.
fn without_stale(answer: &Answer, all: &[&Answer]) -> Object {
    let mut state = answer.state.clone().expect("an answer with a state");
    for other in all.iter().filter(|other| !other.stable.is_empty()) {
        let Some(known) = &other.state else { continue };
        let stale = state.stale_dots(&other.stable, known.context());
        if !stale.is_empty() {
            state = state.without(&stale);
        }
    }
    state
}

/// Joins the states of all answers, and says whether a set has members behind the page.
fn merge(
    states: &[&Answer],
    mut parts: Vec<Object>,
    query: &ReadQuery,
    tag: crate::crdt::TypeTag,
) -> (Object, bool) {
    let mut more = states.iter().any(|answer| answer.more);
    if let ReadQuery::Page { limit, .. } = query {
        let upto = parts.iter().filter_map(page_end).min();
        parts.iter_mut().for_each(|part| cut(part, upto.as_ref()));
        let mut merged = join_all(parts, tag);
        more |= trim(&mut merged, *limit as usize);
        return (merged, more);
    }
    more &= matches!(query, ReadQuery::Scores(_));
    (join_all(parts, tag), more)
}

fn join_all(parts: Vec<Object>, tag: crate::crdt::TypeTag) -> Object {
    let mut parts = parts.into_iter();
    let mut merged = parts.next().unwrap_or_else(|| Object::empty(tag));
    for part in parts {
        // A replica with another type under this name has broken its own check.
        let _ = merged.join(&part);
    }
    merged
}

fn page_end(part: &Object) -> Option<Vec<u8>> {
    match part.rows().map(|rows| &rows.covers) {
        Some(Covers::Range { upto, .. }) => upto.clone(),
        _ => None,
    }
}

/// Makes every page end where the shortest one ends, so that they speak for the same rows.
fn cut(part: &mut Object, end: Option<&Vec<u8>>) {
    if let (Some(rows), Some(end)) = (part.rows_mut(), end) {
        rows.rows.retain(|key, _| key <= end);
        if let Covers::Range { upto, .. } = &mut rows.covers {
            *upto = Some(end.clone());
        }
    }
}

/// Keeps what comes before the row behind the first `limit` that clients see; whether there was
/// such a row.
fn trim(merged: &mut Object, limit: usize) -> bool {
    let Some(rows) = merged.rows_mut() else { return false };
    rows.rows.retain(|_, row| !row.is_empty());
    let Some(end) = rows.present().map(|(key, _)| key).nth(limit).cloned() else { return false };
    rows.rows.retain(|key, _| *key < end);
    if let Covers::Range { upto, .. } = &mut rows.covers {
        *upto = rows.rows.keys().next_back().cloned();
    }
    true
}

fn presence(
    object: &Object,
    query: &ReadQuery,
    count: u64,
    more: bool,
    diverged: bool,
) -> (bool, Option<Vec<u8>>) {
    let Some(rows) = object.rows() else { return (object.is_present(), None) };
    let any = rows.present().next().is_some();
    match query {
        ReadQuery::Member(_) => (any, None),
        ReadQuery::Whole => (any, None),
        ReadQuery::Scores(query) => (any || count > 0, scores::next_of(object, query, more)),
        ReadQuery::Members(_) => (any || count > 0, None),
        ReadQuery::Page { after, prefix, .. } => {
            let last = || rows.present().next_back().map(|(key, _)| key.clone());
            let next = page_end(object).or_else(last).filter(|_| more);
            let whole = after.is_none() && prefix.is_empty() && !more;
            (any || (count > 0 && !(diverged && whole)), next)
        }
    }
}
