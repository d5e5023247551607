//! What clients asked for and what they were told.

use starling_client::Error;
use std::collections::BTreeSet;
use std::time::Duration;

/// The bucket of all objects.
pub const BUCKET: &str = "main";

/// A type of objects.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Type {
    /// Registers.
    Kv,
    /// Counters.
    Counter,
    /// Sets.
    Set,
    /// Flags.
    Flag,
}

impl Type {
    /// All.
    pub const ALL: [Type; 4] = [Type::Kv, Type::Counter, Type::Set, Type::Flag];

    /// As it stands in paths and scenarios.
    pub fn name(self) -> &'static str {
        match self {
            Type::Kv => "kv",
            Type::Counter => "counter",
            Type::Set => "set",
            Type::Flag => "flag",
        }
    }
}

/// An object: type and number of its key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Object {
    /// Its type.
    pub tag: Type,
    /// Its key's number.
    pub key: usize,
}

impl Object {
    /// The key's name.
    pub fn key(self) -> String {
        format!("k{}", self.key)
    }
}

impl std::fmt::Display for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.tag.name(), self.key())
    }
}

/// What a change supersedes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Seen {
    /// What the applying replica holds.
    Here,
    /// Just what its client read: these values or members.
    Just(BTreeSet<String>),
}

/// What was asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// The value.
    Read,
    /// A value that nobody else writes.
    Put(String, Seen),
    /// An amount, possibly negative.
    Count(i64),
    /// Members that nobody else adds.
    Add(BTreeSet<String>),
    /// Members that the client read, as far as it saw them.
    Remove(BTreeSet<String>),
    /// On or off.
    Switch(bool),
}

/// What was answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Acknowledged by so many replicas, owners and stand-ins.
    Written(u32),
    /// Read: values or members, or nothing where there are neither.
    Read(BTreeSet<String>),
    /// It may have been done.
    Unknown(String),
    /// Nothing was done, and why.
    Refused(String),
    /// An answer that no node should give.
    Odd(String),
}

impl Outcome {
    /// From an error.
    pub fn failed(error: &Error) -> Outcome {
        let text = error.to_string();
        let refused = error.is_unavailable() || error.is_overloaded();
        match error.status() {
            _ if error.is_unknown() => Outcome::Unknown(text),
            _ if refused => Outcome::Refused(text),
            // No answer to a read, and a full disk.
            None | Some(504 | 507) => Outcome::Refused(text),
            Some(_) => Outcome::Odd(text),
        }
    }
}

/// One operation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// The node that was asked.
    pub node: usize,
    /// What it was about.
    pub object: Object,
    /// What was asked.
    pub action: Action,
    /// Whether it asked for one replica.
    pub one: bool,
    /// Since the run began.
    pub begun: Duration,
    /// Since the run began.
    pub done: Duration,
    /// What was answered.
    pub outcome: Outcome,
}

impl Record {
    /// Whether it is a change that was acknowledged.
    pub fn is_written(&self) -> bool {
        matches!(self.outcome, Outcome::Written(_))
    }

    /// Whether it is a change that may be in force.
    pub fn may_count(&self) -> bool {
        let read = matches!(self.action, Action::Read);
        !read && matches!(self.outcome, Outcome::Written(_) | Outcome::Unknown(_))
    }

    /// Whether it was answered with success.
    pub fn is_answered(&self) -> bool {
        matches!(self.outcome, Outcome::Written(_) | Outcome::Read(_))
    }

    /// Whether it is a read.
    pub fn is_read(&self) -> bool {
        matches!(self.action, Action::Read)
    }
}
