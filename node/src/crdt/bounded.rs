//! Bounded counter.

use super::{CausalContext, DeltaType, Dot, Mint, Observed, OpError, impl_cvrdt};
use bincode::{Decode, Encode};

/// A counter that is never below 0.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct Bounded {
    pub(crate) context: CausalContext,
}

/// What clients ask of a bounded counter.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum BoundedOp {
    /// Add an amount, negative to subtract.
    Add {
        /// The amount.
        amount: i128,
    },
    /// Remove it.
    Delete {
        /// What the removal covers.
        observed: Observed,
    },
}

impl Bounded {
    pub(crate) fn is_sound(&self) -> bool {
        true
    }

    pub(crate) fn last_dots(&self) -> Vec<Dot> {
        Vec::new()
    }
}

impl DeltaType for Bounded {
    type Op = BoundedOp;
    type Value = i64;

    fn delta(&self, _: &BoundedOp, _: &mut Mint) -> Result<Bounded, OpError> {
        Err(OpError::WrongType)
    }

    fn join(&mut self, other: &Bounded) {
        self.context.join(&other.context);
    }

    fn context(&self) -> &CausalContext {
        &self.context
    }

    fn value(&self) -> Option<i64> {
        None
    }
}

impl_cvrdt!(Bounded);
