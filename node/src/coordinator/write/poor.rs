//! Decrements of a bounded counter that the rights of one owner do not cover.
//!
//! The next owner may have more. Where none has enough, one of them is asked again, now to gather
//! the rights of the others first. That second round has an operation number of its own: the
//! network may deliver a refusal of the first round twice, and as an answer to the second it would
//! call a decrement refused that is about to be applied.

use super::{Doing, Write};
use crate::cluster::View;
use crate::crdt::{BoundedOp, NodeId, ObjectOp, OpError};
use crate::wire::api::Failure;
use crate::wire::peer::OpId;

impl Write {
    /// The rights at the replica that was asked do not cover the decrement.
    pub(super) fn on_poor(
        &mut self,
        view: &View,
        op: OpId,
        (local, global): (u64, u64),
        doing: &mut Doing,
    ) {
        self.lacking = (self.lacking.0.max(local), self.lacking.1.max(global));
        self.poor.insert(self.applier);
        match self.action {
            ObjectOp::Bounded(BoundedOp::Add { .. }) => {
                self.ask_the_next(view, op, self.not_covered(), doing);
            }
            // That was the second round.
            _ => self.fail(self.not_covered(), doing),
        }
    }

    /// Asks a replica that was not asked yet, or, where all owners that can be asked have too
    /// little, for the second round; where neither can be it fails.
    pub(super) fn ask_the_next(&mut self, view: &View, op: OpId, last: Failure, doing: &mut Doing) {
        let usable = |node: &&NodeId| view.is_alive(**node) && !self.refused.contains(node);
        let alive: Vec<NodeId> = self.list.owners().iter().filter(usable).copied().collect();
        if !self.poor.is_empty() && alive.iter().all(|owner| self.poor.contains(owner)) {
            match self.gathering().filter(|_| !alive.is_empty()) {
                Some(take) => {
                    self.action = take;
                    self.poor.clear();
                    doing.renumber = true;
                }
                None => self.fail(last, doing),
            }
        } else if self.apply_somewhere(view, op, doing).is_err() {
            self.fail(last, doing);
        }
    }

    /// What the second round asks; nothing where the counter is too low for it to help.
    fn gathering(&self) -> Option<ObjectOp> {
        let ObjectOp::Bounded(BoundedOp::Add { amount }) = &self.action else { return None };
        let amount = u64::try_from(amount.unsigned_abs()).ok();
        let amount = amount.filter(|amount| *amount <= self.lacking.1)?;
        Some(ObjectOp::Bounded(BoundedOp::Take { amount }))
    }

    /// The second round, under a number that no answer to the first one has.
    pub(in crate::coordinator) fn begin_again(&mut self, view: &View, op: OpId, doing: &mut Doing) {
        if self.apply_somewhere(view, op, doing).is_err() {
            self.fail(self.not_covered(), doing);
        }
    }

    fn not_covered(&self) -> Failure {
        let (local, global) = self.lacking;
        Failure::Refused(OpError::InsufficientRights { local, global })
    }

    /// Whether it is a decrement of a bounded counter.
    pub(super) fn takes_away(&self) -> bool {
        match self.action {
            ObjectOp::Bounded(BoundedOp::Add { amount }) => amount < 0,
            ObjectOp::Bounded(BoundedOp::Take { .. }) => true,
            _ => false,
        }
    }
}
