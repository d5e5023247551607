//! Errors as clients see them: problem documents (RFC 9457) with codes that do not change.
//!
//! One table gives each code its status and title. `503` means that nothing was applied, `504`
//! that it may have been; no failure of the core is mapped across that line.

use super::answer::{self, Answer};
use crate::crdt::OpError;
use crate::wire::api::Failure;
use hyper::StatusCode;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use serde_json::{Map, Value, json};

macro_rules! codes {
    ($($variant:ident $code:literal $status:literal $title:literal;)*) => {
        /// What went wrong, by a code that programs may rely on.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Code { $(#[doc = $title] $variant,)* }

        impl Code {
            /// Code, status and title of each, in the order of [`Code`].
            pub const TABLE: &'static [(&'static str, u16, &'static str)] =
                &[$(($code, $status, $title),)*];
        }
    };
}

codes! {
    BadParameter "bad_parameter" 400 "A parameter has an impossible value";
    MalformedBody "malformed_body" 400 "The body cannot be used";
    MalformedContext "malformed_context" 400 "The context was not made for this object";
    MalformedRequest "malformed_request" 400 "This is not HTTP";
    UnsupportedProperty "unsupported_property" 400 "This bucket property is not available yet";
    UnknownRoute "unknown_route" 404 "There is nothing at this path";
    UnknownType "unknown_type" 404 "There is no such data type";
    NotFound "not_found" 404 "The object is absent";
    MethodNotAllowed "method_not_allowed" 405 "This path does not take this method";
    BodyTimeout "body_timeout" 408 "The body took too long to arrive";
    CounterOverflow "counter_overflow" 409 "The counter would leave its range";
    TooManySiblings "too_many_siblings" 409 "The value has too many siblings";
    TooManyDeferred "too_many_deferred" 409 "Too many removals wait for writes not seen yet";
    TooManyTotals "too_many_totals" 409 "Too many totals to remove at once";
    WrongKind "wrong_kind" 409 "The field is of another kind";
    TooDeep "too_deep" 409 "Maps are nested too deep";
    ScoreOverflow "score_overflow" 409 "The score would leave the range of finite numbers";
    InsufficientRights "insufficient_rights" 409 "The rights here do not cover the decrement";
    NotRemovable "not_removable" 409 "The type has no such operation";
    Conflict "conflict" 409 "The cluster is not in a state for this";
    TooLarge "too_large" 413 "The request is too large";
    KeyReused "key_reused" 422 "The idempotency key was used for something else";
    Overloaded "overloaded" 429 "Too much is waiting; nothing was applied";
    HeadersTooLarge "headers_too_large" 431 "There are too many headers, or too long ones";
    Internal "internal" 500 "The node answered in a way it should not";
    Corrupt "corrupt" 500 "Stored data failed its check";
    NotSupported "not_supported" 501 "Not available in this version";
    Unavailable "unavailable" 503 "Too few nodes can be reached; nothing was applied";
    NotReady "not_ready" 503 "This node does not serve yet";
    Unknown "unknown" 504 "The deadline passed; it may have been applied";
    DiskFull "disk_full" 507 "The disk is full; nothing was applied";
}

impl Code {
    /// The code as written in documents and metrics.
    pub fn name(self) -> &'static str {
        Code::TABLE[self as usize].0
    }

    /// The status that goes with it.
    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(Code::TABLE[self as usize].1).expect("the table holds valid statuses")
    }

    /// One line that is the same for every occurrence.
    pub fn title(self) -> &'static str {
        Code::TABLE[self as usize].2
    }
}

/// One error of one request.
#[derive(Clone, PartialEq, Debug)]
pub struct Problem {
    /// Which.
    pub code: Code,
    /// What happened this time and what to do about it.
    pub detail: String,
    members: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A problem of that code.
    pub fn new(code: Code, detail: impl Into<String>) -> Problem {
        let retry = matches!(code, Code::Overloaded | Code::Unavailable | Code::NotReady);
        let headers =
            retry.then(|| (RETRY_AFTER, HeaderValue::from_static("1"))).into_iter().collect();
        Problem { code, detail: detail.into(), members: Map::new(), headers }
    }

    /// An impossible value of `parameter`.
    pub fn parameter(parameter: &str, detail: impl std::fmt::Display) -> Problem {
        Problem::new(Code::BadParameter, format!("{parameter}: {detail}"))
            .with("parameter", parameter.into())
    }

    /// More than `limit` of something; `detail` says of what.
    pub fn too_large(detail: String, limit: usize) -> Problem {
        Problem::new(Code::TooLarge, detail).with("limit", limit.into())
    }

    /// With a further member of the document.
    pub fn with(mut self, name: &str, value: Value) -> Problem {
        self.members.insert(name.into(), value);
        self
    }

    /// With a header.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Problem {
        self.headers.push((name, value));
        self
    }

    /// `405` with the methods that the path takes.
    pub fn method_not_allowed(method: &str, allowed: &str) -> Problem {
        let detail = format!("{method} is not among {allowed}");
        let allow = HeaderValue::from_str(allowed).expect("method names are header values");
        Problem::new(Code::MethodNotAllowed, detail).header(ALLOW, allow)
    }

    /// The document as an answer.
    pub fn into_answer(self) -> Answer {
        let status = self.code.status();
        let mut document = json!({
            "type": format!("urn:starling:problem:{}", self.code.name()),
            "title": self.code.title(),
            "status": status.as_u16(),
            "detail": self.detail,
            "code": self.code.name(),
        });
        let fields = document.as_object_mut().expect("the literal is an object");
        fields.extend(self.members);
        let mut answer = answer::json(status, &document);
        let problem = HeaderValue::from_static("application/problem+json");
        answer.headers_mut().insert(CONTENT_TYPE, problem);
        answer.headers_mut().extend(self.headers);
        answer
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Problem {
        let text = failure.to_string();
        match failure {
            Failure::Unavailable(_) => Problem::new(Code::Unavailable, text),
            Failure::Unknown(acks) => {
                Problem::new(Code::Unknown, text).with("acks", answer::acks_json(&acks))
            }
            Failure::BadParameter { parameter, detail } => Problem::parameter(parameter, detail),
            Failure::Refused(refusal) => refused(&refusal, text),
            Failure::Overloaded => Problem::new(Code::Overloaded, text),
            Failure::DiskFull => Problem::new(Code::DiskFull, text),
            Failure::Corrupt(_) => Problem::new(Code::Corrupt, text),
            Failure::Conflict(_) => Problem::new(Code::Conflict, text),
        }
    }
}

fn refused(refusal: &OpError, text: String) -> Problem {
    match refusal {
        OpError::CounterOverflow => Problem::new(Code::CounterOverflow, text),
        OpError::TooManySiblings { limit, .. } => {
            Problem::new(Code::TooManySiblings, text).with("limit", (*limit).into())
        }
        OpError::TooManyDeferred { limit, .. } => {
            Problem::new(Code::TooManyDeferred, text).with("limit", (*limit).into())
        }
        OpError::TooManyTotals { limit, .. } => {
            Problem::new(Code::TooManyTotals, text).with("limit", (*limit).into())
        }
        OpError::WrongKind { field, .. } => {
            Problem::new(Code::WrongKind, text).with("field", field.as_str().into())
        }
        OpError::TooDeep { limit } => {
            Problem::new(Code::TooDeep, text).with("limit", (*limit).into())
        }
        OpError::ScoreOverflow { .. } => Problem::new(Code::ScoreOverflow, text),
        OpError::InsufficientRights { local, global } => {
            Problem::new(Code::InsufficientRights, text)
                .with("local", (*local).into())
                .with("global", (*global).into())
        }
        OpError::Absent => Problem::new(Code::NotFound, text),
        OpError::KeyReused => Problem::new(Code::KeyReused, text),
        OpError::Unsupported(_) => Problem::new(Code::NotRemovable, text),
        OpError::WrongType => Problem::new(Code::Internal, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::api::Acks;

    #[test]
    fn nothing_applied_and_perhaps_applied_are_never_confused() {
        let applied_nothing = [
            Failure::Unavailable("no owner".into()),
            Failure::BadParameter { parameter: "r", detail: "4 of 3".into() },
            Failure::Refused(OpError::CounterOverflow),
            Failure::Overloaded,
            Failure::DiskFull,
            Failure::Conflict("formed already".into()),
        ];
        for failure in applied_nothing {
            assert_ne!(Problem::from(failure).code.status(), StatusCode::GATEWAY_TIMEOUT);
        }
        let unknown = Problem::from(Failure::Unknown(Acks { owners: 1, hints: 2, durable: 0 }));
        assert_eq!(unknown.code.status(), StatusCode::GATEWAY_TIMEOUT);
        assert_eq!(unknown.members["acks"]["hints"], 2);
    }

    #[test]
    fn codes_are_unique_and_their_statuses_are_errors() {
        let mut names: Vec<_> = Code::TABLE.iter().map(|(name, ..)| *name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Code::TABLE.len());
        assert!(Code::TABLE.iter().all(|(_, status, _)| (400..600).contains(status)));
    }
}
