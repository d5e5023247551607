//! Writes that some owners may lack and only the replica that was to apply them can tell: its
//! answer never came, or it alone is known to have the write.
//!
//! That replica is told whom it owes them to, again and again until it says that it does: one word
//! that is lost must not leave a write where nobody owes it. Only writes that not all owners
//! acknowledged come here. When this node ends, so does the list, and the others compare.

use crate::cluster::View;
use crate::crdt::NodeId;
use crate::wire::peer::{OpId, PeerBody};
use std::collections::{BTreeMap, BTreeSet};

/// Writes remembered, as many as a replica remembers of what it applied.
const UNHEARD_MAX: usize = 16_384;
/// Writes of which one message tells.
const TOLD_MAX: usize = 4_096;

/// Writes to tell of, by the replica that was to apply them.
#[derive(Debug)]
pub(super) struct Unheard {
    retry_us: u64,
    writes: BTreeMap<(NodeId, OpId), Told>,
    /// When each is next told, µs.
    timers: BTreeSet<(u64, NodeId, OpId)>,
}

/// A write to tell of.
#[derive(Debug)]
struct Told {
    /// The owners that may lack it.
    owners: Vec<NodeId>,
    due_us: u64,
}

impl Unheard {
    /// There are none; what is not answered is said again after `retry_us`.
    pub(super) fn new(retry_us: u64) -> Unheard {
        Unheard { retry_us, writes: BTreeMap::new(), timers: BTreeSet::new() }
    }

    /// Remembers a write that is to be told at once; whether there was room.
    pub(super) fn note(
        &mut self,
        applier: NodeId,
        op: OpId,
        owners: Vec<NodeId>,
        now_us: u64,
    ) -> bool {
        if self.writes.len() == UNHEARD_MAX {
            return false;
        }
        let before = self.writes.insert((applier, op), Told { owners, due_us: now_us });
        assert!(before.is_none(), "an operation ends once");
        self.timers.insert((now_us, applier, op));
        true
    }

    /// The replica owes them now, or has nothing of them and never will.
    pub(super) fn owed(&mut self, applier: NodeId, ops: &[OpId]) {
        for op in ops {
            if let Some(told) = self.writes.remove(&(applier, *op)) {
                self.timers.remove(&(told.due_us, applier, *op));
            }
        }
    }

    /// What to tell when it is due, to the replicas that can be reached.
    pub(super) fn tell(&mut self, view: &View, now_us: u64) -> Vec<(NodeId, PeerBody)> {
        let mut due: BTreeMap<NodeId, Vec<(OpId, Vec<NodeId>)>> = BTreeMap::new();
        while let Some((_, applier, op)) = self.timers.first().filter(|(due, ..)| *due <= now_us) {
            let (applier, op) = (*applier, *op);
            self.timers.pop_first();
            let told = self.writes.get_mut(&(applier, op)).expect("each has one timer");
            told.due_us = now_us + self.retry_us;
            self.timers.insert((told.due_us, applier, op));
            if view.is_alive(applier) {
                due.entry(applier).or_default().push((op, told.owners.clone()));
            }
        }
        let messages = |(applier, ops): (NodeId, Vec<(OpId, Vec<NodeId>)>)| {
            let chunks: Vec<_> = ops.chunks(TOLD_MAX).map(<[_]>::to_vec).collect();
            chunks.into_iter().map(move |chunk| (applier, PeerBody::Unheard(chunk)))
        };
        due.into_iter().flat_map(messages).collect()
    }

    /// When `tell` is next due, µs.
    pub(super) fn due(&self) -> Option<u64> {
        self.timers.first().map(|(due, ..)| *due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_answers_is_bounded_and_goes_with_its_answer() {
        let (applier, owner) = (NodeId(1), NodeId(2));
        let mut unheard = Unheard::new(1_000);
        assert_eq!(unheard.due(), None);
        for op in 0..UNHEARD_MAX as u64 {
            assert!(unheard.note(applier, OpId(op), vec![owner], 5 + op));
        }
        assert!(!unheard.note(owner, OpId(0), vec![applier], 9), "there is no room");
        assert_eq!(unheard.due(), Some(5));
        unheard.owed(owner, &[OpId(0)]);
        let all: Vec<OpId> = (0..UNHEARD_MAX as u64).map(OpId).collect();
        unheard.owed(applier, &all[1..]);
        unheard.owed(applier, &all[1..]);
        assert_eq!((unheard.writes.len(), unheard.due()), (1, Some(5)));
        unheard.owed(applier, &all);
        assert_eq!((unheard.writes.len(), unheard.timers.len(), unheard.due()), (0, 0, None));
    }
}
