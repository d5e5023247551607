//! What a client can ask of a node and what it is told: the public side of the core's seam.

use crate::cluster::Member;
use crate::config::BucketProps;
pub use crate::config::Quorum;
use crate::crdt::{
    CausalContext, Object, ObjectId, ObjectOp, Once, OpError, Real, SeenContext, Ttl,
};
use crate::placement::{Layout, LayoutId};
use crate::wire::peer::ReplicaReport;
use thiserror::Error;

/// Names a request within one node; the shell draws it and never reuses one that is open.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RequestId(pub u64);

/// How many replicas must hold a write on disk before it is acknowledged, besides W.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Durable {
    /// What the bucket's durability gives.
    #[default]
    Default,
    /// None; W replicas have it in memory.
    None,
    /// At least one.
    One,
    /// More than half of N.
    Quorum,
    /// N.
    All,
}

/// Per-request settings; `None` means the bucket's.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// Replicas that answer a read.
    pub r: Option<Quorum>,
    /// Replicas that acknowledge a write.
    pub w: Option<Quorum>,
    /// Owners that answer a read.
    pub pr: Option<Quorum>,
    /// Owners that acknowledge a write.
    pub pw: Option<Quorum>,
    /// Distinct zones among the replicas that acknowledge a write.
    pub zones: Option<u8>,
    /// Replicas that have a write on disk.
    pub durable: Durable,
    /// Milliseconds until the request is given up, 1 to 60,000.
    pub timeout_ms: Option<u32>,
    /// What a write says of the expiry.
    pub ttl: Option<Ttl>,
    /// The key under which a change of a counter counts once, whoever is asked again.
    pub once: Option<Box<Once>>,
}

/// A client's request.
#[derive(Clone, PartialEq, Debug)]
pub enum Request {
    /// Change one object. A removal of a whole object without a context reads at R first.
    Write {
        /// Which object.
        object: ObjectId,
        /// What to do.
        op: ObjectOp,
        /// How.
        options: Options,
    },
    /// Read one object or a part of it.
    Read {
        /// Which object.
        object: ObjectId,
        /// Which part.
        query: ReadQuery,
        /// How.
        options: Options,
    },
    /// Every replica's view of one object.
    Explain {
        /// Which object.
        object: ObjectId,
    },
    /// A bucket's properties in force.
    GetBucket {
        /// Its name.
        bucket: String,
    },
    /// Set a bucket's properties.
    PutBucket {
        /// Its name.
        bucket: String,
        /// All of them.
        props: BucketProps,
    },
    /// Back to the defaults.
    DeleteBucket {
        /// Its name.
        bucket: String,
    },
    /// The cluster as this node sees it.
    Cluster,
    /// Form the first layout from the members alive now.
    FormLayout {
        /// Refused unless so many members are alive, at least 1.
        expect_members: u16,
    },
}

/// Which part of an object to read.
#[derive(Clone, PartialEq, Eq, Debug, bincode::Encode, bincode::Decode)]
pub enum ReadQuery {
    /// All of a small object.
    Whole,
    /// One member of a set.
    Member(Vec<u8>),
    /// Members of a set in order.
    Page {
        /// Only those after this one.
        after: Option<Vec<u8>>,
        /// Only those that begin so.
        prefix: Vec<u8>,
        /// At most so many, 0 to 1,000. 0 reads the context alone.
        limit: u32,
    },
    /// Members of a sorted set by score.
    Scores(ByScore),
    /// These rows of a collection, present or not.
    Members(Vec<Vec<u8>>),
}

/// Members of a sorted set in the order of their scores, those of one score in that of their
/// bytes.
#[derive(Clone, PartialEq, Eq, Debug, Default, bincode::Encode, bincode::Decode)]
pub struct ByScore {
    /// Only those with this score or more.
    pub min: Option<Real>,
    /// Only those with this score or less.
    pub max: Option<Real>,
    /// Only those behind this place, see [`crate::crdt::zset::place`].
    pub after: Option<Vec<u8>>,
    /// From the highest score to the lowest.
    pub desc: bool,
    /// At most so many, 1 to 1,000.
    pub limit: u32,
}

/// Who has acknowledged a write.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Acks {
    /// Owners that have it.
    pub owners: u32,
    /// Stand-ins that have it, each with a hint for an owner.
    pub hints: u32,
    /// Replicas among both that have it on disk.
    pub durable: u32,
}

/// A node's answer.
#[derive(Clone, PartialEq, Debug)]
pub enum Reply {
    /// The write is acknowledged as asked.
    Written(Written),
    /// The read.
    Read(ReadResult),
    /// One report a replica that answered.
    Explained {
        /// Owners first, in the order of the preference list.
        replicas: Vec<ReplicaReport>,
        /// Replicas that did not answer, by name.
        silent: Vec<String>,
        /// The layout used.
        layout: LayoutId,
        /// The object's partition.
        partition: u16,
    },
    /// Properties of a bucket.
    Bucket(BucketProps),
    /// The cluster.
    Cluster(Box<ClusterStatus>),
    /// The request was not carried out as asked.
    Failed(Failure),
}

/// An acknowledged write.
#[derive(Clone, PartialEq, Debug)]
pub struct Written {
    /// Who has it.
    pub acks: Acks,
    /// The value at the replica that applied it: small types whole, a set only its header.
    pub object: Object,
    /// What a client that reads this answer has seen.
    pub seen: SeenContext,
    /// The dots that the write made and those that it removed, for checks.
    pub said: CausalContext,
}

/// A read.
#[derive(Clone, PartialEq, Debug)]
pub struct ReadResult {
    /// The merged state, of a set the page asked for.
    pub object: Object,
    /// Whether the object is there (for a member query: the member).
    pub present: bool,
    /// Members of the set in all.
    pub count: u64,
    /// Where the next page begins (`after`), if there is more.
    pub next: Option<Vec<u8>>,
    /// Replicas asked.
    pub asked: u32,
    /// Replicas that answered.
    pub answered: u32,
    /// Replicas found stale, now being repaired.
    pub repaired: u32,
    /// From when on the object is absent, seconds since the Unix epoch; `None`: never.
    pub expires_at: Option<u64>,
    /// Seconds until then.
    pub left_s: Option<u64>,
    /// How the bucket wants siblings read.
    pub resolve: crate::config::Resolve,
}

/// The cluster as one node sees it.
#[derive(Clone, PartialEq, Debug)]
pub struct ClusterStatus {
    /// This node's name.
    pub node: String,
    /// The layout in force, if one was formed.
    pub layout: Option<Layout>,
    /// Known members, by name.
    pub members: Vec<MemberStatus>,
    /// Whether this node can serve: it has a layout and is part of it.
    pub ready: bool,
}

/// One member as another sees it.
#[derive(Clone, PartialEq, Debug)]
pub struct MemberStatus {
    /// What it says of itself.
    pub member: Member,
    /// Partitions it owns for N=3.
    pub partitions: u32,
    /// Hint marks this node holds for it.
    pub hints_owed: u64,
}

/// Why a request was not carried out as asked. The text says what to do where something can be.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum Failure {
    /// Nothing was applied.
    #[error("{0}")]
    Unavailable(String),
    /// It may have been applied: so many acknowledged in time.
    #[error(
        "the deadline passed with {} owners and {} stand-ins holding the write",
        .0.owners, .0.hints
    )]
    Unknown(Acks),
    /// A parameter has an impossible value; nothing was applied.
    #[error("{parameter}: {detail}")]
    BadParameter {
        /// The query parameter.
        parameter: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// The type refused the operation; nothing was applied.
    #[error(transparent)]
    Refused(OpError),
    /// Too much is waiting; nothing was applied.
    #[error("too many requests are waiting")]
    Overloaded,
    /// The disk of the applying replica is full; nothing was applied.
    #[error("the disk is full")]
    DiskFull,
    /// The object cannot be read intact at any replica that answered; nothing was applied.
    #[error("stored data failed its check: {0}")]
    Corrupt(String),
    /// The cluster is not in a state for this; nothing was changed.
    #[error("{0}")]
    Conflict(String),
}
