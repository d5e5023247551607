//! How a call is carried out: quorums, durability, time.

use std::fmt::{self, Write};
use std::time::Duration;

/// A number of replicas.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Quorum {
    /// One.
    One,
    /// More than half of the bucket's N.
    Quorum,
    /// All N.
    All,
    /// That many, 1 to N.
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
    /// For a node to answer, 1 ms to 60 s; 5 s unless set. The client itself waits a second
    /// longer, so that the node's own answer, which says more, comes first.
    pub timeout: Duration,
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
            timeout: Duration::from_secs(5),
        }
    }
}

impl Options {
    /// As query parameters, beginning with `?`.
    pub(crate) fn query(&self) -> String {
        let mut query = format!("?timeout_ms={}", self.timeout.as_millis());
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
        query
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_become_the_parameters_of_the_interface() {
        assert_eq!(Options::default().query(), "?timeout_ms=5000");
        let all = Options {
            r: Some(Quorum::One),
            w: Some(Quorum::Count(2)),
            pr: Some(Quorum::All),
            pw: Some(Quorum::Quorum),
            zones: Some(2),
            durable: Some(Durable::One),
            timeout: Duration::from_millis(50),
        };
        let expected = "?timeout_ms=50&r=one&w=2&pr=all&pw=quorum&zones=2&durable=one";
        assert_eq!(all.query(), expected);
    }
}
