//! `starling-sim plan`: what clusters of several sizes cost. Measured where it can be run, computed
//! by the real placement and encoding where not, and said which is which.

pub mod exchange;
pub mod gossip;
pub mod hints;
mod print;
pub mod ring;

use crate::pbs::{progress, wrong_usage};
use clap::Args;
use hints::Load;
use serde::Serialize;
use starling_node::placement::{Layout, N_MAX};
use std::io;
use std::path::PathBuf;

/// Nodes at most: beyond it the gossip library's digests outgrow a datagram.
const NODES_MAX: usize = 1_000;
/// Nodes whose exchanges are added up.
const EXCHANGE_SAMPLES: usize = 4;
/// Clusters on which the debt of an outage is tried on real cores.
const TRIED: [usize; 3] = [3, 5, 9];

/// A question about sizes.
#[derive(Args, Clone, Debug)]
pub struct Plan {
    /// Sizes of the cluster
    #[arg(long, value_delimiter = ',', default_value = "3,9,30,100,300,1000")]
    nodes: Vec<usize>,
    /// Replicas of an object
    #[arg(long, default_value_t = 3)]
    n: u8,
    /// Zones that nodes are spread over
    #[arg(long, default_value_t = 3)]
    zones: usize,
    /// Capacities, in turn over the nodes
    #[arg(long, value_delimiter = ',', default_value = "1")]
    capacities: Vec<u32>,
    /// Run gossip for sizes up to this, extrapolate above; at least two sizes must be run
    #[arg(long, default_value_t = 100)]
    gossip_upto: usize,
    /// Writes of the whole cluster, a second
    #[arg(long, default_value_t = 1_000.0)]
    writes_s: f64,
    /// Rows they go to
    #[arg(long, default_value_t = 1_000_000,
        value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    rows: u64,
    /// Exponent of the rows' popularity (Zipf), 0 for all alike
    #[arg(long, default_value_t = 0.0)]
    zipf: f64,
    /// Length of the outage of one node, seconds
    #[arg(long, default_value_t = 600.0)]
    outage_s: f64,
    /// Between comparisons of trees with one peer, seconds
    #[arg(long, default_value_t = 60.0)]
    exchange_s: f64,
    /// Everything drawn follows from it
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Draw bytes a second over nodes into this SVG file
    #[arg(long)]
    plot: Option<PathBuf>,
}

/// Costs at one size.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Nodes.
    pub nodes: usize,
    /// Whether gossip was run at this size, or follows from the fit.
    pub gossip_measured: bool,
    /// Rounds until all know a change.
    pub gossip_rounds: f64,
    /// Bytes of all nodes in these rounds.
    pub gossip_spread_bytes: f64,
    /// Bytes a second that a node sends when nothing changes.
    pub gossip_node_bytes_s: f64,
    /// What the fullest node owns, relative to its fair share.
    pub owned_most: f64,
    /// What the emptiest node owns, relative to its fair share.
    pub owned_least: f64,
    /// Share of partitions whose owners are in as many zones as possible.
    pub zones_distinct: f64,
    /// Share of all copies made when a node joins, with the table computed anew.
    pub join_moves: f64,
    /// The least for a join.
    pub join_least: f64,
    /// Share of all copies made when a node leaves, with the table computed anew.
    pub leave_moves: f64,
    /// The least for a leave.
    pub leave_least: f64,
    /// Writes that an absent node with a mean share misses.
    pub outage_writes: f64,
    /// Marks that the others keep for it.
    pub outage_marks: f64,
    /// Bytes of these marks.
    pub outage_bytes: f64,
    /// Bytes of roots a second that a node sends while each exchange finds a difference.
    pub exchange_node_bytes_s: f64,
}

/// An outage on real cores.
#[derive(Clone, Debug, Serialize)]
pub struct Outage {
    /// Nodes.
    pub nodes: usize,
    /// Marks that were left.
    pub marks: u64,
    /// By the formula.
    pub expected: f64,
    /// Standard deviation of it.
    pub deviation: f64,
    /// Bytes of a mark.
    pub mark_bytes: f64,
}

/// The answer.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// By size.
    pub rows: Vec<Row>,
    /// The formula of the debt against real cores.
    pub outages: Vec<Outage>,
    /// Bytes a second and node over nodes: value at 0, and more for each node.
    pub bytes_fit: (f64, f64),
    /// Rounds over the binary logarithm of nodes: value at 1 node, and more for each doubling.
    pub rounds_fit: (f64, f64),
    /// Between comparisons of trees with one peer, seconds.
    pub exchange_s: f64,
    /// Length of the outage, seconds.
    pub outage_s: f64,
}

impl Plan {
    /// Says what is impossible.
    ///
    /// # Errors
    /// A sentence that names the option.
    pub fn check(&self) -> Result<(), String> {
        let positive = |value: f64| value.is_finite() && value > 0.0;
        let least = self.nodes.iter().copied().min().unwrap_or(0);
        if least < 2 || self.nodes.iter().any(|nodes| *nodes > NODES_MAX) {
            return Err(format!("--nodes takes sizes from 2 to {NODES_MAX}"));
        }
        if self.n == 0 || self.n > N_MAX || usize::from(self.n) > least {
            let n = self.n;
            return Err(format!("--n {n} is not from 1 to {N_MAX} and at most the least --nodes"));
        }
        if self.zones == 0 || self.zones > least {
            return Err(format!("--zones {} is not from 1 to the least --nodes", self.zones));
        }
        if self.capacities.contains(&0) {
            return Err("--capacities takes numbers from 1".into());
        }
        if !positive(self.writes_s) || !positive(self.outage_s) || !positive(self.exchange_s) {
            return Err("--writes-s, --outage-s and --exchange-s take numbers above 0".into());
        }
        if !(0.0..=10.0).contains(&self.zipf) {
            return Err("--zipf takes an exponent from 0 to 10".into());
        }
        let mut run: Vec<usize> =
            self.nodes.iter().copied().filter(|nodes| *nodes <= self.gossip_upto).collect();
        run.sort_unstable();
        run.dedup();
        if run.len() < 2 && run.len() < self.nodes.len() {
            return Err("--gossip-upto leaves fewer than two sizes to extrapolate from".into());
        }
        Ok(())
    }

    /// Answers it. Call [`Plan::check`] before.
    ///
    /// # Errors
    /// Gossip did not come to an end, or cores did not answer.
    pub fn answer(&self) -> Result<Report, String> {
        let bar = progress(!self.json);
        let mut sizes = self.nodes.clone();
        sizes.sort_unstable();
        sizes.dedup();
        bar.set_length(2 * sizes.len() as u64 + TRIED.len() as u64);
        let mut outages = Vec::new();
        for nodes in TRIED.into_iter().filter(|nodes| *nodes >= usize::from(self.n)) {
            bar.set_message(format!("outage of one of {nodes}"));
            let tried = hints::try_outage(nodes, self.n.into(), self.seed)?;
            let hints::Tried { marks, expected, deviation, mark_bytes } = tried;
            outages.push(Outage { nodes, marks, expected, deviation, mark_bytes });
            bar.inc(1);
        }
        let mut costs = Vec::new();
        for nodes in sizes.iter().copied().filter(|nodes| *nodes <= self.gossip_upto) {
            bar.set_message(format!("gossip of {nodes}"));
            costs.push((nodes, gossip::measure(nodes, self.seed)?));
            bar.inc(1);
        }
        let points = |of: fn(&(usize, gossip::Cost)) -> (f64, f64)| costs.iter().map(of).collect();
        let bytes: Vec<_> = points(|(nodes, cost)| (*nodes as f64, cost.node_bytes_s));
        let rounds: Vec<_> = points(|(nodes, cost)| ((*nodes as f64).log2(), cost.rounds));
        let (bytes_fit, rounds_fit) = (gossip::line(&bytes), gossip::line(&rounds));
        let mark_bytes = outages.iter().map(|outage| outage.mark_bytes).fold(0.0, f64::max);
        let mut rows = Vec::new();
        for nodes in sizes {
            bar.set_message(format!("placement of {nodes}"));
            let known = costs.iter().find(|(size, _)| *size == nodes).map(|(_, cost)| *cost);
            let cost = known.unwrap_or_else(|| extrapolate(nodes, bytes_fit, rounds_fit));
            rows.push(self.row(nodes, known.is_some(), cost, mark_bytes));
            bar.inc(1);
        }
        bar.finish_and_clear();
        let (exchange_s, outage_s) = (self.exchange_s, self.outage_s);
        Ok(Report { rows, outages, bytes_fit, rounds_fit, exchange_s, outage_s })
    }

    fn row(&self, nodes: usize, measured: bool, cost: gossip::Cost, mark_bytes: f64) -> Row {
        let layout = |nodes| Layout::first(ring::members(nodes, self.zones, &self.capacities));
        let (before, more) = (layout(nodes), layout(nodes + 1));
        // From one node more to this size, so that both have all members and one leaves.
        let (join, leave) =
            (ring::moves(&before, &more, self.n), ring::moves(&more, &before, self.n));
        let balance = ring::balance(&before, self.n);
        let share = before.replicas(self.n) as f64 / nodes as f64;
        let writes = self.writes_s * self.outage_s;
        let load = Load { rows: self.rows, zipf: self.zipf, writes };
        let marks = hints::expected_marks(&load, share, hints::holders(nodes, self.n.into()));
        let exchange = exchange::round_bytes(&before, self.n, EXCHANGE_SAMPLES);
        Row {
            nodes,
            gossip_measured: measured,
            gossip_rounds: cost.rounds,
            gossip_spread_bytes: cost.spread_bytes,
            gossip_node_bytes_s: cost.node_bytes_s,
            owned_most: balance.most,
            owned_least: balance.least,
            zones_distinct: balance.zones_distinct,
            join_moves: join.anew,
            join_least: join.least,
            leave_moves: leave.anew,
            leave_least: leave.least,
            outage_writes: writes * share,
            outage_marks: marks,
            outage_bytes: marks * mark_bytes,
            exchange_node_bytes_s: exchange / self.exchange_s,
        }
    }
}

/// Bytes follow the number of ids in a digest, rounds the number of doublings.
fn extrapolate(nodes: usize, bytes: (f64, f64), rounds: (f64, f64)) -> gossip::Cost {
    let node_bytes_s = bytes.0 + bytes.1 * nodes as f64;
    let rounds = (rounds.0 + rounds.1 * (nodes as f64).log2()).max(1.0);
    let round_s = crate::gossip::INTERVAL_US as f64 / 1e6;
    let spread_bytes = rounds * round_s * node_bytes_s * nodes as f64;
    gossip::Cost { rounds, spread_bytes, node_bytes_s, datagram_bytes: 0 }
}

/// Does what was asked.
///
/// # Errors
/// A measurement did not come to an end, or a file could not be written.
pub fn run(args: &Plan) -> io::Result<bool> {
    args.check().unwrap_or_else(|problem| wrong_usage(&problem));
    let report = args.answer().map_err(io::Error::other)?;
    match args.json {
        true => crate::say!("{}", serde_json::to_string_pretty(&report)?),
        false => crate::out::print(format_args!("{}", print::report(&report))),
    }
    if let Some(path) = &args.plot {
        print::plot(&report, path)?;
    }
    Ok(true)
}
