//! What stands in the request line: path segments and query parameters, decoded and checked.
//!
//! Every parameter must be known and given once; whatever is impossible is refused by name.

use super::limits::{BUCKET_BYTES_MAX, KEY_BYTES_MAX, MEMBER_BYTES_MAX};
use super::problem::{Code, Problem};
use crate::crdt::expiry::TTL_MAX_S;
use crate::crdt::{ObjectId, Ttl, TypeTag};
use crate::placement::N_MAX;
use crate::wire::api::{Durable, Options, Quorum};
use percent_encoding::percent_decode;

/// Query parameters that every call on data takes.
pub const DATA_PARAMETERS: [&str; 8] =
    ["r", "w", "pr", "pw", "zones", "durable", "timeout_ms", "max_stale_ms"];

/// Query parameters that every write of an object takes besides.
pub const WRITE_PARAMETERS: [&str; 2] = ["ttl_seconds", "persist"];

/// The longest a client may wait, ms.
const TIMEOUT_MS_MAX: u32 = 60_000;

/// Bytes that `text` stands for, `name` being what to blame.
///
/// # Errors
/// `bad_parameter` when a `%` is not followed by two hexadecimal digits.
pub fn decode(name: &str, text: &str) -> Result<Vec<u8>, Problem> {
    let bytes = text.as_bytes();
    for (at, _) in text.match_indices('%') {
        let digits = bytes.get(at + 1..at + 3);
        if !digits.is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit)) {
            return Err(Problem::parameter(name, "a % must be followed by two hex digits"));
        }
    }
    Ok(percent_decode(bytes).collect())
}

/// A bucket's name out of a path.
///
/// # Errors
/// `bad_parameter`.
pub fn bucket(segment: &str) -> Result<String, Problem> {
    let bytes = decode("bucket", segment)?;
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    if bytes.len() > BUCKET_BYTES_MAX || !bytes.iter().all(allowed) {
        let rule = format!("1 to {BUCKET_BYTES_MAX} bytes of letters, digits, '.', '_' and '-'");
        return Err(Problem::parameter("bucket", rule));
    }
    if bytes[0] == b'_' {
        return Err(Problem::parameter("bucket", "names that begin with '_' are reserved"));
    }
    Ok(String::from_utf8(bytes).expect("ASCII was checked"))
}

/// An object's identity out of a path.
///
/// # Errors
/// `bad_parameter`.
pub fn object(tag: TypeTag, bucket: &str, key: &str) -> Result<ObjectId, Problem> {
    let bucket = self::bucket(bucket)?;
    let key = decode("key", key)?;
    if key.len() > KEY_BYTES_MAX {
        let text = format!("{} bytes exceed the limit of {KEY_BYTES_MAX}", key.len());
        return Err(Problem::parameter("key", text));
    }
    Ok(ObjectId { bucket, tag, key })
}

/// A set member out of a path or a query.
///
/// # Errors
/// `bad_parameter`.
pub fn member(name: &str, text: &str) -> Result<Vec<u8>, Problem> {
    let member = decode(name, text)?;
    if member.len() > MEMBER_BYTES_MAX {
        let text = format!("{} bytes exceed the limit of {MEMBER_BYTES_MAX}", member.len());
        return Err(Problem::parameter(name, text));
    }
    Ok(member)
}

/// The data type of that name in a path.
///
/// # Errors
/// `unknown_type`.
pub fn type_tag(name: &str) -> Result<TypeTag, Problem> {
    TypeTag::of_name(name).ok_or_else(|| unknown_type(name))
}

/// `404 unknown_type`, naming the types there are.
pub fn unknown_type(name: &str) -> Problem {
    let detail = format!("{name:?} is none of kv, counters, sets, flags");
    Problem::new(Code::UnknownType, detail)
}

/// Query parameters not taken yet.
pub struct Query<'a> {
    left: Vec<(&'a str, String)>,
}

impl<'a> Query<'a> {
    /// Splits `text`, the part after `?`. Parameters stay encoded, with `+` for a space.
    ///
    /// # Errors
    /// `bad_parameter` when one is given twice.
    pub fn new(text: Option<&'a str>) -> Result<Query<'a>, Problem> {
        let mut left: Vec<(&str, String)> = Vec::new();
        for pair in text.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if left.iter().any(|(other, _)| *other == name) {
                return Err(Problem::parameter(name, "given twice"));
            }
            left.push((name, value.replace('+', "%20")));
        }
        Ok(Query { left })
    }

    /// Takes a parameter, still encoded.
    pub fn take(&mut self, name: &str) -> Option<String> {
        let at = self.left.iter().position(|(other, _)| *other == name)?;
        Some(self.left.swap_remove(at).1)
    }

    /// Takes a whole number between `low` and `high`.
    ///
    /// # Errors
    /// `bad_parameter`.
    pub fn take_number(&mut self, name: &str, low: u32, high: u32) -> Result<Option<u32>, Problem> {
        let Some(text) = self.take(name) else { return Ok(None) };
        match text.parse() {
            Ok(number) if (low..=high).contains(&number) => Ok(Some(number)),
            _ => Err(Problem::parameter(name, format!("{text:?} is not {low} to {high}"))),
        }
    }

    fn take_quorum(&mut self, name: &str) -> Result<Option<Quorum>, Problem> {
        let Some(text) = self.take(name) else { return Ok(None) };
        Ok(Some(match text.as_str() {
            "one" => Quorum::One,
            "quorum" => Quorum::Quorum,
            "all" => Quorum::All,
            digits => match digits.parse() {
                Ok(count) if (1..=N_MAX).contains(&count) => Quorum::Count(count),
                _ => {
                    let rule = format!("{text:?} is not 1 to {N_MAX}, one, quorum or all");
                    return Err(Problem::parameter(name, rule));
                }
            },
        }))
    }

    /// Takes what every call on data may carry. A read is always fresh, which satisfies every
    /// bound of `max_stale_ms`.
    ///
    /// # Errors
    /// `bad_parameter`.
    pub fn take_options(&mut self) -> Result<Options, Problem> {
        self.take_number("max_stale_ms", 0, u32::MAX)?;
        let durable = match self.take("durable").as_deref() {
            None => Durable::Default,
            Some("none") => Durable::None,
            Some("one") => Durable::One,
            Some("quorum") => Durable::Quorum,
            Some("all") => Durable::All,
            Some(other) => {
                let rule = format!("{other:?} is not none, one, quorum or all");
                return Err(Problem::parameter("durable", rule));
            }
        };
        Ok(Options {
            r: self.take_quorum("r")?,
            w: self.take_quorum("w")?,
            pr: self.take_quorum("pr")?,
            pw: self.take_quorum("pw")?,
            zones: self.take_number("zones", 1, N_MAX.into())?.map(|zones| zones as u8),
            durable,
            timeout_ms: self.take_number("timeout_ms", 1, TIMEOUT_MS_MAX)?,
            ttl: None,
            once: None,
        })
    }

    /// The same for a write, which may also say when its object expires.
    ///
    /// # Errors
    /// `bad_parameter`.
    pub fn take_write_options(&mut self) -> Result<Options, Problem> {
        let seconds = self.take_number("ttl_seconds", 1, TTL_MAX_S)?;
        let ttl = match (seconds, self.take("persist").as_deref()) {
            (None, None) => None,
            (Some(seconds), None) => Some(Ttl::For(seconds)),
            (None, Some("true")) => Some(Ttl::Persist),
            (None, Some(other)) => {
                return Err(Problem::parameter("persist", format!("{other:?} is not true")));
            }
            (Some(_), Some(_)) => {
                return Err(Problem::parameter("persist", "given beside ttl_seconds"));
            }
        };
        Ok(Options { ttl, ..self.take_options()? })
    }

    /// Refuses what nobody took.
    ///
    /// # Errors
    /// `bad_parameter`.
    pub fn finish(&self) -> Result<(), Problem> {
        match self.left.first() {
            None => Ok(()),
            Some((name, _)) => {
                Err(Problem::parameter(name, "this call does not take such a parameter"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused<T: std::fmt::Debug>(result: Result<T, Problem>) -> String {
        let problem = result.unwrap_err();
        assert_eq!(problem.code, Code::BadParameter);
        problem.detail
    }

    #[test]
    fn keys_of_any_bytes_are_decoded_and_broken_escapes_refused() {
        let object = object(TypeTag::Kv, "b", "a%2Fb%00%ff").unwrap();
        assert_eq!(object.key, b"a/b\0\xff");
        for broken in ["%", "a%1", "%zz", "%+1", "100%"] {
            assert!(refused(decode("key", broken)).starts_with("key: "), "{broken}");
        }
        assert!(self::object(TypeTag::Kv, "b", &"k".repeat(1_024)).is_ok());
        refused(self::object(TypeTag::Kv, "b", &"k".repeat(1_025)));
    }

    #[test]
    fn bucket_names_are_short_plain_and_not_reserved() {
        assert_eq!(bucket("a.B_9-").unwrap(), "a.B_9-");
        assert_eq!(bucket("%61").unwrap(), "a");
        for bad in ["_system", "%5Fsystem", "a b", "ü", "a%2Fb", &"b".repeat(65)] {
            refused(bucket(bad));
        }
    }

    #[test]
    fn options_are_taken_and_impossible_ones_named() {
        let mut query = Query::new(Some("r=2&w=all&durable=one&timeout_ms=50&zones=2")).unwrap();
        let options = query.take_options().unwrap();
        query.finish().unwrap();
        assert_eq!(options.r, Some(Quorum::Count(2)));
        assert_eq!(options.w, Some(Quorum::All));
        assert_eq!((options.timeout_ms, options.zones), (Some(50), Some(2)));
        for (bad, name) in [
            ("r=0", "r"),
            ("w=8", "w"),
            ("pr=many", "pr"),
            ("pw=-1", "pw"),
            ("zones=0", "zones"),
            ("durable=yes", "durable"),
            ("timeout_ms=0", "timeout_ms"),
            ("timeout_ms=60001", "timeout_ms"),
            ("max_stale_ms=-5", "max_stale_ms"),
        ] {
            let mut query = Query::new(Some(bad)).unwrap();
            assert!(refused(query.take_options()).starts_with(&format!("{name}: ")), "{bad}");
        }
        assert!(refused(Query::new(Some("r=1&r=2")).map(|_| ())).starts_with("r: "));
        assert!(refused(Query::new(Some("nonsense=1")).unwrap().finish()).starts_with("nonsense"));
    }
}
