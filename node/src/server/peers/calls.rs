//! Requests to one peer and what became of them.
//!
//! All are counted. One at a time is timed, from queueing to its answer, so that a sample costs
//! one lock that is hardly ever contended, and no table of open requests is kept a second time.

use super::CallStats;
use crate::server::histogram::{Histogram, LATENCY_BOUNDS};
use crate::wire::peer::{OpId, PeerBody};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A timed request is given up after so long, and the next one is timed.
const GIVEN_UP: Duration = Duration::from_secs(5);

/// Counts of one peer's requests.
#[derive(Debug)]
pub(super) struct Calls {
    sent: AtomicU64,
    failed: AtomicU64,
    unanswered: AtomicU64,
    took: Histogram,
    timed: Mutex<Option<(OpId, Instant)>>,
}

impl Default for Calls {
    fn default() -> Calls {
        Calls {
            sent: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            unanswered: AtomicU64::new(0),
            took: Histogram::of_seconds(LATENCY_BOUNDS),
            timed: Mutex::default(),
        }
    }
}

impl Calls {
    /// A message is about to be queued: its answer may come before queueing returns.
    pub fn sends(&self, body: &PeerBody) {
        let Some(op) = request(body) else { return };
        self.sent.fetch_add(1, Relaxed);
        let now = Instant::now();
        let mut timed = self.timed();
        let late = timed.is_some_and(|(_, since)| now.duration_since(since) >= GIVEN_UP);
        self.unanswered.fetch_add(late.into(), Relaxed);
        if late || timed.is_none() {
            *timed = Some((op, now));
        }
    }

    /// It was dropped instead.
    pub fn dropped(&self, body: &PeerBody) {
        let Some(op) = request(body) else { return };
        self.failed.fetch_add(1, Relaxed);
        self.timed().take_if(|(waits, _)| *waits == op);
    }

    /// A message came in.
    pub fn received(&self, body: &PeerBody) {
        let Some((op, refused)) = answer(body) else { return };
        let mut timed = self.timed();
        if let Some((_, since)) = timed.take_if(|(waits, _)| *waits == op) {
            self.took.took(since.elapsed());
        }
        drop(timed);
        self.failed.fetch_add(refused.into(), Relaxed);
    }

    /// The counts now.
    pub fn read(&self) -> CallStats {
        CallStats {
            sent: self.sent.load(Relaxed),
            failed: self.failed.load(Relaxed),
            unanswered: self.unanswered.load(Relaxed),
            took: self.took.read(),
        }
    }

    fn timed(&self) -> MutexGuard<'_, Option<(OpId, Instant)>> {
        self.timed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of what asks: which operation.
fn request(body: &PeerBody) -> Option<OpId> {
    match body {
        PeerBody::Apply { op, .. }
        | PeerBody::Join { op, .. }
        | PeerBody::Get { op, .. }
        | PeerBody::Inspect { op, .. } => Some(*op),
        _ => None,
    }
}

/// Of what answers: which operation, and whether it was refused. A refusal comes once.
fn answer(body: &PeerBody) -> Option<(OpId, bool)> {
    match body {
        PeerBody::Applied { op, outcome } => Some((*op, outcome.is_err())),
        PeerBody::Joined { op, outcome } => Some((*op, outcome.is_err())),
        PeerBody::Got { op, outcome } => Some((*op, outcome.is_err())),
        PeerBody::Inspected { op, .. } => Some((*op, false)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::peer::Refusal;

    fn joined(op: u64, outcome: Result<bool, Refusal>) -> PeerBody {
        PeerBody::Joined { op: OpId(op), outcome }
    }

    fn applied(op: u64) -> PeerBody {
        PeerBody::Applied { op: OpId(op), outcome: Err(Refusal::DiskFull) }
    }

    #[test]
    fn an_answer_is_timed_by_its_own_request_and_a_refusal_is_a_failure() {
        let calls = Calls::default();
        let ask = |op| PeerBody::Inspect {
            op: OpId(op),
            object: crate::crdt::ObjectId {
                bucket: "b".into(),
                tag: crate::crdt::TypeTag::Kv,
                key: b"k".to_vec(),
            },
        };
        calls.sends(&ask(0));
        calls.dropped(&ask(0));
        for op in [1, 2, 3] {
            calls.sends(&ask(op));
        }
        calls.received(&applied(2));
        assert_eq!(calls.read().took.count, 0, "the first is timed, not the second");
        calls.received(&joined(1, Ok(false)));
        calls.received(&PeerBody::AppliedDurable { op: OpId(1) });
        let read = calls.read();
        assert_eq!((read.sent, read.failed), (4, 2));
        assert_eq!((read.took.count, read.unanswered), (1, 0));
    }
}
