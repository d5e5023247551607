//! What goes wrong, drawn from the seed and printed before the run. One fault a file.
//!
//! A fault is an overlay: while it is active it changes the conditions of the run, and the
//! conditions of a moment are the fair ones with all active faults laid over them. So faults
//! overlap freely and end without having to undo anything.

mod clock_skew;
mod crash;
mod delay;
mod duplication;
mod islands;
mod loss;
mod one_way_cut;
mod reordering;
mod slow_sync;

use crate::network::Link;
use crate::random::Rng;
use rand::Rng as _;
use rand::seq::{IndexedRandom, SliceRandom};
use std::fmt;

/// How a node that is down was stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// Without warning: what was not synced may be gone.
    Crash,
    /// In order.
    Clean,
}

/// What holds at one moment.
#[derive(Clone, Debug)]
pub struct Conditions {
    /// By (from, to).
    pub links: Vec<Vec<Link>>,
    /// By node: whether it is down, and how it was stopped.
    pub down: Vec<Option<Stop>>,
    /// By node: how far its wall clock is off, ms.
    pub skew_ms: Vec<i64>,
    /// By node: added to each sync at most, microseconds.
    pub sync_us: Vec<u64>,
}

impl Conditions {
    /// Nothing is wrong.
    pub fn fair(nodes: usize) -> Self {
        Conditions {
            links: vec![vec![Link::default(); nodes]; nodes],
            down: vec![None; nodes],
            skew_ms: vec![0; nodes],
            sync_us: vec![0; nodes],
        }
    }

    /// Nodes of the run.
    pub fn nodes(&self) -> usize {
        self.down.len()
    }

    /// Changes every link for which `which(from, to)` holds.
    fn each_link(&mut self, which: impl Fn(usize, usize) -> bool, change: impl Fn(&mut Link)) {
        for (from, row) in self.links.iter_mut().enumerate() {
            for (to, link) in row.iter_mut().enumerate() {
                if from != to && which(from, to) {
                    change(link);
                }
            }
        }
    }
}

/// Something that goes wrong for a while. Its `Debug` form is what is printed.
pub trait Fault: fmt::Debug + Send {
    /// Lays itself over the conditions.
    fn apply(&self, conditions: &mut Conditions);
}

/// A fault and when it is active, microseconds since faults began, whole milliseconds.
#[derive(Debug)]
pub struct Scheduled {
    /// First moment.
    pub from_us: u64,
    /// First moment after it.
    pub until_us: u64,
    /// What.
    pub fault: Box<dyn Fault>,
}

impl fmt::Display for Scheduled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |us: u64| us as f64 / 1e6;
        let (from, until) = (seconds(self.from_us), seconds(self.until_us));
        write!(f, "{from:>7.3}s to {until:>7.3}s  {:?}", self.fault)
    }
}

/// Which links a network fault touches.
#[derive(Clone, Debug)]
enum Where {
    Everywhere,
    Around(usize),
    Between(usize, usize),
}

impl Where {
    fn draw(rng: &mut Rng, nodes: usize) -> Self {
        let two = some_nodes(rng, nodes, 2);
        match rng.random_range(0..3) {
            0 => Where::Everywhere,
            1 => Where::Around(two[0]),
            _ => Where::Between(two[0], two[two.len() - 1]),
        }
    }

    fn has(&self, from: usize, to: usize) -> bool {
        match self {
            Where::Everywhere => true,
            Where::Around(node) => from == *node || to == *node,
            Where::Between(a, b) => (from, to) == (*a, *b) || (from, to) == (*b, *a),
        }
    }
}

/// `count` different nodes, fewer if there are not so many.
fn some_nodes(rng: &mut Rng, nodes: usize, count: usize) -> Vec<usize> {
    let mut all: Vec<usize> = (0..nodes).collect();
    all.shuffle(rng);
    all.truncate(count);
    all
}

type Draw = fn(&mut Rng, usize) -> Box<dyn Fault>;

const FAMILIES: [Draw; 9] = [
    clock_skew::draw,
    crash::draw,
    delay::draw,
    duplication::draw,
    islands::draw,
    loss::draw,
    one_way_cut::draw,
    reordering::draw,
    slow_sync::draw,
];

/// The faults of one run: a random choice of families (Groce et al., "Swarm testing", 2012), and
/// of each family several at random times.
pub fn draw(rng: &mut Rng, nodes: usize, seconds: u64) -> Vec<Scheduled> {
    let mut families: Vec<Draw> = FAMILIES.into_iter().filter(|_| rng.random_bool(0.6)).collect();
    if families.is_empty() {
        families.extend(FAMILIES.choose(rng));
    }
    let count = seconds.div_ceil(10) * rng.random_range(1..=4);
    let mut faults: Vec<Scheduled> = (0..count)
        .map(|_| {
            let from_ms = rng.random_range(0..seconds * 1_000);
            let lasts_ms = match rng.random_bool(0.3) {
                true => rng.random_range(50..2_000),
                false => rng.random_range(2_000..20_000),
            };
            let until_ms = (from_ms + lasts_ms).min(seconds * 1_000);
            let fault = families.choose(rng).expect("not empty")(rng, nodes);
            Scheduled { from_us: from_ms * 1_000, until_us: until_ms * 1_000, fault }
        })
        .collect();
    faults.sort_by_key(|fault| (fault.from_us, fault.until_us));
    faults
}

/// The conditions `now_us` after faults began.
pub fn conditions(faults: &[Scheduled], nodes: usize, now_us: u64) -> Conditions {
    let mut conditions = Conditions::fair(nodes);
    for scheduled in faults {
        if (scheduled.from_us..scheduled.until_us).contains(&now_us) {
            scheduled.fault.apply(&mut conditions);
        }
    }
    conditions
}
