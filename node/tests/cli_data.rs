//! The commands on objects, against a real node: what they print, and how they end.
#![cfg(feature = "server")]
// The shell is tested with what the core must not have.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod dev_support;

use dev_support::{Dev, starling};
use serde_json::Value;
use std::io::Write;
use std::process::{Command, Output, Stdio};

/// A node, and commands that talk to it.
struct Terminal {
    dev: Dev,
    _dir: tempfile::TempDir,
}

impl Terminal {
    fn new() -> Terminal {
        let dir = tempfile::tempdir().expect("a directory");
        let dev = Dev::new(dir.path(), 1);
        dev.ready();
        Terminal { dev, _dir: dir }
    }

    fn command(&self, line: &[&str]) -> Command {
        let mut command = Command::new(starling());
        let url = format!("http://127.0.0.1:{}", self.dev.port);
        command.args(line).args(["--url", &url]).env_remove("STARLING_URL");
        command
    }

    fn run(&self, line: &str) -> Output {
        let words: Vec<&str> = line.split(' ').collect();
        self.command(&words).stdin(Stdio::null()).output().expect("it runs")
    }

    /// What a command that succeeds prints.
    fn out(&self, line: &str) -> String {
        let output = self.run(line);
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{line}: {err}");
        String::from_utf8(output.stdout).expect("it is text")
    }

    fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.out(&format!("{line} --json"))).expect("it is JSON")
    }

    /// What a command says that is refused.
    fn refused(&self, line: &str) -> String {
        let output = self.run(line);
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{line}: {err}");
        assert!(output.stdout.is_empty(), "{line}");
        err
    }
}

const WRITTEN: &str = "written: owners=1 hints=0 durable=1\n";

#[test]
fn registers_are_written_read_and_removed() {
    let term = Terminal::new();
    assert_eq!(term.out("kv put app greeting hello"), WRITTEN);
    assert_eq!(term.out("kv get app greeting"), "hello");
    let json = term.json("kv get app greeting");
    assert_eq!(json["siblings"][0]["value_base64"], "aGVsbG8=");
    assert!(json["context"].is_string());
    let mut put = term.command(&["kv", "put", "app", "a/b c", "-", "--ttl-seconds", "60"]);
    let mut put = put.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("it runs");
    put.stdin.take().expect("it is piped").write_all(b"\xff\0piped").expect("it reads");
    assert!(put.wait().expect("it is a child").success());
    let got = term.command(&["kv", "get", "app", "a/b c"]).output().expect("it runs");
    assert_eq!(got.stdout, b"\xff\0piped");
    let answer = term.dev.curl(0, "/v1/expiry/kv/app/a%2Fb%20c");
    assert!(answer.contains("\"ttl_seconds\":6"), "{answer}");
    for value in ["one", "two"] {
        let curl = format!("/v1/kv/app/both -X PUT -H Starling-Context:none -d {value}");
        term.dev.curl(0, &curl);
    }
    let both = term.out("kv get app both");
    let both: Value = serde_json::from_str(&both).expect("siblings are JSON");
    assert_eq!(both["siblings"].as_array().map(Vec::len), Some(2));
    assert_eq!(term.out("kv get app both --latest"), "two");
    assert_eq!(term.out("kv delete app greeting"), WRITTEN);
    let absent = term.refused("kv get app greeting");
    assert!(absent.contains("not_found") && absent.contains("The object is absent"), "{absent}");
}

#[test]
fn counters_and_bounded_counters_count() {
    let term = Terminal::new();
    assert_eq!(term.out("counter incr app visits"), "1\n");
    assert_eq!(term.out("counter incr app visits -5"), "-4\n");
    assert_eq!(term.out("counter decr app visits 6"), "-10\n");
    assert_eq!(term.json("counter get app visits")["value"], -10);
    assert_eq!(term.out("counter reset app visits"), "0\n");
    assert_eq!(term.out("counter delete app visits"), WRITTEN);
    assert!(term.refused("counter get app visits").contains("not_found"));
    assert_eq!(term.out("boundedcounter incr app seats 3"), "3\n");
    let refused = term.refused("boundedcounter decr app seats 4");
    assert!(refused.contains("insufficient_rights"), "{refused}");
    assert!(refused.contains("The rights here do not cover the decrement"), "{refused}");
    assert_eq!(term.out("boundedcounter decr app seats 3"), "0\n");
    assert_eq!(term.out("boundedcounter get app seats"), "0\n");
}

#[test]
fn sets_and_flags_of_both_kinds() {
    let term = Terminal::new();
    for set in ["set", "rwset"] {
        assert_eq!(term.out(&format!("{set} add app team ada bob cleo --persist")), WRITTEN);
        assert_eq!(term.out(&format!("{set} remove app team bob")), WRITTEN);
        assert_eq!(term.out(&format!("{set} get app team")), "ada\ncleo\n");
        assert_eq!(term.out(&format!("{set} contains app team bob")), "false\n");
        assert_eq!(term.out(&format!("{set} contains app team ada")), "true\n");
        let page = term.run(&format!("{set} get app team --limit 1"));
        assert_eq!(page.stdout, b"ada\n");
        assert_eq!(page.stderr, b"there is more: --after ada\n");
        assert_eq!(term.out(&format!("{set} get app team --after ada")), "cleo\n");
        assert_eq!(term.out(&format!("{set} delete app team")), WRITTEN);
        term.refused(&format!("{set} get app team"));
    }
    for flag in ["flag", "dwflag"] {
        assert_eq!(term.out(&format!("{flag} enable app beta")), "true\n");
        assert_eq!(term.out(&format!("{flag} get app beta")), "true\n");
        assert_eq!(term.out(&format!("{flag} disable app beta")), "false\n");
        assert_eq!(term.out(&format!("{flag} delete app beta")), WRITTEN);
        term.refused(&format!("{flag} get app beta"));
    }
}

#[test]
fn maps_sketches_and_sorted_sets() {
    let term = Terminal::new();
    let changes = r#"{"name":{"register":"Ada"},"visits":{"counter":2}}"#;
    assert_eq!(term.out(&format!("map update app ada {changes}")), WRITTEN);
    assert_eq!(term.json("map get app ada")["value"]["visits"], 2);
    assert_eq!(term.out("map remove app ada visits"), WRITTEN);
    assert_eq!(term.out("map get app ada"), "{\n  \"name\": \"Ada\"\n}\n");
    let kind = term.refused(r#"map update app ada {"name":{"counter":1}}"#);
    assert!(kind.contains("wrong_kind"), "{kind}");
    assert_eq!(term.out("map delete app ada"), WRITTEN);
    assert_eq!(term.out("hll add app seen a b a"), WRITTEN);
    assert_eq!(term.out("hll get app seen"), "2\n");
    assert_eq!(term.out("hll delete app seen"), WRITTEN);
    assert_eq!(term.out("zset add app board ada 10 --ttl-seconds 60"), WRITTEN);
    assert_eq!(term.out("zset add app board bob -2.5"), WRITTEN);
    assert_eq!(term.out("zset incr app board ada 1.5"), WRITTEN);
    assert_eq!(term.out("zset score app board ada"), "11.5\n");
    assert_eq!(term.out("zset get app board"), "-2.5\tbob\n11.5\tada\n");
    assert_eq!(term.out("zset get app board --desc --min 0"), "11.5\tada\n");
    assert_eq!(term.out("zset remove app board ada"), WRITTEN);
    assert_eq!(term.out("zset delete app board"), WRITTEN);
    term.refused("zset score app board bob");
}

#[test]
fn why_a_value_is_what_it_is_is_explained() {
    let term = Terminal::new();
    term.out("counter incr app visits 3");
    let text = term.out("explain counter app visits");
    assert!(text.contains("the owners agree") && text.contains("\"value\":3"), "{text}");
    let json = term.json("explain counter app visits");
    assert_eq!(json["replicas"].as_array().map(Vec::len), Some(1));
    let unknown = term.refused("explain list app visits");
    assert!(unknown.contains("unknown_type"), "{unknown}");
}

#[test]
fn wrong_usage_ends_with_2_and_a_node_that_is_not_there_with_1() {
    let run = |line: &str| {
        let mut command = Command::new(starling());
        command.args(line.split(' ')).env_remove("STARLING_URL").stdin(Stdio::null());
        let output = command.output().expect("it runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for wrong in [
        "kv",
        "kv get b",
        "kv put b k",
        "counter incr b k many",
        "set add b k",
        "set add b k m --ttl-seconds 5 --persist",
        "map update b k nonsense",
        "zset add b k m NaN",
        "flag toggle b k",
        "explain kv b",
        "kv get b k --url ftp://n",
        "completions cobol",
    ] {
        let (code, text) = run(wrong);
        assert_eq!(code, Some(2), "{wrong}: {text}");
        assert!(!text.is_empty(), "{wrong}");
    }
    let claim = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = claim.local_addr().expect("it is bound").port();
    drop(claim);
    let (code, text) = run(&format!("kv get b k --url http://127.0.0.1:{port}"));
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("does not answer"), "{text}");
}

#[test]
fn completions_are_printed_for_each_shell() {
    for shell in ["bash", "zsh", "fish"] {
        let output = Command::new(starling()).args(["completions", shell]).output();
        let output = output.expect("it runs");
        assert!(output.status.success());
        let script = String::from_utf8(output.stdout).expect("it is text");
        assert!(script.contains("boundedcounter") && script.contains("starling"), "{shell}");
    }
}
