//! Who is a member and who is heard, by chitchat over datagrams of ours.
//!
//! Every member tells its name, zone, capacity, addresses and layout; the view made of that goes
//! to the core and to the connections whenever it changes, this node always in it and alive.
//! A restarted node replaces its earlier life; a dead one leaves after 15 minutes. Gossip says
//! who can be asked, never who owns what. When its task ends the node stops: a node that no
//! longer hears anyone would call everyone dead.

mod members;
mod replay;
mod seal;

pub use members::Own;
pub use seal::{Key, SealStats, Sealed};

use super::families::{Family, Sample};
use crate::cluster::MembershipView;
use crate::placement::LayoutId;
use chitchat::transport::Transport;
use chitchat::{ChitchatConfig, ChitchatHandle, ChitchatId, FailureDetectorConfig, spawn_chitchat};
use members::{LAYOUT_KEY, Lives};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

/// How long a dead member stays known, unless a test is in a hurry.
pub const GRACE: Duration = Duration::from_secs(15 * 60);
/// Silence above the usual, in multiples of the usual interval, that makes a member dead.
const PHI: f64 = 8.0;

/// Settings of gossip.
#[derive(Clone, Debug)]
pub struct GossipSettings {
    /// The cluster's name; members of others are not heard.
    pub cluster: String,
    /// Where the others reach this node's gossip.
    pub advertised: SocketAddr,
    /// Gossip addresses of others, `host:port`.
    pub join: Vec<String>,
    /// Between rounds. Shorter finds failures sooner and costs traffic: 100 ms to 5 s.
    pub interval: Duration,
    /// How long a member must have been silent for chitchat before it counts as dead here; keeps
    /// a node that is merely busy from being called dead.
    pub suspicion: Duration,
    /// How long a dead member stays known, at least some minutes: one cut off for longer comes
    /// back as a new one. Hours are too long: restarts would fill the digest, which must fit into
    /// one datagram.
    pub grace: Duration,
    /// Derived from the cluster secret; `None` on loopback without one.
    pub key: Option<Key>,
}

/// Where the core's thread leaves the id of the layout in force.
#[derive(Clone, Debug)]
pub struct LayoutSlot(watch::Sender<LayoutId>);

impl Default for LayoutSlot {
    fn default() -> Self {
        LayoutSlot(watch::Sender::new(LayoutId::NONE))
    }
}

impl LayoutSlot {
    /// Publishes the id.
    pub fn set(&self, id: LayoutId) {
        self.0.send_replace(id);
    }
}

/// Counts of gossip.
#[derive(Debug, Default)]
pub struct GossipStats {
    /// Datagrams.
    pub seal: Arc<SealStats>,
    twins: AtomicU64,
}

impl GossipStats {
    /// Appends them.
    pub fn samples(&self, samples: &mut Vec<Sample>) {
        for (family, count) in [
            (Family::Twins, &self.twins),
            (Family::GossipRefused, &self.seal.refused),
            (Family::GossipSent, &self.seal.sent_bytes),
            (Family::GossipReceived, &self.seal.received_bytes),
        ] {
            samples.push(family.is(count.load(Ordering::Relaxed) as f64));
        }
    }
}

/// Running gossip.
pub struct Gossip {
    handle: ChitchatHandle,
    stats: Arc<GossipStats>,
    settings: GossipSettings,
    own: Own,
    layout: LayoutSlot,
}

/// Starts gossip on `socket`.
///
/// # Errors
/// The socket cannot be used.
pub async fn start(
    settings: GossipSettings,
    own: Own,
    socket: UdpSocket,
    layout: LayoutSlot,
    stats: Arc<GossipStats>,
) -> anyhow::Result<Gossip> {
    let id = ChitchatId::new(own.name.clone(), own.generation, settings.advertised);
    let config = ChitchatConfig {
        chitchat_id: id,
        cluster_id: settings.cluster.clone(),
        gossip_interval: settings.interval,
        listen_addr: socket.local_addr()?,
        seed_nodes: settings.join.clone(),
        failure_detector_config: FailureDetectorConfig {
            phi_threshold: PHI,
            sampling_window_size: 1_000,
            max_interval: settings.interval * 10,
            initial_interval: settings.interval,
            dead_node_grace_period: settings.grace,
        },
        marked_for_deletion_grace_period: settings.grace,
        catchup_callback: None,
        extra_liveness_predicate: None,
    };
    let transport: Box<dyn Transport> = match settings.key {
        Some(key) => Box::new(seal::Sealed::new(socket, &key, &settings.cluster, &stats.seal)),
        None => Box::new(seal::Plain::new(socket, &stats.seal)),
    };
    let handle = spawn_chitchat(config, own.key_values(), transport.as_ref()).await?;
    Ok(Gossip { handle, stats, settings, own, layout })
}

impl Gossip {
    /// Calls `changed` with every new view, the first at once, until `stop` turns true.
    ///
    /// # Errors
    /// The task of gossip ended by itself.
    pub async fn watch(
        self,
        mut changed: impl FnMut(MembershipView),
        mut stop: watch::Receiver<bool>,
    ) -> anyhow::Result<()> {
        let mut layouts = self.layout.0.subscribe();
        let mut lives = Lives::new(self.own.clone(), self.settings.suspicion);
        let mut last = None;
        let mut tick = tokio::time::interval(self.settings.interval / 2);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let ended = self.handle.termination_watcher();
        tokio::pin!(ended);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                _ = layouts.changed() => {}
                _ = stop.wait_for(|stop| *stop) => break,
                end = &mut ended => {
                    end?;
                    anyhow::bail!("the gossip task ended");
                }
            }
            let layout = *layouts.borrow_and_update();
            let view = self.view(&mut lives, layout).await;
            if last.as_ref() != Some(&view) {
                changed(view.clone());
                last = Some(view);
            }
        }
        self.handle.shutdown().await
    }

    async fn view(&self, lives: &mut Lives, layout: LayoutId) -> MembershipView {
        let (view, twins) = self
            .handle
            .with_chitchat(|chitchat| {
                let text = layout.to_string();
                if chitchat.self_node_state().get(LAYOUT_KEY) != Some(&text) {
                    chitchat.self_node_state().set(LAYOUT_KEY, text);
                }
                lives.view(chitchat, layout, Instant::now())
            })
            .await;
        for name in twins {
            self.stats.twins.fetch_add(1, Ordering::Relaxed);
            tracing::error!(name, "two live nodes have this name; stop one or rename it");
        }
        view
    }
}
