//! The proxy beside a node: all that the node sends to others and all answers pass it, and it
//! delays, repeats, reorders or damages what passes.
//!
//! Datagrams are treated one by one. Bytes of a connection keep their order, as they would in any
//! network, so a connection is only delayed and damaged. The proxy is a process of its own in the
//! node's namespace and reads what to do from its standard input, one JSON line for each change.

use crate::net::{self, GOSSIP, PEER};
use crate::network::Link;
use anyhow::Context;
use rand::Rng as _;
use serde::{Deserialize, Serialize};
use std::io::BufRead;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

/// Where a node's connections from proxies arrive.
pub const PEER_ENTRY: u16 = PEER + 1_000;
/// Where a node's datagrams from proxies arrive.
pub const GOSSIP_ENTRY: u16 = GOSSIP + 1_000;

const CHUNK_BYTES: usize = 16 << 10;
/// Of one connection and direction: 4 MiB.
const CHUNKS_MAX: usize = 256;
const DATAGRAM_BYTES_MAX: usize = 64 << 10;
/// Of one pair of nodes; what is more is lost, as in any network.
const DATAGRAMS_MAX: usize = 1_024;
/// How much later a repeated datagram comes at most.
const AGAIN_US: u64 = 200_000;
/// How much a datagram is delayed at most when they overtake each other.
const OVERTAKE_US: u64 = 50_000;

/// Where the proxy awaits what goes to node `to`, for the service that has `entry`.
pub fn listens(entry: u16, to: usize) -> u16 {
    entry + 10_000 + to as u16
}

/// What happens on a link in one direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Way {
    delay_us: u64,
    duplicate_permille: u32,
    corrupt_permille: u32,
    reorder: bool,
}

impl From<&Link> for Way {
    fn from(link: &Link) -> Way {
        Way {
            delay_us: link.delay_us,
            duplicate_permille: link.duplicate_permille,
            corrupt_permille: link.corrupt_permille,
            reorder: link.reorder,
        }
    }
}

impl Way {
    /// Whether a link needs a proxy at all.
    pub fn is_plain(self) -> bool {
        self == Way::default()
    }

    fn delay(self) -> Duration {
        Duration::from_micros(rand::rng().random_range(0..=self.delay_us))
    }

    fn damage(self, bytes: &mut [u8]) {
        if !bytes.is_empty() && chance(self.corrupt_permille) {
            let at = rand::rng().random_range(0..bytes.len());
            bytes[at] ^= 1 << rand::rng().random_range(0..8);
        }
    }
}

fn chance(permille: u32) -> bool {
    rand::rng().random_range(0..1_000) < permille
}

/// Both directions between the proxy's node and another one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Pair {
    /// What the node sends.
    pub out: Way,
    /// What is answered.
    pub back: Way,
}

type Shared = Arc<RwLock<Vec<Pair>>>;

fn way(pairs: &Shared, to: usize, out: bool) -> Way {
    let pair = pairs.read().expect("nobody panics with it")[to];
    if out { pair.out } else { pair.back }
}

/// Datagrams and connections that came by: none would mean that the proxy is no part of the run.
static PASSED: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];

/// Runs the proxy of a node until standard input ends; whether anything came by.
///
/// # Errors
/// An address is taken, or a line makes no sense.
pub fn serve(node: usize, nodes: usize) -> anyhow::Result<bool> {
    let pairs: Shared = Arc::new(RwLock::new(vec![Pair::default(); nodes]));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    for to in (0..nodes).filter(|to| *to != node) {
        let from = net::host(node);
        let at = |entry| format!("{from}:{}", listens(entry, to));
        let (connections, datagrams, out) = runtime.block_on(async {
            anyhow::Ok((
                TcpListener::bind(at(PEER_ENTRY)).await?,
                UdpSocket::bind(at(GOSSIP_ENTRY)).await?,
                UdpSocket::bind(format!("{from}:0")).await?,
            ))
        })?;
        runtime.spawn(accept(connections, to, pairs.clone()));
        runtime.spawn(exchange(Arc::new(datagrams), Arc::new(out), to, pairs.clone()));
    }
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let wanted: Vec<Pair> = serde_json::from_str(&line).with_context(|| line.clone())?;
        *pairs.write().expect("nobody panics with it") = wanted;
    }
    let [datagrams, connections] = PASSED.each_ref().map(|count| count.load(Ordering::Relaxed));
    eprintln!("the proxy of node{node} passed {datagrams} datagrams, {connections} connections");
    Ok(datagrams > 0 && connections > 0)
}

async fn accept(listener: TcpListener, to: usize, pairs: Shared) {
    loop {
        match listener.accept().await {
            Ok((near, _)) => drop(tokio::spawn(join(near, to, pairs.clone()))),
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

/// Carries a connection on; both directions end together.
async fn join(near: TcpStream, to: usize, pairs: Shared) -> std::io::Result<()> {
    PASSED[1].fetch_add(1, Ordering::Relaxed);
    let far = TcpStream::connect((net::host(to), PEER_ENTRY)).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    let out = carry(near_in, far_out, to, true, pairs.clone());
    let back = carry(far_in, near_out, to, false, pairs);
    tokio::select! { ended = out => ended, ended = back => ended }
}

async fn carry(
    mut from: OwnedReadHalf,
    mut into: OwnedWriteHalf,
    to: usize,
    out: bool,
    pairs: Shared,
) -> std::io::Result<()> {
    let (queue, mut queued) = mpsc::channel::<(Instant, Vec<u8>)>(CHUNKS_MAX);
    let read = async move {
        loop {
            let mut chunk = vec![0; CHUNK_BYTES];
            let count = from.read(&mut chunk).await?;
            if count == 0 {
                return std::io::Result::Ok(());
            }
            chunk.truncate(count);
            let way = way(&pairs, to, out);
            way.damage(&mut chunk);
            if queue.send((Instant::now() + way.delay(), chunk)).await.is_err() {
                return Ok(());
            }
        }
    };
    let write = async move {
        while let Some((due, chunk)) = queued.recv().await {
            sleep_until(due).await;
            into.write_all(&chunk).await?;
        }
        std::io::Result::Ok(())
    };
    tokio::try_join!(read, write).map(drop)
}

/// Carries datagrams on. The node speaks from one socket, so answers go where it last spoke from.
async fn exchange(near: Arc<UdpSocket>, far: Arc<UdpSocket>, to: usize, pairs: Shared) {
    let target = format!("{}:{GOSSIP_ENTRY}", net::host(to));
    let Ok(target) = target.parse::<SocketAddr>() else { return };
    let room = Arc::new(tokio::sync::Semaphore::new(DATAGRAMS_MAX));
    let mut speaker: Option<SocketAddr> = None;
    let (mut one, mut other) = (vec![0; DATAGRAM_BYTES_MAX], vec![0; DATAGRAM_BYTES_MAX]);
    loop {
        tokio::select! {
            Ok((count, from)) = near.recv_from(&mut one) => {
                speaker = Some(from);
                pass(&far, target, &one[..count], way(&pairs, to, true), &room);
            }
            Ok((count, _)) = far.recv_from(&mut other) => {
                if let Some(speaker) = speaker {
                    pass(&near, speaker, &other[..count], way(&pairs, to, false), &room);
                }
            }
            else => sleep(Duration::from_millis(10)).await,
        }
    }
}

fn pass(
    socket: &Arc<UdpSocket>,
    target: SocketAddr,
    bytes: &[u8],
    way: Way,
    room: &Arc<tokio::sync::Semaphore>,
) {
    PASSED[0].fetch_add(1, Ordering::Relaxed);
    let again = chance(way.duplicate_permille).then(|| rand::rng().random_range(0..AGAIN_US));
    let overtake = if way.reorder { rand::rng().random_range(0..OVERTAKE_US) } else { 0 };
    let first = way.delay() + Duration::from_micros(overtake);
    let mut bytes = bytes.to_vec();
    way.damage(&mut bytes);
    for late in [Some(0), again].into_iter().flatten() {
        let Ok(place) = room.clone().try_acquire_owned() else { return };
        let (socket, bytes, late) = (socket.clone(), bytes.clone(), Duration::from_micros(late));
        tokio::spawn(async move {
            sleep(first + late).await;
            // A datagram that cannot be sent is one that is lost.
            let _ = socket.send_to(&bytes, target).await;
            drop(place);
        });
    }
}
