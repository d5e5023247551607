//! `starling dev` with real processes: it comes up, its printed commands work, nodes die and
//! return, and nothing outlives it.
#![cfg(feature = "server")]
// The shell is tested with what the core must not have.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod dev_support;

use dev_support::{Dev, dev, shell, signal, until};
use std::process::{Command, Stdio};

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
    until("it has met the others", || dev.curl(1, "/readyz").contains("\"ready\":true"));
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
