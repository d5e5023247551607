//! HTTP requests to a node, for the commands that need an answer or two.

use super::{USAGE, fail};
use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

const TIMEOUT: Duration = Duration::from_secs(10);
const BODY_MAX: usize = 64 << 20;
const DEFAULT_URL: &str = "http://127.0.0.1:7000";
const JSON: &str = "application/json";

/// The node that a command talks to.
#[derive(Args, Clone, Debug)]
pub struct Node {
    /// Any node of the cluster
    #[arg(long, env = "STARLING_URL", default_value = DEFAULT_URL)]
    pub url: String,
}

/// One request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ask {
    /// Its method.
    pub method: &'static str,
    /// Path with query.
    pub path: String,
    /// The body's type.
    pub content_type: String,
    /// The body, empty for none.
    pub body: Bytes,
}

impl Ask {
    /// A request with a JSON body, empty for none.
    pub fn json(method: &'static str, path: impl Into<String>, body: impl Into<Bytes>) -> Ask {
        Ask { method, path: path.into(), content_type: JSON.into(), body: body.into() }
    }
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The body's type.
    pub content_type: String,
    /// The body.
    pub body: Bytes,
    /// `Starling-Context`, if there is one.
    pub context: Option<String>,
}

/// A status and a body.
pub type Answer = (u16, Bytes);

impl Node {
    /// Asks the node and waits for its answer; whatever is no success is said, and becomes the
    /// exit status.
    pub fn ask(&self, ask: &Ask) -> Result<Reply, ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| fail(1, &format!("cannot start: {error}")))?;
        let addr = runtime.block_on(resolve(&self.url)).map_err(|text| fail(USAGE, &text))?;
        let url = &self.url;
        match runtime.block_on(send(addr, ask)) {
            Err(error) => Err(fail(
                1,
                &format!(
                    "{url} does not answer ({error}). Is the node running there? \
                     Name another one with --url http://HOST:PORT."
                ),
            )),
            Ok(reply) if matches!(reply.status, 200 | 300) => Ok(reply),
            Ok(reply) => Err(fail(1, &refusal(url, &reply))),
        }
    }
}

/// Sends one request with a JSON body or none.
///
/// # Errors
/// There was no complete answer in time; the text says why.
pub async fn request(
    method: &'static str,
    addr: SocketAddr,
    path: &str,
    body: &str,
) -> Result<Answer, String> {
    let reply = send(addr, &Ask::json(method, path, body.to_owned())).await?;
    Ok((reply.status, reply.body))
}

async fn send(addr: SocketAddr, ask: &Ask) -> Result<Reply, String> {
    match timeout(TIMEOUT, exchange(addr, ask)).await {
        Ok(reply) => reply.map_err(|error| error.to_string()),
        Err(_) => Err("no answer in time".into()),
    }
}

async fn exchange(
    addr: SocketAddr,
    ask: &Ask,
) -> Result<Reply, Box<dyn std::error::Error + Send + Sync>> {
    let socket = TcpStream::connect(addr).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
    let driving = tokio::spawn(connection);
    let request = Request::builder()
        .method(ask.method)
        .uri(&ask.path)
        .header(HOST, addr.to_string())
        .header(CONTENT_TYPE, &ask.content_type)
        .body(Full::new(ask.body.clone()))?;
    let response = sender.send_request(request).await?;
    let (head, body) = response.into_parts();
    let header = |name: &str| Some(head.headers.get(name)?.to_str().ok()?.to_owned());
    let content_type = header(CONTENT_TYPE.as_str()).unwrap_or_default();
    let context = header("starling-context");
    let body = Limited::new(body, BODY_MAX).collect().await?.to_bytes();
    driving.abort();
    Ok(Reply { status: head.status.as_u16(), content_type, body, context })
}

/// The first address of `url`, `http://HOST:PORT`.
async fn resolve(url: &str) -> Result<SocketAddr, String> {
    let wrong = |why: &str| format!("--url {url}: {why}; it looks like {DEFAULT_URL}");
    let Some(authority) = url.strip_prefix("http://") else {
        return Err(wrong("it does not begin with http://"));
    };
    let authority = authority.trim_end_matches('/');
    let found = tokio::net::lookup_host(authority).await;
    let first = found.map_err(|error| wrong(&error.to_string()))?.next();
    first.ok_or_else(|| wrong("the host has no address"))
}

/// What a problem document says.
fn refusal(url: &str, reply: &Reply) -> String {
    #[derive(Deserialize)]
    struct Problem {
        title: String,
        code: String,
        detail: String,
    }
    match serde_json::from_slice::<Problem>(&reply.body) {
        Ok(Problem { title, code, detail }) => {
            format!("{url} refused ({code}): {title}.\n{detail}")
        }
        Err(_) => format!("{url} answered with status {} and no explanation", reply.status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_in_words() {
        let reply = |status, body: &'static [u8]| Reply {
            status,
            content_type: String::new(),
            body: Bytes::from_static(body),
            context: None,
        };
        let body = br#"{"title":"The cluster is not in a state for this","code":"conflict",
            "detail":"2 members are alive, 3 were expected"}"#;
        let expected = "http://n refused (conflict): The cluster is not in a state for this.\n\
                        2 members are alive, 3 were expected";
        assert_eq!(refusal("http://n", &reply(409, body)), expected);
        assert!(refusal("http://n", &reply(500, b"")).contains("status 500"));
    }
}
