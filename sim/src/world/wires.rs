//! What passes between nodes: peer messages, encoded as on a real wire, and gossip.

use super::{Event, World};
use crate::gossip::{Datagram, INTERVAL_US};
use crate::names;
use crate::network::Kind;
use crate::node::Node;
use starling_node::core::Input;
use starling_node::crdt::NodeId;
use starling_node::wire::codec;
use starling_node::wire::peer::{PeerBody, PeerMessage};
use xxhash_rust::xxh3::xxh3_64;

impl World {
    pub(super) fn send(&mut self, from: usize, to: NodeId, message: &PeerMessage) {
        let Some(to) = self.places.get(&to).copied() else {
            self.findings.violation("sends_to_members", format!("{from} sent to unknown {to}"));
            return;
        };
        let bytes = codec::encode(message);
        self.findings.count("messages", 1);
        self.findings.count("message_bytes", bytes.len() as u64);
        if from == to {
            self.push(self.now_us, Event::Peer { from, to, bytes, spoilt: false });
            return;
        }
        if self.connections.is_some() {
            return self.send_over(from, to, bytes);
        }
        let link = self.conditions.links[from][to];
        let (now_us, length) = (self.now_us, bytes.len());
        let arrivals = self.network.route(now_us, (from, to), length, &link, Kind::Stream);
        self.findings.count("messages_lost", u64::from(arrivals.iter().count() == 0));
        for at_us in arrivals.iter() {
            let mut bytes = bytes.clone();
            let flip = self.network.flips(length, &link);
            flip.iter().for_each(|(byte, bit)| bytes[*byte] ^= 1 << bit);
            self.push(at_us, Event::Peer { from, to, bytes, spoilt: flip.is_some() });
        }
    }

    pub(super) fn peer(&mut self, from: usize, to: usize, bytes: &[u8], spoilt: bool) {
        if !self.nodes[to].is_up() {
            return;
        }
        let message: PeerMessage = match codec::decode(bytes) {
            Ok(_) if spoilt => {
                let detail = "a message with a flipped bit is taken for a sound one";
                self.findings.violation("codec", detail.into());
                return;
            }
            Ok(message) => message,
            Err(_) if spoilt => return self.findings.count("messages_spoilt", 1),
            Err(error) => {
                self.findings.violation("codec", format!("a sent message is refused: {error}"));
                return;
            }
        };
        if let PeerBody::Applied { outcome: Err(refusal), .. }
        | PeerBody::Joined { outcome: Err(refusal), .. }
        | PeerBody::Got { outcome: Err(refusal), .. } = &message.body
        {
            self.findings.count(names::refusal(refusal), 1);
        }
        let hash = xxh3_64(bytes);
        let what = names::body(&message.body);
        self.trace.add(
            self.now_us,
            format_args!(
                "{} < {} {what} {} bytes {hash:016x}",
                self.nodes[to],
                self.nodes[from],
                bytes.len()
            ),
        );
        let from = self.nodes[from].id();
        self.step(to, Input::Peer(from, message));
    }

    pub(super) fn gossip_round(&mut self) {
        let now_us = self.now_us;
        let due = |node: &Node| node.is_up() && node.gossip_due_us == Some(now_us);
        let nodes: Vec<usize> =
            (0..self.nodes.len()).filter(|node| due(&self.nodes[*node])).collect();
        if nodes.is_empty() {
            return;
        }
        self.gossip.tick(self.now_us, &nodes);
        for node in &nodes {
            self.nodes[*node].gossip_due_us = Some(self.now_us + INTERVAL_US);
        }
        self.push(self.now_us + INTERVAL_US, Event::GossipRound);
        self.send_gossip();
        for node in nodes {
            if !self.is_paused(node) {
                self.show_members(node);
            }
        }
    }

    pub(super) fn datagram(&mut self, datagram: &Datagram) {
        if self.nodes[datagram.to].is_up() {
            let hash = xxh3_64(&datagram.bytes);
            let (to, from) = (&self.nodes[datagram.to], &self.nodes[datagram.from]);
            self.trace.add(self.now_us, format_args!("{to} < {from} gossip {hash:016x}"));
            self.gossip.deliver(self.now_us, datagram);
            self.send_gossip();
        }
    }

    pub(super) fn send_gossip(&mut self) {
        for datagram in self.gossip.take_sent() {
            self.findings.count("gossip_datagrams", 1);
            self.findings.count("gossip_bytes", datagram.bytes.len() as u64);
            let (from, to) = (datagram.from, datagram.to);
            if self.is_paused(from) {
                continue; // The library's clock cannot be stopped; what it says is held back.
            }
            let link = self.conditions.links[from][to];
            let (now_us, length) = (self.now_us, datagram.bytes.len());
            let arrivals = self.network.route(now_us, (from, to), length, &link, Kind::Datagram);
            for at_us in arrivals.iter() {
                if self.network.flips(length, &link).is_some() {
                    self.findings.count("datagrams_spoilt", 1);
                    continue; // Its seal does not open.
                }
                let bytes = datagram.bytes.clone();
                self.push(at_us, Event::Datagram(Datagram { from, to, bytes }));
            }
        }
    }

    pub(super) fn show_members(&mut self, node: usize) {
        let view = self.gossip.view(node);
        if self.nodes[node].take_view(&view) {
            let names = names::members(&view);
            self.trace.add(self.now_us, format_args!("{} members {names}", self.nodes[node]));
            self.step(node, Input::Members(view));
        }
        self.hear(node);
    }
}
