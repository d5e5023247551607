//! What the others send: connections accepted, authenticated, and read until they end.
//!
//! Reading pauses while received messages that wait for the core take too much memory. A torn or
//! corrupt frame closes its connection, is counted, and changes nothing.

use super::envelope::Envelope;
use super::frames::{Link, LinkError};
use super::handshake::answer;
use super::outgoing::prepare;
use super::{Peer, Peers};
use crate::crdt::NodeId;
use crate::server::runtime::Job;
use crate::wire::codec::ENCODED_MAX;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

/// Memory is accounted in pieces of this size.
const PIECE_BYTES: usize = 1_024;
/// Refusals of strangers are logged at most once in this time.
const LOG_PAUSE: Duration = Duration::from_secs(10);

struct Receiver {
    peers: Peers,
    jobs: mpsc::Sender<Job>,
    /// Pieces of memory for messages that wait for the core.
    pieces: Arc<Semaphore>,
    logged: Mutex<Option<Instant>>,
}

/// Accepts connections for ever.
pub async fn accept(peers: Peers, listener: TcpListener, jobs: mpsc::Sender<Job>) {
    let limits = peers.inner.limits.clone();
    let pieces = Arc::new(Semaphore::new(limits.received_bytes.max(2 * ENCODED_MAX) / PIECE_BYTES));
    let receiver = Arc::new(Receiver { peers, jobs, pieces, logged: Mutex::default() });
    let mut open = JoinSet::new();
    loop {
        while open.try_join_next().is_some() {}
        let (socket, addr) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection from a peer");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        if open.len() >= limits.incoming_max {
            let refused = &receiver.peers.inner.totals.connections_refused;
            refused.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        open.spawn(receiver.clone().receive(socket, addr));
    }
}

impl Receiver {
    async fn receive(self: Arc<Self>, socket: TcpStream, addr: SocketAddr) {
        let limits = &self.peers.inner.limits;
        if prepare(&socket, limits.silence).is_err() {
            return; // It has gone already.
        }
        let handshake = answer(socket, &self.peers.inner.identity);
        let failed = match timeout(limits.handshake, handshake).await {
            Ok(Ok((link, name))) => return self.receive_from(link, &name, addr).await,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no complete handshake in time".to_owned(),
        };
        self.peers.inner.totals.handshakes_refused.fetch_add(1, Ordering::Relaxed);
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.is_none_or(|last| last.elapsed() >= LOG_PAUSE) {
            *logged = Some(Instant::now());
            tracing::warn!(%addr, error = failed, "refused a connection on the peer port");
        }
    }

    async fn receive_from(&self, mut link: Link, name: &str, addr: SocketAddr) {
        let Some(peer) = self.peers.get_or_add(name) else { return };
        let (abort, replaced) = tokio::sync::oneshot::channel();
        drop(peer.replace_receiving(abort));
        peer.queue.is_back();
        let from = NodeId::of_name(name);
        let ended = tokio::select! {
            ended = self.read_all(&mut link, &peer, from) => ended,
            _ = replaced => return, // By a newer connection of the same peer.
        };
        if let Err(error) = ended {
            if !matches!(&error, LinkError::Io(e) if e.kind() != ErrorKind::UnexpectedEof) {
                self.peers.inner.totals.frames_refused.fetch_add(1, Ordering::Relaxed);
            }
            tracing::warn!(peer = name, %addr, %error, "closed the connection from peer");
        }
    }

    async fn read_all(&self, link: &mut Link, peer: &Peer, from: NodeId) -> Result<(), LinkError> {
        while let Some(frame) = link.read(ENCODED_MAX).await? {
            let Envelope { trace, message } = Envelope::decode(&frame)
                .map_err(|error| LinkError::Protocol(format!("a frame was refused: {error}")))?;
            peer.counts.received_frames.fetch_add(1, Ordering::Relaxed);
            peer.counts.received_bytes.fetch_add(frame.len() as u64, Ordering::Relaxed);
            peer.counts.calls.received(&message.body);
            let pieces = (frame.len() / PIECE_BYTES + 1) as u32;
            drop(frame);
            let Ok(place) = self.pieces.clone().acquire_many_owned(pieces).await else {
                return Ok(());
            };
            let message = Box::new(message);
            if self.jobs.send(Job::Peer { from, message, place, trace }).is_err() {
                return Ok(()); // The core has stopped.
            }
        }
        Ok(())
    }
}
