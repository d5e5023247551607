//! One request from headers to answer: route, refuse what is not there yet, hand to the handler,
//! turn problems into documents, count.

use super::answer::{self, Answer, CONTEXT};
use super::backend::Backend;
use super::body::{Held, Reader};
use super::context::Sealer;
use super::labels::Asked;
use super::limits::{CONTEXT_CHARS_MAX, Limits};
use super::meter::{Gauge, Meter};
use super::params::{self, Query};
use super::problem::{Code, Problem};
use super::router::{self, Call, Found};
use super::spans::{self, TRACEPARENT};
use super::{
    boundedcounter, bucket, cluster, counter, expiry, explain, flag, hll, kv, map, ops, set,
    status, zset,
};
use crate::crdt::{ObjectId, ObjectOp, Observed, SeenContext, TypeTag};
use crate::server::traces::{Span, TraceContext, Traces};
use crate::wire::api::{Options, ReadQuery, ReadResult, Reply, Request, Written};
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_LENGTH, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

/// Headers whose promise this version does not keep: refused, lest they be taken for kept.
const LATER_HEADERS: [&str; 2] = [ops::IDEMPOTENCY_KEY, "starling-session"];

/// One server: a node and what HTTP needs around it.
pub struct App<B> {
    /// The node.
    pub node: B,
    /// Bounds.
    pub limits: Limits,
    /// Counters.
    pub meter: Meter,
    traces: Traces,
    sealer: Sealer,
    reader: Reader,
}

/// One request under way.
pub struct Exchange<'a, B> {
    /// The server.
    pub app: &'a App<B>,
    /// Method, target and headers.
    pub parts: &'a Parts,
    /// The call it is, with its path parameters.
    pub found: &'a Found<'a>,
    /// Query parameters that are left to take.
    pub query: Query<'a>,
    body: Option<Incoming>,
    trace: Option<TraceContext>,
}

impl<B: Backend> App<B> {
    /// A server in front of `node`.
    pub fn new(node: B, limits: Limits) -> Self {
        let sealer = Sealer::new(node.context_key());
        let reader = Reader::new(&limits);
        let traces = node.traces();
        App { node, limits, meter: Meter::default(), traces, sealer, reader }
    }

    /// Answers one request.
    pub async fn answer(&self, request: hyper::Request<Incoming>) -> Answer {
        let started = Instant::now();
        let _under_way = Gauge::new(&self.meter.in_flight);
        let (parts, body) = request.into_parts();
        let found = router::find(&parts.method, parts.uri.path());
        let span = spans::begin(&self.traces, &parts, found.as_ref().ok());
        let context = span.as_ref().map(Span::context);
        let (call, result) = match found {
            Ok(found) => (Some(found.route.call), self.handle(&parts, &found, body, context).await),
            Err(problem) => (None, Err(problem)),
        };
        let trace = trace_parent(&parts);
        let mut answer = result.unwrap_or_else(|problem| {
            self.meter.problem(problem.code);
            let expected = matches!(problem.code, Code::NotReady | Code::NotSupported);
            if problem.code.status().is_server_error() && !expected {
                let (code, detail) = (problem.code.name(), &problem.detail);
                let trace = trace.and_then(|value| value.to_str().ok()).unwrap_or_default();
                tracing::warn!(?call, code, detail, trace, "request not carried out");
            }
            problem.into_answer()
        });
        let own = span.and_then(|span| spans::end(span, answer.status()));
        if let Some(trace) = own.or_else(|| trace.cloned()) {
            answer.headers_mut().insert(TRACEPARENT, trace);
        }
        let bytes = answer.body().size_hint().lower();
        if parts.method == Method::HEAD {
            answer.headers_mut().insert(CONTENT_LENGTH, bytes.into());
            *answer.body_mut() = Default::default();
        } else {
            self.meter.bytes_out.fetch_add(bytes, Relaxed);
        }
        let asked = Asked::of(parts.uri.query());
        self.meter.answered(call, asked, answer.status().as_u16(), started.elapsed());
        answer
    }

    async fn handle(
        &self,
        parts: &Parts,
        found: &Found<'_>,
        body: Incoming,
        trace: Option<TraceContext>,
    ) -> Result<Answer, Problem> {
        let takes_key = found.route.call == Call::CounterPost;
        let later =
            LATER_HEADERS.iter().filter(|name| !takes_key || **name != ops::IDEMPOTENCY_KEY);
        if let Some(name) = later.copied().find(|name| parts.headers.contains_key(*name)) {
            let text = match name {
                ops::IDEMPOTENCY_KEY => "in this version only changes of counters take the header \
                     idempotency-key"
                    .into(),
                _ => format!("the header {name} is not available in this version"),
            };
            return Err(Problem::new(Code::NotSupported, text).with("header", name.into()));
        }
        let query = Query::new(parts.uri.query())?;
        let exchange = Exchange { app: self, parts, found, query, body: Some(body), trace };
        match found.route.call {
            Call::KvGet => kv::get(exchange).await,
            Call::KvPut => kv::put(exchange).await,
            Call::KvDelete => exchange.delete(TypeTag::Kv).await,
            Call::CounterGet => counter::get(exchange).await,
            Call::CounterPost => counter::post(exchange).await,
            Call::CounterDelete => exchange.delete(TypeTag::Counter).await,
            Call::SetGet => set::get(exchange, TypeTag::Set).await,
            Call::SetPost => set::post(exchange, TypeTag::Set).await,
            Call::SetDelete => exchange.delete(TypeTag::Set).await,
            Call::SetMember => set::member(exchange, TypeTag::Set).await,
            Call::FlagGet => flag::get(exchange, TypeTag::Flag).await,
            Call::FlagPost => flag::post(exchange, TypeTag::Flag).await,
            Call::FlagDelete => exchange.delete(TypeTag::Flag).await,
            Call::RwSetGet => set::get(exchange, TypeTag::RwSet).await,
            Call::RwSetPost => set::post(exchange, TypeTag::RwSet).await,
            Call::RwSetDelete => exchange.delete(TypeTag::RwSet).await,
            Call::RwSetMember => set::member(exchange, TypeTag::RwSet).await,
            Call::DwFlagGet => flag::get(exchange, TypeTag::DwFlag).await,
            Call::DwFlagPost => flag::post(exchange, TypeTag::DwFlag).await,
            Call::DwFlagDelete => exchange.delete(TypeTag::DwFlag).await,
            Call::HllGet => hll::get(exchange).await,
            Call::HllPost => hll::post(exchange).await,
            Call::HllDelete => exchange.delete(TypeTag::Hll).await,
            Call::MapGet => map::get(exchange).await,
            Call::MapPost => map::post(exchange).await,
            Call::MapDelete => exchange.delete(TypeTag::Map).await,
            Call::BoundedGet => boundedcounter::get(exchange).await,
            Call::BoundedPost => boundedcounter::post(exchange).await,
            Call::BoundedDelete => exchange.delete(TypeTag::Bounded).await,
            Call::ZsetGet => zset::get(exchange).await,
            Call::ZsetPost => zset::post(exchange).await,
            Call::ZsetDelete => exchange.delete(TypeTag::Zset).await,
            Call::ZsetMember => zset::member(exchange).await,
            Call::BucketGet => bucket::get(exchange).await,
            Call::BucketPut => bucket::put(exchange).await,
            Call::BucketDelete => bucket::delete(exchange).await,
            Call::Explain => explain::get(exchange).await,
            Call::Ops => ops::get(exchange).await,
            Call::ExpiryGet => expiry::get(exchange).await,
            Call::ExpiryPut => expiry::put(exchange).await,
            Call::Cluster => cluster::get(exchange).await,
            Call::ClusterApply => cluster::apply(exchange).await,
            Call::Healthz => status::healthz(exchange),
            Call::Readyz => status::readyz(exchange),
            Call::Metrics => status::metrics(exchange).await,
            Call::OpenApi => status::openapi(exchange),
            Call::Console => status::console(exchange),
        }
    }
}

impl<B: Backend> Exchange<'_, B> {
    /// The object that the path names.
    pub fn object(&self, tag: TypeTag) -> Result<ObjectId, Problem> {
        params::object(tag, self.found.param("bucket"), self.found.param("key"))
    }

    /// Refuses query parameters that nobody took.
    pub fn finish_query(&self) -> Result<(), Problem> {
        self.query.finish()
    }

    /// The body, at most `max` bytes.
    pub async fn body(&mut self, max: usize) -> Result<Held, Problem> {
        let body = self.body.take().expect("a handler reads the body once");
        let held = self.app.reader.read(&self.parts.headers, body, max).await?;
        self.app.meter.bytes_in.fetch_add(held.bytes.len() as u64, Relaxed);
        Ok(held)
    }

    /// What the client says it has seen, in the header or in a member of the JSON body.
    pub fn observed(&self, object: &ObjectId, field: Option<&str>) -> Result<Observed, Problem> {
        let header = self.parts.headers.get(CONTEXT).map(|value| {
            value.to_str().map_err(|_| Problem::new(Code::MalformedContext, "it is not text"))
        });
        let text = match (header.transpose()?, field) {
            (Some(header), Some(field)) if header != field => {
                let text = "header and body carry different contexts";
                return Err(Problem::new(Code::MalformedContext, text));
            }
            (header, field) => header.or(field),
        };
        self.app.sealer.observed(object, text)
    }

    /// Asks the node; a failure comes back as a problem.
    pub async fn call(&self, request: Request) -> Result<Reply, Problem> {
        match self.app.node.call(request, self.trace).await {
            Reply::Failed(failure) => Err(failure.into()),
            reply => Ok(reply),
        }
    }

    /// Writes.
    pub async fn write(
        &self,
        object: &ObjectId,
        op: ObjectOp,
        options: Options,
    ) -> Result<Written, Problem> {
        let request = Request::Write { object: object.clone(), op, options };
        match self.call(request).await? {
            Reply::Written(written) => Ok(written),
            other => Err(unexpected(&other)),
        }
    }

    /// Reads.
    pub async fn read(
        &self,
        object: &ObjectId,
        query: ReadQuery,
        options: Options,
    ) -> Result<ReadResult, Problem> {
        let request = Request::Read { object: object.clone(), query, options };
        match self.call(request).await? {
            Reply::Read(read) => Ok(read),
            other => Err(unexpected(&other)),
        }
    }

    /// The answer to a write: `fields` with `context` and `acks`, and both as headers.
    pub fn written(&self, object: &ObjectId, written: &Written, mut fields: Value) -> Answer {
        let context = self.seal(object, &written.seen);
        fields["acks"] = answer::acks_json(&written.acks);
        fields["context"] = context.as_str().into();
        let answer = answer::with_acks(answer::json(StatusCode::OK, &fields), &written.acks);
        let answer = answer::with_expires(answer, written.object.expires_at());
        self.with_context(answer, &context)
    }

    /// What the client has seen after a read, sealed; `None` when there is nothing to have seen.
    pub fn sealed(&self, object: &ObjectId, seen: &SeenContext) -> Option<String> {
        let is_empty = seen.dots.is_empty() && seen.tallies.is_empty() && seen.reals.is_empty();
        (!is_empty).then(|| self.seal(object, seen))
    }

    fn seal(&self, object: &ObjectId, seen: &SeenContext) -> String {
        let text = self.app.sealer.seal(object, seen);
        self.app.meter.contexts.record(text.len() as f64);
        text
    }

    /// Adds `Starling-Context`. One too long for a header is left out and counted: the client
    /// then writes as one that has seen nothing would.
    pub fn with_context(&self, mut answer: Answer, context: &str) -> Answer {
        if context.len() > CONTEXT_CHARS_MAX {
            self.app.meter.contexts_omitted.fetch_add(1, Relaxed);
            return answer;
        }
        let value = HeaderValue::from_str(context).expect("base64url is a header value");
        answer.headers_mut().insert(CONTEXT, value);
        answer
    }

    /// The answer to a read of something that is there: `fields` with `context`.
    pub fn present(&self, object: &ObjectId, read: &ReadResult, mut fields: Value) -> Answer {
        let context = self.sealed(object, &read.object.seen()).unwrap_or_default();
        fields["context"] = context.as_str().into();
        let answer = answer::with_read(answer::json(StatusCode::OK, &fields), read);
        self.with_context(answer, &context)
    }

    /// The answer to a read of something absent; it carries what was seen of its removal.
    pub fn absent(&self, object: &ObjectId, read: &ReadResult) -> Answer {
        self.app.meter.problem(Code::NotFound);
        let problem = Problem::new(Code::NotFound, format!("{object} is absent"));
        let answer = answer::with_read(problem.into_answer(), read);
        match self.sealed(object, &read.object.seen()) {
            Some(context) => self.with_context(answer, &context),
            None => answer,
        }
    }

    /// Removes a whole object as far as observed.
    async fn delete(mut self, tag: TypeTag) -> Result<Answer, Problem> {
        let object = self.object(tag)?;
        let options = self.query.take_options()?;
        self.finish_query()?;
        let observed = self.observed(&object, None)?;
        let written = self.write(&object, ObjectOp::delete(tag, observed), options).await?;
        Ok(self.written(&object, &written, json!({})))
    }
}

/// `500` for a reply that does not belong to its request.
pub fn unexpected(reply: &Reply) -> Problem {
    tracing::error!(?reply, "the core's reply does not belong to its request");
    Problem::new(Code::Internal, "the node's reply does not belong to the request")
}

/// The trace context of W3C, if it is well-formed: `00-<32 hex>-<16 hex>-<2 hex>`.
fn trace_parent(parts: &Parts) -> Option<&HeaderValue> {
    let value = parts.headers.get(TRACEPARENT)?;
    let fields: Vec<&[u8]> = value.as_bytes().split(|byte| *byte == b'-').collect();
    let lengths: Vec<usize> = fields.iter().map(|field| field.len()).collect();
    let is_hex = |field: &&[u8]| field.iter().all(u8::is_ascii_hexdigit);
    (lengths == [2, 32, 16, 2] && fields.iter().all(is_hex)).then_some(value)
}
