//! Who tells a member that works without a layout which one is in force.
//!
//! Everybody could, but a layout grows with the cluster: were it sent by all to all who lack it,
//! as when a large cluster forms, the bytes would grow with the cube of the members. So for each
//! of them a few members are chosen by the order of ids, others with each round, so that a choice
//! that cannot reach it does not stay.

use super::{Member, View};
use crate::crdt::NodeId;
use crate::placement::LayoutId;

/// Members that tell one other in a round.
const TELLERS: usize = 4;
/// Members that one tells in a round.
const TOLD_MAX: usize = 64;

impl View {
    /// Members that are alive and work without a layout, in the order of their ids.
    pub fn strangers(&self) -> impl Iterator<Item = NodeId> {
        let none = |m: &&Member| m.alive && m.layout == LayoutId::NONE && m.id != self.me;
        self.members.iter().filter(none).map(|member| member.id)
    }

    /// Those of the strangers that this node, which has a layout, tells of it in that round.
    pub fn told_in(&self, round: u64) -> Vec<NodeId> {
        let has = |m: &&Member| m.id == self.me || m.alive && m.layout != LayoutId::NONE;
        let tellers: Vec<NodeId> = self.members.iter().filter(has).map(|m| m.id).collect();
        let Some(mine) = tellers.iter().position(|id| *id == self.me) else { return Vec::new() };
        let count = tellers.len();
        let first = |stranger: NodeId| {
            let after = tellers.partition_point(|id| *id < stranger);
            (after + (round as usize).wrapping_mul(TELLERS) % count) % count
        };
        let is_told = |stranger: &NodeId| (mine + count - first(*stranger)) % count < TELLERS;
        let told: Vec<NodeId> = self.strangers().filter(is_told).collect();
        let skip = match told.len() > TOLD_MAX {
            true => (round as usize).wrapping_mul(TOLD_MAX) % told.len(),
            false => 0,
        };
        told.iter().cycle().skip(skip).take(told.len().min(TOLD_MAX)).copied().collect()
    }
}
