//! The cluster and the request that a question is about.

use super::latency::Latency;
use starling_node::config::Durability;
use starling_node::crdt::{NodeId, ObjectId, TypeTag};
use starling_node::placement::{Layout, LayoutMember, N_MAX, partition_of};
use std::collections::BTreeMap;

/// Keys that trials write, one after the other.
const KEYS: usize = 512;

/// The bucket that they lie in.
pub const BUCKET: &str = "pbs";

/// Nodes of a cluster at most: a name of a draw has a byte for each.
pub const NODES_MAX: usize = 100;

/// The ways of a message: the four that WARS names (Bailis et al., VLDB 2012, section 4.1), and
/// the rest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Leg {
    /// W: a write to a replica.
    Write = 0,
    /// A: its acknowledgement.
    Ack = 1,
    /// R: a read to a replica.
    Read = 2,
    /// S: its answer.
    Answer = 3,
    /// What nodes say to each other besides, as hints; takes as long as a write.
    Other = 4,
}

/// A question.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Nodes of the cluster, at least N.
    pub nodes: usize,
    /// Zones that they are spread over.
    pub zones: usize,
    /// Replicas of an object.
    pub n: usize,
    /// Replicas that answer a read.
    pub r: usize,
    /// Replicas that acknowledge a write.
    pub w: usize,
    /// When a replica acknowledges.
    pub durability: Durability,
    /// Until a slow replica is doubled by another one, µs.
    pub hedge_us: u64,
    /// W, A, R and S.
    pub legs: [Latency; 4],
    /// Added between zones.
    pub cross: Option<Latency>,
    /// Where not empty, in place of `legs` and `cross`: the mean of every message by (from, to),
    /// µs. Each is drawn between half of it and one and a half.
    pub means_us: Vec<Vec<u64>>,
    /// From applying a write until it is on disk.
    pub sync: Latency,
    /// For each key, all nodes in the order of preference.
    pub lists: Vec<Vec<usize>>,
}

impl Shape {
    /// Says what is impossible about these numbers.
    ///
    /// # Errors
    /// A sentence that names the option.
    pub fn check(nodes: usize, zones: usize, n: usize, r: usize, w: usize) -> Result<(), String> {
        let most = usize::from(N_MAX);
        let within = |name: &str, value: usize, low: usize, high: usize, why: &str| {
            let fits = (low..=high).contains(&value);
            fits.then_some(()).ok_or(format!("--{name} {value} is not from {low} to {high}{why}"))
        };
        within("n", n, 1, most, ": a bucket has at most so many replicas")?;
        within("r", r, 1, n, ": a read is answered by replicas, of which there are N")?;
        within("w", w, 1, n, ": a write is acknowledged by replicas, of which there are N")?;
        within("nodes", nodes, n.max(2), NODES_MAX, ": each replica needs a node of its own")?;
        within("zones", zones, 1, nodes, ": a zone has at least one node")
    }

    /// A cluster whose messages and syncs take next to no time, with quorums of one.
    ///
    /// # Errors
    /// As [`Shape::check`].
    pub fn at_once(nodes: usize, n: usize) -> Result<Shape, String> {
        Shape::check(nodes, 1, n, 1, 1)?;
        let quick: Latency = "const:0.1".parse()?;
        Ok(Shape {
            nodes,
            zones: 1,
            n,
            r: 1,
            w: 1,
            durability: Durability::Sync,
            hedge_us: 100_000,
            legs: [quick.clone(), quick.clone(), quick.clone(), quick.clone()],
            cross: None,
            means_us: Vec::new(),
            sync: quick,
            lists: Shape::lists(nodes, 1, n),
        })
    }

    /// The distribution of one leg.
    pub fn latency(&self, leg: Leg) -> &Latency {
        match leg {
            Leg::Other => &self.legs[Leg::Write as usize],
            leg => &self.legs[leg as usize],
        }
    }

    /// The zone of a node.
    pub fn zone(&self, node: usize) -> usize {
        node % self.zones
    }

    /// The id of a node.
    pub fn id(node: usize) -> NodeId {
        NodeId::of_name(&Self::name(node))
    }

    /// The name of a node.
    pub fn name(node: usize) -> String {
        format!("n{node}")
    }

    /// The object behind a key.
    pub fn object(key: usize) -> ObjectId {
        let key = format!("k{key}").into_bytes();
        ObjectId { bucket: BUCKET.into(), tag: TypeTag::Kv, key }
    }

    /// The members of a cluster.
    pub fn members(nodes: usize, zones: usize) -> Vec<LayoutMember> {
        let member = |node: usize| LayoutMember {
            id: Self::id(node),
            name: Self::name(node),
            zone: format!("z{}", node % zones),
            capacity: 1,
        };
        (0..nodes).map(member).collect()
    }

    /// The order of preference of each key, from the placement that nodes use.
    pub fn lists(nodes: usize, zones: usize, n: usize) -> Vec<Vec<usize>> {
        Self::lists_of(Self::members(nodes, zones), n)
    }

    /// The same among these members, in their order.
    pub fn lists_of(members: Vec<LayoutMember>, n: usize) -> Vec<Vec<usize>> {
        let places: BTreeMap<NodeId, usize> =
            members.iter().enumerate().map(|(place, member)| (member.id, place)).collect();
        let layout = Layout::first(members);
        let list = |key: usize| {
            let list = layout.preference(partition_of(&Self::object(key)), n as u8);
            list.nodes.iter().map(|id| places[id]).collect()
        };
        (0..KEYS).map(list).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_impossible_is_named() {
        assert_eq!(Shape::check(3, 1, 3, 1, 3), Ok(()));
        for (bad, named) in [
            ((3, 1, 3, 4, 1), "--r 4"),
            ((3, 1, 3, 1, 0), "--w 0"),
            ((9, 1, 8, 1, 1), "--n 8"),
            ((2, 1, 3, 1, 1), "--nodes 2"),
            ((3, 4, 3, 1, 1), "--zones 4"),
        ] {
            let (nodes, zones, n, r, w) = bad;
            let error = Shape::check(nodes, zones, n, r, w).unwrap_err();
            assert!(error.starts_with(named), "{error}");
        }
    }
}
