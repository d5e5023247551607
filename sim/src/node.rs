//! One simulated machine: a real core over a store in memory, its disk's syncs and its clocks.

use crate::clocks::Clock;
use crate::faults::Stop;
use crate::gossip::Identity;
use crate::random::Rng;
use rand::Rng as _;
use starling_node::cluster::MembershipView;
use starling_node::config::{BucketProps, Config};
use starling_node::core::{Audit, Core, Input, Outbox};
use starling_node::crdt::expiry::bucket_of;
use starling_node::crdt::{CausalContext, NodeId, Object, ObjectId};
use starling_node::metrics::Kind;
use starling_node::placement::{Layout, LayoutId};
use starling_node::replica::{keeps_layout, load_whole, owed_dots};
use starling_node::store::memory::MemoryStore;
use starling_node::store::{Lsn, Store, StoreError};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Settings of the cores of one run.
#[derive(Clone, Debug)]
pub struct Setting {
    timeout_ms: u32,
    hedge_ms: u32,
    hint_retry_ms: u32,
    exchange_ms: u32,
    scrub_ms: u32,
    hints_max: u64,
    requests_max: usize,
    settle_ms: u32,
    expiry_grace_s: u32,
}

impl Setting {
    /// Short times, so that a minute holds many retries.
    pub fn draw(rng: &mut Rng) -> Self {
        Setting {
            timeout_ms: rng.random_range(1_000..3_000),
            hedge_ms: rng.random_range(20..300),
            hint_retry_ms: rng.random_range(200..2_000),
            exchange_ms: rng.random_range(1_000..4_000),
            scrub_ms: rng.random_range(300..1_500),
            // Mostly the defaults, sometimes so few that the bound is met.
            hints_max: if rng.random_bool(0.9) { 1_000_000 } else { 20 },
            requests_max: if rng.random_bool(0.8) { 10_000 } else { 4 },
            // In half of the runs never, so that the checks find every context.
            settle_ms: if rng.random_bool(0.5) { rng.random_range(4_000..8_000) } else { u32::MAX },
            // In half of the runs as it is by default, so that nothing expired is collected.
            expiry_grace_s: if rng.random_bool(0.5) { rng.random_range(3..10) } else { 600 },
        }
    }

    /// What a node has that is started without settings.
    pub fn defaults() -> Self {
        let config = Config::new("");
        Setting {
            timeout_ms: config.timeout_ms,
            hedge_ms: config.hedge_ms,
            hint_retry_ms: config.hint_retry_ms,
            exchange_ms: config.exchange_ms,
            scrub_ms: config.scrub_ms,
            hints_max: config.hints_max,
            requests_max: config.requests_max,
            settle_ms: config.settle_ms,
            expiry_grace_s: config.expiry_grace_s,
        }
    }

    /// Puts them in force.
    pub fn apply(&self, config: &mut Config) {
        config.timeout_ms = self.timeout_ms;
        config.hedge_ms = self.hedge_ms;
        config.hint_retry_ms = self.hint_retry_ms;
        config.exchange_ms = self.exchange_ms;
        config.scrub_ms = self.scrub_ms;
        config.hints_max = self.hints_max;
        config.requests_max = self.requests_max;
        config.settle_ms = self.settle_ms;
        config.expiry_grace_s = self.expiry_grace_s;
    }
}

/// What a node's queues hold.
#[derive(Debug)]
pub struct Gauges {
    /// By the metric's name.
    pub values: BTreeMap<&'static str, u64>,
    /// Requests open at most.
    pub requests_max: u64,
    /// Hint marks kept for one node at most.
    pub hints_max: u64,
}

#[allow(clippy::large_enum_variant)] // One for each node.
enum State {
    Up(Box<Core<MemoryStore>>),
    Down(MemoryStore),
}

/// What a node owes of an object: dots, by the row they are about.
pub type Owed = BTreeMap<Option<Vec<u8>>, CausalContext>;

/// A machine and what runs on it.
pub struct Node {
    config: Config,
    zone: String,
    rng: Rng,
    state: Option<State>,
    view: MembershipView,
    tick_us: Option<u64>,
    sync_running: bool,
    sync_wanted: bool,
    counted: BTreeMap<&'static str, u64>,
    /// Properties of the bucket of all objects, which checks demand of it.
    pub props: BucketProps,
    /// Its clocks; the monotonic one begins anew with each start.
    pub clock: Clock,
    /// Grows with each start; events of earlier lives are void.
    pub life: u64,
    /// When its next round of gossip is due.
    pub gossip_due_us: Option<u64>,
    /// When it was stopped last, 0 if never.
    pub stopped_us: u64,
    /// When its last pause ended, 0 if it never paused.
    pub last_pause_us: u64,
    /// When its disk was damaged last, 0 if never.
    pub damaged_us: u64,
    /// A copy of its disk.
    pub backup: Option<MemoryStore>,
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.config.name, self.zone)
    }
}

impl Node {
    /// A machine with an empty disk, switched off.
    pub fn new(config: Config, zone: String, mut rng: Rng) -> Self {
        let clock = Clock::draw(&mut rng);
        Node {
            config,
            zone,
            rng,
            state: Some(State::Down(MemoryStore::new())),
            view: MembershipView::default(),
            tick_us: None,
            sync_running: false,
            sync_wanted: false,
            counted: BTreeMap::new(),
            props: BucketProps::default(),
            clock,
            life: 0,
            gossip_due_us: None,
            stopped_us: 0,
            last_pause_us: 0,
            damaged_us: 0,
            backup: None,
        }
    }

    /// Its id.
    pub fn id(&self) -> NodeId {
        self.config.id()
    }

    /// Its failure domain.
    pub fn zone(&self) -> &str {
        &self.zone
    }

    /// Time a request without its own has, microseconds.
    pub fn timeout_us(&self) -> u64 {
        u64::from(self.config.timeout_ms) * 1_000
    }

    fn core(&self) -> Option<&Core<MemoryStore>> {
        match &self.state {
            Some(State::Up(core)) => Some(core),
            _ => None,
        }
    }

    /// Whether the process runs.
    pub fn is_up(&self) -> bool {
        self.core().is_some()
    }

    /// Whether it serves clients.
    pub fn is_ready(&self) -> bool {
        self.core().is_some_and(Core::is_ready)
    }

    /// Hint marks waiting; of a node that is down, none that it could tell.
    pub fn hints_pending(&self) -> u64 {
        self.core().map_or(0, Core::hints_pending)
    }

    /// Bounded counters whose rights may still move without a client's asking.
    pub fn rights_moving(&self) -> u64 {
        self.core().map_or(0, Core::rights_moving)
    }

    /// How many members gossip hears, itself included.
    pub fn heard(&self) -> usize {
        self.view.iter().filter(|member| member.alive).count()
    }

    /// Whether gossip calls that node alive here.
    pub fn hears(&self, node: NodeId) -> bool {
        self.view.is_alive(node)
    }

    /// Objects known to be damaged and not mended; of a node that is down, none that it could tell.
    pub fn damaged(&self) -> u64 {
        self.core().map_or(0, Core::damaged)
    }

    /// The members as it sees them.
    pub fn view(&self) -> &MembershipView {
        &self.view
    }

    /// Replicas of each object in the bucket, as a node that is up knows.
    pub fn n_of(&self, bucket: &str) -> Option<u8> {
        self.core().map(|core| core.n_of(bucket))
    }

    /// Whether it collects the contexts of removed objects while a run lasts.
    pub fn collects(&self) -> bool {
        self.config.settle_ms < u32::MAX
    }

    /// Whether it collects what has expired while a run lasts.
    pub fn collects_expired(&self) -> bool {
        self.config.expiry_grace_s < Config::new("").expiry_grace_s
    }

    /// The bucket of time that its wall clock is in.
    pub fn bucket(&self, now_us: u64) -> u64 {
        bucket_of(self.clock.read(now_us).wall_ms)
    }

    /// Its gauges and the settings that bound them, of a node that is up.
    pub fn gauges(&mut self) -> Option<Gauges> {
        let Some(State::Up(core)) = &mut self.state else { return None };
        let values = core.metrics().iter();
        let values = values.filter(|(_, kind, ..)| *kind == Kind::Gauge);
        Some(Gauges {
            values: values.map(|(name, _, _, value)| (name, value)).collect(),
            requests_max: self.config.requests_max as u64,
            hints_max: self.config.hints_max,
        })
    }

    /// The layout in force.
    pub fn layout(&self) -> Option<&Arc<Layout>> {
        self.core().and_then(Core::layout)
    }

    /// What it says of itself through gossip.
    pub fn identity(&self) -> Identity {
        let layout = self.layout().map_or(LayoutId::NONE, |layout| layout.id());
        let (name, zone) = (self.config.name.clone(), self.zone.clone());
        Identity { name, zone, generation: self.life, layout }
    }

    /// Starts the process.
    ///
    /// # Errors
    /// The core did not open; the machine stays down.
    pub fn start(&mut self, now_us: u64, skew_ms: i64) -> Result<(), StoreError> {
        self.life += 1;
        self.clock = Clock::draw(&mut self.rng);
        self.clock.skew_ms = skew_ms;
        (self.tick_us, self.sync_running, self.sync_wanted) = (None, false, false);
        self.view = MembershipView::default();
        let Some(State::Down(store)) = self.state.take() else { panic!("starts once") };
        let backup = store.clone();
        let seed = self.rng.random();
        match Core::open(self.config.clone(), store, self.clock.read(now_us), seed) {
            Ok(core) => {
                self.state = Some(State::Up(Box::new(core)));
                Ok(())
            }
            Err(error) => {
                self.state = Some(State::Down(backup));
                Err(error)
            }
        }
    }

    /// Stops the process; says what of its store was not synced.
    pub fn stop(&mut self, now_us: u64, stop: Stop, rng: &mut Rng) -> String {
        self.stopped_us = now_us;
        self.collect_metrics();
        let Some(State::Up(mut core)) = self.state.take() else { panic!("stops once") };
        if stop == Stop::Clean {
            let upto = core.close();
            core.store_mut().sync(upto);
        }
        let mut store = core.into_store();
        let unsynced = store.last().0 - store.synced().0;
        store.crash(&mut |below| match stop {
            Stop::Clean | Stop::Crash => rng.random_range(0..below.max(1)),
            Stop::Torn => below.saturating_sub(2),
            Stop::Unsynced => 0,
        });
        self.state = Some(State::Down(store));
        format!("{unsynced} batches unsynced")
    }

    /// The dots of the object that it owes to any of `targets`, on disk, by row.
    pub fn owed(&self, object: &ObjectId, targets: &[NodeId]) -> Option<Owed> {
        match &self.state {
            Some(State::Up(core)) => {
                // What was handed over is owed no more, also while the disk still says so.
                let now = owed_dots(core.store(), object, targets)?;
                let on_disk = owed_dots(&core.store().as_synced(), object, targets)?;
                let both = now.into_iter().filter_map(|(row, now)| {
                    let both = now.minus(&now.minus(on_disk.get(&row)?));
                    (!both.is_empty()).then_some((row, both))
                });
                Some(both.collect()).filter(|both: &Owed| !both.is_empty())
            }
            Some(State::Down(store)) => owed_dots(store, object, targets),
            None => None,
        }
    }

    /// Whether its disk holds the layout, intact and synced.
    pub fn keeps_layout(&self) -> bool {
        match &self.state {
            Some(State::Up(core)) => keeps_layout(&core.store().as_synced()),
            Some(State::Down(store)) => keeps_layout(store),
            None => false,
        }
    }

    /// Its disk, whether it runs or not.
    pub fn disk_mut(&mut self) -> &mut MemoryStore {
        match &mut self.state {
            Some(State::Up(core)) => core.store_mut(),
            Some(State::Down(store)) => store,
            None => panic!("a machine has a disk"),
        }
    }

    /// Copies of the disk what a crash now would leave of it.
    pub fn back_up(&mut self) {
        let mut copy = self.disk_mut().clone();
        copy.crash(&mut |_| 0);
        copy.fail_writes(None);
        self.backup = Some(copy);
    }

    /// Lets the next tick be said anew.
    pub fn forget_tick(&mut self) {
        self.tick_us = None;
    }

    /// Gives the core one input; false when it is down.
    pub fn step(&mut self, now_us: u64, input: Input, out: &mut Outbox) -> bool {
        let time = self.clock.read(now_us);
        match &mut self.state {
            Some(State::Up(core)) => {
                core.step(time, input, out);
                true
            }
            _ => false,
        }
    }

    /// When to tick, if that is earlier than what was said before.
    pub fn next_tick(&mut self, now_us: u64) -> Option<(u64, u64)> {
        let deadline = self.core()?.deadline()?;
        let at_us = self.clock.virtual_us(deadline).max(now_us + 1);
        if self.tick_us.is_some_and(|tick_us| tick_us <= at_us) {
            return None;
        }
        self.tick_us = Some(at_us);
        Some((at_us, self.life))
    }

    /// Whether a tick said for now still stands. It may come before the deadline if that moved.
    pub fn take_tick(&mut self, now_us: u64, life: u64) -> bool {
        let is_due = self.tick_us.is_some_and(|tick_us| tick_us <= now_us);
        let stands = self.is_up() && life == self.life && is_due;
        if stands {
            self.tick_us = None;
        }
        stands
    }

    /// Begins a sync unless one runs, which is then followed by another.
    pub fn begin_sync(&mut self) -> Option<Lsn> {
        if self.sync_running {
            self.sync_wanted = true;
            return None;
        }
        let upto = self.core()?.store().last();
        (self.sync_running, self.sync_wanted) = (true, false);
        Some(upto)
    }

    /// Ends a sync; false when the process that began it is gone.
    pub fn end_sync(&mut self, life: u64, upto: Lsn) -> bool {
        match &mut self.state {
            Some(State::Up(core)) if life == self.life => {
                core.store_mut().sync(upto);
                self.sync_running = false;
                true
            }
            _ => false,
        }
    }

    /// Whether a sync was asked for while one ran.
    pub fn wants_sync(&self) -> bool {
        self.sync_wanted
    }

    /// Whether the view differs from the last one taken.
    pub fn take_view(&mut self, view: &MembershipView) -> bool {
        let new = self.is_up() && self.view != *view;
        if new {
            self.view = view.clone();
        }
        new
    }

    /// Everything it holds; nothing when it is down.
    ///
    /// # Errors
    /// A row could not be read.
    pub fn audit(&self) -> Result<BTreeMap<ObjectId, Audit>, StoreError> {
        self.core().map_or(Ok(BTreeMap::new()), Core::audit)
    }

    /// What it holds of one object: in memory, or with `durable` what a crash at this moment
    /// would leave.
    pub fn held(&self, object: &ObjectId, durable: bool) -> Option<Object> {
        fn read<S: Store>(store: &S, object: &ObjectId) -> Option<Object> {
            Some(load_whole(store, object).ok()?.1)
        }
        match &self.state {
            Some(State::Up(core)) => {
                let store = core.store();
                match !durable || store.synced() == store.last() {
                    true => read(store, object),
                    false => read(&store.as_synced(), object),
                }
            }
            Some(State::Down(store)) => read(store, object),
            None => None,
        }
    }

    /// Adds the counters of the process that runs to those of earlier ones.
    pub fn collect_metrics(&mut self) {
        if let Some(State::Up(core)) = &mut self.state {
            for (name, kind, _, value) in core.metrics().iter() {
                if kind == Kind::Counter {
                    *self.counted.entry(name).or_default() += value;
                }
            }
        }
    }

    /// Counters over all its lives.
    pub fn counted(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.counted.iter().map(|(name, value)| (*name, *value))
    }
}
