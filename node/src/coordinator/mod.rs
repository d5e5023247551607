//! One small state machine per request: quorum, deadline, outcome. The node a client asks
//! coordinates; it talks to its own replica by the same messages as to any other.

mod explain;
mod quorum;
mod read;
mod scores;
mod silence;
mod unheard;
mod write;

use crate::cluster::{BUCKETS, View};
use crate::config::{BucketProps, Config, Mutant};
use crate::crdt::{KvOp, NodeId, ObjectId, ObjectOp, Observed, TypeTag};
use crate::metrics::{Metric, Metrics};
use crate::placement::partition_of;
use crate::time::Time;
use crate::wire::api::{Failure, Options, Quorum, ReadQuery, Reply, Request, RequestId};
use crate::wire::codec;
use crate::wire::peer::{OpId, PeerBody};
use explain::Explain;
use quorum::{ReadNeeds, check_bucket, check_once, no_layout, read_needs, timeout_ms, write_needs};
use read::Read;
use silence::Silence;
use std::collections::{BTreeMap, BTreeSet};
use unheard::Unheard;
use write::{Doing, Respond, Write};

/// An explanation waits no longer than that for silent replicas, µs.
const EXPLAIN_US: u64 = 1_000_000;

/// All requests that this node coordinates.
#[derive(Debug)]
pub struct Coordinator {
    config: Config,
    next_op: u64,
    ops: BTreeMap<OpId, Op>,
    timers: BTreeSet<(u64, OpId)>,
    /// Requests not answered yet.
    open: usize,
    silence: Silence,
    unheard: Unheard,
    pub(crate) sends: Vec<(NodeId, PeerBody)>,
    pub(crate) replies: Vec<(RequestId, Reply)>,
    pub(crate) metrics: Metrics,
}

#[derive(Debug)]
enum Op {
    Write(Box<Write>),
    Read(Box<Read>, After),
    Explain(Box<Explain>, RequestId),
}

/// What follows a read.
#[derive(Debug)]
enum After {
    /// The answer.
    Answer(RequestId),
    /// A removal of what was read.
    Remove { request: RequestId, op: ObjectOp, options: Options },
}

impl Op {
    fn timer(&self) -> u64 {
        match self {
            Op::Write(write) => write.timer(),
            Op::Read(read, _) => read.timer(),
            Op::Explain(explain, _) => explain.deadline_us,
        }
    }
}

impl Coordinator {
    /// A coordinator whose operations are numbered from `first_op`, which must differ from those
    /// of the node's earlier starts.
    pub fn new(config: Config, first_op: u64) -> Self {
        Coordinator {
            silence: Silence::new(u64::from(config.hedge_ms) * 1_000),
            unheard: Unheard::new(u64::from(config.hint_retry_ms) * 1_000),
            config,
            next_op: first_op,
            ops: BTreeMap::new(),
            timers: BTreeSet::new(),
            open: 0,
            sends: Vec::new(),
            replies: Vec::new(),
            metrics: Metrics::default(),
        }
    }

    /// Takes a request on objects or buckets; the core answers the others itself.
    pub fn on_request(&mut self, view: &View, now: Time, request: RequestId, asked: Request) {
        if self.open >= self.config.requests_max {
            self.metrics.count(Metric::Shed);
            return self.reply_now(request, Reply::Failed(Failure::Overloaded));
        }
        let begun = match asked {
            Request::Write { op, .. } if !op.is_canonical() => Err(Failure::BadParameter {
                parameter: "context",
                detail: "not one that a read can have given".into(),
            }),
            Request::Write { object, op, options } => {
                self.begin_write(view, now, request, object, op, options)
            }
            Request::Read { object, query, options } => {
                let answer = After::Answer(request);
                self.begin_read(view, now, object, query, &options, answer, false)
            }
            Request::Explain { object } => self.begin_explain(view, now, request, object),
            Request::GetBucket { bucket } => {
                return self.reply_now(request, Reply::Bucket(view.bucket(&bucket)));
            }
            Request::PutBucket { bucket, props } => {
                let checked = check_bucket(&props);
                checked.and_then(|()| self.write_bucket(view, now, request, bucket, Some(props)))
            }
            Request::DeleteBucket { bucket } => self.write_bucket(view, now, request, bucket, None),
            Request::Cluster | Request::FormLayout { .. } => unreachable!("the core's own"),
        };
        match begun {
            Ok(()) => self.open += 1,
            Err(failure) => self.reply_now(request, Reply::Failed(failure)),
        }
    }

    /// Takes an answer to one of this coordinator's messages. Whether it ends a silence, in which
    /// other messages may have been lost.
    pub fn on_answer(&mut self, view: &View, now: Time, from: NodeId, body: PeerBody) -> bool {
        let was_silent = self.silence.answered(from, now.mono_us);
        self.advance(view, now, from, body);
        was_silent
    }

    fn advance(&mut self, view: &View, now: Time, from: NodeId, body: PeerBody) {
        let mut op = match &body {
            PeerBody::Owed(ops) => return self.unheard.owed(from, ops),
            PeerBody::Applied { op, .. }
            | PeerBody::AppliedDurable { op }
            | PeerBody::Joined { op, .. }
            | PeerBody::Got { op, .. }
            | PeerBody::Inspected { op, .. } => *op,
            _ => return,
        };
        // An answer to an operation that is over needs nothing.
        let Some(mut state) = self.take(op) else { return };
        let mut doing = Doing::default();
        let mut outcome = None;
        match (&mut state, body) {
            (Op::Write(write), PeerBody::Applied { outcome, .. }) => {
                write.on_applied(view, now.mono_us, op, from, outcome, &mut doing);
                if doing.renumber {
                    op = self.draw_op();
                    write.begin_again(view, op, &mut doing);
                }
            }
            (Op::Write(write), PeerBody::AppliedDurable { .. })
            | (Op::Write(write), PeerBody::Joined { outcome: Ok(true), .. }) => {
                write.on_ack(view, now.mono_us, from, true, &mut doing);
            }
            (Op::Write(write), PeerBody::Joined { outcome: Ok(false), .. }) => {
                write.on_ack(view, now.mono_us, from, false, &mut doing);
            }
            (Op::Write(write), PeerBody::Joined { outcome: Err(_), .. }) => {
                write.on_join_refused(from);
            }
            (Op::Read(read, _), PeerBody::Got { outcome: got, .. }) => {
                read.see(now);
                outcome = read.on_got(op, from, got, &mut doing);
            }
            (Op::Explain(explain, _), PeerBody::Inspected { report, .. }) => {
                explain.on_report(view, from, *report, &mut doing);
            }
            _ => {}
        }
        self.go_on(view, now, op, state, doing, outcome);
    }

    /// Does what time asks for.
    pub fn tick(&mut self, view: &View, now: Time) {
        while let Some((due, op)) = self.timers.first().copied() {
            if due > now.mono_us {
                break;
            }
            let Some(mut state) = self.take(op) else { continue };
            let mut doing = Doing::default();
            let mut outcome = None;
            match &mut state {
                Op::Write(write) => write.on_timer(view, now.mono_us, op, &mut doing),
                Op::Read(read, _) => {
                    read.see(now);
                    outcome = read.on_timer(now.mono_us, op, &mut doing);
                }
                Op::Explain(explain, _) => explain.finish(view, &mut doing),
            }
            self.go_on(view, now, op, state, doing, outcome);
        }
        let told = self.unheard.tell(view, now.mono_us);
        self.sends.extend(told);
    }

    /// Members or their liveness changed.
    pub fn members_changed(&mut self, view: &View) {
        self.silence.members_changed(view);
    }

    /// Whether a write to an object in that partition is under way.
    pub fn writes_in(&self, partition: u16) -> bool {
        let is_there = |op: &Op| match op {
            Op::Write(write) => partition_of(&write.object) == partition,
            _ => false,
        };
        self.ops.values().any(is_there)
    }

    /// When `tick` is next due, µs.
    pub fn deadline(&self) -> Option<u64> {
        let timer = self.timers.first().map(|(due, _)| *due);
        timer.into_iter().chain(self.unheard.due()).min()
    }

    /// Refreshes the gauges.
    pub fn refresh_gauges(&mut self) {
        self.metrics.set(Metric::Open, self.open as u64);
    }

    fn take(&mut self, op: OpId) -> Option<Op> {
        let state = self.ops.remove(&op)?;
        let known = self.timers.remove(&(state.timer(), op));
        assert!(known, "every open operation has its timer");
        Some(state)
    }

    fn keep(&mut self, op: OpId, state: Op) {
        self.timers.insert((state.timer(), op));
        self.ops.insert(op, state);
    }

    fn draw_op(&mut self) -> OpId {
        self.next_op = self.next_op.wrapping_add(1);
        OpId(self.next_op)
    }

    fn reply_now(&mut self, request: RequestId, reply: Reply) {
        self.count(&reply);
        self.replies.push((request, reply));
    }

    fn answer(&mut self, request: RequestId, reply: Reply) {
        self.open -= 1;
        self.reply_now(request, reply);
    }

    fn count(&mut self, reply: &Reply) {
        let metric = match reply {
            Reply::Written(written) => {
                self.metrics.add(Metric::AcksOwner, written.acks.owners.into());
                self.metrics.add(Metric::AcksHint, written.acks.hints.into());
                Metric::WritesAcked
            }
            Reply::Read(_) => Metric::ReadsServed,
            Reply::Failed(Failure::Unknown(_)) => Metric::WritesUnknown,
            Reply::Failed(Failure::Refused(_)) => Metric::WritesRefused,
            _ => return,
        };
        self.metrics.count(metric);
    }

    /// Acts on what a step of an operation led to, and keeps the operation unless it is over.
    fn go_on(
        &mut self,
        view: &View,
        now: Time,
        op: OpId,
        state: Op,
        doing: Doing,
        outcome: Option<read::Outcome>,
    ) {
        self.metrics.add(Metric::Hedges, doing.hedges);
        if let Some((applier, owners)) = doing.unheard
            && !self.unheard.note(applier, op, owners, now.mono_us)
        {
            self.metrics.count(Metric::HintsDropped);
        }
        self.send(view, now, doing.sends);
        let request = match &state {
            Op::Write(write) => write.request,
            Op::Read(_, After::Answer(request) | After::Remove { request, .. }) => *request,
            Op::Explain(_, request) => *request,
        };
        if let Some(reply) = doing.reply {
            if matches!(&reply, Reply::Failed(Failure::Unavailable(_))) {
                self.metrics.count(Metric::WritesUnavailable);
            }
            self.answer(request, reply);
        }
        match (outcome, state) {
            (Some(outcome), Op::Read(read, after)) => {
                self.after_read(view, now, *read, after, outcome);
            }
            (_, state) if !doing.done => self.keep(op, state),
            _ => {}
        }
    }

    fn after_read(
        &mut self,
        view: &View,
        now: Time,
        read: Read,
        after: After,
        outcome: read::Outcome,
    ) {
        if outcome.diverged {
            self.metrics.count(Metric::ReadsDiverged);
        }
        match (after, outcome.result) {
            (After::Answer(request), Ok(result)) => {
                self.metrics.add(Metric::RepairsSent, result.repaired.into());
                self.answer(request, Reply::Read(result));
            }
            (After::Answer(request), Err(failure)) => {
                self.metrics.count(Metric::ReadsUnavailable);
                self.answer(request, Reply::Failed(failure));
            }
            (After::Remove { request, mut op, options }, Ok(result)) => {
                if let Some(observed) = op.delete_observed() {
                    *observed = Observed::Context(result.object.seen());
                }
                let left_us = read.deadline_us.saturating_sub(now.mono_us).max(1);
                let left_ms = u32::try_from(left_us.div_ceil(1_000)).unwrap_or(1);
                let options = Options { timeout_ms: Some(left_ms), ..options };
                let begun = self.begin_write(view, now, request, read.object, op, options);
                if let Err(failure) = begun {
                    self.answer(request, Reply::Failed(failure));
                }
            }
            // Nothing was removed yet.
            (After::Remove { request, .. }, Err(failure)) => {
                self.answer(request, Reply::Failed(failure));
            }
        }
    }

    fn begin_write(
        &mut self,
        view: &View,
        now: Time,
        request: RequestId,
        object: ObjectId,
        mut op: ObjectOp,
        options: Options,
    ) -> Result<(), Failure> {
        check_once(&op, &options)?;
        let reads_first = op.delete_observed() == Some(&mut Observed::Here);
        if reads_first {
            // Everything about the write is checked before the read.
            self.terms(view, now, &object, &options, request, Respond::Written)?;
            let query = match object.tag {
                tag if tag.has_rows() => {
                    ReadQuery::Page { after: None, prefix: Vec::new(), limit: 0 }
                }
                _ => ReadQuery::Whole,
            };
            let reading = options.clone();
            let after = After::Remove { request, op, options };
            return self.begin_read(view, now, object, query, &reading, after, true);
        }
        let terms = self.terms(view, now, &object, &options, request, Respond::Written)?;
        self.start_write(view, now, object, op, terms)
    }

    fn send(&mut self, view: &View, now: Time, sends: Vec<(NodeId, PeerBody)>) {
        for (to, body) in sends.iter().filter(|(to, _)| *to != view.me) {
            self.silence.sent(*to, body, now.mono_us);
        }
        self.sends.extend(sends);
    }

    fn start_write(
        &mut self,
        view: &View,
        now: Time,
        object: ObjectId,
        action: ObjectOp,
        terms: write::Terms,
    ) -> Result<(), Failure> {
        let op = self.draw_op();
        let mut doing = Doing::default();
        let write = Write::begin(view, op, object, action, terms, &mut doing)
            .inspect_err(|_| self.metrics.count(Metric::WritesUnavailable))?;
        self.send(view, now, doing.sends);
        self.keep(op, Op::Write(Box::new(write)));
        Ok(())
    }

    fn terms(
        &self,
        view: &View,
        now: Time,
        object: &ObjectId,
        options: &Options,
        request: RequestId,
        respond: Respond,
    ) -> Result<write::Terms, Failure> {
        let bucket = view.bucket(&object.bucket);
        let timeout = timeout_ms(options, self.config.timeout_ms)?;
        let list = view.preference(object).ok_or_else(no_layout)?;
        let needs = write_needs(options, &bucket, list.owners().len())?;
        let deadline_us = now.mono_us + u64::from(timeout) * 1_000;
        let hedge_us = self.silence.hedge_us;
        let sloppy = bucket.sloppy;
        let mutant = write::Mutants {
            ack_before_w: self.config.is_mutant(Mutant::AckBeforeW),
            deadline_as_failure: self.config.is_mutant(Mutant::DeadlineAsFailure),
        };
        let silent = self.silence.peers(now.mono_us);
        let ttl = options.ttl;
        Ok(write::Terms {
            request,
            respond,
            ttl,
            once: options.once.clone(),
            needs,
            sloppy,
            list,
            silent,
            deadline_us,
            hedge_us,
            mutant,
        })
    }

    #[allow(clippy::too_many_arguments)] // One caller for clients, one for removals.
    fn begin_read(
        &mut self,
        view: &View,
        now: Time,
        object: ObjectId,
        query: ReadQuery,
        options: &Options,
        after: After,
        as_far_as_reachable: bool,
    ) -> Result<(), Failure> {
        let bucket = view.bucket(&object.bucket);
        let timeout = timeout_ms(options, self.config.timeout_ms)?;
        let list = view.preference(&object).ok_or_else(no_layout)?;
        let mut needs = read_needs(options, &bucket, list.owners().len())?;
        if as_far_as_reachable {
            // A removal is a write: it goes on with what can be read.
            let alive = list.owners().iter().filter(|node| view.is_alive(**node)).count();
            if alive == 0 {
                return self.remove_here(view, now, object, after);
            }
            needs = ReadNeeds { r: needs.r.min(alive), pr: 0 };
        }
        let op = self.draw_op();
        let mut doing = Doing::default();
        let terms = read::Terms {
            needs,
            resolve: bucket.resolve,
            list,
            silent: self.silence.peers(now.mono_us),
            deadline_us: now.mono_us + u64::from(timeout) * 1_000,
            hedge_us: self.silence.hedge_us,
            count_not_found: self.config.is_mutant(Mutant::CountNotFound),
        };
        let read = Read::begin(view, now.mono_us, op, object, query, terms, &mut doing)
            .inspect_err(|_| self.metrics.count(Metric::ReadsUnavailable))?;
        self.send(view, now, doing.sends);
        self.keep(op, Op::Read(Box::new(read), after));
        Ok(())
    }

    /// A removal when no owner can be read: of what the stand-in that applies it holds.
    fn remove_here(
        &mut self,
        view: &View,
        now: Time,
        object: ObjectId,
        after: After,
    ) -> Result<(), Failure> {
        let After::Remove { request, op, options } = after else {
            unreachable!("only removals read as far as reachable")
        };
        let terms = self.terms(view, now, &object, &options, request, Respond::Written)?;
        self.start_write(view, now, object, op, terms)
    }

    fn begin_explain(
        &mut self,
        view: &View,
        now: Time,
        request: RequestId,
        object: ObjectId,
    ) -> Result<(), Failure> {
        let list = view.preference(&object).ok_or_else(no_layout)?;
        let op = self.draw_op();
        let mut doing = Doing::default();
        let deadline_us = now.mono_us + EXPLAIN_US;
        let explain = Explain::begin(view, op, object, list, deadline_us, &mut doing);
        self.sends.extend(doing.sends);
        self.keep(op, Op::Explain(Box::new(explain), request));
        Ok(())
    }

    /// Bucket properties are a register on every member. The answer comes when every member that
    /// is alive has them, so that the next request finds them in force wherever it goes.
    fn write_bucket(
        &mut self,
        view: &View,
        now: Time,
        request: RequestId,
        bucket: String,
        props: Option<BucketProps>,
    ) -> Result<(), Failure> {
        let key = bucket.into_bytes();
        let object = ObjectId { bucket: BUCKETS.into(), tag: TypeTag::Kv, key };
        let list = view.preference(&object).ok_or_else(no_layout)?;
        let alive = list.owners().iter().filter(|node| view.is_alive(**node)).count();
        let w = Some(Quorum::Count(u8::try_from(alive).unwrap_or(u8::MAX)));
        let options = Options { w, ..Options::default() };
        let action = ObjectOp::Kv(match &props {
            Some(props) => KvOp::Put {
                value: codec::encode(props),
                content_type: "application/vnd.starling.bucket".into(),
                observed: Observed::Here,
            },
            None => KvOp::Delete { observed: Observed::Here },
        });
        let respond = Respond::Bucket(props.unwrap_or_else(|| view.default_bucket.clone()));
        let terms = self.terms(view, now, &object, &options, request, respond)?;
        self.start_write(view, now, object, action, terms)
    }
}
