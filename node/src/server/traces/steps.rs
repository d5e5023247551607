//! The spans of the core's thread. The core knows nothing of traces: what belongs to which one is
//! seen from what goes into a step and what comes out of it.
//!
//! A traced request is remembered with the operations that its step began, so that messages on
//! its behalf carry the trace to the replicas. A replica's span lasts for one step; what it then
//! waits for, the disk, is a span below it that ends when the last answer leaves. What a node
//! asks of its own replica never leaves the core: it is part of `coordinate`.

use super::kept::Kept;
use super::{Span, TraceContext, Traces};
use crate::core::Output;
use crate::crdt::NodeId;
use crate::server::peers::Peers;
use crate::wire::api::RequestId;
use crate::wire::peer::{OpId, PeerBody, PeerMessage};
use opentelemetry::trace::SpanKind;
use std::time::Duration;

/// A span without its end is closed after so long: no answer is waited for any more.
const GIVEN_UP: Duration = Duration::from_secs(10);

/// A traced request on its way to the core.
#[derive(Debug)]
pub struct Queued {
    /// The span of its wait.
    wait: Span,
    /// What spans that follow hang on.
    parent: TraceContext,
}

impl Queued {
    /// A request that begins to wait, if it is traced.
    pub fn new(traces: &Traces, parent: Option<TraceContext>) -> Option<Box<Queued>> {
        let parent = parent?;
        let wait = traces.begin("queue", SpanKind::Internal, Some(&parent))?;
        Some(Box::new(Queued { wait, parent }))
    }
}

/// A step that belongs to a trace.
#[derive(Debug)]
pub enum Step {
    /// Of a client's request.
    Request(RequestId),
    /// Of a message: from whom, which operation, and the span that ends with the step.
    Message(NodeId, OpId, Box<Span>),
}

/// A request that the core has under way.
struct Coordinated {
    span: Span,
    ops: Vec<OpId>,
}

/// Open spans of one core.
pub struct Steps {
    traces: Traces,
    requests: Kept<RequestId, Coordinated>,
    /// Operations on behalf of those requests.
    ops: Kept<OpId, TraceContext>,
    /// Messages whose last answer is awaited, by whom they went to.
    calls: Kept<(NodeId, OpId), Span>,
    /// Writes that wait for the disk, by who asked.
    syncs: Kept<(NodeId, OpId), Span>,
}

impl Steps {
    /// None yet.
    pub fn new(traces: Traces) -> Steps {
        let (requests, ops) = (Kept::new(), Kept::new());
        Steps { traces, requests, ops, calls: Kept::new(), syncs: Kept::new() }
    }

    /// The core takes a request.
    pub fn takes_request(&mut self, id: RequestId, queued: Option<Box<Queued>>) -> Option<Step> {
        let Queued { wait, parent } = *queued?;
        drop(wait);
        let span = self.traces.begin("coordinate", SpanKind::Internal, Some(&parent))?;
        self.requests.insert(id, Coordinated { span, ops: Vec::new() });
        Some(Step::Request(id))
    }

    /// The core takes a message, which may belong to a trace.
    pub fn takes_message(
        &mut self,
        from: NodeId,
        body: &PeerBody,
        trace: Option<TraceContext>,
    ) -> Option<Step> {
        self.is_answered(from, body);
        let (op, name) = asks(body)?;
        let span = self.traces.begin(name.at_replica(), SpanKind::Server, Some(&trace?))?;
        Some(Step::Message(from, op, Box::new(span)))
    }

    /// The step is done, and `outputs` came of it.
    pub fn ends(&mut self, step: Step, outputs: &[Output]) {
        match step {
            Step::Request(id) => {
                let Some(request) = self.requests.get_mut(&id) else { return };
                let context = request.span.context();
                for (_, body) in sends(outputs) {
                    let Some((op, _)) = asks(body) else { continue };
                    if !request.ops.contains(&op) {
                        request.ops.push(op);
                        self.ops.insert(op, context);
                    }
                }
            }
            Step::Message(from, op, span) => {
                let context = span.context();
                drop(span);
                let is_done = sends(outputs)
                    .any(|(to, body)| to == from && ends(body).is_some_and(|ended| ended == op));
                if !is_done {
                    let sync = self.traces.begin("sync", SpanKind::Internal, Some(&context));
                    sync.and_then(|sync| self.syncs.insert((from, op), sync));
                }
            }
        }
    }

    /// Sends a message, with the trace that it belongs to.
    pub fn send(&mut self, peers: &Peers, to: NodeId, message: PeerMessage) {
        let trace = self.leaves(to, &message.body, peers);
        let call = trace.and_then(|_| asks(&message.body));
        let waits = peers.send(to, message, trace);
        if let Some((op, _)) = call.filter(|_| !waits)
            && let Some(mut call) = self.calls.remove(&(to, op))
        {
            call.fail("not sent");
        }
    }

    /// A message is about to leave; the trace it carries.
    fn leaves(&mut self, to: NodeId, body: &PeerBody, peers: &Peers) -> Option<TraceContext> {
        if !self.syncs.is_empty()
            && let Some(op) = ends(body)
        {
            self.syncs.remove(&(to, op));
        }
        if self.ops.is_empty() {
            return None;
        }
        let (op, name) = asks(body)?;
        let parent = self.ops.get(&op)?;
        if let Some(call) = self.calls.get(&(to, op)) {
            return Some(call.context());
        }
        let mut call = self.traces.begin(name.0, SpanKind::Client, Some(parent))?;
        call.set("starling.peer", peers.name_of(to).unwrap_or_default());
        let context = call.context();
        self.calls.insert((to, op), call);
        Some(context)
    }

    /// A request is answered: what else is sent for it belongs to no trace.
    pub fn replies(&mut self, id: RequestId) {
        if self.requests.is_empty() {
            return;
        }
        for op in self.requests.remove(&id).map(|request| request.ops).unwrap_or_default() {
            self.ops.remove(&op);
        }
    }

    /// Closes what has waited too long.
    pub fn tidy(&mut self) {
        if self.calls.is_empty() && self.syncs.is_empty() {
            return;
        }
        for kept in [&mut self.calls, &mut self.syncs] {
            while let Some(mut span) = kept.pop_older(GIVEN_UP) {
                span.fail("no answer");
            }
        }
    }

    fn is_answered(&mut self, from: NodeId, body: &PeerBody) {
        if self.calls.is_empty() {
            return;
        }
        match body {
            PeerBody::Applied { op, outcome: Ok(_) }
            | PeerBody::Joined { op, outcome: Ok(false) } => {
                if let Some(call) = self.calls.get_mut(&(from, *op)) {
                    call.event("in memory");
                }
            }
            body => {
                let Some(op) = ends(body) else { return };
                let Some(mut call) = self.calls.remove(&(from, op)) else { return };
                if is_refusal(body) {
                    call.fail("refused");
                }
            }
        }
    }
}

/// What is asked of a replica.
#[derive(Clone, Copy)]
struct Asked(&'static str, &'static str);

impl Asked {
    fn at_replica(self) -> &'static str {
        self.1
    }
}

/// Of a message that asks something of a replica: which operation, and what.
fn asks(body: &PeerBody) -> Option<(OpId, Asked)> {
    match body {
        PeerBody::Apply { op, .. } => Some((*op, Asked("apply", "replica apply"))),
        PeerBody::Join { op, .. } => Some((*op, Asked("join", "replica join"))),
        PeerBody::Get { op, .. } => Some((*op, Asked("get", "replica get"))),
        PeerBody::Inspect { op, .. } => Some((*op, Asked("inspect", "replica inspect"))),
        _ => None,
    }
}

/// Of the last answer to an operation: which. Those to writes come when they are on disk.
fn ends(body: &PeerBody) -> Option<OpId> {
    match body {
        PeerBody::AppliedDurable { op }
        | PeerBody::Applied { op, outcome: Err(_) }
        | PeerBody::Joined { op, outcome: Ok(true) | Err(_) }
        | PeerBody::Got { op, .. }
        | PeerBody::Inspected { op, .. } => Some(*op),
        _ => None,
    }
}

fn is_refusal(body: &PeerBody) -> bool {
    matches!(
        body,
        PeerBody::Applied { outcome: Err(_), .. }
            | PeerBody::Joined { outcome: Err(_), .. }
            | PeerBody::Got { outcome: Err(_), .. }
    )
}

fn sends(outputs: &[Output]) -> impl Iterator<Item = (NodeId, &PeerBody)> {
    outputs.iter().filter_map(|output| match output {
        Output::Send(to, message) => Some((*to, &message.body)),
        _ => None,
    })
}
