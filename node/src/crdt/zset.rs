//! Zset.

use super::rows::rows_type;
use super::{CausalContext, DeltaType, Mint, Needs, Observed, OpError};
use bincode::{Decode, Encode};

rows_type! {
    /// A zset, or a part of one.
    Zset
}

/// What clients ask of a zset.
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub enum ZsetOp {
    /// Change it.
    Update {
        /// What the removals cover.
        observed: Observed,
    },
    /// Remove the whole, as far as observed.
    Delete {
        /// What the removal covers.
        observed: Observed,
    },
}

impl ZsetOp {
    pub(super) fn needs(&self) -> Needs {
        Needs { totals: matches!(self, ZsetOp::Delete { .. }), ..Needs::default() }
    }
}

impl DeltaType for Zset {
    type Op = ZsetOp;
    type Value = ();

    fn delta(&self, op: &ZsetOp, _: &mut Mint) -> Result<Zset, OpError> {
        match op {
            ZsetOp::Update { .. } => Err(OpError::WrongType),
            ZsetOp::Delete { observed } => Ok(Zset(self.clear(observed))),
        }
    }

    fn join(&mut self, other: &Zset) {
        self.0.join(other);
    }

    fn context(&self) -> &CausalContext {
        &self.0.context
    }

    fn value(&self) -> Option<()> {
        self.present().next().map(|_| ())
    }
}
