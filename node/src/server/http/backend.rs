//! What the HTTP layer needs of a node, so that it can be tested without one.

use crate::metrics::{Kind, Metrics};
use crate::wire::api::{Reply, Request};
use std::future::Future;

/// A running node, or what stands for one in tests.
pub trait Backend: Send + Sync + 'static {
    /// Asks the node and waits for its answer; deadlines are the node's own.
    fn call(&self, request: Request) -> impl Future<Output = Reply> + Send;

    /// Whether the node can serve clients.
    fn is_ready(&self) -> bool;

    /// Everything the node measures.
    fn measured(&self) -> impl Future<Output = Measured> + Send;

    /// The key that seals contexts handed to clients, the same on all nodes of a cluster.
    fn context_key(&self) -> [u8; 32];

    /// The node's name.
    fn name(&self) -> &str;
}

/// What a node measures, besides what the HTTP layer counts itself.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// The core's table.
    pub core: Metrics,
    /// Storage, gossip, peers; series of one name stand together.
    pub samples: Vec<Sample>,
    /// Durations.
    pub histograms: Vec<Histogram>,
}

/// One value of one series.
#[derive(Clone, PartialEq, Debug)]
pub struct Sample {
    /// With prefix and unit, `_total` at the end of a counter's.
    pub name: &'static str,
    /// What it says.
    pub help: &'static str,
    /// Whether it only grows.
    pub kind: Kind,
    /// Names and values of labels; few different ones.
    pub labels: Vec<(&'static str, String)>,
    /// In base units.
    pub value: f64,
}

/// One histogram without labels.
#[derive(Clone, PartialEq, Debug)]
pub struct Histogram {
    /// With prefix and unit.
    pub name: &'static str,
    /// What it says.
    pub help: &'static str,
    /// Upper bounds with the number of observations at or below each.
    pub buckets: Vec<(f64, u64)>,
    /// Observations in all.
    pub count: u64,
    /// Their sum in base units.
    pub sum: f64,
}
