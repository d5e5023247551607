//! Set members in JSON: a string, or `{"base64":"…"}` for bytes that are not UTF-8.
//!
//! Any member may be sent in either form; a member that is valid UTF-8 always comes back as a
//! string, so each has one form in answers.

use super::limits::MEMBER_BYTES_MAX;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// A member, 1 to 1,024 bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member(Vec<u8>);

impl Member {
    /// Its bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

impl From<Vec<u8>> for Member {
    fn from(bytes: Vec<u8>) -> Self {
        Member(bytes)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "a member is a string or {\"base64\":\"…\"}")]
enum Form {
    Text(String),
    Bytes(Encoded),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Encoded {
    base64: String,
}

impl Serialize for Member {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => Encoded { base64: STANDARD.encode(&self.0) }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Member {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = match Form::deserialize(deserializer)? {
            Form::Text(text) => text.into_bytes(),
            Form::Bytes(Encoded { base64 }) => STANDARD.decode(base64).map_err(Error::custom)?,
        };
        match bytes.len() {
            1..=MEMBER_BYTES_MAX => Ok(Member(bytes)),
            length => Err(Error::custom(format!(
                "a member of {length} bytes; 1 to {MEMBER_BYTES_MAX} are allowed"
            ))),
        }
    }
}

impl PartialSchema for Member {
    fn schema() -> RefOr<Schema> {
        let text = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1));
        let encoded = ObjectBuilder::new()
            .property("base64", ObjectBuilder::new().schema_type(Type::String))
            .required("base64")
            .description(Some("Standard base64 with padding, for bytes that are not UTF-8."));
        OneOfBuilder::new().item(text).item(encoded).into()
    }
}

impl ToSchema for Member {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_of_any_bytes_go_through_json() {
        for bytes in [b"a".to_vec(), "ü\"\n".into(), vec![0xff, 0], vec![7; 1_024]] {
            let text = serde_json::to_string(&Member(bytes.clone())).unwrap();
            assert_eq!(serde_json::from_str::<Member>(&text).unwrap().into_bytes(), bytes);
        }
        assert_eq!(serde_json::to_string(&Member(vec![0xff])).unwrap(), r#"{"base64":"/w=="}"#);
        assert_eq!(serde_json::from_str::<Member>(r#"{"base64":"YQ=="}"#).unwrap().0, b"a");
    }

    #[test]
    fn what_is_no_member_is_refused() {
        let long = format!("{:?}", "m".repeat(1_025));
        for bad in [r#""""#, "7", "null", r#"{"base64":"?"}"#, r#"{"hex":"00"}"#, &long] {
            assert!(serde_json::from_str::<Member>(bad).is_err(), "{bad}");
        }
    }
}
