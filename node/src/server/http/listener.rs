//! Connections: accepted up to a cap, told apart as HTTP/1.1 or HTTP/2, served with every bound
//! set, and let finish when the node stops.

use super::app::App;
use super::backend::Backend;
use super::limits::Limits;
use super::meter::Gauge;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

/// Of an HTTP/2 connection, between a ping and giving up on it.
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Between pings of an HTTP/2 connection.
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// After a failed accept, which mostly means that file descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
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
    let places = Arc::new(Semaphore::new(limits.connections_max));
    let drain_timeout = limits.drain_timeout;
    let app = Arc::new(App::new(node, limits));
    let graceful = GracefulShutdown::new();
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
        let (app, watcher, shutdown) = (app.clone(), graceful.watcher(), shutdown.clone());
        tokio::spawn(async move {
            connection(stream, app, watcher, shutdown).await;
            drop(place);
        });
    }
    drop(listener);
    if timeout(drain_timeout, graceful.shutdown()).await.is_err() {
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
    watcher: Watcher,
    shutdown: watch::Receiver<bool>,
) {
    use std::sync::atomic::Ordering::Relaxed;
    app.meter.connections.fetch_add(1, Relaxed);
    let _open = Gauge::new(&app.meter.connections_open);
    let patience = app.limits.header_timeout;
    let http2 = tokio::select! {
        () = stopped(shutdown) => return,
        spoken = timeout(patience, speaks_http2(&stream)) => match spoken {
            Ok(Ok(http2)) => http2,
            Ok(Err(_)) | Err(_) => return,
        },
    };
    let io = TokioIo::new(stream);
    let heard = Arc::new(AtomicBool::new(false));
    let service = {
        let (app, heard) = (app.clone(), heard.clone());
        service_fn(move |request| {
            heard.store(true, Ordering::Relaxed);
            answer(app.clone(), request)
        })
    };
    // What goes wrong on a connection is its client's affair and ends nothing else.
    if http2 {
        let conn = http2_builder(&app.limits).serve_connection(io, service);
        tokio::select! {
            _ = watcher.watch(conn) => {}
            () = silence(patience, heard) => {}
        }
    } else {
        let conn = http1_builder(&app.limits).serve_connection(io, service);
        let _ = watcher.watch(conn).await;
    }
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
