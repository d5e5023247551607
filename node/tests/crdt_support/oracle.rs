//! A type of ours beside one of the `crdts` crate: the same operations and merges of whole states
//! on both, and after every step the same view.

use super::{Step, actor_of, for_histories};
use crdts::CvRDT;
use starling_node::crdt::{DeltaType, Hlc, Mint, OpError};
use std::fmt::Debug;

/// A type of ours and what is to agree with it: one type of theirs, or a few side by side.
pub trait Pair {
    type Ours: DeltaType + CvRDT;
    type Theirs: Clone + Default;
    type View: PartialEq + Debug;

    /// The same operation on both, as seen by the replica that applies it.
    fn op(kind: u8, id: u8, actor: u8, theirs: &mut Self::Theirs) -> <Self::Ours as DeltaType>::Op;
    fn merge(theirs: &mut Self::Theirs, other: Self::Theirs);
    fn ours(value: &Self::Ours) -> Self::View;
    fn theirs(value: &Self::Theirs) -> Self::View;
    /// The clock of a write, at the replica that has `theirs`.
    fn clock(id: u8, _theirs: &Self::Theirs) -> Hlc {
        Hlc { wall_ms: id.into(), logical: 0 }
    }
}

/// Replicas of both.
pub struct Both<P: Pair> {
    pub ours: Vec<P::Ours>,
    pub theirs: Vec<P::Theirs>,
}

impl<P: Pair> Both<P> {
    pub fn new(replicas: usize) -> Self {
        let (ours, theirs) =
            (vec![P::Ours::default(); replicas], vec![P::Theirs::default(); replicas]);
        Both { ours, theirs }
    }

    /// What our type refuses is done in neither.
    pub fn write(&mut self, at: usize, kind: u8, id: u8) {
        let before = self.theirs[at].clone();
        let clock = P::clock(id, &before);
        let op = P::op(kind, id, at as u8, &mut self.theirs[at]);
        let actor = actor_of(at as u32, 0);
        let next = self.ours[at].context().highest(actor) + 1;
        match self.ours[at].delta(&op, &mut Mint::new(actor, next, clock)) {
            Err(OpError::InsufficientRights { .. }) => self.theirs[at] = before,
            delta => self.ours[at].join(&delta.expect("within limits")),
        }
    }

    pub fn merge(&mut self, to: usize, from: usize) {
        let (our, their) = (self.ours[from].clone(), self.theirs[from].clone());
        self.ours[to].merge(our);
        P::merge(&mut self.theirs[to], their);
    }

    /// What either shows at a replica.
    pub fn views(&self, at: usize) -> (P::View, P::View) {
        (P::ours(&self.ours[at]), P::theirs(&self.theirs[at]))
    }
}

/// Over random histories of operations and merges.
pub fn agrees<P: Pair>() {
    for_histories(2, |replicas, steps| {
        let count = usize::from(replicas);
        let mut both = Both::<P>::new(count);
        for (id, step) in steps.iter().enumerate() {
            let at = match *step {
                Step::Op { at, kind, .. } => {
                    let at = usize::from(at) % count;
                    both.write(at, kind, id as u8);
                    at
                }
                Step::Merge { to, from } | Step::Deliver { to, delta: from } => {
                    let to = usize::from(to) % count;
                    both.merge(to, usize::from(from) % count);
                    to
                }
                _ => continue,
            };
            let (ours, theirs) = both.views(at);
            assert_eq!(ours, theirs, "after step {id}");
        }
    });
}
