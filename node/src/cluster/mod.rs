//! Who is a member and who is alive, as the failure detector of the shell or the simulator says.
//!
//! Liveness decides whom to ask first and who gets hints. It never decides who owns what.

mod offers;
mod view;

pub use view::{BUCKETS, View};

use crate::crdt::NodeId;
use crate::placement::LayoutId;
use bincode::{Decode, Encode};

/// What a member says of itself through gossip, and whether it is heard.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Member {
    /// By the hash of its name.
    pub id: NodeId,
    /// Its name, unique in the cluster.
    pub name: String,
    /// Its failure domain.
    pub zone: String,
    /// Its share of the data relative to others, at least 1.
    pub capacity: u32,
    /// Where peers reach it, `host:port`.
    pub peer_addr: String,
    /// Where clients reach it, `host:port`.
    pub http_addr: String,
    /// Grows with each start.
    pub generation: u64,
    /// Whether the failure detector hears it.
    pub alive: bool,
    /// The layout it works with, [`LayoutId::NONE`] before the first.
    pub layout: LayoutId,
}

/// All members known, this node included, sorted by id, one entry an id.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MembershipView {
    members: Vec<Member>,
}

impl MembershipView {
    /// A view of `members`. Of several with one id (a restarted node and its earlier life) the
    /// one with the highest generation stays.
    pub fn new(mut members: Vec<Member>) -> Self {
        members.sort_by_key(|member| (member.id, std::cmp::Reverse(member.generation)));
        members.dedup_by_key(|member| member.id);
        MembershipView { members }
    }

    /// Members in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.members.iter()
    }

    /// The member of that id.
    pub fn get(&self, id: NodeId) -> Option<&Member> {
        self.members.binary_search_by_key(&id, |member| member.id).ok().map(|at| &self.members[at])
    }

    /// Whether that member is heard.
    pub fn is_alive(&self, id: NodeId) -> bool {
        self.get(id).is_some_and(|member| member.alive)
    }
}
