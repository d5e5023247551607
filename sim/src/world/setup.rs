//! What a run is made of, drawn from its seed.

use crate::faults::{self, Plan};
use crate::network::Network;
use crate::node::Setting;
use crate::random::stream;
use crate::verdict::Params;
use crate::workload::Workload;
use rand::Rng as _;
use starling_node::config::BucketProps;

/// Clients of a run that is drawn.
const CLIENTS: usize = 12;
/// Virtual time after healing in which all must be equal in a run that is drawn, whose cores
/// compare their trees every few seconds, microseconds.
const CONVERGE_MAX_US: u64 = 30_000_000;

/// Everything that is settled before anything happens.
pub struct Setup {
    /// Seed, size and length.
    pub params: Params,
    /// Failure domain of each node, by place.
    pub zones: Vec<String>,
    /// Settings of all cores.
    pub setting: Setting,
    /// The network among the nodes.
    pub network: Network,
    /// What clients do.
    pub workload: Workload,
    /// How many clients there are.
    pub clients: usize,
    /// What goes wrong.
    pub plan: Plan,
    /// Properties of the bucket of all objects, where they are not the defaults.
    pub props: Option<BucketProps>,
    /// Whether messages between nodes pass over connections.
    pub connections: bool,
    /// Until a process that is started again runs, microseconds: drawn between half and one and a
    /// half of it.
    pub start_us: u64,
    /// How long somebody needs who looks whether the cluster has recovered, microseconds.
    pub look_us: u64,
    /// Virtual time after healing in which all must be equal, microseconds.
    pub converge_max_us: u64,
}

impl Setup {
    /// Everything drawn from the seed.
    pub fn of_seed(params: Params) -> Setup {
        let seed = params.seed;
        let mut rng = stream(seed, "setting");
        let zones: Vec<usize> = (0..params.nodes)
            .map(|node| match node {
                0..3 => node,
                _ => rng.random_range(0..3),
            })
            .collect();
        let mut faults = stream(seed, "faults");
        let family = params.family.as_deref();
        Setup {
            setting: Setting::draw(&mut rng),
            network: Network::draw(stream(seed, "network"), &zones),
            workload: Workload::new(stream(seed, "workload"), CLIENTS),
            clients: CLIENTS,
            plan: faults::draw(&mut faults, params.nodes, params.seconds, family),
            zones: zones.iter().map(|zone| format!("z{zone}")).collect(),
            props: None,
            connections: false,
            start_us: 0,
            look_us: 0,
            converge_max_us: CONVERGE_MAX_US,
            params,
        }
    }
}
