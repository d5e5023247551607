//! What HTTP alone costs: a server that stores nothing, with the settings of Starling's listener.
//!
//! `bare_hyper ADDR` answers every `GET` with 100 bytes and reads and drops the body of every
//! `PUT` and `POST`; anything else is `405`. `make bench` measures Starling against it.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // A server, not the core.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const VALUE: [u8; 100] = [b'v'; 100];

fn main() -> anyhow::Result<()> {
    let addr = std::env::args().nth(1).ok_or_else(|| anyhow::anyhow!("usage: bare_hyper ADDR"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(&addr).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(serve(stream));
        }
    })
}

async fn serve(stream: TcpStream) {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(10))
        .max_headers(100)
        .max_header_size(16 << 10)
        .max_buf_size(64 << 10)
        .pipeline_flush(true);
    // A client that hangs up in the middle is its own affair.
    let _ = builder.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
}

async fn answer(request: Request<Incoming>) -> hyper::Result<Response<Full<Bytes>>> {
    let (status, body) = match *request.method() {
        Method::GET => (StatusCode::OK, Bytes::from_static(&VALUE)),
        Method::PUT | Method::POST => {
            request.into_body().collect().await?;
            (StatusCode::NO_CONTENT, Bytes::new())
        }
        _ => (StatusCode::METHOD_NOT_ALLOWED, Bytes::new()),
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    Ok(response)
}
