//! One write: applied at the first live replica, joined at the rest, acknowledged at W.
//!
//! The operation is applied exactly once: if the replica it was sent to does not answer, the
//! outcome is unknown and nobody else is asked. So it is not sent to a replica that owes answers
//! while another one may apply it. The delta may go anywhere any number of times. An operation with
//! a key may be asked again, also of others: see [`crate::crdt::note`].
//! Owners that do not have it in the end are owed it: a mark on a stand-in, or where there is
//! none on a replica that has the write. Also where nobody knows whether it has: one that applied
//! it and whose answer was lost would have it alone.

mod poor;

use super::quorum::WriteNeeds;
use crate::cluster::View;
use crate::config::BucketProps;
use crate::crdt::{NodeId, ObjectId, ObjectOp, Once, OpError, Ttl};
use crate::placement::PreferenceList;
use crate::wire::api::{Acks, Failure, Reply, RequestId, Written};
use crate::wire::peer::{Applied, OpId, PeerBody, Refusal};
use std::collections::{BTreeMap, BTreeSet};

/// A write that is answered waits so long for the owners that have not acknowledged before they
/// are owed a hint, µs.
const LINGER_US: u64 = 500_000;

/// How to word the answer.
#[derive(Clone, Debug)]
pub(super) enum Respond {
    /// As a write.
    Written,
    /// As the properties of a bucket.
    Bucket(BucketProps),
}

/// What a step of an operation sends and answers.
#[derive(Debug, Default)]
pub(super) struct Doing {
    pub(super) sends: Vec<(NodeId, PeerBody)>,
    pub(super) reply: Option<Reply>,
    /// The operation is over.
    pub(super) done: bool,
    /// A write is to go on under a new number.
    pub(super) renumber: bool,
    /// Replicas asked because another one was slow.
    pub(super) hedges: u64,
    /// The replica that was to apply a write owes it to these owners, if it did.
    pub(super) unheard: Option<(NodeId, Vec<NodeId>)>,
}

/// A write under way.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) request: RequestId,
    pub(super) respond: Respond,
    pub(super) object: ObjectId,
    pub(super) deadline_us: u64,
    pub(super) replied: bool,
    action: ObjectOp,
    ttl: Option<Ttl>,
    once: Option<Box<Once>>,
    needs: WriteNeeds,
    sloppy: bool,
    list: PreferenceList,
    /// Peers that owed answers when the write began: the last choice.
    silent: BTreeSet<NodeId>,
    hedge_us: u64,
    hedged: bool,
    timer_us: u64,
    applier: NodeId,
    refused: BTreeSet<NodeId>,
    /// Owners whose rights do not cover the decrement.
    poor: BTreeSet<NodeId>,
    /// The rights of the richest of them, and the highest value that one of them knows.
    lacking: (u64, u64),
    applied: Option<Applied>,
    copies: BTreeMap<NodeId, Copy>,
    /// Stand-ins to use when the delta is there.
    planned: Vec<(NodeId, Vec<NodeId>)>,
    mutant: Mutants,
}

/// Bugs put back.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mutants {
    pub(super) ack_before_w: bool,
    pub(super) deadline_as_failure: bool,
}

/// The write at one replica, asked for or there.
#[derive(Debug, Default)]
struct Copy {
    /// Owners it keeps a mark for.
    covers: Vec<NodeId>,
    acked: bool,
    durable: bool,
    refused: bool,
}

/// Who applies, and who stands in for whom.
struct Plan {
    applier: NodeId,
    applier_covers: Vec<NodeId>,
    stand_ins: Vec<(NodeId, Vec<NodeId>)>,
    reachable: usize,
    owners_alive: usize,
}

/// Settings of a write besides the operation.
pub(super) struct Terms {
    pub(super) request: RequestId,
    pub(super) respond: Respond,
    pub(super) ttl: Option<Ttl>,
    pub(super) once: Option<Box<Once>>,
    pub(super) needs: WriteNeeds,
    pub(super) sloppy: bool,
    pub(super) list: PreferenceList,
    pub(super) silent: BTreeSet<NodeId>,
    pub(super) deadline_us: u64,
    pub(super) hedge_us: u64,
    pub(super) mutant: Mutants,
}

impl Write {
    /// Begins a write, or says why nothing was applied.
    pub(super) fn begin(
        view: &View,
        op: OpId,
        object: ObjectId,
        action: ObjectOp,
        terms: Terms,
        doing: &mut Doing,
    ) -> Result<Write, Failure> {
        let mut write = Write {
            request: terms.request,
            respond: terms.respond,
            object,
            deadline_us: terms.deadline_us,
            replied: false,
            action,
            ttl: terms.ttl,
            once: terms.once,
            needs: terms.needs,
            sloppy: terms.sloppy,
            list: terms.list,
            silent: terms.silent,
            hedge_us: terms.hedge_us,
            hedged: false,
            timer_us: terms.deadline_us,
            applier: view.me,
            refused: BTreeSet::new(),
            poor: BTreeSet::new(),
            lacking: (0, 0),
            applied: None,
            copies: BTreeMap::new(),
            planned: Vec::new(),
            mutant: terms.mutant,
        };
        write.apply_somewhere(view, op, doing)?;
        Ok(write)
    }

    /// When `on_timer` is next due, µs.
    pub(super) fn timer(&self) -> u64 {
        self.timer_us
    }

    fn apply_somewhere(&mut self, view: &View, op: OpId, doing: &mut Doing) -> Result<(), Failure> {
        let plan = self.plan(view)?;
        let needs = self.needs;
        if plan.reachable < needs.w || plan.owners_alive < needs.pw {
            return Err(Failure::Unavailable(format!(
                "w={} and pw={} cannot be met: {} replicas can be reached, {} of them owners",
                needs.w, needs.pw, plan.reachable, plan.owners_alive
            )));
        }
        self.applier = plan.applier;
        self.planned = plan.stand_ins;
        let covers = plan.applier_covers.clone();
        self.copies = BTreeMap::from([(plan.applier, Copy { covers, ..Copy::default() })]);
        let body = PeerBody::Apply {
            op,
            object: self.object.clone(),
            action: self.action.clone(),
            ttl: self.ttl,
            once: self.once.clone(),
            hint_for: plan.applier_covers,
        };
        doing.sends.push((plan.applier, body));
        Ok(())
    }

    fn plan(&self, view: &View) -> Result<Plan, Failure> {
        let usable = |node: &&NodeId| view.is_alive(**node) && !self.refused.contains(node);
        let alive: Vec<NodeId> = self.list.owners().iter().filter(usable).copied().collect();
        let away: Vec<NodeId> =
            self.list.owners().iter().filter(|node| !alive.contains(node)).copied().collect();
        let spare = self.list.stand_ins().iter().filter(|_| self.sloppy).filter(usable);
        let mut spare: Vec<NodeId> = spare.copied().collect();
        spare.sort_by_key(|node| self.silent.contains(node));
        let own = |nodes: &[NodeId]| nodes.contains(&view.me).then_some(view.me);
        let owners_alive = alive.len();
        let reachable = owners_alive + spare.len().min(away.len());
        let mut stand_ins: Vec<(NodeId, Vec<NodeId>)> = Vec::new();
        let mut applier_covers = Vec::new();
        let mut away = away.into_iter();
        let heard = |nodes: &[NodeId]| nodes.iter().find(|n| !self.silent.contains(n)).copied();
        // A stand-in has no rights: it takes nothing away while there is an owner to ask.
        let fit = if self.takes_away() && !alive.is_empty() { &[] } else { &spare[..] };
        let stand_in = own(fit).or(heard(fit)).or(fit.first().copied());
        let rich: Vec<NodeId> =
            alive.iter().filter(|node| !self.poor.contains(node)).copied().collect();
        let poor = alive.first().copied().filter(|_| rich.is_empty());
        let applier = match own(&rich).or(heard(&rich)).or(poor) {
            Some(owner) => owner,
            None => {
                // All owners that are called alive are silent, or there are none. One that is
                // covered by a stand-in is not asked, so none is where owners must acknowledge.
                let nobody = || Failure::Unavailable("no replica can be reached".into());
                let better =
                    stand_in.filter(|node| heard(&[*node]).is_some() && self.needs.pw == 0);
                let first = rich.first().copied();
                let chosen = better.or(first).or(stand_in).ok_or_else(nobody)?;
                if Some(chosen) != first {
                    spare.retain(|node| *node != chosen);
                    applier_covers.extend(away.next().or(first));
                }
                chosen
            }
        };
        let mut spare = spare.into_iter();
        for owner in away {
            match spare.next() {
                Some(stand_in) => stand_ins.push((stand_in, vec![owner])),
                None => applier_covers.push(owner),
            }
        }
        Ok(Plan { applier, applier_covers, stand_ins, reachable, owners_alive })
    }

    /// The replica that was asked to apply answers.
    pub(super) fn on_applied(
        &mut self,
        view: &View,
        now_us: u64,
        op: OpId,
        from: NodeId,
        outcome: Result<Box<Applied>, Refusal>,
        doing: &mut Doing,
    ) {
        if from != self.applier || self.applied.is_some() {
            return;
        }
        match outcome {
            Ok(applied) => {
                let settled = applied.settled;
                self.applied = Some(*applied);
                self.spread(op, doing);
                self.timer_us = self.timer_us.min(now_us + self.hedge_us);
                // The word that it is on disk may have overtaken this one.
                let durable = self.copies.get(&from).is_some_and(|copy| copy.durable);
                if settled || durable {
                    self.on_ack(view, now_us, from, durable, doing);
                }
            }
            Err(refusal) => self.on_refused(view, op, refusal, doing),
        }
    }

    /// Nothing was applied there. Another replica may have room or a sound copy.
    fn on_refused(&mut self, view: &View, op: OpId, refusal: Refusal, doing: &mut Doing) {
        let last = match refusal {
            Refusal::Op(OpError::InsufficientRights { local, global }) => {
                return self.on_poor(view, op, (local, global), doing);
            }
            Refusal::Op(error) => return self.fail(Failure::Refused(error), doing),
            Refusal::DiskFull => Failure::DiskFull,
            Refusal::Corrupt(detail) => Failure::Corrupt(detail),
            Refusal::HintsFull => Failure::Unavailable(
                "no owner can be reached and the replicas \
                that stand in for them may keep no more hints"
                    .into(),
            ),
            Refusal::Failed(detail) => Failure::Unavailable(format!("storage failed: {detail}")),
            // Of deltas only, and those come from a replica that applied.
            Refusal::Stale | Refusal::Misdirected => {
                Failure::Unavailable("the replicas do not agree on the layout yet".into())
            }
        };
        self.refused.insert(self.applier);
        self.ask_the_next(view, op, last, doing);
    }

    fn fail(&mut self, failure: Failure, doing: &mut Doing) {
        self.replied = true;
        doing.reply = Some(Reply::Failed(failure));
        doing.done = true;
    }

    /// Sends the delta to every owner that nobody stands in for, and to the stand-ins.
    fn spread(&mut self, op: OpId, doing: &mut Doing) {
        let planned = std::mem::take(&mut self.planned);
        let mut covered: Vec<NodeId> = planned.iter().flat_map(|(_, for_)| for_).copied().collect();
        covered.extend(self.copies.values().flat_map(|copy| &copy.covers));
        let owners: Vec<NodeId> = self.list.owners().to_vec();
        for owner in owners {
            if owner != self.applier && !covered.contains(&owner) {
                self.join_at(owner, Vec::new(), op, doing);
            }
        }
        for (stand_in, covers) in planned {
            self.join_at(stand_in, covers, op, doing);
        }
    }

    fn join_at(&mut self, node: NodeId, covers: Vec<NodeId>, op: OpId, doing: &mut Doing) {
        let Some(applied) = &self.applied else { return };
        let (delta, note) = (applied.delta.clone(), applied.note.clone());
        let object = self.object.clone();
        self.copies.insert(node, Copy { covers: covers.clone(), ..Copy::default() });
        doing.sends.push((node, PeerBody::Join { op, object, delta, note, hint_for: covers }));
    }

    /// A replica has the write, in memory or on disk.
    pub(super) fn on_ack(
        &mut self,
        view: &View,
        now_us: u64,
        from: NodeId,
        durable: bool,
        doing: &mut Doing,
    ) {
        let Some(copy) = self.copies.get_mut(&from) else { return };
        copy.acked = true;
        copy.durable |= durable;
        if !self.replied && self.is_met(view) {
            self.reply(doing);
            self.timer_us = self.timer_us.min(now_us + LINGER_US).min(self.deadline_us);
        }
        doing.done = self.replied && self.missing().is_empty();
    }

    /// A replica did not join the delta.
    pub(super) fn on_join_refused(&mut self, from: NodeId) {
        if let Some(copy) = self.copies.get_mut(&from) {
            copy.refused = true;
        }
    }

    /// One copy for each owner: its own, or that of a stand-in for it. A stand-in hands over and
    /// forgets, so beside its owner's copy it is no second one.
    fn counted(&self) -> Vec<(NodeId, &Copy)> {
        let mut counted: Vec<(NodeId, &Copy)> = Vec::new();
        for owner in self.list.owners() {
            let own = self.copies.get(owner).filter(|copy| copy.acked).map(|copy| (*owner, copy));
            let stand_in = || {
                self.copies.iter().map(|(node, copy)| (*node, copy)).find(|(node, copy)| {
                    let free = !counted.iter().any(|(counted, _)| counted == node);
                    copy.acked && copy.covers.contains(owner) && free && !self.owns(*node)
                })
            };
            counted.extend(own.or_else(stand_in));
        }
        counted
    }

    fn owns(&self, node: NodeId) -> bool {
        self.list.owners().contains(&node)
    }

    fn acks(&self) -> Acks {
        let mut acks = Acks::default();
        for (node, copy) in self.counted() {
            match self.owns(node) {
                true => acks.owners += 1,
                false => acks.hints += 1,
            }
            acks.durable += u32::from(copy.durable);
        }
        if self.mutant.ack_before_w && acks.owners + acks.hints > 0 {
            acks.owners = acks.owners.max(self.needs.w.max(self.needs.pw) as u32);
        }
        acks
    }

    fn is_met(&self, view: &View) -> bool {
        let acks = self.acks();
        let zone = |node| view.layout.as_ref()?.member(node).map(|member| &member.zone);
        let zones: BTreeSet<_> =
            self.counted().into_iter().filter_map(|(node, _)| zone(node)).collect();
        let counted = if self.sloppy { acks.owners + acks.hints } else { acks.owners };
        self.applied.is_some()
            && counted as usize >= self.needs.w
            && acks.owners as usize >= self.needs.pw
            && acks.durable as usize >= self.needs.durable
            && zones.len() >= self.needs.zones
    }

    fn reply(&mut self, doing: &mut Doing) {
        let Some(applied) = &self.applied else { return };
        self.replied = true;
        doing.reply = Some(match &self.respond {
            Respond::Bucket(props) => Reply::Bucket(props.clone()),
            Respond::Written => Reply::Written(Written {
                acks: self.acks(),
                object: applied.state.clone(),
                said: match applied.again {
                    Some(dot) => [dot].into_iter().collect(),
                    None => applied.delta.context().clone(),
                },
                seen: applied.state.seen(),
            }),
        });
    }

    /// Time has passed: stand-ins for slow owners first, then marks for what is still missing,
    /// and at the deadline the answer that it is unknown.
    pub(super) fn on_timer(&mut self, view: &View, now_us: u64, op: OpId, doing: &mut Doing) {
        if !self.hedged && self.applied.is_some() && !self.replied {
            self.hedge(view, op, doing);
        }
        self.timer_us = self.deadline_us;
        if now_us >= self.deadline_us || self.replied {
            if !self.replied {
                self.replied = true;
                doing.reply = Some(Reply::Failed(match self.mutant.deadline_as_failure {
                    true => Failure::Unavailable("the deadline passed".into()),
                    false => Failure::Unknown(self.acks()),
                }));
            }
            self.owe_the_rest(view, op, doing);
            doing.done = true;
        }
    }

    /// Owners that neither have the write nor are owed it by a replica that has.
    fn missing(&self) -> Vec<NodeId> {
        let has = |owner: &NodeId| {
            self.copies
                .iter()
                .any(|(node, copy)| copy.acked && (node == owner || copy.covers.contains(owner)))
        };
        self.list.owners().iter().filter(|owner| !has(owner)).copied().collect()
    }

    fn hedge(&mut self, view: &View, op: OpId, doing: &mut Doing) {
        self.hedged = true;
        if !self.sloppy {
            return;
        }
        for owner in self.missing() {
            let unused = |node: &&NodeId| {
                view.is_alive(**node)
                    && !self.copies.contains_key(node)
                    && !self.refused.contains(node)
            };
            let unused = self.list.stand_ins().iter().filter(unused);
            let unused = unused.min_by_key(|node| self.silent.contains(node));
            let Some(stand_in) = unused.copied() else { return };
            doing.hedges += 1;
            self.join_at(stand_in, vec![owner], op, doing);
        }
    }

    /// Marks for owners that have not acknowledged, kept by a replica that has the write: by this
    /// node's where it has, or where the one that applied it is away. Otherwise that one is told
    /// until it answers, whether it has said that it applied the write or not.
    fn owe_the_rest(&mut self, view: &View, op: OpId, doing: &mut Doing) {
        let missing = self.missing();
        let applied = self.applied.take();
        let mine = self.applier == view.me
            || self.copies.get(&view.me).is_some_and(|copy| copy.acked)
            || !view.is_alive(self.applier);
        let elsewhere: Vec<NodeId> =
            missing.iter().filter(|owner| **owner != self.applier).copied().collect();
        match applied {
            Some(applied) if mine && !missing.is_empty() => {
                let (object, delta, note) = (self.object.clone(), applied.delta, applied.note);
                let body = PeerBody::Join { op, object, delta, note, hint_for: missing };
                doing.sends.push((view.me, body));
            }
            _ if !elsewhere.is_empty() => doing.unheard = Some((self.applier, elsewhere)),
            _ => {}
        }
    }
}
