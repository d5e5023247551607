//! Real cores on one heap of events: messages take the time that draws say, syncs as well, and
//! who is alive is told by hand. No gossip and no faults: one question, many thousand times.
//!
//! Trees are compared once, at the start: what a trial shows comes from writes and reads alone.
//! Messages are handed over without their encoding.

use super::draws::Draws;
use super::shape::{BUCKET, Leg, Shape};
use starling_node::cluster::{Member, MembershipView};
use starling_node::config::{BucketProps, Config, Quorum};
use starling_node::core::{Core, Input, Outbox, Output, Time};
use starling_node::crdt::{KvOp, NodeId, Object, ObjectId, ObjectOp, Observed};
use starling_node::placement::LayoutId;
use starling_node::store::Lsn;
use starling_node::store::memory::MemoryStore;
use starling_node::wire::api::{Options, ReadQuery, Reply, Request, RequestId};
use starling_node::wire::peer::{PeerBody, PeerMessage};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// Wall time at which clusters begin, ms since the Unix epoch.
const WALL_START_MS: u64 = 1_800_000_000_000;

/// Nothing due for so long means that the cluster is at rest, µs: longer than a request may take.
const REST_US: u64 = 61_000_000;

/// Within so long after it was formed every node has the layout, µs.
const FORM_US: u64 = 60_000_000;

/// A request is given up after so long, ms.
const TIMEOUT_MS: u32 = 60_000;

/// Kinds of messages that keep their own order and count between two nodes: the legs.
const KINDS: usize = 5;

enum Event {
    Peer { from: NodeId, to: usize, message: Box<PeerMessage> },
    Synced { node: usize, upto: Lsn },
}

struct Entry {
    at_us: u64,
    order: u64,
    event: Event,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at_us, self.order).cmp(&(other.at_us, other.order))
    }
}

#[derive(Clone, Copy, Default)]
struct Disk {
    running: bool,
    wanted: bool,
    begun: u8,
}

#[derive(Clone, Copy, Default)]
struct Link {
    sent: u8,
    last_us: u64,
}

/// What one trial showed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    /// Whether the read returned the write.
    pub fresh: bool,
    /// Until the write was acknowledged, µs.
    pub write_us: u64,
    /// Until the read was answered, µs.
    pub read_us: u64,
}

/// A cluster of real cores.
pub struct Cluster {
    shape: Shape,
    places: BTreeMap<NodeId, usize>,
    cores: Vec<Core<MemoryStore>>,
    /// When each core wants to be ticked.
    due_us: Vec<Option<u64>>,
    disks: Vec<Disk>,
    links: Vec<Link>,
    draws: Draws,
    now_us: u64,
    heap: BinaryHeap<Reverse<Entry>>,
    order: u64,
    requests: u64,
    replies: BTreeMap<RequestId, (u64, Reply)>,
    down: Vec<bool>,
}

impl Cluster {
    /// A cluster at rest that has its layout and its bucket.
    ///
    /// # Errors
    /// What the cores answered instead of forming it.
    pub fn new(shape: &Shape) -> Result<Cluster, String> {
        let count = shape.nodes;
        let open = |node: usize| {
            let mut config = Config::new(Shape::name(node));
            config.timeout_ms = TIMEOUT_MS;
            config.hedge_ms = (shape.hedge_us / 1_000) as u32;
            config.exchange_ms = u32::MAX;
            config.scrub_ms = 0;
            let seed = 100 + node as u64;
            Core::open(config, MemoryStore::new(), time(0), seed).map_err(|e| e.to_string())
        };
        let mut cluster = Cluster {
            places: (0..count).map(|node| (Shape::id(node), node)).collect(),
            cores: (0..count).map(open).collect::<Result<_, _>>()?,
            due_us: vec![None; count],
            disks: vec![Disk::default(); count],
            links: vec![Link::default(); count * count * KINDS],
            draws: Draws::new(0, u64::MAX),
            now_us: 0,
            heap: BinaryHeap::new(),
            order: 0,
            requests: 0,
            replies: BTreeMap::new(),
            down: vec![false; count],
            shape: shape.clone(),
        };
        cluster.tell_members(LayoutId::NONE);
        // Not at rest before the members are told that all have the layout: it is offered again
        // and again until then.
        let form = Request::FormLayout { expect_members: count as u16 };
        let formed = cluster.ask_quickly(0, form)?;
        cluster.pass(FORM_US);
        let Reply::Cluster(status) = formed else { return Err(format!("no layout: {formed:?}")) };
        let layout = status.layout.ok_or("the cluster formed without a layout")?;
        cluster.tell_members(layout.id());
        let props = BucketProps {
            n: shape.n as u8,
            r: Quorum::Count(shape.r as u8),
            w: Quorum::Count(shape.w as u8),
            durability: shape.durability,
            ..BucketProps::default()
        };
        let set = cluster.ask(0, Request::PutBucket { bucket: BUCKET.into(), props })?;
        match set {
            Reply::Bucket(_) => Ok(cluster),
            other => Err(format!("the bucket was not set: {other:?}")),
        }
    }

    /// Writes to a key, and `after_us` microseconds after the acknowledgement reads it at another
    /// node; then waits until nothing is under way.
    ///
    /// # Errors
    /// A request that was not answered as it should be.
    pub fn trial(&mut self, draws: Draws, after_us: u64) -> Result<Seen, String> {
        self.draws = draws;
        self.disks.iter_mut().for_each(|disk| disk.begun = 0);
        self.links.iter_mut().for_each(|link| link.sent = 0);
        let (key, writer, reader) = draws.roles(&self.shape);
        let object = Shape::object(key);
        let value = (self.requests + 1).to_le_bytes().to_vec();
        let begun_us = self.now_us;
        let wrote = self.begin(writer, put(object.clone(), value.clone()));
        let (acked_us, reply) = self.wait(wrote)?;
        let Reply::Written(_) = reply else { return Err(format!("the write: {reply:?}")) };
        self.run_until(acked_us + after_us);
        let query = ReadQuery::Whole;
        let read = Request::Read { object, query, options: Options::default() };
        let asked = self.begin(reader, read);
        let (read_us, reply) = self.wait(asked)?;
        let Reply::Read(result) = reply else { return Err(format!("the read: {reply:?}")) };
        let Object::Kv(kv) = &result.object else { return Err("the read gave no register".into()) };
        let fresh = kv.siblings().any(|(_, sibling)| sibling.value == value);
        self.rest();
        let (write_us, asked_us) = (acked_us - begun_us, acked_us + after_us);
        Ok(Seen { fresh, write_us, read_us: read_us - asked_us })
    }

    /// One request; waits for the answer and until nothing is under way.
    ///
    /// # Errors
    /// It was not answered.
    pub fn ask(&mut self, node: usize, request: Request) -> Result<Reply, String> {
        let asked = self.begin(node, request);
        let (_, reply) = self.wait(asked)?;
        self.rest();
        Ok(reply)
    }

    /// One request; waits for the answer only.
    ///
    /// # Errors
    /// It was not answered.
    pub fn ask_quickly(&mut self, node: usize, request: Request) -> Result<Reply, String> {
        let asked = self.begin(node, request);
        self.wait(asked).map(|(_, reply)| reply)
    }

    /// Cuts a node off and tells the others so. What was under way to it is lost.
    pub fn take_down(&mut self, node: usize) {
        self.down[node] = true;
        let layout = self.cores[0].layout().map_or(LayoutId::NONE, |layout| layout.id());
        self.tell_members(layout);
    }

    /// The node's core.
    pub fn core(&self, node: usize) -> &Core<MemoryStore> {
        &self.cores[node]
    }

    /// Lets `us` microseconds pass.
    pub fn pass(&mut self, us: u64) {
        self.run_until(self.now_us + us);
    }

    fn tell_members(&mut self, layout: LayoutId) {
        let member = |node: usize| Member {
            id: Shape::id(node),
            name: Shape::name(node),
            zone: format!("z{}", self.shape.zone(node)),
            capacity: 1,
            peer_addr: String::new(),
            http_addr: String::new(),
            generation: 1,
            alive: !self.down[node],
            layout,
        };
        let view = MembershipView::new((0..self.shape.nodes).map(member).collect());
        for node in (0..self.shape.nodes).filter(|node| !self.down[*node]).collect::<Vec<_>>() {
            self.step(node, Input::Members(view.clone()));
        }
    }

    fn begin(&mut self, node: usize, request: Request) -> RequestId {
        self.requests += 1;
        let id = RequestId(self.requests);
        self.step(node, Input::Client(id, request));
        id
    }

    fn wait(&mut self, request: RequestId) -> Result<(u64, Reply), String> {
        loop {
            if let Some(reply) = self.replies.remove(&request) {
                return Ok(reply);
            }
            let due_us = self.next_us().ok_or("a request was left without an answer")?;
            self.run_until(due_us);
        }
    }

    /// Runs until no message and no sync is under way, and no node wants anything soon.
    fn rest(&mut self) {
        while let Some(due_us) = self.next_us() {
            if self.heap.is_empty() && due_us > self.now_us + REST_US {
                return;
            }
            self.run_until(due_us);
        }
    }

    fn next_us(&self) -> Option<u64> {
        let tick = self.due_us.iter().flatten().min().copied();
        let event = self.heap.peek().map(|Reverse(entry)| entry.at_us);
        [tick, event].into_iter().flatten().min().map(|due_us| due_us.max(self.now_us))
    }

    /// Everything that happens up to and at `until_us`.
    fn run_until(&mut self, until_us: u64) {
        while let Some(due_us) = self.next_us().filter(|due_us| *due_us <= until_us) {
            self.now_us = due_us;
            let arrived = self.heap.peek().is_some_and(|Reverse(entry)| entry.at_us <= due_us);
            match arrived.then(|| self.heap.pop()).flatten() {
                Some(Reverse(entry)) => self.handle(entry.event),
                None => {
                    let due = |node: &usize| self.due_us[*node].is_some_and(|due| due <= due_us);
                    let node = (0..self.cores.len()).find(due).expect("something was due");
                    self.step(node, Input::Tick);
                }
            }
        }
        self.now_us = self.now_us.max(until_us);
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Peer { to, .. } if self.down[to] => {}
            Event::Peer { from, to, message } => self.step(to, Input::Peer(from, *message)),
            Event::Synced { node, upto } => {
                self.cores[node].store_mut().sync(upto);
                self.disks[node].running = false;
                self.step(node, Input::Synced(upto));
                if std::mem::take(&mut self.disks[node].wanted) {
                    self.sync(node);
                }
            }
        }
    }

    fn step(&mut self, node: usize, input: Input) {
        let mut out = Outbox::new();
        let core = &mut self.cores[node];
        core.step(time(self.now_us), input, &mut out);
        self.due_us[node] = core.deadline().filter(|_| !self.down[node]);
        for output in out {
            match output {
                Output::Reply(request, reply) => {
                    self.replies.insert(request, (self.now_us, reply));
                }
                Output::Send(to, message) => self.send(node, self.places[&to], message),
                Output::Sync(_) => self.sync(node),
                Output::Layout(_) => {}
                Output::Halt(reason) => panic!("a store in memory does not fail: {reason}"),
            }
        }
    }

    fn sync(&mut self, node: usize) {
        let disk = &mut self.disks[node];
        if disk.running {
            disk.wanted = true;
            return;
        }
        let took_us = self.draws.sync_us(&self.shape, node, disk.begun);
        *disk = Disk { running: true, wanted: false, begun: disk.begun.saturating_add(1) };
        let upto = self.cores[node].store().last();
        self.push(self.now_us + took_us, Event::Synced { node, upto });
    }

    fn send(&mut self, from: usize, to: usize, message: PeerMessage) {
        let leg = leg_of(&message.body);
        let link = &mut self.links[(from * self.shape.nodes + to) * KINDS + leg as usize];
        let took_us = self.draws.leg_us(&self.shape, leg, from, to, link.sent);
        link.sent = link.sent.saturating_add(1);
        // Messages of one kind between two nodes keep their order.
        link.last_us = link.last_us.max(self.now_us + took_us);
        let at_us = link.last_us;
        let from = Shape::id(from);
        self.push(at_us, Event::Peer { from, to, message: Box::new(message) });
    }

    fn push(&mut self, at_us: u64, event: Event) {
        self.order += 1;
        self.heap.push(Reverse(Entry { at_us, order: self.order, event }));
    }
}

/// A write to a register.
pub fn put(object: ObjectId, value: Vec<u8>) -> Request {
    let op = ObjectOp::Kv(KvOp::Put {
        value,
        content_type: "application/octet-stream".into(),
        observed: Observed::Here,
    });
    Request::Write { object, op, options: Options::default() }
}

fn leg_of(body: &PeerBody) -> Leg {
    match body {
        PeerBody::Apply { .. } | PeerBody::Join { .. } => Leg::Write,
        PeerBody::Applied { .. } | PeerBody::AppliedDurable { .. } | PeerBody::Joined { .. } => {
            Leg::Ack
        }
        PeerBody::Get { .. } => Leg::Read,
        PeerBody::Got { .. } => Leg::Answer,
        _ => Leg::Other,
    }
}

fn time(now_us: u64) -> Time {
    Time { mono_us: now_us, wall_ms: WALL_START_MS + now_us / 1_000 }
}
