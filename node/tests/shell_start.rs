//! The command from outside: what it refuses, what it says, how it ends.
#![cfg(feature = "server")]
// The shell is tested with what the core must not have.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);
const SECRET: &str = "0123456789abcdef0123456789abcdef\n";

fn starling(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_starling"));
    command.args(arguments).env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

/// `starling start` on loopback in `dir`.
fn start(dir: &Path, more: &[&str]) -> Command {
    let mut command = starling(&["start", "--http", "127.0.0.1:0", "--peer", "127.0.0.1:0"]);
    command.args(["--gossip", "127.0.0.1:0", "--data-dir"]).arg(dir).args(more);
    command
}

fn run(mut command: Command) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = command.output().expect("it runs");
    (status.code(), String::from_utf8_lossy(&stderr).into_owned())
}

/// A running process and what it says on standard error.
struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    fn new(mut command: Command) -> Running {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("it runs");
        let stderr = child.stderr.take().expect("it is piped");
        let (said, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let _ = said.send(line);
            }
        });
        Running { child, lines }
    }

    /// The first line from now on that contains `text`.
    fn says(&self, text: &str) -> String {
        let begun = Instant::now();
        let mut heard = String::new();
        while let Ok(line) = self.lines.recv_timeout(PATIENCE.saturating_sub(begun.elapsed())) {
            if line.contains(text) {
                return line;
            }
            heard = heard + &line + "\n";
        }
        panic!("{text:?} was not said, but:\n{heard}");
    }

    fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    fn ends(&mut self) -> Option<i32> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().expect("it is a child") {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("it goes on");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
    assert!(sent.expect("kill is there").success());
}

fn secret_file(dir: &Path, content: &str, mode: u32) -> String {
    let path = dir.join("cluster.secret");
    fs::write(&path, content).expect("it is written");
    fs::set_permissions(&path, Permissions::from_mode(mode)).expect("it is ours");
    path.display().to_string()
}

#[test]
fn listening_beyond_loopback_without_a_secret_is_refused_with_what_to_do() {
    let dir = tempfile::tempdir().expect("a directory");
    for flag in ["--http", "--peer", "--gossip"] {
        let mut arguments = vec!["start", "--data-dir", dir.path().to_str().expect("text")];
        for other in ["--http", "--peer", "--gossip"] {
            arguments.extend([other, if other == flag { "0.0.0.0:0" } else { "127.0.0.1:0" }]);
        }
        let (status, text) = run(starling(&arguments));
        assert_eq!(status, Some(1), "{text}");
        for said in ["without a cluster secret", "--secret-file", "/dev/urandom", "127.0.0.1"] {
            assert!(text.contains(said), "{text}");
        }
    }
    assert_eq!(fs::read_dir(dir.path()).expect("it is there").count(), 0, "nothing was written");
}

#[test]
fn wrong_usage_ends_with_2_and_names_the_setting() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("wrong.toml");
    fs::write(&file, "hhtp = \"127.0.0.1:1\"\n").expect("it is written");
    let file = file.to_str().expect("text");
    for (more, said) in [
        (&["--resp", "127.0.0.1:0"][..], "--resp"),
        (&["--name", "two words"], "--name"),
        (&["--capacity", "0"], "capacity"),
        (&["--join", "nowhere"], "--join"),
        (&["--config", file], "hhtp"),
        (&["--wrong"], "--wrong"),
        (&["--log-format", "xml"], "--log-format"),
    ] {
        let (status, text) = run(start(&dir.path().join("node"), more));
        assert_eq!(status, Some(2), "{more:?}: {text}");
        assert!(text.contains(said), "{more:?}: {text}");
    }
    let (status, text) = run(starling(&["start", "--http", "127.0.0.1:0"]));
    assert!(status == Some(2) && text.contains("--peer"), "{text}");
    assert!(!dir.path().join("node").exists(), "nothing was written");
}

#[test]
fn a_secret_that_others_can_read_or_that_is_short_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("node");
    for (content, mode, said) in
        [(SECRET, 0o644, "chmod 600"), ("short", 0o600, "at least 32"), ("", 0o600, "at least 32")]
    {
        let path = secret_file(dir.path(), content, mode);
        let (status, text) = run(start(&data, &["--secret-file", &path]));
        assert_eq!(status, Some(1), "{text}");
        assert!(text.contains(said) && !text.contains("0123456789"), "{text}");
    }
    let missing = dir.path().join("missing").display().to_string();
    let (status, text) = run(start(&data, &["--secret-file", &missing]));
    assert!(status == Some(1) && text.contains("missing"), "{text}");
}

#[test]
fn a_node_starts_by_its_file_locks_its_directory_and_stops_cleanly() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("node");
    let secret = secret_file(dir.path(), SECRET, 0o600);
    let file = dir.path().join("node.toml");
    let text =
        format!("name = \"ada\"\nzone = \"z1\"\nsecret_file = {secret:?}\n[core]\nhedge_ms = 50\n");
    fs::write(&file, text).expect("it is written");
    let more = ["--config", file.to_str().expect("text"), "--zone", "z2"];
    for name in ["TERM", "INT"] {
        let mut node = Running::new(start(&data, &more));
        let started = node.says("node started");
        assert!(started.contains("ada") && started.contains("z2"), "flags win: {started}");
        let (status, text) = run(start(&data, &more));
        assert_eq!(status, Some(1), "{text}");
        assert!(text.contains("in use by another process"), "{text}");
        node.signal(name);
        node.says("stopped");
        assert_eq!(node.ends(), Some(0));
    }
    let (status, text) = run(start(&data, &["--name", "bob"]));
    assert!(status == Some(1) && text.contains("belongs to the node ada"), "{text}");
}

/// What `GET path` at that address is answered with.
fn get(addr: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(addr).expect("it listens");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    answer
}

/// A node that has formed a cluster of its own and is ready, and where it serves.
fn ready(command: Command) -> (Running, String) {
    let node = Running::new(command);
    let line = node.says("node started");
    let (_, addr) = line.split_once("http=").expect("it says where");
    let addr = addr.split_whitespace().next().expect("an address").trim_matches('"').to_owned();
    let url = format!("http://{addr}");
    let applied = run(starling(&["cluster", "apply", "--url", &url, "--expect-members", "1"]));
    assert_eq!(applied.0, Some(0), "{}", applied.1);
    let begun = Instant::now();
    while !get(&addr, "/readyz").starts_with("HTTP/1.1 200") {
        assert!(begun.elapsed() < PATIENCE, "it is not ready");
        std::thread::sleep(Duration::from_millis(50));
    }
    (node, addr)
}

#[test]
fn a_node_that_drains_says_so_and_serves_on_and_a_second_signal_ends_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("node.toml");
    let config = ["--config", file.to_str().expect("text")];
    for (drain_ms, second) in [(2_000, false), (600_000, true)] {
        fs::write(&file, format!("drain_ms = {drain_ms}\n")).expect("it is written");
        let (mut node, addr) = ready(start(&dir.path().join(drain_ms.to_string()), &config));
        let begun = Instant::now();
        node.signal("TERM");
        node.says("draining");
        let said = get(&addr, "/readyz");
        assert!(said.starts_with("HTTP/1.1 503") && said.contains("about to stop"), "{said}");
        assert!(get(&addr, "/healthz").starts_with("HTTP/1.1 200"));
        assert!(get(&addr, "/metrics").contains("\nstarling_ready 0\n"));
        let found = get(&addr, "/v1/kv/b/nothing");
        assert!(found.starts_with("HTTP/1.1 404"), "it serves: {found}");
        if second {
            node.signal("TERM");
        }
        node.says("stopped");
        assert_eq!(node.ends(), Some(0));
        assert!(second || begun.elapsed() >= Duration::from_millis(drain_ms));
    }
    fs::write(&file, "drain_ms = 600001\n").expect("it is written");
    let (status, text) = run(start(dir.path(), &config));
    assert!(status == Some(2) && text.contains("drain_ms"), "{text}");
}

#[test]
fn a_terminal_that_goes_ends_a_node_unless_it_was_to_ignore_that() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut node = Running::new(start(dir.path(), &[]));
    node.says("node started");
    node.signal("HUP");
    node.says("the terminal is gone");
    assert_eq!(node.ends(), Some(0));
    let plain = start(dir.path(), &[]);
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' HUP; exec \"$0\" \"$@\""]).arg(plain.get_program());
    command.args(plain.get_args()).stdin(Stdio::null());
    let mut node = Running::new(command);
    node.says("node started");
    node.signal("HUP");
    std::thread::sleep(Duration::from_millis(300));
    node.signal("TERM");
    let last = node.says("stopping");
    assert!(last.contains("asked to terminate"), "{last}");
    assert_eq!(node.ends(), Some(0));
}

#[test]
fn a_port_in_use_is_named_with_its_flag() {
    let dir = tempfile::tempdir().expect("a directory");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = taken.local_addr().expect("it is bound").to_string();
    let mut command = starling(&["start", "--http", "127.0.0.1:0", "--peer", &addr]);
    command.args(["--gossip", "127.0.0.1:0", "--data-dir"]).arg(dir.path());
    let (status, text) = run(command);
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains(&addr) && text.contains("--peer"), "{text}");
}

#[test]
fn logs_are_json_when_asked_for() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut node = Running::new(start(dir.path(), &["--log-format", "json", "--name", "ada"]));
    let line: serde_json::Value =
        serde_json::from_str(&node.says("node started")).expect("it is JSON");
    assert_eq!((&line["message"], &line["node"]), (&"node started".into(), &"ada".into()));
    node.signal("KILL");
    assert_eq!(node.ends(), None);
}
