//! One thread that steps the core, one that syncs its store.
//!
//! Requests, peer messages and completed syncs wait in one queue; each kind is bounded by its own
//! permits, so a flood of clients cannot keep peers or syncs out. The thread takes what waits,
//! steps the core for each, then carries out what the steps asked for. All syncs asked for while
//! one runs are answered by the next. A sync that failed is never retried: nothing more is
//! acknowledged and the process is told to stop.

use super::families::{Family, Sample};
use super::gossip::LayoutSlot;
use super::handle::NodeHandle;
use super::peers::{PeerStats, Peers};
use super::timing::Clock;
use super::traces::{Queued, Steps, TraceContext, Traces};
use super::work::Work;
use crate::cluster::MembershipView;
use crate::core::{Core, Input, Outbox, Output};
use crate::crdt::NodeId;
use crate::metrics::Metrics;
use crate::store::{Lsn, Store, StoreError};
use crate::wire::api::{Reply, Request, RequestId};
use crate::wire::peer::PeerMessage;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Inputs taken before their outputs are carried out: more shares wake-ups, fewer answers sooner.
const BATCH_MAX: usize = 64;
/// Requests that wait for the core, beyond those the core has open.
pub(super) const WAITING_MAX: usize = 4_096;
/// The longest sleep without a deadline.
const IDLE: Duration = Duration::from_secs(1);

/// What the core's thread is asked to do.
#[allow(clippy::large_enum_variant)] // One at a time, and taken apart at once.
pub enum Job {
    /// Answer a client.
    Client {
        /// What it asks.
        request: Request,
        /// Where the answer goes.
        answer: oneshot::Sender<Reply>,
        /// Freed once the core has taken the request.
        place: OwnedSemaphorePermit,
        /// Its trace, if it is traced.
        trace: Option<Box<Queued>>,
    },
    /// Take a peer's message.
    Peer {
        /// Who sent it, authenticated.
        from: NodeId,
        /// What it says.
        message: Box<PeerMessage>,
        /// Freed once the core has taken the message.
        place: OwnedSemaphorePermit,
        /// The trace it belongs to, if any.
        trace: Option<TraceContext>,
    },
    /// Batches up to this one are on disk.
    Synced(Lsn),
    /// Members or their liveness changed.
    Members(MembershipView),
    /// Copy the values of all metrics.
    Metrics(oneshot::Sender<Metrics>),
    /// Close the core and end the thread.
    Stop,
}

type Probe = Box<dyn Fn(&mut Vec<Sample>) + Send + Sync>;

/// What the node's threads and its handles share.
pub struct Shared {
    /// The node's name.
    pub name: String,
    /// Signs contexts.
    pub context_key: [u8; 32],
    /// Whether the node serves.
    pub ready: AtomicBool,
    /// Set when the node was told to stop: it serves on for a while, and is not ready.
    pub draining: AtomicBool,
    /// Requests refused because too many waited.
    pub refused: AtomicU64,
    /// What the node's threads did.
    pub work: Work,
    /// Connections to the others.
    pub peers: Peers,
    /// Makes spans, if traces are on.
    pub traces: Traces,
    /// Further measurements, asked at every scrape.
    pub probes: Vec<Probe>,
    /// Set when nothing may be acknowledged any more.
    pub fenced: AtomicBool,
}

impl Shared {
    /// One entry a peer, by name.
    pub fn peer_stats(&self) -> Vec<PeerStats> {
        self.peers.stats()
    }

    /// Appends the shell's own measurements.
    pub fn samples(&self, samples: &mut Vec<Sample>) {
        samples.push(Family::Refused.is(self.refused.load(Ordering::Relaxed) as f64));
        self.work.samples(samples);
        self.peers.samples(samples);
        self.traces.samples(samples);
        for probe in &self.probes {
            probe(samples);
        }
    }
}

/// Called once, with a reason for the log, when the store failed; must not return before the
/// process is on its way out.
pub type OnFatal = Arc<dyn Fn(&str) + Send + Sync>;

/// What a node's threads are made of.
pub struct Parts<S> {
    /// The core, opened.
    pub core: Core<S>,
    /// This node.
    pub id: NodeId,
    /// Syncs everything written to the core's store and says up to where.
    pub sync: Box<dyn FnMut() -> Result<Lsn, StoreError> + Send>,
    /// What is shared with the handles.
    pub shared: Arc<Shared>,
    /// Where gossip reads the layout in force.
    pub layout: LayoutSlot,
    /// The clocks.
    pub clock: Clock,
    /// What to do when the store failed.
    pub on_fatal: OnFatal,
}

/// A running core.
pub struct CoreThread {
    jobs: mpsc::Sender<Job>,
    thread: JoinHandle<Result<(), StoreError>>,
}

/// The queue of a core that is about to start.
pub fn queue() -> (mpsc::Sender<Job>, mpsc::Receiver<Job>) {
    mpsc::channel()
}

/// Starts the threads of a node.
///
/// # Errors
/// The system gave no thread.
pub fn start<S: Store + Send + 'static>(
    parts: Parts<S>,
    (jobs, waiting): (mpsc::Sender<Job>, mpsc::Receiver<Job>),
) -> std::io::Result<(NodeHandle, CoreThread)> {
    let (sync_asked, sync_wanted) = mpsc::channel();
    let places = Arc::new(Semaphore::new(WAITING_MAX));
    let handle = NodeHandle { jobs: jobs.clone(), shared: parts.shared.clone(), places };
    let (shared, on_fatal) = (parts.shared.clone(), parts.on_fatal.clone());
    let (mut sync, synced) = (parts.sync, jobs.clone());
    let syncing = Builder::new()
        .name("sync".into())
        .spawn(move || sync_loop(&mut *sync, &sync_wanted, &synced, &shared, &*on_fatal))?;
    let stepper = Stepper {
        core: parts.core,
        id: parts.id,
        clock: parts.clock,
        waiting,
        sync_asked,
        sync_upto: Lsn(0),
        steps: Steps::new(parts.shared.traces.clone()),
        shared: parts.shared,
        layout: parts.layout,
        on_fatal: parts.on_fatal,
        open: HashMap::new(),
        next_request: 1,
        out: Outbox::new(),
        looped: VecDeque::new(),
    };
    let thread = Builder::new().name("core".into()).spawn(move || stepper.run(syncing))?;
    Ok((handle, CoreThread { jobs, thread }))
}

impl CoreThread {
    /// Closes the core after everything that waits, syncs its store and ends both threads. Blocks.
    ///
    /// # Errors
    /// The last writes may not be on disk; the next start takes a new epoch.
    pub fn stop(self) -> Result<(), StoreError> {
        let _ = self.jobs.send(Job::Stop);
        self.thread.join().unwrap_or_else(|_| Err(StoreError::Failed("the core panicked".into())))
    }
}

fn sync_loop(
    sync: &mut dyn FnMut() -> Result<Lsn, StoreError>,
    wanted: &mpsc::Receiver<Lsn>,
    done: &mpsc::Sender<Job>,
    shared: &Shared,
    on_fatal: &(dyn Fn(&str) + Send + Sync),
) -> Result<Lsn, StoreError> {
    let mut on_disk = Lsn(0);
    while let Ok(lsn) = wanted.recv() {
        let upto = wanted.try_iter().fold(lsn, Lsn::max);
        if upto <= on_disk {
            let _ = done.send(Job::Synced(on_disk));
            continue;
        }
        let started = Instant::now();
        match sync() {
            Ok(reached) => {
                shared.work.synced(reached.0.saturating_sub(on_disk.0), started.elapsed());
                on_disk = reached;
                let _ = done.send(Job::Synced(reached));
            }
            Err(error) => {
                shared.fenced.store(true, Ordering::SeqCst);
                on_fatal(&format!("a sync failed, what is on disk is unknown: {error}"));
                return Err(error);
            }
        }
    }
    Ok(on_disk)
}

struct Stepper<S> {
    core: Core<S>,
    id: NodeId,
    clock: Clock,
    waiting: mpsc::Receiver<Job>,
    sync_asked: mpsc::Sender<Lsn>,
    sync_upto: Lsn,
    shared: Arc<Shared>,
    steps: Steps,
    layout: LayoutSlot,
    on_fatal: OnFatal,
    open: HashMap<RequestId, oneshot::Sender<Reply>>,
    next_request: u64,
    out: Outbox,
    looped: VecDeque<PeerMessage>,
}

impl<S: Store> Stepper<S> {
    fn run(mut self, syncing: JoinHandle<Result<Lsn, StoreError>>) -> Result<(), StoreError> {
        if let Some(layout) = self.core.layout() {
            self.layout.set(layout.id());
        }
        let mut stopping = false;
        while !stopping {
            let mut taken = 0;
            let mut job = self.wait();
            let began = Instant::now();
            while let Some(next) = job {
                stopping |= self.take(next);
                taken += 1;
                job = if taken < BATCH_MAX { self.waiting.try_recv().ok() } else { None };
            }
            let now = self.clock.now();
            if self.core.deadline().is_some_and(|due| due <= now.mono_us) {
                self.core.step(now, Input::Tick, &mut self.out);
            }
            if !self.act() {
                return Err(StoreError::Failed("fenced".into()));
            }
            self.steps.tidy();
            self.shared.work.turned(taken, began.elapsed());
        }
        let last = self.core.close();
        let _ = self.sync_asked.send(last);
        drop(self.sync_asked);
        drop(self.open);
        match syncing.join() {
            Ok(Ok(reached)) if reached >= last => Ok(()),
            Ok(Ok(_)) => Err(StoreError::Failed("the last sync was not reached".into())),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(StoreError::Failed("the sync thread panicked".into())),
        }
    }

    /// The next job, or none when a tick is due.
    fn wait(&self) -> Option<Job> {
        if let Ok(job) = self.waiting.try_recv() {
            return Some(job);
        }
        let now = self.clock.now().mono_us;
        let sleep = self
            .core
            .deadline()
            .map_or(IDLE, |due| Duration::from_micros(due.saturating_sub(now)).min(IDLE));
        if sleep.is_zero() {
            return None;
        }
        match self.waiting.recv_timeout(sleep) {
            Ok(job) => Some(job),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Job::Stop),
        }
    }

    /// Steps the core for one job and says whether it was the last.
    fn take(&mut self, job: Job) -> bool {
        let now = self.clock.now();
        let (input, step) = match job {
            Job::Client { request, answer, place, trace } => {
                drop(place);
                if answer.is_closed() {
                    return false; // The client has gone; nothing was applied.
                }
                let id = RequestId(self.next_request);
                self.next_request += 1;
                self.open.insert(id, answer);
                (Input::Client(id, request), self.steps.takes_request(id, trace))
            }
            Job::Peer { from, message, place, trace } => {
                drop(place);
                let step = self.steps.takes_message(from, &message.body, trace);
                (Input::Peer(from, *message), step)
            }
            Job::Synced(lsn) => (Input::Synced(lsn), None),
            Job::Members(view) => (Input::Members(view), None),
            Job::Metrics(answer) => {
                // Ages are as of the last step.
                self.core.step(now, Input::Tick, &mut self.out);
                let _ = answer.send(self.core.metrics().clone());
                return false;
            }
            Job::Stop => return true,
        };
        let before = self.out.len();
        self.core.step(now, input, &mut self.out);
        if let Some(step) = step {
            self.steps.ends(step, &self.out[before..]);
        }
        false
    }

    /// Carries out what the steps asked for; false when the node must stop at once.
    fn act(&mut self) -> bool {
        if self.shared.fenced.load(Ordering::SeqCst) {
            return false;
        }
        let mut sync = self.sync_upto;
        let now = self.clock.now();
        loop {
            let mut out = std::mem::take(&mut self.out);
            for output in out.drain(..) {
                match output {
                    Output::Reply(id, reply) => {
                        self.steps.replies(id);
                        if let Some(answer) = self.open.remove(&id) {
                            let _ = answer.send(reply);
                        }
                    }
                    Output::Send(to, message) if to == self.id => self.looped.push_back(message),
                    Output::Send(to, message) => {
                        self.steps.send(&self.shared.peers, to, message);
                    }
                    Output::Sync(lsn) => sync = sync.max(lsn),
                    Output::Layout(layout) => self.layout.set(layout.id()),
                    Output::Halt(why) => {
                        self.shared.fenced.store(true, Ordering::SeqCst);
                        (self.on_fatal)(&why);
                        return false;
                    }
                }
            }
            self.out = out;
            let Some(message) = self.looped.pop_front() else { break };
            self.core.step(now, Input::Peer(self.id, message), &mut self.out);
        }
        if sync > self.sync_upto {
            self.sync_upto = sync;
            let _ = self.sync_asked.send(sync);
        }
        self.shared.ready.store(self.core.is_ready(), Ordering::Release);
        true
    }
}
