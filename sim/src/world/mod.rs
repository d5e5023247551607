//! One run: nodes, clients, network, disks and clocks on one heap of (time, order, event).
//!
//! Nothing here decides by anything but the seed and the events before: the same seed gives the
//! same heap, the same steps and the same trace.

mod admin;
mod clients;
mod connections;
mod damage;
mod machines;
mod notes;
pub mod observe;
mod pauses;
mod setup;
mod wires;

use crate::checks::{self, Evidence, Findings};
use crate::faults::{self, Conditions, Plan};
use crate::gossip::{Datagram, Gossip, INTERVAL_US};
use crate::history::{Action, History, Intent, Outcome, Record};
use crate::network::Network;
use crate::node::Node;
use crate::random::{Rng, stream};
use crate::trace::{Sink, Trace};
use crate::verdict::{Params, Verdict};
use crate::workload::{BUCKET, Workload};
use observe::Observed;
use rand::Rng as _;
pub use setup::Setup;
use starling_node::config::{BucketProps, Config};
use starling_node::crdt::NodeId;
use starling_node::placement::Layout;
use starling_node::store::Lsn;
use starling_node::wire::api::{Reply, Request, RequestId};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;

/// Nodes that start one after the other, each up to a round of gossip after the one before; those
/// of a larger cluster start faster.
const STARTED_AT_LEISURE: usize = 64;
/// Virtual time in which the cluster must form once all nodes have started, microseconds.
const FORM_MAX_US: u64 = 30_000_000;
/// Between requests that are about the cluster and not its data, microseconds.
const ADMIN_US: u64 = 2_000_000;
/// Virtual time in which hints made at the very end are paid, microseconds.
const PAY_MAX_US: u64 = 10_000_000;
/// Tries to read an object back.
const READ_TRIES: usize = 3;
/// Between looks at whether all is equal, microseconds.
const LOOK_US: u64 = 500_000;
/// Time beyond a request's own in which a node that lives must have answered, microseconds.
const ANSWER_SLACK_US: u64 = 1_000_000;
/// Events after which a run is given up as endless.
const EVENTS_MAX: u64 = 20_000_000;
enum Event {
    GossipRound,
    Datagram(Datagram),
    Peer { from: usize, to: usize, bytes: Vec<u8>, spoilt: bool },
    Connection { from: usize, to: usize, turn: u64 },
    Synced { node: usize, life: u64, upto: Lsn },
    Tick { node: usize, life: u64 },
    Faults,
    Client(usize),
    Admin,
    Again(usize),
    Look,
    Ask { node: usize, life: u64, id: RequestId, request: Box<Request> },
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
    /// Nobody, as long as that node gives one.
    Admin(usize),
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
    /// Of each node's id.
    places: BTreeMap<NodeId, usize>,
    gossip: Gossip,
    network: Network,
    conditions: Conditions,
    plan: Plan,
    faults_from_us: u64,
    /// Since when conditions are as they are, microseconds.
    settled_us: u64,
    /// The layout that the cluster formed.
    formed: Option<Arc<Layout>>,
    /// How far faults moved any wall clock at most.
    skew_max_ms: u64,
    disk_rng: Rng,
    starts_rng: Rng,
    damage: damage::Damage,
    /// By node: what waits until it goes on.
    paused: Vec<Option<Vec<Event>>>,
    workload: Workload,
    clients: usize,
    clients_until_us: u64,
    props: Option<BucketProps>,
    /// None where messages are lost or not, each by itself.
    connections: Option<connections::Connections>,
    start_us: u64,
    /// By node: when it runs that is being started, microseconds.
    starting_us: Vec<Option<u64>>,
    converge_max_us: u64,
    observed: Option<Observed>,
    history: History,
    asked: BTreeMap<RequestId, Asker>,
    /// Requests whose clients did not wait until a paused node answered.
    late: BTreeSet<RequestId>,
    last_request: u64,
    harness_reply: Option<Reply>,
    trace: Trace,
    findings: Findings,
}

/// Runs one seed on this thread, whose randomness it takes over. The thread should be new and end
/// with the run.
pub fn run(params: Params, sink: Option<Sink>) -> Verdict {
    run_setup(Setup::of_seed(params), sink)
}

/// Runs what was set up on this thread, whose randomness it takes over; see [`run`].
pub fn run_setup(setup: Setup, sink: Option<Sink>) -> Verdict {
    crate::random::take_over(setup.params.seed);
    World::new(setup, sink).run().0
}

/// As [`run_setup`], and looks at the run while it goes on.
pub fn run_observed(setup: Setup, sink: Option<Sink>) -> (Verdict, Observed) {
    crate::random::take_over(setup.params.seed);
    let observed = Some(Observed::of_looks(setup.look_us));
    let world = World { observed, ..World::new(setup, sink) };
    let (verdict, observed) = world.run();
    (verdict, observed.unwrap_or_default())
}

/// The faults that the seed draws, as they are printed.
pub fn planned(params: &Params) -> Vec<String> {
    Setup::of_seed(params.clone()).plan.iter().map(ToString::to_string).collect()
}

impl World {
    fn new(setup: Setup, sink: Option<Sink>) -> Self {
        let Setup { params, zones, setting, network, workload, clients, plan, .. } = setup;
        let (props, converge_max_us) = (setup.props, setup.converge_max_us);
        let start_us = setup.start_us;
        let connected = setup.connections;
        let (seed, count) = (params.seed, params.nodes);
        let node = |node: usize| {
            let mut config = Config::new(format!("n{node}"));
            setting.apply(&mut config);
            config.mutant = params.mutant;
            Node::new(config, zones[node].clone(), stream(seed, &format!("node {node}")))
        };
        let nodes: Vec<Node> = (0..count).map(node).collect();
        let run_us = 2 * FORM_MAX_US + params.seconds * 1_000_000 + converge_max_us + PAY_MAX_US;
        World {
            places: nodes.iter().enumerate().map(|(place, node)| (node.id(), place)).collect(),
            now_us: 0,
            phase: Phase::Forming,
            heap: BinaryHeap::new(),
            order: 0,
            events: 0,
            nodes,
            gossip: Gossip::new(count, run_us),
            network,
            conditions: Conditions::fair(count),
            faults_from_us: 0,
            settled_us: 0,
            formed: None,
            skew_max_ms: 0,
            disk_rng: stream(seed, "disks"),
            starts_rng: stream(seed, "starts"),
            damage: damage::Damage::new(count),
            paused: (0..count).map(|_| None).collect(),
            plan,
            workload,
            clients,
            clients_until_us: 0,
            props,
            connections: connected.then(|| connections::Connections::new(seed, count)),
            start_us,
            starting_us: vec![None; count],
            converge_max_us,
            observed: None,
            history: History::default(),
            asked: BTreeMap::new(),
            late: BTreeSet::new(),
            last_request: 0,
            harness_reply: None,
            trace: Trace::new(sink),
            findings: Findings::default(),
            params,
        }
    }

    fn run(mut self) -> (Verdict, Option<Observed>) {
        self.describe();
        if self.form() && self.set_properties() {
            self.break_things();
            if self.heal() {
                self.read_back();
                self.pay_the_last();
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
        for fault in &self.plan {
            self.trace.add(0, format_args!("fault {fault}"));
        }
    }

    /// Starts all nodes and forms the first layout. Whether the cluster serves in time.
    fn form(&mut self) -> bool {
        // All of a large cluster within the time that so many nodes take.
        let among = self.nodes.len().max(STARTED_AT_LEISURE) as u64;
        let apart_ms = INTERVAL_US / 1_000 * STARTED_AT_LEISURE as u64 / among;
        for node in 0..self.nodes.len() {
            let after_us = self.disk_rng.random_range(0..apart_ms) * 1_000;
            self.run_until(self.now_us + after_us);
            self.start(node);
        }
        let until_us = self.now_us + FORM_MAX_US;
        while self.now_us < until_us {
            self.run_until(self.now_us + LOOK_US);
            if self.nodes.iter().all(Node::is_ready) {
                self.formed = checks::layout_of(&self.nodes);
                if self.workload.period_us().is_none() {
                    self.make_side_bucket();
                }
                return true;
            }
            let expect_members = self.nodes.len() as u16;
            self.ask_harness(0, Request::FormLayout { expect_members });
        }
        let why = format!("no layout in force everywhere; last answer {:?}", self.harness_reply);
        self.findings.violation("cluster_forms", why);
        false
    }

    /// Puts the bucket's properties in force. Whether they are, everywhere.
    fn set_properties(&mut self) -> bool {
        let Some(props) = self.props.clone() else { return true };
        let bucket = BUCKET.to_string();
        let until_us = self.now_us + FORM_MAX_US;
        while self.now_us < until_us {
            self.harness_reply = None;
            let request = Request::PutBucket { bucket: bucket.clone(), props: props.clone() };
            self.ask_harness(0, request);
            self.run_until(self.now_us + LOOK_US);
            if matches!(&self.harness_reply, Some(Reply::Bucket(set)) if *set == props) {
                self.nodes.iter_mut().for_each(|node| node.props = props.clone());
                return true;
            }
        }
        let why = format!("no properties in force; last answer {:?}", self.harness_reply);
        self.findings.violation("cluster_forms", why);
        false
    }

    fn break_things(&mut self) {
        self.phase = Phase::Faults;
        self.now_us = self.now_us.next_multiple_of(1_000);
        self.faults_from_us = self.now_us;
        let until_us = self.now_us + self.params.seconds * 1_000_000;
        self.clients_until_us = until_us;
        self.begin_looking();
        for moment_ms in faults::moments(&self.plan) {
            self.push(self.now_us + moment_ms * 1_000, Event::Faults);
        }
        if self.workload.period_us().is_none() {
            self.push(self.now_us + ADMIN_US, Event::Admin);
        }
        for client in 0..self.clients {
            let first_us = self.workload.first_us(client);
            self.push(self.now_us + first_us, Event::Client(client));
        }
        self.run_until(until_us);
    }

    /// Ends all faults and waits until hints are gone and replicas equal. Whether they are in
    /// time.
    fn heal(&mut self) -> bool {
        self.phase = Phase::Healed;
        self.trace.add(self.now_us, format_args!("heal"));
        self.lay_conditions(Conditions::fair(self.nodes.len()));
        let (from_us, until_us) = (self.now_us, self.now_us + self.converge_max_us);
        let mut agreed_us = None;
        loop {
            self.run_until(self.now_us + LOOK_US);
            if agreed_us.is_none() && checks::views_agree::agree(&self.nodes) {
                agreed_us = Some(self.now_us - from_us);
            }
            let settled = agreed_us.is_some() && self.asked.is_empty() && self.is_converged();
            if settled || self.now_us >= until_us || self.endless() {
                checks::views_agree::check(agreed_us, &mut self.findings);
                self.findings.count("converged_ms_sum", (self.now_us - from_us) / 1_000);
                if let Some(observed) = &mut self.observed {
                    observed.rest_at(self.now_us);
                    if settled {
                        // No look may have fallen between that and now.
                        observed.recovered_us.get_or_insert(self.now_us);
                    }
                }
                if !settled {
                    self.not_settled();
                }
                return settled;
            }
        }
    }

    fn not_settled(&mut self) {
        let seconds = self.converge_max_us / 1_000_000;
        let of = |node: &Node| {
            let (hints, heard, rights) = (node.hints_pending(), node.heard(), node.rights_moving());
            format!("{node} owes {hints} hints, hears {heard}, moves rights of {rights} counters")
        };
        let nodes: Vec<String> = self.nodes.iter().map(of).collect();
        let (open, nodes) = (self.asked.len(), nodes.join(", "));
        let why = format!("not at rest after {seconds} s: {open} requests open; {nodes}");
        self.findings.violation("heals_in_time", why);
    }

    /// Reads every object from all owners as clients do.
    fn read_back(&mut self) {
        let objects: BTreeSet<_> =
            self.history.records.iter().map(|record| record.intent.object.clone()).collect();
        for object in objects {
            let node = self.workload.pick(self.nodes.len());
            let query = checks::reads_agree::query(&object);
            let options = checks::reads_agree::options();
            let mut invoked_us = self.now_us;
            // A node may take another one for dead for a moment; the next try finds it.
            for _ in 0..READ_TRIES {
                let (query, options) = (query.clone(), options.clone());
                let request = Request::Read { object: object.clone(), query, options };
                self.harness_reply = None;
                invoked_us = self.now_us;
                self.ask_harness(node, request);
                let until_us = self.now_us + 2_000_000;
                while self.harness_reply.is_none() && self.now_us < until_us && !self.endless() {
                    self.run_until(self.now_us + 1_000);
                }
                if matches!(self.harness_reply, Some(Reply::Read(_))) {
                    break;
                }
                self.run_until(self.now_us + 2_000_000);
            }
            let reply = self.harness_reply.take();
            let (nodes, findings) = (&self.nodes, &mut self.findings);
            checks::reads_agree::check(&object, reply.as_ref(), nodes, self.now_us, findings);
            if let Some(Reply::Read(read)) = reply {
                let action = Action::Read(query);
                let intent = Intent { object, action, options, impossible: false };
                let (client, done_us) = (self.clients, self.now_us);
                let outcome = Outcome::Read(Box::new(read));
                let (lost, unremoved) = (false, false);
                let last =
                    Record { client, node, invoked_us, done_us, intent, outcome, lost, unremoved };
                self.history.last.push(last);
            }
        }
    }

    /// A write that was answered may still make its last hint; it is paid at once.
    fn pay_the_last(&mut self) {
        let until_us = self.now_us + PAY_MAX_US;
        // What is forgotten meanwhile is forgotten by one owner after the other.
        while self.now_us < until_us && !self.is_converged() {
            self.run_until(self.now_us + LOOK_US);
        }
    }

    fn judge(mut self) -> (Verdict, Option<Observed>) {
        self.forget_notes_by_clock();
        if self.endless() {
            self.findings.violation("ends", format!("{EVENTS_MAX} events and no end"));
        }
        if self.phase == Phase::Healed {
            let formed = self.formed.take();
            let clocks = checks::Clocks { now_us: self.now_us, skew_max_ms: self.skew_max_ms };
            let evidence = Evidence::new(&self.history, &self.nodes, formed, clocks);
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
        self.findings.count("trace_lines", self.trace.lines());
        self.findings.count("trace_bytes", self.trace.bytes());
        let hash = self.trace.digest();
        let faults = self.plan.iter().map(ToString::to_string).collect();
        if let Err(error) = self.trace.finish() {
            self.findings.violation("trace", format!("could not be written: {error}"));
        }
        if let Some(observed) = &mut self.observed {
            observed.rest_at(self.now_us);
            observed.history = self.history;
        }
        (Verdict::new(&self.params, hash, faults, self.findings), self.observed)
    }

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
            self.events += u64::from(!matches!(entry.event, Event::Look));
            self.handle(entry.event);
        }
        self.now_us = self.now_us.max(until_us);
    }

    fn handle(&mut self, event: Event) {
        let Some(event) = self.unless_paused(event) else { return };
        match event {
            Event::GossipRound => self.gossip_round(),
            Event::Datagram(datagram) => self.datagram(&datagram),
            Event::Peer { from, to, bytes, spoilt } => self.peer(from, to, &bytes, spoilt),
            Event::Connection { from, to, turn } => self.connection_due(from, to, turn),
            Event::Synced { node, life, upto } => self.synced(node, life, upto),
            Event::Tick { node, life } => self.tick(node, life),
            Event::Faults => self.faults_changed(),
            Event::Client(client) => self.client(client),
            Event::Admin => self.admin(),
            Event::Again(client) => self.again(client),
            Event::Look => self.look(),
            Event::Ask { node, life, id, request } => self.take_ask(node, life, id, *request),
            Event::GiveUp(id) => self.give_up(id),
        }
    }

    /// Whether nodes hear each other, owe nothing, write nothing of their own accord and hold the
    /// same.
    fn is_converged(&self) -> bool {
        let at_rest = |node: &Node| {
            let quiet = node.hints_pending() == 0 && node.rights_moving() == 0;
            node.is_ready() && quiet && node.heard() == self.nodes.len()
        };
        self.nodes.iter().all(at_rest)
            && checks::replicas_equal::first_difference(&self.nodes, self.now_us).is_none()
    }
}
