//! One run: nodes, clients, network, disks and clocks on one heap of (time, order, event).
//!
//! Nothing here decides by anything but the seed and the events before: the same seed gives the
//! same heap, the same steps and the same trace.

use crate::checks::{self, Evidence, Findings};
use crate::faults::{self, Conditions, Scheduled};
use crate::gossip::{Datagram, Gossip, INTERVAL_US};
use crate::history::{History, Outcome, Record};
use crate::network::{Kind, Network};
use crate::node::{Node, Setting};
use crate::random::{Rng, stream};
use crate::trace::{Sink, Trace};
use crate::verdict::{Params, Verdict};
use crate::workload::Workload;
use rand::Rng as _;
use starling_node::config::Config;
use starling_node::core::{Input, Outbox, Output};
use starling_node::store::Lsn;
use starling_node::wire::api::{Failure, Options, Reply, Request, RequestId};
use starling_node::wire::codec;
use starling_node::wire::peer::PeerMessage;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// Virtual time in which the cluster must form, microseconds.
const FORM_MAX_US: u64 = 30_000_000;
/// Virtual time after healing in which all must be equal, microseconds.
const CONVERGE_MAX_US: u64 = 30_000_000;
/// Between looks at whether all is equal, microseconds.
const LOOK_US: u64 = 500_000;
/// Time beyond a request's own in which a node that lives must have answered, microseconds.
const ANSWER_SLACK_US: u64 = 1_000_000;
/// Events after which a run is given up as endless.
const EVENTS_MAX: u64 = 20_000_000;
/// Clients of a run.
const CLIENTS: usize = 12;

enum Event {
    GossipRound,
    Datagram(Datagram),
    Peer { from: usize, to: usize, bytes: Vec<u8> },
    Synced { node: usize, life: u64, upto: Lsn },
    Tick { node: usize, life: u64 },
    Faults,
    Client(usize),
    GiveUp(RequestId),
}

struct Entry {
    at_us: u64,
    class: u8,
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
        (self.at_us, self.class, self.order).cmp(&(other.at_us, other.class, other.order))
    }
}

/// Who waits for the answer to a request.
enum Asker {
    /// The harness itself.
    Harness,
    /// A client, for the operation at that place in the history.
    Client(usize),
}

/// Which part of the run it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Forming,
    Faults,
    Healed,
}

/// A run.
pub struct World {
    params: Params,
    now_us: u64,
    phase: Phase,
    heap: BinaryHeap<Reverse<Entry>>,
    order: u64,
    events: u64,
    nodes: Vec<Node>,
    gossip: Gossip,
    network: Network,
    conditions: Conditions,
    faults: Vec<Scheduled>,
    faults_from_us: u64,
    disk_rng: Rng,
    workload: Workload,
    clients_until_us: u64,
    history: History,
    asked: BTreeMap<RequestId, Asker>,
    last_request: u64,
    harness_reply: Option<Reply>,
    trace: Trace,
    findings: Findings,
}

/// Runs one seed on this thread, whose randomness it takes over. The thread should be new and end
/// with the run.
pub fn run(params: Params, sink: Option<Sink>) -> Verdict {
    crate::random::take_over(params.seed);
    World::new(params, sink).run()
}

/// The faults that the seed draws, as they are printed.
pub fn planned(params: &Params) -> Vec<String> {
    let mut rng = stream(params.seed, "faults");
    let faults = faults::draw(&mut rng, params.nodes, params.seconds);
    faults.iter().map(ToString::to_string).collect()
}

impl World {
    fn new(params: Params, sink: Option<Sink>) -> Self {
        let seed = params.seed;
        let mut rng = stream(seed, "setting");
        let count = params.nodes;
        let zones: Vec<usize> = (0..count)
            .map(|node| match node {
                0..3 => node,
                _ => rng.random_range(0..3),
            })
            .collect();
        let setting = Setting::draw(&mut rng);
        let node = |node: usize| {
            let mut config = Config::new(format!("n{node}"));
            setting.apply(&mut config);
            config.mutant = params.mutant;
            Node::new(config, format!("z{}", zones[node]), stream(seed, &format!("node {node}")))
        };
        World {
            now_us: 0,
            phase: Phase::Forming,
            heap: BinaryHeap::new(),
            order: 0,
            events: 0,
            nodes: (0..count).map(node).collect(),
            gossip: Gossip::new(count),
            network: Network::draw(stream(seed, "network"), &zones),
            conditions: Conditions::fair(count),
            faults: faults::draw(&mut stream(seed, "faults"), count, params.seconds),
            faults_from_us: 0,
            disk_rng: stream(seed, "disks"),
            workload: Workload::new(stream(seed, "workload"), CLIENTS),
            clients_until_us: 0,
            history: History::default(),
            asked: BTreeMap::new(),
            last_request: 0,
            harness_reply: None,
            trace: Trace::new(sink),
            findings: Findings::default(),
            params,
        }
    }

    fn run(mut self) -> Verdict {
        self.describe();
        if self.form() {
            self.break_things();
            if self.heal() {
                self.read_back();
            }
        }
        self.judge()
    }

    /// Writes what was drawn before anything happens.
    fn describe(&mut self) {
        self.trace.add(0, format_args!("run {:?}", self.params));
        for node in &self.nodes {
            self.trace.add(0, format_args!("node {node}"));
        }
        for fault in &self.faults {
            self.trace.add(0, format_args!("fault {fault}"));
        }
    }

    /// Starts all nodes and forms the first layout. Whether the cluster serves in time.
    fn form(&mut self) -> bool {
        for node in 0..self.nodes.len() {
            let after_us = self.disk_rng.random_range(0..INTERVAL_US / 1_000) * 1_000;
            self.run_until(self.now_us + after_us);
            self.start(node);
        }
        while self.now_us < FORM_MAX_US {
            self.run_until(self.now_us + LOOK_US);
            if self.nodes.iter().all(Node::is_ready) {
                return true;
            }
            let expect_members = self.nodes.len() as u16;
            self.ask_harness(0, Request::FormLayout { expect_members });
        }
        let why = format!("no layout in force everywhere; last answer {:?}", self.harness_reply);
        self.findings.violation("cluster_forms", why);
        false
    }

    fn break_things(&mut self) {
        self.phase = Phase::Faults;
        self.now_us = self.now_us.next_multiple_of(1_000);
        self.faults_from_us = self.now_us;
        let until_us = self.now_us + self.params.seconds * 1_000_000;
        self.clients_until_us = until_us;
        let mut changes: Vec<u64> =
            self.faults.iter().flat_map(|fault| [fault.from_us, fault.until_us]).collect();
        changes.sort_unstable();
        changes.dedup();
        for change in changes {
            self.push(self.now_us + change, Event::Faults);
        }
        for client in 0..CLIENTS {
            let pause_us = self.workload.pause_us();
            self.push(self.now_us + pause_us, Event::Client(client));
        }
        self.run_until(until_us);
    }

    /// Ends all faults and waits until hints are gone and replicas equal. Whether they are in
    /// time.
    fn heal(&mut self) -> bool {
        self.phase = Phase::Healed;
        self.trace.add(self.now_us, format_args!("heal"));
        self.lay_conditions(Conditions::fair(self.nodes.len()));
        let (from_us, until_us) = (self.now_us, self.now_us + CONVERGE_MAX_US);
        loop {
            self.run_until(self.now_us + LOOK_US);
            let settled = self.asked.is_empty() && self.is_converged();
            if settled || self.now_us >= until_us || self.endless() {
                self.findings.count("converged_ms_sum", (self.now_us - from_us) / 1_000);
                return settled;
            }
        }
    }

    /// Reads every object from all owners as clients do.
    fn read_back(&mut self) {
        let objects: std::collections::BTreeSet<_> =
            self.history.records.iter().map(|record| record.intent.object.clone()).collect();
        for object in objects {
            let node = self.workload.pick(self.nodes.len());
            let query = checks::reads_agree::query(&object);
            let options = checks::reads_agree::options();
            let request = Request::Read { object: object.clone(), query, options };
            self.harness_reply = None;
            self.ask_harness(node, request);
            let until_us = self.now_us + 2_000_000;
            while self.harness_reply.is_none() && self.now_us < until_us && !self.endless() {
                self.run_until(self.now_us + 1_000);
            }
            let reply = self.harness_reply.take();
            checks::reads_agree::check(&object, reply.as_ref(), &self.nodes, &mut self.findings);
        }
    }

    fn judge(mut self) -> Verdict {
        if self.endless() {
            self.findings.violation("ends", format!("{EVENTS_MAX} events and no end"));
        }
        if self.phase == Phase::Healed {
            let evidence = Evidence::new(&self.history, &self.nodes);
            checks::all(&evidence, &mut self.findings);
        }
        self.nodes.iter_mut().for_each(Node::collect_metrics);
        for node in &self.nodes {
            for (name, value) in node.counted() {
                self.findings.count(name, value);
            }
        }
        self.findings.count("events", self.events);
        self.findings.count("virtual_us", self.now_us);
        let hash = self.trace.digest();
        let faults = self.faults.iter().map(ToString::to_string).collect();
        if let Err(error) = self.trace.finish() {
            self.findings.violation("trace", format!("could not be written: {error}"));
        }
        Verdict::new(&self.params, hash, faults, self.findings)
    }

    // --- The heap ---

    fn push(&mut self, at_us: u64, event: Event) {
        let class = u8::from(!matches!(event, Event::GossipRound));
        self.order += 1;
        self.heap.push(Reverse(Entry { at_us, class, order: self.order, event }));
    }

    fn endless(&self) -> bool {
        self.events > EVENTS_MAX
    }

    fn run_until(&mut self, until_us: u64) {
        while let Some(Reverse(entry)) = self.heap.peek() {
            if entry.at_us > until_us || self.endless() {
                break;
            }
            let Some(Reverse(entry)) = self.heap.pop() else { break };
            self.now_us = self.now_us.max(entry.at_us);
            self.events += 1;
            self.handle(entry.event);
        }
        self.now_us = self.now_us.max(until_us);
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::GossipRound => self.gossip_round(),
            Event::Datagram(datagram) => self.datagram(&datagram),
            Event::Peer { from, to, bytes } => self.peer(from, to, &bytes),
            Event::Synced { node, life, upto } => self.synced(node, life, upto),
            Event::Tick { node, life } => self.tick(node, life),
            Event::Faults => self.faults_changed(),
            Event::Client(client) => self.client(client),
            Event::GiveUp(id) => self.give_up(id),
        }
    }

    // --- Nodes ---

    /// Starts a node, at a whole millisecond.
    fn start(&mut self, node: usize) {
        self.now_us = self.now_us.next_multiple_of(1_000);
        let skew_ms = self.conditions.skew_ms[node];
        if let Err(error) = self.nodes[node].start(self.now_us, skew_ms) {
            self.findings
                .violation("restarts", format!("{} did not open: {error}", self.nodes[node]));
            return;
        }
        self.trace.add(self.now_us, format_args!("{} starts", self.nodes[node]));
        self.gossip.start(self.now_us, node, &self.nodes[node].identity());
        self.nodes[node].gossip_due_us = Some(self.now_us + INTERVAL_US);
        self.push(self.now_us + INTERVAL_US, Event::GossipRound);
        self.send_gossip();
        self.show_members(node);
        self.schedule_tick(node);
    }

    fn stop(&mut self, node: usize, stop: faults::Stop) {
        let ended = self.nodes[node].stop(self.now_us, stop, &mut self.disk_rng);
        self.trace.add(self.now_us, format_args!("{} stops: {stop:?}, {ended}", self.nodes[node]));
        self.findings.count(
            match stop {
                faults::Stop::Crash => "crashes",
                faults::Stop::Clean => "clean_stops",
            },
            1,
        );
        self.gossip.stop(node);
        let lost: Vec<RequestId> = self.asked_of(node);
        for id in lost {
            if let Some(Asker::Client(place)) = self.asked.remove(&id) {
                let client = self.history.records[place].client;
                let pause_us = self.workload.pause_us();
                self.push(self.now_us + pause_us, Event::Client(client));
            }
        }
    }

    fn asked_of(&self, node: usize) -> Vec<RequestId> {
        let is_there = |asker: &Asker| match asker {
            Asker::Harness => false,
            Asker::Client(place) => self.history.records[*place].node == node,
        };
        self.asked.iter().filter(|(_, asker)| is_there(asker)).map(|(id, _)| *id).collect()
    }

    fn step(&mut self, node: usize, input: Input) {
        let mut out = Outbox::new();
        if !self.nodes[node].step(self.now_us, input, &mut out) {
            return;
        }
        for output in out {
            self.output(node, output);
        }
        self.schedule_tick(node);
    }

    fn output(&mut self, node: usize, output: Output) {
        match output {
            Output::Reply(id, reply) => self.reply(node, id, reply),
            Output::Send(to, message) => self.send(node, to, &message),
            Output::Sync(_) => self.sync(node),
            Output::Layout(layout) => {
                let id = layout.id();
                self.trace.add(self.now_us, format_args!("{} layout {id}", self.nodes[node]));
                if self.nodes[node].is_up() {
                    self.gossip.announce_layout(node, id);
                }
            }
            Output::Halt(why) => {
                let who = self.nodes[node].to_string();
                self.findings.violation("no_halt", format!("{who} halted: {why}"));
                if self.nodes[node].is_up() {
                    self.stop(node, faults::Stop::Crash);
                }
            }
        }
    }

    fn schedule_tick(&mut self, node: usize) {
        if let Some((at_us, life)) = self.nodes[node].next_tick(self.now_us) {
            self.push(at_us, Event::Tick { node, life });
        }
    }

    fn tick(&mut self, node: usize, life: u64) {
        if self.nodes[node].take_tick(self.now_us, life) {
            self.trace.add(self.now_us, format_args!("{} tick", self.nodes[node]));
            self.step(node, Input::Tick);
        }
    }

    // --- Disks ---

    fn sync(&mut self, node: usize) {
        if let Some(upto) = self.nodes[node].begin_sync() {
            let slow_us = self.conditions.sync_us[node];
            let mut takes_us = self.disk_rng.random_range(100..2_000);
            if slow_us > 0 {
                takes_us += self.disk_rng.random_range(0..=slow_us);
            }
            let life = self.nodes[node].life;
            self.push(self.now_us + takes_us, Event::Synced { node, life, upto });
        }
    }

    fn synced(&mut self, node: usize, life: u64, upto: Lsn) {
        if self.nodes[node].end_sync(life, upto) {
            self.trace.add(self.now_us, format_args!("{} synced {}", self.nodes[node], upto.0));
            self.step(node, Input::Synced(upto));
            if self.nodes[node].wants_sync() {
                self.sync(node);
            }
        }
    }

    // --- The network ---

    fn send(&mut self, from: usize, to: starling_node::crdt::NodeId, message: &PeerMessage) {
        let Some(to) = self.nodes.iter().position(|node| node.id() == to) else {
            self.findings.violation("sends_to_members", format!("{from} sent to unknown {to}"));
            return;
        };
        let bytes = codec::encode(message);
        self.findings.count("messages", 1);
        self.findings.count("message_bytes", bytes.len() as u64);
        if from == to {
            self.push(self.now_us, Event::Peer { from, to, bytes });
            return;
        }
        let mut link = self.conditions.links[from][to];
        if std::env::var_os("NODUP").is_some()
            && matches!(message.body, starling_node::wire::peer::PeerBody::Apply { .. })
        {
            link.duplicate_permille = 0;
        }
        let arrivals = self.network.route(self.now_us, (from, to), &link, Kind::Stream);
        self.findings.count("messages_lost", u64::from(arrivals.iter().count() == 0));
        for at_us in arrivals.iter() {
            self.push(at_us, Event::Peer { from, to, bytes: bytes.clone() });
        }
    }

    fn peer(&mut self, from: usize, to: usize, bytes: &[u8]) {
        if !self.nodes[to].is_up() {
            return;
        }
        let message: PeerMessage = match codec::decode(bytes) {
            Ok(message) => message,
            Err(error) => {
                self.findings.violation("codec", format!("a sent message is refused: {error}"));
                return;
            }
        };
        let hash = xxhash_rust::xxh3::xxh3_64(bytes);
        let what = crate::names::body(&message.body);
        self.trace.add(
            self.now_us,
            format_args!(
                "{} < {} {what} {} bytes {hash:016x}",
                self.nodes[to],
                self.nodes[from],
                bytes.len()
            ),
        );
        let from = self.nodes[from].id();
        self.step(to, Input::Peer(from, message));
    }

    fn gossip_round(&mut self) {
        let now_us = self.now_us;
        let due = |node: &Node| node.is_up() && node.gossip_due_us == Some(now_us);
        let nodes: Vec<usize> =
            (0..self.nodes.len()).filter(|node| due(&self.nodes[*node])).collect();
        if nodes.is_empty() {
            return;
        }
        self.gossip.tick(self.now_us, &nodes);
        for node in &nodes {
            self.nodes[*node].gossip_due_us = Some(self.now_us + INTERVAL_US);
        }
        self.push(self.now_us + INTERVAL_US, Event::GossipRound);
        self.send_gossip();
        for node in nodes {
            self.show_members(node);
        }
    }

    fn datagram(&mut self, datagram: &Datagram) {
        if self.nodes[datagram.to].is_up() {
            let hash = xxhash_rust::xxh3::xxh3_64(&datagram.bytes);
            let (to, from) = (&self.nodes[datagram.to], &self.nodes[datagram.from]);
            self.trace.add(self.now_us, format_args!("{to} < {from} gossip {hash:016x}"));
            self.gossip.deliver(self.now_us, datagram);
            self.send_gossip();
        }
    }

    fn send_gossip(&mut self) {
        for datagram in self.gossip.take_sent() {
            self.findings.count("gossip_datagrams", 1);
            self.findings.count("gossip_bytes", datagram.bytes.len() as u64);
            let (from, to) = (datagram.from, datagram.to);
            let link = self.conditions.links[from][to];
            let arrivals = self.network.route(self.now_us, (from, to), &link, Kind::Datagram);
            for at_us in arrivals.iter() {
                let bytes = datagram.bytes.clone();
                self.push(at_us, Event::Datagram(Datagram { from, to, bytes }));
            }
        }
    }

    fn show_members(&mut self, node: usize) {
        let view = self.gossip.view(node);
        if self.nodes[node].take_view(&view) {
            let names = crate::names::members(&view);
            self.trace.add(self.now_us, format_args!("{} members {names}", self.nodes[node]));
            self.step(node, Input::Members(view));
        }
    }

    // --- Faults ---

    fn faults_changed(&mut self) {
        if self.phase == Phase::Faults {
            let since_us = self.now_us - self.faults_from_us;
            let conditions = faults::conditions(&self.faults, self.nodes.len(), since_us);
            self.lay_conditions(conditions);
        }
    }

    fn lay_conditions(&mut self, conditions: Conditions) {
        self.trace
            .add(self.now_us, format_args!("conditions {}", crate::names::faults(&conditions)));
        self.conditions = conditions;
        for node in 0..self.nodes.len() {
            self.nodes[node].clock.skew_ms = self.conditions.skew_ms[node];
            match (self.nodes[node].is_up(), self.conditions.down[node]) {
                (true, Some(stop)) => self.stop(node, stop),
                (false, None) => self.start(node),
                _ => {}
            }
        }
    }

    // --- Clients ---

    fn ask(&mut self, node: usize, asker: Asker, request: Request) {
        self.last_request += 1;
        let id = RequestId(self.last_request);
        let timeout_us = match &request {
            Request::Write { options: Options { timeout_ms: Some(ms), .. }, .. }
            | Request::Read { options: Options { timeout_ms: Some(ms), .. }, .. } => {
                u64::from(*ms) * 1_000
            }
            _ => self.nodes[node].timeout_us(),
        };
        self.asked.insert(id, asker);
        self.push(self.now_us + timeout_us + ANSWER_SLACK_US, Event::GiveUp(id));
        self.step(node, Input::Client(id, request));
    }

    fn ask_harness(&mut self, node: usize, request: Request) {
        self.ask(node, Asker::Harness, request);
    }

    fn client(&mut self, client: usize) {
        if self.now_us >= self.clients_until_us {
            return;
        }
        let up: Vec<usize> =
            (0..self.nodes.len()).filter(|node| self.nodes[*node].is_ready()).collect();
        if up.is_empty() {
            let pause_us = self.workload.pause_us();
            self.push(self.now_us + pause_us, Event::Client(client));
            return;
        }
        let node = up[self.workload.pick(up.len())];
        let intent = self.workload.next(client);
        let place = self.history.records.len();
        self.trace.add(
            self.now_us,
            format_args!(
                "client {client} asks {} #{place} {}",
                self.nodes[node],
                crate::names::intent(&intent)
            ),
        );
        let request = intent.request();
        let (invoked_us, done_us) = (self.now_us, u64::MAX);
        let outcome = Outcome::Unanswered;
        self.history.records.push(Record { client, node, invoked_us, done_us, intent, outcome });
        self.ask(node, Asker::Client(place), request);
    }

    fn reply(&mut self, node: usize, id: RequestId, reply: Reply) {
        match self.asked.remove(&id) {
            None => {
                let late = format!("{} answered request {} twice or late", self.nodes[node], id.0);
                self.findings.violation("answers_once", late);
            }
            Some(Asker::Harness) => self.harness_reply = Some(reply),
            Some(Asker::Client(place)) => self.answered(node, place, reply),
        }
    }

    fn answered(&mut self, node: usize, place: usize, reply: Reply) {
        let outcome = match reply {
            Reply::Written(written) => Outcome::Written(Box::new(written)),
            Reply::Read(read) => Outcome::Read(Box::new(read)),
            Reply::Failed(Failure::Unknown(_)) => Outcome::Unknown,
            Reply::Failed(failure) => Outcome::NotApplied(failure),
            other => {
                let wrong = format!("operation #{place} was answered with {other:?}");
                self.findings.violation("answers_fit", wrong);
                return;
            }
        };
        let who = &self.nodes[node];
        let name = crate::names::outcome(&outcome);
        self.trace.add(self.now_us, format_args!("{who} answers #{place} {name}"));
        let record = &mut self.history.records[place];
        (record.done_us, record.outcome) = (self.now_us, outcome);
        let record = &self.history.records[place];
        self.workload.learn(record);
        checks::quorum_counted::at_answer(place, record, &self.nodes, &mut self.findings);
        let client = record.client;
        let pause_us = self.workload.pause_us();
        self.push(self.now_us + pause_us, Event::Client(client));
    }

    fn give_up(&mut self, id: RequestId) {
        if let Some(asker) = self.asked.remove(&id) {
            let what = match asker {
                Asker::Harness => "a request of the harness".to_string(),
                Asker::Client(place) => {
                    let client = self.history.records[place].client;
                    self.push(self.now_us, Event::Client(client));
                    format!("operation #{place}")
                }
            };
            self.findings.violation("answers_in_time", format!("{what} was never answered"));
        }
    }

    fn is_converged(&self) -> bool {
        self.nodes.iter().all(|node| node.is_ready() && node.hints_pending() == 0)
            && checks::replicas_equal::first_difference(&self.nodes).is_none()
    }
}
