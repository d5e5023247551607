//! What holds at one moment of a run: links, machines and load.

use super::some_nodes;
use crate::network::Link;
use crate::random::Rng;
use rand::Rng as _;
use serde::{Deserialize, Serialize};

/// How a node that is down was stopped; a later one prevails over an earlier one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stop {
    /// In order.
    Clean,
    /// In the middle of a write: the last batch is lost.
    Torn,
    /// Without warning: what was not synced may be lost, the latest first.
    #[default]
    Crash,
    /// Without warning, and nothing is left of what was not synced.
    Unsynced,
}

/// One machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Machine {
    /// Whether it is down, and how it was stopped.
    pub down: Option<Stop>,
    /// Whether it stands still.
    pub paused: bool,
    /// How far its wall clock is off, ms.
    pub skew_ms: i64,
    /// Added to each sync at most, microseconds.
    pub sync_us: u64,
    /// Whether its next sync fails.
    pub sync_fails: bool,
    /// Whether its disk is full.
    pub full: bool,
}

impl Machine {
    /// Takes it down, in the harsher way when it is down already.
    pub(super) fn take_down(&mut self, stop: Stop) {
        self.down = self.down.max(Some(stop));
    }
}

/// How clients ask.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Load {
    /// How many times as often as usual.
    pub times: u64,
    /// How often an operation that was not acknowledged is asked again at once.
    pub retries: u32,
}

/// What holds at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conditions {
    /// By (from, to).
    pub links: Vec<Vec<Link>>,
    /// By node.
    pub machines: Vec<Machine>,
    /// Of all clients.
    pub load: Load,
}

impl Conditions {
    /// Nothing is wrong.
    pub fn fair(nodes: usize) -> Self {
        Conditions {
            links: vec![vec![Link::default(); nodes]; nodes],
            machines: vec![Machine::default(); nodes],
            load: Load { times: 1, retries: 0 },
        }
    }

    /// Changes every link for which `which(from, to)` holds.
    pub(super) fn each_link(
        &mut self,
        which: impl Fn(usize, usize) -> bool,
        change: impl Fn(&mut Link),
    ) {
        for (from, row) in self.links.iter_mut().enumerate() {
            for (to, link) in row.iter_mut().enumerate() {
                if from != to && which(from, to) {
                    change(link);
                }
            }
        }
    }

    /// Cuts every link for which `which(from, to)` holds.
    pub(super) fn cut_between(&mut self, which: impl Fn(usize, usize) -> bool) {
        self.each_link(which, |link| link.cut = true);
    }
}

/// Which links a network fault touches.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Where {
    /// All.
    #[default]
    Everywhere,
    /// From and to one node.
    Around(usize),
    /// Between two nodes, in both directions.
    Between(usize, usize),
}

impl Where {
    pub(super) fn draw(rng: &mut Rng, nodes: usize) -> Self {
        let two = some_nodes(rng, nodes, 2);
        match rng.random_range(0..3) {
            0 => Where::Everywhere,
            1 => Where::Around(two[0]),
            _ => Where::Between(two[0], two[two.len() - 1]),
        }
    }

    pub(super) fn has(&self, from: usize, to: usize) -> bool {
        match self {
            Where::Everywhere => true,
            Where::Around(node) => from == *node || to == *node,
            Where::Between(a, b) => (from, to) == (*a, *b) || (from, to) == (*b, *a),
        }
    }

    pub(super) fn named(&self) -> Vec<usize> {
        match self {
            Where::Everywhere => Vec::new(),
            Where::Around(node) => vec![*node],
            Where::Between(a, b) => vec![*a, *b],
        }
    }
}
