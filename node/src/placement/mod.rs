//! Key to partition to preference list. Ownership comes from an immutable layout document, never
//! from gossip and never from liveness.

mod layout;
mod table;

pub use layout::{Layout, LayoutId, LayoutMember};

use crate::crdt::{NodeId, ObjectId};

/// Fixed number of partitions. A power of two, many times the number of nodes, so that shares
/// stay even when nodes come and go.
pub const PARTITIONS: u16 = 1_024;

/// Replicas of an object at most.
pub const N_MAX: u8 = 7;

/// Stands for "every member of the layout" where a number of replicas is given.
pub const N_ALL: u8 = u8::MAX;

/// The partition of an object: by bucket and key, so that objects of one key and different type
/// live together. A note lives with what it is about.
pub fn partition_of(object: &ObjectId) -> u16 {
    let (bucket, key) = object.place();
    let mut bytes = Vec::with_capacity(bucket.len() + 1 + key.len());
    bytes.extend_from_slice(bucket.as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(key);
    (xxhash_rust::xxh3::xxh3_64(&bytes) >> 54) as u16
}

/// Nodes for one partition in the order in which they are asked: owners, then stand-ins.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PreferenceList {
    /// Every member of the layout, once.
    pub nodes: Vec<NodeId>,
    /// How many of them, from the front, are owners.
    pub owners: usize,
}

impl PreferenceList {
    /// The nodes that own the partition.
    pub fn owners(&self) -> &[NodeId] {
        &self.nodes[..self.owners]
    }

    /// Those that stand in when owners are unreachable.
    pub fn stand_ins(&self) -> &[NodeId] {
        &self.nodes[self.owners..]
    }
}
