//! Operations as their clients saw them: begun when, at which node, answered or not.

use crate::history::{Action, Outcome, Record};
use crate::world::observe::Observed;
use starling_node::wire::api::Quorum;

/// How an operation ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// As asked; a read of what is not there too.
    Answered,
    /// With the word that nothing was applied.
    Refused,
    /// Without that word, or without any.
    Unknown,
}

/// One operation.
#[derive(Clone, Copy, Debug)]
pub struct Op {
    /// The node asked.
    pub node: usize,
    /// When it began, microseconds.
    pub at_us: u64,
    /// How long the answer took, ms; of what was not answered nothing is told.
    pub took_ms: f64,
    /// Whether it was a read.
    pub read: bool,
    /// Whether one replica was enough for its client.
    pub one: bool,
    /// How it ended.
    pub end: End,
    /// Whether a fault was active when it began.
    pub broken: bool,
}

/// All operations of a run.
pub fn all(observed: &Observed) -> Vec<Op> {
    let op = |record: &Record| {
        let options = &record.intent.options;
        let read = matches!(record.intent.action, Action::Read(_));
        let end = match record.outcome {
            Outcome::Written(_) | Outcome::Read(_) => End::Answered,
            Outcome::NotApplied(_) => End::Refused,
            Outcome::Unknown | Outcome::Unanswered => End::Unknown,
        };
        let quorum = if read { options.r } else { options.w };
        Op {
            node: record.node,
            at_us: record.invoked_us,
            took_ms: record.done_us.saturating_sub(record.invoked_us) as f64 / 1e3,
            read,
            one: matches!(quorum, Some(Quorum::One | Quorum::Count(1))),
            end,
            broken: observed.is_broken(record.invoked_us),
        }
    };
    observed.history.records.iter().map(op).collect()
}

/// The share of operations that were answered; nothing is told of none.
pub fn availability<'a>(ops: impl Iterator<Item = &'a Op>) -> Option<f64> {
    let (mut all, mut answered) = (0u64, 0u64);
    for op in ops {
        all += 1;
        answered += u64::from(op.end == End::Answered);
    }
    (all > 0).then(|| answered as f64 / all as f64)
}
