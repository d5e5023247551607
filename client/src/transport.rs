//! Calls to a cluster: attempts at one node after another over pooled connections, as long as
//! that is safe and there is time.

use crate::answer::Context;
use crate::error::Error;
use crate::nodes::Nodes;
use crate::options::{GRACE, Options};
use crate::repeat::{Budget, Repeat, pauses};
use crate::trace::Trace;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error as WireError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};
use tracing::field::Empty;
use tracing::{Instrument, Span, debug, info_span};

/// Nodes close idle connections after 10 s; ours go before that.
const IDLE: Duration = Duration::from_secs(8);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The least time worth an attempt.
const ATTEMPT_MIN: Duration = Duration::from_millis(1);
/// Siblings of a value at their limit, 32 of 1 MiB in base64, with room.
const ANSWER_BYTES_MAX: usize = 64 << 20;

const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// `bytes` as one segment of a path or one value of a query.
pub(crate) fn encoded(bytes: &[u8]) -> String {
    // A segment of dots alone would be taken for a step in the path by some between us and a node.
    match bytes {
        b"." => "%2E".into(),
        b".." => "%2E%2E".into(),
        _ => percent_encode(bytes, SEGMENT).to_string(),
    }
}

/// One call.
pub(crate) struct Call<'a> {
    /// As the nodes name it in their metrics.
    pub operation: String,
    pub bucket: &'a str,
    pub method: Method,
    pub path: String,
    /// Query parameters but that of the time, each beginning with `&`; `None` of a call that
    /// takes none, nor a time.
    pub query: Option<String>,
    pub body: Bytes,
    pub content_type: Option<&'a str>,
    pub context: Option<&'a Context>,
    /// The idempotency key.
    pub key: Option<String>,
    pub repeat: Repeat,
    pub options: &'a Options,
}

impl Call<'_> {
    fn is_write(&self) -> bool {
        self.method != Method::GET
    }
}

/// A success.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    write: bool,
}

impl Answer {
    /// The body as JSON.
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|e| Error::garbled(self.write, e.to_string()))
    }

    /// A header's text, empty when it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// The nodes and the connections to them.
#[derive(Debug)]
pub(crate) struct Transport {
    http: Client<HttpConnector, Full<Bytes>>,
    nodes: Nodes,
    budget: Budget,
}

impl Transport {
    pub fn new<I>(urls: I) -> Result<Transport, Error>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let nodes: Result<Vec<_>, _> = urls.into_iter().map(|url| base(url.as_ref())).collect();
        let nodes = nodes?;
        if nodes.is_empty() {
            return Err(Error::usage("name at least one node"));
        }
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let http = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        Ok(Transport { http, nodes: Nodes::new(nodes), budget: Budget::new() })
    }

    /// Carries `call` out, with as many attempts as are safe, allowed and in time.
    pub async fn call(&self, call: &Call<'_>) -> Result<Answer, Error> {
        let trace = Trace::new(call.options.traceparent.as_deref());
        let span = info_span!(
            "starling_call",
            operation = call.operation,
            bucket = call.bucket,
            trace_id = trace.id(),
            attempt = Empty,
            outcome = Empty,
        );
        let result = self.attempts(call, &trace).instrument(span.clone()).await;
        match &result {
            Ok(_) => span.record("outcome", "ok"),
            Err(error) => span.record("outcome", error.outcome()),
        };
        result
    }

    async fn attempts(&self, call: &Call<'_>, trace: &Trace) -> Result<Answer, Error> {
        self.budget.earn();
        let end = Instant::now() + call.options.whole();
        let (mut pauses, mut unknown) = (pauses(), false);
        for attempt in 1.. {
            Span::current().record("attempt", attempt);
            let (node, _) = self.nodes.next(Instant::now());
            let left = end.saturating_duration_since(Instant::now());
            let error = match self.ask(node, call, left, trace).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let earlier = unknown;
            unknown |= error.is_unknown();
            let error = error.after(attempt, earlier);
            let asked_for = self.nodes.next(Instant::now()).1;
            let pause = pauses.next().unwrap_or_default().max(asked_for);
            let in_time = Instant::now() + pause + ATTEMPT_MIN < end;
            let goes_on = attempt < call.options.attempts
                && call.repeat.allows(&error)
                && in_time
                && self.budget.pays(&error);
            let (node, outcome) = (self.nodes.url(node), error.outcome());
            debug!(attempt, node, outcome, goes_on, detail = %error, "attempt failed");
            if !goes_on {
                return Err(error);
            }
            sleep(pause).await;
        }
        unreachable!("the numbers do not end before the attempts do")
    }

    /// One attempt at `node`, and what it tells about the node.
    async fn ask(
        &self,
        node: usize,
        call: &Call<'_>,
        left: Duration,
        trace: &Trace,
    ) -> Result<Answer, Error> {
        let time = call.options.timeout.min(left.max(ATTEMPT_MIN));
        let request = request(self.nodes.url(node), call, time, trace)?;
        let exchange = self.exchange(self.nodes.url(node), request, call.is_write());
        let answer = timeout(time + GRACE, exchange).await.unwrap_or_else(|_| {
            let silent = format!("{} is silent", self.nodes.url(node));
            Err(Error::lost(true, call.is_write(), silent))
        });
        let now = Instant::now();
        let answer = answer.inspect_err(|_| self.nodes.failed(node, now))?;
        if matches!(answer.status, StatusCode::OK | StatusCode::MULTIPLE_CHOICES) {
            self.nodes.answered(node);
            return Ok(answer);
        }
        let after = answer.header(RETRY_AFTER.as_str()).parse().ok().map(Duration::from_secs);
        let error = Error::answered(answer.status.as_u16(), &answer.body, after);
        match after {
            Some(after) if error.applied_nothing_for_now() => self.nodes.refused(node, now, after),
            None if error.applied_nothing_for_now() => {
                self.nodes.refused(node, now, Duration::ZERO);
            }
            _ if error.is_lost() => self.nodes.failed(node, now),
            _ => self.nodes.answered(node),
        }
        Err(error)
    }

    async fn exchange(
        &self,
        node: &str,
        request: Request<Full<Bytes>>,
        write: bool,
    ) -> Result<Answer, Error> {
        let response = self.http.request(request).await.map_err(|error| {
            let detail = format!("{node}: {}", causes(&error));
            match never_sent(&error) {
                true => Error::unreachable(detail),
                false => Error::lost(false, write, detail),
            }
        })?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|e| Error::lost(false, write, format!("{node}: {e}")))?;
        Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes(), write })
    }
}

/// Whether the request surely never left: there was no connection to send it on.
fn never_sent(error: &WireError) -> bool {
    error.is_connect()
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text += &format!(": {inner}");
        cause = inner.source();
    }
    text
}

fn request(
    node: &str,
    call: &Call<'_>,
    time: Duration,
    trace: &Trace,
) -> Result<Request<Full<Bytes>>, Error> {
    let query = match &call.query {
        Some(query) => format!("?timeout_ms={}{query}", time.as_millis()),
        None => String::new(),
    };
    let uri = format!("{node}{}{query}", call.path);
    let mut request = Request::builder().method(&call.method).uri(uri);
    request = request.header("traceparent", trace.header());
    if let Some(content_type) = call.content_type {
        request = request.header(CONTENT_TYPE, content_type);
    }
    if let Some(context) = call.context {
        let value = HeaderValue::from_str(context.as_str());
        request = request.header(
            "starling-context",
            value.map_err(|_| Error::usage("the context is not one that a node handed out"))?,
        );
    }
    if let Some(key) = &call.key {
        let value = HeaderValue::from_str(key);
        request = request.header(
            "idempotency-key",
            value.map_err(|_| Error::usage("a key is 1 to 255 visible ASCII characters"))?,
        );
    }
    request.body(Full::new(call.body.clone())).map_err(|e| Error::usage(e.to_string()))
}

/// `url` without a trailing slash, checked.
fn base(url: &str) -> Result<String, Error> {
    let wrong = || Error::usage(format!("{url:?} does not look like http://HOST:PORT"));
    let uri: Uri = url.parse().map_err(|_| wrong())?;
    let plain = matches!(uri.path(), "" | "/") && uri.query().is_none();
    match uri.authority() {
        Some(authority) if uri.scheme_str() == Some("http") && plain => {
            Ok(format!("http://{authority}"))
        }
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_checked_before_anything_is_sent() {
        assert_eq!(base("http://127.0.0.1:7000/").unwrap(), "http://127.0.0.1:7000");
        for bad in ["", "127.0.0.1:7000", "https://n:1", "http://", "http://n:1/x", "http://n?q"] {
            assert!(base(bad).unwrap_err().is_usage(), "{bad}");
        }
        assert!(Transport::new(Vec::<String>::new()).unwrap_err().is_usage());
    }

    #[test]
    fn any_bytes_make_one_segment() {
        assert_eq!(encoded(b"a/b c\0\xff?#%"), "a%2Fb%20c%00%FF%3F%23%25");
        assert_eq!((encoded(b".."), encoded(b"a..b")), ("%2E%2E".into(), "a..b".into()));
    }
}
