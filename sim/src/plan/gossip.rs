//! What membership costs: real chitchat, all nodes in one round at the same instant, datagrams
//! without delay and loss.

use crate::gossip::{Gossip, INTERVAL_US, Identity};
use starling_node::crdt::NodeId;
use starling_node::placement::LayoutId;

/// Rounds within which all must have met, and within which a change must be known.
const ROUNDS_MAX: u32 = 100;
/// Rounds over which the steady traffic is counted.
const STEADY_ROUNDS: u64 = 4;
/// The change that spreads.
const CHANGE: LayoutId = LayoutId(7);

/// What was measured at one size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// Rounds from one node's change until all know it.
    pub rounds: f64,
    /// What all nodes together sent in these rounds, bytes.
    pub spread_bytes: f64,
    /// What a node sends when nothing changes, bytes per second.
    pub node_bytes_s: f64,
    /// The longest datagram, bytes.
    pub datagram_bytes: usize,
}

struct Run {
    gossip: Gossip,
    nodes: Vec<usize>,
    now_us: u64,
    longest: usize,
}

/// Measures a cluster of `nodes`, on a thread of its own whose randomness follows from `seed`.
///
/// # Errors
/// The nodes did not meet, or a change did not reach all, within 100 rounds.
pub fn measure(nodes: usize, seed: u64) -> Result<Cost, String> {
    let life = move || {
        crate::random::take_over(seed);
        Run::new(nodes).measure()
    };
    std::thread::spawn(life).join().map_err(|_| format!("gossip of {nodes} nodes stopped"))?
}

impl Run {
    fn new(nodes: usize) -> Run {
        let rounds = 2 * u64::from(ROUNDS_MAX) + STEADY_ROUNDS;
        let mut gossip = Gossip::new(nodes, rounds * INTERVAL_US);
        for node in 0..nodes {
            let (name, zone) = (name(node), format!("z{}", node % 3));
            let identity = Identity { name, zone, generation: 1, layout: LayoutId(1) };
            gossip.start(0, node, &identity);
        }
        Run { gossip, nodes: (0..nodes).collect(), now_us: 0, longest: 0 }
    }

    fn measure(mut self) -> Result<Cost, String> {
        let count = self.nodes.len();
        let mut met = 0;
        while !self.all(|gossip, node| gossip.view(node).iter().count() == count) {
            met += 1;
            if met > ROUNDS_MAX {
                return Err(format!("{count} nodes did not all meet in {ROUNDS_MAX} rounds"));
            }
            self.round();
        }
        // What the start left to say is said.
        for _ in 0..3 {
            self.round();
        }
        self.longest = 0;
        let steady: u64 = (0..STEADY_ROUNDS).map(|_| self.round()).sum();
        self.gossip.announce_layout(0, CHANGE);
        let (mut rounds, mut spread) = (0, 0);
        let changed = NodeId::of_name(&name(0));
        let knows = |gossip: &mut Gossip, node: usize| {
            gossip.view(node).get(changed).is_some_and(|member| member.layout == CHANGE)
        };
        while !self.all(knows) {
            rounds += 1;
            if rounds > ROUNDS_MAX {
                return Err(format!("a change did not reach {count} nodes in {ROUNDS_MAX} rounds"));
            }
            spread += self.round();
        }
        let seconds = STEADY_ROUNDS as f64 * INTERVAL_US as f64 / 1e6;
        Ok(Cost {
            rounds: f64::from(rounds),
            spread_bytes: spread as f64,
            node_bytes_s: steady as f64 / count as f64 / seconds,
            datagram_bytes: self.longest,
        })
    }

    fn all(&mut self, holds: impl Fn(&mut Gossip, usize) -> bool) -> bool {
        // The last to hear is likely to be the same as a round ago: looked at from the end.
        let gossip = &mut self.gossip;
        self.nodes.iter().rev().all(|node| holds(gossip, *node))
    }

    /// One round of all nodes; the bytes that were sent.
    fn round(&mut self) -> u64 {
        self.now_us += INTERVAL_US;
        self.gossip.tick(self.now_us, &self.nodes);
        let mut bytes = 0;
        loop {
            let sent = self.gossip.take_sent();
            if sent.is_empty() {
                return bytes;
            }
            for datagram in &sent {
                bytes += datagram.bytes.len() as u64;
                self.longest = self.longest.max(datagram.bytes.len());
                self.gossip.deliver(self.now_us, datagram);
            }
        }
    }
}

fn name(node: usize) -> String {
    format!("n{node}")
}

/// A straight line through points by least squares: (value at 0, slope).
pub fn line(points: &[(f64, f64)]) -> (f64, f64) {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let spread: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    let common: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let slope = if spread > 0.0 { common / spread } else { 0.0 };
    (y - slope * x, slope)
}
