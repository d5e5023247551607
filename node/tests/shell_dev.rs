//! `starling dev` with real processes: it comes up, its printed commands work, nodes die and
//! return, and nothing outlives it.
#![cfg(feature = "server")]
// The shell is tested with what the core must not have.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(90);

/// A running `starling dev`.
struct Dev {
    child: Child,
    out: Receiver<String>,
    err: Receiver<String>,
    port: u16,
    dir: PathBuf,
    /// On a port that the cluster leaves free: no other test takes the same ports.
    _claim: TcpListener,
}

impl Dev {
    fn new(dir: &Path, nodes: u16) -> Dev {
        let (port, claim) = free_ports(nodes);
        let mut child = dev(dir, nodes, port)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        let out = lines(child.stdout.take().expect("it is piped"));
        let err = lines(child.stderr.take().expect("it is piped"));
        Dev { child, out, err, port, dir: dir.to_owned(), _claim: claim }
    }

    /// What it prints up to the line that contains only `ready`.
    fn ready(&self) -> Vec<String> {
        let mut printed = Vec::new();
        loop {
            match self.out.recv_timeout(PATIENCE) {
                Ok(line) if line == "ready" => return printed,
                Ok(line) => printed.push(line),
                Err(_) => panic!("not ready: {:?}", self.err.try_iter().collect::<Vec<_>>()),
            }
        }
    }

    fn says(&self, text: &str) -> String {
        let mut heard = Vec::new();
        loop {
            match self.err.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => heard.push(line),
                Err(_) => panic!("{text:?} was not said, but {heard:?}"),
            }
        }
    }

    /// Processes of this cluster's nodes, by what they were started with.
    fn nodes(&self) -> Vec<u32> {
        processes(&format!("{}/node", self.dir.display()))
    }

    fn node(&self, node: u16) -> u32 {
        let found = processes(&format!("{}/node{node}\0", self.dir.display()));
        assert_eq!(found.len(), 1, "node{node}");
        found[0]
    }

    fn curl(&self, node: u16, arguments: &str) -> String {
        shell(&format!("curl -sS -m 20 http://127.0.0.1:{}{arguments}", self.port + node))
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn dev(dir: &Path, nodes: u16, port: u16) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_starling"));
    command.args(["dev", "--nodes", &nodes.to_string(), "--base-port", &port.to_string()]);
    command.arg("--data-dir").arg(dir).env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

fn lines(from: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (said, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let _ = said.send(line);
        }
    });
    lines
}

/// A base port whose cluster finds all its ports free, and a claim on it.
fn free_ports(nodes: u16) -> (u16, TcpListener) {
    let claim = |base: u16| {
        let claim = TcpListener::bind(("127.0.0.1", base + 300)).ok()?;
        let free = (0..nodes).all(|node| {
            TcpListener::bind(("127.0.0.1", base + node)).is_ok()
                && TcpListener::bind(("127.0.0.1", base + 100 + node)).is_ok()
                && UdpSocket::bind(("127.0.0.1", base + 200 + node)).is_ok()
        });
        free.then_some((base, claim))
    };
    (20_000..30_000).step_by(400).find_map(claim).expect("some ports are free")
}

/// Processes with `text` in their arguments, each argument ended by a zero byte.
fn processes(text: &str) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").expect("it is Linux");
    let names = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    names
        .filter(|pid| {
            let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let arguments = String::from_utf8_lossy(&arguments);
            arguments.contains("\0start\0") && arguments.contains(text)
        })
        .collect()
}

fn signal(pid: u32, name: &str) {
    assert!(
        Command::new("kill")
            .args([&format!("-{name}"), &pid.to_string()])
            .status()
            .expect("kill is there")
            .success()
    );
}

fn shell(line: &str) -> String {
    let output = Command::new("sh").args(["-c", line]).output().expect("sh is there");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{line}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_printed_commands_work_and_the_data_is_there_again_after_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut dev = Dev::new(dir.path(), 3);
    let printed = dev.ready();
    let console = format!("http://127.0.0.1:{}/", dev.port);
    assert!(printed.iter().any(|line| line.contains(&console)), "{printed:?}");
    let commands: Vec<_> = printed.iter().filter(|line| line.starts_with("curl ")).collect();
    assert_eq!(commands.len(), 3, "{printed:?}");
    let answers: Vec<_> =
        commands.iter().map(|line| shell(&format!("{line} -sS --fail"))).collect();
    assert_eq!(answers[1], "hello");
    assert!(answers[2].contains("\"value\":1"), "{}", answers[2]);
    assert_eq!(dev.nodes().len(), 3);
    signal(dev.child.id(), "INT");
    assert!(dev.child.wait().expect("it is a child").success());
    assert_eq!(dev.nodes(), [0; 0], "its nodes ended before it");
    drop(dev);
    let dev = Dev::new(dir.path(), 3);
    dev.ready();
    assert_eq!(dev.curl(2, "/v1/kv/demo/greeting"), "hello");
}

#[test]
fn a_killed_node_is_reported_the_others_serve_and_the_printed_command_brings_it_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let dev = Dev::new(dir.path(), 3);
    dev.ready();
    signal(dev.node(1), "KILL");
    assert!(dev.says("node1 ended").contains("SIGKILL"));
    let again = dev.says(" start ").trim().to_owned();
    let written = dev.curl(0, "/v1/kv/b/k -X PUT -d while-away");
    assert!(written.contains("\"acks\""), "{written}");
    let mut node = Command::new("sh")
        .args(["-c", &format!("exec {again}")])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it runs");
    let port = dev.port;
    let probe = format!(
        "curl -s -m 20 -o /dev/null -w '%{{http_code}}' 'http://127.0.0.1:{port}/v1/kv/b/k?r=all'"
    );
    until("all three answer", || {
        let probe = Command::new("sh").args(["-c", &probe]).output().expect("sh is there");
        probe.stdout == b"200"
    });
    assert_eq!(dev.curl(1, "/v1/kv/b/k"), "while-away");
    signal(node.id(), "TERM");
    assert!(node.wait().expect("it is a child").success());
}

#[test]
fn no_node_outlives_a_cluster_that_is_killed() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut dev = Dev::new(dir.path(), 3);
    dev.ready();
    assert_eq!(dev.nodes().len(), 3);
    signal(dev.child.id(), "KILL");
    dev.child.wait().expect("it is a child");
    until("all nodes end", || dev.nodes().is_empty());
}

#[test]
fn a_port_in_use_and_a_changed_number_of_nodes_are_refused_with_what_to_do() {
    let dir = tempfile::tempdir().expect("a directory");
    let other = tempfile::tempdir().expect("a directory");
    let running = Dev::new(dir.path(), 1);
    running.ready();
    let output = dev(other.path(), 1, running.port).output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(&running.port.to_string()) && text.contains("--base-port"), "{text}");
    let output = dev(dir.path(), 3, running.port).output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("--nodes 1") && text.contains("--data-dir"), "{text}");
    for wrong in [["--nodes", "0"], ["--nodes", "101"], ["--base-port", "65535"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_starling"));
        let output = command.arg("dev").args(wrong).output().expect("it runs");
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
    }
}
