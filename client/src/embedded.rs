//! A node in the process of its client: the whole data store without a second process, for tests,
//! tools and programs on one machine.
//!
//! The node has threads and a runtime of its own and listens on ports of the loopback interface
//! that the system chooses. It is a cluster of one; what it holds stays in its directory.

use crate::Client;
use crate::error::Error;
use crate::repeat::Repeat;
use crate::transport::{Answer, Call};
use bytes::Bytes;
use hyper::Method;
use serde::Deserialize;
use starling_node::server::settings::{Settings, StartArgs};
use starling_node::server::start;
use std::net::SocketAddr;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::time::sleep;

/// Where the node listens: anywhere on this machine.
const ANYWHERE: &str = "127.0.0.1:0";
/// A node that is not ready after this will not be.
const READY_MAX: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(10);

/// A running node. It stops cleanly with [`shutdown`](Node::shutdown), or when it is dropped.
///
/// ```no_run
/// # async fn example() -> Result<(), starling_client::Error> {
/// use starling_client::embedded::Node;
///
/// let node = Node::start("data").await?;
/// node.client().counter("app", "starts").increment(1).await?;
/// node.shutdown().await?;
/// # Ok(())
/// # }
/// ```
///
/// A store that fails under a running node ends the process, as it ends a node of its own:
/// nothing may be acknowledged that is not on disk.
#[derive(Debug)]
pub struct Node {
    url: String,
    client: Client,
    /// Dropped to stop it.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), String>>>,
}

impl Node {
    /// Starts a node that keeps its data in `dir`, and continues there if there is any. It is
    /// ready when this returns.
    ///
    /// # Errors
    /// Another node uses the directory, or it cannot be used; the text says why.
    pub async fn start(dir: impl AsRef<Path>) -> Result<Node, Error> {
        let settings = Settings::resolve(StartArgs {
            data_dir: Some(dir.as_ref().to_owned()),
            http: Some(ANYWHERE.into()),
            peer: Some(ANYWHERE.into()),
            gossip: Some(ANYWHERE.into()),
            ..StartArgs::default()
        });
        let settings = settings.map_err(|error| Error::embedded(error.to_string()))?;
        let (stop, stopped) = oneshot::channel();
        let (serving, served) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("starling-node".into())
            .spawn(move || run(settings, serving, stopped))
            .map_err(|error| Error::embedded(format!("no thread: {error}")))?;
        let Ok(addr) = served.await else {
            // It ended without serving, so there is nothing to wait for.
            return Err(ended(thread.join()));
        };
        let url = format!("http://{addr}");
        let client = Client::connect([&url])?;
        let node = Node { url, client, stop: Some(stop), thread: Some(thread) };
        node.form().await?;
        Ok(node)
    }

    /// Where it serves clients, also of other processes on this machine.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A client of it.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Stops it: refuses new calls, finishes those it has, and syncs.
    ///
    /// # Errors
    /// It did not stop cleanly. Nothing that it acknowledged is lost.
    pub async fn shutdown(mut self) -> Result<(), Error> {
        drop(self.stop.take());
        let Some(thread) = self.thread.take() else { return Ok(()) };
        let joined = tokio::task::spawn_blocking(move || thread.join()).await;
        match joined.map_err(|error| Error::embedded(error.to_string()))? {
            Ok(Ok(())) => Ok(()),
            other => Err(ended(other)),
        }
    }

    /// Forms the layout of a cluster of one, unless there is one already, and waits for it.
    async fn form(&self) -> Result<(), Error> {
        #[derive(Deserialize)]
        struct Cluster {
            ready: bool,
            layout: Option<serde::de::IgnoredAny>,
        }
        let begun = Instant::now();
        while begun.elapsed() < READY_MAX {
            let cluster: Cluster = self.cluster(Method::GET, "/v1/cluster").await?.json()?;
            if cluster.ready {
                return Ok(());
            }
            if cluster.layout.is_none() {
                match self.cluster(Method::POST, "/v1/cluster/apply").await {
                    // Gossip has just begun, and it does not know itself yet.
                    Err(error) if error.is_conflict() => {}
                    applied => drop(applied?),
                }
            }
            sleep(PAUSE).await;
        }
        Err(Error::embedded(format!("not ready after {READY_MAX:?}")))
    }

    async fn cluster(&self, method: Method, path: &str) -> Result<Answer, Error> {
        let operation = match method {
            Method::GET => "cluster_get",
            _ => "cluster_apply",
        };
        let call = Call {
            operation: operation.into(),
            bucket: "",
            method,
            path: path.into(),
            query: None,
            body: Bytes::new(),
            content_type: None,
            context: None,
            key: None,
            repeat: Repeat::Harmless,
            options: &self.client.options,
        };
        self.client.transport.call(&call).await
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(
    settings: Settings,
    serving: oneshot::Sender<SocketAddr>,
    stopped: oneshot::Receiver<()>,
) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start: {error}"))?;
    let told = |addr| {
        // Who started it waits for this, unless they gave up.
        let _ = serving.send(addr);
    };
    let stop = async {
        // Only ever dropped.
        let _ = stopped.await;
        "its program stops it"
    };
    let result = runtime.block_on(start::run_and_tell(settings, told, stop, async {}));
    runtime.shutdown_background();
    result
}

/// Runs an example of the documentation with a node that nobody has used.
pub(crate) fn run_example(body: impl AsyncFnOnce(Client) -> Result<(), Error>) {
    let dir = tempfile::tempdir().expect("there is room for a directory");
    let runtime = tokio::runtime::Runtime::new().expect("there is a runtime");
    runtime.block_on(async {
        let node = Node::start(dir.path()).await.expect("it starts");
        body(node.client()).await.expect("the example is right");
        node.shutdown().await.expect("it stops");
    });
}

fn ended(joined: std::thread::Result<Result<(), String>>) -> Error {
    Error::embedded(match joined {
        Ok(Ok(())) => "it ended".into(),
        Ok(Err(text)) => text,
        Err(_) => "it panicked".into(),
    })
}
