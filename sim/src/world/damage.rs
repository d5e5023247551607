//! Damage to disks, and what it takes away: which acknowledged writes are still on a disk that
//! acknowledged them.

use super::{Event, World};
use crate::checks;
use crate::faults::bit_flip::Part;
use crate::faults::{Stop, Strike};
use crate::history::{Action, Record};
use crate::leaves;
use crate::node::{Node, Owed};
use rand::Rng as _;
use starling_node::crdt::{
    CausalContext, DeltaType, Dot, Leaf, MapOp, Object, ObjectId, ObjectOp, Observed, Row, SetOp,
    TypeTag,
};
use starling_node::store::Family;
use std::collections::{BTreeMap, BTreeSet};

/// Damage of one run.
pub(super) struct Damage {
    /// By node: until when it stays down to be restored, microseconds.
    pub(super) down_until_us: Vec<u64>,
}

impl Damage {
    pub(super) fn new(nodes: usize) -> Damage {
        Damage { down_until_us: vec![0; nodes] }
    }
}

impl World {
    pub(super) fn strike(&mut self, strike: Strike) {
        self.trace.add(self.now_us, format_args!("strike {strike:?}"));
        if self.takes_the_last_layout(strike) {
            self.findings.count("strikes_spared", 1);
            return;
        }
        match strike {
            Strike::Flip { node, part, rows } => self.flip(node, part, rows),
            Strike::Wipe { node } => {
                self.bring_down(node, Stop::Crash);
                self.findings.count("disks_wiped", 1);
                let notes = self.notes_on(node);
                self.nodes[node].disk_mut().wipe();
                self.after_damage(node, None);
                self.after_notes_lost(notes);
            }
            Strike::Backup { node } => self.nodes[node].back_up(),
            Strike::Restore { node, down_ms } => {
                let Some(copy) = self.nodes[node].backup.take() else { return };
                self.bring_down(node, Stop::Crash);
                self.findings.count("backups_restored", 1);
                let notes = self.notes_on(node);
                *self.nodes[node].disk_mut() = copy;
                self.after_damage(node, None);
                self.after_notes_lost(notes);
                let until_us = self.now_us + down_ms * 1_000;
                self.damage.down_until_us[node] = until_us;
                self.push(until_us, Event::Faults);
            }
        }
    }

    /// A cluster of which no disk holds the layout any more is a new cluster: that is spared.
    fn takes_the_last_layout(&self, strike: Strike) -> bool {
        let hit = match strike {
            Strike::Wipe { node } | Strike::Restore { node, .. } => node,
            Strike::Flip { node, part: Part::Layout, .. } => node,
            Strike::Flip { .. } | Strike::Backup { .. } => return false,
        };
        let mut others = self.nodes.iter().enumerate().filter(|(at, _)| *at != hit);
        !others.any(|(_, node)| node.keeps_layout())
    }

    fn bring_down(&mut self, node: usize, stop: Stop) {
        if self.nodes[node].is_up() {
            self.stop(node, stop);
        }
    }

    fn flip(&mut self, node: usize, part: Part, rows: usize) {
        let family = match part {
            Part::Rows => Family::Rows,
            Part::Headers => Family::Headers,
            Part::Hints => Family::Hints,
            Part::Layout => Family::Meta,
        };
        for _ in 0..rows {
            let (row, bit) = (self.disk_rng.random(), self.disk_rng.random());
            let Some(key) = self.nodes[node].disk_mut().flip(family, row, bit) else { return };
            self.findings.count("bits_flipped", 1);
            let object = match family {
                Family::Headers | Family::Rows => starling_node::replica::object_of_key(&key),
                // A hint mark is no copy: the stand-in's rows are.
                Family::Hints | Family::Meta | Family::Scores => continue,
            };
            if let Some(object) = object {
                self.trace.add(self.now_us, format_args!("flipped in {family:?} of {object}"));
                self.after_damage(node, Some(&object));
                if object.noted().is_some() {
                    self.history.forgotten.insert(object);
                }
            }
        }
    }

    /// Copies on disk that will not be collected: those of owners, and of stand-ins, each of these
    /// with the dots that it has not handed over.
    pub(super) fn kept_copies(&self, object: &ObjectId) -> Vec<(Object, Option<Owed>)> {
        let owners = match &self.formed {
            Some(layout) => checks::owners(layout, &self.nodes, object),
            None => Vec::new(),
        };
        let ids: Vec<_> = self.nodes.iter().map(Node::id).collect();
        let mut copies = Vec::new();
        for (at, node) in self.nodes.iter().enumerate() {
            let owed = match owners.contains(&at) {
                true => None,
                false => match node.owed(object, &ids) {
                    // Of a small object a mark stands for all of it.
                    Some(owed) => object.tag.has_rows().then_some(owed),
                    None => continue,
                },
            };
            copies.extend(node.held(object, true).map(|copy| (copy, owed)));
        }
        copies
    }

    /// A node's disk was damaged, in one object or in all: notes which acknowledged writes are on
    /// no disk any more. (What stand-ins hand over moves from disk to disk, so only now can it be
    /// told where each write is.)
    fn after_damage(&mut self, node: usize, only: Option<&ObjectId>) {
        self.nodes[node].damaged_us = self.now_us;
        let mut copies = BTreeMap::new();
        let (mut lost, mut unremoved) = (Vec::new(), Vec::new());
        for (place, record) in self.history.records.iter().enumerate() {
            let object = &record.intent.object;
            if record.durable_write().is_none() || only.is_some_and(|only| only != object) {
                continue;
            }
            let Some((said, removal)) = record.said() else { continue };
            let copies = copies.entry(object).or_insert_with(|| self.kept_copies(object));
            let holds = |removal| copies.iter().any(|copy| holds(record, said, removal, copy));
            // What a removal took off totals is not told by live dots.
            let totalled = matches!(object.tag, TypeTag::Counter | TypeTag::Zset);
            let untold = removal && totalled;
            if untold || !holds(removal) {
                lost.push(place);
            } else if mixed(record) && !holds(true) {
                unremoved.push(place);
            }
        }
        self.findings.count("writes_lost_with_disks", lost.len() as u64);
        lost.into_iter().for_each(|place| self.history.records[place].lost = true);
        unremoved.into_iter().for_each(|place| self.history.records[place].unremoved = true);
    }
}

/// Whether the write both adds and removes: it may lose the one and keep the other.
fn mixed(record: &Record) -> bool {
    match &record.intent.action {
        Action::Write(ObjectOp::Set(SetOp::Update { add, remove, .. })) => {
            !add.is_empty() && !remove.is_empty()
        }
        Action::Write(op @ ObjectOp::Map(_)) => {
            leaves::effect(op).is_some_and(|effect| effect.leaves > 0 && effect.is_removal())
        }
        _ => false,
    }
}

/// Whether the copy, with what a stand-in still owes of it, has the write; as a `removal` with all
/// that the replica which applied it had removed before.
fn holds(
    record: &Record,
    said: &CausalContext,
    removal: bool,
    (copy, owed): &(Object, Option<Owed>),
) -> bool {
    let seen = record.durable_write().map(|(_, written)| &written.seen.dots);
    let known = seen.filter(|_| removal).unwrap_or(said);
    let waits = waiting(record);
    let mut all_said = said.clone();
    all_said.join(&waits);
    let all = |owed: &Owed| {
        let mut about = CausalContext::new();
        let of_it = |row: &Option<Vec<u8>>| match (row, rows_of(record)) {
            (Some(row), Some(rows)) => rows.contains(row),
            // What waits for a removal is not what an addition added.
            (None, Some(_)) => removal || mixed(record),
            (_, None) => true,
        };
        owed.iter().filter(|(row, _)| of_it(row)).for_each(|(_, dots)| about.join(dots));
        !all_said.is_empty() && all_said.is_subset(&about)
    };
    let kept = owed.as_ref().is_none_or(all);
    let live = || removable(record, copy).iter().any(|dot| known.contains(*dot));
    known.is_subset(copy.context())
        && kept
        && !(removal && live())
        && keeps_waiting(record, &waits, copy)
}

/// The rows that a change of a set is about: what a stand-in owes of others is not this write.
fn rows_of(record: &Record) -> Option<BTreeSet<&Vec<u8>>> {
    match &record.intent.action {
        Action::Write(
            ObjectOp::Set(SetOp::Update { add, remove, .. })
            | ObjectOp::RwSet(SetOp::Update { add, remove, .. }),
        ) => Some(add.union(remove).collect()),
        _ => None,
    }
}

/// Live dots of a copy that the removal would take away, had it seen them.
fn removable(record: &Record, copy: &Object) -> Vec<Dot> {
    match (&record.intent.action, copy) {
        (Action::Write(ObjectOp::Set(SetOp::Update { remove, .. })), Object::Set(set)) => {
            let named = set.members().filter(|(member, _)| remove.contains(*member));
            named.flat_map(|(_, row)| row.live.keys().copied()).collect()
        }
        (Action::Write(op), Object::Map(map)) => {
            let effect = leaves::effect(op);
            effect.map_or_else(Vec::new, |effect| leaves::live_in_removed(&effect, map))
        }
        _ => copy.live_dots(),
    }
}

/// Dots that a removal of members observed and the replica that applied it had not seen: there the
/// removal waits for them, outside its context, so `said` and `seen` do not name them. A disk that
/// holds the removal holds these as well.
fn waiting(record: &Record) -> CausalContext {
    match record.durable_write() {
        Some((
            ObjectOp::Set(SetOp::Update { remove, observed: Observed::Context(seen), .. }),
            written,
        )) if !remove.is_empty() => seen.dots.minus(&written.seen.dots),
        Some((
            op @ ObjectOp::Map(MapOp::Update { observed: Observed::Context(seen), .. }),
            written,
        )) if leaves::effect(op).is_some_and(|effect| effect.is_removal()) => {
            seen.dots.minus(&written.seen.dots)
        }
        _ => CausalContext::new(),
    }
}

/// Whether in the copy every one of these dots is dead for the members that were removed: seen and
/// not live, or dead on arrival.
fn keeps_waiting(record: &Record, waits: &CausalContext, copy: &Object) -> bool {
    // Below which fields of a map it waits is not looked at: with a disk that had it, it is lost.
    if matches!(copy, Object::Map(_)) {
        return waits.is_empty();
    }
    let (Action::Write(ObjectOp::Set(SetOp::Update { remove, .. })), Object::Set(set)) =
        (&record.intent.action, copy)
    else {
        return true;
    };
    let live = removable(record, copy);
    let dots = waits.iter().flat_map(|(actor, runs)| {
        let counters = runs.iter().flat_map(|(from, to)| *from..=*to);
        counters.map(move |counter| Dot { actor, counter })
    });
    let dead = |dot: Dot| match set.context().contains(dot) {
        true => !live.contains(&dot),
        false => {
            remove.iter().all(|member| set.visible(member, &Row::of(dot, Leaf::Here)).is_empty())
        }
    };
    dots.into_iter().all(dead)
}
