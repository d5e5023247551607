//! A cluster of cores in one process: messages arrive at once and in order, syncs succeed at once,
//! time moves when told. For tests that look at one mechanism; the simulator looks at all.
#![allow(dead_code)] // Each test binary uses its own part.

use starling_node::cluster::{Member, MembershipView};
use starling_node::config::Config;
use starling_node::core::{Core, Input, Outbox, Output, Time};
use starling_node::crdt::{NodeId, ObjectId, TypeTag};
use starling_node::placement::LayoutId;
use starling_node::store::memory::MemoryStore;
use starling_node::wire::api::{Reply, Request, RequestId};
use starling_node::wire::peer::PeerMessage;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub struct Cluster {
    pub cores: Vec<Core<MemoryStore>>,
    pub names: Vec<String>,
    /// Pairs (from, to) whose messages are lost.
    pub cut: BTreeSet<(usize, usize)>,
    pub down: BTreeSet<usize>,
    /// How much later the messages of a pair (from, to) arrive than at once, ms.
    pub delay_ms: BTreeMap<(usize, usize), u64>,
    /// Every message between two nodes arrives a second time so much later, ms.
    pub echo_ms: Option<u64>,
    /// Bytes of messages between nodes since it was last set to 0.
    pub sent_bytes: u64,
    /// How far each node's wall clock is ahead, ms.
    pub ahead_ms: Vec<u64>,
    /// Which life of its process each node is in.
    generations: Vec<u64>,
    /// Messages between nodes that are lost.
    pub lose: fn(&PeerMessage) -> bool,
    /// Messages between nodes, kept when asked for.
    pub kept: Option<Vec<(usize, usize, PeerMessage)>>,
    mail: VecDeque<(usize, usize, PeerMessage)>,
    /// Mail that comes later: when, µs.
    later: Vec<(u64, usize, usize, PeerMessage)>,
    replies: BTreeMap<RequestId, Reply>,
    now: Time,
    requests: u64,
    layout: LayoutId,
}

impl Cluster {
    /// `count` nodes that have met and formed a layout.
    pub fn new(count: usize) -> Cluster {
        Self::with(count, |_| {})
    }

    /// The same with other settings.
    pub fn with(count: usize, set: impl Fn(&mut Config)) -> Cluster {
        let names: Vec<String> = (0..count).map(|at| format!("n{at}")).collect();
        let now = Time { mono_us: 1_000_000, wall_ms: 1_700_000_000_000 };
        let open = |(at, name): (usize, &String)| {
            let mut config = Config::new(name.clone());
            set(&mut config);
            Core::open(config, MemoryStore::new(), now, 100 + at as u64).unwrap()
        };
        let cores = names.iter().enumerate().map(open).collect();
        let mut cluster = Cluster {
            cores,
            names,
            cut: BTreeSet::new(),
            down: BTreeSet::new(),
            delay_ms: BTreeMap::new(),
            echo_ms: None,
            sent_bytes: 0,
            ahead_ms: vec![0; count],
            generations: vec![1; count],
            lose: |_| false,
            kept: None,
            mail: VecDeque::new(),
            later: Vec::new(),
            replies: BTreeMap::new(),
            now,
            requests: 0,
            layout: LayoutId::NONE,
        };
        cluster.gossip();
        let reply = cluster.ask(0, Request::FormLayout { expect_members: count as u16 });
        assert!(matches!(reply, Reply::Cluster(_)), "{reply:?}");
        cluster.layout = cluster.cores[0].layout().unwrap().id();
        cluster.gossip();
        cluster
    }

    /// Tells every node who is alive as things are.
    pub fn gossip(&mut self) {
        for at in self.up() {
            let members = (0..self.names.len()).map(|other| Member {
                id: NodeId::of_name(&self.names[other]),
                name: self.names[other].clone(),
                zone: format!("z{}", other % 3),
                capacity: 1,
                peer_addr: String::new(),
                http_addr: String::new(),
                generation: self.generations[other],
                alive: !self.down.contains(&other)
                    && (!self.cut.contains(&(other, at)) || other == at),
                layout: self.layout,
            });
            let view = MembershipView::new(members.collect());
            self.step(at, Input::Members(view));
        }
        self.run();
    }

    fn up(&self) -> Vec<usize> {
        (0..self.names.len()).filter(|at| !self.down.contains(at)).collect()
    }

    /// One request at one node, whose answer nobody waits for.
    pub fn begin(&mut self, at: usize, request: Request) -> RequestId {
        self.requests += 1;
        let id = RequestId(self.requests);
        self.step(at, Input::Client(id, request));
        self.run();
        id
    }

    /// One request at one node; lets time pass until it is answered.
    pub fn ask(&mut self, at: usize, request: Request) -> Reply {
        let id = self.begin(at, request);
        for _ in 0..1_000 {
            if let Some(reply) = self.replies.remove(&id) {
                return reply;
            }
            self.pass(10);
        }
        panic!("no answer within ten seconds");
    }

    /// The time that has come, µs.
    pub fn now_us(&self) -> u64 {
        self.now.mono_us
    }

    /// Lets `ms` milliseconds pass.
    pub fn pass(&mut self, ms: u64) {
        let end = self.now.mono_us + ms * 1_000;
        while self.now.mono_us < end {
            self.now.mono_us += 1_000;
            self.now.wall_ms += 1;
            let now_us = self.now.mono_us;
            let due = self.later.extract_if(.., |(due_us, ..)| *due_us <= now_us);
            self.mail.extend(due.map(|(_, from, to, message)| (from, to, message)));
            for at in self.up() {
                if self.cores[at].deadline().is_some_and(|due| due <= self.now.mono_us) {
                    self.step(at, Input::Tick);
                }
            }
            self.run();
        }
    }

    /// Everything heals; time passes until nothing is owed and all owners are equal.
    pub fn heal(&mut self) {
        self.cut.clear();
        self.down.clear();
        self.gossip();
        for _ in 0..100 {
            self.pass(200);
            if self.differences().is_empty() && self.cores.iter().all(|c| c.hints_pending() == 0) {
                return;
            }
        }
        panic!("not equal after 20 s: {:?}", self.differences());
    }

    /// Objects that some owner lacks or that owners hold in different states.
    pub fn differences(&self) -> Vec<ObjectId> {
        self.differences_of(&(0..self.names.len()).collect::<Vec<_>>())
    }

    /// The same among those owners that are `some` of the nodes.
    pub fn differences_of(&self, some: &[usize]) -> Vec<ObjectId> {
        let audits: Vec<_> = self.cores.iter().map(|core| core.audit().unwrap()).collect();
        let layout = self.cores[0].layout().unwrap();
        let objects: BTreeSet<_> = audits.iter().flat_map(|audit| audit.keys()).collect();
        let differs = |object: &&&ObjectId| {
            let partition = starling_node::placement::partition_of(object);
            let owners = some
                .iter()
                .copied()
                .filter(|at| layout.owns(NodeId::of_name(&self.names[*at]), partition, 3));
            let states: BTreeSet<_> =
                owners.map(|at| audits[at].get(**object).map_or(0, |audit| audit.digest)).collect();
            object.bucket != "_buckets" && states.len() != 1
        };
        objects.iter().filter(differs).map(|object| (*object).clone()).collect()
    }

    /// SIGKILL: what was not synced is gone, and the node starts again at once.
    pub fn crash(&mut self, at: usize, seed: u64) {
        let spare = Core::open(Config::new("spare"), MemoryStore::new(), self.now, 1).unwrap();
        let mut store = std::mem::replace(&mut self.cores[at], spare).into_store();
        store.crash(&mut |_| 0);
        let config = Config::new(self.names[at].clone());
        self.cores[at] = Core::open(config, store, self.now, seed).unwrap();
        self.mail.retain(|(_, to, _)| *to != at);
        self.later.retain(|(_, _, to, _)| *to != at);
        self.generations[at] += 1;
        self.gossip();
    }

    /// The node starts again with `store` in place of its own.
    pub fn restore(&mut self, at: usize, store: MemoryStore, seed: u64, set: impl Fn(&mut Config)) {
        let mut config = Config::new(self.names[at].clone());
        set(&mut config);
        self.cores[at] = Core::open(config, store, self.now, seed).unwrap();
        self.mail.retain(|(_, to, _)| *to != at);
        self.generations[at] += 1;
        self.gossip();
    }

    fn step(&mut self, at: usize, input: Input) {
        let mut out = Outbox::new();
        let wall_ms = self.now.wall_ms + self.ahead_ms[at];
        self.cores[at].step(Time { wall_ms, ..self.now }, input, &mut out);
        for output in out {
            match output {
                Output::Reply(request, reply) => {
                    self.replies.insert(request, reply);
                }
                Output::Send(to, message) => {
                    let to = self.names.iter().position(|n| NodeId::of_name(n) == to).unwrap();
                    let bytes = starling_node::wire::codec::encode(&message);
                    self.sent_bytes += bytes.len() as u64;
                    let message = starling_node::wire::codec::decode(&bytes).unwrap();
                    self.post(at, to, message);
                }
                Output::Sync(lsn) => {
                    self.cores[at].store_mut().sync(lsn);
                    self.step(at, Input::Synced(lsn));
                }
                Output::Layout(_) => {}
                Output::Halt(reason) => panic!("{} halted: {reason}", self.names[at]),
            }
        }
    }

    fn post(&mut self, from: usize, to: usize, message: PeerMessage) {
        let delay_ms = self.delay_ms.get(&(from, to)).copied().unwrap_or(0);
        let due_us = self.now.mono_us + delay_ms * 1_000;
        if let Some(echo_ms) = self.echo_ms.filter(|_| from != to) {
            self.later.push((due_us + echo_ms * 1_000, from, to, message.clone()));
        }
        match delay_ms {
            0 => self.mail.push_back((from, to, message)),
            _ => self.later.push((due_us, from, to, message)),
        }
    }

    fn run(&mut self) {
        while let Some((from, to, message)) = self.mail.pop_front() {
            let lost = from != to && (self.lose)(&message);
            if lost || self.cut.contains(&(from, to)) || self.down.contains(&to) {
                continue;
            }
            if let Some(kept) = self.kept.as_mut().filter(|_| from != to) {
                kept.push((from, to, message.clone()));
            }
            let from = NodeId::of_name(&self.names[from]);
            self.step(to, Input::Peer(from, message));
        }
    }

    /// Delivers messages that were kept, once more.
    pub fn again(&mut self, kept: Vec<(usize, usize, PeerMessage)>) {
        self.mail.extend(kept);
        self.run();
    }
}

/// An object of bucket `b`.
pub fn object(tag: TypeTag, key: &str) -> ObjectId {
    ObjectId { bucket: "b".into(), tag, key: key.into() }
}
