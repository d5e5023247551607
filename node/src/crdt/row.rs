//! One row of a collection: its live dots and what each of them says.
//!
//! A row merges like everything with dots: `(a ∩ b) ∪ (a \ context_b) ∪ (b \ context_a)`. Running
//! totals need one thing more. An actor adds up all it ever added to a row in one *run*, so a
//! removal cannot take back a part of it by dots; it notes the totals it observed as *base*,
//! joined by maximum, and the value is totals minus base. So what a removal did not observe is
//! all that is left, to the last unit (see [`super::counter`], which does the same for a whole
//! object).

use super::counter::Tally;
use super::{Dot, Hlc, Mint, Stable};
use bincode::{Decode, Encode};
use std::collections::BTreeMap;

/// What one live dot says.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Leaf {
    /// It is here.
    Here,
    /// It was removed, and a removal wins.
    Removed,
    /// A flag is on or off.
    Flag(bool),
    /// A register's value.
    Register {
        /// The value as its type encodes it.
        value: Vec<u8>,
        /// When it was written.
        at: Hlc,
    },
    /// All that this actor added since `run`.
    Total {
        /// The counter of the dot with which the actor's run began.
        run: u64,
        /// What it comes to.
        amount: Amount,
    },
    /// A sorted set's score.
    Score {
        /// The score, see [`Real`].
        score: Real,
        /// When it was written.
        at: Hlc,
    },
    /// A register of a HyperLogLog: the longest run of zeros, plus one.
    Rank(u8),
}

/// A sum.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Amount {
    /// Of whole numbers: increments and decrements apart.
    Whole {
        /// Sum of the increments.
        up: u128,
        /// Sum of the decrements.
        down: u128,
    },
    /// Of real numbers.
    Real(Real),
}

/// A finite 64-bit float by its bits, so that equal states have equal bytes. Zero has one form.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct Real(u64);

impl Real {
    /// `None` for infinities and for what is no number.
    pub fn new(value: f64) -> Option<Real> {
        value.is_finite().then(|| Real(if value == 0.0 { 0 } else { value.to_bits() }))
    }

    /// The number.
    pub fn get(self) -> f64 {
        f64::from_bits(self.0)
    }

    fn is_canonical(self) -> bool {
        Real::new(self.get()) == Some(self)
    }
}

/// A total that a removal observed: up to the run's dot `last`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Base {
    /// The counter of the dot that wrote the total.
    pub last: u64,
    /// What it came to.
    pub amount: Amount,
}

impl Base {
    /// Whether it is a sum of real numbers in its one form.
    pub(crate) fn is_real(&self) -> bool {
        matches!(self.amount, Amount::Real(real) if real.is_canonical())
    }
}

/// A row. One that says nothing is not stored.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct Row {
    /// Live dots.
    pub live: BTreeMap<Dot, Leaf>,
    /// Totals that removals observed, by the dot that began the run.
    pub base: BTreeMap<Dot, Base>,
}

impl Row {
    /// A row with one live dot.
    pub fn of(dot: Dot, leaf: Leaf) -> Row {
        Row { live: BTreeMap::from([(dot, leaf)]), base: BTreeMap::new() }
    }

    /// Whether it says nothing at all.
    pub fn is_empty(&self) -> bool {
        self.live.is_empty() && self.base.is_empty()
    }

    /// Whether clients see it.
    pub fn is_present(&self) -> bool {
        !self.live.is_empty() && self.live.values().all(|leaf| *leaf != Leaf::Removed)
    }

    /// Whether a removal of the whole collection has to name it, because of totals.
    pub fn is_totalled(&self) -> bool {
        let total = |leaf: &Leaf| matches!(leaf, Leaf::Total { .. });
        !self.base.is_empty() || self.live.values().any(total)
    }

    /// Takes over the higher of each observed total.
    pub(crate) fn join_base(&mut self, other: &BTreeMap<Dot, Base>) {
        for (run, base) in other {
            let mine = self.base.entry(*run).or_insert(*base);
            if base.last > mine.last {
                *mine = *base;
            }
        }
    }

    /// The totals that a removal of `dot` observes, if it has one.
    pub(crate) fn total_of(&self, dot: &Dot) -> Option<(Dot, Base)> {
        match self.live.get(dot)? {
            Leaf::Total { run, amount } => {
                let run = Dot { actor: dot.actor, counter: *run };
                Some((run, Base { last: dot.counter, amount: *amount }))
            }
            _ => None,
        }
    }

    /// The sum of the live totals of whole numbers, without what removals observed.
    pub fn whole_total(&self) -> i128 {
        self.totals().fold(0i128, |sum, (amount, base)| {
            let part = |amount: Option<Amount>| match amount {
                Some(Amount::Whole { up, down }) => {
                    0i128.saturating_add_unsigned(up).saturating_sub_unsigned(down)
                }
                _ => 0,
            };
            sum.saturating_add(part(Some(amount)).saturating_sub(part(base)))
        })
    }

    /// The sum of the live totals of real numbers, without what removals observed, added up in
    /// the order of their runs. Each step stops at the largest finite number.
    pub fn real_total(&self) -> f64 {
        let finite = |sum: f64| sum.clamp(f64::MIN, f64::MAX);
        self.totals().fold(0.0, |sum, (amount, base)| {
            let part = |amount: Option<Amount>| match amount {
                Some(Amount::Real(real)) => real.get(),
                _ => 0.0,
            };
            finite(sum + finite(part(Some(amount)) - part(base)))
        })
    }

    /// The newest total of each run, where it is newer than what removals observed, with that.
    /// (Of a run there can be several: a delta between them is still on its way.)
    fn totals(&self) -> impl Iterator<Item = (Amount, Option<Amount>)> {
        let mut newest: BTreeMap<Dot, Base> = BTreeMap::new();
        for (run, total) in self.live.keys().filter_map(|dot| self.total_of(dot)) {
            newest.insert(run, total);
        }
        newest.into_iter().filter_map(|(run, total)| {
            let base = self.base.get(&run);
            let newer = base.is_none_or(|base| base.last < total.last);
            newer.then(|| (total.amount, base.map(|base| base.amount)))
        })
    }

    /// The row without what need not be kept because it is stable, see [`super::stable`]: removals
    /// where nothing else is left, and totals observed of runs that are over.
    pub fn settled(&self, stable: &Stable) -> Row {
        let mut row = self.clone();
        if !row.is_present() && row.live.keys().all(|dot| stable.has(*dot)) {
            row.live.clear();
        }
        let going_on = |run: &Dot| {
            let of = row.live.keys().filter_map(|dot| row.total_of(dot));
            of.into_iter().any(|(live, _)| live == *run)
        };
        row.base = self
            .base
            .iter()
            .filter(|(run, base)| {
                going_on(run) || !stable.has(Dot { actor: run.actor, counter: base.last })
            })
            .map(|(run, base)| (*run, *base))
            .collect();
        row
    }

    /// Adds to this actor's run, or begins one: the new dot with its total, and the dot it takes
    /// the place of. `add` makes the new sum of the old one.
    pub(crate) fn extend<E>(
        &self,
        mint: &mut Mint,
        add: impl FnOnce(Option<Amount>) -> Result<Amount, E>,
    ) -> Result<(Dot, Leaf, Option<Dot>), E> {
        let own = self.live.iter().rev().find_map(|(dot, leaf)| match leaf {
            Leaf::Total { run, amount }
                if dot.actor == mint.actor() && dot.counter > mint.floor() =>
            {
                Some((*dot, *run, *amount))
            }
            _ => None,
        });
        let amount = add(own.map(|(_, _, amount)| amount))?;
        let dot = mint.dot();
        let run = own.map_or(dot.counter, |(_, run, _)| run);
        Ok((dot, Leaf::Total { run, amount }, own.map(|(dot, ..)| dot)))
    }

    /// Whether its parts are ones that a node can have made.
    pub(crate) fn is_sound(&self) -> bool {
        let real = |amount: &Amount| match amount {
            Amount::Real(real) => real.is_canonical(),
            Amount::Whole { .. } => true,
        };
        let live = self.live.iter().all(|(dot, leaf)| match leaf {
            Leaf::Total { run, amount } => 0 < *run && *run <= dot.counter && real(amount),
            Leaf::Score { score, .. } => score.is_canonical(),
            _ => true,
        });
        live && self
            .base
            .iter()
            .all(|(run, base)| 0 < run.counter && run.counter <= base.last && real(&base.amount))
    }
}

impl Amount {
    /// Increments and decrements as a counter keeps them.
    pub fn of_tally(tally: &Tally) -> Amount {
        Amount::Whole { up: tally.up, down: tally.down }
    }
}
