//! What clients asked for and what they were told.

pub mod file;

use crate::leaves;
use starling_node::crdt::{
    CausalContext, CounterOp, FlagOp, HllOp, KvOp, ObjectId, ObjectOp, SetOp, ZsetOp,
};
use starling_node::wire::api::{Failure, Options, ReadQuery, ReadResult, Request, Written};
use std::collections::BTreeSet;

/// What a client did.
#[derive(Clone, Debug)]
pub enum Action {
    /// A change.
    Write(ObjectOp),
    /// A read.
    Read(ReadQuery),
}

/// What a client intends to do next.
#[derive(Clone, Debug)]
pub struct Intent {
    /// To which object.
    pub object: ObjectId,
    /// What.
    pub action: Action,
    /// How.
    pub options: Options,
    /// Whether the options contradict the bucket, so that only a refusal is right.
    pub impossible: bool,
}

impl Intent {
    /// As the node gets it.
    pub fn request(&self) -> Request {
        let (object, options) = (self.object.clone(), self.options.clone());
        match &self.action {
            Action::Write(op) => Request::Write { object, op: op.clone(), options },
            Action::Read(query) => Request::Read { object, query: query.clone(), options },
        }
    }
}

/// What became of it.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// No answer yet, or the node died before it answered.
    Unanswered,
    /// The write was acknowledged.
    Written(Box<Written>),
    /// The read was answered.
    Read(Box<ReadResult>),
    /// The node says that nothing was applied.
    NotApplied(Failure),
    /// The node says that it does not know.
    Unknown,
}

/// One operation of one client.
#[derive(Clone, Debug)]
pub struct Record {
    /// Who asked.
    pub client: usize,
    /// Which node.
    pub node: usize,
    /// When, microseconds.
    pub invoked_us: u64,
    /// When the answer came; `u64::MAX` without one.
    pub done_us: u64,
    /// What was asked.
    pub intent: Intent,
    /// What was answered.
    pub outcome: Outcome,
    /// Whether a disk was damaged after the answer and no other one had the write then.
    pub lost: bool,
    /// The same of all that it removed, and that others had removed before.
    pub unremoved: bool,
}

impl Record {
    /// The operation, of a write that may be in force: acknowledged, or with unknown outcome.
    pub fn possible_write(&self) -> Option<&ObjectOp> {
        match (&self.intent.action, &self.outcome) {
            (Action::Write(_), Outcome::NotApplied(_)) => None,
            (Action::Write(op), _) => Some(op),
            (Action::Read(_), _) => None,
        }
    }

    /// Whether a replica may apply it at that time, microseconds, or later: it had no answer by
    /// then, or nobody knew what becomes of it.
    pub fn may_act_at(&self, at_us: u64) -> bool {
        matches!(self.outcome, Outcome::Unknown) || self.done_us >= at_us
    }

    /// The operation and its answer, of a write acknowledged as being on at least one disk, and
    /// of which some disk was intact at all times. A write acknowledged from memory alone, as its
    /// client allowed, may be lost.
    pub fn durable_write(&self) -> Option<(&ObjectOp, &Written)> {
        match (&self.intent.action, &self.outcome) {
            (Action::Write(op), Outcome::Written(written))
                if written.acks.durable > 0 && !self.lost =>
            {
                Some((op, written))
            }
            _ => None,
        }
    }

    /// As [`Record::durable_write`], of what the write removed.
    pub fn durable_removal(&self) -> Option<(&ObjectOp, &Written)> {
        self.durable_write().filter(|_| !self.unremoved)
    }

    /// The dots that an acknowledged write speaks of, and whether all it did was to remove.
    pub fn said(&self) -> Option<(&CausalContext, bool)> {
        let (Action::Write(op), Outcome::Written(written)) = (&self.intent.action, &self.outcome)
        else {
            return None;
        };
        let removal = match op {
            ObjectOp::Kv(KvOp::Delete { .. }) | ObjectOp::Counter(CounterOp::Delete { .. }) => true,
            ObjectOp::Counter(CounterOp::Reset { .. }) => true,
            ObjectOp::Flag(FlagOp::Delete { .. }) | ObjectOp::Set(SetOp::Delete { .. }) => true,
            ObjectOp::DwFlag(FlagOp::Delete { .. }) => true,
            ObjectOp::Set(SetOp::Update { add, .. }) => add.is_empty(),
            ObjectOp::Zset(ZsetOp::Delete { .. }) | ObjectOp::Hll(HllOp::Delete { .. }) => true,
            ObjectOp::Zset(ZsetOp::Update { remove, .. }) => !remove.is_empty(),
            op @ ObjectOp::Map(_) => leaves::effect(op).is_some_and(|effect| effect.leaves == 0),
            _ => false,
        };
        Some((&written.said, removal))
    }

    /// The read's result.
    pub fn read(&self) -> Option<&ReadResult> {
        match &self.outcome {
            Outcome::Read(result) => Some(result),
            _ => None,
        }
    }
}

/// All operations of a run in the order in which they were begun.
#[derive(Default)]
pub struct History {
    /// By place; a place names an operation.
    pub records: Vec<Record>,
    /// Reads of each object from all owners, when all was at rest.
    pub last: Vec<Record>,
    /// Notes of operations with keys of which some are on no disk any more.
    pub forgotten: BTreeSet<ObjectId>,
}

impl History {
    /// Operations on one object.
    pub fn of<'a>(&'a self, object: &'a ObjectId) -> impl Iterator<Item = &'a Record> {
        self.records.iter().filter(move |record| record.intent.object == *object)
    }

    /// The notes that operations with keys may have left.
    pub fn notes(&self) -> BTreeSet<ObjectId> {
        let note = |record: &Record| {
            let once = record.intent.options.once.as_ref()?;
            Some(record.intent.object.note(&once.key))
        };
        self.records.iter().filter_map(note).collect()
    }
}
