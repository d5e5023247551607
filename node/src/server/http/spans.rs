//! The span of one HTTP request, under the trace that the client named in `traceparent`.

use super::labels::Outcome;
use super::params;
use super::router::{Call, Found};
use crate::server::traces::{Span, TraceContext, Traces};
use hyper::StatusCode;
use hyper::header::{HeaderName, HeaderValue};
use hyper::http::request::Parts;
use opentelemetry::trace::SpanKind;

/// The header of W3C that names a trace and a span in it.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Calls that watch the node. They come for ever and tell nothing: traced only for who asks.
const WATCHING: [Call; 3] = [Call::Healthz, Call::Readyz, Call::Metrics];

/// Begins the span of a request, if it is traced.
pub fn begin(traces: &Traces, parts: &Parts, found: Option<&Found<'_>>) -> Option<Span> {
    if !traces.are_on() {
        return None;
    }
    let header = parts.headers.get(TRACEPARENT);
    let parent = header.and_then(|header| TraceContext::parse(header.as_bytes()));
    let watches = found.is_some_and(|found| WATCHING.contains(&found.route.call));
    if (watches && parent.is_none()) || !traces.follows(parent.as_ref()) {
        return None;
    }
    // A path or a method that is not in the table may hold anything, so neither is told.
    let Some(found) = found else {
        let mut span = traces.begin("HTTP", SpanKind::Server, parent.as_ref())?;
        span.set("http.request.method", "_OTHER");
        return Some(span);
    };
    let (method, path) = (parts.method.as_str(), found.route.path);
    let mut span = traces.begin(format!("{method} {path}"), SpanKind::Server, parent.as_ref())?;
    span.set("http.request.method", method.to_owned());
    span.set("http.route", path);
    let is_named = path.contains("{bucket}");
    if let Some(bucket) = is_named.then(|| params::bucket(found.param("bucket")).ok()).flatten() {
        span.set("starling.bucket", bucket);
    }
    Some(span)
}

/// Says what became of it, and gives the `traceparent` for the answer.
pub fn end(mut span: Span, status: StatusCode) -> Option<HeaderValue> {
    let outcome = Outcome::of(status.as_u16()).name();
    span.set("http.response.status_code", i64::from(status.as_u16()));
    span.set("starling.outcome", outcome);
    if status.is_server_error() {
        span.fail(outcome);
    }
    HeaderValue::try_from(span.context().to_string()).ok()
}
