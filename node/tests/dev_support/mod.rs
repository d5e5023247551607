//! Real clusters for tests: `starling dev` with its processes, and what people do to them.
#![allow(dead_code)] // Each test binary uses its part.

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

pub const PATIENCE: Duration = Duration::from_secs(90);

/// A running `starling dev`.
pub struct Dev {
    pub child: Child,
    pub out: Receiver<String>,
    pub err: Receiver<String>,
    pub port: u16,
    pub dir: PathBuf,
    /// On a port that the cluster leaves free: no other test takes the same ports.
    _claim: TcpListener,
}

impl Dev {
    pub fn new(dir: &Path, nodes: u16) -> Dev {
        Dev::with(dir, nodes, &[])
    }

    /// The same with more arguments.
    pub fn with(dir: &Path, nodes: u16, more: &[&str]) -> Dev {
        let (port, claim) = free_ports(nodes);
        let mut child = dev(dir, nodes, port)
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        let out = lines(child.stdout.take().expect("it is piped"));
        let err = lines(child.stderr.take().expect("it is piped"));
        Dev { child, out, err, port, dir: dir.to_owned(), _claim: claim }
    }

    /// What it prints up to the line that contains only `ready`.
    pub fn ready(&self) -> Vec<String> {
        let mut printed = Vec::new();
        loop {
            match self.out.recv_timeout(PATIENCE) {
                Ok(line) if line == "ready" => return printed,
                Ok(line) => printed.push(line),
                Err(_) => panic!("not ready: {:?}", self.err.try_iter().collect::<Vec<_>>()),
            }
        }
    }

    pub fn says(&self, text: &str) -> String {
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
    pub fn nodes(&self) -> Vec<u32> {
        processes(&format!("{}/node", self.dir.display()))
    }

    pub fn node(&self, node: u16) -> u32 {
        let found = processes(&format!("{}/node{node}\0", self.dir.display()));
        assert_eq!(found.len(), 1, "node{node}");
        found[0]
    }

    pub fn curl(&self, node: u16, arguments: &str) -> String {
        shell(&format!("curl -sS -m 20 http://127.0.0.1:{}{arguments}", self.port + node))
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program under test: the one built beside the tests, or `STARLING_BIN`.
pub fn starling() -> String {
    let built = || env!("CARGO_BIN_EXE_starling").to_owned();
    std::env::var("STARLING_BIN").unwrap_or_else(|_| built())
}

pub fn dev(dir: &Path, nodes: u16, port: u16) -> Command {
    let mut command = Command::new(starling());
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
pub fn processes(text: &str) -> Vec<u32> {
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

pub fn signal(pid: u32, name: &str) {
    assert!(
        Command::new("kill")
            .args([&format!("-{name}"), &pid.to_string()])
            .status()
            .expect("kill is there")
            .success()
    );
}

pub fn shell(line: &str) -> String {
    let output = Command::new("sh").args(["-c", line]).output().expect("sh is there");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{line}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
