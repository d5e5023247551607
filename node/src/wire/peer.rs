//! What nodes say to each other. A node's coordinator talks to its own replica with the same
//! messages.

use super::api::ReadQuery;
use crate::crdt::{
    Actor, CausalContext, Dot, NodeId, Object, ObjectId, ObjectOp, Once, OpError, Stable,
    StableByBucket, Ttl,
};
use crate::placement::{Layout, LayoutId};
use bincode::{Decode, Encode};

/// Names an operation of one coordinator; an answer carries the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode)]
pub struct OpId(pub u64);

/// One message between nodes.
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub struct PeerMessage {
    /// The layout the sender works with.
    pub layout: LayoutId,
    /// What it says.
    pub body: PeerBody,
}

/// The content of a message.
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub enum PeerBody {
    /// Apply a client's operation and return the delta.
    Apply {
        /// For the answer.
        op: OpId,
        /// Which object.
        object: ObjectId,
        /// What to do.
        action: ObjectOp,
        /// What it says of the expiry.
        ttl: Option<Ttl>,
        /// The key under which it counts once.
        once: Option<Box<Once>>,
        /// Owners that the receiver stands in for.
        hint_for: Vec<NodeId>,
    },
    /// Answer to `Apply`. With durability `sync` it comes twice: with the delta as soon as it is
    /// readable, and again, `durable`, when it is on disk.
    Applied {
        /// Of the request.
        op: OpId,
        /// The delta, the state after it (small types whole, a set its header).
        outcome: Result<Box<Applied>, Refusal>,
    },
    /// The delta is on disk.
    AppliedDurable {
        /// Of the request.
        op: OpId,
    },
    /// Join a delta.
    Join {
        /// For the answer.
        op: OpId,
        /// Which object.
        object: ObjectId,
        /// What to join.
        delta: Object,
        /// The note about it, and what to join there.
        note: Option<Box<(ObjectId, Object)>>,
        /// Owners that the receiver stands in for.
        hint_for: Vec<NodeId>,
    },
    /// Answer to `Join`; comes twice when the first was not durable.
    Joined {
        /// Of the request.
        op: OpId,
        /// Whether it is on disk, or why it was not joined.
        outcome: Result<bool, Refusal>,
    },
    /// Read an object or a part of it.
    Get {
        /// For the answer.
        op: OpId,
        /// Which object.
        object: ObjectId,
        /// Which part.
        query: ReadQuery,
        /// Only the digest, not the state.
        digest_only: bool,
    },
    /// Answer to `Get`.
    Got {
        /// Of the request.
        op: OpId,
        /// What is there.
        outcome: Result<Answer, Refusal>,
    },
    /// Report everything about an object.
    Inspect {
        /// For the answer.
        op: OpId,
        /// Which object.
        object: ObjectId,
    },
    /// Answer to `Inspect`.
    Inspected {
        /// Of the request.
        op: OpId,
        /// The report.
        report: Box<ReplicaReport>,
    },
    /// Deltas that the sender owed the receiver.
    Handoff {
        /// For the answer; grows with each batch.
        batch: u64,
        /// At most 256 deltas.
        items: Vec<(ObjectId, Object)>,
    },
    /// The deltas of that batch are on disk.
    HandoffDone {
        /// Of the `Handoff`.
        batch: u64,
    },
    /// State for an owner that a read or an exchange found stale. Needs no answer.
    Repair {
        /// Which object.
        object: ObjectId,
        /// What to join.
        delta: Object,
    },
    /// Send your rows of this set from `after` on: the sender is stale.
    PullRows {
        /// Which object.
        object: ObjectId,
        /// Exclusive lower bound.
        after: Option<Vec<u8>>,
    },
    /// One page of rows: the first of a large set, or the one pulled.
    Rows {
        /// Which object.
        object: ObjectId,
        /// A page: `Covers::Range`, with the sender's whole context at that moment.
        page: Object,
        /// Where to go on, `None` when this was the last page.
        next: Option<Vec<u8>>,
    },
    /// Pull the rows of this set from that peer: a read found the receiver stale.
    PullFrom {
        /// Which object.
        object: ObjectId,
        /// Who has rows the receiver lacks.
        peer: NodeId,
    },
    /// Roots of the sender's digest trees.
    Roots(Vec<TreeRoot>),
    /// Leaves of one tree whose roots differ.
    Leaves {
        /// Partition.
        partition: u16,
        /// Replication factor of the buckets in this tree.
        n: u8,
        /// One digest per leaf.
        leaves: Vec<u64>,
    },
    /// Objects in the leaves that differ, with digests.
    Objects {
        /// Partition.
        partition: u16,
        /// Replication factor of the buckets in this tree.
        n: u8,
        /// Objects after this one, `None` from the first.
        after: Option<ObjectId>,
        /// The leaves compared, as bits.
        leaves: u64,
        /// At most 1,024, in order.
        objects: Vec<(ObjectId, u64)>,
        /// Whether the sender has more in these leaves.
        more: bool,
    },
    /// Send me the state of these objects.
    Pull(Vec<ObjectId>),
    /// The layout I work with.
    LayoutIs(Option<Box<Layout>>),
    /// A digest over the roots of all trees that sender and receiver have in common and that hold
    /// anything. Differs: the receiver answers with its `Roots`.
    Summary(u64),
    /// Answer to `Pull`: the sender owns these objects and has nothing of them that is intact.
    Lacks(Vec<ObjectId>),
    /// Give me rights of this bounded counter.
    RightsWanted {
        /// Which object.
        object: ObjectId,
        /// The ledger that gets them.
        to: Dot,
        /// What it has.
        have: u64,
        /// What a decrement lacks; 0 to even out.
        amount: u64,
    },
    /// Answer to `RightsWanted`, when it is on disk.
    RightsGiven {
        /// Which object.
        object: ObjectId,
        /// The gift; empty when there is none.
        delta: Object,
    },
    /// About which dots are stable among the objects of one digest tree.
    Settle {
        /// Partition.
        partition: u16,
        /// Replication factor of the buckets in this tree.
        n: u8,
        /// What about it.
        what: Settle,
    },
    /// The sender does not know that all owners have the writes of these operations, which it sent
    /// to apply: owe to the owners named what was applied of them, and apply none that comes later.
    Unheard(Vec<(OpId, Vec<NodeId>)>),
    /// Answer to `Unheard`: it is so, and on disk.
    Owed(Vec<OpId>),
}

/// A step towards knowing what is stable.
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub enum Settle {
    /// The tree's first owner asks every member whether these dots are known wherever they must.
    Ask {
        /// For the answer.
        number: u64,
        /// Root of its tree.
        root: u64,
        /// A digest of the replication factors of all buckets as it knows them.
        factors: u64,
        /// The dots.
        stable: Stable,
    },
    /// They are, as far as the sender is concerned, who gives out later ones only from now on.
    Agree {
        /// Of the `Ask`.
        number: u64,
    },
    /// All members agreed.
    Done {
        /// Of the `Ask`.
        number: u64,
    },
    /// The sender, an owner, keeps nothing of this object any more: it is removed, and all of it is
    /// stable.
    Forgotten {
        /// Which object.
        object: ObjectId,
        /// What was seen of it.
        dots: CausalContext,
    },
    /// These dots are stable; an owner whose tree is equal may take them for it.
    Known {
        /// Root of the sender's tree as it is without what need not be kept.
        root: u64,
        /// As in `Ask`.
        factors: u64,
        /// The dots.
        stable: StableByBucket,
    },
}

impl PeerBody {
    /// Whether the states and contexts in it are ones that a node can have: a decoded message that
    /// fails this is dropped.
    pub fn is_sound(&self) -> bool {
        match self {
            PeerBody::Apply { action, .. } => action.is_canonical(),
            PeerBody::Applied { outcome: Ok(applied), .. } => {
                let note = applied.note.as_ref();
                applied.delta.is_canonical()
                    && applied.state.is_canonical()
                    && note.is_none_or(|note| note.1.is_canonical())
            }
            PeerBody::Join { delta, note, .. } => {
                delta.is_canonical() && note.as_ref().is_none_or(|note| note.1.is_canonical())
            }
            PeerBody::Repair { delta, .. } | PeerBody::RightsGiven { delta, .. } => {
                delta.is_canonical()
            }
            PeerBody::Got { outcome: Ok(answer), .. } => {
                answer.state.as_ref().is_none_or(Object::is_canonical)
            }
            PeerBody::Inspected { report, .. } => {
                report.state.as_ref().is_none_or(Object::is_canonical)
            }
            PeerBody::Handoff { items, .. } => items.iter().all(|(_, delta)| delta.is_canonical()),
            PeerBody::Rows { page, .. } => page.is_canonical(),
            PeerBody::Settle { what: Settle::Forgotten { dots, .. }, .. } => dots.is_canonical(),
            PeerBody::Settle { what: Settle::Known { stable, .. }, .. } => stable.is_sound(),
            _ => true,
        }
    }
}

/// What applying an operation gave.
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub struct Applied {
    /// What to join at the other replicas.
    pub delta: Object,
    /// State after it; of a set its header without rows.
    pub state: Object,
    /// The note about it, and what to join there.
    pub note: Option<Box<(ObjectId, Object)>>,
    /// It was applied before, by that dot: `delta` is all that the replica holds.
    pub again: Option<Dot>,
    /// Whether it is on disk already, or need not be (durability `batched`).
    pub settled: bool,
}

/// What a replica holds of what was asked.
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub struct Answer {
    /// Over the whole object's state; equal states have equal digests.
    pub digest: u64,
    /// Whether the replica knows anything of the object, be it a removal.
    pub known: bool,
    /// Members of a set, 0 or 1 otherwise.
    pub count: u64,
    /// The state, unless only the digest was asked.
    pub state: Option<Object>,
    /// Whether there are members after the page.
    pub more: bool,
    /// With a state of an owner: what is stable among the objects of its tree, and so known to it.
    pub stable: Stable,
}

/// Root of one digest tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct TreeRoot {
    /// Partition.
    pub partition: u16,
    /// Replication factor of the buckets in this tree.
    pub n: u8,
    /// XOR over its objects.
    pub root: u64,
}

/// Why a replica did not do what it was asked. Nothing was changed.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Refusal {
    /// The type refused.
    Op(OpError),
    /// No space.
    DiskFull,
    /// The stored object failed its check.
    Corrupt(String),
    /// The replica's store failed; it is stopping.
    Failed(String),
    /// The receiver is no owner and may keep no more marks for the one it would stand in for.
    HintsFull,
    /// The replica works with another layout, under which it does not hold this object.
    Misdirected,
    /// What was to be joined is a copy of something removed long ago.
    Stale,
}

/// Everything one replica knows of an object.
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub struct ReplicaReport {
    /// Whose report.
    pub node: NodeId,
    /// Whether it owns the object under its layout.
    pub owner: bool,
    /// The layout it works with.
    pub layout: LayoutId,
    /// Over the whole state.
    pub digest: u64,
    /// The state; of a set the header and the first 100 rows.
    pub state: Option<Object>,
    /// Members of a set, 0 or 1 otherwise.
    pub count: u64,
    /// Bytes of the header row.
    pub header_bytes: u64,
    /// Hint marks it holds for this object: owed to whom, which dots.
    pub owed: Vec<(NodeId, CausalContext)>,
    /// The actor of its present life: what others of this node wrote is never extended.
    pub actor: Actor,
    /// Why the state could not be read.
    pub error: Option<String>,
}
