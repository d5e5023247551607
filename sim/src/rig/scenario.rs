//! A scenario as it stands in its file: the same file goes to the simulator and to real processes.

use crate::faults::{self, Kind, Plan, Scheduled};
use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// The cluster has as many nodes at most: addresses end in their number.
pub const NODES_MAX: usize = 9;

/// The whole file.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Lower case, for files and tables.
    pub name: String,
    /// One sentence: what happens.
    pub about: String,
    /// Decides what is drawn.
    pub seed: u64,
    /// How long clients and faults last.
    pub seconds: u64,
    /// Nodes.
    pub cluster: Cluster,
    /// One-way latencies, for the simulator.
    pub network: Network,
    /// Properties of the bucket of all objects.
    pub bucket: Bucket,
    /// What clients do.
    pub workload: Workload,
    /// What goes wrong.
    #[serde(default)]
    pub fault: Vec<Entry>,
}

/// Nodes of the cluster.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// The zone of each.
    pub zones: Vec<String>,
    /// Until a process that is started again takes part, ms, for the simulator.
    #[serde(default)]
    pub start_ms: u64,
    /// What it takes to ask all nodes whether they have recovered, ms, for the simulator.
    #[serde(default)]
    pub look_ms: u64,
}

/// One-way latency of a message, ms.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Inside a zone.
    pub within_ms: f64,
    /// From zone to zone.
    pub between_ms: f64,
    /// Whether messages between nodes pass over connections, as those of real nodes do.
    #[serde(default)]
    pub tcp: bool,
}

/// Properties of the bucket.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bucket {
    /// Replicas.
    pub n: u8,
    /// Replicas that answer a read.
    pub r: String,
    /// Replicas that acknowledge a write.
    pub w: String,
    /// Whether stand-ins count.
    pub sloppy: bool,
    /// When a replica acknowledges.
    pub durability: String,
}

/// What clients do.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// How many; client `c` talks to node `c` modulo nodes only.
    pub clients: usize,
    /// Of all clients together, evenly spread.
    pub ops_per_second: u64,
    /// Keys of each type.
    pub keys: usize,
    /// Exponent of the Zipf distribution over keys.
    pub skew: f64,
    /// Share of the operations.
    pub reads: f64,
    /// Weights of the types.
    pub mix: BTreeMap<String, u32>,
}

/// A fault and when it is active.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// First moment, seconds.
    pub from_s: f64,
    /// First moment after it, seconds.
    pub until_s: f64,
    /// What.
    #[serde(flatten)]
    pub kind: Kind,
}

impl Scenario {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// It cannot be read, or says something that real processes cannot do.
    pub fn read(path: &Path) -> anyhow::Result<Scenario> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let scenario: Scenario =
            toml::from_str(&text).with_context(|| path.display().to_string())?;
        scenario.check().with_context(|| path.display().to_string())?;
        Ok(scenario)
    }

    /// The faults on the simulator's scale.
    pub fn plan(&self) -> Plan {
        let ms = |s: f64| (s * 1_000.0).round() as u64;
        let scheduled = |entry: &Entry| Scheduled {
            from_ms: ms(entry.from_s),
            until_ms: ms(entry.until_s),
            fault: entry.kind.clone(),
        };
        self.fault.iter().map(scheduled).collect()
    }

    fn check(&self) -> anyhow::Result<()> {
        let nodes = self.cluster.zones.len();
        ensure!((3..=NODES_MAX).contains(&nodes), "cluster.zones: 3 to {NODES_MAX} nodes");
        let bucket = Bucket::default();
        ensure!(self.bucket == bucket, "bucket: real nodes have the defaults, {bucket:?}");
        let load = &self.workload;
        ensure!((1..=256).contains(&load.clients), "workload.clients: 1 to 256");
        ensure!((1..=10_000).contains(&load.ops_per_second), "workload.ops_per_second: 1 to 10000");
        ensure!((1..=10_000).contains(&load.keys), "workload.keys: 1 to 10000");
        ensure!((0.0..=1.0).contains(&load.reads), "workload.reads: 0 to 1");
        let known = |name: &String| ["kv", "counter", "set", "flag"].contains(&name.as_str());
        ensure!(load.mix.keys().all(known), "workload.mix: of kv, counter, set and flag");
        ensure!(load.mix.values().sum::<u32>() > 0, "workload.mix: all weights are 0");
        faults::check(&self.plan(), nodes).map_err(anyhow::Error::msg)
    }
}

impl Default for Bucket {
    fn default() -> Self {
        Bucket {
            n: 3,
            r: "quorum".into(),
            w: "quorum".into(),
            sloppy: true,
            durability: "sync".into(),
        }
    }
}
