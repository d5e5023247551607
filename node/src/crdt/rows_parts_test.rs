//! A collection in parts is the whole: windows of stored rows, pages, and what hints say. Shown
//! with sets, whose rows have all that rows can have but totals.
#![allow(clippy::disallowed_methods)] // Asks how many histories to run.

use super::rows::{Covers, Rows};
use super::set::{Set, SetOp};
use super::{
    Actor, CausalContext, DeltaType, Dot, Hlc, Mint, NodeId, Object, Observed, OpError, Row,
};
use crate::wire::codec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::collections::{BTreeMap, BTreeSet};

const MEMBERS: u8 = 6;

/// Histories of each test, unless `STARLING_HISTORIES` says otherwise.
const HISTORIES: u32 = 4_000;

#[allow(clippy::disallowed_methods)] // A test's own knob, no setting of the node.
fn for_histories(check: impl Fn(&[[u8; 4]])) {
    let asked = std::env::var("STARLING_HISTORIES").map(|n| n.parse().expect("a number"));
    let cases = asked.unwrap_or(HISTORIES);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let steps = prop::collection::vec(any::<[u8; 4]>(), 1..40);
    let result = TestRunner::new(config).run(&steps, |steps| {
        check(&steps);
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
}

/// A set as a store keeps it. A clear leaves its rows where they are.
#[derive(Clone, Debug, Default)]
struct Stored {
    header: Rows,
    rows: BTreeMap<Vec<u8>, Row>,
}

impl Stored {
    fn window<'a>(&self, members: impl Iterator<Item = &'a Vec<u8>>) -> Rows {
        let row = |member: &Vec<u8>| self.rows.get(member).cloned().unwrap_or_default();
        let rows = members.map(|member| (member.clone(), row(member))).collect();
        Rows { rows, covers: Covers::Rows, ..self.header.clone() }
    }

    /// Joins `other` into a window of the rows it speaks of.
    fn join(&mut self, other: &Rows) {
        let covered = self.rows.keys().filter(|member| other.covers.has(member));
        let named = other.mentioned().chain(other.deferred.keys());
        let mut window = self.window(covered.chain(named));
        let loaded: Vec<_> = window.rows.keys().cloned().collect();
        window.join(other);
        for member in loaded {
            // A window that has met a whole set has no empty rows.
            match window.rows.remove(&member).filter(|dots| !dots.is_empty()) {
                Some(dots) => self.rows.insert(member, dots),
                None => self.rows.remove(&member),
            };
        }
        assert!(window.rows.is_empty(), "rows that were not loaded: {window:?}");
        self.header = window.header();
    }

    fn whole(&self) -> Rows {
        let visible = |(member, dots)| (Vec::clone(member), self.header.visible(member, dots));
        let rows = self.rows.iter().map(visible).filter(|(_, dots)| !dots.is_empty());
        Rows { rows: rows.collect(), ..self.header.clone() }
    }
}

fn actor(n: usize) -> Actor {
    Actor { node: NodeId(n as u64 + 1), epoch: 0 }
}

fn delta_of(set: &Rows, op: &SetOp, mint: &mut Mint) -> Result<Rows, OpError> {
    Set(set.clone()).delta(op, mint).map(|delta| delta.0)
}

fn value(set: &Rows) -> Option<BTreeSet<Vec<u8>>> {
    Set(set.clone()).value()
}

fn member(n: u8) -> Vec<u8> {
    vec![b'a' + n % MEMBERS]
}

/// The same history on whole sets and on stored ones.
struct Twins {
    whole: Vec<Rows>,
    stored: Vec<Stored>,
    deltas: Vec<Rows>,
    reads: Vec<Observed>,
    used: Vec<u64>,
}

impl Twins {
    fn new(replicas: usize) -> Self {
        let (whole, stored) = (vec![Rows::default(); replicas], vec![Stored::default(); replicas]);
        Twins { whole, stored, deltas: vec![], reads: vec![], used: vec![0; replicas] }
    }

    /// Runs the history and compares after every step.
    fn run(replicas: usize, steps: &[[u8; 4]]) -> Self {
        let mut twins = Twins::new(replicas);
        steps.iter().for_each(|step| twins.step(*step));
        twins
    }

    fn step(&mut self, [what, at, b, c]: [u8; 4]) {
        let at = usize::from(at) % self.whole.len();
        match what {
            0..120 => self.operate(at, b, c),
            120..200 if !self.deltas.is_empty() => {
                let delta = self.deltas[usize::from(b) % self.deltas.len()].clone();
                self.join(at, &delta);
            }
            200..225 => {
                let from = self.whole[usize::from(b) % self.whole.len()].clone();
                self.join(at, &from);
            }
            _ => {
                self.reads.push(Observed::Context(Object::Set(Set(self.whole[at].clone())).seen()));
            }
        }
        assert_eq!(self.stored[at].whole(), self.whole[at], "{:?}", self.stored[at]);
    }

    fn join(&mut self, at: usize, other: &Rows) {
        self.whole[at].join(other);
        self.stored[at].join(other);
    }

    fn operate(&mut self, at: usize, kind: u8, seen: u8) {
        let observed = match seen {
            0..100 => Observed::Here,
            100..110 => Observed::Nothing,
            _ if self.reads.is_empty() => Observed::Here,
            pick => self.reads[usize::from(pick) % self.reads.len()].clone(),
        };
        let named = |n: u8| BTreeSet::from([member(n)]);
        let op = match kind {
            0..=20 => SetOp::Delete { observed },
            21..=80 => SetOp::Update { add: BTreeSet::new(), remove: named(kind), observed },
            81..=130 => SetOp::Update { add: named(kind), remove: named(kind + 1), observed },
            _ => SetOp::Update { add: named(kind), remove: BTreeSet::new(), observed },
        };
        let next = self.used[at] + 1;
        let mint = || Mint::new(actor(at), next, Hlc::default());
        let delta = delta_of(&self.whole[at], &op, &mut mint()).expect("within limits");
        let window = self.stored[at].window(op.members());
        assert_eq!(delta_of(&window, &op, &mut mint()).as_ref(), Ok(&delta), "from a window");
        self.used[at] += u64::from(delta.context.contains(Dot { actor: actor(at), counter: next }));
        self.join(at, &delta);
        self.deltas.push(delta);
    }

    fn everything(&self) -> Rows {
        let mut all = Rows::default();
        self.deltas.iter().for_each(|delta| all.join(delta));
        all
    }

    /// What any replica claims to have seen, it has: nothing is missing when all have met.
    fn assert_nothing_lost(&self) {
        let mut met = Rows::default();
        self.whole.iter().for_each(|whole| met.join(whole));
        assert_eq!(codec::encode(&met), codec::encode(&self.everything()));
    }
}

fn page(set: &Rows, after: Option<&Vec<u8>>, upto: Option<&Vec<u8>>) -> Rows {
    let covers = Covers::Range { after: after.cloned(), upto: upto.cloned() };
    let rows = set.rows.iter().filter(|(member, _)| covers.has(member));
    let rows = rows.map(|(member, dots)| (member.clone(), dots.clone())).collect();
    Rows { rows, covers, ..set.header() }
}

/// The page of at most `rows` members after `after`, and where the next one begins.
fn next_page(set: &Rows, after: Option<&Vec<u8>>, rows: usize) -> (Rows, Option<Vec<u8>>) {
    let rest = page(set, after, None);
    let last = rest.rows.keys().nth(rows - 1).filter(|_| rest.rows.len() > rows).cloned();
    (page(set, after, last.as_ref()), last)
}

/// What is joined after the last page: that all of the first page's context has been seen.
fn first_header(set: &Rows) -> Rows {
    Rows { covers: Covers::Rows, ..set.header() }
}

/// Streams replica 0's set to replica 1. Before each page `between` may change both; false stops.
fn stream(twins: &mut Twins, rows: usize, mut between: impl FnMut(&mut Twins) -> bool) -> bool {
    let first = first_header(&twins.whole[0]);
    let mut after = None;
    loop {
        let (page, next) = next_page(&twins.whole[0], after.as_ref(), rows);
        assert!(Object::Set(Set(page.clone())).is_canonical(), "{page:?}");
        twins.join(1, &page);
        if !between(twins) {
            return false;
        }
        after = match next {
            Some(next) => Some(next),
            None => break,
        };
    }
    twins.join(1, &first);
    true
}

#[test]
fn a_set_in_stored_rows_is_the_whole_set_after_every_step() {
    for_histories(|steps| drop(Twins::run(3, steps)));
}

#[test]
fn a_set_streamed_in_pages_while_nothing_else_happens_is_merged_whole() {
    for_histories(|steps| {
        let mut twins = Twins::run(3, steps);
        let mut merged = twins.whole[1].clone();
        merged.join(&twins.whole[0]);
        assert!(stream(&mut twins, 1 + steps.len() % 3, |_| true));
        assert_eq!(codec::encode(&twins.whole[1]), codec::encode(&merged));
        assert_eq!(twins.stored[1].whole(), merged);
    });
}

/// New writes come in between, on both sides, and some reach the other side.
#[test]
fn a_set_streamed_in_pages_between_new_writes_leaves_nothing_of_the_sender_out() {
    for_histories(|steps| {
        let (before, mut during) = steps.split_at(steps.len() / 2);
        let mut twins = Twins::run(3, before);
        let sent = twins.whole[0].clone();
        let old = twins.deltas.len();
        let finished = stream(&mut twins, 1 + steps.len() % 2, |twins| {
            let now = during.len().min(3);
            for [what, at, b, c] in &during[..now] {
                let new = twins.deltas.len() - old;
                match what {
                    0..150 => twins.operate(usize::from(*at) % 2, *b, *c),
                    _ if new == 0 => {}
                    _ => {
                        let delta = twins.deltas[old + usize::from(*b) % new].clone();
                        twins.join(usize::from(*at) % 2, &delta);
                    }
                }
            }
            during = &during[now..];
            true
        });
        assert!(finished);
        let mut again = twins.whole[1].clone();
        again.join(&sent);
        assert_eq!(again, twins.whole[1], "the sender's first state brings nothing new");
        assert_eq!(twins.stored[1].whole(), twins.whole[1]);
        twins.assert_nothing_lost();
    });
}

/// Anything may happen between pages, old deltas included, and the stream may stop anywhere.
#[test]
fn a_stream_that_stops_anywhere_does_no_harm_and_the_next_one_completes_it() {
    for_histories(|steps| {
        let (before, mut during) = steps.split_at(steps.len() / 2);
        let mut twins = Twins::run(3, before);
        stream(&mut twins, 1, |twins| {
            let now = during.len().min(4);
            during[..now].iter().for_each(|step| twins.step(*step));
            during = &during[now..];
            !during.is_empty()
        });
        twins.assert_nothing_lost();
        let mut merged = twins.whole[1].clone();
        merged.join(&twins.whole[0]);
        assert!(stream(&mut twins, 2, |_| true));
        assert_eq!(twins.whole[1], merged);
        assert_eq!(twins.stored[1].whole(), merged);
    });
}

#[test]
fn pages_of_one_range_from_three_replicas_have_the_members_of_the_merged_set() {
    for_histories(|steps| {
        let twins = Twins::run(3, steps);
        let (after, upto) = (member(steps[0][0] % 3), member(3 + steps[0][1] % 3));
        for (after, upto) in [(None, None), (None, Some(&upto)), (Some(&after), Some(&upto))] {
            let pages: Vec<Rows> = twins.whole.iter().map(|set| page(set, after, upto)).collect();
            let mut merged = Rows::default();
            twins.whole.iter().for_each(|set| merged.join(set));
            let expected = page(&merged, after, upto);
            for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0], [2, 1, 0]] {
                let mut read = pages[order[0]].clone();
                order[1..].iter().for_each(|n| read.join(&pages[*n]));
                assert_eq!(codec::encode(&read), codec::encode(&expected));
                assert!(read.present().eq(expected.present()));
            }
        }
    });
}

#[test]
fn a_page_meets_anything_else_the_same_way_from_both_sides() {
    for_histories(|steps| {
        let twins = Twins::run(3, steps);
        let upto = member(steps[0][0]);
        let page = page(&twins.whole[0], None, Some(&upto));
        for other in twins.whole.iter().chain(&twins.deltas) {
            let (mut there, mut here) = (other.clone(), page.clone());
            there.join(&page);
            here.join(other);
            assert_eq!(there, here);
        }
    });
}

/// What is kept of a missed delta is which dots it said of which member; delivered are the rows
/// as they are by then, and what is cleared or waits.
#[test]
fn hints_bring_whatever_the_missed_delta_would_have_brought() {
    for_histories(|steps| {
        let twins = Twins::run(3, steps);
        for missed in &twins.deltas {
            let writer = twins.whole.iter().find(|set| {
                let mut joined = (*set).clone();
                joined.join(missed);
                joined == **set
            });
            let Some(holder) = writer else { continue };
            let mut target = twins.whole[2].clone();
            for member in missed.mentioned() {
                let live = holder.rows.get(member).cloned().unwrap_or_default();
                let owed = Rows::owed(member, &missed.said_of(member), &live);
                assert!(Object::Set(Set(owed.clone())).is_canonical());
                target.join(&owed);
            }
            target.join(&holder.clears());
            let mut again = target.clone();
            again.join(missed);
            if missed.deferred.is_empty() {
                assert_eq!(again, target, "the delta {missed:?} brings something new");
            }
            let mut met = target.clone();
            twins.whole.iter().for_each(|set| met.join(set));
            assert_eq!(met, twins.everything(), "a hint claimed what it did not bring");
        }
    });
}

#[test]
fn a_clear_without_a_scan_takes_all_rows_or_none() {
    for_histories(|steps| {
        let twins = Twins::run(3, steps);
        for before in &twins.whole {
            for delta in twins.deltas.iter().filter(|delta| !delta.cleared.is_empty()) {
                let mut after = before.clone();
                after.join(delta);
                if before.clear_needs_scan(delta) {
                    continue;
                }
                let left = before.rows.keys().filter(|member| after.rows.contains_key(*member));
                let left = left.count();
                assert!(left == 0 || left == before.rows.len(), "{before:?} and {delta:?}");
            }
        }
    });
}

fn add(name: &str) -> SetOp {
    let add = BTreeSet::from([name.as_bytes().to_vec()]);
    SetOp::Update { add, remove: BTreeSet::new(), observed: Observed::Here }
}

fn remove(name: &str, observed: Observed) -> SetOp {
    let remove = BTreeSet::from([name.as_bytes().to_vec()]);
    SetOp::Update { add: BTreeSet::new(), remove, observed }
}

fn apply(set: &mut Rows, n: usize, op: &SetOp) -> Rows {
    let next = set.context.highest(actor(n)) + 1;
    let mut mint = Mint::new(actor(n), next, Hlc::default());
    let delta = delta_of(set, op, &mut mint).expect("within limits");
    set.join(&delta);
    delta
}

fn names(set: &Rows) -> Vec<String> {
    set.present().map(|(name, _)| String::from_utf8_lossy(name).into_owned()).collect()
}

#[test]
fn a_removal_reaches_adds_that_arrive_later_and_no_other_member() {
    let mut there = Rows::default();
    let adds = [apply(&mut there, 0, &add("x")), apply(&mut there, 0, &add("y"))];
    let seen = Observed::Context(Object::Set(Set(there.clone())).seen());
    let mut here = Rows::default();
    let removal = apply(&mut here, 1, &remove("x", seen));
    assert_eq!(here.deferred.len(), 1);
    adds.iter().for_each(|delta| here.join(delta));
    assert_eq!(names(&here), ["y"]);
    assert!(here.deferred.is_empty(), "settled: {here:?}");
    there.join(&removal);
    assert_eq!(codec::encode(&there), codec::encode(&here));
}

#[test]
fn a_member_that_both_sides_had_and_one_removed_is_gone() {
    let mut here = Rows::default();
    apply(&mut here, 0, &add("x"));
    let mut there = here.clone();
    apply(&mut there, 1, &remove("x", Observed::Here));
    let old = here.clone();
    here.join(&there);
    assert_eq!(value(&here), None);
    here.join(&old);
    assert_eq!(value(&here), None, "an old state brings nothing back");
}

#[test]
fn a_clear_takes_what_it_saw_and_leaves_concurrent_adds() {
    let mut here = Rows::default();
    ["x", "y"].iter().for_each(|name| drop(apply(&mut here, 0, &add(name))));
    let mut there = here.clone();
    apply(&mut there, 1, &add("y"));
    apply(&mut there, 1, &add("z"));
    let clear = apply(&mut here, 0, &SetOp::Delete { observed: Observed::Here });
    assert_eq!(value(&here), None);
    apply(&mut here, 0, &add("w"));
    there.join(&clear);
    assert_eq!(names(&there), ["y", "z"]);
    here.join(&there);
    assert_eq!(names(&here), ["w", "y", "z"]);
}

#[test]
fn a_row_outside_its_page_and_a_dot_outside_its_context_are_found_out() {
    let mut set = Rows::default();
    ["x", "y"].iter().for_each(|name| drop(apply(&mut set, 0, &add(name))));
    let mut sound = page(&set, None, Some(&b"x".to_vec()));
    assert!(Object::Set(Set(sound.clone())).is_canonical());
    let row = set.rows[b"y".as_slice()].clone();
    sound.rows.insert(b"y".to_vec(), row);
    assert!(!Object::Set(Set(sound)).is_canonical());
    set.context = CausalContext::new();
    assert!(!Object::Set(Set(set)).is_canonical());
}
