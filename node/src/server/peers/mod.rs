//! Connections to the other nodes: one outgoing to each, for what this node sends.
//!
//! Sending never blocks and never fails: what finds its peer's queue full, or the peer out of
//! reach, is dropped and counted, as the core expects of a network. Frames are bounded before
//! anything is allocated. With a cluster secret every connection is authenticated and encrypted
//! by it; without one (loopback only) all are plain; the two never mix.

mod calls;
mod envelope;
mod frames;
mod handshake;
mod incoming;
mod outgoing;

pub use handshake::{Identity, PROTOCOL, is_name};

use super::families::{Family, Sample};
use super::histogram::Reading;
use super::runtime::Job;
use super::traces::TraceContext;
use crate::cluster::MembershipView;
use crate::crdt::NodeId;
use crate::wire::peer::PeerMessage;
use calls::Calls;
use envelope::Envelope;
use outgoing::Queue;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, mpsc};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;

/// Peers known at once; more are not connected to.
const PEERS_MAX: usize = 4_096;

/// Limits of the connections between nodes.
#[derive(Clone, Debug)]
pub struct PeerLimits {
    /// Frames that wait for one peer; more are dropped.
    pub queue_frames: usize,
    /// Bytes that wait for one peer; more are dropped.
    pub queue_bytes: usize,
    /// Connections accepted at once, handshakes included.
    pub incoming_max: usize,
    /// Bytes of messages received that wait for the core; then reading pauses.
    pub received_bytes: usize,
    /// Until a connection attempt or a handshake is given up.
    pub handshake: Duration,
    /// The longest pause between attempts to connect; the first is a tenth of it.
    pub retry_max: Duration,
    /// Until a connection whose other end confirms nothing is given up.
    pub silence: Duration,
}

impl Default for PeerLimits {
    fn default() -> Self {
        PeerLimits {
            queue_frames: 8_192,
            queue_bytes: 64 << 20,
            incoming_max: 1_024,
            received_bytes: 64 << 20,
            handshake: Duration::from_secs(2),
            retry_max: Duration::from_secs(1),
            silence: Duration::from_secs(4),
        }
    }
}

/// What passed between this node and one peer.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct PeerStats {
    /// The peer's name.
    pub name: String,
    /// Whether gossip hears it.
    pub alive: bool,
    /// Whether the outgoing connection stands.
    pub connected: bool,
    /// Frames written to it.
    pub sent_frames: u64,
    /// Frames received from it.
    pub received_frames: u64,
    /// Bytes of frames written, before encryption.
    pub sent_bytes: u64,
    /// Bytes of frames received, after decryption.
    pub received_bytes: u64,
    /// Frames dropped because the queue was full or the peer out of reach.
    pub dropped: u64,
    /// Frames that wait.
    pub queued: u64,
    /// Requests to it on behalf of clients, and what came of them.
    pub calls: CallStats,
}

/// Requests to one peer.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct CallStats {
    /// Sent, or dropped on the way.
    pub sent: u64,
    /// Dropped, or refused by the peer.
    pub failed: u64,
    /// Of those that were timed, not answered in time.
    pub unanswered: u64,
    /// Seconds until the answer, of those that were timed.
    pub took: Reading,
}

/// Counts of one peer.
#[derive(Debug, Default)]
struct Counts {
    connected: AtomicBool,
    sent_frames: AtomicU64,
    received_frames: AtomicU64,
    sent_bytes: AtomicU64,
    received_bytes: AtomicU64,
    dropped: AtomicU64,
    calls: Calls,
}

/// Counts over all connections, also those that never got a name.
#[derive(Debug, Default)]
struct Totals {
    handshakes_refused: AtomicU64,
    frames_refused: AtomicU64,
    connections_refused: AtomicU64,
}

struct Peer {
    name: String,
    addr: watch::Sender<Option<String>>,
    /// As gossip says.
    alive: AtomicBool,
    queue: Queue,
    counts: Arc<Counts>,
    sending: AbortHandle,
    /// Dropped when a newer connection from the same peer takes over.
    receiving: Mutex<Option<oneshot::Sender<()>>>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.sending.abort();
    }
}

struct Inner {
    identity: Identity,
    limits: PeerLimits,
    runtime: tokio::runtime::Handle,
    peers: RwLock<BTreeMap<NodeId, Arc<Peer>>>,
    totals: Totals,
}

/// This node's connections. Clones share them.
#[derive(Clone)]
pub struct Peers {
    inner: Arc<Inner>,
}

impl Peers {
    /// Without connections yet. Must be called within a runtime, which runs them.
    pub fn new(identity: Identity, limits: PeerLimits) -> Peers {
        let runtime = tokio::runtime::Handle::current();
        let inner = Inner {
            identity,
            limits,
            runtime,
            peers: RwLock::default(),
            totals: Totals::default(),
        };
        Peers { inner: Arc::new(inner) }
    }

    /// Accepts connections until the task is aborted; received messages go to `jobs`.
    pub fn listen(&self, listener: TcpListener, jobs: mpsc::Sender<Job>) -> AbortHandle {
        let accepting = incoming::accept(self.clone(), listener, jobs);
        self.inner.runtime.spawn(accepting).abort_handle()
    }

    /// Queues `message`, of that trace if any, for the peer; drops and counts it when it cannot.
    /// Whether it waits now.
    pub fn send(&self, to: NodeId, message: PeerMessage, trace: Option<TraceContext>) -> bool {
        let Some(peer) = self.get(to) else { return false };
        let calls = &peer.counts.calls;
        calls.sends(&message.body);
        let envelope = Envelope { trace, message };
        let waits = peer.queue.push(envelope.encode(), &peer.counts);
        if !waits {
            calls.dropped(&envelope.message.body);
        }
        waits
    }

    /// Connects to members that are new, follows those that moved, and tries those again at once
    /// that are back. Members that are gone are forgotten.
    pub fn update(&self, view: &MembershipView) {
        let own = self.inner.identity.id();
        for member in view.iter().filter(|member| member.id != own) {
            if let Some(peer) = self.get_or_add(&member.name) {
                peer.addr.send_if_modified(|addr| {
                    let moved = addr.as_deref() != Some(&member.peer_addr);
                    *addr = Some(member.peer_addr.clone());
                    moved
                });
                if !peer.alive.swap(member.alive, Ordering::Relaxed) && member.alive {
                    peer.queue.is_back();
                }
            }
        }
        let mut peers = self.inner.peers.write().unwrap_or_else(PoisonError::into_inner);
        peers.retain(|id, peer| {
            view.get(*id).is_some() || peer.counts.connected.load(Ordering::Relaxed)
        });
    }

    /// One entry a peer, by name.
    pub fn stats(&self) -> Vec<PeerStats> {
        let peers = self.inner.peers.read().unwrap_or_else(PoisonError::into_inner);
        let mut stats: Vec<_> = peers.values().map(|peer| peer.stats()).collect();
        stats.sort_by(|a, b| a.name.cmp(&b.name));
        stats
    }

    /// Appends what is measured of each peer, and of all together.
    pub fn samples(&self, samples: &mut Vec<Sample>) {
        for peer in self.stats() {
            samples.extend(peer_samples(&peer));
        }
        let totals = &self.inner.totals;
        for (family, count) in [
            (Family::Handshakes, &totals.handshakes_refused),
            (Family::FramesRefused, &totals.frames_refused),
            (Family::PeersRefused, &totals.connections_refused),
        ] {
            samples.push(family.is(count.load(Ordering::Relaxed) as f64));
        }
    }

    /// The name of a peer.
    pub fn name_of(&self, id: NodeId) -> Option<String> {
        self.get(id).map(|peer| peer.name.clone())
    }

    fn get(&self, id: NodeId) -> Option<Arc<Peer>> {
        let peers = self.inner.peers.read().unwrap_or_else(PoisonError::into_inner);
        peers.get(&id).cloned()
    }

    fn get_or_add(&self, name: &str) -> Option<Arc<Peer>> {
        let id = NodeId::of_name(name);
        if let Some(peer) = self.get(id) {
            return Some(peer);
        }
        let mut peers = self.inner.peers.write().unwrap_or_else(PoisonError::into_inner);
        if peers.len() >= PEERS_MAX && !peers.contains_key(&id) {
            return None;
        }
        Some(peers.entry(id).or_insert_with(|| Arc::new(self.new_peer(name))).clone())
    }

    fn new_peer(&self, name: &str) -> Peer {
        let (addr, addr_read) = watch::channel(None);
        let counts = Arc::new(Counts::default());
        let limits = &self.inner.limits;
        let (queue, frames) = outgoing::queue(limits.queue_frames, limits.queue_bytes);
        let sender = outgoing::Sender {
            peers: Arc::downgrade(&self.inner),
            identity: self.inner.identity.clone(),
            limits: limits.clone(),
            name: name.to_owned(),
            addr: addr_read,
            frames,
            counts: counts.clone(),
        };
        let sending = self.inner.runtime.spawn(sender.run()).abort_handle();
        let (receiving, alive) = (Mutex::default(), AtomicBool::new(false));
        Peer { name: name.to_owned(), addr, alive, queue, counts, sending, receiving }
    }
}

impl Peer {
    fn replace_receiving(&self, newer: oneshot::Sender<()>) -> Option<oneshot::Sender<()>> {
        self.receiving.lock().unwrap_or_else(PoisonError::into_inner).replace(newer)
    }

    fn stats(&self) -> PeerStats {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        PeerStats {
            name: self.name.clone(),
            alive: self.alive.load(Ordering::Relaxed),
            connected: self.counts.connected.load(Ordering::Relaxed),
            sent_frames: read(&self.counts.sent_frames),
            received_frames: read(&self.counts.received_frames),
            sent_bytes: read(&self.counts.sent_bytes),
            received_bytes: read(&self.counts.received_bytes),
            dropped: read(&self.counts.dropped),
            queued: self.queue.len(),
            calls: self.counts.calls.read(),
        }
    }
}

fn peer_samples(peer: &PeerStats) -> Vec<Sample> {
    let labels = [("peer", peer.name.as_str())];
    let numbers = [
        (Family::PeerAlive, peer.alive.into()),
        (Family::PeerConnected, peer.connected.into()),
        (Family::PeerCalls, peer.calls.sent),
        (Family::PeerFailed, peer.calls.failed),
        (Family::PeerUnanswered, peer.calls.unanswered),
        (Family::PeerSent, peer.sent_bytes),
        (Family::PeerReceived, peer.received_bytes),
        (Family::PeerFramesSent, peer.sent_frames),
        (Family::PeerFramesReceived, peer.received_frames),
        (Family::PeerDropped, peer.dropped),
        (Family::PeerQueued, peer.queued),
    ];
    let numbers = numbers.iter().map(|(family, value)| family.of(&labels, *value as f64));
    numbers.chain([Family::PeerLatency.spread(&labels, peer.calls.took.clone())]).collect()
}
