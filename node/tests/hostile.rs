//! What a hostile or broken peer and client can send: each gets its typed answer, nothing changes,
//! and memory stays flat.
#![cfg(feature = "server")]
// Tests of running processes use files, clocks and random order.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod dev_support;

use dev_support::{Dev, shell};
use starling_node::wire::codec;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Each kind of input is sent so many times: leaks of its size would show.
const TIMES: usize = 40;
/// What a node may grow by while all of it is sent, KiB: far less than what is sent.
const GROWTH_KIB: u64 = 48 * 1_024;

fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("Linux says it");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
}

/// Status and `code` of the problem document.
fn outcome(dev: &Dev, arguments: &str) -> (String, String) {
    let url = format!("http://127.0.0.1:{}", dev.port);
    let line = format!("curl -s -m 20 -w '\\n%{{http_code}}' {}", arguments.replace("URL", &url));
    let said = shell(&line);
    let (body, status) = said.rsplit_once('\n').expect("the status is on its own line");
    let problem: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    (status.into(), problem["code"].as_str().unwrap_or(body).into())
}

/// Sends bytes to the peer port and waits until the node has closed the connection.
fn to_peer_port(dev: &Dev, bytes: &[u8]) {
    let mut socket = TcpStream::connect(("127.0.0.1", dev.port + 100)).expect("it listens");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    // The node may close while bytes are still being sent.
    let _ = socket.write_all(bytes).and_then(|()| socket.shutdown(std::net::Shutdown::Write));
    let mut rest = Vec::new();
    let closed = socket.read_to_end(&mut rest);
    assert!(closed.is_ok() || !is_timeout(&closed), "the node closes the connection");
}

fn is_timeout(result: &std::io::Result<usize>) -> bool {
    use std::io::ErrorKind::{TimedOut, WouldBlock};
    result.as_ref().is_err_and(|error| matches!(error.kind(), TimedOut | WouldBlock))
}

#[test]
fn hostile_input_is_refused_by_type_changes_nothing_and_memory_stays_flat() {
    let dir = tempfile::tempdir().expect("a directory");
    let dev = Dev::new(dir.path(), 3);
    dev.ready();
    let written = dev.curl(0, "/v1/kv/b/k -X PUT -d kept");
    assert!(written.contains("\"acks\""), "{written}");
    let big = dir.path().join("big");
    std::fs::write(&big, vec![b'x'; 3 << 20]).expect("written");
    let big = big.display();
    let forged = "A".repeat(64);
    let refused = [
        (format!("-X PUT URL/v1/kv/b/k --data-binary @{big}"), "413", "too_large"),
        (
            format!("-X PUT URL/v1/kv/b/k -H 'Transfer-Encoding: chunked' --data-binary @{big}"),
            "413",
            "too_large",
        ),
        ("URL/v1/nosuch/b/k".into(), "404", "unknown_type"),
        ("URL/v2/kv/b/k".into(), "404", "unknown_route"),
        (
            format!("-X PUT URL/v1/kv/b/k -H 'Starling-Context: {forged}' -d no"),
            "400",
            "malformed_context",
        ),
        ("'URL/v1/kv/b/k?r=4'".into(), "400", "bad_parameter"),
        ("-X PUT 'URL/v1/kv/b/k?w=4' -d no".into(), "400", "bad_parameter"),
        ("-X POST URL/v1/counters/b/c -d '{\"increment\":'".into(), "400", "malformed_body"),
        ("-X PUT URL/v1/kv/b/k%zz -d no".into(), "400", "bad_parameter"),
    ];
    let length = u32::MAX.to_be_bytes();
    let mut torn = codec::encode(&vec![7u64; 1_000]);
    torn.truncate(500);
    let junk = [vec![0xff; 1 << 20], [&length[..], &[1; 64]].concat(), torn, vec![]];
    let warm = |times: usize| {
        for _ in 0..times {
            for (arguments, status, code) in &refused {
                let expected = (status.to_string(), code.to_string());
                assert_eq!(outcome(&dev, arguments), expected, "{arguments}");
            }
            junk.iter().for_each(|bytes| to_peer_port(&dev, bytes));
        }
    };
    warm(3);
    let before = resident_kib(dev.node(0));
    warm(TIMES);
    let after = resident_kib(dev.node(0));
    eprintln!("resident memory: {before} KiB before, {after} KiB after");
    assert!(after < before + GROWTH_KIB, "{before} KiB before, {after} KiB after");
    assert_eq!(dev.curl(1, "'/v1/kv/b/k?r=all'"), "kept");
    let metrics = dev.curl(0, "/metrics");
    let refused = metrics.lines().find(|l| l.starts_with("starling_peer_handshakes_refused_total"));
    let count = refused.and_then(|line| line.split(' ').nth(1)?.parse::<f64>().ok());
    assert!(count.is_some_and(|count| count >= TIMES as f64), "{refused:?}");
}
