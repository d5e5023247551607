//! What the HTTP layer needs of a node, so that it can be tested without one.

use crate::server::handle::{NodeHandle, NodeMetrics};
use crate::server::traces::{TraceContext, Traces};
use crate::wire::api::{Reply, Request};
use std::future::Future;

/// A running node, or what stands for one in tests.
pub trait Backend: Send + Sync + 'static {
    /// Asks the node and waits for its answer; deadlines are the node's own. With `trace` it is
    /// a part of that trace.
    fn call(
        &self,
        request: Request,
        trace: Option<TraceContext>,
    ) -> impl Future<Output = Reply> + Send;

    /// What makes the spans of its requests.
    fn traces(&self) -> Traces;

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
    async fn call(&self, request: Request, trace: Option<TraceContext>) -> Reply {
        self.call_in(request, trace).await
    }

    fn traces(&self) -> Traces {
        NodeHandle::traces(self).clone()
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
