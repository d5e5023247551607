//! Gossip datagrams: authenticated, encrypted, never taken twice.
//!
//! `version | key id | nonce, 24 bytes | XChaCha20-Poly1305 of the envelope`; version, key id and
//! the cluster's name are authenticated with it. Anything else is counted and has no effect but
//! one small sealed answer to a node that does not know this start of ours yet, which says it again
//! at once. A message that leaves no room for the seal travels as two datagrams.

use super::replay::{Replay, Session};
use crate::wire::codec;
use async_trait::async_trait;
use bincode::{Decode, Encode};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use chitchat::transport::{Socket, Transport};
use chitchat::{ChitchatMessage, Deserializable, Serializable};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::UdpSocket;

const VERSION: u8 = 1;
/// Largest payload of a UDP datagram over IPv4.
const DATAGRAM_MAX: usize = 65_507;
const NONCE_BYTES: usize = 24;
const HEADER_BYTES: usize = 2 + NONCE_BYTES;
/// Of a message in one datagram; the rest is for header, envelope and tag.
const BODY_MAX: usize = DATAGRAM_MAX - 200;
/// First halves kept while their second is on its way.
const HALVES_MAX: usize = 64;
/// Messages kept to be said again: those of a round or two.
const KEPT_MAX: usize = 16;
/// Failures of the socket in a row before it counts as broken.
const FAILURES_MAX: u32 = 100;

/// The key of gossip, derived from the cluster secret.
#[derive(Clone, Copy)]
pub struct Key {
    /// Tells keys apart on the wire without trying them.
    pub id: u8,
    /// The key.
    pub bytes: [u8; 32],
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({:02x})", self.id)
    }
}

/// Counts of datagrams.
#[derive(Debug, Default)]
pub struct SealStats {
    /// Junk, other keys, replays.
    pub refused: AtomicU64,
    /// Bytes sent.
    pub sent_bytes: AtomicU64,
    /// Bytes received.
    pub received_bytes: AtomicU64,
}

#[derive(Encode, Decode)]
struct Envelope {
    from: Session,
    to: Session,
    counter: u64,
    /// The address it was sent to, as the sender knows it.
    sent_to: SocketAddr,
    body: Body,
}

#[derive(Encode, Decode)]
enum Body {
    Whole(Vec<u8>),
    First(u64, Vec<u8>),
    Second(u64, Vec<u8>),
    /// "The node at that address is in my session now": the answer to a wrong `to`.
    Moved(SocketAddr),
}

/// Hands chitchat a socket that is bound already.
struct Bound(Mutex<Option<UdpSocket>>);

impl Bound {
    fn take(&self) -> anyhow::Result<UdpSocket> {
        let socket = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        socket.ok_or_else(|| anyhow::anyhow!("the gossip socket is open already"))
    }
}

/// A transport sealed by the cluster secret.
pub struct Sealed {
    socket: Bound,
    key: Key,
    cluster: String,
    stats: Arc<SealStats>,
}

impl Sealed {
    /// Over `socket`, for one opening.
    pub fn new(socket: UdpSocket, key: &Key, cluster: &str, stats: &Arc<SealStats>) -> Sealed {
        let socket = Bound(Mutex::new(Some(socket)));
        Sealed { socket, key: *key, cluster: cluster.to_owned(), stats: stats.clone() }
    }
}

#[async_trait]
impl Transport for Sealed {
    async fn open(&self, _: SocketAddr) -> anyhow::Result<Box<dyn Socket>> {
        let cipher = XChaCha20Poly1305::new(&self.key.bytes.into());
        let associated = [&[VERSION, self.key.id], self.cluster.as_bytes()].concat();
        Ok(Box::new(SealedSocket {
            datagrams: Datagrams::new(self.socket.take()?, &self.stats),
            cipher,
            key_id: self.key.id,
            associated,
            replay: Replay::new(Session::draw()),
            halves: BTreeMap::new(),
            kept: VecDeque::new(),
        }))
    }
}

struct SealedSocket {
    datagrams: Datagrams,
    cipher: XChaCha20Poly1305,
    key_id: u8,
    associated: Vec<u8>,
    replay: Replay,
    /// By session: a message's number, and its first half.
    halves: BTreeMap<Session, (u64, Vec<u8>)>,
    /// What was sent last, to where and to whom: said again to who is there in fact.
    kept: VecDeque<(SocketAddr, Session, Vec<u8>)>,
}

#[async_trait]
impl Socket for SealedSocket {
    async fn send(&mut self, to: SocketAddr, message: ChitchatMessage) -> anyhow::Result<()> {
        let bytes = message.serialize_to_vec();
        let session = self.replay.session_at(to);
        if self.kept.len() >= KEPT_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back((to, session, bytes.clone()));
        self.say(to, session, bytes).await
    }

    async fn recv(&mut self) -> anyhow::Result<(SocketAddr, ChitchatMessage)> {
        loop {
            let (bytes, from) = self.datagrams.recv().await?;
            let Some(envelope) = self.open(&bytes) else {
                self.datagrams.refuse();
                continue;
            };
            if envelope.to != self.replay.own {
                if !matches!(envelope.body, Body::Moved(_)) {
                    let body = Body::Moved(envelope.sent_to);
                    self.send_body(from, envelope.from, body).await?;
                }
                continue;
            }
            if !self.replay.take(envelope.from, envelope.counter) {
                self.datagrams.refuse();
                continue;
            }
            if let Body::Moved(addr) = envelope.body {
                self.replay.learn(addr, envelope.from);
                self.say_again(addr, envelope.from).await?;
                continue;
            }
            self.replay.learn(from, envelope.from);
            let Some(message) = self.whole(envelope.from, envelope.body) else { continue };
            match ChitchatMessage::deserialize(&mut &message[..]) {
                Ok(message) => return Ok((from, message)),
                Err(_) => self.datagrams.refuse(),
            }
        }
    }
}

impl SealedSocket {
    async fn say(
        &mut self,
        addr: SocketAddr,
        to: Session,
        mut bytes: Vec<u8>,
    ) -> anyhow::Result<()> {
        if bytes.len() <= BODY_MAX {
            return self.send_body(addr, to, Body::Whole(bytes)).await;
        }
        let second = bytes.split_off(bytes.len() / 2);
        let number = self.replay.count();
        self.send_body(addr, to, Body::First(number, bytes)).await?;
        self.send_body(addr, to, Body::Second(number, second)).await
    }

    /// Says once more what was meant for an earlier start of the node there, or for any.
    async fn say_again(&mut self, addr: SocketAddr, to: Session) -> anyhow::Result<()> {
        let meant = |(at, session, _): &(SocketAddr, Session, _)| *at == addr && *session != to;
        let (again, rest) = self.kept.drain(..).partition::<Vec<_>, _>(meant);
        self.kept = rest.into();
        for (_, _, bytes) in again {
            self.say(addr, to, bytes).await?;
        }
        Ok(())
    }

    async fn send_body(&mut self, addr: SocketAddr, to: Session, body: Body) -> anyhow::Result<()> {
        let (from, counter) = (self.replay.own, self.replay.count());
        let plain = codec::encode(&Envelope { from, to, counter, sent_to: addr, body });
        let nonce: [u8; NONCE_BYTES] = rand::random();
        let payload = Payload { msg: &plain, aad: &self.associated };
        let sealed = self
            .cipher
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_| anyhow::anyhow!("a gossip message is too long to seal"))?;
        let mut datagram = Vec::with_capacity(HEADER_BYTES + sealed.len());
        datagram.extend_from_slice(&[VERSION, self.key_id]);
        datagram.extend_from_slice(&nonce);
        datagram.extend_from_slice(&sealed);
        self.datagrams.send(addr, &datagram).await;
        Ok(())
    }

    fn open(&self, datagram: &[u8]) -> Option<Envelope> {
        let (header, sealed) = datagram.split_at_checked(HEADER_BYTES)?;
        let (kind, nonce) = header.split_at(2);
        let nonce: [u8; NONCE_BYTES] = nonce.try_into().ok()?;
        (kind == [VERSION, self.key_id]).then_some(())?;
        let payload = Payload { msg: sealed, aad: &self.associated };
        let plain = self.cipher.decrypt(&XNonce::from(nonce), payload).ok()?;
        codec::decode(&plain).ok()
    }

    /// The message, once all of it is there.
    fn whole(&mut self, from: Session, body: Body) -> Option<Vec<u8>> {
        match body {
            Body::Whole(bytes) => Some(bytes),
            Body::First(number, bytes) => {
                if self.halves.len() >= HALVES_MAX && !self.halves.contains_key(&from) {
                    self.halves.pop_first();
                }
                self.halves.insert(from, (number, bytes));
                None
            }
            Body::Second(number, second) => {
                let (kept, mut bytes) = self.halves.remove(&from)?;
                bytes.extend_from_slice(&second);
                (kept == number).then_some(bytes)
            }
            Body::Moved(_) => None,
        }
    }
}

/// A plain transport, for clusters without a secret on loopback.
pub struct Plain {
    socket: Bound,
    stats: Arc<SealStats>,
}

impl Plain {
    /// Over `socket`, for one opening.
    pub fn new(socket: UdpSocket, stats: &Arc<SealStats>) -> Plain {
        Plain { socket: Bound(Mutex::new(Some(socket))), stats: stats.clone() }
    }
}

#[async_trait]
impl Transport for Plain {
    async fn open(&self, _: SocketAddr) -> anyhow::Result<Box<dyn Socket>> {
        Ok(Box::new(PlainSocket(Datagrams::new(self.socket.take()?, &self.stats))))
    }
}

struct PlainSocket(Datagrams);

#[async_trait]
impl Socket for PlainSocket {
    async fn send(&mut self, to: SocketAddr, message: ChitchatMessage) -> anyhow::Result<()> {
        self.0.send(to, &message.serialize_to_vec()).await;
        Ok(())
    }

    async fn recv(&mut self) -> anyhow::Result<(SocketAddr, ChitchatMessage)> {
        loop {
            let (bytes, from) = self.0.recv().await?;
            match ChitchatMessage::deserialize(&mut &bytes[..]) {
                Ok(message) => return Ok((from, message)),
                Err(_) => self.0.refuse(),
            }
        }
    }
}

/// A socket that counts.
struct Datagrams {
    socket: UdpSocket,
    buffer: Vec<u8>,
    stats: Arc<SealStats>,
}

impl Datagrams {
    fn new(socket: UdpSocket, stats: &Arc<SealStats>) -> Datagrams {
        Datagrams { socket, buffer: vec![0; DATAGRAM_MAX], stats: stats.clone() }
    }

    /// Sends; a datagram that cannot be sent is lost, as any may be.
    async fn send(&self, to: SocketAddr, datagram: &[u8]) {
        match self.socket.send_to(datagram, to).await {
            Ok(sent) => _ = self.stats.sent_bytes.fetch_add(sent as u64, Ordering::Relaxed),
            Err(error) => tracing::debug!(%to, %error, "a gossip datagram was not sent"),
        }
    }

    /// The next datagram. Fails only when the socket is broken.
    async fn recv(&mut self) -> anyhow::Result<(Vec<u8>, SocketAddr)> {
        let mut failures = 0;
        loop {
            match self.socket.recv_from(&mut self.buffer).await {
                Ok((count, from)) => {
                    self.stats.received_bytes.fetch_add(count as u64, Ordering::Relaxed);
                    return Ok((self.buffer[..count].to_vec(), from));
                }
                Err(error) if failures >= FAILURES_MAX => return Err(error.into()),
                Err(error) => {
                    tracing::debug!(%error, "no gossip datagram was received");
                    failures += 1;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }

    fn refuse(&self) {
        self.stats.refused.fetch_add(1, Ordering::Relaxed);
    }
}
