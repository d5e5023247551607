//! Answers for people: the value alone, a member a line, who has a write.

use super::super::get::Reply;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::{self, Write};

/// What an answer holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// The bytes of a register, or its siblings.
    Value,
    /// JSON of the node's own.
    Json,
}

/// Prints an answer: what was asked for on standard output, how to go on on standard error.
///
/// # Errors
/// Standard output or standard error is closed.
pub fn print(reply: &Reply, what: What, as_json: bool) -> io::Result<()> {
    let (out, hint) = shown(reply, what, as_json);
    io::stdout().write_all(&out)?;
    match hint {
        Some(hint) => writeln!(io::stderr(), "{hint}"),
        None => Ok(()),
    }
}

/// What goes to standard output, and to standard error.
fn shown(reply: &Reply, what: What, as_json: bool) -> (Vec<u8>, Option<String>) {
    let body = || line(&String::from_utf8_lossy(&reply.body));
    match (what, reply.status) {
        (What::Value, 200) if as_json => (line(&value_as_json(reply).to_string()), None),
        (What::Value, 200) => (reply.body.to_vec(), None),
        _ if as_json => (body(), None),
        (What::Value, _) => {
            let hint = "several values were written at once; --latest prints the last";
            (body(), Some(hint.into()))
        }
        (What::Json, _) => match serde_json::from_slice(&reply.body) {
            Ok(answer) => text(&answer),
            Err(_) => (body(), None),
        },
    }
}

/// A register's only value as siblings are written.
fn value_as_json(reply: &Reply) -> Value {
    use base64::Engine;
    let value = base64::engine::general_purpose::STANDARD.encode(&reply.body);
    let sibling = json!({ "content_type": reply.content_type, "value_base64": value });
    json!({ "siblings": [sibling], "context": reply.context })
}

fn line(text: &str) -> Vec<u8> {
    format!("{text}\n").into_bytes()
}

fn text(answer: &Value) -> (Vec<u8>, Option<String>) {
    let next = |name: &str| {
        let next = answer.get(name).filter(|next| !next.is_null())?;
        Some(format!("there is more: --after {}", member(next)))
    };
    if let Some(replicas) = answer.get("replicas") {
        return (line(&explained(answer, replicas)), None);
    }
    if let Some(members) = answer.get("members").and_then(Value::as_array) {
        let lines = members.iter().map(|one| match one.get("score") {
            Some(score) => format!("{score}\t{}\n", member(&one["member"])),
            None => format!("{}\n", member(one)),
        });
        return (lines.collect::<String>().into_bytes(), next("next"));
    }
    let acks = answer.get("acks").map(|acks| {
        let count = |name: &str| acks[name].as_u64().unwrap_or_default();
        let (owners, hints, durable) = (count("owners"), count("hints"), count("durable"));
        format!("written: owners={owners} hints={hints} durable={durable}")
    });
    for name in ["value", "enabled", "score", "member", "estimate"] {
        if let Some(value) = answer.get(name) {
            let value = match value {
                Value::Object(_) => format!("{value:#}"),
                other => other.to_string(),
            };
            return (line(&value), acks.or_else(|| next("next")));
        }
    }
    match acks {
        Some(acks) => (line(&acks), None),
        None => (line(&answer.to_string()), None),
    }
}

/// A member as text, or as it stands in JSON when it is none.
fn member(member: &Value) -> String {
    member.as_str().map_or_else(|| member.to_string(), str::to_owned)
}

fn explained(answer: &Value, replicas: &Value) -> String {
    let mut text = member(&answer["why"]);
    let agree = match answer["owners_agree"].as_bool() {
        Some(true) => "the owners agree",
        _ => "the owners do not agree",
    };
    let _ = write!(text, "\npartition {}, {agree}", answer["partition"]);
    for replica in replicas.as_array().into_iter().flatten() {
        let role = match replica["owner"].as_bool() {
            Some(true) => "owner",
            _ => "stand-in",
        };
        let (node, value) = (member(&replica["node"]), &replica["value"]);
        let _ = write!(text, "\n{node} ({role}): {value}");
        if let Some(error) = replica["error"].as_str() {
            let _ = write!(text, ", {error}");
        }
        let owed = replica["hints"].as_array().map_or(0, Vec::len);
        if owed > 0 {
            let _ = write!(text, ", owes to {owed}");
        }
    }
    let silent = answer["silent"].as_array().into_iter().flatten().map(member);
    let silent: Vec<_> = silent.collect();
    if !silent.is_empty() {
        let _ = write!(text, "\nsilent: {}", silent.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown_text(what: What, body: &str) -> (String, Option<String>) {
        let (out, hint) = shown(&reply(200, body), what, false);
        (String::from_utf8(out).unwrap(), hint)
    }

    fn reply(status: u16, body: &str) -> Reply {
        let (content_type, body) = ("text/plain".to_owned(), body.to_owned().into());
        Reply { status, content_type, body, context: Some("c".into()) }
    }

    #[test]
    fn a_value_is_printed_as_it_is_even_if_it_looks_like_an_answer() {
        let own = r#"{"value":1,"context":"c"}"#;
        assert_eq!(shown_text(What::Value, own), (own.to_owned(), None));
        let (json, _) = shown(&reply(200, "hello"), What::Value, true);
        let json: Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(json["siblings"][0]["value_base64"], "aGVsbG8=");
        assert_eq!(json["context"], "c");
        let (out, hint) = shown(&reply(300, "{}"), What::Value, false);
        assert_eq!(out, b"{}\n");
        assert!(hint.unwrap().contains("--latest"));
    }

    #[test]
    fn members_come_one_a_line_and_a_page_says_how_to_go_on() {
        let page = r#"{"members":["a",{"base64":"/w=="}],"count":9,"next":"a","context":"c"}"#;
        let (out, hint) = shown_text(What::Json, page);
        assert_eq!(out, "a\n{\"base64\":\"/w==\"}\n");
        assert_eq!(hint.as_deref(), Some("there is more: --after a"));
        let page = r#"{"members":[{"member":"a","score":1.5}],"next":null,"context":"c"}"#;
        assert_eq!(shown_text(What::Json, page), ("1.5\ta\n".into(), None));
    }

    #[test]
    fn writes_say_who_has_them() {
        let written = r#"{"acks":{"owners":2,"hints":1,"durable":2},"context":"c"}"#;
        let text = "written: owners=2 hints=1 durable=2";
        assert_eq!(shown_text(What::Json, written), (format!("{text}\n"), None));
        let counted = r#"{"value":-3,"acks":{"owners":2,"hints":1,"durable":2},"context":"c"}"#;
        assert_eq!(shown_text(What::Json, counted), ("-3\n".into(), Some(text.into())));
    }
}
