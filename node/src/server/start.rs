//! One node from its settings to its end: opens what it needs, joins the parts, stops cleanly.
//!
//! A clean stop first says so where balancers ask, and serves on for as long as the settings say.
//! Then it refuses new connections, lets requests finish for a moment, closes the core and syncs.
//! Whatever fails on the way there, nothing that was acknowledged is lost.

use super::data_dir::DataDir;
use super::families::Sample;
use super::gossip::{self, GRACE, GossipSettings, GossipStats, LayoutSlot, Own};
use super::handle::NodeHandle;
use super::peers::{Identity, PeerLimits, Peers};
use super::runtime::{self, CoreThread, Job, OnFatal, Parts, Shared};
use super::secret::{Secret, context_key};
use super::settings::Settings;
use super::timing::Clock;
use super::traces::Traces;
use super::work::Work;
use super::{http, storage};
use crate::cluster::{Member, MembershipView};
use crate::config::Config;
use crate::core::Core;
use crate::store::cached::Cached;
use crate::store::rocks::{RocksOptions, RocksStore};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use tokio::net::{TcpListener, UdpSocket, lookup_host};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::timeout;

/// How long open requests may take to finish when the node stops.
const DRAIN: Duration = Duration::from_secs(2);
/// How long closing and the last sync may take.
const CLOSE: Duration = Duration::from_secs(5);

/// The sockets of a node, bound.
struct Sockets {
    http: TcpListener,
    peer: TcpListener,
    gossip: UdpSocket,
}

/// A node with all its parts running.
struct Node {
    name: String,
    traces: Traces,
    handle: NodeHandle,
    core: CoreThread,
    http: JoinHandle<std::io::Result<()>>,
    gossip: JoinHandle<anyhow::Result<()>>,
    listening: AbortHandle,
    stop: watch::Sender<bool>,
    _dir: DataDir,
}

/// Runs a node until `stop` is done, which says why, or until a part of it fails. Before it stops
/// it drains for as long as the settings say, or until `hurry` is done.
///
/// # Errors
/// It could not start, or had to stop; the text says why.
pub async fn run(
    settings: Settings,
    stop: impl Future<Output = &'static str>,
    hurry: impl Future<Output = ()>,
) -> Result<(), String> {
    run_and_tell(settings, |_| {}, stop, hurry).await
}

/// The same, and tells where it serves clients once it does: on port 0 the system chose.
///
/// # Errors
/// As for [`run`].
pub async fn run_and_tell(
    settings: Settings,
    serving: impl FnOnce(SocketAddr),
    stop: impl Future<Output = &'static str>,
    hurry: impl Future<Output = ()>,
) -> Result<(), String> {
    let drain = settings.drain;
    let sockets = Sockets::bind(&settings).await?;
    let addr = sockets.http.local_addr().map_err(|e| format!("no address: {e}"))?;
    let mut node = Node::start(settings, sockets).await?;
    serving(addr);
    let ended = tokio::select! {
        why = stop => {
            node.drain(drain, hurry).await;
            tracing::info!(why, "stopping");
            Ok(())
        }
        end = &mut node.http => Err(format!("the HTTP server ended: {}", outcome(end))),
        end = &mut node.gossip => Err(format!("gossip ended: {}", outcome(end))),
    };
    if let Err(error) = &ended {
        tracing::error!(error, "stopping");
    }
    let stopped = node.stop().await;
    ended.and(stopped)
}

impl Sockets {
    async fn bind(settings: &Settings) -> Result<Sockets, String> {
        let failed = |flag: &'static str, addr: SocketAddr| {
            move |e: std::io::Error| format!("cannot listen on {addr} (--{flag}): {e}")
        };
        let Settings { http, peer, gossip, .. } = *settings;
        Ok(Sockets {
            http: TcpListener::bind(http).await.map_err(failed("http", http))?,
            peer: TcpListener::bind(peer).await.map_err(failed("peer", peer))?,
            gossip: UdpSocket::bind(gossip).await.map_err(failed("gossip", gossip))?,
        })
    }
}

impl Node {
    async fn start(settings: Settings, sockets: Sockets) -> Result<Node, String> {
        let dir = DataDir::open(&settings.data_dir, settings.name.as_deref())?;
        let own = own(&settings, &dir, &sockets).map_err(|e| e.to_string())?;
        let layout = LayoutSlot::default();
        let gossip_stats = Arc::new(GossipStats::default());
        let identity = Identity {
            cluster: settings.cluster.clone(),
            name: dir.name.clone(),
            key: settings.secret.as_ref().map(Secret::peer_key),
        };
        let peers = Peers::new(identity, PeerLimits::default());
        let traces = match &settings.traces {
            Some(traces) => Traces::start(traces, &dir.name, &settings.zone)?,
            None => Traces::default(),
        };
        let queue = runtime::queue();
        let jobs = queue.0.clone();
        let gossip = gossip_settings(&settings, &sockets).await?;
        let gossip = gossip::start(
            gossip,
            own.clone(),
            sockets.gossip,
            layout.clone(),
            gossip_stats.clone(),
        );
        let gossip = gossip.await.map_err(|e| format!("cannot gossip: {e:#}"))?;
        let about = (peers.clone(), traces.clone());
        let (handle, core) = open_core(&settings, &dir, queue, about, layout, gossip_stats)?;
        let (stop, stopped) = watch::channel(false);
        let listening = peers.listen(sockets.peer, jobs.clone());
        let gossip = tokio::spawn(gossip.watch(feed(peers, jobs), stopped.clone()));
        let http = tokio::spawn(http::serve(sockets.http, handle.clone(), stopped));
        tracing::info!(
            node = own.name,
            zone = own.zone,
            http = own.http_addr,
            peer = own.peer_addr,
            sealed = settings.secret.is_some(),
            traces = settings.traces.as_ref().map(|traces| traces.address.as_str()),
            data_dir = %settings.data_dir.display(),
            "node started"
        );
        Ok(Node { name: own.name, traces, handle, core, http, gossip, listening, stop, _dir: dir })
    }

    /// Serves on, not ready, so that balancers have time to see it.
    async fn drain(&self, drain: Duration, hurry: impl Future<Output = ()>) {
        self.handle.drain();
        if !drain.is_zero() {
            tracing::info!(drain_ms = drain.as_millis() as u64, "draining");
            let _ = timeout(drain, hurry).await;
        }
    }

    async fn stop(self) -> Result<(), String> {
        self.stop.send_replace(true);
        if !self.http.is_finished() && timeout(DRAIN, self.http).await.is_err() {
            tracing::warn!("some requests were still open");
        }
        let core = self.core;
        let closing = tokio::task::spawn_blocking(move || core.stop());
        let closed = match timeout(CLOSE, closing).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(error))) => Err(format!("not stopped cleanly: {error}")),
            Ok(Err(_)) => Err("not stopped cleanly: the core panicked".to_owned()),
            Err(_) => Err("not stopped cleanly: the store took too long".to_owned()),
        };
        self.listening.abort();
        if !self.gossip.is_finished() {
            let _ = timeout(DRAIN, self.gossip).await;
        }
        self.traces.stop().await;
        if closed.is_ok() {
            tracing::info!(node = self.name, "stopped");
        }
        closed
    }
}

/// Hands every new view to the connections and to the core, and logs who came and went.
fn feed(peers: Peers, jobs: mpsc::Sender<Job>) -> impl FnMut(MembershipView) + Send {
    let mut last = None;
    move |view| {
        let (alive, silent): (Vec<_>, Vec<_>) = view.iter().partition(|member| member.alive);
        let names = |members: Vec<&Member>| {
            members.iter().map(|member| member.name.clone()).collect::<Vec<_>>().join(",")
        };
        let now = (names(alive), names(silent));
        if last.as_ref() != Some(&now) {
            tracing::info!(alive = now.0, silent = now.1, "members changed");
            last = Some(now);
        }
        peers.update(&view);
        let _ = jobs.send(Job::Members(view));
    }
}

fn open_core(
    settings: &Settings,
    dir: &DataDir,
    queue: (mpsc::Sender<Job>, mpsc::Receiver<Job>),
    (peers, traces): (Peers, Traces),
    layout: LayoutSlot,
    gossip_stats: Arc<GossipStats>,
) -> Result<(NodeHandle, CoreThread), String> {
    let clock = Clock::start();
    let memory_bytes = settings.memory_bytes;
    let options = RocksOptions {
        memory_bytes,
        memtable_bytes: memory_bytes / 4,
        reserve_bytes: settings.reserve_bytes,
        ..RocksOptions::default()
    };
    let opened = RocksStore::open(&dir.db(), options);
    let (store, syncer) = opened.map_err(|e| format!("cannot open the store: {e}"))?;
    let probe = store.probe();
    let store = Cached::new(store, settings.object_cache_bytes);
    let cache = store.stats();
    let config = Config { name: dir.name.clone(), ..settings.core.clone() };
    let id = config.id();
    let core = Core::open(config, store, clock.now(), rand::random())
        .map_err(|e| format!("cannot open the node: {e}"))?;
    let shared = Arc::new(Shared {
        name: dir.name.clone(),
        context_key: context_key(settings.secret.as_ref()),
        ready: AtomicBool::new(core.is_ready()),
        draining: AtomicBool::new(false),
        refused: AtomicU64::new(0),
        work: Work::default(),
        peers,
        traces,
        probes: vec![
            Box::new(move |samples: &mut Vec<Sample>| storage::samples(&probe, samples)),
            Box::new(move |samples: &mut Vec<Sample>| storage::cache_samples(&cache, samples)),
            Box::new(move |samples: &mut Vec<Sample>| gossip_stats.samples(samples)),
        ],
        fenced: AtomicBool::new(false),
    });
    let on_fatal: OnFatal = Arc::new(|why| {
        tracing::error!(why, "the store failed; nothing more is acknowledged, the process ends");
        std::process::exit(1);
    });
    let sync = Box::new(move || syncer.sync());
    let parts = Parts { core, id, sync, shared, layout, clock, on_fatal };
    runtime::start(parts, queue).map_err(|e| format!("cannot start a thread: {e}"))
}

fn own(settings: &Settings, dir: &DataDir, sockets: &Sockets) -> std::io::Result<Own> {
    Ok(Own {
        name: dir.name.clone(),
        zone: settings.zone.clone(),
        capacity: settings.capacity,
        peer_addr: settings.advertised(sockets.peer.local_addr()?),
        http_addr: settings.advertised(sockets.http.local_addr()?),
        generation: dir.generation,
    })
}

async fn gossip_settings(settings: &Settings, sockets: &Sockets) -> Result<GossipSettings, String> {
    let bound = sockets.gossip.local_addr().map_err(|e| e.to_string())?;
    let name = settings.advertised(bound);
    let unresolved = |why: String| format!("--advertise: {name} cannot be resolved{why}");
    let mut found = lookup_host(&name).await.map_err(|e| unresolved(format!(": {e}")))?;
    let advertised = found.find(|addr| addr.is_ipv4() == bound.is_ipv4());
    Ok(GossipSettings {
        cluster: settings.cluster.clone(),
        advertised: advertised.ok_or_else(|| unresolved(String::new()))?,
        join: settings.join.clone(),
        interval: settings.gossip_interval,
        suspicion: settings.gossip_interval * 5,
        grace: GRACE,
        key: settings.secret.as_ref().map(Secret::gossip_key),
    })
}

fn outcome<E: std::fmt::Display>(end: Result<Result<(), E>, tokio::task::JoinError>) -> String {
    match end {
        Ok(Ok(())) => "without an error".to_owned(),
        Ok(Err(error)) => format!("{error:#}"),
        Err(panicked) => panicked.to_string(),
    }
}
