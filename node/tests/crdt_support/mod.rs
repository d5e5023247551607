//! Random histories of a few replicas, and what each type must say after them.
//!
//! A history is run twice: by the kernel, and by a specification that knows only which writes a
//! replica has received and what each write observed. Nothing of the kernel is used in it: sets
//! of writes are bits of an integer.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // Asks how many histories to run.
#![allow(dead_code)] // Each test binary uses a part of it.

pub mod oracle;
pub mod small;
pub mod spec;
pub mod spec_map;
pub mod spec_zset;

use bincode::{Decode, Encode};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use starling_node::crdt::{
    Actor, DeltaType, Dot, Hlc, Mint, NodeId, Object, Observed, OpError, SeenContext,
};
use starling_node::wire::codec;
use std::collections::BTreeMap;
use std::fmt::Debug;

/// Writes received, one bit each.
pub type Events = u64;

/// Histories a test runs unless `STARLING_HISTORIES` says otherwise.
pub const HISTORIES: u32 = 20_000;

/// Steps of the longest history; each is at most one write.
pub const STEPS_MAX: usize = 24;

/// Replicas of the small histories that are gone through one and all.
pub const REPLICAS: usize = 3;

/// What a write observed, in terms of the history.
#[derive(Clone, Copy, Debug)]
pub enum Seen {
    Here,
    Read(Events),
    Nothing,
}

/// A write as the specification is told of it.
#[derive(Clone, Copy, Debug)]
pub struct Write {
    pub id: usize,
    pub kind: u8,
    /// Writes the replica had received before.
    pub known: Events,
    pub seen: Seen,
    /// Writes of one replica since it last lost or changed its identity or its memory.
    pub run: u32,
    /// The run it speaks to, of types that have such operations.
    pub target: Option<u32>,
}

/// A data type under test with its specification.
pub trait Subject: 'static {
    type State: DeltaType + Encode + Decode<()> + Debug + crdts::CvRDT;
    /// What the specification keeps of a write.
    type Fact: Clone + PartialEq;
    /// The value in a form both sides can make.
    type View: PartialEq + Debug;
    /// Operations there are.
    const KINDS: u8;

    fn op(kind: u8, id: usize, seen: Observed, floor: u64) -> <Self::State as DeltaType>::Op;
    /// As `op`, with the first dots of the runs of others there are, to choose a target from.
    fn op_among(
        _others: &[(u32, Dot)],
        kind: u8,
        id: usize,
        seen: Observed,
        floor: u64,
    ) -> (<Self::State as DeltaType>::Op, Option<u32>) {
        (Self::op(kind, id, seen, floor), None)
    }
    fn object(state: Self::State) -> Object;
    fn view(value: <Self::State as DeltaType>::Value) -> Self::View;
    fn fact(facts: &[Self::Fact], write: Write) -> Self::Fact;
    fn spec(facts: &[Self::Fact], known: Events) -> Option<Self::View>;
}

/// One step of a history; indices are taken modulo what there is.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// A client's operation; `seen` picks here, nothing, or an earlier read.
    Op { at: u8, kind: u8, seen: u8 },
    /// Any delta, at any time, any number of times.
    Deliver { to: u8, delta: u8 },
    /// The whole state.
    Merge { to: u8, from: u8 },
    /// A client reads and keeps the context.
    Read { at: u8 },
    /// Two deltas become one.
    Coalesce { a: u8, b: u8 },
    /// A new actor on the same data.
    NewEpoch { at: u8 },
    /// A new actor on an empty disk.
    Wipe { at: u8 },
    /// The object is collected; the dot floor remembers how far it came.
    Forget { at: u8 },
}

impl Step {
    fn of_bytes([what, a, b, c]: [u8; 4]) -> Step {
        match what {
            0..115 => Step::Op { at: a, kind: b, seen: c },
            115..185 => Step::Deliver { to: a, delta: b },
            185..210 => Step::Merge { to: a, from: b },
            210..228 => Step::Read { at: a },
            228..240 => Step::Coalesce { a: b, b: c },
            240..246 => Step::NewEpoch { at: a },
            246..251 => Step::Wipe { at: a },
            251.. => Step::Forget { at: a },
        }
    }
}

/// Whether the small histories are to be gone through further than CI has time for.
pub fn wide() -> bool {
    match std::env::var("STARLING_SMALL").as_deref() {
        Ok("wide") => true,
        Ok(other) => panic!("STARLING_SMALL is wide or not set, not {other:?}"),
        Err(_) => false,
    }
}

/// Runs `check` on random histories of 2 to 4 replicas: as many as asked for, otherwise that part
/// of the usual number, for checks that take long.
pub fn for_histories(part: u32, check: impl Fn(u8, &[Step])) {
    let asked = std::env::var("STARLING_HISTORIES").map(|n| n.parse().expect("a number"));
    let cases = asked.unwrap_or(HISTORIES / part);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let steps = prop::collection::vec(any::<[u8; 4]>().prop_map(Step::of_bytes), 1..=STEPS_MAX);
    let result = TestRunner::new(config).run(&(2u8..=4, steps), |(replicas, steps)| {
        check(replicas, &steps);
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
}

/// A value with the writes in it.
#[derive(Clone, Debug)]
pub struct Known<T> {
    pub state: T,
    pub events: Events,
}

#[derive(Clone, Debug)]
struct Replica<T> {
    known: Known<T>,
    actor: Actor,
    floor: u64,
    run: u32,
}

/// Replicas, deltas in flight, contexts in the hands of clients, and the history.
pub struct World<S: Subject> {
    replicas: Vec<Replica<S::State>>,
    pub deltas: Vec<Known<S::State>>,
    reads: Vec<(SeenContext, Events)>,
    facts: Vec<S::Fact>,
    /// The dot each write took, if it took one.
    dots: Vec<Option<Dot>>,
    /// The first dot of each run that has one.
    runs: Vec<(u32, Dot)>,
    lives: u32,
    bytes: BTreeMap<Events, Vec<u8>>,
}

impl<S: Subject> Clone for World<S> {
    fn clone(&self) -> Self {
        World {
            replicas: self.replicas.clone(),
            deltas: self.deltas.clone(),
            reads: self.reads.clone(),
            facts: self.facts.clone(),
            dots: self.dots.clone(),
            runs: self.runs.clone(),
            lives: self.lives,
            bytes: self.bytes.clone(),
        }
    }
}

impl<S: Subject> World<S> {
    pub fn new(replicas: u8) -> Self {
        let replica = |n| Replica {
            known: Known { state: S::State::default(), events: 0 },
            actor: actor_of(n, 0),
            floor: 0,
            run: n,
        };
        let replicas: Vec<_> = (0..u32::from(replicas)).map(replica).collect();
        let lives = replicas.len() as u32;
        let (deltas, reads, facts, dots, runs, bytes) = Default::default();
        World { replicas, deltas, reads, facts, dots, runs, lives, bytes }
    }

    /// Runs a history and checks every replica after every step.
    pub fn run(replicas: u8, steps: &[Step]) -> Self {
        let mut world = World::new(replicas);
        for step in steps {
            let touched = world.step(*step);
            world.check(touched);
        }
        world
    }

    /// Whole states of the replicas.
    pub fn states(&self) -> impl Iterator<Item = &Known<S::State>> {
        self.replicas.iter().map(|replica| &replica.known)
    }

    /// The first dot of a single write.
    pub fn minted(&self, event: Events) -> Option<Dot> {
        self.dots[event.trailing_zeros() as usize]
    }

    /// The replica that the step touched.
    pub fn step(&mut self, step: Step) -> usize {
        let at = |n: u8| usize::from(n) % self.replicas.len();
        match step {
            Step::Op { at: n, kind, seen } => {
                let n = at(n);
                self.operate(n, kind % S::KINDS, seen);
                n
            }
            Step::Deliver { to, delta } => {
                let to = at(to);
                if !self.deltas.is_empty() {
                    let delta = self.deltas[usize::from(delta) % self.deltas.len()].clone();
                    self.replicas[to].known.join(&delta);
                }
                to
            }
            Step::Merge { to, from } => {
                let (to, from) = (at(to), self.replicas[at(from)].known.clone());
                crdts::CvRDT::merge(&mut self.replicas[to].known.state, from.state);
                self.replicas[to].known.events |= from.events;
                to
            }
            Step::Read { at: n } => {
                let known = &self.replicas[at(n)].known;
                self.reads.push((S::object(known.state.clone()).seen(), known.events));
                at(n)
            }
            Step::Coalesce { a, b } => {
                if !self.deltas.is_empty() {
                    let mut both = self.deltas[usize::from(a) % self.deltas.len()].clone();
                    both.join(&self.deltas[usize::from(b) % self.deltas.len()]);
                    self.deltas.push(both);
                }
                0
            }
            Step::NewEpoch { at: n } => self.begin_life(at(n), true),
            Step::Wipe { at: n } => {
                let n = self.begin_life(at(n), true);
                self.replicas[n].known = Known { state: S::State::default(), events: 0 };
                n
            }
            Step::Forget { at: n } => {
                let n = self.begin_life(at(n), false);
                let replica = &mut self.replicas[n];
                let highest = replica.known.state.context().highest(replica.actor);
                replica.floor = replica.floor.max(highest);
                replica.known = Known { state: S::State::default(), events: 0 };
                n
            }
        }
    }

    fn begin_life(&mut self, n: usize, new_actor: bool) -> usize {
        self.lives += 1;
        self.replicas[n].run = self.lives;
        if new_actor {
            self.replicas[n].actor = actor_of(n as u32, u64::from(self.lives));
            self.replicas[n].floor = 0;
        }
        n
    }

    fn operate(&mut self, n: usize, kind: u8, seen: u8) {
        let replica = &mut self.replicas[n];
        let (observed, seen) = match seen {
            0..120 => (Observed::Here, Seen::Here),
            120..150 => (Observed::Nothing, Seen::Nothing),
            _ if self.reads.is_empty() => (Observed::Here, Seen::Here),
            pick => {
                let (context, events) = self.reads[usize::from(pick) % self.reads.len()].clone();
                (Observed::Context(context), Seen::Read(events))
            }
        };
        let id = self.facts.len();
        let state = &replica.known.state;
        let next = state.context().highest(replica.actor).max(replica.floor) + 1;
        // Later writes have earlier clocks: no merge may care.
        let at = Hlc { wall_ms: 1_000 - id as u64, logical: 0 };
        let mut mint = Mint::new(replica.actor, next, at).with_floor(replica.floor);
        let others = self.runs.iter().filter(|(run, _)| *run != replica.run);
        let others: Vec<_> = others.copied().collect();
        let (op, target) = S::op_among(&others, kind, id, observed, replica.floor);
        let delta: Result<_, OpError> = state.delta(&op, &mut mint);
        // Refused is as not asked; nothing else is ever refused in a history.
        if let Err(OpError::InsufficientRights { .. }) = &delta {
            assert_eq!(mint.dot().counter, next, "a refusal uses no dot");
            return;
        }
        let delta = delta.expect("no history reaches a limit");
        let first = Dot { actor: replica.actor, counter: next };
        self.dots.push((mint.dot() != first).then_some(first));
        let (known, run) = (replica.known.events, replica.run);
        if self.dots[id].is_some() && self.runs.iter().all(|(begun, _)| *begun != run) {
            self.runs.push((run, first));
        }
        let write = Write { id, kind, known, seen, run, target };
        self.facts.push(S::fact(&self.facts, write));
        let delta = Known { state: delta, events: 1 << id };
        replica.known.join(&delta);
        self.deltas.push(delta);
    }

    /// The replica says what the specification says; its bytes are those of every other value
    /// with the same writes; decoding gives it back.
    pub fn check(&mut self, n: usize) {
        let known = self.replicas[n].known.clone();
        self.check_value(&known);
        self.check_bytes(&known);
    }

    pub fn check_value(&self, known: &Known<S::State>) {
        let found = known.state.value().map(S::view);
        let expected = S::spec(&self.facts, known.events);
        assert_eq!(found, expected, "after writes {:b}: {:?}", known.events, known.state);
    }

    pub fn check_bytes(&mut self, known: &Known<S::State>) {
        let bytes = codec::encode(&known.state);
        let first = self.bytes.entry(known.events).or_insert_with(|| bytes.clone());
        assert_eq!(*first, bytes, "same writes, other bytes: {:?}", known.state);
    }

    /// All values of this history: whole states, deltas, joins of deltas.
    pub fn pool(&self) -> Vec<&Known<S::State>> {
        self.states().chain(&self.deltas).collect()
    }
}

impl<T: DeltaType> Known<T> {
    pub fn join(&mut self, other: &Known<T>) {
        self.state.join(&other.state);
        self.events |= other.events;
    }

    pub fn joined(&self, other: &Known<T>) -> Known<T> {
        let mut both = self.clone();
        both.join(other);
        both
    }
}

pub fn actor_of(node: u32, epoch: u64) -> Actor {
    Actor { node: NodeId(u64::from(node) + 1), epoch }
}
