//! The node as a value that is stepped: inputs in, outputs out, and nothing else.
//!
//! `step` never fails: operating errors become replies, programmer errors assert. Time comes in
//! from outside; randomness only as a seed. Acknowledgements wait for `Synced`.

use crate::cluster::{Member, MembershipView, View};
use crate::config::{Config, Mutant};
use crate::coordinator::Coordinator;
use crate::crdt::{NodeId, Object, ObjectId};
use crate::metrics::{Metric, Metrics};
use crate::placement::{Layout, LayoutId, LayoutMember};
use crate::replica::Replica;
use crate::store::{Lsn, Store, StoreError};
pub use crate::time::Time;
use crate::wire::api::{ClusterStatus, Failure, MemberStatus, Reply, Request, RequestId};
use crate::wire::peer::{PeerBody, PeerMessage, Refusal};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Between offers of the layout to members that work with another one, µs.
const OFFER_US: u64 = 1_000_000;

/// What happens to a node.
#[derive(Clone, PartialEq, Debug)]
#[allow(clippy::large_enum_variant)] // One at a time, and taken apart at once.
pub enum Input {
    /// A client asks.
    Client(RequestId, Request),
    /// A peer says; the shell has authenticated it.
    Peer(NodeId, PeerMessage),
    /// Every batch up to this one is on disk.
    Synced(Lsn),
    /// A sync failed: what is on disk is unknown. The node halts.
    SyncFailed(String),
    /// Members or their liveness changed.
    Members(MembershipView),
    /// `deadline()` has come.
    Tick,
}

/// What a node does.
#[derive(Clone, PartialEq, Debug)]
pub enum Output {
    /// Answer a client.
    Reply(RequestId, Reply),
    /// Send to a peer; may be lost.
    Send(NodeId, PeerMessage),
    /// Sync the store up to this batch and say `Synced`. Several may be answered by one.
    Sync(Lsn),
    /// A new layout is in force and on disk: tell gossip.
    Layout(Arc<Layout>),
    /// The store failed: stop the process, acknowledge nothing more.
    Halt(String),
}

/// Outputs of a step, in order.
pub type Outbox = Vec<Output>;

/// A node that does not hear all members of its layout is ready all the same after so long, µs: a
/// part of the cluster may be away.
const MEET_US: u64 = 5_000_000;

/// What one node holds of one object.
#[derive(Clone, PartialEq, Debug)]
pub struct Audit {
    /// Over the whole state.
    pub digest: u64,
    /// The whole state, of a set with all visible rows.
    pub object: Object,
    /// Whether the node owns it under its layout.
    pub owner: bool,
}

/// A node without its shell.
pub struct Core<S> {
    view: View,
    replica: Replica<S>,
    coordinator: Coordinator,
    /// A layout waiting to be on disk, and who asked for it.
    forming: Option<(Lsn, Option<RequestId>)>,
    offer_us: u64,
    /// Rounds of offers.
    offers: u64,
    sync_asked: Lsn,
    halted: bool,
    opened_us: u64,
    /// When the last step was.
    stepped_us: u64,
    /// Whether a layout was on disk and failed its check.
    layout_lost: bool,
    /// Whether every member of the layout was heard at once, or there was time enough for it.
    met: bool,
    metrics: Metrics,
}

impl<S: Store> Core<S> {
    /// Opens a node on `store`. `seed` must differ from every earlier seed of this node: the
    /// epoch of its actor is drawn from it unless the last stop was clean.
    ///
    /// # Errors
    /// The store could not be read, or holds a layout that fails its check.
    pub fn open(config: Config, store: S, now: Time, seed: u64) -> Result<Self, StoreError> {
        let mut view = View::new(config.id());
        let replica = Replica::open(config.clone(), store, &mut view, now, seed)?;
        let (layout, layout_lost) = match replica.stored_layout() {
            Ok(layout) => (layout, false),
            // The others know it: the node serves nothing until one of them has sent it.
            Err(StoreError::Corrupt(_)) => (None, true),
            Err(error) => return Err(error),
        };
        if let Some(layout) = layout {
            let id = layout.id();
            match config.is_mutant(Mutant::StaleLayout) {
                true => view.set_layout(Arc::new(without_last(layout))),
                false => view.set_layout(Arc::new(layout)),
            }
            view.layout_id = id;
        }
        Ok(Core {
            layout_lost,
            view,
            replica,
            coordinator: Coordinator::new(config, seed),
            forming: None,
            offer_us: now.mono_us,
            offers: 0,
            sync_asked: Lsn(0),
            halted: false,
            opened_us: now.mono_us,
            stepped_us: now.mono_us,
            met: false,
            metrics: Metrics::default(),
        })
    }

    /// Takes one input and appends what follows from it. After `Halt` nothing follows any more.
    pub fn step(&mut self, now: Time, input: Input, out: &mut Outbox) {
        if self.halted {
            return;
        }
        let begun_at = out.len();
        self.stepped_us = now.mono_us;
        self.met |= now.mono_us >= self.opened_us + MEET_US;
        match input {
            Input::Client(request, asked) => self.on_client(now, request, asked, out),
            Input::Peer(from, message) => self.on_peer(now, from, message, out),
            Input::Synced(lsn) => {
                self.replica.synced(lsn);
                self.on_synced(lsn, out);
            }
            Input::SyncFailed(why) => self.replica.sync_failed(why),
            Input::Members(members) => {
                self.view.members = members;
                self.meet();
                self.coordinator.members_changed(&self.view);
                self.replica.members_changed(&self.view, now);
            }
            Input::Tick => {
                self.coordinator.tick(&self.view, now);
                self.replica.tick(&self.view, now);
                self.offer_layout(now, out);
            }
        }
        self.settle(now, begun_at, out);
    }

    /// When a `Tick` is next due, in `mono_us`.
    pub fn deadline(&self) -> Option<u64> {
        let offer = self.has_strangers().then_some(self.offer_us);
        let ready = (!self.met).then_some(self.opened_us + MEET_US);
        let own = [offer, ready].into_iter().flatten();
        own.chain(self.coordinator.deadline()).chain(self.replica.deadline()).min()
    }

    /// Ends the node in order: sync up to the returned batch, then drop it; no step may follow.
    pub fn close(&mut self) -> Lsn {
        self.halted = true;
        self.replica.written()
    }

    /// The layout in force.
    pub fn layout(&self) -> Option<&Arc<Layout>> {
        self.view.layout.as_ref()
    }

    /// Replicas of each object in the bucket.
    pub fn n_of(&self, bucket: &str) -> u8 {
        self.view.n_of(bucket)
    }

    /// Whether the node can serve clients: it is part of a layout, and since it started it has
    /// heard all other members or waited for them.
    pub fn is_ready(&self) -> bool {
        self.met
            && !self.halted
            && self.view.layout.as_ref().is_some_and(|layout| layout.has(self.view.me))
    }

    /// Values of all metrics, gauges as of the last step.
    pub fn metrics(&mut self) -> &Metrics {
        self.replica.refresh_gauges(&self.view, self.stepped_us);
        self.coordinator.refresh_gauges();
        self.metrics = self.replica.metrics.plus(&self.coordinator.metrics);
        let alive = self.view.members.iter().filter(|member| member.alive).count();
        let version = self.view.layout.as_ref().map_or(0, |layout| layout.version);
        self.metrics.set(Metric::LayoutVersion, version);
        self.metrics.set(Metric::MembersAlive, alive as u64);
        self.metrics.set(Metric::MembersKnown, self.view.members.iter().count() as u64);
        &self.metrics
    }

    /// Every object this node holds, read whole: for checks, not for serving.
    ///
    /// # Errors
    /// A row could not be read or failed its check.
    pub fn audit(&self) -> Result<BTreeMap<ObjectId, Audit>, StoreError> {
        let whole = self.replica.audit()?;
        let audit = |(object, (digest, state)): (ObjectId, _)| {
            let owner = self.view.owns(&object);
            (object, Audit { digest, object: state, owner })
        };
        Ok(whole.into_iter().map(audit).collect())
    }

    /// One object as this node holds it, read whole: for checks.
    ///
    /// # Errors
    /// As [`Core::audit`].
    pub fn audit_object(&self, object: &ObjectId) -> Result<Option<Audit>, StoreError> {
        let owner = self.view.owns(object);
        let audit = |(digest, object)| Audit { digest, object, owner };
        Ok(audit_store(&self.replica.store, object)?.map(audit))
    }

    /// Objects known to be damaged on this node's disk and not mended yet.
    pub fn damaged(&self) -> u64 {
        self.replica.damaged()
    }

    /// Hint marks waiting, for checks.
    pub fn hints_pending(&self) -> u64 {
        self.replica.hints_pending()
    }

    /// Bounded counters whose rights may still move without a client's asking, for checks.
    pub fn rights_moving(&self) -> u64 {
        self.replica.rights_moving()
    }

    /// The store, for the shell's gauges and the simulator's checks.
    pub fn store(&self) -> &S {
        &self.replica.store
    }

    /// The store, for the simulator's crashes.
    pub fn store_mut(&mut self) -> &mut S {
        &mut self.replica.store
    }

    /// Takes the store out: the node is dead.
    pub fn into_store(self) -> S {
        self.replica.store
    }

    fn on_client(&mut self, now: Time, request: RequestId, asked: Request, out: &mut Outbox) {
        match asked {
            Request::Cluster => {
                out.push(Output::Reply(request, Reply::Cluster(Box::new(self.status()))));
            }
            Request::FormLayout { expect_members } => {
                if let Err(failure) = self.form_layout(request, expect_members) {
                    out.push(Output::Reply(request, Reply::Failed(failure)));
                }
            }
            asked => self.coordinator.on_request(&self.view, now, request, asked),
        }
    }

    fn on_peer(&mut self, now: Time, from: NodeId, message: PeerMessage, out: &mut Outbox) {
        if !message.body.is_sound() {
            self.coordinator.metrics.count(Metric::PeerMalformed);
            return;
        }
        match message.body {
            PeerBody::LayoutIs(theirs) => self.on_layout(from, theirs, out),
            body if message.layout == self.view.layout_id || is_answer(&body) => {
                self.deliver(now, from, body);
            }
            body => {
                self.coordinator.metrics.count(Metric::PeerMisdirected);
                if let PeerBody::Apply { op, .. } = &body {
                    self.replica.note_refused(from, *op);
                }
                if let Some(refused) = refuse_misdirected(body) {
                    self.send(from, refused, out);
                }
                let mine = self.view.layout.as_deref().cloned().map(Box::new);
                self.send(from, PeerBody::LayoutIs(mine), out);
            }
        }
    }

    fn deliver(&mut self, now: Time, from: NodeId, body: PeerBody) {
        if !is_answer(&body) {
            let busy = match &body {
                PeerBody::Settle { partition, .. } => self.coordinator.writes_in(*partition),
                _ => false,
            };
            self.replica.handle(&self.view, now, from, body, busy);
        } else if self.coordinator.on_answer(&self.view, now, from, body) {
            self.replica.answers_again(from, now);
        }
    }

    /// Moves effects out, and messages of this node to itself back in, until all is still.
    fn settle(&mut self, now: Time, begun_at: usize, out: &mut Outbox) {
        let mut own = VecDeque::new();
        loop {
            let sends = std::mem::take(&mut self.replica.effects.sends);
            let more = std::mem::take(&mut self.coordinator.sends);
            for (to, body) in sends.into_iter().chain(more) {
                match to == self.view.me {
                    true => own.push_back(body),
                    false => self.send(to, body, out),
                }
            }
            self.take_buckets();
            let Some(body) = own.pop_front() else { break };
            self.deliver(now, self.view.me, body);
        }
        if let Some(reason) = self.replica.effects.halt.take() {
            // Replies made in this step are withheld: nothing is acknowledged after a failure.
            self.halted = true;
            out.truncate(begun_at);
            out.push(Output::Halt(reason));
            return;
        }
        let replies = std::mem::take(&mut self.coordinator.replies);
        out.extend(replies.into_iter().map(|(request, reply)| Output::Reply(request, reply)));
        if let Some(lsn) = self.replica.effects.sync.take().filter(|lsn| *lsn > self.sync_asked) {
            self.sync_asked = lsn;
            out.push(Output::Sync(lsn));
        }
    }

    fn take_buckets(&mut self) {
        for (bucket, props) in std::mem::take(&mut self.replica.effects.buckets) {
            let before = self.view.n_of(&bucket);
            self.view.set_bucket(bucket.clone(), props);
            let gained = self.view.n_of(&bucket);
            let rebuild = |replica: &mut Replica<S>, view: &View| {
                replica.regroup(view, &bucket, gained)?;
                replica.rebuild_trees(view)
            };
            if gained != before
                && let Err(error) = rebuild(&mut self.replica, &self.view)
            {
                self.replica.effects.halt = Some(error.to_string());
            }
        }
    }

    fn send(&self, to: NodeId, body: PeerBody, out: &mut Outbox) {
        out.push(Output::Send(to, PeerMessage { layout: self.view.layout_id, body }));
    }

    fn form_layout(&mut self, request: RequestId, expect: u16) -> Result<(), Failure> {
        if let Some(layout) = &self.view.layout {
            let version = layout.version;
            return Err(Failure::Conflict(format!("the cluster has layout version {version}")));
        }
        if self.layout_lost {
            return Err(Failure::Conflict(
                "the layout on this node's disk is damaged: it waits for a member that has it"
                    .into(),
            ));
        }
        let alive: Vec<&Member> = self.view.members.iter().filter(|m| m.alive).collect();
        if alive.len() < usize::from(expect.max(1)) {
            let count = alive.len();
            return Err(Failure::Conflict(format!("{count} of {expect} members are alive")));
        }
        if let Some(member) = alive.iter().find(|member| member.layout != LayoutId::NONE) {
            let name = &member.name;
            return Err(Failure::Conflict(format!(
                "member {name} has a layout already: wait for it"
            )));
        }
        let members = alive.iter().map(|member| LayoutMember {
            id: member.id,
            name: member.name.clone(),
            zone: member.zone.clone(),
            capacity: member.capacity.max(1),
        });
        let layout = Layout::first(members.collect());
        self.adopt(layout, Some(request)).map_err(|error| Failure::Unavailable(error.to_string()))
    }

    fn meet(&mut self) {
        let heard = |layout: &Arc<Layout>| layout.members.iter().all(|m| self.view.is_alive(m.id));
        self.met |= self.view.layout.as_ref().is_some_and(heard);
    }

    fn adopt(&mut self, layout: Layout, request: Option<RequestId>) -> Result<(), StoreError> {
        let lsn = self.replica.keep_layout(&layout)?;
        self.forming = Some((lsn, request));
        self.layout_lost = false;
        self.view.set_layout(Arc::new(layout));
        self.meet();
        Ok(())
    }

    fn on_layout(&mut self, from: NodeId, theirs: Option<Box<Layout>>, out: &mut Outbox) {
        match (theirs, self.view.layout.as_deref()) {
            (Some(theirs), None) if theirs.is_valid() => {
                match self.adopt(*theirs, None) {
                    // Offered again while this node says that it has none.
                    Ok(()) | Err(StoreError::Full) => {}
                    Err(error) => self.replica.effects.halt = Some(error.to_string()),
                }
            }
            (None, Some(mine)) => {
                let mine = Some(Box::new(mine.clone()));
                self.send(from, PeerBody::LayoutIs(mine), out);
            }
            // Two first layouts formed on two sides of a partition: neither yields, and each
            // refuses the other's messages until a person decides.
            _ => {}
        }
    }

    fn on_synced(&mut self, lsn: Lsn, out: &mut Outbox) {
        let Some((_, request)) = self.forming.take_if(|(needs, _)| *needs <= lsn) else { return };
        let Some(layout) = self.view.layout.clone() else { return };
        out.push(Output::Layout(layout.clone()));
        if let Some(request) = request {
            for member in layout.members.iter().filter(|member| member.id != self.view.me) {
                let mine = Some(Box::new(Layout::clone(&layout)));
                self.send(member.id, PeerBody::LayoutIs(mine), out);
            }
            out.push(Output::Reply(request, Reply::Cluster(Box::new(self.status()))));
        }
    }

    fn has_strangers(&self) -> bool {
        self.view.layout.is_some() && self.view.strangers().next().is_some()
    }

    fn offer_layout(&mut self, now: Time, out: &mut Outbox) {
        if now.mono_us < self.offer_us {
            return;
        }
        let Some(layout) = self.view.layout.clone() else { return };
        self.offer_us = now.mono_us + OFFER_US;
        self.offers += 1;
        for node in self.view.told_in(self.offers) {
            self.send(node, PeerBody::LayoutIs(Some(Box::new(Layout::clone(&layout)))), out);
        }
    }

    fn status(&self) -> ClusterStatus {
        let layout = self.view.layout.as_deref();
        let members = self.view.members.iter().map(|member| MemberStatus {
            member: member.clone(),
            partitions: layout.map_or(0, |l| l.owned_count(member.id, self.view.default_bucket.n)),
            hints_owed: self.replica.hints_for(member.id),
        });
        let mut members: Vec<_> = members.collect();
        members.sort_by(|a, b| a.member.name.cmp(&b.member.name));
        ClusterStatus {
            node: self.view.name_of(self.view.me),
            layout: layout.cloned(),
            members,
            ready: self.is_ready(),
        }
    }
}

/// Digest and whole state of one object in a store without a node, `None` when it is not there.
///
/// # Errors
/// A row could not be read or failed its check.
pub fn audit_store<S: Store>(
    store: &S,
    object: &ObjectId,
) -> Result<Option<(u64, Object)>, StoreError> {
    crate::replica::load_audited(store, object)
}

/// What a buggy node would go on with: the layout from before its last member came.
fn without_last(layout: Layout) -> Layout {
    let mut members = layout.members;
    if members.len() > 1 {
        members.pop();
    }
    Layout::first(members)
}

fn is_answer(body: &PeerBody) -> bool {
    matches!(
        body,
        PeerBody::Applied { .. }
            | PeerBody::AppliedDurable { .. }
            | PeerBody::Joined { .. }
            | PeerBody::Got { .. }
            | PeerBody::Inspected { .. }
            | PeerBody::Owed(_)
    )
}

/// The answer to a request made under another layout, if it is one.
fn refuse_misdirected(body: PeerBody) -> Option<PeerBody> {
    let refusal = Refusal::Misdirected;
    match body {
        PeerBody::Apply { op, .. } => Some(PeerBody::Applied { op, outcome: Err(refusal) }),
        PeerBody::Join { op, .. } => Some(PeerBody::Joined { op, outcome: Err(refusal) }),
        PeerBody::Get { op, .. } => Some(PeerBody::Got { op, outcome: Err(refusal) }),
        _ => None,
    }
}
