//! What the commands take, and the request that each becomes.

use super::super::get::Ask;
use super::{At, To};
use clap::{Args, Subcommand};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};
use std::io::Read;

const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A request and where it goes, or why there can be none.
type Asked = Result<(Ask, To), String>;

/// Until when what is written is there; left out, the type's rule and the bucket say so.
#[derive(Args, Debug)]
pub struct Expiry {
    /// Seconds until it expires
    #[arg(long, value_name = "SECONDS", conflicts_with = "persist")]
    ttl_seconds: Option<u32>,
    /// It stays until it is removed
    #[arg(long)]
    persist: bool,
}

/// Which part of a collection.
#[derive(Args, Debug)]
pub struct Page {
    /// At most so many, 1 to 1,000
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
    /// Only what comes after this one
    #[arg(long, value_name = "NAME")]
    after: Option<String>,
    /// Only what begins so
    #[arg(long, value_name = "TEXT")]
    prefix: Option<String>,
}

/// Commands on `kv`.
#[derive(Subcommand, Debug)]
pub enum KvCommand {
    /// Print the value; of several siblings all, as JSON
    Get {
        #[command(flatten)]
        at: At,
        /// Print only the sibling written last
        #[arg(long)]
        latest: bool,
    },
    /// Write a value
    Put {
        #[command(flatten)]
        at: At,
        /// The value; - reads it from standard input
        value: String,
        /// Its media type
        #[arg(long, value_name = "TYPE", default_value = "text/plain; charset=utf-8")]
        content_type: String,
        #[command(flatten)]
        expiry: Expiry,
    },
    /// Remove it
    Delete(At),
}

/// Commands on `counter`.
#[derive(Subcommand, Debug)]
pub enum CounterCommand {
    /// Print the value
    Get(At),
    /// Add to it
    Incr(Amount),
    /// Subtract from it
    Decr(Amount),
    /// Set it back to 0
    Reset(At),
    /// Remove it
    Delete(At),
}

/// Commands on `boundedcounter`.
#[derive(Subcommand, Debug)]
pub enum BoundedCommand {
    /// Print the value
    Get(At),
    /// Add to it
    Incr(Amount),
    /// Subtract from it, if that much is there
    Decr(Amount),
}

/// An object and by how much to change it.
#[derive(Args, Debug)]
pub struct Amount {
    #[command(flatten)]
    at: At,
    /// By how much
    #[arg(default_value_t = 1, allow_negative_numbers = true)]
    amount: i64,
}

/// Commands on `set` and `rwset`.
#[derive(Subcommand, Debug)]
pub enum SetCommand {
    /// Print members, one a line
    Get {
        #[command(flatten)]
        at: At,
        #[command(flatten)]
        page: Page,
    },
    /// Say whether something is a member
    Contains {
        #[command(flatten)]
        at: At,
        /// What to look for
        member: String,
    },
    /// Add members
    Add {
        #[command(flatten)]
        at: At,
        /// The members
        #[arg(required = true)]
        members: Vec<String>,
        #[command(flatten)]
        expiry: Expiry,
    },
    /// Remove members
    Remove {
        #[command(flatten)]
        at: At,
        /// The members
        #[arg(required = true)]
        members: Vec<String>,
    },
    /// Remove the whole set
    Delete(At),
}

/// Commands on `flag` and `dwflag`.
#[derive(Subcommand, Debug)]
pub enum FlagCommand {
    /// Print true or false
    Get(At),
    /// Switch it on
    Enable(At),
    /// Switch it off
    Disable(At),
    /// Remove it
    Delete(At),
}

/// Commands on `map`.
#[derive(Subcommand, Debug)]
pub enum MapCommand {
    /// Print fields
    Get {
        #[command(flatten)]
        at: At,
        #[command(flatten)]
        page: Page,
    },
    /// Change fields
    Update {
        #[command(flatten)]
        at: At,
        /// The changes, as in {"name":{"register":"Ada"},"visits":{"counter":1}}
        changes: String,
        #[command(flatten)]
        expiry: Expiry,
    },
    /// Remove fields
    Remove {
        #[command(flatten)]
        at: At,
        /// Their names
        #[arg(required = true)]
        fields: Vec<String>,
    },
    /// Remove the whole map
    Delete(At),
}

/// Commands on `hll`.
#[derive(Subcommand, Debug)]
pub enum HllCommand {
    /// Print about how many distinct elements there are
    Get(At),
    /// Count elements
    Add {
        #[command(flatten)]
        at: At,
        /// The elements
        #[arg(required = true)]
        elements: Vec<String>,
        #[command(flatten)]
        expiry: Expiry,
    },
    /// Remove it
    Delete(At),
}

/// Commands on `zset`.
#[derive(Subcommand, Debug)]
pub enum ZsetCommand {
    /// Print scores and members from the lowest score on, one a line
    Get {
        #[command(flatten)]
        at: At,
        /// Begin with the highest score
        #[arg(long)]
        desc: bool,
        /// Only this score and higher ones
        #[arg(long, value_name = "SCORE", allow_negative_numbers = true)]
        min: Option<f64>,
        /// Only this score and lower ones
        #[arg(long, value_name = "SCORE", allow_negative_numbers = true)]
        max: Option<f64>,
        /// At most so many, 1 to 1,000
        #[arg(long, value_name = "N")]
        limit: Option<u32>,
        /// What the page before named
        #[arg(long, value_name = "NEXT")]
        after: Option<String>,
    },
    /// Print a member's score
    Score {
        #[command(flatten)]
        at: At,
        /// The member
        member: String,
    },
    /// Set a member's score
    Add {
        #[command(flatten)]
        at: At,
        /// The member
        member: String,
        /// Its score
        #[arg(allow_negative_numbers = true)]
        score: f64,
        #[command(flatten)]
        expiry: Expiry,
    },
    /// Add to a member's score
    Incr {
        #[command(flatten)]
        at: At,
        /// The member
        member: String,
        /// By how much
        #[arg(default_value_t = 1.0, allow_negative_numbers = true)]
        by: f64,
    },
    /// Remove members
    Remove {
        #[command(flatten)]
        at: At,
        /// The members
        #[arg(required = true)]
        members: Vec<String>,
    },
    /// Remove the whole set
    Delete(At),
}

fn encoded(text: &str) -> String {
    match text {
        // A segment of dots alone would be taken for a step in the path.
        "." => "%2E".into(),
        ".." => "%2E%2E".into(),
        _ => utf8_percent_encode(text, SEGMENT).to_string(),
    }
}

/// A path and its query.
struct Target {
    path: String,
    query: Vec<String>,
}

impl Target {
    fn new(kind: &str, at: &At) -> Target {
        let (bucket, key) = (encoded(&at.bucket), encoded(&at.key));
        Target { path: format!("/v1/{kind}/{bucket}/{key}"), query: Vec::new() }
    }

    fn member(kind: &str, at: &At, member: &str) -> Target {
        let Target { path, query } = Target::new(kind, at);
        Target { path: format!("{path}/{}", encoded(member)), query }
    }

    fn with(mut self, name: &str, value: Option<impl ToString>) -> Target {
        let value = value.map(|value| format!("{name}={}", encoded(&value.to_string())));
        self.query.extend(value);
        self
    }

    fn page(self, page: &Page) -> Target {
        let Page { limit, after, prefix } = page;
        self.with("limit", *limit).with("after", after.as_ref()).with("prefix", prefix.as_ref())
    }

    fn expiry(self, expiry: &Expiry) -> Target {
        self.with("ttl_seconds", expiry.ttl_seconds).with("persist", expiry.persist.then_some(true))
    }

    fn text(self) -> String {
        match self.query.is_empty() {
            true => self.path,
            false => format!("{}?{}", self.path, self.query.join("&")),
        }
    }

    fn get(self, at: At) -> Asked {
        Ok((Ask::json("GET", self.text(), ""), at.to))
    }

    fn post(self, at: At, body: &Value) -> Asked {
        Ok((Ask::json("POST", self.text(), body.to_string()), at.to))
    }
}

fn delete(kind: &str, at: At) -> Asked {
    Ok((Ask::json("DELETE", Target::new(kind, &at).text(), ""), at.to))
}

/// Requests of `kv`.
pub fn kv(command: KvCommand) -> Asked {
    match command {
        KvCommand::Get { at, latest } => {
            Target::new("kv", &at).with("resolve", latest.then_some("lww")).get(at)
        }
        KvCommand::Put { at, value, content_type, expiry } => {
            let mut body = value.into_bytes();
            if body == b"-" {
                body.clear();
                let read = std::io::stdin().lock().read_to_end(&mut body);
                read.map_err(|error| format!("cannot read standard input: {error}"))?;
            }
            let path = Target::new("kv", &at).expiry(&expiry).text();
            Ok((Ask { method: "PUT", path, content_type, body: body.into() }, at.to))
        }
        KvCommand::Delete(at) => delete("kv", at),
    }
}

/// Requests of `counter`.
pub fn counter(command: CounterCommand) -> Asked {
    let target = |at: &At| Target::new("counters", at);
    match command {
        CounterCommand::Get(at) => target(&at).get(at),
        CounterCommand::Incr(Amount { at, amount }) => {
            target(&at).post(at, &json!({ "increment": amount }))
        }
        CounterCommand::Decr(Amount { at, amount }) => {
            target(&at).post(at, &json!({ "decrement": amount }))
        }
        CounterCommand::Reset(at) => target(&at).post(at, &json!({ "reset": true })),
        CounterCommand::Delete(at) => delete("counters", at),
    }
}

/// Requests of `boundedcounter`.
pub fn bounded(command: BoundedCommand) -> Asked {
    let target = |at: &At| Target::new("boundedcounters", at);
    match command {
        BoundedCommand::Get(at) => target(&at).get(at),
        BoundedCommand::Incr(Amount { at, amount }) => {
            target(&at).post(at, &json!({ "increment": amount }))
        }
        BoundedCommand::Decr(Amount { at, amount }) => {
            target(&at).post(at, &json!({ "decrement": amount }))
        }
    }
}

/// Requests of `set` and `rwset`.
pub fn set(kind: &str, command: SetCommand) -> Asked {
    match command {
        SetCommand::Get { at, page } => Target::new(kind, &at).page(&page).get(at),
        SetCommand::Contains { at, member } => Target::member(kind, &at, &member).get(at),
        SetCommand::Add { at, members, expiry } => {
            Target::new(kind, &at).expiry(&expiry).post(at, &json!({ "add": members }))
        }
        SetCommand::Remove { at, members } => {
            Target::new(kind, &at).post(at, &json!({ "remove": members }))
        }
        SetCommand::Delete(at) => delete(kind, at),
    }
}

/// Requests of `flag` and `dwflag`.
pub fn flag(kind: &str, command: FlagCommand) -> Asked {
    match command {
        FlagCommand::Get(at) => Target::new(kind, &at).get(at),
        FlagCommand::Enable(at) => Target::new(kind, &at).post(at, &json!({ "enable": true })),
        FlagCommand::Disable(at) => Target::new(kind, &at).post(at, &json!({ "disable": true })),
        FlagCommand::Delete(at) => delete(kind, at),
    }
}

/// Requests of `map`.
pub fn map(command: MapCommand) -> Asked {
    match command {
        MapCommand::Get { at, page } => Target::new("maps", &at).page(&page).get(at),
        MapCommand::Update { at, changes, expiry } => {
            let changes: Result<Map<String, Value>, _> = serde_json::from_str(&changes);
            let changes = changes.map_err(|error| format!("CHANGES is no JSON object: {error}"))?;
            Target::new("maps", &at).expiry(&expiry).post(at, &json!({ "update": changes }))
        }
        MapCommand::Remove { at, fields } => {
            Target::new("maps", &at).post(at, &json!({ "remove": fields }))
        }
        MapCommand::Delete(at) => delete("maps", at),
    }
}

/// Requests of `hll`.
pub fn hll(command: HllCommand) -> Asked {
    match command {
        HllCommand::Get(at) => Target::new("hlls", &at).get(at),
        HllCommand::Add { at, elements, expiry } => {
            Target::new("hlls", &at).expiry(&expiry).post(at, &json!({ "add": elements }))
        }
        HllCommand::Delete(at) => delete("hlls", at),
    }
}

/// Requests of `zset`.
pub fn zset(command: ZsetCommand) -> Asked {
    let target = |at: &At| Target::new("zsets", at);
    match command {
        ZsetCommand::Get { at, desc, min, max, limit, after } => {
            let target = target(&at).with("desc", desc.then_some(true));
            let target = target.with("min", min).with("max", max);
            target.with("limit", limit).with("after", after).get(at)
        }
        ZsetCommand::Score { at, member } => Target::member("zsets", &at, &member).get(at),
        ZsetCommand::Add { at, member, score, expiry } => {
            let add = json!({ "add": [{ "member": member, "score": finite(score)? }] });
            target(&at).expiry(&expiry).post(at, &add)
        }
        ZsetCommand::Incr { at, member, by } => {
            let increment = json!({ "increment": [{ "member": member, "by": finite(by)? }] });
            target(&at).post(at, &increment)
        }
        ZsetCommand::Remove { at, members } => target(&at).post(at, &json!({ "remove": members })),
        ZsetCommand::Delete(at) => delete("zsets", at),
    }
}

/// The request of `explain`.
pub fn explain(kind: &str, at: At) -> Asked {
    Target::new(&format!("explain/{}", encoded(kind)), &at).get(at)
}

fn finite(score: f64) -> Result<f64, String> {
    match score.is_finite() {
        true => Ok(score),
        false => Err(format!("{score} is no finite number")),
    }
}
