//! Causal stability: dots that everybody knows who may ever have to.
//!
//! A dot is *stable* when every owner has seen it and nobody owes it to anybody (Baquero, Almeida,
//! Shoker, "Making operation-based CRDTs operation-based", 2014, section 5). A stable dot that is
//! live nowhere is dead, without any object saying so. So the contexts of removed objects may go,
//! and a copy of an old write that comes later is known for what it is.
//!
//! What is stable is agreed upon by `replica/settle.rs`; here is what follows from it.

use super::counter::Tally;
use super::note::base_bucket;
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

/// The stable dots of a group of objects of several buckets. A bucket that came to the group when
/// something was stable there already, with its objects, has less than the others.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct StableByBucket {
    all: Stable,
    /// Of buckets that came later; never the same as `all`, and never more.
    later: BTreeMap<String, Stable>,
}

impl StableByBucket {
    /// Whether no bucket has more than `most`.
    pub fn is_sound(&self) -> bool {
        let within =
            |later: &Stable| later.upto.iter().all(|(of, upto)| *upto <= self.all.upto(*of));
        self.later.values().all(within)
    }

    /// What is stable in every bucket but those that came later.
    pub fn most(&self) -> &Stable {
        &self.all
    }

    /// Buckets that came later.
    pub fn later(&self) -> usize {
        self.later.len()
    }

    /// What is stable in that bucket; of notes the same as of what they are about.
    pub fn of(&self, bucket: &str) -> &Stable {
        self.later.get(base_bucket(bucket)).unwrap_or(&self.all)
    }

    /// A bucket comes to the group: of its objects nothing was said.
    pub fn come(&mut self, bucket: &str) {
        if !self.all.is_empty() {
            self.later.insert(bucket.into(), Stable::default());
        }
    }

    /// A bucket leaves the group.
    pub fn leave(&mut self, bucket: &str) {
        self.later.remove(bucket);
    }

    /// Adds what is stable in all buckets.
    pub fn add(&mut self, stable: &Stable) {
        self.all.join(stable);
        self.later.values_mut().for_each(|later| later.join(stable));
        self.later.retain(|_, later| *later != self.all);
    }

    /// Adds what is stable in `other`, bucket by bucket.
    pub fn join(&mut self, other: &StableByBucket) {
        for bucket in other.later.keys() {
            self.later.entry(bucket.clone()).or_insert_with(|| self.all.clone());
        }
        for (bucket, later) in &mut self.later {
            later.join(other.of(bucket));
        }
        self.all.join(&other.all);
        self.later.retain(|_, later| *later != self.all);
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
        let doubled = match self {
            Object::Counter(counter) => {
                counter.doubles().any(|double| double.dots.keys().any(|dot| !stable.has(*dot)))
            }
            _ => false,
        };
        !matches!(self, Object::Bounded(_))
            && !doubled
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
        self.settle_doubles(stable);
        if self.runs.is_empty() {
            self.cleared = stable.rest_of(&self.cleared);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crdt::NodeId;
    use proptest::collection::vec;
    use proptest::prelude::*;

    const BUCKETS: [&str; 3] = ["a", "b", "c"];

    fn stable(upto: &[u64]) -> Stable {
        let actor = |place| Actor { node: NodeId(place), epoch: 1 };
        let upto = upto.iter().enumerate().filter(|(_, upto)| **upto > 0);
        Stable { upto: upto.map(|(place, upto)| (actor(place as u64), *upto)).collect() }
    }

    /// A history: what is agreed upon in all buckets, or a bucket that comes.
    fn history() -> impl Strategy<Value = Vec<Result<Vec<u64>, usize>>> {
        vec(prop_oneof![vec(0u64..9, 3).prop_map(Ok), (0usize..3).prop_map(Err)], 0..6)
    }

    fn after(history: &[Result<Vec<u64>, usize>]) -> StableByBucket {
        let mut known = StableByBucket::default();
        for step in history {
            match step {
                Ok(agreed) => known.add(&stable(agreed)),
                Err(bucket) => known.come(BUCKETS[*bucket]),
            }
        }
        known
    }

    proptest! {
        #[test]
        fn a_bucket_has_what_was_agreed_upon_since_it_came(history in history()) {
            let known = after(&history);
            for (place, bucket) in BUCKETS.iter().enumerate() {
                let came = history.iter().rposition(|step| *step == Err(place));
                let mut since = Stable::default();
                history[came.map_or(0, |came| came + 1)..]
                    .iter()
                    .filter_map(|step| step.as_ref().ok())
                    .for_each(|agreed| since.join(&stable(agreed)));
                prop_assert_eq!(known.of(bucket), &since);
            }
            prop_assert!(known.is_sound());
        }

        #[test]
        fn joining_is_joining_in_each_bucket_in_any_order(
            one in history(), other in history(), third in history(),
        ) {
            let [one, other, third] = [after(&one), after(&other), after(&third)];
            let join = |a: &StableByBucket, b: &StableByBucket| {
                let mut joined = a.clone();
                joined.join(b);
                joined
            };
            let joined = join(&one, &other);
            for bucket in BUCKETS.into_iter().chain(["never later"]) {
                let mut of = one.of(bucket).clone();
                of.join(other.of(bucket));
                prop_assert_eq!(joined.of(bucket), &of);
            }
            prop_assert!(joined.is_sound());
            prop_assert_eq!(&joined, &join(&other, &one));
            prop_assert_eq!(join(&joined, &third), join(&one, &join(&other, &third)));
            prop_assert_eq!(&join(&joined, &one), &joined);
        }
    }
}
