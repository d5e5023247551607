//! Which notes of operations with keys damage took away: those operations may then count again.

use super::World;
use starling_node::crdt::{Dot, Object, ObjectId};
use std::collections::{BTreeMap, BTreeSet};

/// A clock that is so far off makes a node forget notes, which last a day, ms.
const DAY_MS: u64 = 24 * 3_600 * 1_000;

impl World {
    /// The notes on that node's disk, by the dots under which they are kept.
    pub(super) fn notes_on(&self, node: usize) -> BTreeMap<ObjectId, BTreeSet<Dot>> {
        let dots = |id: ObjectId| {
            let Some(Object::Kv(kv)) = self.nodes[node].held(&id, false) else { return None };
            Some((id, kv.siblings().map(|(dot, _)| *dot).collect()))
        };
        self.history.notes().into_iter().filter_map(dots).collect()
    }

    /// A node's disk was damaged that held these notes: remembers those that no disk has any more.
    pub(super) fn after_notes_lost(&mut self, had: BTreeMap<ObjectId, BTreeSet<Dot>>) {
        for (id, dots) in had {
            let copies = self.kept_copies(&id);
            let kept = |dot: &Dot| {
                copies.iter().any(|(copy, _)| match copy {
                    Object::Kv(kv) => kv.siblings().any(|(kept, _)| kept == dot),
                    _ => false,
                })
            };
            if !dots.iter().all(kept) {
                self.findings.count("notes_lost_with_disks", 1);
                self.history.forgotten.insert(id);
            }
        }
    }

    /// In the end: where a clock was a day off nothing is said of how often an operation counts.
    pub(super) fn forget_notes_by_clock(&mut self) {
        if self.skew_max_ms >= DAY_MS {
            let notes = self.history.notes();
            self.history.forgotten.extend(notes);
        }
    }
}
