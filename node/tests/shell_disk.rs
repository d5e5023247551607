//! The real program on a disk that fills and on one whose syncs fail.
//!
//! A test starts itself again in namespaces of its own where it needs a small tmpfs. It fails
//! where `unshare`, `strace` or `curl` is missing.
#![cfg(feature = "server")]
// The shell is tested with what the core must not have.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

const PATIENCE: Duration = Duration::from_secs(60);
const MOUNT: &str = "STARLING_TEST_MOUNT";

/// A cluster of one node, and what it says.
struct Node {
    child: Child,
    lines: Receiver<String>,
    url: String,
}

impl Node {
    /// Starts the program in `dir` behind `before`, which may be nothing, and waits until it
    /// serves.
    fn start(dir: &Path, before: &[&str]) -> Node {
        let config = dir.join("starling.toml");
        fs::write(&config, "[storage]\nmemory_mib = 64\nreserve_mib = 24\n").expect("written");
        let program = [env!("CARGO_BIN_EXE_starling"), "start", "--name", "ada"];
        let words: Vec<&str> = before.iter().copied().chain(program).collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).args(["--peer", "127.0.0.1:0", "--gossip", "127.0.0.1:0"]);
        command.args(["--http", "127.0.0.1:0", "--log-format", "json"]);
        command.arg("--config").arg(config).arg("--data-dir").arg(dir.join("node"));
        command.env_remove("RUST_LOG").stdin(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it runs");
        let stderr = child.stderr.take().expect("it is piped");
        let (said, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let _ = said.send(line);
            }
        });
        let mut node = Node { child, lines, url: String::new() };
        let started: serde_json::Value =
            serde_json::from_str(&node.says("node started")).expect("it is JSON");
        node.url = format!("http://{}", started["http"].as_str().expect("an address"));
        node
    }

    fn says(&self, text: &str) -> String {
        let (begun, mut heard) = (Instant::now(), String::new());
        while let Ok(line) = self.lines.recv_timeout(PATIENCE.saturating_sub(begun.elapsed())) {
            if line.contains(text) {
                return line;
            }
            heard = heard + &line + "\n";
        }
        panic!("{text:?} was not said, but:\n{heard}");
    }

    /// Status and body of an answer; status 0 when there is none.
    fn curl(&self, path: &str, more: &[&str]) -> (u16, String) {
        let url = format!("{}{path}", self.url);
        let output = Command::new("curl")
            .args(["-sS", "-m", "20", "-w", "\n%{http_code}", &url])
            .args(more)
            .output()
            .expect("curl is there");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (body, status) = text.rsplit_once('\n').expect("curl says a status");
        (status.parse().expect("a number"), body.to_owned())
    }

    /// Makes it a cluster, once.
    fn form(&self) {
        let (status, body) = self.curl("/v1/cluster/apply", &["-X", "POST", "-d", "{}"]);
        assert!(status == 200 || status == 409, "{status} {body}");
        let begun = Instant::now();
        while self.curl("/readyz", &[]).0 != 200 {
            assert!(begun.elapsed() < PATIENCE, "not ready");
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn put(&self, n: u64, value: &Path) -> (u16, String) {
        let data = format!("@{}", value.display());
        self.curl(&format!("/v1/kv/b/k{n}"), &["-X", "PUT", "--data-binary", &data])
    }

    /// A value of the text of `/metrics`.
    fn metric(&self, name: &str) -> f64 {
        let (_, text) = self.curl("/metrics", &[]);
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("{name} is not there")).parse().expect("a number")
    }

    fn ends(&mut self) -> Option<i32> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().expect("it is a child") {
                return status.code();
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("it goes on");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A file with bytes that do not compress.
fn value(dir: &Path, len: usize) -> std::path::PathBuf {
    let mut state = 88_172_645_463_325_252_u64;
    let bytes = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    });
    let file = dir.join("value");
    fs::write(&file, bytes.take(len).collect::<Vec<_>>()).expect("it is written");
    file
}

/// Runs `body` in a folder with `mib` MiB, in a process of its own.
fn on_a_small_disk(test: &str, mib: u32, body: impl FnOnce(&Path)) {
    if let Some(mount) = env::var_os(MOUNT) {
        return body(Path::new(&mount));
    }
    let dir = tempfile::tempdir().expect("a directory");
    let mounting = format!("mount -t tmpfs -o size={mib}m starling-test \"$0\" && exec \"$@\"");
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", &mounting])
        .arg(dir.path())
        .arg(env::current_exe().expect("this program"))
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(MOUNT, dir.path())
        .output()
        .expect("unshare is there: install util-linux");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    print!("{said}");
}

#[test]
fn a_full_disk_answers_507_serves_reads_and_takes_writes_when_there_is_room() {
    let test = "a_full_disk_answers_507_serves_reads_and_takes_writes_when_there_is_room";
    on_a_small_disk(test, 160, |disk| {
        let elsewhere = tempfile::tempdir().expect("a directory");
        let value = value(elsewhere.path(), 200_000);
        let mut node = Node::start(disk, &[]);
        node.form();
        let ballast = disk.join("ballast");
        fs::write(&ballast, vec![1; 50 << 20]).expect("there is room");
        let mut written = 0;
        let refused = loop {
            match node.put(written, &value) {
                (200..=299, _) => written += 1,
                refused => break refused,
            }
            assert!(written < 1_000, "200 MB were taken on 160 MiB");
        };
        assert!(refused.0 == 507 && refused.1.contains("disk_full"), "{refused:?}");
        assert!(written > 50, "{written} writes on 110 MiB");
        assert!(node.metric("starling_storage_writes_refused_total") >= 1.0);
        assert!(node.metric("starling_storage_disk_reserve_bytes") == f64::from(24 << 20));
        for n in 0..written {
            let (status, body) = node.curl(&format!("/v1/kv/b/k{n}"), &["-o", "/dev/null"]);
            assert_eq!(status, 200, "k{n}: {body}");
        }
        assert!(node.child.try_wait().expect("a child").is_none(), "it is up");

        fs::remove_file(&ballast).expect("it was there");
        let begun = Instant::now();
        while node.put(written, &value).0 == 507 {
            assert!(begun.elapsed() < PATIENCE, "refused for a minute with room");
            thread::sleep(Duration::from_millis(50));
        }
        println!("{written} writes, then 507; taken again after {:?}", begun.elapsed());
        let kill = Command::new("kill").arg(node.child.id().to_string()).status();
        assert!(kill.expect("kill is there").success());
        assert_eq!(node.ends(), Some(0));
        let again = Node::start(disk, &[]);
        again.form();
        for n in 0..=written {
            let (status, _) = again.curl(&format!("/v1/kv/b/k{n}"), &["-o", "/dev/null"]);
            assert_eq!(status, 200, "k{n}");
        }
    });
}

#[test]
fn after_a_failed_sync_nothing_is_acknowledged_the_process_ends_and_what_was_stays() {
    let dir = tempfile::tempdir().expect("a directory");
    let value = value(dir.path(), 100);
    // A first life forms the cluster, so that the syncs that are counted are those of writes.
    let mut first = Node::start(dir.path(), &[]);
    first.form();
    let kill = Command::new("kill").arg(first.child.id().to_string()).status();
    assert!(kill.expect("kill is there").success());
    assert_eq!(first.ends(), Some(0));
    for after in [0, 1, 7, 20] {
        let trace = dir.path().join("trace");
        let node = Node::start(dir.path(), &[]);
        node.form();
        let pid = node.child.id().to_string();
        let failing = format!("inject=fdatasync,fsync:error=EIO:when={}+", after + 1);
        let mut strace = Command::new("strace")
            .args(["-f", "-qq", "-p", &pid, "-e", "trace=fdatasync,fsync", "-e", &failing, "-o"])
            .arg(&trace)
            .stderr(Stdio::piped())
            .spawn()
            .expect("strace is there");
        let attached = Instant::now();
        while !is_traced(&pid) {
            assert!(attached.elapsed() < PATIENCE, "strace did not attach");
            thread::sleep(Duration::from_millis(10));
        }
        let mut node = node;
        let base = after * 1_000;
        let mut acknowledged = 0;
        let last = loop {
            match node.put(base + acknowledged, &value) {
                (200..=299, _) => acknowledged += 1,
                other => break other,
            }
            assert!(acknowledged < 500, "syncs fail and writes are acknowledged");
        };
        assert!(acknowledged <= after, "{acknowledged} acknowledged, {after} syncs worked");
        for n in 0..5 {
            let (status, body) = node.put(base + 900 + n, &value);
            assert!(!(200..300).contains(&status), "acknowledged after a failed sync: {body}");
        }
        node.says("a sync failed, what is on disk is unknown");
        assert_eq!(node.ends(), Some(1), "{last:?}");
        strace.wait().expect("strace ends with it");
        let trace = fs::read_to_string(&trace).expect("strace wrote it");
        assert!(trace.contains("EIO") && trace.contains("INJECTED"), "{trace}");

        let again = Node::start(dir.path(), &[]);
        again.form();
        for n in 0..acknowledged {
            let (status, _) = again.curl(&format!("/v1/kv/b/k{}", base + n), &["-o", "/dev/null"]);
            assert_eq!(status, 200, "k{} was acknowledged", base + n);
        }
        println!("{after} syncs worked: {acknowledged} acknowledged, then {last:?}; all there");
    }
}

fn is_traced(pid: &str) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    tasks
        .filter_map(|task| fs::read_to_string(task.ok()?.path().join("status")).ok())
        .all(|status| status.lines().any(|l| l.starts_with("TracerPid:") && !l.ends_with("\t0")))
}
