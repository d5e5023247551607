//! Traces over OTLP: one request is one trace, on every node that it touched.
#![cfg(feature = "server")]
// The shell is tested with what the core must not have.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod dev_support;
mod otlp_support;

use dev_support::{Dev, starling};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use otlp_support::{Collector, Exported};
use starling_node::cluster::{Member, MembershipView};
use starling_node::core::Output;
use starling_node::crdt::{NodeId, ObjectId, TypeTag};
use starling_node::placement::LayoutId;
use starling_node::server::peers::{Identity, PeerLimits, Peers};
use starling_node::server::traces::{self, Queued, Steps, TraceContext, TraceSettings, Traces};
use starling_node::wire::api::{ReadQuery, RequestId};
use starling_node::wire::peer::{OpId, PeerBody, PeerMessage, Refusal};
use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const CALLER: &str = "00f067aa0ba902b7";
const PUT: &str = "PUT /v1/kv/{bucket}/{key}";

/// The id of the trace number `number`.
fn trace(number: u32) -> String {
    format!("4bf92f3577b34da6a3ce9290{number:08x}")
}

/// Writes at `node` in a trace of which `flags` say whether it is kept; gives headers and body.
fn put(dev: &Dev, node: u16, path: &str, number: u32, flags: &str) -> String {
    let header = format!("traceparent: 00-{}-{CALLER}-{flags}", trace(number));
    dev.curl(node, &format!("{path} -i -X PUT -d SECRETVALUE -H '{header}'"))
}

/// The `traceparent` of an answer: trace, span and flags.
fn traceparent(answer: &str) -> Option<(&str, &str, &str)> {
    let line = answer.lines().find_map(|line| line.strip_prefix("traceparent: 00-"))?;
    let (trace, rest) = line.trim().split_once('-')?;
    let (span, flags) = rest.split_once('-')?;
    Some((trace, span, flags))
}

fn named<'a>(spans: &'a [Exported], name: &str) -> Vec<&'a Exported> {
    spans.iter().filter(|span| span.name == name).collect()
}

fn only<'a>(spans: &'a [Exported], name: &str) -> &'a Exported {
    let found = named(spans, name);
    assert_eq!(found.len(), 1, "{name} in {spans:#?}");
    found[0]
}

fn start(dir: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(starling());
    command.args(["start", "--http", "127.0.0.1:0", "--peer", "127.0.0.1:0"]);
    command.args(["--gossip", "127.0.0.1:0", "--data-dir"]).arg(dir).args(more);
    for variable in ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_TRACES_SAMPLER_ARG"] {
        command.env_remove(variable);
    }
    command
}

/// A write at `node0` of three nodes that all own the object.
fn assert_is_one_trace(spans: &[Exported], server_span: &str) {
    assert_eq!(spans.len(), 9, "{spans:#?}");
    let server = only(spans, PUT);
    assert_eq!((server.id.as_str(), server.parent.as_str()), (server_span, CALLER));
    assert_eq!((server.node.as_str(), server.kind), ("node0", SpanKind::Server));
    assert!(server.why.is_empty());
    for (name, value) in [
        ("http.request.method", "PUT"),
        ("http.route", "/v1/kv/{bucket}/{key}"),
        ("http.response.status_code", "200"),
        ("starling.bucket", "b"),
        ("starling.outcome", "ok"),
    ] {
        assert_eq!(server.attribute(name), value, "{name}");
    }
    let (queue, coordinate) = (only(spans, "queue"), only(spans, "coordinate"));
    assert_eq!((&queue.parent, &coordinate.parent), (&server.id, &server.id));
    assert!(server.began <= queue.began && queue.ended <= coordinate.began);
    assert!(coordinate.ended <= server.ended);
    let calls = named(spans, "join");
    let peers: BTreeSet<_> = calls.iter().map(|call| call.attribute("starling.peer")).collect();
    assert_eq!(peers, BTreeSet::from(["node1", "node2"]));
    for call in calls {
        assert_eq!((&call.parent, call.kind), (&coordinate.id, SpanKind::Client));
        assert!(call.node == "node0" && call.began >= coordinate.began && call.why.is_empty());
        let below: Vec<_> = spans.iter().filter(|span| span.parent == call.id).collect();
        assert_eq!(below.len(), 1, "{below:#?}");
        let replica = below[0];
        assert_eq!((replica.name.as_str(), replica.kind), ("replica join", SpanKind::Server));
        assert_eq!(replica.node, call.attribute("starling.peer"));
        let below: Vec<_> = spans.iter().filter(|span| span.parent == replica.id).collect();
        assert_eq!(below.len(), 1, "{below:#?}");
        let sync = below[0];
        assert_eq!((sync.name.as_str(), &sync.node), ("sync", &replica.node));
        assert!(sync.began >= replica.ended && sync.ended <= call.ended, "one machine, one clock");
        assert!(sync.why.is_empty());
    }
}

#[test]
fn one_request_is_one_trace_from_its_client_to_every_replicas_disk_and_holds_no_data() {
    let collector = Collector::new(0);
    let dir = tempfile::tempdir().expect("a directory");
    let arguments = ["--otlp-endpoint", &collector.url, "--trace-ratio", "0"];
    let dev = Dev::with(dir.path(), 3, &arguments);
    dev.ready();
    let kept_out = put(&dev, 0, "/v1/kv/b/SECRETKEY", 1, "00");
    assert_eq!(traceparent(&kept_out), Some((&*trace(1), CALLER, "00")), "as it came: {kept_out}");
    dev.curl(1, "/v1/kv/b/SECRETKEY -X PUT -d SECRETVALUE");
    let answer = put(&dev, 0, "/v1/kv/b/SECRETKEY?w=3", 2, "01");
    let (id, server_span, flags) = traceparent(&answer).expect("it says its span");
    assert_eq!((id, flags), (&*trace(2), "01"), "{answer}");
    assert_is_one_trace(&collector.trace(&trace(2), 9), server_span);

    let header = format!("-H 'traceparent: 00-{}-{CALLER}-01'", trace(3));
    assert_eq!(dev.curl(1, &format!("/v1/kv/b/SECRETKEY?r=3 {header}")), "SECRETVALUE");
    let spans = collector.trace(&trace(3), 7);
    let replicas = named(&spans, "replica get");
    let nodes: BTreeSet<_> = replicas.iter().map(|span| span.node.as_str()).collect();
    assert_eq!(nodes, BTreeSet::from(["node0", "node2"]), "{spans:#?}");
    let calls: BTreeSet<_> = named(&spans, "get").iter().map(|span| span.id.as_str()).collect();
    assert!(replicas.iter().all(|span| calls.contains(&*span.parent)), "{spans:#?}");
    assert!(named(&spans, "sync").is_empty(), "a read waits for no disk: {spans:#?}");

    let wrong = format!("/v1/SECRETKEY/b/SECRETKEY {}", header.replace(&trace(3), &trace(4)));
    dev.curl(2, &wrong);
    let spans = collector.trace(&trace(4), 1);
    assert_eq!(only(&spans, "HTTP").attribute("http.response.status_code"), "404");

    let traces: BTreeSet<_> = collector.spans().into_iter().map(|span| span.trace).collect();
    assert_eq!(traces, BTreeSet::from([2, 3, 4].map(trace)), "only what was asked for");
    let bytes = collector.bytes();
    for secret in ["SECRETKEY", "SECRETVALUE"] {
        let is_told = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
        assert!(!is_told, "{secret} was sent");
    }
}

#[test]
fn without_a_traceparent_the_ratio_decides_and_a_node_that_stops_sends_what_it_has() {
    let collector = Collector::new(0);
    let dir = tempfile::tempdir().expect("a directory");
    let arguments = ["--otlp-endpoint", &collector.url, "--trace-ratio", "1"];
    let mut dev = Dev::with(dir.path(), 1, &arguments);
    dev.ready();
    dev.curl(0, "/healthz");
    let kept_out = put(&dev, 0, "/v1/kv/b/k", 1, "00");
    assert_eq!(traceparent(&kept_out), Some((&*trace(1), CALLER, "00")), "{kept_out}");
    let answer = dev.curl(0, "/v1/kv/b/k -i -X PUT -d v");
    let (id, span, _) = traceparent(&answer).expect("it is traced");
    let id = id.to_owned();
    dev_support::signal(dev.child.id(), "INT");
    assert!(dev.child.wait().expect("it is a child").success());
    let spans = collector.trace(&id, 3);
    let names: Vec<_> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, [PUT, "queue", "coordinate"], "the own replica is in the last of them");
    assert_eq!((spans[0].id.as_str(), spans[0].parent.as_str()), (span, ""));
    let spans = collector.spans();
    assert!(spans.iter().all(|span| span.trace != trace(1)), "the sender said no");
    assert!(named(&spans, "GET /healthz").is_empty(), "probes tell nothing");
}

#[test]
fn without_a_collector_nothing_but_traces_is_lost_and_it_is_said_once() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = free.local_addr().expect("it is bound").port();
    drop(free);
    let dir = tempfile::tempdir().expect("a directory");
    let endpoint = format!("http://127.0.0.1:{port}");
    let arguments = ["--otlp-endpoint", &endpoint, "--trace-ratio", "1"];
    let mut dev = Dev::with(dir.path(), 3, &arguments);
    dev.ready();
    let lost = |dev: &Dev| {
        let metrics = dev.curl(0, "/metrics");
        let line = metrics.lines().find_map(|line| {
            line.strip_prefix("starling_trace_spans_lost_total ")?.parse::<f64>().ok()
        });
        line.expect("it is counted")
    };
    let mut before = 0.0;
    for batch in 1..=3_u32 {
        for _ in 0..5 {
            let begun = Instant::now();
            let answer = put(&dev, 0, "/v1/kv/b/k", batch, "01");
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        }
        dev_support::until("a batch is lost", || lost(&dev) > before);
        before = lost(&dev);
    }
    let collector = Collector::new(port);
    let mut said = Vec::new();
    dev_support::until("it is delivered again", || {
        put(&dev, 0, "/v1/kv/b/k", 9, "01");
        said.extend(dev.err.try_iter());
        said.iter().any(|line| line.contains("node0") && line.contains("delivered again"))
    });
    assert!(!collector.spans().is_empty());
    let warnings = said.iter().filter(|line| line.contains("cannot deliver traces"));
    let of_node0: Vec<_> = warnings.filter(|line| line.contains("node0")).collect();
    assert_eq!(of_node0.len(), 1, "{said:#?}");
    dev_support::signal(dev.child.id(), "INT");
    assert!(dev.child.wait().expect("it is a child").success());
}

#[tokio::test]
async fn a_call_that_was_not_sent_or_was_refused_is_an_error_in_the_trace() {
    let collector = Collector::new(0);
    let address = traces::address(&collector.url).expect("it is a collector");
    let settings = TraceSettings { address, ratio: 0.0 };
    let traces = Traces::start(&settings, "ada", "z").expect("it starts");
    let identity = Identity { cluster: "test".into(), name: "ada".into(), key: None };
    let peers = Peers::new(identity, PeerLimits::default());
    let [bob, eve] = ["bob", "eve"].map(NodeId::of_name);
    let member = Member {
        id: bob,
        name: "bob".into(),
        zone: "z".into(),
        capacity: 1,
        peer_addr: "127.0.0.1:1".into(),
        http_addr: String::new(),
        generation: 1,
        alive: true,
        layout: LayoutId::NONE,
    };
    peers.update(&MembershipView::new(vec![member]));
    let mut steps = Steps::new(traces.clone());
    let caller = TraceContext { trace: [7; 16], span: [8; 8], flags: 1 };
    let queued = Queued::new(&traces, Some(caller));
    let step = steps.takes_request(RequestId(1), queued).expect("it is traced");
    let object = ObjectId { bucket: "b".into(), tag: TypeTag::Kv, key: b"k".to_vec() };
    let get = |op| PeerBody::Get {
        op: OpId(op),
        object: object.clone(),
        query: ReadQuery::Whole,
        digest_only: true,
    };
    let message = |op| PeerMessage { layout: LayoutId::NONE, body: get(op) };
    steps.ends(step, &[Output::Send(bob, message(1)), Output::Send(eve, message(1))]);
    for to in [bob, eve] {
        steps.send(&peers, to, message(1));
    }
    steps.send(&peers, bob, message(2));
    let outcome = Err(Refusal::Misdirected);
    assert!(steps.takes_message(bob, &PeerBody::Got { op: OpId(1), outcome }, None).is_none());
    steps.replies(RequestId(1));
    steps.send(&peers, bob, message(1));
    traces.stop().await;
    let spans = collector.trace(&"07".repeat(16), 4);
    assert_eq!(spans.len(), 4, "none for an operation of no trace, or after the reply: {spans:#?}");
    let calls = named(&spans, "get");
    let told: BTreeSet<_> =
        calls.iter().map(|call| (call.attribute("starling.peer"), call.why.as_str())).collect();
    assert_eq!(told, BTreeSet::from([("bob", "refused"), ("", "not sent")]), "eve is unknown");
}

#[test]
fn a_collector_or_a_ratio_that_cannot_be_is_refused_at_the_start() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("node.toml");
    std::fs::write(&file, "otlp_endpoint = \"collector:4318\"\n").expect("it is written");
    let file = file.display().to_string();
    let endpoint = ["--otlp-endpoint", "http://127.0.0.1:1"];
    let variable = |name: &str, value: &str, more: &[&str]| {
        let mut command = start(dir.path(), more);
        command.env(name, value);
        command
    };
    for (mut command, told) in [
        (start(dir.path(), &["--otlp-endpoint", "collector"]), "--otlp-endpoint: \"collector\""),
        (start(dir.path(), &["--otlp-endpoint", "https://a"]), "TLS"),
        (start(dir.path(), &["--config", &file]), "\"collector:4318\" is no URL of a collector"),
        (
            variable("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://a", &[]),
            "OTEL_EXPORTER_OTLP_ENDPOINT: \"ftp://a\"",
        ),
        (
            start(dir.path(), &[&endpoint[..], &["--trace-ratio", "1.5"]].concat()),
            "--trace-ratio: a number from 0 to 1",
        ),
        (start(dir.path(), &["--trace-ratio", "NaN"]), "--trace-ratio: a number from 0 to 1"),
        (
            variable("OTEL_TRACES_SAMPLER_ARG", "often", &endpoint),
            "OTEL_TRACES_SAMPLER_ARG: a number from 0 to 1",
        ),
    ] {
        let output = command.output().expect("it runs");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(told), "{told:?} is not in {text}");
    }
}
