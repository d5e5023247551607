//! The node as a value that is stepped: inputs in, outputs out, and nothing else.
//!
//! `step` never fails: operating errors become replies, programmer errors assert. Time comes in
//! from outside; randomness only as a seed. Acknowledgements wait for `Synced`.

use crate::cluster::MembershipView;
use crate::config::Config;
use crate::crdt::{NodeId, Object, ObjectId};
use crate::metrics::Metrics;
use crate::placement::Layout;
use crate::store::{Lsn, Store, StoreError};
use crate::wire::api::{Reply, Request, RequestId};
use crate::wire::peer::PeerMessage;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A reading of both clocks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Time {
    /// Microseconds since an arbitrary start, never going back.
    pub mono_us: u64,
    /// Milliseconds since the Unix epoch; may jump.
    pub wall_ms: u64,
}

/// What happens to a node.
#[derive(Clone, PartialEq, Debug)]
pub enum Input {
    /// A client asks.
    Client(RequestId, Request),
    /// A peer says; the shell has authenticated it.
    Peer(NodeId, PeerMessage),
    /// Every batch up to this one is on disk.
    Synced(Lsn),
    /// Members or their liveness changed.
    Members(MembershipView),
    /// `deadline()` has come.
    Tick,
}

/// What a node does.
#[derive(Clone, PartialEq, Debug)]
pub enum Output {
    /// Answer a client.
    Reply(RequestId, Reply),
    /// Send to a peer; may be lost.
    Send(NodeId, PeerMessage),
    /// Sync the store up to this batch and say `Synced`. Several may be answered by one.
    Sync(Lsn),
    /// A new layout is in force and on its way to disk: tell gossip.
    Layout(Arc<Layout>),
    /// The store failed: stop the process, acknowledge nothing more.
    Halt(String),
}

/// Outputs of a step, in order.
pub type Outbox = Vec<Output>;

/// What one node holds of one object.
#[derive(Clone, PartialEq, Debug)]
pub struct Audit {
    /// Over the whole state.
    pub digest: u64,
    /// The whole state, of a set with all visible rows.
    pub object: Object,
    /// Whether the node owns it under its layout.
    pub owner: bool,
}

/// A node without its shell.
pub struct Core<S> {
    store: S,
}

impl<S: Store> Core<S> {
    /// Opens a node on `store`. `seed` must differ from every earlier seed of this node: the
    /// epoch of its actor is drawn from it unless the last stop was clean.
    ///
    /// # Errors
    /// The store could not be read, or holds a layout that fails its check.
    pub fn open(config: Config, store: S, now: Time, seed: u64) -> Result<Self, StoreError> {
        let _ = (config, now, seed);
        Ok(Core { store })
    }

    /// Takes one input and appends what follows from it.
    pub fn step(&mut self, now: Time, input: Input, out: &mut Outbox) {
        let _ = (now, input, out);
    }

    /// When a `Tick` is next due, in `mono_us`.
    pub fn deadline(&self) -> Option<u64> {
        None
    }

    /// Leaves a note that the stop was clean; sync the store up to the returned batch, then drop
    /// the core. No step may follow.
    ///
    /// # Errors
    /// The note could not be written; the next start takes a new epoch, which is safe.
    pub fn close(&mut self) -> Result<Lsn, StoreError> {
        todo!()
    }

    /// The layout in force.
    pub fn layout(&self) -> Option<&Arc<Layout>> {
        None
    }

    /// Whether the node can serve clients.
    pub fn is_ready(&self) -> bool {
        false
    }

    /// Values of all metrics, gauges refreshed.
    pub fn metrics(&mut self) -> &Metrics {
        todo!()
    }

    /// Every object this node holds, read whole: for checks, not for serving.
    ///
    /// # Errors
    /// A row could not be read or failed its check.
    pub fn audit(&self) -> Result<BTreeMap<ObjectId, Audit>, StoreError> {
        todo!()
    }

    /// Hint marks waiting, for checks.
    pub fn hints_pending(&self) -> u64 {
        0
    }

    /// The store, for the shell's gauges and the simulator's checks.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// The store, for the simulator's crashes.
    pub fn store_mut(&mut self) -> &mut S {
        &mut self.store
    }

    /// Takes the store out: the node is dead.
    pub fn into_store(self) -> S {
        self.store
    }
}
