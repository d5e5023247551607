//! `starling dev`: a cluster on this machine, each node a process of its own.
//!
//! The nodes stop when this process does, however it ends: their standard input is a pipe from
//! here, and its end is their sign. A node that dies is reported with the command that starts it
//! again; the others go on.

use super::get::request;
use super::{USAGE, fail};
use crate::server::secret::Secret;
use crate::server::settings::TraceArgs;
use clap::Args;
use std::fmt::Write as _;
use std::io::{Write, stderr, stdout};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// Ports of one kind lie so far from those of the next, so there are at most so many nodes.
const NODES_MAX: u16 = 100;
const PEER_OFFSET: u16 = 100;
const GOSSIP_OFFSET: u16 = 200;
/// The last port, of the Redis protocol, is reserved.
const LAST_OFFSET: u16 = 300;
/// How long the cluster may take to be ready.
const READY_MAX: Duration = Duration::from_secs(60);
/// How long a node may take to stop before it is killed.
const STOP_MAX: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(100);

/// Runs a cluster on loopback until it is interrupted.
#[derive(Args, Debug)]
pub struct DevArgs {
    /// How many nodes, 1 to 100
    #[arg(long, default_value_t = 3)]
    nodes: u16,
    /// HTTP port of the first node; peers, gossip follow at 100 and 200 above
    #[arg(long, default_value_t = 7_000)]
    base_port: u16,
    /// Where the nodes keep their data; the same directory continues the same cluster
    #[arg(long, value_name = "DIR", default_value = "starling-data")]
    data_dir: PathBuf,
    #[command(flatten)]
    traces: TraceArgs,
}

/// Runs the command.
pub fn run(args: DevArgs) -> ExitCode {
    if !(1..=NODES_MAX).contains(&args.nodes) {
        return fail(USAGE, &format!("--nodes: 1 to {NODES_MAX}"));
    }
    let ports_max = u16::MAX - LAST_OFFSET - args.nodes;
    if !(1..=ports_max).contains(&args.base_port) {
        return fail(USAGE, &format!("--base-port: 1 to {ports_max}"));
    }
    if let Err(error) = args.traces.clone().resolve() {
        return fail(USAGE, &error.to_string());
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &format!("cannot start: {error}")),
    };
    match runtime.block_on(run_cluster(&args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => fail(1, &text),
    }
}

async fn run_cluster(args: &DevArgs) -> Result<(), String> {
    let plan = Plan::new(args)?;
    let listen = |kind| signal(kind).map_err(|e| format!("cannot listen for signals: {e}"));
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut hangup = listen(SignalKind::hangup())?;
    let mut cluster = Cluster::start(plan)?;
    let ended = tokio::select! {
        ended = cluster.serve() => ended,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
        _ = hangup.recv() => Ok(()),
    };
    cluster.stop().await;
    ended
}

/// Which processes to run, and where.
struct Plan {
    program: PathBuf,
    dir: PathBuf,
    secret: PathBuf,
    nodes: u16,
    base_port: u16,
    traces: TraceArgs,
}

impl Plan {
    fn new(args: &DevArgs) -> Result<Plan, String> {
        let at = args.data_dir.display();
        let failed = |e: std::io::Error| format!("cannot use the directory {at}: {e}");
        std::fs::create_dir_all(&args.data_dir).map_err(failed)?;
        let dir = args.data_dir.canonicalize().map_err(failed)?;
        let kept = (0..NODES_MAX).filter(|node| dir.join(name(*node)).is_dir()).count();
        if kept != 0 && kept != usize::from(args.nodes) {
            return Err(format!(
                "{at} holds a cluster of {kept} nodes; run it with --nodes {kept}, \
                 or choose another --data-dir"
            ));
        }
        let program = std::env::current_exe().map_err(|e| format!("cannot find myself: {e}"))?;
        let secret = dir.join("cluster.secret");
        let (nodes, base_port, traces) = (args.nodes, args.base_port, args.traces.clone());
        let plan = Plan { program, dir, secret, nodes, base_port, traces };
        plan.check_ports()?;
        Secret::read_or_create(&plan.secret)?;
        Ok(plan)
    }

    fn addr(&self, node: u16, offset: u16) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.base_port + offset + node))
    }

    fn check_ports(&self) -> Result<(), String> {
        for node in 0..self.nodes {
            for (kind, offset) in [("HTTP", 0), ("peer", PEER_OFFSET), ("gossip", GOSSIP_OFFSET)] {
                let addr = self.addr(node, offset);
                let free = match offset {
                    GOSSIP_OFFSET => UdpSocket::bind(addr).map(drop),
                    _ => TcpListener::bind(addr).map(drop),
                };
                free.map_err(|e| {
                    format!(
                        "port {} is needed for {kind} of {} and cannot be used ({e}); \
                         stop what uses it or choose another --base-port",
                        addr.port(),
                        name(node)
                    )
                })?;
            }
        }
        Ok(())
    }

    /// The arguments that start a node.
    fn arguments(&self, node: u16) -> Vec<String> {
        let gossip = (0..self.nodes).filter(|other| *other != node);
        let join: Vec<_> =
            gossip.map(|other| self.addr(other, GOSSIP_OFFSET).to_string()).collect();
        let path = |path: &Path| path.display().to_string();
        let mut arguments: Vec<String> = vec!["start".into()];
        for (flag, value) in [
            ("--data-dir", path(&self.dir.join(name(node)))),
            ("--name", name(node)),
            ("--zone", format!("zone{node}")),
            ("--http", self.addr(node, 0).to_string()),
            ("--peer", self.addr(node, PEER_OFFSET).to_string()),
            ("--gossip", self.addr(node, GOSSIP_OFFSET).to_string()),
            ("--secret-file", path(&self.secret)),
            ("--join", join.join(",")),
            ("--otlp-endpoint", self.traces.otlp_endpoint.clone().unwrap_or_default()),
            ("--trace-ratio", self.traces.trace_ratio.map_or(String::new(), |r| r.to_string())),
        ] {
            if !value.is_empty() {
                arguments.extend([flag.into(), value]);
            }
        }
        arguments
    }

    /// A line for a shell that starts a node again.
    fn command_line(&self, node: u16) -> String {
        let mut line = quoted(&self.program.display().to_string());
        for argument in self.arguments(node) {
            let _ = write!(line, " {}", quoted(&argument));
        }
        line
    }
}

fn name(node: u16) -> String {
    format!("node{node}")
}

fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/.:,_-+=@".contains(c);
    if text.chars().all(plain) { text.into() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// The running processes.
struct Cluster {
    plan: Plan,
    /// Dropping one tells its node to stop.
    inputs: Vec<Option<ChildStdin>>,
    /// Ends of processes, as they come.
    ends: JoinSet<(u16, std::io::Result<ExitStatus>)>,
    logs: JoinSet<()>,
}

impl Cluster {
    fn start(plan: Plan) -> Result<Cluster, String> {
        let mut cluster =
            Cluster { plan, inputs: Vec::new(), ends: JoinSet::new(), logs: JoinSet::new() };
        say(&format!(
            "starting {} nodes, data in {}",
            cluster.plan.nodes,
            cluster.plan.dir.display()
        ));
        for node in 0..cluster.plan.nodes {
            let mut child = Command::new(&cluster.plan.program)
                .args(cluster.plan.arguments(node))
                .arg("--exit-with-stdin")
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .process_group(0) // An interrupt from the terminal is ours to pass on.
                .kill_on_drop(true)
                .spawn()
                .map_err(|e| format!("cannot start {}: {e}", name(node)))?;
            cluster.inputs.push(child.stdin.take());
            if let Some(lines) = child.stderr.take() {
                cluster.logs.spawn(forward(name(node), lines));
            }
            cluster.ends.spawn(wait(node, child));
        }
        Ok(cluster)
    }

    /// Brings the cluster up, says so, and reports nodes that end, until none is left.
    async fn serve(&mut self) -> Result<(), String> {
        tokio::select! {
            up = timeout(READY_MAX, bring_up(&self.plan)) => match up {
                Ok(up) => up?,
                Err(_) => return Err(format!("not ready after {} s", READY_MAX.as_secs())),
            },
            Some(end) = self.ends.join_next() => {
                let (node, end) = end.map_err(|e| e.to_string())?;
                return Err(format!("{} {} before the cluster was ready", name(node), how(&end)));
            }
        }
        announce(&self.plan);
        while let Some(end) = self.ends.join_next().await {
            let (node, end) = end.map_err(|e| e.to_string())?;
            self.inputs[usize::from(node)] = None;
            say(&format!("{} {}; the others go on. To start it again:", name(node), how(&end)));
            say(&format!("  {}", self.plan.command_line(node)));
        }
        Err("no node is left".into())
    }

    /// Tells all nodes to stop, and kills those that do not.
    async fn stop(mut self) {
        self.inputs.clear();
        let all = async { while self.ends.join_next().await.is_some() {} };
        if timeout(STOP_MAX, all).await.is_err() {
            say("some nodes did not stop in time and are killed");
            self.ends.shutdown().await;
        }
        let rest = async { while self.logs.join_next().await.is_some() {} };
        let _ = timeout(POLL, rest).await;
    }
}

async fn wait(node: u16, mut child: Child) -> (u16, std::io::Result<ExitStatus>) {
    (node, child.wait().await)
}

fn how(end: &std::io::Result<ExitStatus>) -> String {
    match end {
        Ok(status) => format!("ended ({status})"),
        Err(error) => format!("cannot be watched ({error})"),
    }
}

/// Waits until all nodes answer and see each other, forms the layout if there is none, and waits
/// until all are ready.
async fn bring_up(plan: &Plan) -> Result<(), String> {
    for node in 0..plan.nodes {
        while !is_ok(plan.addr(node, 0), "/healthz").await {
            sleep(POLL).await;
        }
    }
    let first = plan.addr(0, 0);
    let mut told = Instant::now();
    loop {
        let status = cluster_status(first).await?;
        let all_met = status.alive == usize::from(plan.nodes);
        if status.has_layout && all_met {
            break;
        }
        if all_met {
            let body = format!("{{\"expect_members\":{}}}", plan.nodes);
            let answer = request("POST", first, "/v1/cluster/apply", &body).await?;
            match answer {
                (200..=299, _) => break,
                (409 | 500..=599, _) => {} // Gossip may have changed its mind; look again.
                (status, body) => {
                    let text = String::from_utf8_lossy(&body);
                    return Err(format!("the layout was not formed: {status} {text}"));
                }
            }
        }
        if told.elapsed() > Duration::from_secs(5) {
            told = Instant::now();
            say(&format!("{} of {} nodes have met", status.alive, plan.nodes));
        }
        sleep(POLL).await;
    }
    for node in 0..plan.nodes {
        while !is_ok(plan.addr(node, 0), "/readyz").await {
            sleep(POLL).await;
        }
    }
    Ok(())
}

struct Status {
    has_layout: bool,
    alive: usize,
}

async fn cluster_status(addr: SocketAddr) -> Result<Status, String> {
    let (status, body) = request("GET", addr, "/v1/cluster", "").await?;
    let text = || String::from_utf8_lossy(&body).into_owned();
    if status != 200 {
        return Err(format!("the cluster's status cannot be read: {status} {}", text()));
    }
    let value: serde_json::Value =
        serde_json::from_slice(&body).map_err(|e| format!("{e} in {}", text()))?;
    let members = value["members"].as_array().map_or(&[][..], Vec::as_slice);
    Ok(Status {
        has_layout: !value["layout"].is_null(),
        alive: members.iter().filter(|member| member["alive"] == true).count(),
    })
}

async fn is_ok(addr: SocketAddr, path: &str) -> bool {
    matches!(request("GET", addr, path, "").await, Ok((200, _)))
}

fn announce(plan: &Plan) {
    let at = |node: u16| plan.addr(node.min(plan.nodes - 1), 0);
    let text = format!(
        "console: http://{0}/\n\
         curl -X PUT http://{0}/v1/kv/demo/greeting -H 'Content-Type: text/plain' -d 'hello'\n\
         curl http://{1}/v1/kv/demo/greeting\n\
         curl -X POST http://{2}/v1/counters/demo/visits -d '{{\"increment\":1}}'\n\
         ready\n",
        at(0),
        at(1),
        at(2)
    );
    let mut out = stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Passes a node's log on, each line with its name.
async fn forward(name: String, lines: impl AsyncRead + Unpin) {
    let mut lines = BufReader::new(lines).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        say(&format!("{name} | {line}"));
    }
}

/// To standard error; nobody may be there any more to read it.
fn say(line: &str) {
    let _ = writeln!(stderr().lock(), "{line}");
}
