//! Real chitchat, one instance a node, over datagrams that the world carries.
//!
//! Chitchat waits on tokio's clock, which is paused here and moved by hand. At one instant the
//! clock is moved first and the interval ticks run until all tasks wait again; datagrams follow one
//! by one in the same way. So never more than one branch of chitchat's `select!` is ready, and
//! the branch at which tokio begins to look, which no seed governs, makes no difference.

use anyhow::anyhow;
use async_trait::async_trait;
use chitchat::transport::{Socket, Transport};
use chitchat::{
    ChitchatConfig, ChitchatHandle, ChitchatId, ChitchatMessage, Deserializable,
    FailureDetectorConfig, NodeState, Serializable, spawn_chitchat,
};
use starling_node::cluster::{Member, MembershipView};
use starling_node::crdt::NodeId;
use starling_node::placement::LayoutId;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Poll, Waker};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// Between gossip rounds of one node, microseconds.
pub const INTERVAL_US: u64 = 500_000;

/// How long a member must have been silent for chitchat before it counts as dead, as real nodes
/// have it unless they are set otherwise, microseconds.
const SUSPICION_US: u64 = 5 * INTERVAL_US;

/// Rounds of the executor within which all tasks must wait again.
const SETTLE_MAX: usize = 64;

/// What a node says of itself.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Its name.
    pub name: String,
    /// Its failure domain.
    pub zone: String,
    /// Grows with each start.
    pub generation: u64,
    /// The layout it works with.
    pub layout: LayoutId,
}

/// One gossip datagram on its way.
#[derive(Debug)]
pub struct Datagram {
    /// Sending node, by place.
    pub from: usize,
    /// Receiving node, by place.
    pub to: usize,
    /// As chitchat writes it.
    pub bytes: Vec<u8>,
}

#[derive(Default)]
struct Inbox {
    queue: VecDeque<(SocketAddr, ChitchatMessage)>,
    waker: Option<Waker>,
}

/// The simulated sockets: what was sent, and what waits to be received.
#[derive(Default)]
struct Wire {
    sent: Vec<Datagram>,
    inboxes: BTreeMap<SocketAddr, Inbox>,
    /// Inboxes whose readers do not wait, or have something to read.
    restless: BTreeSet<SocketAddr>,
}

type SharedWire = Arc<Mutex<Wire>>;

fn lock(wire: &SharedWire) -> MutexGuard<'_, Wire> {
    wire.lock().expect("no one panics with the wire locked")
}

fn address(node: usize) -> SocketAddr {
    ([10, 0, (node >> 8) as u8, node as u8], 7946).into()
}

fn node_at(address: SocketAddr) -> usize {
    match address {
        SocketAddr::V4(v4) => {
            let [.., high, low] = v4.ip().octets();
            usize::from(high) << 8 | usize::from(low)
        }
        SocketAddr::V6(_) => unreachable!("the simulated network is version 4"),
    }
}

struct SimTransport {
    wire: SharedWire,
}

struct SimSocket {
    at: SocketAddr,
    wire: SharedWire,
}

#[async_trait]
impl Transport for SimTransport {
    async fn open(&self, at: SocketAddr) -> anyhow::Result<Box<dyn Socket>> {
        let mut wire = lock(&self.wire);
        let before = wire.inboxes.insert(at, Inbox::default());
        wire.restless.insert(at);
        if before.is_some() {
            return Err(anyhow!("{at} is in use"));
        }
        Ok(Box::new(SimSocket { at, wire: self.wire.clone() }))
    }
}

#[async_trait]
impl Socket for SimSocket {
    async fn send(&mut self, to: SocketAddr, message: ChitchatMessage) -> anyhow::Result<()> {
        let (from, to) = (node_at(self.at), node_at(to));
        lock(&self.wire).sent.push(Datagram { from, to, bytes: message.serialize_to_vec() });
        Ok(())
    }

    async fn recv(&mut self) -> anyhow::Result<(SocketAddr, ChitchatMessage)> {
        std::future::poll_fn(|cx| {
            let mut wire = lock(&self.wire);
            let Wire { inboxes, restless, .. } = &mut *wire;
            let inbox = inboxes.get_mut(&self.at).expect("open while it is used");
            match inbox.queue.pop_front() {
                Some(received) => Poll::Ready(Ok(received)),
                None => {
                    inbox.waker = Some(cx.waker().clone());
                    restless.remove(&self.at);
                    Poll::Pending
                }
            }
        })
        .await
    }
}

impl Drop for SimSocket {
    fn drop(&mut self) {
        let mut wire = lock(&self.wire);
        wire.inboxes.remove(&self.at);
        wire.restless.remove(&self.at);
    }
}

/// All gossip of a run.
pub struct Gossip {
    runtime: Runtime,
    wire: SharedWire,
    now_us: u64,
    seeds: Vec<String>,
    /// Intervals between heartbeats that a node remembers of each other one.
    window: usize,
    running: BTreeMap<usize, ChitchatHandle>,
    /// By observer: members it calls alive, and since when chitchat calls them dead, microseconds.
    alive: BTreeMap<usize, BTreeMap<ChitchatId, Option<u64>>>,
}

impl Gossip {
    /// Gossip among up to `nodes` nodes, none of which runs yet, in a run of about `run_us`
    /// microseconds.
    ///
    /// Nodes remember as many intervals as real ones do, or as there can be in twice that time: in
    /// large clusters the room for those that never come would be most of a run's memory.
    pub fn new(nodes: usize, run_us: u64) -> Self {
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime without input and output needs nothing of the system");
        let seeds = (0..nodes).map(|node| address(node).to_string()).collect();
        let wire = SharedWire::default();
        let (running, alive) = (BTreeMap::new(), BTreeMap::new());
        let intervals = usize::try_from(2 * run_us / INTERVAL_US).unwrap_or(usize::MAX);
        let most = FailureDetectorConfig::default().sampling_window_size;
        let window = intervals.clamp(1, most);
        Gossip { runtime, wire, now_us: 0, seeds, window, running, alive }
    }

    /// Starts a node's gossip. The first round follows at once, the others each
    /// [`INTERVAL_US`]; the caller moves the clock to each of them with [`Gossip::tick`].
    /// `now_us` must be whole milliseconds, the resolution of tokio's timers.
    pub fn start(&mut self, now_us: u64, node: usize, identity: &Identity) {
        assert!(now_us.is_multiple_of(1_000), "starts at whole milliseconds");
        self.advance(now_us);
        let interval = Duration::from_micros(INTERVAL_US);
        let config = ChitchatConfig {
            chitchat_id: ChitchatId::new(&*identity.name, identity.generation, address(node)),
            cluster_id: "sim".into(),
            gossip_interval: interval,
            listen_addr: address(node),
            seed_nodes: self.seeds.clone(),
            failure_detector_config: FailureDetectorConfig {
                sampling_window_size: self.window,
                max_interval: interval * 10,
                initial_interval: interval,
                dead_node_grace_period: Duration::from_secs(15 * 60),
                ..FailureDetectorConfig::default()
            },
            marked_for_deletion_grace_period: Duration::from_secs(15 * 60),
            catchup_callback: None,
            extra_liveness_predicate: None,
        };
        let own = vec![
            ("zone".to_string(), identity.zone.clone()),
            ("layout".to_string(), identity.layout.0.to_string()),
        ];
        let transport = SimTransport { wire: self.wire.clone() };
        let started = self.runtime.block_on(spawn_chitchat(config, own, &transport));
        self.running.insert(node, started.expect("the address is free"));
        self.settle();
    }

    /// Ends a node's gossip without a word to the others.
    pub fn stop(&mut self, node: usize) {
        let handle = self.running.remove(&node).expect("it was running");
        self.alive.remove(&node);
        handle.abort();
        drop(handle);
        lock(&self.wire).restless.insert(address(node));
        self.settle();
    }

    /// Moves the clock to `now_us`, where the next rounds of exactly `nodes` are due, and lets
    /// them run.
    pub fn tick(&mut self, now_us: u64, nodes: &[usize]) {
        for node in nodes {
            lock(&self.wire).restless.insert(address(*node));
        }
        self.advance(now_us);
        self.settle();
    }

    /// Delivers one datagram at `now_us`; no round may be due before that.
    pub fn deliver(&mut self, now_us: u64, datagram: &Datagram) {
        self.advance(now_us);
        let message = ChitchatMessage::deserialize(&mut &datagram.bytes[..])
            .expect("datagrams arrive as they were sent");
        {
            let mut wire = lock(&self.wire);
            let to = address(datagram.to);
            let Wire { inboxes, restless, .. } = &mut *wire;
            let Some(inbox) = inboxes.get_mut(&to) else { return };
            inbox.queue.push_back((address(datagram.from), message));
            restless.insert(to);
            if let Some(waker) = inbox.waker.take() {
                waker.wake();
            }
        }
        self.settle();
    }

    /// Datagrams sent since the last call, in order.
    pub fn take_sent(&mut self) -> Vec<Datagram> {
        std::mem::take(&mut lock(&self.wire).sent)
    }

    /// Says through gossip which layout the node works with.
    pub fn announce_layout(&mut self, node: usize, layout: LayoutId) {
        let handle = &self.running[&node];
        let chitchat = handle.chitchat();
        let mut chitchat = chitchat.try_lock().expect("all tasks wait");
        chitchat.self_node_state().set("layout", layout.0);
    }

    /// The members as the node sees them.
    pub fn view(&mut self, node: usize) -> MembershipView {
        let handle = &self.running[&node];
        let chitchat = handle.chitchat();
        let chitchat = chitchat.try_lock().expect("all tasks wait");
        let heard: BTreeSet<&ChitchatId> = chitchat.live_nodes().collect();
        let known = self.alive.entry(node).or_default();
        for id in &heard {
            match known.get_mut(id) {
                Some(silent_us) => *silent_us = None,
                None => drop(known.insert((*id).clone(), None)),
            }
        }
        known.retain(|id, silent_us| {
            let silent = !heard.contains(id);
            let since_us = *silent_us.get_or_insert(self.now_us);
            silent_us.take_if(|_| !silent);
            !silent || self.now_us - since_us < SUSPICION_US
        });
        let live: BTreeSet<&ChitchatId> = known.keys().collect();
        let members = chitchat.node_states().iter();
        MembershipView::new(
            members.filter_map(|(id, state)| member(id, state, live.contains(id))).collect(),
        )
    }

    fn advance(&mut self, now_us: u64) {
        assert!(now_us >= self.now_us, "time does not go back");
        let step = Duration::from_micros(now_us - self.now_us);
        self.now_us = now_us;
        if !step.is_zero() {
            self.runtime.block_on(tokio::time::advance(step));
        }
    }

    /// Runs all tasks until each waits for a datagram or a tick.
    fn settle(&mut self) {
        let wire = &self.wire;
        self.runtime.block_on(async {
            for _ in 0..SETTLE_MAX {
                tokio::task::yield_now().await;
                if lock(wire).restless.is_empty() {
                    return;
                }
            }
            panic!("gossip did not come to rest: the run would not be repeatable");
        });
    }
}

/// `None` while only the heartbeat of a member is known.
fn member(id: &ChitchatId, state: &NodeState, alive: bool) -> Option<Member> {
    let layout = state.get("layout")?.parse().ok()?;
    let name = id.node_id.to_string();
    Some(Member {
        id: NodeId::of_name(&name),
        zone: state.get("zone")?.to_string(),
        capacity: 1,
        peer_addr: format!("{name}:1"),
        http_addr: format!("{name}:2"),
        generation: id.generation_id,
        alive,
        layout: LayoutId(layout),
        name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(node: usize, generation: u64) -> Identity {
        let name = format!("n{node}");
        Identity { name, zone: "z".into(), generation, layout: LayoutId::NONE }
    }

    /// Runs `rounds` gossip rounds of all nodes in `up`, datagrams without delay.
    fn run(gossip: &mut Gossip, now_us: &mut u64, up: &[usize], rounds: u64) -> u64 {
        let mut hash = xxhash_rust::xxh3::Xxh3::new();
        for _ in 0..rounds {
            *now_us += INTERVAL_US;
            gossip.tick(*now_us, up);
            loop {
                let sent = gossip.take_sent();
                if sent.is_empty() {
                    break;
                }
                for datagram in sent.iter().filter(|d| up.contains(&d.to)) {
                    hash.update(&datagram.bytes);
                    gossip.deliver(*now_us, datagram);
                }
            }
            // Suspicion begins when a member is looked at, as in every round of a run.
            up.iter().for_each(|node| {
                gossip.view(*node);
            });
        }
        hash.digest()
    }

    fn lives(seed: u64) -> (u64, Vec<Vec<bool>>) {
        let life = move || {
            crate::random::take_over(seed);
            let mut gossip = Gossip::new(5, 70 * INTERVAL_US);
            let mut now_us = 0;
            (0..5).for_each(|node| gossip.start(0, node, &identity(node, 1)));
            let mut views = Vec::new();
            let mut see = |gossip: &mut Gossip| {
                let view = gossip.view(0);
                views.push(
                    (0..5).map(|n| view.is_alive(NodeId::of_name(&format!("n{n}")))).collect(),
                );
            };
            let mut hash = run(&mut gossip, &mut now_us, &[0, 1, 2, 3, 4], 20);
            see(&mut gossip);
            gossip.stop(4);
            hash ^= run(&mut gossip, &mut now_us, &[0, 1, 2, 3], 30);
            see(&mut gossip);
            gossip.start(now_us, 4, &identity(4, 2));
            hash ^= run(&mut gossip, &mut now_us, &[0, 1, 2, 3, 4], 20);
            see(&mut gossip);
            (hash, views)
        };
        std::thread::spawn(life).join().unwrap()
    }

    #[test]
    fn gossip_sees_a_death_and_a_return_and_repeats_byte_for_byte() {
        let (hash, views) = lives(7);
        assert_eq!(
            views,
            [[true; 5].to_vec(), [true, true, true, true, false].to_vec(), [true; 5].to_vec()]
        );
        assert_eq!(lives(7).0, hash);
        assert_ne!(lives(8).0, hash);
    }
}
