//! One node in this thread, whose syncs are real and can be kept out of the measured time.

use starling_node::cluster::{Member, MembershipView};
use starling_node::config::Config;
use starling_node::core::{Core, Input, Outbox, Output, Time};
use starling_node::crdt::{NodeId, ObjectId};
use starling_node::placement::LayoutId;
use starling_node::server::settings::OBJECT_CACHE_BYTES;
use starling_node::store::cached::Cached;
use starling_node::store::memory::MemoryStore;
use starling_node::store::rocks::{RocksOptions, RocksStore};
use starling_node::store::{Lsn, Store};
use starling_node::wire::api::{Options, ReadQuery, ReadResult, Reply, Request, RequestId};
use starling_node::wire::codec;
use std::path::Path;
use std::time::{Duration, Instant};

/// Syncs at least up to a batch and says how far it came.
type Sync<S> = Box<dyn FnMut(&mut Core<S>, Lsn) -> Lsn>;

pub struct Node<S> {
    core: Core<S>,
    sync: Sync<S>,
    now: Time,
    requests: u64,
    out: Outbox,
}

impl Node<MemoryStore> {
    pub fn in_memory() -> Self {
        Node::new(MemoryStore::new(), |core, lsn| {
            core.store_mut().sync(lsn);
            lsn
        })
    }
}

impl Node<Cached<RocksStore>> {
    /// Keeps its rows in `dir`, with the options that a node has.
    pub fn on_disk(dir: &Path) -> Self {
        let (store, syncer) = RocksStore::open(dir, RocksOptions::default()).expect("it opens");
        let store = Cached::new(store, OBJECT_CACHE_BYTES);
        Node::new(store, move |_, _| syncer.sync().expect("it syncs"))
    }
}

impl<S: Store> Node<S> {
    /// A node alone in its layout.
    fn new(store: S, sync: impl FnMut(&mut Core<S>, Lsn) -> Lsn + 'static) -> Self {
        let now = Time { mono_us: 1_000_000, wall_ms: 1_700_000_000_000 };
        let core = Core::open(Config::new("alone"), store, now, 1).expect("it opens");
        let mut node = Node { core, sync: Box::new(sync), now, requests: 0, out: Outbox::new() };
        let member = Member {
            id: NodeId::of_name("alone"),
            name: "alone".into(),
            zone: "z".into(),
            capacity: 1,
            peer_addr: String::new(),
            http_addr: String::new(),
            generation: 1,
            alive: true,
            layout: LayoutId::NONE,
        };
        node.step(Input::Members(MembershipView::new(vec![member])));
        node.finish(Request::FormLayout { expect_members: 1 });
        node
    }

    /// Carries out one request to its end.
    pub fn finish(&mut self, request: Request) {
        self.timed(std::iter::once(request));
    }

    /// Carries out requests that share one sync, and says how long all but the sync took.
    pub fn timed(&mut self, requests: impl Iterator<Item = Request>) -> Duration {
        let requests: Vec<_> = requests.collect();
        let (mut open, mut took) = (requests.len(), Duration::ZERO);
        let begun = Instant::now();
        for request in requests {
            self.requests += 1;
            self.step(Input::Client(RequestId(self.requests), request));
        }
        took += begun.elapsed();
        while open > 0 {
            let mut upto = None;
            for output in std::mem::take(&mut self.out) {
                match output {
                    Output::Reply(_, Reply::Failed(failure)) => panic!("{failure}"),
                    Output::Reply(..) => open -= 1,
                    Output::Sync(lsn) => upto = upto.max(Some(lsn)),
                    Output::Layout(_) => {}
                    output => panic!("a node alone does not {output:?}"),
                }
            }
            if let Some(lsn) = upto {
                let reached = (self.sync)(&mut self.core, lsn);
                let begun = Instant::now();
                self.step(Input::Synced(reached));
                took += begun.elapsed();
            } else {
                assert_eq!(open, 0, "every request is answered after its sync");
            }
        }
        took
    }

    /// Members of a set.
    pub fn count(&mut self, object: &ObjectId) -> u64 {
        let query = ReadQuery::Page { after: None, prefix: Vec::new(), limit: 0 };
        let options = Options::default();
        self.read(Request::Read { object: object.clone(), query, options }).count
    }

    /// Carries out a read.
    pub fn read(&mut self, request: Request) -> ReadResult {
        self.requests += 1;
        self.step(Input::Client(RequestId(self.requests), request));
        match self.out.drain(..).next_back() {
            Some(Output::Reply(_, Reply::Read(result))) => result,
            other => panic!("not read: {other:?}"),
        }
    }

    /// Bytes of the object when it is sent whole.
    pub fn whole_bytes(&self, object: &ObjectId) -> usize {
        let audit = self.core.audit_object(object).expect("it can be read");
        codec::encode(&audit.expect("it is there").object).len()
    }

    fn step(&mut self, input: Input) {
        self.now.mono_us += 1;
        self.core.step(self.now, input, &mut self.out);
    }
}
