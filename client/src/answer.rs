//! What every answer carries: the context of what was seen, and who acknowledged.

use serde::Deserialize;

/// What was seen of one object: opaque, and good for that object only. Handed to a write, the
/// write supersedes exactly what had been seen.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(transparent)]
pub struct Context(pub(crate) String);

impl Context {
    /// Nothing was seen: a write with it supersedes nothing.
    pub fn none() -> Context {
        Context("none".into())
    }

    /// The text to keep, as in the header `Starling-Context`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for Context {
    fn from(text: String) -> Self {
        Context(text)
    }
}

/// Who has acknowledged a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
pub struct Acks {
    /// Owners that have it.
    pub owners: u32,
    /// Stand-ins that have it and owe it to an owner.
    pub hints: u32,
    /// Replicas among both that have it on disk.
    pub durable: u32,
}

/// An acknowledged write.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct Written {
    /// Who has it.
    pub acks: Acks,
    /// What a client that wrote this has seen.
    pub context: Context,
}
