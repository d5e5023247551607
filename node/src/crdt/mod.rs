//! The delta kernel: state that merges, and the small pieces of it that travel.
//!
//! Every type here has one operation besides its client operations: [`DeltaType::join`],
//! commutative, associative and idempotent. A delta is a value of the type itself that speaks for
//! some of the object's dots only. This module knows no clock, no network and no store.

pub mod bounded;
pub mod context;
pub mod counter;
pub mod dot;
pub mod expiry;
pub mod flag;
pub mod hll;
pub mod kv;
pub mod map;
pub mod note;
pub mod object;
pub mod op;
pub mod row;
pub mod rows;
#[cfg(test)]
mod rows_parts_test;
pub mod rwset;
pub mod set;
pub mod stable;
pub mod zset;

pub use bounded::{Bounded, BoundedOp, Ledger};
pub use context::CausalContext;
pub use counter::{Counter, CounterOp};
pub use dot::{Actor, Dot, Hlc, Mint, NodeId};
pub use expiry::{Expiry, Setting, Ttl};
pub use flag::{DwFlag, Flag, FlagOp};
pub use hll::{Hll, HllOp};
pub use kv::{Kv, KvOp, Sibling};
pub use map::{Map, MapOp};
pub use note::{Note, Once};
pub use object::{Object, ObjectId, TypeTag};
pub use op::{Needs, ObjectOp};
pub use row::{Leaf, Real, Row};
pub use rows::Rows;
pub use rwset::RwSet;
pub use set::{Set, SetOp};
pub use stable::{Stable, StableByBucket};
pub use zset::{Zset, ZsetOp};

use std::collections::BTreeMap;

/// What one data type must offer; one implementation a file.
pub trait DeltaType: Sized + Clone + Default + PartialEq {
    /// What clients ask for.
    type Op;
    /// What clients see.
    type Value;

    /// Applies `op` to this state and returns the delta that does it. The state itself is not
    /// changed: the caller joins the delta, here and at every other replica.
    ///
    /// # Errors
    /// The operation breaks a limit of the type; nothing was changed and no dot was used.
    fn delta(&self, op: &Self::Op, mint: &mut Mint) -> Result<Self, OpError>;

    /// Merges `other`, a delta or a whole state, into this state.
    fn join(&mut self, other: &Self);

    /// Every dot this value speaks for.
    fn context(&self) -> &CausalContext;

    /// What a client sees, `None` when the object is absent.
    fn value(&self) -> Option<Self::Value>;
}

/// Which earlier writes an operation replaces or removes.
#[derive(Clone, PartialEq, Eq, Debug, bincode::Encode, bincode::Decode)]
pub enum Observed {
    /// What the applying replica holds at that moment.
    Here,
    /// Exactly what the client has seen.
    Context(SeenContext),
    /// Nothing.
    Nothing,
}

/// What a client has seen of one object: the content of the opaque `Starling-Context`.
#[derive(Clone, PartialEq, Eq, Debug, Default, bincode::Encode, bincode::Decode)]
pub struct SeenContext {
    /// The dots it has seen.
    pub dots: CausalContext,
    /// For counters, the tallies it has seen: a reset removes amounts, which dots do not tell.
    pub tallies: BTreeMap<Dot, counter::Tally>,
    /// For sorted sets, the totals it has seen, by the dot that began the run.
    pub reals: BTreeMap<Dot, row::Base>,
}

impl SeenContext {
    /// Whether the client has seen that dot.
    pub fn has(&self, dot: Dot) -> bool {
        self.dots.contains(dot)
    }

    /// Whether it is one that a read can have given: canonical, with every tally inside. A decoded
    /// one is checked before use.
    pub fn is_canonical(&self) -> bool {
        let has = |run: &Dot, last: u64| {
            let last = Dot { actor: run.actor, counter: last };
            0 < run.counter && run.counter <= last.counter && self.dots.contains(last)
        };
        self.dots.is_canonical()
            && self.tallies.iter().all(|(run, tally)| has(run, tally.last))
            && self.reals.iter().all(|(run, base)| has(run, base.last) && base.is_real())
    }
}

/// Why an operation was refused. Nothing was changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error, bincode::Encode, bincode::Decode)]
pub enum OpError {
    /// The result does not fit a signed 64-bit integer.
    #[error("the counter would leave the range of a signed 64-bit integer")]
    CounterOverflow,
    /// The value has too many siblings already.
    #[error(
        "the value has {count} siblings, the limit is {limit}: \
         read it and write back with its context"
    )]
    TooManySiblings {
        /// Siblings there are.
        count: u32,
        /// Siblings allowed.
        limit: u32,
    },
    /// Removals that wait for writes this replica has not seen are at their limit.
    #[error(
        "{count} removals wait for writes not seen yet, the limit is {limit}: \
         retry without a context"
    )]
    TooManyDeferred {
        /// Removals waiting.
        count: u32,
        /// Removals allowed.
        limit: u32,
    },
    /// The operation is of another type than the object.
    #[error("the operation does not belong to this type")]
    WrongType,
    /// More rows have totals than a removal of everything can name.
    #[error(
        "{count} rows hold running totals, of at most {limit} everything can be removed at once: \
         remove them in parts"
    )]
    TooManyTotals {
        /// Rows there are.
        count: u64,
        /// Rows that can be removed at once.
        limit: u64,
    },
    /// A field is of another kind than the operation takes it for.
    #[error("the field {field:?} is a {is}, not a {wanted}")]
    WrongKind {
        /// The field, as a path.
        field: String,
        /// What it is.
        is: String,
        /// What the operation takes it for.
        wanted: String,
    },
    /// Maps are nested too deep.
    #[error("maps can be nested {limit} deep")]
    TooDeep {
        /// How deep they may be.
        limit: u32,
    },
    /// A score would not be a finite number.
    #[error("the score of {member:?} would not be a finite number")]
    ScoreOverflow {
        /// Of which member.
        member: String,
    },
    /// This replica's rights do not cover the decrement.
    #[error(
        "the rights here cover {local}, the counter is at {global} as far as is known here: \
         retry later or ask for less"
    )]
    InsufficientRights {
        /// What may be taken here.
        local: u64,
        /// The value known here.
        global: u64,
    },
    /// There is no such object to change the expiry of.
    #[error("the object is not there")]
    Absent,
    /// The type knows no such operation.
    #[error("{0}")]
    Unsupported(String),
    /// Something else was asked under the same key.
    #[error("the idempotency key was used for another operation on this object")]
    KeyReused,
}

/// Join of two maps of live dots, each under its context: what both have, plus what either has
/// and the other has not seen: `(a ∩ b) ∪ (a \ context_b) ∪ (b \ context_a)` (Almeida et al.,
/// 2018, section 7.1). A dot carries the same value wherever it is.
pub(crate) fn join_dots<V: Clone>(
    a: &mut BTreeMap<Dot, V>,
    context_a: &CausalContext,
    b: &BTreeMap<Dot, V>,
    context_b: &CausalContext,
) {
    a.retain(|dot, _| b.contains_key(dot) || !context_b.contains(*dot));
    for (dot, value) in b {
        if !context_a.contains(*dot) {
            a.insert(*dot, value.clone());
        }
    }
}

/// Implements the trait that the `crdts` crate defines for mergeable state.
macro_rules! impl_cvrdt {
    ($type:ty) => {
        impl crdts::CvRDT for $type {
            type Validation = std::convert::Infallible;

            fn validate_merge(&self, _: &Self) -> Result<(), Self::Validation> {
                Ok(())
            }

            fn merge(&mut self, other: Self) {
                crate::crdt::DeltaType::join(self, &other);
            }
        }
    };
}
pub(crate) use impl_cvrdt;
