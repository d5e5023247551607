//! Register: concurrent writes are kept side by side as siblings (multi-value register).
//!
//! Each write is a dot with its value; a write supersedes the dots it has observed. No write is
//! dropped unless another one saw it. Last-writer-wins is a way to read, not to merge.

use super::{
    CausalContext, DeltaType, Dot, Expiry, Hlc, Mint, Observed, OpError, impl_cvrdt, join_dots,
};
use bincode::{Decode, Encode};
use std::collections::BTreeMap;

/// Siblings at which a client's write is refused.
pub const SIBLINGS_MAX: usize = 32;

/// Bytes of all siblings together at which a client's write is refused. Far below what one row
/// can hold, since sides of a partition add up when they meet.
pub const SIBLING_BYTES_MAX: usize = 4 << 20;

/// A multi-value register.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct Kv {
    pub(crate) context: CausalContext,
    pub(crate) siblings: BTreeMap<Dot, Sibling>,
    pub(crate) expiry: Expiry,
}

/// One value of a register.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct Sibling {
    /// The bytes as given.
    pub value: Vec<u8>,
    /// The media type as given.
    pub content_type: String,
    /// When it was written, by the hybrid clock of the replica that applied it.
    pub written_at: Hlc,
}

/// What clients ask of a register.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum KvOp {
    /// Write a value in place of what was observed.
    Put {
        /// The bytes.
        value: Vec<u8>,
        /// Their media type.
        content_type: String,
        /// What the write supersedes.
        observed: Observed,
    },
    /// Remove what was observed.
    Delete {
        /// What the removal covers.
        observed: Observed,
    },
}

impl Kv {
    /// Siblings in the order of their dots.
    pub fn siblings(&self) -> impl Iterator<Item = (&Dot, &Sibling)> {
        self.siblings.iter()
    }

    /// The sibling written last by the hybrid clock, ties broken by the dot.
    pub fn latest(&self) -> Option<(&Dot, &Sibling)> {
        self.siblings.iter().max_by_key(|(dot, sibling)| (sibling.written_at, **dot))
    }

    fn observed(&self, observed: &Observed) -> CausalContext {
        match observed {
            // All of the context, not only the live dots: a replica that missed the writes
            // between an old one and this must not show the old one beside it.
            Observed::Here => self.context.clone(),
            Observed::Context(seen) => seen.dots.clone(),
            Observed::Nothing => CausalContext::new(),
        }
    }
}

impl DeltaType for Kv {
    type Op = KvOp;
    type Value = Vec<Sibling>;

    fn delta(&self, op: &KvOp, mint: &mut Mint) -> Result<Kv, OpError> {
        match op {
            KvOp::Put { value, content_type, observed } => {
                let mut context = self.observed(observed);
                let left = self.siblings.iter().filter(|(dot, _)| !context.contains(**dot));
                let (count, bytes) = left.fold((0, value.len()), |(count, bytes), (_, sibling)| {
                    (count + 1, bytes + sibling.value.len())
                });
                if count >= SIBLINGS_MAX || (count > 0 && bytes > SIBLING_BYTES_MAX) {
                    let (count, limit) = (count as u32, count.min(SIBLINGS_MAX) as u32);
                    return Err(OpError::TooManySiblings { count, limit });
                }
                let dot = mint.dot();
                context.insert(dot);
                let (value, content_type) = (value.clone(), content_type.clone());
                let sibling = Sibling { value, content_type, written_at: mint.at() };
                Ok(Kv { context, siblings: BTreeMap::from([(dot, sibling)]), ..Kv::default() })
            }
            KvOp::Delete { observed } => {
                Ok(Kv { context: self.observed(observed), ..Kv::default() })
            }
        }
    }

    fn join(&mut self, other: &Kv) {
        join_dots(&mut self.siblings, &self.context, &other.siblings, &other.context);
        self.expiry.join(&self.context, &other.expiry, &other.context);
        self.context.join(&other.context);
    }

    fn context(&self) -> &CausalContext {
        &self.context
    }

    fn value(&self) -> Option<Vec<Sibling>> {
        (!self.siblings.is_empty()).then(|| self.siblings.values().cloned().collect())
    }
}

impl_cvrdt!(Kv);
