//! Answers: JSON, raw values, and the headers that say who acknowledged and who was asked.

use crate::crdt::Hlc;
use crate::wire::api::{Acks, ReadResult};
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};

/// A complete answer.
pub type Answer = Response<Full<Bytes>>;

/// What a client has seen, opaque and sealed.
pub const CONTEXT: HeaderName = HeaderName::from_static("starling-context");
/// Who acknowledged a write.
pub const ACKS: HeaderName = HeaderName::from_static("starling-acks");
/// Who was asked for a read.
pub const READ: HeaderName = HeaderName::from_static("starling-read");

/// From when on the object is absent, RFC 3339.
pub const EXPIRES: HeaderName = HeaderName::from_static("starling-expires");

/// `value` as JSON.
pub fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    let body = serde_json::to_vec(value).expect("answers are maps with string keys");
    bytes(status, HeaderValue::from_static("application/json"), body.into())
}

/// `body` of that type.
pub fn bytes(status: StatusCode, content_type: HeaderValue, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    answer
}

/// The acknowledgements as in a JSON answer.
pub fn acks_json(acks: &Acks) -> Value {
    json!({ "owners": acks.owners, "hints": acks.hints, "durable": acks.durable })
}

/// Adds `Starling-Acks`.
pub fn with_acks(mut answer: Answer, acks: &Acks) -> Answer {
    let Acks { owners, hints, durable } = acks;
    let text = format!("owners={owners} hints={hints} durable={durable}");
    answer.headers_mut().insert(ACKS, HeaderValue::from_str(&text).expect("digits and letters"));
    answer
}

/// Adds `Starling-Read`.
pub fn with_read(mut answer: Answer, read: &ReadResult) -> Answer {
    let ReadResult { asked, answered, repaired, .. } = read;
    let text = format!("asked={asked} answered={answered} repaired={repaired}");
    answer.headers_mut().insert(READ, HeaderValue::from_str(&text).expect("digits and letters"));
    with_expires(answer, read.expires_at.filter(|_| read.present))
}

/// Adds `Starling-Expires` to an answer about an object that expires, at seconds since the epoch.
pub fn with_expires(mut answer: Answer, at: Option<u64>) -> Answer {
    if let Some(at) = at {
        let text = rfc3339(Hlc { wall_ms: at.saturating_mul(1_000), logical: 0 });
        let value = HeaderValue::from_str(&text).expect("digits and letters");
        answer.headers_mut().insert(EXPIRES, value);
    }
    answer
}

/// The wall clock of `at` in RFC 3339, UTC, with milliseconds.
pub fn rfc3339(at: Hlc) -> String {
    let (seconds, ms) = (at.wall_ms / 1_000, at.wall_ms % 1_000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days as i64);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

/// Year, month and day of a day counted from 1970-01-01 (Hinnant, "chrono-compatible low-level
/// date algorithms", `civil_from_days`).
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_utc_with_milliseconds() {
        let at = |wall_ms| rfc3339(Hlc { wall_ms, logical: 0 });
        assert_eq!(at(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(at(1_709_251_199_999), "2024-02-29T23:59:59.999Z");
        assert_eq!(at(1_763_822_400_007), "2025-11-22T14:40:00.007Z");
    }
}
