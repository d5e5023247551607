//! Counter: increments and decrements add up, and a reset removes precisely what it observed.
//!
//! An actor keeps running totals, one *run* of them under the dot it began with; only that actor
//! extends the run, so the higher `last` is the newer one and join is a maximum (PN-counter,
//! Shapiro et al., 2011). A reset does not touch the runs: it notes the totals it observed as
//! *base*, also joined by maximum, and the value is runs minus base. So two resets of the same
//! amount remove it once, and an increment that a reset did not see survives it.
//!
//! A new run begins where the actor no longer knows its last one (its row was collected), since
//! totals that start again at nothing must not pass for newer ones; also where all of the last one
//! was removed: it may have been collected, and come back as somebody saw it earlier.
//!
//! An operation with a key may have been applied by several replicas ([`super::note`]). Once that
//! is known the counter keeps the dots of those applications, joined by union, and the value is
//! less what all but one of them add that are in a run and that no reset observed.

use super::{CausalContext, DeltaType, Dot, Expiry, Mint, Observed, OpError, impl_cvrdt};
use bincode::{Decode, Encode};
use std::collections::BTreeMap;

/// Running totals of one run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct Tally {
    /// The counter of the dot that wrote these totals last.
    pub last: u64,
    /// Sum of the increments.
    pub up: u128,
    /// Sum of the decrements.
    pub down: u128,
}

/// A counter with reset.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct Counter {
    pub(crate) context: CausalContext,
    /// Writes that a removal of the whole counter covered.
    pub(crate) cleared: CausalContext,
    pub(crate) runs: BTreeMap<Dot, Tally>,
    /// Totals that removals observed. Every value of this type, a delta too, has the runs it
    /// observed at least that far in `runs`.
    pub(crate) base: BTreeMap<Dot, Tally>,
    pub(crate) expiry: Expiry,
    /// Operations known to have been applied more than once, by a digest of their key.
    pub(crate) doubles: BTreeMap<u128, Double>,
}

/// Applications of one operation. Of those that still add to the value one counts.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct Double {
    /// What the operation adds.
    pub amount: i128,
    /// The dot of each application, with the counter of the dot that began its run.
    pub dots: BTreeMap<Dot, u64>,
}

/// What clients ask of a counter.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum CounterOp {
    /// Add an amount, negative to subtract.
    Add {
        /// The amount; `i128` so that every `i64` can be negated.
        amount: i128,
        /// Runs that began at or before this counter are not extended (see the module).
        floor: u64,
    },
    /// Back to 0, as far as observed.
    Reset {
        /// What the reset covers.
        observed: Observed,
        /// As in `Add`.
        floor: u64,
    },
    /// Remove what was observed.
    Delete {
        /// What the removal covers.
        observed: Observed,
    },
}

impl Counter {
    /// Runs with their totals, for `explain`.
    pub fn runs(&self) -> impl Iterator<Item = (&Dot, &Tally)> {
        self.runs.iter()
    }

    /// Totals that resets and removals observed, for `explain`.
    pub fn base(&self) -> impl Iterator<Item = (&Dot, &Tally)> {
        self.base.iter()
    }

    /// Whether that run adds nothing: it was never heard of, all of it was removed, or it was
    /// collected after that.
    pub fn is_over(&self, run: &Dot) -> bool {
        self.runs.get(run) == self.base.get(run)
    }

    /// The tallies a client sees with the value and hands back in its context.
    pub fn tallies(&self) -> &BTreeMap<Dot, Tally> {
        &self.runs
    }

    /// Runs minus base, every operation once, before it is checked against the range clients see.
    pub fn total(&self) -> i128 {
        let sum = |tallies: &BTreeMap<Dot, Tally>| {
            tallies.values().fold(0i128, |sum, tally| {
                sum.saturating_add_unsigned(tally.up).saturating_sub_unsigned(tally.down)
            })
        };
        sum(&self.runs).saturating_sub(sum(&self.base)).saturating_sub(self.excess())
    }

    /// Operations applied more than once, for `explain` and checks.
    pub fn doubles(&self) -> impl Iterator<Item = &Double> {
        self.doubles.values()
    }

    /// What is in runs minus base of applications that do not count.
    fn excess(&self) -> i128 {
        self.doubles.values().fold(0i128, |sum, double| {
            let more = self.adding(double).saturating_sub(1);
            sum.saturating_add(double.amount.saturating_mul(more as i128))
        })
    }

    /// How many of these applications are in a run, and observed by no reset.
    fn adding(&self, double: &Double) -> usize {
        let adds = |(dot, run): &(&Dot, &u64)| {
            let run = Dot { actor: dot.actor, counter: **run };
            let last = |tallies: &BTreeMap<Dot, Tally>| tallies.get(&run).map_or(0, |t| t.last);
            last(&self.runs) >= dot.counter && last(&self.base) < dot.counter
        };
        double.dots.iter().filter(adds).count()
    }

    /// Notes applications of the operation called `name`.
    pub(super) fn add_double(&mut self, name: u128, amount: i128, dots: BTreeMap<Dot, u64>) {
        let double = self.doubles.entry(name).or_default();
        // Equal, unless somebody else's digest is the same; then at least equal everywhere.
        double.amount = if double.dots.is_empty() { amount } else { double.amount.max(amount) };
        double.dots.extend(dots);
    }

    /// Whether `other` knows of no application that this one does not.
    pub fn has_doubles_of(&self, other: &Counter) -> bool {
        other.doubles.iter().all(|(name, double)| {
            let here = self.doubles.get(name);
            here.is_some_and(|here| double.dots.keys().all(|dot| here.dots.contains_key(dot)))
        })
    }

    /// Drops what is known of operations of which nothing more can come and nothing is too much.
    pub(super) fn settle_doubles(&mut self, stable: &super::Stable) {
        let doubles = std::mem::take(&mut self.doubles);
        let over = |double: &Double| {
            self.adding(double) < 2 && double.dots.keys().all(|dot| stable.has(*dot))
        };
        self.doubles = doubles.into_iter().filter(|(_, double)| !over(double)).collect();
    }

    /// Extends this actor's run by one write of `amount`, or begins one. The delta speaks for its
    /// own dot only: an earlier write of the run may have been a reset, whose base is not in it.
    pub(super) fn write(&self, amount: i128, floor: u64, mint: &mut Mint) -> Counter {
        let dot = mint.dot();
        let newest = self.context.highest(dot.actor);
        let own = self.runs.iter().find(|(run, tally)| {
            let whole = self.base.get(run) != Some(tally);
            run.actor == dot.actor && tally.last == newest && tally.last > floor && whole
        });
        let (run, mut tally) = own.map_or((dot, Tally::default()), |(run, tally)| (*run, *tally));
        tally.last = dot.counter;
        match amount >= 0 {
            true => tally.up = tally.up.saturating_add(amount.unsigned_abs()),
            false => tally.down = tally.down.saturating_add(amount.unsigned_abs()),
        }
        let mut delta = Counter { runs: BTreeMap::from([(run, tally)]), ..Counter::default() };
        delta.context.insert(dot);
        delta
    }

    /// Whether the parts fit together: runs begin before they end, their last dots are in the
    /// context, and no base is ahead of its run.
    pub(crate) fn is_sound(&self) -> bool {
        let last = |run: &Dot, tally: &Tally| Dot { actor: run.actor, counter: tally.last };
        self.runs.iter().all(|(run, tally)| {
            0 < run.counter && run.counter <= tally.last && self.context.contains(last(run, tally))
        }) && self
            .base
            .iter()
            .all(|(run, base)| self.runs.get(run).is_some_and(|tally| base.last <= tally.last))
            && self.doubles.values().all(|double| {
                let began = |(dot, run): (&Dot, &u64)| 0 < *run && *run <= dot.counter;
                !double.dots.is_empty() && double.dots.iter().all(began)
            })
    }

    fn observed(&self, observed: &Observed) -> (CausalContext, BTreeMap<Dot, Tally>) {
        match observed {
            Observed::Here => (self.context.clone(), self.runs.clone()),
            Observed::Context(seen) => (seen.dots.clone(), seen.tallies.clone()),
            Observed::Nothing => Default::default(),
        }
    }
}

impl DeltaType for Counter {
    type Op = CounterOp;
    type Value = i64;

    fn delta(&self, op: &CounterOp, mint: &mut Mint) -> Result<Counter, OpError> {
        match op {
            CounterOp::Add { amount, floor } => {
                let total = self.total().saturating_add(*amount);
                // Concurrent writes may have left the range together; the way back is open.
                let leaves = match *amount >= 0 {
                    true => *amount > 0 && total > i64::MAX.into(),
                    false => total < i64::MIN.into(),
                };
                if leaves {
                    return Err(OpError::CounterOverflow);
                }
                Ok(self.write(*amount, *floor, mint))
            }
            CounterOp::Reset { observed, floor } => {
                let (seen, base) = self.observed(observed);
                let mut delta = self.write(0, *floor, mint);
                delta.context.join(&seen);
                keep_newest(&mut delta.runs, &base);
                delta.base = base;
                Ok(delta)
            }
            CounterOp::Delete { observed } => {
                let (seen, base) = self.observed(observed);
                let runs = base.clone();
                Ok(Counter {
                    context: seen.clone(),
                    cleared: seen,
                    runs,
                    base,
                    ..Counter::default()
                })
            }
        }
    }

    fn join(&mut self, other: &Counter) {
        keep_newest(&mut self.runs, &other.runs);
        keep_newest(&mut self.base, &other.base);
        for (name, double) in &other.doubles {
            self.add_double(*name, double.amount, double.dots.clone());
        }
        self.cleared.join(&other.cleared);
        self.expiry.join(&self.context, &other.expiry, &other.context);
        self.context.join(&other.context);
    }

    fn context(&self) -> &CausalContext {
        &self.context
    }

    /// Clamped to the range of `i64`: increments on two sides of a partition can leave it
    /// together although neither did alone.
    fn value(&self) -> Option<i64> {
        let written = self.runs.iter().any(|(run, tally)| {
            !self.cleared.contains(Dot { actor: run.actor, counter: tally.last })
        });
        let clamped = self.total().clamp(i64::MIN.into(), i64::MAX.into());
        written.then_some(clamped as i64)
    }
}

fn keep_newest(mine: &mut BTreeMap<Dot, Tally>, theirs: &BTreeMap<Dot, Tally>) {
    for (run, tally) in theirs {
        let kept = mine.entry(*run).or_insert(*tally);
        if tally.last > kept.last {
            *kept = *tally;
        }
    }
}

impl_cvrdt!(Counter);
