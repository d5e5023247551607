//! Every setting of the core in one struct, with its trade-off and a sensible range.

use crate::crdt::NodeId;
use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// Settings of one node's core.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// This node's name; its id is the hash of it.
    pub name: String,
    /// Until a request without `timeout_ms` is given up, ms. Longer rides out slow peers, shorter
    /// frees clients sooner. 500 to 30,000.
    pub timeout_ms: u32,
    /// Until a replica that has not answered a write gets a stand-in, or a read asks another one,
    /// ms. Shorter answers sooner at the cost of double work. 10 to 1,000.
    pub hedge_ms: u32,
    /// Between attempts to deliver hints to a member that is alive, ms. 100 to 60,000.
    pub hint_retry_ms: u32,
    /// Hint marks kept for one member; above it its partitions wait for anti-entropy instead.
    /// About 200 bytes each on disk.
    pub hints_max: u64,
    /// Between comparisons of digest trees with one peer after another, ms. Shorter heals what
    /// hints missed sooner, and costs traffic even when all is equal. 1,000 to 600,000.
    pub exchange_ms: u32,
    /// Between batches of 256 rows that are read only to see whether they are intact, ms. Shorter
    /// finds damage sooner, and reads more. At 1,000 a million rows take 65 minutes. 10 to 600,000;
    /// 0: never.
    pub scrub_ms: u32,
    /// Between the instant at which an object expires and the deletion of its content, s. Longer
    /// lets replicas whose clocks differ, and extensions that are on their way, find it still
    /// there; shorter frees the disk sooner. More than clocks can differ: 60 to 86,400.
    pub expiry_grace_s: u32,
    /// Until the context of a removed object may be collected, and between attempts to, ms. Longer
    /// keeps removed objects longer; shorter asks all members more often. A node that started less
    /// long ago takes no part, so it has to be longer than any request lasts: 60,000 to 3,600,000.
    pub settle_ms: u32,
    /// Client requests open at once; more are refused with `429`.
    pub requests_max: usize,
    /// A known bug put back on purpose, to prove that the simulator finds it.
    #[cfg(feature = "mutants")]
    pub mutant: Option<Mutant>,
}

macro_rules! mutants {
    ($($mutant:ident $name:literal $what:literal;)*) => {
        /// Known bugs that can be put back on purpose.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Mutant { $(#[doc = $what] $mutant,)* }

        impl Mutant {
            /// All of them.
            pub const ALL: &[Mutant] = &[$(Mutant::$mutant,)*];

            /// As it is named on the command line.
            pub fn name(self) -> &'static str {
                match self { $(Mutant::$mutant => $name,)* }
            }

            /// What is wrong with it.
            pub fn what(self) -> &'static str {
                match self { $(Mutant::$mutant => $what,)* }
            }
        }
    };
}

mutants! {
    SkipSync "skip-sync" "Acknowledge without a group commit.";
    AckBeforeW "ack-before-w" "Acknowledge with the first copy and say that there are W.";
    WallClockLww "wall-clock-lww" "Of concurrent values keep the one with the latest wall time.";
    DropHint "drop-hint" "Forget a hint mark instead of writing it, and never compare trees.";
    WrongMax "wrong-max" "In a counter keep the tally of the higher sum, not the newer one.";
    ForgetDot "forget-dot" "Forget the dots that a delta removed when joining it.";
    CollectEarly "collect-early" "Collect a stand-in's copy before it was handed over.";
    StaleLayout "stale-layout" "After a restart work with the owners of an earlier layout.";
    DoubleCount "double-count" "Apply an operation again that the network delivers again.";
    ForgetDoubles "forget-doubles" "Count what two replicas applied under one key twice.";
    ReuseActor "reuse-actor" "Begin each life of a node with the same epoch.";
    CountNotFound "count-not-found" "Count a stand-in's \"not found\" as a read of a replica.";
    IgnoreSyncError "ignore-sync-error" "Take a sync that failed for one that succeeded.";
    BlindDigest "blind-digest" "Leave some objects out of the digest trees.";
    DeadlineAsFailure "deadline-as-failure" "Call a write failed whose deadline passed.";
    SettleEarly "settle-early" "Agree that dots are stable without looking.";
    RepairWrongNode "repair-wrong-node" "Send what a replica lacks to another one.";
}

impl Config {
    /// The defaults, for the node called `name`.
    pub fn new(name: impl Into<String>) -> Self {
        Config {
            name: name.into(),
            timeout_ms: 5_000,
            hedge_ms: 100,
            hint_retry_ms: 1_000,
            hints_max: 1_000_000,
            exchange_ms: 60_000,
            scrub_ms: 1_000,
            expiry_grace_s: 600,
            settle_ms: 120_000,
            requests_max: 10_000,
            #[cfg(feature = "mutants")]
            mutant: None,
        }
    }

    /// Whether that bug was put back; never, unless built for the simulator.
    pub fn is_mutant(&self, mutant: Mutant) -> bool {
        #[cfg(feature = "mutants")]
        return self.mutant == Some(mutant);
        #[cfg(not(feature = "mutants"))]
        {
            let _ = mutant;
            false
        }
    }

    /// The id that goes with the name.
    pub fn id(&self) -> NodeId {
        NodeId::of_name(&self.name)
    }
}

/// A number of replicas: a count, or a share of the bucket's N.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, bincode::Encode, bincode::Decode,
)]
#[serde(rename_all = "lowercase")]
pub enum Quorum {
    /// One.
    One,
    /// More than half of N.
    Quorum,
    /// N.
    All,
    /// That many, 1 to N.
    #[serde(untagged)]
    Count(u8),
}

impl Quorum {
    /// How many replicas that is of `n`.
    pub fn of(self, n: usize) -> usize {
        match self {
            Quorum::One => 1,
            Quorum::Quorum => n / 2 + 1,
            Quorum::All => n,
            Quorum::Count(count) => count.into(),
        }
    }
}

/// When a replica acknowledges.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// After the group commit that holds the write.
    #[default]
    Sync,
    /// Before it; the sync follows within 100 ms.
    Batched,
}

/// How siblings are read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resolve {
    /// All of them.
    #[default]
    Siblings,
    /// The last one by the hybrid clock.
    Lww,
}

/// Properties of a bucket.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BucketProps {
    /// Replicas of each object, 1 to 7.
    pub n: u8,
    /// Replicas that answer a read.
    pub r: Quorum,
    /// Replicas that acknowledge a write.
    pub w: Quorum,
    /// Whether stand-ins count.
    pub sloppy: bool,
    /// When a replica acknowledges.
    pub durability: Durability,
    /// How siblings are read.
    pub resolve: Resolve,
    /// Seconds after which an object is absent, when the write that creates or replaces it does
    /// not say; at most ten years.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_seconds: Option<u32>,
}

impl Default for BucketProps {
    fn default() -> Self {
        BucketProps {
            n: 3,
            r: Quorum::Quorum,
            w: Quorum::Quorum,
            sloppy: true,
            durability: Durability::Sync,
            resolve: Resolve::Siblings,
            ttl_seconds: None,
        }
    }
}
