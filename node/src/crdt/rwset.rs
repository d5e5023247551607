//! Remove-wins set: a member that one side removes while another adds it is gone.
//!
//! Additions and removals are both dots of the member's row, each in place of what it observed; a
//! member is there when its row has dots and none of them is a removal (Bieniusa et al., "An
//! optimized conflict-free replicated set", 2012, section 5, with dots in place of tombstones). A
//! removal stays as a row of one dot until it is collected.

use super::row::{Leaf, Row};
use super::rows::rows_type;
use super::set::SetOp;
use super::{CausalContext, DeltaType, Dot, Mint, Observed, OpError, Rows};
use std::collections::BTreeSet;

rows_type! {
    /// A remove-wins set, or a part of one.
    RwSet
}

impl RwSet {
    /// Visible members with their rows, in order.
    pub fn members(&self) -> impl DoubleEndedIterator<Item = (&Vec<u8>, &Row)> {
        self.present()
    }

    /// The dots of a member that a write replaces. An addition replaces the removals it saw; with
    /// a context of its client none but those.
    fn replaced(&self, member: &[u8], observed: &Observed) -> Vec<Dot> {
        let live = self.row(member).live.into_keys();
        match observed {
            Observed::Here => live.collect(),
            Observed::Context(seen) => live.filter(|dot| seen.has(*dot)).collect(),
            Observed::Nothing => Vec::new(),
        }
    }
}

impl DeltaType for RwSet {
    type Op = SetOp;
    type Value = BTreeSet<Vec<u8>>;

    fn delta(&self, op: &SetOp, mint: &mut Mint) -> Result<RwSet, OpError> {
        let (add, remove, observed) = match op {
            SetOp::Update { add, remove, observed } => (add, remove, observed),
            SetOp::Delete { observed } => return Ok(RwSet(self.clear(observed))),
        };
        let mut delta = Rows::delta();
        // A removal takes the place of all additions: also of those its client has not seen it
        // would win over.
        for member in remove {
            let replaced = self.row(member).live.into_keys();
            delta.put(member, mint.dot(), Leaf::Removed, replaced);
        }
        for member in add {
            let replaced = self.replaced(member, observed);
            delta.put(member, mint.dot(), Leaf::Here, replaced);
        }
        Ok(RwSet(delta))
    }

    fn join(&mut self, other: &RwSet) {
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
