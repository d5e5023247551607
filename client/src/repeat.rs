//! Whether and when an attempt is repeated: what is safe, how often, after which pause.
//!
//! A tenth of the calls of the last ten seconds may be repeated, and ten repetitions a second
//! besides (`tower`'s budget), so that a cluster in trouble is not buried under repetitions.
//! Pauses are drawn from 0 to 20 ms, 40 ms and so on up to 1 s: exponential back-off with full
//! jitter (Brooker, "Exponential Backoff and Jitter", 2015).

use crate::error::Error;
use std::fmt;
use std::time::Duration;
use tokio_retry2::strategy::{ExponentialBackoff, jitter_with_bounds};
use tower::retry::budget::{Budget as _, TpsBudget};

const WINDOW: Duration = Duration::from_secs(10);
/// Repetitions a second that are always paid for.
const RESERVE_PER_S: u32 = 10;
/// Repetitions that a call pays for.
const SHARE: f32 = 0.1;
const PAUSE_MAX_MS: u64 = 1_000;

/// What repeating an operation may do when its first attempt was carried out after all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Repeat {
    /// Nothing that carrying it out once, at the end, would not: it is repeated.
    Harmless,
    /// It counts twice: it is repeated only when surely nothing was applied.
    CountsTwice,
}

impl Repeat {
    /// Whether an attempt that ended with `error` may be followed by another.
    pub fn allows(self, error: &Error) -> bool {
        error.applied_nothing_for_now() || (error.is_lost() && self == Repeat::Harmless)
    }
}

/// What repetitions are paid with.
pub(crate) struct Budget(TpsBudget);

impl Budget {
    pub fn new() -> Budget {
        Budget(TpsBudget::new(WINDOW, RESERVE_PER_S, SHARE))
    }

    /// A call was begun.
    pub fn earn(&self) {
        self.0.deposit();
    }

    /// Whether a repetition can be paid. A node that cannot be reached is no worse off for it,
    /// so that going on to the next one is free.
    pub fn pays(&self, error: &Error) -> bool {
        error.is_unreachable() || self.0.withdraw()
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Budget")
    }
}

/// The pauses before the second attempt, the third and so on.
pub(crate) fn pauses() -> impl Iterator<Item = Duration> {
    ExponentialBackoff::from_millis(2)
        .factor(10)
        .max_delay_millis(PAUSE_MAX_MS)
        .map(jitter_with_bounds(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_counts_twice_waits_for_certainty() {
        let unavailable = Error::answered(503, b"", None);
        let shed = Error::answered(429, b"", None);
        for error in [unavailable, shed, Error::unreachable("refused")] {
            assert!(Repeat::CountsTwice.allows(&error) && Repeat::Harmless.allows(&error));
        }
        let unknown = Error::answered(504, b"", None);
        for error in [unknown, Error::lost(false, true, "reset"), Error::lost(true, true, "")] {
            assert!(!Repeat::CountsTwice.allows(&error) && Repeat::Harmless.allows(&error));
        }
        for status in [400, 404, 409, 413, 500, 501, 507] {
            let error = Error::answered(status, b"", None);
            assert!(!Repeat::Harmless.allows(&error), "{status}");
        }
    }

    #[test]
    fn pauses_grow_are_drawn_and_have_an_end() {
        let most = [20, 40, 80, 160, 320, 640, 1_000, 1_000];
        for _ in 0..100 {
            for (pause, most) in pauses().zip(most) {
                assert!(pause <= Duration::from_millis(most), "{pause:?} of {most}");
            }
        }
        let firsts: Vec<_> = (0..100).filter_map(|_| pauses().next()).collect();
        assert!(firsts.iter().any(|pause| *pause < Duration::from_millis(10)));
        assert!(firsts.iter().any(|pause| *pause > Duration::from_millis(10)));
    }

    #[tokio::test]
    async fn repetitions_end_when_the_budget_is_spent_and_going_past_the_dead_is_free() {
        let budget = Budget::new();
        let shed = Error::answered(429, b"", None);
        let paid = (0..10_000).take_while(|_| budget.pays(&shed)).count();
        assert_eq!(paid, 100, "the reserve of ten seconds");
        assert!(budget.pays(&Error::unreachable("refused")));
        (0..100).for_each(|_| budget.earn());
        let paid = (0..10_000).take_while(|_| budget.pays(&shed)).count();
        assert_eq!(paid, 10, "a tenth of the calls");
    }
}
