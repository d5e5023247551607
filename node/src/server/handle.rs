//! The way into a running node for HTTP and for callers in the same process.
//!
//! A handle is cheap to clone and never blocks. What it hands over is bounded: a request that
//! finds the queue full is refused as overloaded and nothing was applied.

use super::families::{Family, Sample};
use super::histogram::Reading;
use super::peers::PeerStats;
use super::runtime::{Job, Shared, WAITING_MAX};
use super::traces::{Queued, TraceContext, Traces};
use crate::metrics::Metrics;
use crate::wire::api::{Acks, Failure, Reply, Request};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use tokio::sync::{Semaphore, oneshot};

/// A running node.
#[derive(Clone)]
pub struct NodeHandle {
    pub(super) jobs: mpsc::Sender<Job>,
    pub(super) shared: Arc<Shared>,
    /// Places for requests that wait for the core.
    pub(super) places: Arc<Semaphore>,
}

impl NodeHandle {
    /// Asks the node. The answer comes when the core gives one, at the latest when the request's
    /// own deadline has passed. `Overloaded` and `Unavailable` mean that nothing was applied;
    /// when the node stops in the middle the outcome is unknown.
    pub async fn call(&self, request: Request) -> Reply {
        self.call_in(request, None).await
    }

    /// The same, as a part of a trace.
    pub async fn call_in(&self, request: Request, trace: Option<TraceContext>) -> Reply {
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            self.shared.refused.fetch_add(1, Ordering::Relaxed);
            return Reply::Failed(Failure::Overloaded);
        };
        let (answer, answered) = oneshot::channel();
        let trace = Queued::new(&self.shared.traces, trace);
        if self.jobs.send(Job::Client { request, answer, place, trace }).is_err() {
            return Reply::Failed(Failure::Unavailable("this node is stopping".into()));
        }
        answered.await.unwrap_or(Reply::Failed(Failure::Unknown(Acks::default())))
    }

    /// Whether clients may be sent here: the node has a layout, is part of it, and goes on.
    pub fn is_ready(&self) -> bool {
        self.shared.ready.load(Ordering::Acquire) && !self.shared.draining.load(Ordering::Acquire)
    }

    /// From now on the node is not ready, though it serves.
    pub fn drain(&self) {
        self.shared.draining.store(true, Ordering::Release);
    }

    /// Values of everything that is measured. All zero once the node stops.
    pub async fn metrics(&self) -> NodeMetrics {
        let (answer, answered) = oneshot::channel();
        let sent = self.jobs.send(Job::Metrics(answer));
        let core = if sent.is_ok() { answered.await.ok() } else { None };
        let waiting = WAITING_MAX.saturating_sub(self.places.available_permits());
        let mut samples = vec![Family::Waiting.is(waiting as f64)];
        self.shared.samples(&mut samples);
        NodeMetrics {
            core: core.unwrap_or_default(),
            samples,
            syncs: self.shared.work.syncs(),
            peers: self.shared.peer_stats(),
        }
    }

    /// The key with which contexts handed to clients are signed: the same on all nodes that
    /// share the cluster secret, and a fixed one, which proves nothing, without a secret.
    pub fn context_key(&self) -> [u8; 32] {
        self.shared.context_key
    }

    /// What makes the spans of this node.
    pub fn traces(&self) -> &Traces {
        &self.shared.traces
    }

    /// This node's name.
    pub fn name(&self) -> &str {
        &self.shared.name
    }
}

/// What one node measures.
#[derive(Clone, Debug, Default)]
pub struct NodeMetrics {
    /// The core's table.
    pub core: Metrics,
    /// Storage, gossip and the shell itself: one entry a series.
    pub samples: Vec<Sample>,
    /// How long syncs of the store took.
    pub syncs: Reading,
    /// One entry a peer, by name.
    pub peers: Vec<PeerStats>,
}
