//! What can go wrong, as one type with questions.

use serde::Deserialize;
use std::fmt;

/// Why a call did not succeed. Ask it what it means for the write:
/// nothing was applied unless [`is_unknown`](Error::is_unknown).
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    detail: String,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Kind {
    /// The call itself is wrong; nothing was sent.
    Usage,
    /// No node could be reached; nothing was applied.
    Unreachable,
    /// The connection broke or the time ran out after a write was sent.
    Lost { timeout: bool, write: bool },
    /// A node said so.
    Answered { status: u16, code: String },
    /// A node's answer could not be understood.
    Garbled { write: bool },
}

impl Error {
    pub(crate) fn usage(detail: impl Into<String>) -> Error {
        Error { kind: Kind::Usage, detail: detail.into() }
    }

    pub(crate) fn unreachable(detail: impl Into<String>) -> Error {
        Error { kind: Kind::Unreachable, detail: detail.into() }
    }

    pub(crate) fn lost(timeout: bool, write: bool, detail: impl Into<String>) -> Error {
        Error { kind: Kind::Lost { timeout, write }, detail: detail.into() }
    }

    pub(crate) fn garbled(write: bool, detail: impl Into<String>) -> Error {
        Error { kind: Kind::Garbled { write }, detail: detail.into() }
    }

    /// From an answer that is no success.
    pub(crate) fn answered(status: u16, body: &[u8]) -> Error {
        #[derive(Deserialize)]
        struct Problem {
            code: String,
            detail: String,
        }
        let problem = serde_json::from_slice(body).unwrap_or_else(|_| Problem {
            code: String::new(),
            detail: "without an explanation".into(),
        });
        Error { kind: Kind::Answered { status, code: problem.code }, detail: problem.detail }
    }

    /// Whether the write may have been applied: the deadline passed or the connection broke after
    /// it was sent. Repeating a `kv` or set write is harmless; repeating an increment may count
    /// twice.
    pub fn is_unknown(&self) -> bool {
        match &self.kind {
            Kind::Lost { write, .. } | Kind::Garbled { write } => *write,
            Kind::Answered { status, .. } => *status == 504,
            Kind::Usage | Kind::Unreachable => false,
        }
    }

    /// Whether time ran out, here or at the node.
    pub fn is_timeout(&self) -> bool {
        matches!(self.kind, Kind::Lost { timeout: true, .. }) || self.status() == Some(504)
    }

    /// Whether too few nodes could be reached; nothing was applied.
    pub fn is_unavailable(&self) -> bool {
        self.kind == Kind::Unreachable || self.status() == Some(503)
    }

    /// Whether a node shed the call for load; nothing was applied.
    pub fn is_overloaded(&self) -> bool {
        self.status() == Some(429)
    }

    /// Whether the object is absent.
    pub fn is_not_found(&self) -> bool {
        self.code() == Some("not_found")
    }

    /// Whether a value, a member or a list exceeds a limit.
    pub fn is_too_large(&self) -> bool {
        self.status() == Some(413)
    }

    /// Whether the object's state refuses the change: overflow, too many siblings.
    pub fn is_conflict(&self) -> bool {
        self.status() == Some(409)
    }

    /// Whether a decrement of a bounded counter was not covered by the rights that could be
    /// gathered; nothing was applied. Asking for less, or later, may succeed.
    pub fn is_insufficient_rights(&self) -> bool {
        self.code() == Some("insufficient_rights")
    }

    /// Whether the call itself is wrong: here, or by a node's `400`.
    pub fn is_usage(&self) -> bool {
        self.kind == Kind::Usage || self.status() == Some(400)
    }

    /// The stable code of the node's problem document.
    pub fn code(&self) -> Option<&str> {
        match &self.kind {
            Kind::Answered { code, .. } if !code.is_empty() => Some(code),
            _ => None,
        }
    }

    /// The status a node answered with.
    pub fn status(&self) -> Option<u16> {
        match self.kind {
            Kind::Answered { status, .. } => Some(status),
            _ => None,
        }
    }

    /// Whether another node may be asked: surely nothing was applied, or it was a read.
    pub(crate) fn may_go_on(&self) -> bool {
        match &self.kind {
            Kind::Unreachable => true,
            Kind::Lost { write, .. } | Kind::Garbled { write } => !write,
            Kind::Answered { status, .. } => *status == 503,
            Kind::Usage => false,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Error { kind, detail } = self;
        match kind {
            Kind::Usage => write!(f, "wrong call: {detail}"),
            Kind::Unreachable => write!(f, "no node can be reached: {detail}"),
            Kind::Lost { write: true, .. } => write!(f, "the outcome is unknown: {detail}"),
            Kind::Lost { .. } => write!(f, "no answer: {detail}"),
            Kind::Answered { status, code } => write!(f, "{status} {code}: {detail}"),
            Kind::Garbled { .. } => write!(f, "the answer makes no sense: {detail}"),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_surely_applied_nothing_goes_to_another_node() {
        let unavailable = Error::answered(503, br#"{"code":"unavailable","detail":"d"}"#);
        assert!(unavailable.may_go_on() && unavailable.is_unavailable());
        assert!(Error::unreachable("refused").may_go_on());
        assert!(Error::lost(false, false, "reset").may_go_on());
        for error in [
            Error::answered(504, br#"{"code":"unknown","detail":"d"}"#),
            Error::lost(true, true, "timeout"),
            Error::garbled(true, "no JSON"),
        ] {
            assert!(error.is_unknown() && !error.may_go_on(), "{error}");
        }
        for status in [400, 404, 409, 413, 429, 500, 507] {
            assert!(!Error::answered(status, b"").may_go_on());
        }
    }

    #[test]
    fn an_error_answers_questions_about_itself() {
        let absent = Error::answered(404, br#"{"code":"not_found","detail":"kv b/k is absent"}"#);
        assert!(absent.is_not_found() && !absent.is_unknown());
        assert_eq!(absent.to_string(), "404 not_found: kv b/k is absent");
        assert!(!Error::answered(404, br#"{"code":"unknown_route","detail":""}"#).is_not_found());
        assert!(Error::answered(429, b"").is_overloaded());
        assert!(Error::lost(true, false, "").is_timeout());
    }
}
