//! Members, elements and keys in JSON: text, or base64 of what is no text.

use crate::error::Error;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// A member as JSON has it.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Member {
    Text(String),
    Bytes { base64: String },
}

impl Member {
    pub(crate) fn new(bytes: &[u8]) -> Member {
        match std::str::from_utf8(bytes) {
            Ok(text) => Member::Text(text.into()),
            Err(_) => Member::Bytes { base64: STANDARD.encode(bytes) },
        }
    }

    pub(crate) fn all<I>(members: I) -> Vec<Member>
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        members.into_iter().map(|member| Member::new(member.as_ref())).collect()
    }

    pub(crate) fn into_bytes(self) -> Result<Vec<u8>, Error> {
        match self {
            Member::Text(text) => Ok(text.into_bytes()),
            Member::Bytes { base64 } => {
                STANDARD.decode(base64).map_err(|e| Error::garbled(false, e.to_string()))
            }
        }
    }
}
