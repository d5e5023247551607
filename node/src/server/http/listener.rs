//! Connections: accepted up to a cap, told apart as HTTP/1.1 or HTTP/2, served with every bound
//! set, and let finish when the node stops.

use super::app::App;
use super::backend::Backend;
use super::labels::Asked;
use super::limits::Limits;
use super::meter::Gauge;
use super::problem::{Code, Problem};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

/// Of an HTTP/2 connection, between a ping and giving up on it.
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Between pings of an HTTP/2 connection.
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// After a failed accept, which mostly means that file descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Reading on after a refusal, in time and in multiples of the bytes that headers may have.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_FACTOR: usize = 4;
/// Between looks at a connection that has sent less than it takes to tell its protocol.
const PEEK_PAUSE: Duration = Duration::from_millis(5);

/// Serves `node` on `listener` with the default bounds until `shutdown` becomes true, then lets
/// requests under way finish.
///
/// # Errors
/// The listener has no address: it was closed.
pub async fn serve<B: Backend>(
    listener: TcpListener,
    node: B,
    shutdown: watch::Receiver<bool>,
) -> io::Result<()> {
    serve_with(listener, node, Limits::default(), shutdown).await
}

/// As [`serve`], with other bounds.
///
/// # Errors
/// As there.
pub async fn serve_with<B: Backend>(
    listener: TcpListener,
    node: B,
    limits: Limits,
    shutdown: watch::Receiver<bool>,
) -> io::Result<()> {
    tracing::info!(addr = %listener.local_addr()?, node = node.name(), "HTTP is served");
    let (places, drain_timeout) =
        (Arc::new(Semaphore::new(limits.connections_max)), limits.drain_timeout);
    let all = limits.connections_max as u32;
    let app = Arc::new(App::new(node, limits));
    loop {
        let accepted = tokio::select! {
            biased;
            () = stopped(shutdown.clone()) => break,
            accepted = accept(&listener, &places) => accepted,
        };
        let (stream, place) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (app, shutdown) = (app.clone(), shutdown.clone());
        tokio::spawn(async move {
            connection(stream, app, shutdown).await;
            drop(place);
        });
    }
    drop(listener);
    // Every connection holds a place until it ends.
    if timeout(drain_timeout, places.acquire_many(all)).await.is_err() {
        tracing::warn!("some HTTP requests did not finish in time");
    }
    Ok(())
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, place))
}

/// Until shutdown is wanted, or nobody is left who could want it.
async fn stopped(mut shutdown: watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|stop| *stop).await;
}

async fn connection<B: Backend>(
    stream: TcpStream,
    app: Arc<App<B>>,
    shutdown: watch::Receiver<bool>,
) {
    app.meter.connections.fetch_add(1, Ordering::Relaxed);
    let _open = Gauge::new(&app.meter.connections_open);
    let patience = app.limits.header_timeout;
    let http2 = tokio::select! {
        () = stopped(shutdown.clone()) => return,
        spoken = timeout(patience, speaks_http2(&stream)) => match spoken {
            Ok(Ok(http2)) => http2,
            Ok(Err(_)) | Err(_) => return,
        },
    };
    let heard = Arc::new(AtomicBool::new(false));
    if http2 {
        serve_http2(stream, &app, heard, shutdown).await;
    } else {
        serve_http1(stream, &app, heard, shutdown).await;
    }
}

/// What goes wrong on a connection is its client's affair and ends nothing else.
async fn serve_http1<B: Backend>(
    stream: TcpStream,
    app: &Arc<App<B>>,
    heard: Arc<AtomicBool>,
    shutdown: watch::Receiver<bool>,
) {
    let service = service_fn(|request| {
        heard.store(true, Ordering::Relaxed);
        // Boxed, so that the connection can be taken apart when it fails.
        Box::pin(answer(app.clone(), request))
    });
    let mut conn = http1_builder(&app.limits).serve_connection(TokioIo::new(stream), service);
    let result = tokio::select! {
        result = poll_fn(|cx| conn.poll_without_shutdown(cx)) => result,
        () = stopped(shutdown) => {
            std::pin::Pin::new(&mut conn).graceful_shutdown();
            poll_fn(|cx| conn.poll_without_shutdown(cx)).await
        }
    };
    let mut stream = conn.into_parts().io.into_inner();
    // With pipelined flushes hyper drops its own answer to what it cannot parse. After the first
    // request it could be taken for the answer to an earlier one, so then there is none.
    match result {
        Err(error) if error.is_parse() && !heard.load(Ordering::Relaxed) => {
            refuse(stream, app, &error).await;
        }
        _ => drop(stream.shutdown().await),
    }
}

async fn serve_http2<B: Backend>(
    stream: TcpStream,
    app: &Arc<App<B>>,
    heard: Arc<AtomicBool>,
    shutdown: watch::Receiver<bool>,
) {
    let service = {
        let (app, heard) = (app.clone(), heard.clone());
        service_fn(move |request| {
            heard.store(true, Ordering::Relaxed);
            answer(app.clone(), request)
        })
    };
    let conn = http2_builder(&app.limits).serve_connection(TokioIo::new(stream), service);
    let mut conn = std::pin::pin!(conn);
    tokio::select! {
        _ = &mut conn => {}
        () = silence(app.limits.header_timeout, heard) => {}
        () = stopped(shutdown) => {
            conn.as_mut().graceful_shutdown();
            let _ = conn.await;
        }
    }
}

/// Answers a first request that could not be parsed, and reads on a little so that the answer is
/// not lost to a reset.
async fn refuse<B: Backend>(mut stream: TcpStream, app: &App<B>, error: &hyper::Error) {
    let limits = &app.limits;
    let problem = match error.is_parse_too_large() {
        true => {
            let (lines, bytes) = (limits.headers_max, limits.header_bytes_max);
            let text = format!("more than {lines} headers or {bytes} bytes of them");
            Problem::new(Code::HeadersTooLarge, text).with("limit", bytes.into())
        }
        false => Problem::new(Code::MalformedRequest, error.to_string()),
    };
    app.meter.problem(problem.code);
    app.meter.answered(None, Asked::of(None), problem.code.status().as_u16(), Duration::ZERO);
    let status = problem.code.status();
    let Ok(body) = problem.into_answer().into_body().collect().await;
    let body = body.to_bytes();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/problem+json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let saying = async {
        stream.write_all(&[head.as_bytes(), &body].concat()).await?;
        stream.shutdown().await?;
        let mut left = limits.header_bytes_max * LINGER_FACTOR;
        let mut dropped = [0; 4_096];
        while left > 0 {
            match stream.read(&mut dropped).await? {
                0 => break,
                count => left = left.saturating_sub(count),
            }
        }
        io::Result::Ok(())
    };
    let _ = timeout(LINGER, saying).await;
}

async fn answer<B: Backend>(
    app: Arc<App<B>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(app.answer(request).await)
}

fn http1_builder(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_headers(limits.headers_max)
        .max_header_size(limits.header_bytes_max)
        .max_buf_size(64 << 10)
        .pipeline_flush(true);
    builder
}

fn http2_builder(limits: &Limits) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_header_list_size(limits.header_bytes_max as u32)
        .max_concurrent_streams(limits.streams_max)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

/// Ends after `patience` without a first request; never when there was one.
async fn silence(patience: Duration, heard: Arc<AtomicBool>) {
    sleep(patience).await;
    if heard.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}

/// Whether the client begins with the preface of HTTP/2, whose first bytes begin no method.
async fn speaks_http2(stream: &TcpStream) -> io::Result<bool> {
    const PREFACE: &[u8] = b"PRI ";
    let mut seen = [0; PREFACE.len()];
    loop {
        let count = stream.peek(&mut seen).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if count == PREFACE.len() || !PREFACE.starts_with(&seen[..count]) {
            return Ok(seen == PREFACE);
        }
        sleep(PEEK_PAUSE).await;
    }
}
