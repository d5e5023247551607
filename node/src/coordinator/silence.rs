//! Since when peers owe an answer.
//!
//! Gossip calls a member alive for seconds after it was cut off. Requests tell sooner: of each
//! peer it is known since when a request has waited that was sent after its last answer. Under
//! load, where answers are late but keep coming, that stays short.

use crate::cluster::View;
use crate::crdt::NodeId;
use crate::wire::peer::PeerBody;
use std::collections::{BTreeMap, BTreeSet};

/// A peer is silent when it owes an answer for so many times the wait for a hedge. At the default
/// of 100 ms, longer than a sync takes on a slow disk or a message between continents, and much
/// shorter than what gossip needs.
const HEDGES: u64 = 3;

/// Peers that owe an answer; at most one entry a member.
#[derive(Debug)]
pub(super) struct Silence {
    /// The wait for a hedge, µs.
    pub(super) hedge_us: u64,
    since_us: BTreeMap<NodeId, u64>,
}

impl Silence {
    /// Nobody owes anything.
    pub(super) fn new(hedge_us: u64) -> Silence {
        Silence { hedge_us, since_us: BTreeMap::new() }
    }

    /// A message goes out to another node.
    pub(super) fn sent(&mut self, to: NodeId, body: &PeerBody, now_us: u64) {
        let asks =
            matches!(body, PeerBody::Apply { .. } | PeerBody::Join { .. } | PeerBody::Get { .. });
        if asks {
            self.since_us.entry(to).or_insert(now_us);
        }
    }

    /// A node has answered some request. Whether it was silent before.
    pub(super) fn answered(&mut self, from: NodeId, now_us: u64) -> bool {
        self.since_us.remove(&from).is_some_and(|since_us| self.is_long(since_us, now_us))
    }

    /// Members changed: one that is away is not asked, and begins anew when it is back.
    pub(super) fn members_changed(&mut self, view: &View) {
        self.since_us.retain(|node, _| view.is_alive(*node));
    }

    /// The peers that are silent.
    pub(super) fn peers(&self, now_us: u64) -> BTreeSet<NodeId> {
        let silent = self.since_us.iter().filter(|(_, since_us)| self.is_long(**since_us, now_us));
        silent.map(|(node, _)| *node).collect()
    }

    fn is_long(&self, since_us: u64, now_us: u64) -> bool {
        now_us.saturating_sub(since_us) > HEDGES * self.hedge_us
    }
}
