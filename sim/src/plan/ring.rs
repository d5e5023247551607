//! Who owns how much, and what a join or a leave would move, by the table that nodes compute.
//!
//! Nodes compute first layouts only. Moves are therefore told for a table computed anew for the
//! members after the change, beside the least that any table could move.

use starling_node::crdt::NodeId;
use starling_node::placement::{Layout, LayoutMember, PARTITIONS};
use std::collections::{BTreeMap, BTreeSet};

/// Shares of a layout.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Balance {
    /// What the fullest node owns, relative to its fair share by capacity.
    pub most: f64,
    /// What the emptiest owns, relative to its fair share.
    pub least: f64,
    /// Of all partitions, how many have their owners in as many zones as there can be.
    pub zones_distinct: f64,
}

/// Copies of partitions that a change moves, as a share of all copies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moves {
    /// With the table computed anew.
    pub anew: f64,
    /// The least with even shares.
    pub least: f64,
}

/// Members in turn over zones and capacities.
pub fn members(nodes: usize, zones: usize, capacities: &[u32]) -> Vec<LayoutMember> {
    let member = |node: usize| {
        let name = format!("n{node}");
        LayoutMember {
            id: NodeId::of_name(&name),
            zone: format!("z{}", node % zones),
            // Whole rounds of zones share a capacity, so that zones are alike.
            capacity: capacities[node / zones % capacities.len()],
            name,
        }
    };
    (0..nodes).map(member).collect()
}

fn fair(layout: &Layout, n: u8) -> BTreeMap<NodeId, f64> {
    let total: f64 = layout.members.iter().map(|member| f64::from(member.capacity)).sum();
    let copies = layout.replicas(n) as f64 * f64::from(PARTITIONS);
    let fair = |member: &LayoutMember| copies * f64::from(member.capacity) / total;
    // A node has at most one copy of a partition.
    layout.members.iter().map(|m| (m.id, fair(m).min(f64::from(PARTITIONS)))).collect()
}

fn owners(layout: &Layout, n: u8) -> Vec<BTreeSet<NodeId>> {
    let of = |partition| layout.preference(partition, n).owners().iter().copied().collect();
    (0..PARTITIONS).map(of).collect()
}

/// How many partitions each member owns.
pub fn owned(layout: &Layout, n: u8) -> BTreeMap<NodeId, u32> {
    let mut owned: BTreeMap<NodeId, u32> = layout.members.iter().map(|m| (m.id, 0)).collect();
    for id in owners(layout, n).iter().flatten() {
        *owned.entry(*id).or_default() += 1;
    }
    owned
}

/// How even a layout is.
pub fn balance(layout: &Layout, n: u8) -> Balance {
    let (fair, owned) = (fair(layout, n), owned(layout, n));
    let shares: Vec<f64> = owned.iter().map(|(id, owned)| f64::from(*owned) / fair[id]).collect();
    let zones: BTreeSet<&str> = layout.members.iter().map(|m| m.zone.as_str()).collect();
    let possible = zones.len().min(layout.replicas(n));
    let distinct = |owners: &&BTreeSet<NodeId>| {
        let zones: BTreeSet<_> =
            owners.iter().filter_map(|id| Some(&layout.member(*id)?.zone)).collect();
        zones.len() == possible
    };
    let all = owners(layout, n);
    Balance {
        most: shares.iter().copied().fold(0.0, f64::max),
        least: shares.iter().copied().fold(f64::INFINITY, f64::min),
        zones_distinct: all.iter().filter(distinct).count() as f64 / all.len() as f64,
    }
}

/// Copies that a change of members makes, relative to all copies there are before.
///
/// The least for a join is what the newcomers must get, for a leave what the leavers had.
pub fn moves(before: &Layout, after: &Layout, n: u8) -> Moves {
    let (old, new) = (owners(before, n), owners(after, n));
    let copies = old.iter().map(BTreeSet::len).sum::<usize>() as f64;
    let made: usize = old.iter().zip(&new).map(|(old, new)| new.difference(old).count()).sum();
    let joined = fair(after, n).into_iter().filter(|(id, _)| !before.has(*id));
    let left = owned(before, n).into_iter().filter(|(id, _)| !after.has(*id));
    let least = joined.map(|(_, share)| share).sum::<f64>()
        + left.map(|(_, owned)| f64::from(owned)).sum::<f64>();
    // With fewer nodes than replicas a leave makes no copies anywhere.
    Moves { anew: made as f64 / copies, least: least.min(made as f64) / copies }
}
