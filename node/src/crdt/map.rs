//! Map.

use super::rows::rows_type;
use super::{CausalContext, DeltaType, Mint, Needs, Observed, OpError};
use bincode::{Decode, Encode};

rows_type! {
    /// A map, or a part of one.
    Map
}

/// What clients ask of a map.
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub enum MapOp {
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

impl MapOp {
    pub(super) fn needs(&self) -> Needs {
        Needs { totals: matches!(self, MapOp::Delete { .. }), ..Needs::default() }
    }
}

impl DeltaType for Map {
    type Op = MapOp;
    type Value = ();

    fn delta(&self, op: &MapOp, _: &mut Mint) -> Result<Map, OpError> {
        match op {
            MapOp::Update { .. } => Err(OpError::WrongType),
            MapOp::Delete { observed } => Ok(Map(self.clear(observed))),
        }
    }

    fn join(&mut self, other: &Map) {
        self.0.join(other);
    }

    fn context(&self) -> &CausalContext {
        &self.0.context
    }

    fn value(&self) -> Option<()> {
        self.present().next().map(|_| ())
    }
}
