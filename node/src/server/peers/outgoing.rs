//! What one node sends to one other: a bounded queue and the task that empties it.
//!
//! Frames wait while a connection stands or the first attempt to make one runs, and are dropped
//! while the peer is out of reach: what is delivered late was given up by its sender long ago.
//! A sign that the peer is back ends the wait for the next attempt, or one that hangs.

use super::frames::{Link, LinkError, append_frame};
use super::handshake::{Identity, dial};
use super::{Counts, Inner, PeerLimits};
use rand::Rng;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

/// Bytes put into one write.
const WRITE_BYTES: usize = 256 << 10;
/// A connection that stood so long was a good one; the next attempt follows at once.
const STOOD: Duration = Duration::from_secs(5);
/// An attempt to connect is not begun anew before that, though the peer be heard of: two nodes
/// that dial each other would cut each other short.
const HANGS: Duration = Duration::from_millis(200);

/// The way into a peer's queue.
pub struct Queue {
    frames: mpsc::Sender<Vec<u8>>,
    state: Arc<State>,
    bytes_max: usize,
}

#[derive(Default)]
struct State {
    bytes: AtomicUsize,
    /// Set when an attempt to connect failed, until one succeeds.
    out_of_reach: AtomicBool,
    back: Notify,
}

/// The way out of it.
pub struct Frames {
    waiting: mpsc::Receiver<Vec<u8>>,
    state: Arc<State>,
}

/// A queue bounded by frames and by bytes.
pub fn queue(frames_max: usize, bytes_max: usize) -> (Queue, Frames) {
    let (frames, waiting) = mpsc::channel(frames_max);
    let state = Arc::new(State::default());
    (Queue { frames, state: state.clone(), bytes_max }, Frames { waiting, state })
}

impl Queue {
    /// Appends a frame, or drops and counts it. Whether it waits now.
    pub(super) fn push(&self, frame: Vec<u8>, counts: &Counts) -> bool {
        let length = frame.len();
        let queued = self.state.bytes.fetch_add(length, Ordering::Relaxed);
        let fits =
            queued + length <= self.bytes_max && !self.state.out_of_reach.load(Ordering::Relaxed);
        let waits = fits && self.frames.try_send(frame).is_ok();
        if !waits {
            self.state.bytes.fetch_sub(length, Ordering::Relaxed);
            counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
        waits
    }

    /// The peer was heard of: whatever was in its way may be gone. Frames wait again, and where
    /// no connection stands one is tried at once.
    pub(super) fn is_back(&self) {
        self.state.out_of_reach.store(false, Ordering::Relaxed);
        self.state.back.notify_one();
    }

    /// Frames that wait.
    pub fn len(&self) -> u64 {
        (self.frames.max_capacity() - self.frames.capacity()) as u64
    }
}

impl Frames {
    async fn next(&mut self) -> Option<Vec<u8>> {
        let frame = self.waiting.recv().await;
        frame.inspect(|frame| self.taken(frame))
    }

    fn try_next(&mut self) -> Option<Vec<u8>> {
        let frame = self.waiting.try_recv().ok();
        frame.inspect(|frame| self.taken(frame))
    }

    fn taken(&self, frame: &[u8]) {
        self.state.bytes.fetch_sub(frame.len(), Ordering::Relaxed);
    }
}

/// The task that sends to one peer.
pub(super) struct Sender {
    pub(super) peers: Weak<Inner>,
    pub(super) identity: Identity,
    pub(super) limits: PeerLimits,
    pub(super) name: String,
    pub(super) addr: watch::Receiver<Option<String>>,
    pub(super) frames: Frames,
    pub(super) counts: Arc<Counts>,
}

impl Sender {
    /// Connects and sends until the peer is forgotten.
    pub async fn run(mut self) {
        let mut failures = 0;
        loop {
            let Ok(addr) = self.addr.wait_for(Option::is_some).await.map(|addr| addr.clone())
            else {
                return;
            };
            let addr = addr.unwrap_or_default();
            let state = self.frames.state.clone();
            let attempt = tokio::select! {
                attempt = timeout(self.limits.handshake, self.connect(&addr)) => attempt,
                () = async { sleep(HANGS).await; state.back.notified().await } => continue,
            };
            let failed = match attempt {
                Ok(Ok(link)) => {
                    tracing::info!(peer = self.name, addr, "connected to peer");
                    let began = Instant::now();
                    let ended = self.send(link).await;
                    self.counts.connected.store(false, Ordering::Relaxed);
                    let Some(error) = ended else { return };
                    tracing::info!(peer = self.name, addr, %error, "connection to peer ended");
                    failures = if began.elapsed() < STOOD { failures + 1 } else { 0 };
                    None
                }
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some("no answer in time".to_owned()),
            };
            if let Some(error) = failed {
                self.give_up(&addr, &error, failures);
                failures += 1;
            }
            if failures > 0 {
                let pause = pause(self.limits.retry_max, failures);
                tokio::select! {
                    _ = timeout(pause, self.addr.changed()) => {}
                    () = state.back.notified() => {}
                }
            }
        }
    }

    async fn connect(&self, addr: &str) -> Result<Link, LinkError> {
        let socket = TcpStream::connect(addr).await?;
        prepare(&socket, self.limits.silence)?;
        dial(socket, &self.identity, &self.name).await
    }

    /// Sends until the connection ends and says why, or `None` when the peer was forgotten.
    async fn send(&mut self, mut link: Link) -> Option<LinkError> {
        self.frames.state.out_of_reach.store(false, Ordering::Relaxed);
        self.counts.connected.store(true, Ordering::Relaxed);
        let mut batch = Vec::new();
        loop {
            let first = tokio::select! {
                frame = self.frames.next() => frame?,
                error = link.closed() => return Some(error),
                moved = self.addr.changed() => {
                    moved.ok()?;
                    return Some(LinkError::Protocol("the peer moved".into()));
                }
            };
            batch.clear();
            append_frame(&mut batch, &first);
            let mut count = 1;
            while batch.len() < WRITE_BYTES {
                let Some(frame) = self.frames.try_next() else { break };
                append_frame(&mut batch, &frame);
                count += 1;
            }
            match timeout(self.limits.silence, link.write(&batch)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Some(error),
                Err(_) => return Some(io::Error::from(io::ErrorKind::TimedOut).into()),
            }
            self.counts.sent_frames.fetch_add(count, Ordering::Relaxed);
            self.counts.sent_bytes.fetch_add(batch.len() as u64, Ordering::Relaxed);
            batch.shrink_to(2 * WRITE_BYTES);
        }
    }

    /// Counts a failed attempt and drops what waits; logs the first of a row.
    fn give_up(&mut self, addr: &str, error: &str, failures: u32) {
        self.frames.state.out_of_reach.store(true, Ordering::Relaxed);
        while self.frames.try_next().is_some() {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(peers) = self.peers.upgrade() {
            peers.totals.handshakes_refused.fetch_add(1, Ordering::Relaxed);
        }
        if failures == 0 {
            tracing::warn!(peer = self.name, addr, error, "cannot reach peer, trying on");
        }
    }
}

/// Sends small frames at once, and notices a peer that has gone without a word.
pub fn prepare(socket: &TcpStream, silence: Duration) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let socket = socket2::SockRef::from(socket);
    let keepalive =
        socket2::TcpKeepalive::new().with_time(silence).with_interval(silence / 2).with_retries(2);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(silence))?;
    Ok(())
}

/// Doubles from a tenth of `longest`, with up to half of it taken off by chance.
fn pause(longest: Duration, failures: u32) -> Duration {
    let whole = (longest / 10 * (1 << failures.min(5))).min(longest);
    whole.mul_f64(rand::rng().random_range(0.5..=1.0))
}
