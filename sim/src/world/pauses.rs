//! Nodes that stand still: what comes to them waits, in order, until they go on.

use super::{Event, World};

/// Datagrams that wait for a node at most; a socket's buffer holds no more.
const DATAGRAMS_MAX: usize = 64;

impl World {
    /// The event, unless it waits for a paused node.
    pub(super) fn unless_paused(&mut self, event: Event) -> Option<Event> {
        let node = match &event {
            Event::Peer { to, .. } => *to,
            Event::Datagram(datagram) => datagram.to,
            Event::Synced { node, .. } | Event::Tick { node, .. } | Event::Ask { node, .. } => {
                *node
            }
            Event::GossipRound
            | Event::Faults
            | Event::Admin
            | Event::Client(_)
            | Event::Again(_)
            | Event::Look
            | Event::Connection { .. }
            | Event::GiveUp(_) => return Some(event),
        };
        let Some(waiting) = &mut self.paused[node] else { return Some(event) };
        let datagrams = || waiting.iter().filter(|event| matches!(event, Event::Datagram(_)));
        let fits = !matches!(event, Event::Datagram(_)) || datagrams().count() < DATAGRAMS_MAX;
        if fits {
            waiting.push(event);
        }
        None
    }

    /// Lets a node stand still.
    pub(super) fn pause(&mut self, node: usize) {
        self.trace.add(self.now_us, format_args!("{} pauses", self.nodes[node]));
        self.findings.count("pauses", 1);
        self.paused[node] = Some(Vec::new());
    }

    /// Lets it go on, with everything that waited.
    pub(super) fn unpause(&mut self, node: usize) {
        let Some(waiting) = self.paused[node].take() else { return };
        let count = waiting.len();
        self.trace.add(self.now_us, format_args!("{} goes on, {count} wait", self.nodes[node]));
        self.nodes[node].last_pause_us = self.now_us;
        for event in waiting {
            if !matches!(event, Event::Tick { .. }) {
                self.push(self.now_us, event);
            }
        }
        self.nodes[node].forget_tick();
        self.schedule_tick(node);
        if self.nodes[node].is_up() {
            self.show_members(node);
        }
    }

    /// A paused node that is stopped loses what waited for it.
    pub(super) fn drop_pause(&mut self, node: usize) {
        self.paused[node] = None;
    }

    pub(super) fn is_paused(&self, node: usize) -> bool {
        self.paused[node].is_some()
    }
}
