//! A scenario: a cluster, a workload and a schedule of faults, as people write them in a file.
//!
//! With `[drawn]` instead of cluster, network, bucket and workload, these follow from the seed as
//! in `starling-sim run --seed`, and only the faults are the file's: so a drawn run that failed can
//! be written down and made smaller.

mod fit;
mod place;
mod run;
mod words;

use crate::faults::{Kind, Plan, Scheduled};
use crate::network::Network;
use crate::node::Setting;
use crate::pbs::shape::Shape;
use crate::random::stream;
use crate::report::Model;
use crate::verdict::Params;
use crate::workload::{Paced, Workload};
use crate::world::Setup;
pub use place::{Misfit, parse, read};
pub use run::{Ran, run_setup, run_setup_quietly};
use serde::{Deserialize, Serialize};
use starling_node::config::{BucketProps, Config, Durability, Mutant, Quorum};
use starling_node::placement::LayoutMember;

/// Virtual time after healing in which all must be equal: nodes compare their digest trees with
/// one peer a minute, microseconds.
const CONVERGE_MAX_US: u64 = 900_000_000;

/// The whole file.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Short, lower case, for files and tables.
    pub name: String,
    /// One sentence: what happens.
    pub about: String,
    /// Everything that is drawn follows from it.
    pub seed: u64,
    /// How long faults and clients last, 1 to 604,800 virtual seconds; healing comes after.
    pub seconds: u64,
    /// Everything but the faults is drawn from the seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drawn: Option<Drawn>,
    /// Nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<Cluster>,
    /// What lies between them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Latencies>,
    /// Properties of the bucket of all objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<Bucket>,
    /// What clients do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<Paced>,
    /// What goes wrong.
    #[serde(default, rename = "fault", skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Entry>,
}

/// A run whose cluster, settings, network and workload follow from the seed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drawn {
    /// Nodes of the cluster, 3 to 1,000.
    pub nodes: usize,
}

/// Nodes of the cluster.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// The zone of each node; 3 to 1,000.
    pub zones: Vec<String>,
    /// How long a process needs to start again before it takes part, ms; 0 to 60,000, drawn
    /// between half and one and a half of it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub start_ms: u64,
    /// How long somebody needs who asks all nodes whether they have recovered, ms; 0 to 60,000.
    /// The next look begins 100 ms later; where it is 0, all is seen at once, every 50 ms.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub look_ms: u64,
}

/// One-way latencies of a message, ms; each is drawn between half and one and a half of it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Latencies {
    /// Inside a zone.
    pub within_ms: f64,
    /// From zone to zone.
    pub between_ms: f64,
    /// Messages between nodes pass over connections as TCP makes them, which send again what is
    /// lost and end when nothing is confirmed for seconds; else a message is lost or not, each by
    /// itself.
    #[serde(default, skip_serializing_if = "is_false")]
    pub tcp: bool,
    /// Instead, between two zones, in both directions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pairs: Vec<Pair>,
}

impl Default for Latencies {
    fn default() -> Self {
        Latencies { within_ms: 0.25, between_ms: 1.5, tcp: false, pairs: Vec::new() }
    }
}

/// Two zones that are nearer or farther than others.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    /// One.
    pub a: String,
    /// The other.
    pub b: String,
    /// Between them, ms.
    pub ms: f64,
}

/// Properties of the bucket; the defaults of a new bucket unless said.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bucket {
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
}

impl Default for Bucket {
    fn default() -> Self {
        let BucketProps { n, r, w, sloppy, durability, .. } = BucketProps::default();
        Bucket { n, r, w, sloppy, durability }
    }
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
    pub fault: Kind,
}

impl Entry {
    /// As a scenario's file says it.
    pub fn of(scheduled: &Scheduled) -> Entry {
        let seconds = |ms: u64| ms as f64 / 1e3;
        let (from_s, until_s) = (seconds(scheduled.from_ms), seconds(scheduled.until_ms));
        Entry { from_s, until_s, fault: scheduled.fault.clone() }
    }

    /// As a run takes it.
    pub fn scheduled(&self) -> Scheduled {
        let ms = |s: f64| (s * 1e3).round() as u64;
        let (from_ms, until_ms) = (ms(self.from_s), ms(self.until_s));
        Scheduled { from_ms, until_ms, fault: self.fault.clone() }
    }
}

fn is_false(truth: &bool) -> bool {
    !truth
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Scenario {
    /// The drawn run of those parameters, its faults written down.
    pub fn of_drawn(params: &Params) -> Scenario {
        let plan = Setup::of_seed(params.clone()).plan;
        let Params { seed, nodes, seconds, .. } = *params;
        Scenario {
            name: format!("seed-{seed}"),
            about: format!("The run that seed {seed} draws."),
            seed,
            seconds,
            drawn: Some(Drawn { nodes }),
            cluster: None,
            network: None,
            bucket: None,
            workload: None,
            faults: plan.iter().map(Entry::of).collect(),
        }
    }

    /// How many nodes it has.
    pub fn nodes(&self) -> usize {
        let zones = self.cluster.as_ref().map_or(0, |cluster| cluster.zones.len());
        self.drawn.map_or(zones, |drawn| drawn.nodes)
    }

    /// The faults in the order in which they begin.
    pub fn plan(&self) -> Plan {
        let mut plan: Plan = self.faults.iter().map(Entry::scheduled).collect();
        plan.sort_by_key(|fault| (fault.from_ms, fault.until_ms));
        plan
    }

    /// The same, `seconds` long: the times of faults shrink with it.
    #[must_use]
    pub fn shortened(&self, seconds: u64) -> Scenario {
        let share = seconds as f64 / self.seconds as f64;
        let mut short = Scenario { seconds, ..self.clone() };
        for entry in &mut short.faults {
            entry.from_s *= share;
            entry.until_s *= share;
        }
        short
    }

    /// Everything that a run is made of.
    pub fn setup(&self, mutant: Option<Mutant>) -> Setup {
        let (seed, nodes, seconds) = (self.seed, self.nodes(), self.seconds);
        let params = Params { seed, nodes, seconds, mutant, family: None };
        let plan = self.plan();
        let (Some(cluster), Some(paced), None) = (&self.cluster, &self.workload, self.drawn) else {
            return Setup { plan, ..Setup::of_seed(params) };
        };
        let Bucket { n, r, w, sloppy, durability } = self.bucket.clone().unwrap_or_default();
        let props = BucketProps { n, r, w, sloppy, durability, ..BucketProps::default() };
        Setup {
            params,
            zones: cluster.zones.clone(),
            setting: Setting::defaults(),
            network: Network::of_means(stream(seed, "network"), &self.means_us(cluster)),
            workload: Workload::of_scenario(stream(seed, "workload"), paced.clone()),
            clients: paced.clients,
            plan,
            props: (props != BucketProps::default()).then_some(props),
            connections: self.network.as_ref().is_some_and(|network| network.tcp),
            start_us: cluster.start_ms * 1_000,
            look_us: cluster.look_ms * 1_000,
            converge_max_us: CONVERGE_MAX_US,
        }
    }

    /// What the model of staleness takes of it; nothing where the cluster is drawn.
    pub fn model(&self) -> Option<Model> {
        let cluster = self.cluster.as_ref()?;
        let Bucket { n, r, w, durability, .. } = self.bucket.clone().unwrap_or_default();
        let member = |(node, zone): (usize, &String)| LayoutMember {
            id: Shape::id(node),
            name: Shape::name(node),
            zone: zone.clone(),
            capacity: 1,
        };
        let members = cluster.zones.iter().enumerate().map(member).collect();
        let nodes = cluster.zones.len();
        let shape = Shape {
            durability,
            hedge_us: u64::from(Config::new("").hedge_ms) * 1_000,
            means_us: self.means_us(cluster),
            // As long as the world's disks take.
            sync: "uniform:0.1,2".parse().ok()?,
            lists: Shape::lists_of(members, n.into()),
            ..Shape::at_once(nodes, n.into()).ok()?
        };
        Some(Model { shape, r, w, seed: self.seed })
    }

    /// Mean latency by (from, to), microseconds.
    fn means_us(&self, cluster: &Cluster) -> Vec<Vec<u64>> {
        let latencies = self.network.clone().unwrap_or_default();
        let mean = |from: &String, to: &String| {
            let joins =
                |pair: &&Pair| (&pair.a, &pair.b) == (from, to) || (&pair.b, &pair.a) == (from, to);
            let ms = match latencies.pairs.iter().find(joins) {
                Some(pair) => pair.ms,
                None if from == to => latencies.within_ms,
                None => latencies.between_ms,
            };
            (ms * 1e3).round() as u64
        };
        let row = |from| cluster.zones.iter().map(|to| mean(from, to)).collect();
        cluster.zones.iter().map(row).collect()
    }
}
