//! Requests to one node after another: pooled connections, deadlines, and fail-over where it is
//! safe.

use crate::answer::Context;
use crate::error::Error;
use crate::options::Options;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error as WireError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::timeout;

/// Nodes close idle connections after 10 s; ours go before that.
const IDLE: Duration = Duration::from_secs(8);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How much longer than the node the client waits.
const GRACE: Duration = Duration::from_secs(1);
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
    pub method: Method,
    /// Path with query.
    pub target: String,
    pub body: Bytes,
    pub content_type: Option<&'a str>,
    pub context: Option<&'a Context>,
    /// Whether repeating it after a lost answer changes nothing more.
    pub is_read: bool,
    pub timeout: Duration,
}

impl<'a> Call<'a> {
    /// A read of `path`.
    pub fn read(path: &str, options: &Options) -> Call<'a> {
        let target = path.to_owned() + &options.query();
        Call::new(Method::GET, target, Bytes::new(), options)
    }

    /// A write of raw bytes or JSON to `path`.
    pub fn write(method: Method, path: &str, body: Bytes, options: &Options) -> Call<'a> {
        Call::new(method, path.to_owned() + &options.query(), body, options)
    }

    fn new(method: Method, target: String, body: Bytes, options: &Options) -> Call<'a> {
        let is_read = method == Method::GET;
        let timeout = options.timeout;
        Call { method, target, body, content_type: None, context: None, is_read, timeout }
    }
}

/// A success.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON.
    pub fn json<T: serde::de::DeserializeOwned>(&self, is_read: bool) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|e| Error::garbled(!is_read, e.to_string()))
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
    nodes: Vec<String>,
    /// The node that answered last.
    current: AtomicUsize,
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
        Ok(Transport { http, nodes, current: AtomicUsize::new(0) })
    }

    /// Asks the node that answered last, and the others in turn as long as that is safe.
    pub async fn call(&self, call: &Call<'_>) -> Result<Answer, Error> {
        let first = self.current.load(Ordering::Relaxed);
        let mut turn = 0;
        loop {
            let at = (first + turn) % self.nodes.len();
            match self.ask(&self.nodes[at], call).await {
                Err(error) if error.may_go_on() && turn + 1 < self.nodes.len() => turn += 1,
                result => {
                    self.current.store(at, Ordering::Relaxed);
                    return result;
                }
            }
        }
    }

    async fn ask(&self, node: &str, call: &Call<'_>) -> Result<Answer, Error> {
        let request = request(node, call)?;
        let write = !call.is_read;
        let exchange = async {
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
            Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes() })
        };
        let answer: Answer = timeout(call.timeout + GRACE, exchange)
            .await
            .unwrap_or_else(|_| Err(Error::lost(true, write, format!("{node} is silent"))))?;
        match answer.status {
            StatusCode::OK | StatusCode::MULTIPLE_CHOICES => Ok(answer),
            status => Err(Error::answered(status.as_u16(), &answer.body)),
        }
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

fn request(node: &str, call: &Call<'_>) -> Result<Request<Full<Bytes>>, Error> {
    let mut request = Request::builder().method(&call.method).uri(format!("{node}{}", call.target));
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
