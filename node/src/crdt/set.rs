//! Set: add wins over a concurrent remove. Each member is a row, see [`super::rows`].

use super::row::{Leaf, Row};
use super::rows::rows_type;
use super::{CausalContext, DeltaType, Mint, Observed, OpError, Rows};
use bincode::{Decode, Encode};
use std::collections::BTreeSet;

rows_type! {
    /// An add-wins set, or a part of one.
    Set
}

/// What clients ask of a set.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum SetOp {
    /// Add and remove members; no member is in both lists.
    Update {
        /// Members to add.
        add: BTreeSet<Vec<u8>>,
        /// Members to remove.
        remove: BTreeSet<Vec<u8>>,
        /// What the removals cover.
        observed: Observed,
    },
    /// Remove the whole set, as far as observed.
    Delete {
        /// What the removal covers.
        observed: Observed,
    },
}

impl SetOp {
    /// The members whose rows the operation needs and touches.
    pub fn members(&self) -> impl Iterator<Item = &Vec<u8>> {
        let (add, remove) = match self {
            SetOp::Update { add, remove, .. } => (Some(add), Some(remove)),
            SetOp::Delete { .. } => (None, None),
        };
        add.into_iter().flatten().chain(remove.into_iter().flatten())
    }
}

impl Set {
    /// Visible members with their rows, in order.
    pub fn members(&self) -> impl DoubleEndedIterator<Item = (&Vec<u8>, &Row)> {
        self.present()
    }
}

impl DeltaType for Set {
    type Op = SetOp;
    type Value = BTreeSet<Vec<u8>>;

    fn delta(&self, op: &SetOp, mint: &mut Mint) -> Result<Set, OpError> {
        let (add, remove, observed) = match op {
            SetOp::Update { add, remove, observed } => (add, remove, observed),
            SetOp::Delete { observed } => return Ok(Set(self.clear(observed))),
        };
        let mut delta = Rows::delta();
        remove.iter().for_each(|member| self.remove(member, observed, &mut delta));
        self.check_deferred(&delta)?;
        for member in add {
            let replaced = self.row(member).live.into_keys();
            delta.put(member, mint.dot(), Leaf::Here, replaced);
        }
        Ok(Set(delta))
    }

    fn join(&mut self, other: &Set) {
        self.0.join(other);
    }

    fn context(&self) -> &CausalContext {
        &self.0.context
    }

    fn value(&self) -> Option<BTreeSet<Vec<u8>>> {
        let members: BTreeSet<_> = self.members().map(|(member, _)| member.clone()).collect();
        (!members.is_empty()).then_some(members)
    }
}
