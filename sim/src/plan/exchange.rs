//! What comparing digest trees costs where anything differs: the roots, before what differs.
//! Where all is equal one digest to each peer is all.

use starling_node::crdt::NodeId;
use starling_node::placement::{Layout, LayoutId, N_ALL, PARTITIONS};
use starling_node::wire::codec;
use starling_node::wire::peer::{PeerBody, PeerMessage, TreeRoot};

/// The roots that one node sends to another when a round begins, in the order in which it does.
/// `root` is that of a tree with data; the trees of the bucket properties are empty.
pub fn roots(layout: &Layout, from: NodeId, to: NodeId, n: u8, root: u64) -> Vec<TreeRoot> {
    let mut roots = Vec::new();
    for partition in 0..PARTITIONS {
        for n in [n, N_ALL] {
            if layout.owns(from, partition, n) && layout.owns(to, partition, n) {
                let root = if n == N_ALL { 0 } else { root };
                roots.push(TreeRoot { partition, n, root });
            }
        }
    }
    roots
}

/// Bytes that a node sends in one round with each of its peers; `samples` nodes are looked at and
/// the mean is told.
pub fn round_bytes(layout: &Layout, n: u8, samples: usize) -> f64 {
    let step = layout.members.len().div_ceil(samples.max(1)).max(1);
    let nodes: Vec<NodeId> = layout.members.iter().step_by(step).map(|m| m.id).collect();
    let mut bytes = 0;
    for from in &nodes {
        for to in layout.members.iter().filter(|member| member.id != *from) {
            // A digest is 64 random bits: nine bytes in all but one of 256 cases.
            let body = PeerBody::Roots(roots(layout, *from, to.id, n, u64::MAX));
            bytes += codec::encode(&PeerMessage { layout: LayoutId(u64::MAX), body }).len();
        }
    }
    bytes as f64 / nodes.len() as f64
}
