//! The threads around the core: answers, bounds, syncs that fail, clean stops.
#![cfg(feature = "server")]
// The shell is tested with what the core must not have.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

use starling_node::cluster::{Member, MembershipView};
use starling_node::config::Config;
use starling_node::core::Core;
use starling_node::crdt::{CounterOp, ObjectId, ObjectOp, TypeTag};
use starling_node::placement::LayoutId;
use starling_node::server::families::Sample;
use starling_node::server::gossip::LayoutSlot;
use starling_node::server::handle::NodeHandle;
use starling_node::server::peers::{Identity, PeerLimits, Peers};
use starling_node::server::runtime::{self, CoreThread, Job, Parts, Shared};
use starling_node::server::timing::Clock;
use starling_node::server::traces::Traces;
use starling_node::server::work::Work;
use starling_node::store::memory::MemoryStore;
use starling_node::store::{Batch, Family, Lsn, Store, StoreError, Visit};
use starling_node::wire::api::{Failure, Options, Reply, Request};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Holds who passes while it is shut.
#[derive(Default)]
struct Gate {
    shut: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    fn pass(&self) {
        let shut = self.shut.lock().expect("no panic");
        drop(self.changed.wait_while(shut, |shut| *shut).expect("no panic"));
    }

    fn shut(&self, shut: bool) {
        *self.shut.lock().expect("no panic") = shut;
        self.changed.notify_all();
    }
}

/// A disk that can be held up and made to fail.
#[derive(Default)]
struct Disk {
    reading: Gate,
    syncing: Gate,
    failing: AtomicBool,
    written: AtomicU64,
    syncs: AtomicU64,
}

impl Disk {
    fn sync(&self) -> Result<Lsn, StoreError> {
        self.syncing.pass();
        let written = Lsn(self.written.load(Ordering::SeqCst));
        self.syncs.fetch_add(1, Ordering::SeqCst);
        match self.failing.load(Ordering::SeqCst) {
            true => Err(StoreError::Failed("injected".into())),
            false => Ok(written),
        }
    }
}

struct Rows(MemoryStore, Arc<Disk>);

impl Store for Rows {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.1.reading.pass();
        self.0.get(family, key)
    }

    fn scan(
        &self,
        family: Family,
        from: &[u8],
        until: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Visit,
    ) -> Result<(), StoreError> {
        self.0.scan(family, from, until, visit)
    }

    fn scan_back(
        &self,
        family: Family,
        from: &[u8],
        until: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Visit,
    ) -> Result<(), StoreError> {
        self.0.scan_back(family, from, until, visit)
    }

    fn write(&mut self, batch: Batch) -> Result<Lsn, StoreError> {
        let lsn = self.0.write(batch)?;
        self.1.written.store(lsn.0, Ordering::SeqCst);
        Ok(lsn)
    }
}

struct Node {
    handle: NodeHandle,
    core: CoreThread,
    disk: Arc<Disk>,
    fatal: Arc<Mutex<Vec<String>>>,
    jobs: mpsc::Sender<Job>,
}

impl Node {
    /// A cluster of one, ready.
    async fn new() -> Node {
        let (disk, fatal) = (Arc::new(Disk::default()), Arc::new(Mutex::new(Vec::new())));
        let (config, clock) = (Config::new("ada"), Clock::start());
        let id = config.id();
        let rows = Rows(MemoryStore::new(), disk.clone());
        let core = Core::open(config, rows, clock.now(), 1).expect("it opens");
        let identity = Identity { cluster: "test".into(), name: "ada".into(), key: None };
        let shared = Shared {
            name: "ada".into(),
            context_key: [0; 32],
            ready: AtomicBool::new(false),
            refused: AtomicU64::new(0),
            work: Work::default(),
            peers: Peers::new(identity, PeerLimits::default()),
            traces: Traces::default(),
            probes: Vec::new(),
            draining: AtomicBool::new(false),
            fenced: AtomicBool::new(false),
        };
        let (syncing, reasons) = (disk.clone(), fatal.clone());
        let parts = Parts {
            core,
            id,
            sync: Box::new(move || syncing.sync()),
            shared: Arc::new(shared),
            layout: LayoutSlot::default(),
            clock,
            on_fatal: Arc::new(move |why: &str| reasons.lock().expect("no panic").push(why.into())),
        };
        let queue = runtime::queue();
        let jobs = queue.0.clone();
        let (handle, core) = runtime::start(parts, queue).expect("threads start");
        let node = Node { handle, core, disk, fatal, jobs };
        let member = Member {
            id,
            name: "ada".into(),
            zone: "z".into(),
            capacity: 1,
            peer_addr: String::new(),
            http_addr: String::new(),
            generation: 1,
            alive: true,
            layout: LayoutId::NONE,
        };
        assert!(node.jobs.send(Job::Members(MembershipView::new(vec![member]))).is_ok());
        assert!(!node.handle.is_ready());
        let formed = node.handle.call(Request::FormLayout { expect_members: 1 }).await;
        assert!(matches!(formed, Reply::Cluster(_)), "{formed:?}");
        assert!(node.handle.is_ready());
        node
    }

    /// Writes to `count` objects at once.
    fn write(&self, count: usize) -> JoinSet<Reply> {
        let mut replies = JoinSet::new();
        for at in 0..count {
            let handle = self.handle.clone();
            replies.spawn(async move { handle.call(write(at)).await });
        }
        replies
    }

    async fn sample(&self, name: &str) -> f64 {
        let metrics = self.handle.metrics().await;
        metrics.samples.iter().find(|sample| sample.name() == name).map_or(-1.0, Sample::number)
    }
}

fn write(at: usize) -> Request {
    let key = at.to_string().into_bytes();
    Request::Write {
        object: ObjectId { bucket: "b".into(), tag: TypeTag::Counter, key },
        op: ObjectOp::Counter(CounterOp::Add { amount: 1, floor: 0 }),
        options: Options::default(),
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}");
        sleep(Duration::from_millis(5)).await;
    }
}

fn is_written(reply: &Reply) -> bool {
    matches!(reply, Reply::Written(_))
}

#[tokio::test]
async fn writes_that_wait_share_a_sync_and_none_is_answered_before_it() {
    let node = Node::new().await;
    let before = node.disk.syncs.load(Ordering::SeqCst);
    node.disk.syncing.shut(true);
    let mut replies = node.write(1_000);
    sleep(Duration::from_millis(300)).await;
    assert!(replies.try_join_next().is_none(), "nothing is on disk yet");
    node.disk.syncing.shut(false);
    while let Some(reply) = replies.join_next().await {
        let reply = reply.expect("no panic");
        assert!(is_written(&reply), "{reply:?}");
    }
    let syncs = node.disk.syncs.load(Ordering::SeqCst) - before;
    assert!((1..100).contains(&syncs), "{syncs} syncs for 1,000 writes");
    assert!(node.handle.metrics().await.syncs.count >= syncs);
}

#[tokio::test]
async fn after_a_failed_sync_nothing_is_acknowledged_and_the_process_is_told_once() {
    let node = Node::new().await;
    let before = node.disk.syncs.load(Ordering::SeqCst);
    node.disk.failing.store(true, Ordering::SeqCst);
    let mut replies = node.write(100);
    while let Some(reply) = replies.join_next().await {
        let reply = reply.expect("no panic");
        assert!(!is_written(&reply), "{reply:?}");
    }
    node.disk.failing.store(false, Ordering::SeqCst);
    until("the core's thread ends", || node.jobs.send(Job::Synced(Lsn(0))).is_err()).await;
    let late = node.handle.call(write(1)).await;
    assert!(matches!(late, Reply::Failed(Failure::Unavailable(_))), "{late:?}");
    assert_eq!(node.disk.syncs.load(Ordering::SeqCst), before + 1, "it is never tried again");
    let fatal = node.fatal.lock().expect("no panic").clone();
    assert!(fatal.len() == 1 && fatal[0].contains("injected"), "{fatal:?}");
    assert!(node.core.stop().is_err());
}

#[tokio::test]
async fn too_many_waiting_requests_are_refused_and_the_rest_is_answered() {
    let node = Node::new().await;
    node.disk.reading.shut(true);
    let mut replies = node.write(5_000);
    sleep(Duration::from_millis(300)).await;
    let mut refused = 0;
    while let Some(reply) = replies.try_join_next() {
        assert_eq!(reply.expect("no panic"), Reply::Failed(Failure::Overloaded));
        refused += 1;
    }
    assert!((1..=5_000 - 4_096).contains(&refused), "{refused} of 5,000 were refused");
    node.disk.reading.shut(false);
    let mut written = 0;
    while let Some(reply) = replies.join_next().await {
        written += usize::from(is_written(&reply.expect("no panic")));
    }
    assert_eq!(written + refused, 5_000);
    assert_eq!(node.sample("starling_requests_refused_total").await, refused as f64);
}

#[tokio::test]
async fn a_clean_stop_syncs_last_and_refuses_what_comes_after() {
    let node = Node::new().await;
    let before = node.disk.syncs.load(Ordering::SeqCst);
    let handle = node.handle.clone();
    let core = node.core;
    // Taken before the stop, so it must be on disk after it.
    let writer = handle.clone();
    let _writing = tokio::spawn(async move { writer.call(write(1)).await });
    tokio::task::yield_now().await;
    tokio::task::spawn_blocking(|| core.stop()).await.expect("no panic").expect("it is clean");
    assert!(node.disk.syncs.load(Ordering::SeqCst) > before);
    let late = handle.call(write(1)).await;
    assert!(matches!(late, Reply::Failed(Failure::Unavailable(_))), "{late:?}");
}
