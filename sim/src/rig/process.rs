//! One node as a process: started, killed, paused, its syncs tampered with, its clock shifted.

use crate::net::{self, GOSSIP, HTTP, PEER};
use crate::shell::run;
use crate::tools;
use anyhow::{Context, bail};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

/// A node that is told to stop does so within 12 s.
const STOP_MAX: Duration = Duration::from_secs(15);
/// For a node to say what time it is.
const SOON: Duration = Duration::from_millis(500);
const LOG_TAIL_LINES: usize = 12;

/// What all nodes of a run are started with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The program `starling`.
    pub program: PathBuf,
    /// Of the run; nodes have folders in it.
    pub dir: PathBuf,
    /// By node.
    pub zones: Vec<String>,
    /// Nodes whose clocks are shifted at some time.
    pub shifted: Vec<bool>,
}

/// What is done to a node's syncs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tamper {
    /// Each takes so much longer, microseconds.
    Slow(u64),
    /// Each fails.
    Fail,
}

/// A node.
pub struct Process {
    setup: Setup,
    node: usize,
    child: Option<Child>,
    tracer: Option<Child>,
    tamper: Option<Tamper>,
}

impl Process {
    /// A node that was never started.
    ///
    /// # Errors
    /// Its files cannot be made.
    pub fn new(setup: &Setup, node: usize) -> anyhow::Result<Process> {
        let process =
            Process { setup: setup.clone(), node, child: None, tracer: None, tamper: None };
        std::fs::create_dir_all(process.data())?;
        process.shift(0)?;
        Ok(process)
    }

    /// Its data directory.
    pub fn data(&self) -> PathBuf {
        self.setup.dir.join(format!("node{}", self.node))
    }

    fn log(&self) -> PathBuf {
        self.setup.dir.join(format!("log{}", self.node))
    }

    fn clock(&self) -> PathBuf {
        self.setup.dir.join(format!("clock{}", self.node))
    }

    /// Starts it.
    ///
    /// # Errors
    /// The program cannot be run.
    pub fn start(&mut self) -> anyhow::Result<()> {
        let (node, zones) = (self.node, &self.setup.zones);
        let at = |port: u16| format!("{}:{port}", net::host(node));
        let join: Vec<String> =
            (0..zones.len()).map(|other| format!("{}:{GOSSIP}", net::host(other))).collect();
        let log = OpenOptions::new().create(true).append(true).open(self.log())?;
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &net::namespace(node)])
            .arg(&self.setup.program)
            .args(["start", "--name", &format!("node{node}"), "--zone", &zones[node]])
            .args(["--http", &at(HTTP), "--peer", &at(PEER), "--gossip", &at(GOSSIP)])
            .args(["--join", &join.join(",")])
            .arg("--secret-file")
            .arg(self.setup.dir.join("secret"))
            .arg("--data-dir")
            .arg(self.data())
            .arg("--config")
            .arg(self.setup.dir.join("config.toml"))
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        if self.setup.shifted[node] {
            let library = tools::faketime().context("libfaketime is gone")?;
            command
                .env("LD_PRELOAD", library)
                .env("FAKETIME_TIMESTAMP_FILE", self.clock())
                .env("FAKETIME_CACHE_DURATION", "1")
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
                .env("DONT_FAKE_MONOTONIC", "1");
        }
        self.child = Some(command.spawn().context("ip netns exec")?);
        Ok(())
    }

    /// How the process ended, if it has and was not told to.
    ///
    /// # Errors
    /// The system does not say.
    pub fn ended(&mut self) -> anyhow::Result<Option<String>> {
        let Some(child) = &mut self.child else { return Ok(None) };
        let Some(status) = child.try_wait()? else { return Ok(None) };
        self.child = None;
        Ok(Some(format!("node{} ended with {status}; its log ends:\n{}", self.node, self.tail())))
    }

    /// Whether there is a process.
    pub fn is_up(&self) -> bool {
        self.child.is_some()
    }

    /// Whether somebody takes requests there.
    pub fn listens(&self) -> bool {
        TcpStream::connect(format!("{}:{HTTP}", net::host(self.node))).is_ok()
    }

    fn tail(&self) -> String {
        let text = std::fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
    }

    /// Sends it a signal, if there is a process.
    ///
    /// # Errors
    /// The signal cannot be sent.
    pub fn signal(&self, name: &str) -> anyhow::Result<()> {
        match &self.child {
            Some(child) => run("kill", &[&format!("-{name}"), &child.id().to_string()]).map(drop),
            None => Ok(()),
        }
    }

    /// Kills it, or stops it in order; what had ended already is left so.
    ///
    /// # Errors
    /// It does not stop, or was gone before.
    pub fn stop(&mut self, clean: bool) -> anyhow::Result<()> {
        self.tamper(None)?;
        if !self.is_up() {
            return Ok(());
        }
        self.signal(if clean { "TERM" } else { "KILL" })?;
        let begun = Instant::now();
        let Some(mut child) = self.child.take() else { return Ok(()) };
        while child.try_wait()?.is_none() {
            if begun.elapsed() > STOP_MAX {
                child.kill()?;
                child.wait()?;
                bail!("node{} did not stop within {STOP_MAX:?}", self.node);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// What its wall clock shows: the time plus so many milliseconds. Whole seconds count.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn shift(&self, by_ms: i64) -> anyhow::Result<()> {
        let new = self.clock().with_extension("new");
        std::fs::write(&new, format!("{:+}\n", by_ms / 1_000))?;
        Ok(std::fs::rename(new, self.clock())?)
    }

    /// Whether the library that shifts clocks is part of the process.
    ///
    /// # Errors
    /// The process is gone.
    pub fn has_library(&self) -> anyhow::Result<bool> {
        let child = self.child.as_ref().context("no process")?;
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", child.id()))?;
        Ok(maps.contains("libfaketime"))
    }

    /// How far the node's clock is off by its own word, the `Date` of its answers, seconds.
    ///
    /// # Errors
    /// It does not answer, or with no date.
    pub fn off_s(&self) -> anyhow::Result<i64> {
        let address = format!("{}:{HTTP}", net::host(self.node)).parse()?;
        let mut stream = TcpStream::connect_timeout(&address, SOON)?;
        stream.set_read_timeout(Some(SOON))?;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: node\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.take(4_096).read_to_string(&mut answer)?;
        let mut dates = answer.lines().filter_map(|line| line.strip_prefix("date: "));
        let date = dates.next().context("an answer without a date")?;
        let shown: i64 = run("date", &["-d", date, "+%s"])?.trim().parse()?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        Ok(shown - now.as_secs() as i64)
    }

    /// Tampers with its syncs from now on, or no longer.
    ///
    /// # Errors
    /// The tracer cannot be run, or does not take hold.
    pub fn tamper(&mut self, tamper: Option<Tamper>) -> anyhow::Result<()> {
        if self.tamper == tamper {
            return Ok(());
        }
        self.tamper = tamper;
        if let Some(mut tracer) = self.tracer.take() {
            // It lets go of the node when it is asked to end.
            let _ = run("kill", &["-INT", &tracer.id().to_string()]);
            tracer.wait()?;
        }
        let (Some(tamper), Some(child)) = (tamper, &self.child) else { return Ok(()) };
        let what = match tamper {
            Tamper::Slow(us) => format!("delay_enter={us}"),
            Tamper::Fail => "error=EIO".into(),
        };
        let said = self.setup.dir.join(format!("strace{}", self.node));
        let tracer = Command::new("strace")
            .args(["-f", "-e", "trace=fsync,fdatasync"])
            .args(["-e", &format!("inject=fsync,fdatasync:{what}")])
            .args(["-p", &child.id().to_string(), "-o", "/dev/null"])
            .stdin(Stdio::null())
            .stderr(File::create(&said)?)
            .spawn()
            .context("strace")?;
        self.tracer = Some(tracer);
        attached(&said)
    }
}

/// Waits until the tracer says that it took hold.
fn attached(said: &Path) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let text = std::fs::read_to_string(said)?;
        if text.contains("attached") {
            return Ok(());
        }
        if begun.elapsed() > Duration::from_secs(5) {
            bail!("strace did not take hold: {text}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        for child in [&mut self.tracer, &mut self.child].into_iter().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
