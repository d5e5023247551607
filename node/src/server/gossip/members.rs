//! From chitchat's states to a membership view.
//!
//! A name may have several lives in gossip: the living one stands before dead ones, then the
//! later start. Members whose keys are missing or out of bounds are left out until they are whole.

use crate::cluster::{Member, MembershipView};
use crate::crdt::NodeId;
use crate::placement::LayoutId;
use crate::server::peers::is_name;
use chitchat::{Chitchat, ChitchatId, NodeState};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

const ZONE_KEY: &str = "zone";
const CAPACITY_KEY: &str = "capacity";
const PEER_KEY: &str = "peer";
const HTTP_KEY: &str = "http";
/// The layout a member works with, as 16 hexadecimal digits.
pub const LAYOUT_KEY: &str = "layout";

/// Longest zone or address that is believed, bytes.
const TEXT_MAX: usize = 256;
/// A restart looks like two lives until its earlier one is found dead; what still does after so
/// many times the suspicion time is a twin.
const TWIN_SUSPICIONS: u32 = 10;

/// What this node tells of itself.
#[derive(Clone, Debug)]
pub struct Own {
    /// Its name, unique in the cluster.
    pub name: String,
    /// Its failure domain.
    pub zone: String,
    /// Its share of the data, at least 1.
    pub capacity: u32,
    /// Where peers reach it, `host:port`.
    pub peer_addr: String,
    /// Where clients reach it, `host:port`.
    pub http_addr: String,
    /// Grows with each start.
    pub generation: u64,
}

impl Own {
    /// As chitchat keeps it. Well below 4 KB.
    pub fn key_values(&self) -> Vec<(String, String)> {
        let layout = LayoutId::NONE.to_string();
        [
            (ZONE_KEY, self.zone.clone()),
            (CAPACITY_KEY, self.capacity.to_string()),
            (PEER_KEY, self.peer_addr.clone()),
            (HTTP_KEY, self.http_addr.clone()),
            (LAYOUT_KEY, layout),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .to_vec()
    }

    fn member(&self, layout: LayoutId) -> Member {
        Member {
            id: NodeId::of_name(&self.name),
            name: self.name.clone(),
            zone: self.zone.clone(),
            capacity: self.capacity,
            peer_addr: self.peer_addr.clone(),
            http_addr: self.http_addr.clone(),
            generation: self.generation,
            alive: true,
            layout,
        }
    }
}

/// What is remembered between two views.
pub struct Lives {
    own: Own,
    suspicion: Duration,
    /// Since when chitchat calls a life dead that this node has called alive.
    silent: BTreeMap<ChitchatId, Instant>,
    /// Lives that this node calls alive.
    alive: BTreeSet<ChitchatId>,
    /// Since when a name has two living lives.
    twins: BTreeMap<String, Instant>,
    reported: BTreeSet<String>,
}

impl Lives {
    /// For the node `own`.
    pub fn new(own: Own, suspicion: Duration) -> Lives {
        Lives {
            own,
            suspicion,
            silent: BTreeMap::new(),
            alive: BTreeSet::new(),
            twins: BTreeMap::new(),
            reported: BTreeSet::new(),
        }
    }

    /// The view now, and names found to be borne by two live nodes.
    pub fn view(
        &mut self,
        chitchat: &Chitchat,
        layout: LayoutId,
        now: Instant,
    ) -> (MembershipView, Vec<String>) {
        let heard: BTreeSet<&ChitchatId> = chitchat.live_nodes().collect();
        let own_id = chitchat.self_chitchat_id();
        let mut lives: BTreeMap<&str, Vec<Member>> = BTreeMap::new();
        for (id, state) in chitchat.node_states().iter().filter(|(id, _)| *id != own_id) {
            let alive = self.judge(id, heard.contains(id), now);
            if let Some(member) = member_of(id, state, alive) {
                lives.entry(&id.node_id).or_default().push(member);
            }
        }
        self.alive.retain(|id| chitchat.node_state(id).is_some());
        self.silent.retain(|id, _| chitchat.node_state(id).is_some());
        let twins = self.twins(&lives, now);
        let own_name = self.own.name.as_str();
        let others = lives.iter().filter(|(name, _)| **name != own_name);
        let chosen = others.filter_map(|(_, lives)| {
            lives.iter().max_by_key(|member| (member.alive, member.generation)).cloned()
        });
        let mut members: Vec<Member> = chosen.collect();
        members.push(self.own.member(layout));
        (MembershipView::new(members), twins)
    }

    /// Whether a life counts as alive: heard, or silent for less than the suspicion time.
    fn judge(&mut self, id: &ChitchatId, heard: bool, now: Instant) -> bool {
        if heard {
            self.silent.remove(id);
            self.alive.insert(id.clone());
            return true;
        }
        if !self.alive.contains(id) {
            return false;
        }
        let since = *self.silent.entry(id.clone()).or_insert(now);
        let alive = now.duration_since(since) < self.suspicion;
        if !alive {
            self.silent.remove(id);
            self.alive.remove(id);
        }
        alive
    }

    /// Names with two living lives for longer than a restart explains, each once until it ends.
    fn twins(&mut self, lives: &BTreeMap<&str, Vec<Member>>, now: Instant) -> Vec<String> {
        let living = |(name, lives): (&&str, &Vec<Member>)| {
            let own = usize::from(**name == *self.own.name);
            let count = own + lives.iter().filter(|member| member.alive).count();
            (count > 1).then(|| (*name).to_owned())
        };
        let double: BTreeSet<String> = lives.iter().filter_map(living).collect();
        self.twins.retain(|name, _| double.contains(name));
        self.reported.retain(|name| double.contains(name));
        let (mut found, patience) = (Vec::new(), self.suspicion * TWIN_SUSPICIONS);
        for name in double {
            let since = *self.twins.entry(name.clone()).or_insert(now);
            if now.duration_since(since) >= patience && self.reported.insert(name.clone()) {
                found.push(name);
            }
        }
        found
    }
}

fn member_of(id: &ChitchatId, state: &NodeState, alive: bool) -> Option<Member> {
    let text = |key| state.get(key).filter(|text| text.len() <= TEXT_MAX).map(str::to_owned);
    let capacity = text(CAPACITY_KEY)?.parse().ok().filter(|capacity| *capacity > 0)?;
    let layout = u64::from_str_radix(&text(LAYOUT_KEY)?, 16).ok()?;
    is_name(&id.node_id).then_some(())?;
    Some(Member {
        id: NodeId::of_name(&id.node_id),
        name: id.node_id.to_string(),
        zone: text(ZONE_KEY)?,
        capacity,
        peer_addr: text(PEER_KEY)?,
        http_addr: text(HTTP_KEY)?,
        generation: id.generation_id,
        alive,
        layout: LayoutId(layout),
    })
}
