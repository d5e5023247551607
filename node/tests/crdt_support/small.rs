//! All small histories of a type: what three replicas can do in four operations.
//!
//! A history says of each operation which replica did it, which of the earlier deltas that replica
//! had received by then (every set of them, for any delta can come at any time), what the
//! operation was, and what its client had seen: what is here, nothing, or what a read showed at a
//! replica that had any set of the earlier deltas. Replicas are interchangeable, so a new one is
//! always the next; two writes that come to the same delta and the same fact are one.
//!
//! *Deliveries* need no history of their own. After each operation, for all sets of deltas `A` and
//! `B`, the state made of `A` joined with the state made of `B` must be the state made of both,
//! what the specification says, canonical, and the same after encoding. So by induction every
//! sequence of deliveries, of deltas, of joined deltas, of whole states, in any order, any
//! number of times, to anybody, leaves a state that was looked at. A *world* is a history and what
//! each of the replicas has received by its end.

use super::{Events, REPLICAS, Seen, Subject, Write, actor_of};
use starling_node::crdt::{Actor, DeltaType, Dot, Hlc, Mint, Observed, OpError};
use starling_node::wire::codec;
use std::collections::BTreeSet;
use xxhash_rust::xxh3::xxh3_128;

/// How far to go.
#[derive(Clone, Copy, Debug)]
pub struct Bound<'a> {
    /// Operations of the longest histories.
    pub operations: usize,
    /// The operations there are.
    pub kinds: &'a [u8],
    /// Whether clients come with what they have read elsewhere, or with nothing.
    pub contexts: bool,
    /// Whether before any operation its replica may have begun a new life.
    pub lives: bool,
}

/// What there was, by the number of operations less one.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Count {
    pub histories: Vec<u64>,
    pub worlds: Vec<u64>,
    /// Different sets of deltas in them.
    pub met: u64,
}

impl Count {
    fn add(&mut self, operations: usize, worlds: u64) {
        self.histories.resize(self.histories.len().max(operations), 0);
        self.worlds.resize(self.histories.len(), 0);
        self.histories[operations - 1] += 1;
        self.worlds[operations - 1] += worlds;
    }
}

#[derive(Clone, Copy)]
enum Life {
    Same,
    /// A new actor on the same data.
    Epoch,
    /// A new actor on an empty disk.
    Wipe,
    /// Collected; the dot floor remembers how far the actor came.
    Forget,
}

#[derive(Clone, Copy)]
struct Replica {
    actor: Actor,
    floor: u64,
    run: u32,
    has: Events,
    wrote: bool,
}

struct Histories<'a, S: Subject> {
    bound: Bound<'a>,
    replicas: [Replica; REPLICAS],
    /// What any set of the deltas makes of an empty state, and what it makes joined with each
    /// other only: of a collection that speaks for the rows it mentions. Both by the set.
    states: Vec<S::State>,
    deltas: Vec<S::State>,
    facts: Vec<S::Fact>,
    /// The first dot of each run that has one.
    runs: Vec<(u32, Dot)>,
    lives: u32,
    /// Hashes of the deltas, encoded, whose joins have been looked at.
    met: BTreeSet<u128>,
    count: Count,
}

/// Goes through them all, and says how many they were.
pub fn all_histories<S: Subject>(bound: Bound<'_>) -> Count {
    let replica = |n: usize| Replica {
        actor: actor_of(n as u32, 0),
        floor: 0,
        run: n as u32,
        has: 0,
        wrote: false,
    };
    let mut histories = Histories::<S> {
        bound,
        replicas: std::array::from_fn(replica),
        states: vec![S::State::default()],
        deltas: vec![S::State::default()],
        facts: Vec::new(),
        runs: Vec::new(),
        lives: REPLICAS as u32,
        met: BTreeSet::new(),
        count: Count::default(),
    };
    histories.extend();
    histories.count.met = histories.met.len() as u64;
    histories.count
}

/// Every subset of these, down to none.
fn subsets(of: Events) -> impl Iterator<Item = Events> {
    std::iter::successors(Some(of), move |set| (*set > 0).then(|| (set - 1) & of))
}

impl<S: Subject> Histories<'_, S> {
    fn all(&self) -> Events {
        (1 << self.facts.len()) - 1
    }

    fn extend(&mut self) {
        if self.facts.len() == self.bound.operations {
            return;
        }
        let begun = self.replicas.iter().filter(|replica| replica.wrote).count();
        for at in 0..REPLICAS.min(begun + 1) {
            let lives: &[Life] = match self.bound.lives && self.replicas[at].wrote {
                true => &[Life::Same, Life::Epoch, Life::Wipe, Life::Forget],
                false => &[Life::Same],
            };
            for life in lives {
                let before = (self.replicas[at], self.lives);
                self.begin(at, *life);
                let had = self.replicas[at].has;
                for received in subsets(self.all() & !had) {
                    self.replicas[at].has = had | received;
                    self.write_all(at);
                }
                (self.replicas[at], self.lives) = before;
            }
        }
    }

    fn begin(&mut self, at: usize, life: Life) {
        let replica = &mut self.replicas[at];
        if matches!(life, Life::Same) {
            return;
        }
        self.lives += 1;
        replica.run = self.lives;
        match life {
            Life::Forget => {
                let state = &self.states[replica.has as usize];
                replica.floor = replica.floor.max(state.context().highest(replica.actor));
            }
            _ => (replica.actor, replica.floor) = (actor_of(at as u32, self.lives.into()), 0),
        }
        if !matches!(life, Life::Epoch) {
            replica.has = 0;
        }
    }

    /// Every write that this replica can be asked for now, and all that can come after it.
    fn write_all(&mut self, at: usize) {
        let before = (self.replicas[at], self.facts.len(), self.states.len(), self.runs.len());
        let mut seens = vec![Seen::Here];
        if self.bound.contexts {
            seens.push(Seen::Nothing);
            seens.extend(subsets(self.all()).map(Seen::Read));
        }
        let mut done = Vec::new();
        for kind in self.bound.kinds {
            for seen in &seens {
                let Some((delta, fact, run)) = self.write(at, *kind, *seen) else { continue };
                if done.contains(&(delta.clone(), fact.clone())) {
                    continue;
                }
                done.push((delta.clone(), fact.clone()));
                self.replicas[at].wrote = true;
                self.replicas[at].has |= 1 << self.facts.len();
                self.facts.push(fact);
                self.runs.extend(run);
                self.meet(&delta);
                self.extend();
                self.replicas[at] = before.0;
                self.facts.truncate(before.1);
                self.states.truncate(before.2);
                self.deltas.truncate(before.2);
                self.runs.truncate(before.3);
            }
        }
    }

    /// The delta, what the specification keeps of it, and the run it begins. `None` when it was
    /// refused, which is as if it had not been asked.
    #[allow(clippy::type_complexity)]
    fn write(
        &self,
        at: usize,
        kind: u8,
        seen: Seen,
    ) -> Option<(S::State, S::Fact, Option<(u32, Dot)>)> {
        let Replica { actor, floor, run, has, .. } = self.replicas[at];
        let observed = match seen {
            Seen::Here => Observed::Here,
            Seen::Nothing => Observed::Nothing,
            Seen::Read(events) => {
                Observed::Context(S::object(self.states[events as usize].clone()).seen())
            }
        };
        let (id, state) = (self.facts.len(), &self.states[has as usize]);
        let next = state.context().highest(actor).max(floor) + 1;
        // Later writes have earlier clocks, as in the random histories.
        let clock = Hlc { wall_ms: 1_000 - id as u64, logical: 0 };
        let mut mint = Mint::new(actor, next, clock).with_floor(floor);
        let others = self.runs.iter().filter(|(other, _)| *other != run);
        let others: Vec<_> = others.copied().collect();
        let (op, target) = S::op_among(&others, kind, id, observed, floor);
        let delta = match state.delta(&op, &mut mint) {
            Err(OpError::InsufficientRights { .. }) => return None,
            delta => delta.expect("no history reaches a limit"),
        };
        let first = Dot { actor, counter: next };
        let begins = mint.dot() != first && self.runs.iter().all(|(begun, _)| *begun != run);
        let write = Write { id, kind, known: has, seen, run, target };
        Some((delta, S::fact(&self.facts, write), begins.then_some((run, first))))
    }

    /// The newest delta with everything that can be made of the earlier ones, and all of that with
    /// each other.
    fn meet(&mut self, delta: &S::State) {
        let newest = self.states.len();
        for others in 0..newest {
            self.states.push(joined(&self.states[others], delta));
            self.deltas.push(match others {
                0 => delta.clone(),
                _ => joined(&self.deltas[others], delta),
            });
        }
        let newly = newest..self.states.len();
        for events in newly.clone() {
            let found = self.states[events].value().map(S::view);
            let expected = S::spec(&self.facts, events as Events);
            assert_eq!(found, expected, "after writes {events:b}: {:?}", self.states[events]);
        }
        let single = (0..self.facts.len()).map(|id| codec::encode(&self.deltas[1 << id]));
        let mut single: Vec<_> = single.collect();
        single.sort();
        if self.met.insert(xxh3_128(&codec::encode(&single))) {
            newly.for_each(|events| self.check_forms(events));
            self.check_joins(newest);
        }
        let unseen = self.replicas.iter().map(|replica| (self.all() & !replica.has).count_ones());
        self.count.add(self.facts.len(), unseen.map(|unseen| 1 << unseen).product());
    }

    fn check_forms(&self, events: usize) {
        for state in [&self.states[events], &self.deltas[events]] {
            let bytes = codec::encode(state);
            assert_eq!(codec::decode::<S::State>(&bytes).as_ref(), Ok(state));
            assert!(S::object(state.clone()).is_canonical(), "{state:?}");
        }
    }

    /// All with all; pairs without the newest delta have been looked at before.
    fn check_joins(&self, newest: usize) {
        let (states, deltas) = (&self.states, &self.deltas);
        let partial: Vec<bool> = states.iter().zip(deltas).map(|(s, d)| s != d).collect();
        for a in 0..states.len() {
            for b in if a < newest { newest } else { 0 }..states.len() {
                let all = a | b;
                assert!(joined(&states[a], &states[b]) == states[all], "states {a:b} and {b:b}");
                if partial[b] && b > 0 {
                    let both = joined(&states[a], &deltas[b]);
                    assert!(both == states[all], "state {a:b} and deltas {b:b}: {both:?}");
                }
                if (partial[a] || partial[b]) && a > 0 && b > 0 {
                    let both = joined(&deltas[a], &deltas[b]);
                    assert!(both == deltas[all], "deltas {a:b} and {b:b}: {both:?}");
                }
            }
        }
    }
}

fn joined<T: DeltaType>(a: &T, b: &T) -> T {
    let mut both = a.clone();
    both.join(b);
    both
}
