//! The debt of an outage: how many marks other nodes keep for one that is away.
//!
//! A mark stands for a row, not for a write, so marks are the distinct rows written. With more
//! nodes than replicas the first stand-in of a row keeps its mark. With as many nodes as replicas
//! there is no stand-in: each node marks what it coordinates, so that a row can be marked on every
//! other node.

use crate::pbs::cluster::{Cluster, put};
use crate::pbs::shape::Shape;
use crate::random::stream;
use rand::Rng as _;
use starling_node::store::Family;

/// Writes of the simulated outage, and the rows they go to.
const TRIED: (usize, usize) = (600, 400);

/// What is written while a node is away.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Rows that are written.
    pub rows: u64,
    /// Exponent of their popularity (Zipf): 0 all alike, 1 a few very hot.
    pub zipf: f64,
    /// Writes in all.
    pub writes: f64,
}

/// Marks expected for a node that owns `share` of the rows, kept by `holders` nodes each of which
/// marks what it coordinates.
pub fn expected_marks(load: &Load, share: f64, holders: f64) -> f64 {
    let popularity = |rank: u64| (rank as f64).powf(-load.zipf);
    let total: f64 = (1..=load.rows).map(popularity).sum();
    // 1 - (1 - p)^writes, for p as small as one in ten million.
    let touched = |p: f64| -(load.writes * (-p).ln_1p()).exp_m1();
    let sum = |rank| touched(popularity(rank) / total / holders);
    share * holders * (1..=load.rows).map(sum).sum::<f64>()
}

/// How many nodes may hold a mark for one row.
pub fn holders(nodes: usize, n: usize) -> f64 {
    if nodes > n { 1.0 } else { (nodes - 1).max(1) as f64 }
}

/// What an outage left on real cores, beside what was expected.
#[derive(Clone, Copy, Debug)]
pub struct Tried {
    /// Marks on all nodes.
    pub marks: u64,
    /// Expected for the rows that the node owns.
    pub expected: f64,
    /// Standard deviation of the expectation.
    pub deviation: f64,
    /// Bytes of a mark in the store, key and value.
    pub mark_bytes: f64,
}

/// Takes one node of a real cluster away, writes, and counts the marks.
///
/// # Errors
/// The cluster did not form, or refused a write.
pub fn try_outage(nodes: usize, n: usize, seed: u64) -> Result<Tried, String> {
    let (writes, rows) = TRIED;
    let shape = Shape::at_once(nodes, n)?;
    let mut cluster = Cluster::new(&shape)?;
    let away = nodes - 1;
    cluster.take_down(away);
    let mut rng = stream(seed, "outage");
    for write in 0..writes as u64 {
        let (row, coordinator) = (rng.random_range(0..rows), rng.random_range(0..away));
        let value = write.to_le_bytes().to_vec();
        cluster.ask_quickly(coordinator, put(Shape::object(row), value))?;
    }
    // Writes are answered before the owner that is away is given up.
    cluster.pass(1_000_000);
    let (mut marks, mut bytes) = (0, 0);
    for node in 0..away {
        marks += cluster.core(node).hints_pending();
        bytes += cluster.core(node).store().bytes(Family::Hints);
    }
    let owned = shape.lists[..rows].iter().filter(|list| list[..n].contains(&away)).count() as f64;
    let holders = holders(nodes, n);
    let touched = 1.0 - (1.0 - 1.0 / (rows as f64 * holders)).powf(writes as f64);
    let expected = owned * holders * touched;
    let deviation = (expected * (1.0 - touched)).sqrt();
    Ok(Tried { marks, expected, deviation, mark_bytes: bytes as f64 / (marks.max(1)) as f64 })
}
