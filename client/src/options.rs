//! How a call is carried out: quorums, durability, expiry, time, repetition.

use serde::{Deserialize, Serialize};
use std::fmt::{self, Write};
use std::time::Duration;

/// How much longer than a node the client waits, so that the node's own answer, which says more,
/// comes first.
pub(crate) const GRACE: Duration = Duration::from_secs(1);

/// A number of replicas.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quorum {
    /// One.
    One,
    /// More than half of the bucket's N.
    Quorum,
    /// All N.
    All,
    /// That many, 1 to N.
    #[serde(untagged)]
    Count(u8),
}

impl fmt::Display for Quorum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Quorum::One => f.write_str("one"),
            Quorum::Quorum => f.write_str("quorum"),
            Quorum::All => f.write_str("all"),
            Quorum::Count(count) => write!(f, "{count}"),
        }
    }
}

/// How many replicas must have a write on disk before it is acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durable {
    /// None.
    None,
    /// One.
    One,
    /// More than half of N.
    Quorum,
    /// All N.
    All,
}

impl fmt::Display for Durable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Durable::None => "none",
            Durable::One => "one",
            Durable::Quorum => "quorum",
            Durable::All => "all",
        })
    }
}

/// How long an object is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ttl {
    /// So long from the write on, in whole seconds, rounded up: 1 s to ten years.
    For(Duration),
    /// Until it is removed.
    Persist,
}

impl Ttl {
    pub(crate) fn seconds(time: Duration) -> u64 {
        time.as_secs() + u64::from(time.subsec_nanos() > 0)
    }
}

/// Settings of calls; what is left out is the bucket's.
///
/// ```
/// use starling_client::{Options, Quorum};
/// use std::time::Duration;
///
/// let careful = Options {
///     w: Some(Quorum::All),
///     timeout: Duration::from_secs(2),
///     ..Options::default()
/// };
/// assert_eq!(careful.r, None);
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Replicas that answer a read.
    pub r: Option<Quorum>,
    /// Replicas that acknowledge a write.
    pub w: Option<Quorum>,
    /// Owners that answer a read.
    pub pr: Option<Quorum>,
    /// Owners that acknowledge a write.
    pub pw: Option<Quorum>,
    /// Distinct zones among the replicas that acknowledge a write.
    pub zones: Option<u8>,
    /// Replicas that have a write on disk.
    pub durable: Option<Durable>,
    /// How old an answer to a read may be.
    pub max_stale: Option<Duration>,
    /// When what is written expires; `None` leaves it to the type's rule and the bucket. Reads,
    /// removals and resets do not take it.
    pub ttl: Option<Ttl>,
    /// For a node to answer one attempt, 1 ms to 60 s; 5 s unless set. The client itself waits a
    /// second longer.
    pub timeout: Duration,
    /// For the call with all its attempts and the pauses between them; `None` for three attempts
    /// that all time out. The last attempt gets what is left of it.
    pub deadline: Option<Duration>,
    /// Attempts in all, where an attempt may be repeated; 8 unless set, and 1 for a caller that
    /// decides about repetitions itself.
    pub attempts: u32,
    /// Whether changes of a [`Counter`](crate::Counter) carry an idempotency key, so that they are
    /// repeated when an answer is lost and count once all the same. `true` unless set; without
    /// effect where there is but one attempt. Each keeps a note of some hundred bytes at its
    /// replicas for a day, see `docs/performance.md` for what that costs.
    pub exactly_once: bool,
    /// A trace to go on with, as in the header `traceparent` (W3C). Unless set, each call has a
    /// trace of its own, not sampled, whose id is in the call's span and in the node's log.
    pub traceparent: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            r: None,
            w: None,
            pr: None,
            pw: None,
            zones: None,
            durable: None,
            max_stale: None,
            ttl: None,
            timeout: Duration::from_secs(5),
            deadline: None,
            attempts: 8,
            exactly_once: true,
            traceparent: None,
        }
    }
}

impl Options {
    /// The time for the whole call.
    pub(crate) fn whole(&self) -> Duration {
        self.deadline.unwrap_or((self.timeout + GRACE) * 3)
    }

    /// As query parameters behind that of the time, each beginning with `&`.
    pub(crate) fn query(&self) -> String {
        let mut query = String::new();
        for (name, quorum) in [("r", self.r), ("w", self.w), ("pr", self.pr), ("pw", self.pw)] {
            if let Some(quorum) = quorum {
                let _ = write!(query, "&{name}={quorum}");
            }
        }
        if let Some(zones) = self.zones {
            let _ = write!(query, "&zones={zones}");
        }
        if let Some(durable) = self.durable {
            let _ = write!(query, "&durable={durable}");
        }
        if let Some(age) = self.max_stale {
            let _ = write!(query, "&max_stale_ms={}", age.as_millis());
        }
        query
    }

    /// The same with the expiry of what is written.
    pub(crate) fn write_query(&self) -> String {
        self.query()
            + &match self.ttl {
                None => String::new(),
                Some(Ttl::For(time)) => format!("&ttl_seconds={}", Ttl::seconds(time)),
                Some(Ttl::Persist) => "&persist=true".into(),
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_become_the_parameters_of_the_interface() {
        assert_eq!(Options::default().write_query(), "");
        let all = Options {
            r: Some(Quorum::One),
            w: Some(Quorum::Count(2)),
            pr: Some(Quorum::All),
            pw: Some(Quorum::Quorum),
            zones: Some(2),
            durable: Some(Durable::One),
            max_stale: Some(Duration::from_secs(1)),
            ttl: Some(Ttl::For(Duration::from_millis(1_500))),
            ..Options::default()
        };
        let expected = "&r=one&w=2&pr=all&pw=quorum&zones=2&durable=one&max_stale_ms=1000";
        assert_eq!(all.query(), expected);
        assert_eq!(all.write_query(), format!("{expected}&ttl_seconds=2"), "rounded up");
        let kept = Options { ttl: Some(Ttl::Persist), ..Options::default() };
        assert_eq!(kept.write_query(), "&persist=true");
    }

    #[test]
    fn the_whole_call_has_time_for_three_silent_nodes() {
        assert_eq!(Options::default().whole(), Duration::from_secs(18));
        let hasty = Options { deadline: Some(Duration::from_secs(1)), ..Options::default() };
        assert_eq!(hasty.whole(), Duration::from_secs(1));
    }
}
