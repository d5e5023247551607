//! A Prometheus of one's own for a test, its tool, and light traffic of every type.

pub mod boards;

use serde_json::Value;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Until Prometheus serves.
const PATIENCE: Duration = Duration::from_secs(30);

/// A folder under `grafana/`.
pub fn folder(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository");
    root.join("grafana").join(name)
}

fn missing(program: &str) -> String {
    format!("{program} does not run: install Debian's package prometheus, or run .ci/setup test")
}

/// Runs promtool and fails with what it says, if it says anything that is wrong.
pub fn promtool(arguments: &[&str], input: Option<&str>) {
    let mut child = Command::new("promtool")
        .args(arguments)
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{}: {e}", missing("promtool")));
    if let Some(text) = input {
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    }
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.is_empty(), "{arguments:?}: {told}{said}");
}

/// A running Prometheus that looks once a second, with the rules of the repository.
pub struct Prometheus {
    child: Child,
    port: u16,
}

impl Prometheus {
    /// Watches the nodes at these ports; keeps its data in `dir`.
    pub fn start(dir: &Path, nodes: &[u16]) -> Prometheus {
        std::fs::create_dir_all(dir).expect("a directory");
        let config = std::fs::read_to_string(folder("prometheus").join("prometheus.yml"));
        let config = config.expect("the configuration");
        let head = config.split_once("      - targets:\n").expect("targets").0;
        let rules = folder("prometheus").join("rules");
        let head = head
            .replace("_interval: 15s", "_interval: 1s")
            .replace("rules/*.yml", &format!("{}/*.yml", rules.display()));
        let targets = nodes.iter().map(|port| format!("          - 127.0.0.1:{port}\n"));
        let config = format!("{head}      - targets:\n{}", targets.collect::<String>());
        let file = dir.join("prometheus.yml");
        std::fs::write(&file, config).expect("it is written");
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = free.local_addr().expect("it is bound").port();
        drop(free);
        let log = std::fs::File::create(dir.join("log")).expect("a file");
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", dir.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|e| panic!("{}: {e}", missing("prometheus")));
        let prometheus = Prometheus { child, port };
        let begun = Instant::now();
        while ask(port, "GET", "/-/ready", "", "").is_none_or(|(status, _)| status != 200) {
            let log = || std::fs::read_to_string(dir.join("log")).unwrap_or_default();
            assert!(begun.elapsed() < PATIENCE, "Prometheus does not serve: {}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
        prometheus
    }

    /// What it answers to a path.
    pub fn get(&self, path: &str) -> Value {
        let (_, body) = ask(self.port, "GET", path, "", "").expect("Prometheus answers");
        serde_json::from_str(&body).unwrap_or_else(|e| panic!("{path}: {e}: {body}"))
    }

    /// The series that an expression has now; a scalar is one.
    pub fn query(&self, expr: &str) -> Vec<Value> {
        let encoded: String = expr.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answer = self.get(&format!("/api/v1/query?query={encoded}"));
        assert_eq!(answer["status"], "success", "{expr}: {answer}");
        answer["data"]["result"].as_array().cloned().unwrap_or_default()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One HTTP/1.0 exchange on loopback; `None` when there was none.
fn ask(port: u16, method: &str, path: &str, headers: &str, body: &str) -> Option<(u16, String)> {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).ok()?;
    socket.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.0\r\nHost: test\r\nContent-Length: {length}\r\n");
    socket.write_all(format!("{head}{headers}\r\n{body}").as_bytes()).ok()?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    Some((status, answer.split_once("\r\n\r\n")?.1.to_owned()))
}

/// What clients ask: every type, read, written and removed, with several consistencies.
const REQUESTS: &[(&str, &str, &str)] = &[
    ("PUT", "/v1/kv/b/k", "value"),
    ("PUT", "/v1/kv/b/k?w=all", "value"),
    ("GET", "/v1/kv/b/k?r=one", ""),
    ("GET", "/v1/kv/b/k?r=quorum", ""),
    ("GET", "/v1/kv/b/siblings?r=2", ""),
    ("GET", "/v1/kv/b/absent", ""),
    ("POST", "/v1/counters/b/k?pw=1", r#"{"increment":1}"#),
    ("GET", "/v1/counters/b/k?pr=quorum", ""),
    ("POST", "/v1/boundedcounters/b/k", r#"{"increment":1}"#),
    ("GET", "/v1/boundedcounters/b/k?r=all", ""),
    ("POST", "/v1/sets/b/k", r#"{"add":["a"],"remove":["b"]}"#),
    ("GET", "/v1/sets/b/k/a", ""),
    ("POST", "/v1/rwsets/b/k", r#"{"add":["a"]}"#),
    ("GET", "/v1/rwsets/b/k", ""),
    ("POST", "/v1/flags/b/k", r#"{"enable":true}"#),
    ("GET", "/v1/flags/b/k", ""),
    ("POST", "/v1/dwflags/b/k", r#"{"disable":true}"#),
    ("GET", "/v1/dwflags/b/k", ""),
    ("POST", "/v1/hlls/b/k", r#"{"add":["a"]}"#),
    ("GET", "/v1/hlls/b/k", ""),
    ("POST", "/v1/maps/b/k", r#"{"update":{"name":{"register":"Ada"}}}"#),
    ("GET", "/v1/maps/b/k", ""),
    ("POST", "/v1/zsets/b/k", r#"{"add":[{"member":"a","score":1}]}"#),
    ("GET", "/v1/zsets/b/k", ""),
    ("PUT", "/v1/kv/b/gone", "value"),
    ("DELETE", "/v1/kv/b/gone", ""),
];

/// Sends each request to a node, each in its turn, and demands an answer that is no failure.
pub fn traffic(ports: &[u16]) {
    for (at, (method, path, body)) in REQUESTS.iter().enumerate() {
        let answer = ask(ports[at % ports.len()], method, path, "", body);
        let (status, text) = answer.unwrap_or_else(|| panic!("no answer to {method} {path}"));
        assert!(
            status < 500 && (status < 400 || status == 404),
            "{method} {path}: {status} {text}"
        );
    }
    let siblings = "/v1/kv/b/siblings";
    ask(ports[0], "PUT", siblings, "", "one").expect("an answer");
    ask(ports[1], "PUT", siblings, "Starling-Context: none\r\n", "two").expect("an answer");
    std::thread::sleep(Duration::from_millis(20));
}

/// A name in an expression, with the label matchers behind it.
#[derive(Debug)]
pub struct Selector {
    pub name: String,
    matchers: String,
}

impl Selector {
    /// As it stands in the expression, without a range.
    pub fn text(&self) -> String {
        format!("{}{}", self.name, self.matchers)
    }
}

/// The metrics that an expression asks for: names with our prefix, or of series that Prometheus
/// or a rule makes, outside of label matchers and lists of labels.
pub fn selectors(expr: &str) -> Vec<Selector> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let mut found = Vec::new();
    let mut rest = expr;
    while let Some(start) = rest.find(|c: char| is_part(c) || c == '{' || c == '[') {
        rest = &rest[start..];
        if rest.starts_with(['{', '[']) {
            let end = if rest.starts_with('{') { '}' } else { ']' };
            let matchers = &rest[..=rest.find(end).expect("it is closed")];
            rest = &rest[matchers.len()..];
            continue;
        }
        let name = &rest[..rest.find(|c| !is_part(c)).unwrap_or(rest.len())];
        rest = &rest[name.len()..];
        let is_metric =
            name.starts_with("starling_") || name.contains(':') || ["up", "ALERTS"].contains(&name);
        if is_metric {
            let matchers = match rest.starts_with('{') {
                true => &rest[..=rest.find('}').expect("it is closed")],
                false => "",
            };
            found.push(Selector { name: name.to_owned(), matchers: matchers.to_owned() });
        }
    }
    found
}

#[test]
fn selectors_are_found_and_nothing_else() {
    let found = selectors(
        "sum by (le) (rate(starling_a_bucket{x=\"starling_b\"}[5m])) / job:c:d > up{j=\"s\"} ",
    );
    let found: Vec<String> = found.iter().map(Selector::text).collect();
    assert_eq!(found, ["starling_a_bucket{x=\"starling_b\"}", "job:c:d", "up{j=\"s\"}"]);
}
