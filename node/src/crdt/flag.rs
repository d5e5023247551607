//! Flags: on or off. Of a switch on and a switch off at the same time the one wins in [`Flag`],
//! the other in [`DwFlag`].
//!
//! Both operations leave a dot, so that a flag switched off is there and off, while a removed
//! flag is absent. Enable-wins after Shapiro et al., "A comprehensive study of CRDTs", 2011,
//! with dots in place of tombstones.

use super::kv::SIBLINGS_MAX;
use super::{
    CausalContext, DeltaType, Dot, Expiry, Mint, Observed, OpError, impl_cvrdt, join_dots,
};
use bincode::{Decode, Encode};
use std::collections::BTreeMap;

/// An enable-wins flag.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct Flag {
    pub(crate) context: CausalContext,
    /// Live writes and what each of them said.
    pub(crate) votes: BTreeMap<Dot, bool>,
    pub(crate) expiry: Expiry,
}

/// What clients ask of a flag.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum FlagOp {
    /// Switch it on or off in place of what was observed.
    Set {
        /// On or off.
        enabled: bool,
        /// What the write supersedes.
        observed: Observed,
    },
    /// Remove what was observed.
    Delete {
        /// What the removal covers.
        observed: Observed,
    },
}

impl Flag {
    /// Live writes in the order of their dots.
    pub fn votes(&self) -> impl Iterator<Item = (&Dot, &bool)> {
        self.votes.iter()
    }

    fn observed(&self, observed: &Observed) -> CausalContext {
        match observed {
            // All of the context, not only the live dots: a replica that missed the writes
            // between an old one and this must not count the old one.
            Observed::Here => self.context.clone(),
            Observed::Context(seen) => seen.dots.clone(),
            Observed::Nothing => CausalContext::new(),
        }
    }
}

impl DeltaType for Flag {
    type Op = FlagOp;
    type Value = bool;

    fn delta(&self, op: &FlagOp, mint: &mut Mint) -> Result<Flag, OpError> {
        Ok(match op {
            FlagOp::Set { enabled, observed } => {
                let mut context = self.observed(observed);
                let left = self.votes.keys().filter(|dot| !context.contains(**dot)).count();
                if left >= SIBLINGS_MAX {
                    let (count, limit) = (left as u32, SIBLINGS_MAX as u32);
                    return Err(OpError::TooManySiblings { count, limit });
                }
                let dot = mint.dot();
                context.insert(dot);
                Flag { context, votes: BTreeMap::from([(dot, *enabled)]), ..Flag::default() }
            }
            FlagOp::Delete { observed } => {
                Flag { context: self.observed(observed), ..Flag::default() }
            }
        })
    }

    fn join(&mut self, other: &Flag) {
        join_dots(&mut self.votes, &self.context, &other.votes, &other.context);
        self.expiry.join(&self.context, &other.expiry, &other.context);
        self.context.join(&other.context);
    }

    fn context(&self) -> &CausalContext {
        &self.context
    }

    fn value(&self) -> Option<bool> {
        (!self.votes.is_empty()).then(|| self.votes.values().any(|enabled| *enabled))
    }
}

impl_cvrdt!(Flag);

/// A disable-wins flag: the same votes, and off when someone switches it off while another
/// switches it on.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct DwFlag(pub(crate) Flag);

impl DwFlag {
    /// As [`Flag::votes`].
    pub fn votes(&self) -> impl Iterator<Item = (&Dot, &bool)> {
        self.0.votes()
    }
}

impl DeltaType for DwFlag {
    type Op = FlagOp;
    type Value = bool;

    fn delta(&self, op: &FlagOp, mint: &mut Mint) -> Result<DwFlag, OpError> {
        self.0.delta(op, mint).map(DwFlag)
    }

    fn join(&mut self, other: &DwFlag) {
        self.0.join(&other.0);
    }

    fn context(&self) -> &CausalContext {
        &self.0.context
    }

    fn value(&self) -> Option<bool> {
        (!self.0.votes.is_empty()).then(|| self.0.votes.values().all(|enabled| *enabled))
    }
}

impl_cvrdt!(DwFlag);
