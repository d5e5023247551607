//! Three real nodes, each in a network namespace of its own, cut apart in every way and healed.
//! Needs iproute2, iptables, and root or the right to make user namespaces; it fails without.
#![cfg(feature = "server")]
// Tests of running processes use files, clocks and random order.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod dev_support;

use dev_support::{shell, starling, until};
use starling_client::{Client, Error, Options, Quorum};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const KEYS: usize = 10_000;
const WRITERS: usize = 16;
/// Nodes have .1 to .3, the bridge .254 in the namespace where the test itself runs.
const NET: &str = "10.231.77";
const INSIDE: &str = "inside_the_namespaces";

/// Runs the other test in namespaces that go when it ends: this network has only what it makes.
#[test]
fn nodes_cut_apart_accept_writes_and_are_equal_ten_seconds_after_healing() {
    let root = shell("id -u").trim() == "0";
    let user: &[&str] = if root { &[] } else { &["--user", "--map-root-user"] };
    let output = Command::new("unshare")
        .args(["--net", "--mount"])
        .args(user)
        // Named namespaces are kept below /run: a private one needs no cleaning up.
        .args(["sh", "-c", "mount -t tmpfs tmpfs /run && exec \"$@\"", "sh"])
        .arg(std::env::current_exe().expect("this test"))
        .args(["--exact", INSIDE, "--ignored", "--nocapture"])
        .stdin(Stdio::null())
        .output()
        .expect("unshare runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    eprintln!("{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"));
}

/// A bridge here, and three namespaces with a link to it.
fn make_network() {
    let run = |line: String| shell(&format!("{line} 2>&1"));
    run(format!(
        "ip link set lo up && ip link add br0 type bridge && ip addr add {NET}.254/24 dev br0 \
         && ip link set br0 up"
    ));
    for node in 1..=3 {
        run(format!(
            "ip netns add n{node} && ip -n n{node} link set lo up \
             && ip link add v{node} type veth peer name eth0 netns n{node} \
             && ip link set v{node} master br0 up \
             && ip -n n{node} addr add {NET}.{node}/24 dev eth0 && ip -n n{node} link set eth0 up"
        ));
    }
}

/// The nodes, killed when it goes.
struct Nodes {
    children: Vec<Child>,
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Nodes {
    fn start(dir: &Path) -> Nodes {
        let secret = dir.join("secret");
        std::fs::write(&secret, "a secret for this test alone, long enough\n").expect("written");
        shell(&format!("chmod 600 {}", secret.display()));
        let mut nodes = Nodes { children: Vec::new() };
        for node in 1..=3 {
            let at = |port: u16| format!("{NET}.{node}:{port}");
            let join: Vec<String> = (1..=3).map(|other| format!("{NET}.{other}:7200")).collect();
            let child = Command::new("ip")
                .args(["netns", "exec", &format!("n{node}"), &starling(), "start"])
                .args(["--name", &format!("node{node}"), "--zone", &format!("zone{node}")])
                .args(["--http", &at(7000), "--peer", &at(7100), "--gossip", &at(7200)])
                .args(["--join", &join.join(",")])
                .arg("--secret-file")
                .arg(&secret)
                .arg("--data-dir")
                .arg(dir.join(format!("node{node}")))
                .stdin(Stdio::null())
                .stderr(std::fs::File::create(dir.join(format!("log{node}"))).expect("a log"))
                .spawn()
                .expect("it runs");
            nodes.children.push(child);
        }
        nodes
    }

    /// `node` no longer hears `other`.
    fn deafen(&self, node: usize, other: usize) {
        shell(&format!("ip netns exec n{node} iptables -A INPUT -s {NET}.{other} -j DROP 2>&1"));
    }

    fn heal(&self) {
        for node in 1..=3 {
            shell(&format!("ip netns exec n{node} iptables -F 2>&1"));
        }
    }

    /// Waits until `node` hears just `alive`, itself included.
    fn hears(&self, node: usize, alive: &[usize]) {
        until(&format!("node {node} hears {alive:?}"), || {
            let cluster = get(node, "/v1/cluster");
            let cluster: serde_json::Value = serde_json::from_str(&cluster).unwrap_or_default();
            let members = cluster["members"].as_array().cloned().unwrap_or_default();
            members.len() == 3
                && (1..=3).all(|other| {
                    let name = format!("node{other}");
                    let found = members.iter().find(|member| member["name"] == name.as_str());
                    found.is_some_and(|member| member["alive"] == alive.contains(&other))
                })
        });
    }
}

fn get(node: usize, path: &str) -> String {
    let url = format!("http://{NET}.{node}:7000{path}");
    let output = Command::new("curl").args(["-s", "-m", "5", &url]).output().expect("curl runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn client(node: usize, options: Options) -> Client {
    let url = format!("http://{NET}.{node}:7000");
    // What one node answers is what is tested.
    let once = Options { attempts: 1, ..options };
    Client::connect([url]).expect("a url").with_options(once)
}

fn w(count: u8) -> Options {
    Options { w: Some(Quorum::Count(count)), ..Options::default() }
}

async fn put(node: usize, key: &str, options: Options) -> Result<(), Error> {
    let (kv, value) = (client(node, options.clone()).kv("cut"), format!("{key} at {node}"));
    kv.put(key, value).await?;
    client(node, options).counter("cut", "writes").increment(1).await.map(|_| ())
}

/// Writes keys on the sides of a partition, one node a side, and says how many.
async fn write_on(nodes: &[usize], name: &str, count: usize) -> usize {
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let (nodes, name) = (nodes.to_vec(), name.to_owned());
        writers.push(tokio::spawn(async move {
            let clients: Vec<_> = nodes.iter().map(|node| client(*node, w(1)).kv("cut")).collect();
            for key in (writer..count).step_by(WRITERS) {
                let side = key % nodes.len();
                let value = format!("{name} {key} at {}", nodes[side]);
                let put = clients[side].put(format!("{name}-{key}"), value).await;
                put.unwrap_or_else(|error| panic!("w=1 at node {}: {error}", nodes[side]));
            }
        }));
    }
    for writer in writers {
        writer.await.expect("a writer ends well");
    }
    count
}

fn hints_pending() -> u64 {
    let pending = |node| {
        let metrics = get(node, "/metrics");
        let line = metrics.lines().find(|line| line.starts_with("starling_hints_pending "));
        let value = line.and_then(|line| line.split(' ').nth(1)?.parse::<f64>().ok());
        value.map_or(1, |value| value as u64)
    };
    (1..=3).map(pending).sum()
}

/// Reads every key at all owners: each answer is `200` and found nothing to repair.
fn all_equal(dir: &Path, keys: &[String]) {
    let list: String = keys
        .iter()
        .map(|key| {
            format!("url = \"http://{NET}.1:7000/v1/kv/cut/{key}?r=all\"\noutput = /dev/null\n")
        })
        .collect();
    let file = dir.join("urls");
    std::fs::write(&file, list).expect("written");
    let heads = shell(&format!("curl -s -m 120 -D - -K {}", file.display()));
    let found = heads.matches("HTTP/1.1 200").count();
    let equal = heads.matches("asked=3 answered=3 repaired=0").count();
    assert_eq!((found, equal), (keys.len(), keys.len()));
}

#[test]
#[ignore = "run by the other test, inside the namespaces"]
fn inside_the_namespaces() {
    make_network();
    let dir = tempfile::tempdir().expect("a directory");
    let nodes = Nodes::start(dir.path());
    (1..=3).for_each(|node| nodes.hears(node, &[1, 2, 3]));
    let starling = starling();
    shell(&format!("{starling} cluster apply --url http://{NET}.1:7000 --expect-members 3"));
    let ready = |node| get(node, "/readyz");
    until("all are ready", || (1..=3).all(|node| ready(node).contains("ready")));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let primary = || Options { pw: Some(Quorum::Count(2)), ..w(2) };

    // 1 | 2, 3
    for other in [2, 3] {
        nodes.deafen(1, other);
        nodes.deafen(other, 1);
    }
    nodes.hears(1, &[1]);
    nodes.hears(2, &[2, 3]);
    runtime.block_on(async {
        put(1, "a", w(1)).await.expect("the small side accepts w=1");
        put(2, "a", w(1)).await.expect("the large side accepts w=1");
        put(2, "b", primary()).await.expect("the large side has two owners");
        let refused = put(1, "c", primary()).await.expect_err("the small side has one owner");
        assert!(refused.is_unavailable(), "nothing was applied: {refused}");
    });
    nodes.heal();
    (1..=3).for_each(|node| nodes.hears(node, &[1, 2, 3]));

    // 1 hears nobody, the others hear it.
    nodes.deafen(1, 2);
    nodes.deafen(1, 3);
    nodes.hears(1, &[1]);
    runtime.block_on(async {
        for node in 1..=3 {
            put(node, &format!("one-way-{node}"), w(1)).await.expect("w=1 on every side");
        }
        let refused = put(1, "d", primary()).await.expect_err("it hears no second owner");
        assert!(refused.is_unavailable() || refused.is_unknown(), "{refused}");
    });
    nodes.heal();
    (1..=3).for_each(|node| nodes.hears(node, &[1, 2, 3]));

    // Each alone.
    for (node, other) in [(1, 2), (1, 3), (2, 1), (2, 3), (3, 1), (3, 2)] {
        nodes.deafen(node, other);
    }
    (1..=3).for_each(|node| nodes.hears(node, &[node]));
    runtime.block_on(async {
        for node in 1..=3 {
            let refused = put(node, "e", primary()).await.expect_err("each is alone");
            assert!(refused.is_unavailable(), "{refused}");
            let counter = client(node, w(1)).counter("cut", "alone");
            counter.increment(1).await.expect("w=1 on every side");
        }
        write_on(&[1, 2, 3], "k", KEYS).await;
    });
    let healed = Instant::now();
    nodes.heal();
    until("nothing is owed", || hints_pending() == 0);
    let took = healed.elapsed();
    println!("{KEYS} divergent keys: nothing owed {:.1} s after healing", took.as_secs_f64());
    assert!(took < Duration::from_secs(10), "{took:?}");
    let keys: Vec<String> = (0..KEYS).map(|key| format!("k-{key}")).collect();
    all_equal(dir.path(), &keys);
    let everyone = Options { r: Some(Quorum::All), ..Options::default() };
    let alone = runtime.block_on(client(1, everyone).counter("cut", "alone").get());
    assert_eq!(alone.expect("all three answer"), 3);
}
