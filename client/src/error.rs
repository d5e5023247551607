//! What can go wrong, as one type with questions.

use serde::Deserialize;
use std::fmt;
use std::time::Duration;

/// Why a call did not succeed. Ask it what it means for the write: nothing was applied unless
/// [`is_unknown`](Error::is_unknown).
///
/// ```
/// # fn told(result: Result<(), starling_client::Error>) -> &'static str {
/// match result {
///     Ok(()) => "done",
///     Err(error) if error.is_unknown() => "perhaps done: ask, before it is done again",
///     Err(error) if error.is_not_found() => "there is nothing",
///     Err(error) if error.is_unavailable() || error.is_overloaded() => "not done: try later",
///     Err(_) => "not done: the call must change",
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Kind,
    detail: String,
    retry_after: Option<Duration>,
    attempts: u32,
    /// Whether an earlier attempt of the same write may have been applied.
    earlier_unknown: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Kind {
    /// The call itself is wrong; nothing was sent.
    Usage,
    /// No node could be reached; nothing was applied.
    Unreachable,
    /// The connection broke or the time ran out after the request was sent.
    Lost { timeout: bool, write: bool },
    /// A node said so.
    Answered { status: u16, code: String, title: String },
    /// A node's answer could not be understood.
    Garbled { write: bool },
    /// A node in this process could not start or stop.
    #[cfg(feature = "embedded")]
    Embedded,
}

impl Error {
    fn new(kind: Kind, detail: impl Into<String>) -> Error {
        let detail = detail.into();
        let inner = Inner { kind, detail, retry_after: None, attempts: 0, earlier_unknown: false };
        Error(Box::new(inner))
    }

    pub(crate) fn usage(detail: impl Into<String>) -> Error {
        Error::new(Kind::Usage, detail)
    }

    pub(crate) fn unreachable(detail: impl Into<String>) -> Error {
        Error::new(Kind::Unreachable, detail)
    }

    pub(crate) fn lost(timeout: bool, write: bool, detail: impl Into<String>) -> Error {
        Error::new(Kind::Lost { timeout, write }, detail)
    }

    pub(crate) fn garbled(write: bool, detail: impl Into<String>) -> Error {
        Error::new(Kind::Garbled { write }, detail)
    }

    #[cfg(feature = "embedded")]
    pub(crate) fn embedded(detail: impl Into<String>) -> Error {
        Error::new(Kind::Embedded, detail)
    }

    /// From an answer that is no success.
    pub(crate) fn answered(status: u16, body: &[u8], retry_after: Option<Duration>) -> Error {
        #[derive(Deserialize)]
        struct Problem {
            code: String,
            #[serde(default)]
            title: String,
            detail: String,
        }
        let problem = serde_json::from_slice(body).unwrap_or_else(|_| Problem {
            code: String::new(),
            title: String::new(),
            detail: "without an explanation".into(),
        });
        let Problem { code, title, detail } = problem;
        let mut error = Error::new(Kind::Answered { status, code, title }, detail);
        error.0.retry_after = retry_after;
        error
    }

    /// The same as the end of that many attempts.
    pub(crate) fn after(mut self, attempts: u32, earlier_unknown: bool) -> Error {
        self.0.attempts = attempts;
        self.0.earlier_unknown = earlier_unknown;
        self
    }

    /// Whether the write may have been applied: the deadline passed or the connection broke after
    /// an attempt was sent. Of the calls that are repeated on their own this is the end only when
    /// no attempt succeeded. Of an increment without a key (of a bounded counter, a score, a field)
    /// it comes with the first, and repeating that may count twice.
    pub fn is_unknown(&self) -> bool {
        self.0.earlier_unknown
            || match &self.0.kind {
                Kind::Lost { write, .. } | Kind::Garbled { write } => *write,
                Kind::Answered { status, .. } => *status == 504,
                _ => false,
            }
    }

    /// Whether time ran out, here or at the node.
    pub fn is_timeout(&self) -> bool {
        matches!(self.0.kind, Kind::Lost { timeout: true, .. }) || self.status() == Some(504)
    }

    /// Whether too few nodes could be reached. Nothing was applied, unless it
    /// [is unknown](Error::is_unknown) too, because of an earlier attempt.
    pub fn is_unavailable(&self) -> bool {
        self.is_unreachable() || self.status() == Some(503)
    }

    /// Whether a node shed the call for load. Nothing was applied, as for
    /// [`is_unavailable`](Error::is_unavailable).
    pub fn is_overloaded(&self) -> bool {
        self.status() == Some(429)
    }

    /// Whether the disks are full; nothing was applied. Reads go on.
    pub fn is_disk_full(&self) -> bool {
        self.status() == Some(507)
    }

    /// Whether the object is absent.
    pub fn is_not_found(&self) -> bool {
        self.code() == Some("not_found")
    }

    /// Whether a value, a member or a list exceeds a limit.
    pub fn is_too_large(&self) -> bool {
        self.status() == Some(413)
    }

    /// Whether the object's state refuses the change: overflow, too many siblings, a field of
    /// another kind. [`code`](Error::code) says which.
    pub fn is_conflict(&self) -> bool {
        self.status() == Some(409)
    }

    /// Whether something else was asked of the object under the same key; nothing was applied.
    pub fn is_key_reused(&self) -> bool {
        self.code() == Some("key_reused")
    }

    /// Whether a decrement of a bounded counter was not covered by the rights that could be
    /// gathered; nothing was applied. Asking for less, or later, may succeed.
    pub fn is_insufficient_rights(&self) -> bool {
        self.code() == Some("insufficient_rights")
    }

    /// Whether the call itself is wrong: here, or by a node's `400`.
    pub fn is_usage(&self) -> bool {
        self.0.kind == Kind::Usage || self.status() == Some(400)
    }

    /// Whether the nodes are of a version that does not have this yet.
    pub fn is_unsupported(&self) -> bool {
        self.status() == Some(501)
    }

    /// The stable code of the node's problem document.
    pub fn code(&self) -> Option<&str> {
        match &self.0.kind {
            Kind::Answered { code, .. } if !code.is_empty() => Some(code),
            _ => None,
        }
    }

    /// The title of the node's problem document: the same text for every error of its code.
    pub fn title(&self) -> Option<&str> {
        match &self.0.kind {
            Kind::Answered { title, .. } if !title.is_empty() => Some(title),
            _ => None,
        }
    }

    /// The status a node answered with.
    pub fn status(&self) -> Option<u16> {
        match self.0.kind {
            Kind::Answered { status, .. } => Some(status),
            _ => None,
        }
    }

    /// After which time the node wants to be asked again.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// How often the call was sent, or tried to be; 0 when it never came to that.
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// Whether there was no connection to send it on.
    pub(crate) fn is_unreachable(&self) -> bool {
        self.0.kind == Kind::Unreachable
    }

    /// Whether it was sent and what became of it was not heard, or the node does not know.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(self.0.kind, Kind::Lost { .. }) || self.status() == Some(504)
    }

    /// Whether surely nothing was applied, and that may be different elsewhere or later.
    pub(crate) fn applied_nothing_for_now(&self) -> bool {
        self.is_unavailable() || self.is_overloaded()
    }

    /// One word for traces.
    pub(crate) fn outcome(&self) -> &str {
        match &self.0.kind {
            Kind::Usage => "usage",
            Kind::Unreachable => "unreachable",
            Kind::Lost { timeout: true, .. } => "timeout",
            Kind::Lost { .. } => "lost",
            Kind::Answered { code, .. } => code,
            Kind::Garbled { .. } => "garbled",
            #[cfg(feature = "embedded")]
            Kind::Embedded => "embedded",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, detail, attempts, earlier_unknown, .. } = &*self.0;
        match kind {
            Kind::Usage => write!(f, "wrong call: {detail}"),
            Kind::Unreachable => write!(f, "no node can be reached: {detail}"),
            Kind::Lost { write: true, .. } => write!(f, "the outcome is unknown: {detail}"),
            Kind::Lost { .. } => write!(f, "no answer: {detail}"),
            Kind::Answered { status, code, .. } => write!(f, "{status} {code}: {detail}"),
            Kind::Garbled { .. } => write!(f, "the answer makes no sense: {detail}"),
            #[cfg(feature = "embedded")]
            Kind::Embedded => write!(f, "the node in this process: {detail}"),
        }?;
        match (*attempts > 1, earlier_unknown) {
            (true, true) => write!(f, " (attempt {attempts}; an earlier one may have done it)"),
            (true, false) => write!(f, " (attempt {attempts})"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_answers_questions_about_itself() {
        let absent = br#"{"code":"not_found","title":"T","detail":"kv b/k is absent"}"#;
        let absent = Error::answered(404, absent, None);
        assert!(absent.is_not_found() && !absent.is_unknown());
        assert_eq!(absent.to_string(), "404 not_found: kv b/k is absent");
        assert_eq!(absent.title(), Some("T"));
        let elsewhere = Error::answered(404, br#"{"code":"unknown_route","detail":""}"#, None);
        assert!(!elsewhere.is_not_found());
        assert!(Error::answered(429, b"", None).is_overloaded());
        assert!(Error::answered(507, b"", None).is_disk_full());
        assert!(Error::answered(501, b"", None).is_unsupported());
        assert!(Error::lost(true, false, "").is_timeout());
        assert!(!Error::lost(true, false, "").is_unknown(), "a read applies nothing");
    }

    #[test]
    fn an_earlier_attempt_in_doubt_keeps_the_whole_in_doubt() {
        let refused = || Error::answered(503, br#"{"code":"unavailable","detail":"d"}"#, None);
        assert!(!refused().after(2, false).is_unknown());
        let error = refused().after(3, true);
        assert!(error.is_unknown() && error.is_unavailable() && error.attempts() == 3);
        assert!(error.to_string().ends_with("(attempt 3; an earlier one may have done it)"));
    }
}
