//! Causal stability: dots that everybody knows who may ever have to.
//!
//! A dot is *stable* when every owner has seen it and nobody owes it to anybody (Baquero, Almeida,
//! Shoker, "Making operation-based CRDTs operation-based", 2014, section 5). A stable dot that is
//! live nowhere is dead, without any object saying so. So the contexts of removed objects may go,
//! and a copy of an old write that comes later is known for what it is.
//!
//! What is stable is agreed upon by `replica/settle.rs`; here is what follows from it.

use super::counter::Tally;
use super::rows::Covers;
use super::{Actor, CausalContext, Counter, Dot, Object, Rows};
use bincode::{Decode, Encode};
use std::collections::{BTreeMap, BTreeSet};

/// The stable dots of a group of objects: of each actor those up to a counter, in any object.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct Stable {
    upto: BTreeMap<Actor, u64>,
}

impl Stable {
    /// Whether nothing is stable.
    pub fn is_empty(&self) -> bool {
        self.upto.is_empty()
    }

    /// Actors in it.
    pub fn len(&self) -> usize {
        self.upto.len()
    }

    /// Up to where the dots of `actor` are stable, 0 if none is.
    pub fn upto(&self, actor: Actor) -> u64 {
        self.upto.get(&actor).copied().unwrap_or(0)
    }

    /// Whether `dot` is stable.
    pub fn has(&self, dot: Dot) -> bool {
        dot.counter <= self.upto(dot.actor)
    }

    /// Whether all of `context` is stable.
    pub fn covers(&self, context: &CausalContext) -> bool {
        context.iter().all(|(actor, _)| context.highest(actor) <= self.upto(actor))
    }

    /// Adds everything that `context` has seen.
    pub fn raise(&mut self, context: &CausalContext) {
        for (actor, _) in context.iter() {
            let upto = self.upto.entry(actor).or_default();
            *upto = (*upto).max(context.highest(actor));
        }
    }

    /// Adds what is stable in `other`.
    pub fn join(&mut self, other: &Stable) {
        for (actor, counter) in &other.upto {
            let upto = self.upto.entry(*actor).or_default();
            *upto = (*upto).max(*counter);
        }
    }

    /// The dots of `context` that are not stable.
    fn rest_of(&self, context: &CausalContext) -> CausalContext {
        let mut rest = CausalContext::new();
        for (actor, runs) in context.iter() {
            let from = self.upto(actor) + 1;
            for &(low, high) in runs.iter().filter(|run| run.1 >= from) {
                rest.insert_range(actor, low.max(from), high);
            }
        }
        rest
    }

    /// The context with the stable dots between two that were seen, which never come any more.
    fn fill(&self, context: &mut CausalContext) {
        for (actor, runs) in context.clone().iter() {
            let first = runs.first().map_or(u64::MAX, |run| run.0);
            let upto = self.upto(actor).min(context.highest(actor));
            if runs.len() > 1 && first <= upto {
                context.insert_range(actor, first, upto);
            }
        }
    }
}

impl Object {
    /// The live dots of a value from elsewhere that are stable and that whoever has seen `known`
    /// of the object has not seen: copies of what was removed long ago.
    pub fn stale_dots(&self, stable: &Stable, known: &CausalContext) -> BTreeSet<Dot> {
        let live = match self {
            // Not collected, see `is_settled`.
            Object::Bounded(_) => Vec::new(),
            // Totals with a base as high are about what was removed, and say nothing else.
            Object::Counter(counter) => {
                let counts =
                    counter.runs.iter().filter(|(run, t)| counter.base.get(run) != Some(t));
                let last =
                    |(run, tally): (&Dot, &Tally)| Dot { actor: run.actor, counter: tally.last };
                counts.map(last).collect()
            }
            _ => self.live_dots(),
        };
        let stale = |dot: &Dot| stable.has(*dot) && !known.contains(*dot);
        live.into_iter().chain(self.expiry_dots()).filter(stale).collect()
    }

    /// The value without those live dots; its context is as it was.
    pub fn without(&self, dead: &BTreeSet<Dot>) -> Object {
        let mut left = self.clone();
        match &mut left {
            Object::Kv(kv) => kv.siblings.retain(|dot, _| !dead.contains(dot)),
            Object::Flag(flag) => flag.votes.retain(|dot, _| !dead.contains(dot)),
            Object::DwFlag(flag) => flag.0.votes.retain(|dot, _| !dead.contains(dot)),
            Object::Bounded(_) => {}
            Object::Counter(counter) => counter.drop_runs(|run, tally| {
                dead.contains(&Dot { actor: run.actor, counter: tally.last })
            }),
            collection => {
                let rows = collection.rows_mut().expect("a collection");
                rows.rows.values_mut().for_each(|row| {
                    row.live.retain(|dot, _| !dead.contains(dot));
                });
                if rows.covers == Covers::All {
                    rows.rows.retain(|_, row| !row.is_empty());
                }
            }
        }
        if let Some((expiry, _)) = left.expiry_mut() {
            expiry.settings.retain(|dot, _| !dead.contains(dot));
        }
        left
    }

    /// The delta that tells whoever holds this value that those of its live dots are dead.
    pub fn obituary(&self, dead: &BTreeSet<Dot>) -> Object {
        let context: CausalContext = dead.iter().copied().collect();
        let mut word = Object::empty(self.tag());
        match (&mut word, self) {
            (Object::Counter(word), Object::Counter(counter)) => {
                let is_dead = |run: &Dot, last| dead.contains(&Dot { counter: last, ..*run });
                let runs = counter.runs.iter().filter(|(run, tally)| is_dead(run, tally.last));
                let runs: BTreeMap<_, _> = runs.map(|(run, tally)| (*run, *tally)).collect();
                word.cleared = context.clone();
                word.base = runs.clone();
                word.runs = runs;
            }
            (word, _) => {
                if let (Some(word), Some(rows)) = (word.rows_mut(), self.rows()) {
                    *word = rows.obituary(dead);
                }
            }
        }
        if let Some((_, all)) = word.expiry_mut() {
            all.join(&context);
        }
        word
    }

    /// Makes what is said of stable dots shorter and no less: no removal waits for one, and those
    /// between two that were seen count as seen.
    pub fn fill(&mut self, stable: &Stable) {
        if let Some(rows) = self.rows_mut() {
            for waiting in [&mut rows.deferred, &mut rows.deferred_under] {
                for seen in waiting.values_mut() {
                    *seen = stable.rest_of(seen);
                }
                waiting.retain(|_, seen| !seen.is_empty());
            }
        }
        if let Some((_, context)) = self.expiry_mut() {
            stable.fill(context);
        }
    }

    /// Leaves out what need not be kept because it is stable, of an object that has not changed
    /// since that was agreed upon: of a small one removed totals, and actors without anything
    /// live. Of a collection the header is enough, and keeps its context, in which other rows may
    /// have live dots.
    pub fn settle(&mut self, stable: &Stable) {
        self.fill(stable);
        if let Object::Counter(counter) = self {
            counter.settle(stable);
        }
        if self.rows().is_some() {
            return;
        }
        let live: BTreeSet<Actor> =
            self.live_dots().into_iter().chain(self.expiry_dots()).map(|dot| dot.actor).collect();
        if let Some((_, context)) = self.expiry_mut() {
            let gone =
                |actor| !live.contains(&actor) && context.highest(actor) <= stable.upto(actor);
            let kept = context.iter().filter(|(actor, _)| !gone(*actor));
            let kept = kept.flat_map(|(actor, runs)| runs.iter().map(move |run| (actor, *run)));
            let mut left = CausalContext::new();
            kept.for_each(|(actor, (from, to))| left.insert_range(actor, from, to));
            *context = left;
        }
    }

    /// Whether everything that this object, of which clients see nothing, ever was is stable, so
    /// that nothing of it need be kept. Of a collection the header is enough.
    ///
    /// Never so for a bounded counter: what its ledgers gave to others is never over.
    pub fn is_settled(&self, stable: &Stable) -> bool {
        let waiting = |rows: &Rows| rows.deferred.len() + rows.deferred_under.len() > 0;
        let mut settled = self.clone();
        settled.fill(stable);
        !matches!(self, Object::Bounded(_))
            && stable.covers(self.context())
            && !settled.rows().is_some_and(waiting)
    }
}

impl Rows {
    fn obituary(&self, dead: &BTreeSet<Dot>) -> Rows {
        let mut word = Rows::delta();
        for (key, row) in &self.rows {
            let gone: BTreeSet<Dot> =
                row.live.keys().copied().filter(|dot| dead.contains(dot)).collect();
            if !gone.is_empty() {
                word.rows.insert(key.clone(), super::Row::default());
                word.removed.insert(key.clone(), gone);
            }
        }
        word
    }
}

impl Counter {
    /// Drops runs, with what removals observed of them.
    fn drop_runs(&mut self, goes: impl Fn(&Dot, &Tally) -> bool) {
        let gone: Vec<Dot> =
            self.runs.iter().filter(|(run, tally)| goes(run, tally)).map(|(run, _)| *run).collect();
        for run in gone {
            self.runs.remove(&run);
            self.base.remove(&run);
        }
    }

    /// Drops runs that were removed entirely. Of those that resets removed the last one stays if
    /// nothing else says that the counter is there.
    fn settle(&mut self, stable: &Stable) {
        let cleared = self.cleared.clone();
        let last = |run: &Dot, tally: &Tally| Dot { counter: tally.last, ..*run };
        let base = self.base.clone();
        let over =
            |run: &Dot, tally: &Tally| base.get(run) == Some(tally) && stable.has(last(run, tally));
        let there = |(run, tally): &(&Dot, &Tally)| !cleared.contains(last(run, tally));
        let goes_on = self.runs.iter().filter(there).any(|(run, tally)| !over(run, tally));
        let keeps = self.runs.iter().rfind(there).map(|(run, _)| *run);
        let keeps = keeps.filter(|_| !goes_on);
        self.drop_runs(|run, tally| over(run, tally) && keeps != Some(*run));
        if self.runs.is_empty() {
            self.cleared = stable.rest_of(&self.cleared);
        }
    }
}
