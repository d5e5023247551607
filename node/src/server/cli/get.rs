//! One HTTP request to a node on this machine, for the commands that need an answer or two.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

const TIMEOUT: Duration = Duration::from_secs(10);
const BODY_MAX: usize = 16 << 20;

/// A status and a body.
pub type Answer = (u16, Bytes);

/// Sends one request with a JSON body or none.
///
/// # Errors
/// There was no complete answer in time; the text says why.
pub async fn request(
    method: &str,
    addr: SocketAddr,
    path: &str,
    body: &str,
) -> Result<Answer, String> {
    let exchange = exchange(method, addr, path, body.to_owned());
    match timeout(TIMEOUT, exchange).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err("no answer in time".into()),
    }
}

async fn exchange(
    method: &str,
    addr: SocketAddr,
    path: &str,
    body: String,
) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
    let socket = TcpStream::connect(addr).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
    let driving = tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, addr.to_string())
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body)))?;
    let response = sender.send_request(request).await?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), BODY_MAX).collect().await?.to_bytes();
    driving.abort();
    Ok((status, body))
}
