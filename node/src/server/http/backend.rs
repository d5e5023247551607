//! What the HTTP layer needs of a node, so that it can be tested without one.

use crate::server::handle::{NodeHandle, NodeMetrics};
use crate::wire::api::{Reply, Request};
use std::future::Future;

/// A running node, or what stands for one in tests.
pub trait Backend: Send + Sync + 'static {
    /// Asks the node and waits for its answer; deadlines are the node's own.
    fn call(&self, request: Request) -> impl Future<Output = Reply> + Send;

    /// Whether the node can serve clients.
    fn is_ready(&self) -> bool;

    /// Everything the node measures.
    fn metrics(&self) -> impl Future<Output = NodeMetrics> + Send;

    /// The key that seals contexts handed to clients, the same on all nodes of a cluster.
    fn context_key(&self) -> [u8; 32];

    /// The node's name.
    fn name(&self) -> &str;
}

impl Backend for NodeHandle {
    async fn call(&self, request: Request) -> Reply {
        NodeHandle::call(self, request).await
    }

    fn is_ready(&self) -> bool {
        NodeHandle::is_ready(self)
    }

    async fn metrics(&self) -> NodeMetrics {
        NodeHandle::metrics(self).await
    }

    fn context_key(&self) -> [u8; 32] {
        NodeHandle::context_key(self)
    }

    fn name(&self) -> &str {
        NodeHandle::name(self)
    }
}
