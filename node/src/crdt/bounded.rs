//! Bounded counter: never below 0, in any view, however writes cross each other.
//!
//! Whoever takes something away must hold the right to it: the escrow of Balegas et al.,
//! "Extending Eventually Consistent Cloud Databases for Enforcing Numeric Invariants", 2015,
//! section 4. An increment makes rights where it is applied, a decrement uses them up there, and
//! rights can be given away. Each actor keeps running totals of what it made, used and gave in one
//! *ledger*, under the dot of the first write in it; only that actor extends it, so the higher
//! `last` is the newer one and join is a maximum. An actor that may have forgotten what it wrote
//! begins a new ledger, and the rights of the old one rest: they count and nobody uses them.
//!
//! A delta carries, beside the ledger it extends, those that gave rights to it, and those that
//! gave to them. So in every value, also one of few deltas, each ledger has the rights that it
//! used, and the sum of what was made is never less than the sum of what was used.

use super::{Actor, CausalContext, DeltaType, Dot, Mint, Observed, OpError, impl_cvrdt};
use bincode::{Decode, Encode};
use std::collections::BTreeMap;

/// Why nothing but decrements takes anything away.
const NOT_REMOVABLE: &str = "a bounded counter cannot be removed or reset: \
    decrements under way elsewhere would take it below 0";

/// What one actor made, used and gave since it began to write.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct Ledger {
    /// The counter of the dot that wrote it last.
    pub last: u64,
    /// Sum of the increments.
    pub up: u128,
    /// Sum of the decrements.
    pub used: u128,
    /// Sums of the rights given to other ledgers, none of them 0.
    pub given: BTreeMap<Dot, u128>,
}

/// A counter that is never below 0.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct Bounded {
    /// The writes that made the ledgers: a function of them.
    pub(crate) context: CausalContext,
    /// By the dot of the first write in each.
    pub(crate) ledgers: BTreeMap<Dot, Ledger>,
}

/// What is asked of a bounded counter.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum BoundedOp {
    /// Add an amount, negative to subtract.
    Add {
        /// The amount; `i128` so that every `i64` can be negated.
        amount: i128,
    },
    /// Subtract, and where the rights do not cover it ask other replicas for theirs first.
    Take {
        /// The amount.
        amount: u64,
    },
    /// Give rights away. Asked by replicas, never by clients.
    Give {
        /// The ledger that gets them.
        to: Dot,
        /// How many.
        amount: u64,
    },
    /// Refused; clients can ask it of every type.
    Delete {
        /// What the removal would cover.
        observed: Observed,
    },
}

impl Bounded {
    /// Ledgers by the dot they began with.
    pub fn ledgers(&self) -> impl Iterator<Item = (&Dot, &Ledger)> {
        self.ledgers.iter()
    }

    /// What may be taken away under that ledger, as far as is known here. Never less than 0, and
    /// its own actor knows all that was used.
    pub fn rights_of(&self, run: Dot) -> i128 {
        let got = self.ledgers.values().filter_map(|ledger| ledger.given.get(&run));
        let got = got.fold(0i128, |sum, given| sum.saturating_add_unsigned(*given));
        let Some(own) = self.ledgers.get(&run) else { return got };
        let gone = own.given.values().fold(own.used, |sum, given| sum.saturating_add(*given));
        got.saturating_add_unsigned(own.up).saturating_sub_unsigned(gone)
    }

    /// The ledger that this actor extends; none when it has none, or may have forgotten what it
    /// wrote to the one it had: everything up to `floor`.
    pub fn open_run(&self, actor: Actor, floor: u64) -> Option<Dot> {
        let newest = self.context.highest(actor);
        let open = |(run, ledger): &(&Dot, &Ledger)| {
            run.actor == actor && ledger.last == newest && ledger.last > floor
        };
        self.ledgers.iter().find(open).map(|(run, _)| *run)
    }

    /// Increments minus decrements, before it is checked against the range clients see.
    pub fn total(&self) -> i128 {
        self.ledgers.values().fold(0i128, |sum, ledger| {
            sum.saturating_add_unsigned(ledger.up).saturating_sub_unsigned(ledger.used)
        })
    }

    /// What a decrement is refused with where `local` rights are left.
    pub fn insufficient(&self, local: i128) -> OpError {
        let shown = |count: i128| u64::try_from(count.max(0)).unwrap_or(u64::MAX);
        OpError::InsufficientRights { local: shown(local), global: shown(self.total()) }
    }

    fn require(&self, run: Option<Dot>, amount: u128) -> Result<(), OpError> {
        let rights = run.map_or(0, |run| self.rights_of(run));
        let covered = amount <= u128::try_from(rights).unwrap_or(0);
        covered.then_some(()).ok_or_else(|| self.insufficient(rights))
    }

    /// Extends this actor's ledger by one write, or begins one.
    fn write(&self, mint: &mut Mint, change: impl FnOnce(&mut Ledger)) -> Bounded {
        let open = self.open_run(mint.actor(), mint.floor());
        let dot = mint.dot();
        let run = open.unwrap_or(dot);
        let mut ledger = self.ledgers.get(&run).cloned().unwrap_or_default();
        ledger.last = dot.counter;
        change(&mut ledger);
        let mut delta = self.sources_of(run);
        delta.insert(run, ledger);
        delta
    }

    /// The ledgers that gave rights to `run`, those that gave to them, and so on.
    fn sources_of(&self, run: Dot) -> Bounded {
        let mut sources = Bounded::default();
        let mut wanted = vec![run];
        while let Some(getter) = wanted.pop() {
            for (giver, ledger) in &self.ledgers {
                if ledger.given.contains_key(&getter) && !sources.ledgers.contains_key(giver) {
                    sources.insert(*giver, ledger.clone());
                    wanted.push(*giver);
                }
            }
        }
        sources
    }

    fn insert(&mut self, run: Dot, ledger: Ledger) {
        self.context.insert_range(run.actor, run.counter, ledger.last);
        self.ledgers.insert(run, ledger);
    }

    /// Whether its parts are ones that nodes can have made: the context is that of the ledgers,
    /// and none of them used or gave more than it had.
    pub(crate) fn is_sound(&self) -> bool {
        let ledger = |(run, ledger): (&Dot, &Ledger)| {
            let given = |(to, given): (&Dot, &u128)| to.counter > 0 && to != run && *given > 0;
            0 < run.counter && run.counter <= ledger.last && ledger.given.iter().all(given)
        };
        let covered = || self.ledgers.keys().all(|run| self.rights_of(*run) >= 0);
        self.ledgers.iter().all(ledger) && covered() && {
            let mut context = CausalContext::new();
            for (run, ledger) in &self.ledgers {
                context.insert_range(run.actor, run.counter, ledger.last);
            }
            context == self.context
        }
    }

    /// The dot that wrote each ledger last.
    pub(crate) fn last_dots(&self) -> Vec<Dot> {
        let last = |(run, ledger): (&Dot, &Ledger)| Dot { actor: run.actor, counter: ledger.last };
        self.ledgers.iter().map(last).collect()
    }
}

impl DeltaType for Bounded {
    type Op = BoundedOp;
    type Value = i64;

    fn delta(&self, op: &BoundedOp, mint: &mut Mint) -> Result<Bounded, OpError> {
        let own = self.open_run(mint.actor(), mint.floor());
        match op {
            BoundedOp::Add { amount } if *amount >= 0 => {
                if *amount > 0 && self.total().saturating_add(*amount) > i64::MAX.into() {
                    return Err(OpError::CounterOverflow);
                }
                let amount = amount.unsigned_abs();
                Ok(self.write(mint, |own| own.up = own.up.saturating_add(amount)))
            }
            BoundedOp::Add { amount } => {
                let amount = amount.unsigned_abs();
                self.require(own, amount)?;
                Ok(self.write(mint, |own| own.used = own.used.saturating_add(amount)))
            }
            BoundedOp::Take { amount } => {
                self.delta(&BoundedOp::Add { amount: -i128::from(*amount) }, mint)
            }
            BoundedOp::Give { to, amount } => {
                if own == Some(*to) || *amount == 0 {
                    return Err(OpError::Unsupported("a gift of nothing, or to itself".into()));
                }
                let amount = u128::from(*amount);
                self.require(own, amount)?;
                Ok(self.write(mint, |own| {
                    let given = own.given.entry(*to).or_default();
                    *given = given.saturating_add(amount);
                }))
            }
            BoundedOp::Delete { .. } => Err(OpError::Unsupported(NOT_REMOVABLE.into())),
        }
    }

    fn join(&mut self, other: &Bounded) {
        for (run, theirs) in &other.ledgers {
            match self.ledgers.get_mut(run) {
                Some(mine) if mine.last >= theirs.last => {}
                Some(mine) => *mine = theirs.clone(),
                None => drop(self.ledgers.insert(*run, theirs.clone())),
            }
        }
        self.context.join(&other.context);
    }

    fn context(&self) -> &CausalContext {
        &self.context
    }

    /// Clamped to the range of `i64`: increments on two sides of a partition can leave it
    /// together although neither did alone. Nothing is clamped at 0.
    fn value(&self) -> Option<i64> {
        let clamped = self.total().clamp(i64::MIN.into(), i64::MAX.into());
        (!self.ledgers.is_empty()).then_some(clamped as i64)
    }
}

impl_cvrdt!(Bounded);
