//! `/metrics` as Prometheus reads it: checked by Prometheus' own tool.
#![cfg(feature = "server")]
// Speaks to a server over sockets and through tools.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod http_fake;

use http_fake::Server;
use std::io::Write;
use std::process::{Command, Stdio};

async fn used() -> (Server, String) {
    let server = Server::start().await;
    server.ask("PUT", "/v1/kv/b/k", "", b"value").await;
    server.get("/v1/kv/b/k").await;
    server.get("/v1/kv/b/absent").await;
    server.get("/nonsense").await;
    let text = server.get("/metrics").await.text();
    (server, text)
}

#[tokio::test]
async fn promtool_finds_nothing_to_complain_of() {
    let (_server, text) = used().await;
    let mut child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is installed: Debian's package prometheus has it");
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}\n{text}");
}

#[tokio::test]
async fn every_family_there_is_stands_in_the_text_once() {
    let (_server, text) = used().await;
    let core = starling_node::metrics::TABLE.iter().map(|(name, ..)| *name);
    let shell = starling_node::server::families::TABLE.iter().map(|(name, ..)| *name);
    for name in core.chain(shell) {
        assert_eq!(text.matches(&format!("# TYPE {name} ")).count(), 1, "{name}");
    }
}

#[tokio::test]
async fn requests_are_counted_by_operation_and_class_and_never_by_key() {
    let (server, text) = used().await;
    for line in [
        r#"starling_http_requests_total{operation="kv_put",route="/v1/kv/{bucket}/{key}",method="PUT",status="2xx"} 1"#,
        r#"starling_http_requests_total{operation="kv_get",route="/v1/kv/{bucket}/{key}",method="GET",status="4xx"} 1"#,
        r#"starling_http_requests_total{operation="unmatched",route="unmatched",method="any",status="4xx"} 1"#,
        r#"starling_http_request_duration_seconds_count{operation="kv_get"} 2"#,
        r#"starling_http_request_duration_seconds_bucket{operation="kv_get",le="+Inf"} 2"#,
        r#"starling_http_problems_total{code="not_found"} 1"#,
        "starling_http_request_body_bytes_total 5",
        "starling_http_requests_in_flight 1",
        "starling_ready 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    for at in 0..100 {
        server.get(&format!("/v1/kv/bucket{at}/key{at}?r={at}")).await;
        server.get(&format!("/v{at}")).await;
    }
    let later = server.get("/metrics").await.text();
    assert!(later.lines().count() < text.lines().count() + 40, "{later}");
}
