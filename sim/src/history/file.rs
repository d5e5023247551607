//! A history in a form that checkers outside read: operations as Jepsen writes them, in JSON, one
//! a line, in the order of time.
//!
//! Each operation is an `invoke` and then `ok`, `fail` (it certainly did not happen) or `info` (it
//! may have happened, or may yet). A process has one operation at a time and none after an `info`;
//! so a client that did not learn what came of its operation goes on as another process.

use super::{Action, History, Outcome, Record};
use crate::workload::expires;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use starling_node::crdt::{CounterOp, DeltaType as _, FlagOp, KvOp, Object, ObjectOp, Rows, SetOp};
use starling_node::wire::api::{ReadQuery, ReadResult};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

/// What is said of an operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Type {
    /// It begins.
    Invoke,
    /// It happened.
    Ok,
    /// It did not and will not happen.
    Fail,
    /// It may have happened or not.
    Info,
}

/// One line.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Op {
    /// The line's number, from 0.
    pub index: u64,
    /// Virtual time, nanoseconds.
    pub time: u64,
    /// Who; one operation at a time.
    pub process: usize,
    /// What is said of it.
    #[serde(rename = "type")]
    pub kind: Type,
    /// `add`, `remove`, `update` of a set; `add` and `reset` of a counter; `write` of a register or
    /// flag; `delete`; `read` of the whole, `page` of a part and `contains` of a set's member.
    pub f: String,
    /// The object: bucket, type and name.
    pub key: String,
    /// The idempotency key: lines of one object with the same one are of one operation, which
    /// happens once if at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub once: Option<String>,
    /// What is added or written; of a read that is `ok`, what it showed.
    pub value: Value,
    /// Why it is not `ok`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Whether it is a read from all owners after everything healed and came to rest.
    #[serde(default, rename = "final", skip_serializing_if = "std::ops::Not::not")]
    pub last: bool,
}

/// All lines of a history.
pub fn ops(history: &History) -> Vec<Op> {
    let rest_us = history.last.iter().map(|record| record.invoked_us).min();
    let done_us = history.records.iter().map(|record| record.done_us).filter(|us| *us < u64::MAX);
    let open_us = rest_us.or(done_us.max()).unwrap_or(0);
    // An answer comes before what is begun at the same time.
    let mut events: Vec<(u64, u8, usize)> = Vec::new();
    // No checker from outside knows of time: what expires is left out.
    let lasts = |record: &&Record| !expires(&record.intent.object);
    let all: Vec<&Record> = history.records.iter().filter(lasts).collect();
    let count = all.len();
    let all: Vec<&Record> = all.into_iter().chain(history.last.iter().filter(lasts)).collect();
    for (place, record) in all.iter().enumerate() {
        let answered = record.done_us < u64::MAX;
        let done_us = if answered { record.done_us } else { open_us.max(record.invoked_us) };
        let order = if done_us == record.invoked_us { 2 } else { 0 };
        events.push((record.invoked_us, 1, place));
        events.push((done_us, order, place));
    }
    events.sort_unstable();
    let mut processes = Processes::default();
    let mut lines = Vec::new();
    for (at_us, order, place) in events {
        let record = all[place];
        let (f, asked) = named(&record.intent.action);
        let (kind, process, value, error) = match order {
            1 => (Type::Invoke, processes.begin(place), asked, None),
            _ => {
                let (kind, error) = ended(record);
                let value = record.read().map_or(asked, |read| shown(&record.intent.action, read));
                (kind, processes.end(place, kind), value, error)
            }
        };
        let (index, time, f) = (lines.len() as u64, at_us * 1_000, f.to_string());
        let (key, last) = (record.intent.object.to_string(), place >= count);
        // What is asked under a key of something else is another operation, if it is not refused.
        let once = record.intent.options.once.as_ref();
        let once = once.map(|once| format!("{} {:x}", text(&once.key), once.asked));
        lines.push(Op { index, time, process, kind, f, key, once, value, error, last });
    }
    lines
}

/// Writes all lines.
///
/// # Errors
/// Some line could not be written.
pub fn write(history: &History, to: &mut dyn Write) -> io::Result<()> {
    for op in ops(history) {
        serde_json::to_writer(&mut *to, &op)?;
        writeln!(to)?;
    }
    to.flush()
}

/// Who does what.
#[derive(Default)]
struct Processes {
    idle: BTreeSet<usize>,
    busy: BTreeMap<usize, usize>,
    count: usize,
}

impl Processes {
    fn begin(&mut self, place: usize) -> usize {
        let process = self.idle.pop_first().unwrap_or_else(|| {
            self.count += 1;
            self.count - 1
        });
        self.busy.insert(place, process);
        process
    }

    fn end(&mut self, place: usize, kind: Type) -> usize {
        let process = self.busy.remove(&place).expect("what ends has begun");
        if kind != Type::Info {
            self.idle.insert(process);
        }
        process
    }
}

/// How an operation ended. Of a write that no disk has any more, or of which its client allowed
/// that only memory has it, nothing is promised.
fn ended(record: &Record) -> (Type, Option<String>) {
    match &record.outcome {
        Outcome::Read(_) => (Type::Ok, None),
        Outcome::Written(_) if record.durable_removal().is_some() => (Type::Ok, None),
        Outcome::Written(_) if record.lost || record.unremoved => {
            (Type::Info, Some("every disk that had it was damaged".into()))
        }
        Outcome::Written(_) => (Type::Info, Some("acknowledged from memory alone".into())),
        Outcome::NotApplied(failure) => (Type::Fail, Some(failure.to_string())),
        Outcome::Unknown => (Type::Info, Some("the node does not know".into())),
        Outcome::Unanswered => (Type::Info, Some("no answer".into())),
    }
}

/// What an operation is called, and what it says.
fn named(action: &Action) -> (&'static str, Value) {
    match action {
        Action::Read(ReadQuery::Whole) => ("read", Value::Null),
        Action::Read(ReadQuery::Member(member)) => ("contains", json!({ "member": text(member) })),
        Action::Read(ReadQuery::Page { after, prefix, limit }) => {
            let whole = after.is_none() && prefix.is_empty() && *limit >= 1_000;
            (if whole { "read" } else { "page" }, Value::Null)
        }
        Action::Write(ObjectOp::Kv(KvOp::Put { value, .. })) => ("write", json!(text(value))),
        Action::Write(ObjectOp::Counter(CounterOp::Add { amount, .. })) => ("add", number(*amount)),
        Action::Write(ObjectOp::Counter(CounterOp::Reset { .. })) => ("reset", Value::Null),
        Action::Write(ObjectOp::Flag(FlagOp::Set { enabled, .. })) => ("write", json!(enabled)),
        Action::Write(ObjectOp::Set(SetOp::Update { add, remove, .. })) => {
            match (add.is_empty(), remove.is_empty()) {
                (_, true) => ("add", texts(add)),
                (true, false) => ("remove", texts(remove)),
                (false, false) => ("update", json!({ "add": texts(add), "remove": texts(remove) })),
            }
        }
        Action::Write(ObjectOp::RwSet(SetOp::Update { add, remove, .. })) => {
            ("update", json!({ "add": texts(add), "remove": texts(remove) }))
        }
        Action::Write(ObjectOp::DwFlag(FlagOp::Set { enabled, .. })) => ("write", json!(enabled)),
        Action::Read(ReadQuery::Scores(_) | ReadQuery::Members(_)) => ("page", Value::Null),
        Action::Write(
            ObjectOp::Kv(KvOp::Delete { .. })
            | ObjectOp::Counter(CounterOp::Delete { .. })
            | ObjectOp::Set(SetOp::Delete { .. })
            | ObjectOp::Flag(FlagOp::Delete { .. }),
        ) => ("delete", Value::Null),
        // No checker of registers, counters and sets reads these: in words, for people.
        Action::Write(other) => ("update", json!(format!("{other:?}"))),
    }
}

/// What a read showed: members, siblings, a sum, or whether a flag is there.
fn shown(action: &Action, read: &ReadResult) -> Value {
    if let Action::Read(ReadQuery::Member(member)) = action {
        return json!({ "member": text(member), "present": read.present });
    }
    match &read.object {
        Object::Kv(kv) => texts(kv.siblings().map(|(_, sibling)| &sibling.value)),
        Object::Counter(counter) => number(counter.total()),
        Object::Set(set) => texts(set.members().map(|(member, _)| member)),
        Object::Flag(_) | Object::DwFlag(_) => json!(read.present),
        Object::Bounded(counter) => json!(counter.value()),
        other => texts(other.rows().into_iter().flat_map(Rows::present).map(|row| row.0)),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn texts<'a>(all: impl IntoIterator<Item = &'a Vec<u8>>) -> Value {
    all.into_iter().map(|bytes| text(bytes)).collect::<Vec<_>>().into()
}

/// In words where it is beyond what JSON's readers take.
fn number(value: i128) -> Value {
    i64::try_from(value).map_or_else(|_| json!(value.to_string()), |small| json!(small))
}
