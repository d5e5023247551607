//! The layout: an immutable document that says who owns which partition. Its id is the hash of
//! its content, so one id can never mean two tables.

use super::table;
use super::{N_ALL, PARTITIONS, PreferenceList};
use crate::crdt::NodeId;
use crate::wire::codec;
use bincode::{Decode, Encode};
use std::fmt;
use xxhash_rust::xxh3::xxh3_64;

/// Content hash of a layout.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Encode, Decode)]
pub struct LayoutId(pub u64);

impl LayoutId {
    /// No layout yet.
    pub const NONE: LayoutId = LayoutId(0);
}

impl fmt::Display for LayoutId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A node's part in a layout.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct LayoutMember {
    /// By the hash of its name.
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// Its failure domain.
    pub zone: String,
    /// Its share relative to others, at least 1.
    pub capacity: u32,
}

/// Who owns which partition.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Layout {
    /// 1 for the first, one more than the parent's for the others.
    pub version: u64,
    /// Id of the layout this one replaced.
    pub parent: LayoutId,
    /// Sorted by id.
    pub members: Vec<LayoutMember>,
    /// For each partition, places in `members` in order of preference; see the table module for
    /// how many.
    table: Vec<Vec<u16>>,
}

impl Layout {
    /// The first layout of a cluster of `members`: at least one, at most 65,535.
    ///
    /// # Panics
    /// Without members.
    pub fn first(mut members: Vec<LayoutMember>) -> Layout {
        assert!(!members.is_empty(), "a layout has members");
        members.sort_by_key(|member| member.id);
        members.dedup_by_key(|member| member.id);
        let table = table::assign(&members);
        Layout { version: 1, parent: LayoutId::NONE, members, table }
    }

    /// Hash of the content.
    pub fn id(&self) -> LayoutId {
        LayoutId(xxh3_64(&codec::encode(self)).max(1))
    }

    /// Whether the parts fit together; a decoded layout is checked before use.
    pub fn is_valid(&self) -> bool {
        let places = self.members.len();
        let sorted = self.members.windows(2).all(|pair| pair[0].id < pair[1].id);
        let in_range = |list: &Vec<u16>| {
            let mut seen = list.clone();
            seen.sort_unstable();
            seen.dedup();
            list.len() == table::depth(places)
                && seen.len() == list.len()
                && seen.iter().all(|at| usize::from(*at) < places)
        };
        places > 0
            && sorted
            && self.members.iter().all(|member| member.capacity > 0)
            && self.table.len() == usize::from(PARTITIONS)
            && self.table.iter().all(in_range)
    }

    /// Which of two layouts stands when both claim to be the latest: the higher version, among
    /// equals the lower id. Every node decides alike.
    pub fn beats(&self, other: &Layout) -> bool {
        (self.version, std::cmp::Reverse(self.id()))
            > (other.version, std::cmp::Reverse(other.id()))
    }

    /// Whether the node is part of it.
    pub fn has(&self, node: NodeId) -> bool {
        self.members.binary_search_by_key(&node, |member| member.id).is_ok()
    }

    /// The member of that id.
    pub fn member(&self, node: NodeId) -> Option<&LayoutMember> {
        let at = self.members.binary_search_by_key(&node, |member| member.id).ok()?;
        Some(&self.members[at])
    }

    /// Replicas an object has when its bucket asks for `n`.
    pub fn replicas(&self, n: u8) -> usize {
        if n == N_ALL { self.members.len() } else { self.members.len().min(n.into()) }
    }

    /// Owners and stand-ins of a partition for `n` replicas.
    pub fn preference(&self, partition: u16, n: u8) -> PreferenceList {
        let list = &self.table[usize::from(partition)];
        let mut nodes: Vec<NodeId> =
            list.iter().map(|at| self.members[usize::from(*at)].id).collect();
        if nodes.len() < self.members.len() {
            let listed = |at: usize| list.iter().any(|place| usize::from(*place) == at);
            let rest = (0..self.members.len()).filter(|at| !listed(*at));
            nodes.extend(rest.map(|at| self.members[at].id));
        }
        PreferenceList { nodes, owners: self.replicas(n) }
    }

    /// Whether the node owns the partition for `n` replicas.
    pub fn owns(&self, node: NodeId, partition: u16, n: u8) -> bool {
        if n == N_ALL {
            return self.has(node);
        }
        let owners = self.table[usize::from(partition)].iter().take(self.replicas(n));
        owners.into_iter().any(|at| self.members[usize::from(*at)].id == node)
    }

    /// How many partitions the node owns for `n` replicas.
    pub fn owned_count(&self, node: NodeId, n: u8) -> u32 {
        (0..PARTITIONS).filter(|partition| self.owns(node, *partition, n)).count() as u32
    }
}
