//! Who depends on whom, asked of cargo: the core pulls in nothing of a machine, the simulator no
//! server, and the client no node.

use std::collections::BTreeSet;
use std::process::Command;

use super::source::root;

/// Crates that give sockets, files, clocks, threads or randomness.
const MACHINE: &[&str] = &[
    "chitchat",
    "crossbeam-channel",
    "fastrand",
    "getrandom",
    "governor",
    "hyper",
    "hyper-util",
    "libc",
    "librocksdb-sys",
    "mimalloc",
    "mio",
    "parking_lot",
    "prometheus-client",
    "rand",
    "rand_chacha",
    "rand_core",
    "rayon",
    "rocksdb",
    "rustix",
    "rustls",
    "socket2",
    "tempfile",
    "tokio",
    "tracing",
    "tracing-subscriber",
];

/// Names of the crates that `package` with `flags` is linked from.
fn crates_of(package: &str, flags: &[&str]) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .current_dir(root())
        .args(["tree", "--frozen", "--package", package, "--edges", "normal"])
        .args(["--prefix", "none", "--format", "{p}"])
        .args(flags)
        .output()
        .expect("cargo runs");
    let problem = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo tree failed: {problem}");
    let text = String::from_utf8(output.stdout).expect("cargo writes UTF-8");
    let crates: BTreeSet<String> =
        text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect();
    assert!(crates.contains(package), "cargo tree shows the package itself:\n{text}");
    crates
}

fn common<'a>(crates: &BTreeSet<String>, unwanted: &[&'a str]) -> Vec<&'a str> {
    unwanted.iter().copied().filter(|name| crates.contains(*name)).collect()
}

#[test]
fn the_core_depends_on_nothing_of_the_machine() {
    let crates = crates_of("starling-node", &["--no-default-features"]);
    assert!(crates.contains("crdts"), "the tree is that of the core");
    assert_eq!(common(&crates, MACHINE), [""; 0], "make it optional, under the feature `server`");
}

#[test]
fn the_server_is_seen_to_depend_on_the_machine() {
    let found = common(&crates_of("starling-node", &[]), MACHINE);
    assert!(found.contains(&"tokio") && found.contains(&"rocksdb"), "else the check is blind");
}

#[test]
fn the_simulator_links_no_server() {
    let crates = crates_of("starling-sim", &[]);
    assert!(crates.contains("starling-node"), "it runs the real core");
    assert_eq!(
        common(&crates, &["hyper", "librocksdb-sys", "rocksdb", "starling-client"]),
        [""; 0]
    );
}

#[test]
fn the_client_links_neither_node_nor_simulator() {
    let crates = crates_of("starling-client", &["--no-default-features"]);
    assert_eq!(common(&crates, &["starling-node", "starling-sim", "rocksdb"]), [""; 0]);
}
