//! A collector for tests: it takes `POST /v1/traces` and keeps what it was sent.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::{Status, status::StatusCode};
use prost::Message;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

/// A span as a collector gets it.
#[derive(Clone, Debug)]
pub struct Exported {
    /// Which node made it.
    pub node: String,
    pub name: String,
    pub trace: String,
    pub id: String,
    /// Empty at the root.
    pub parent: String,
    pub kind: SpanKind,
    /// Why it is an error; empty when it is none.
    pub why: String,
    /// Unix time, ns.
    pub began: u64,
    pub ended: u64,
    pub attributes: Vec<(String, String)>,
}

impl Exported {
    pub fn attribute(&self, name: &str) -> &str {
        self.attributes.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }
}

/// A collector on loopback.
pub struct Collector {
    pub url: String,
    bodies: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Collector {
    /// On the port `at`, or a free one for 0.
    pub fn new(at: u16) -> Collector {
        let listener = TcpListener::bind(("127.0.0.1", at)).expect("the port is free");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let kept = bodies.clone();
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let kept = kept.clone();
                std::thread::spawn(move || serve(socket, &kept));
            }
        });
        Collector { url, bodies }
    }

    /// Everything it was sent, as it came.
    pub fn bytes(&self) -> Vec<u8> {
        self.bodies.lock().unwrap_or_else(PoisonError::into_inner).concat()
    }

    /// All spans.
    pub fn spans(&self) -> Vec<Exported> {
        let bodies = self.bodies.lock().unwrap_or_else(PoisonError::into_inner);
        bodies.iter().flat_map(|body| decoded(body)).collect()
    }

    /// The spans of `trace`, by their beginning, once there are as many as `count`.
    pub fn trace(&self, trace: &str, count: usize) -> Vec<Exported> {
        let begun = Instant::now();
        loop {
            let mut spans = self.spans();
            spans.retain(|span| span.trace == trace);
            spans.sort_by_key(|span| span.began);
            if spans.len() >= count {
                return spans;
            }
            assert!(begun.elapsed() < PATIENCE, "{count} spans did not come, but {spans:#?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Answers the requests of one connection.
fn serve(socket: TcpStream, kept: &Mutex<Vec<Vec<u8>>>) {
    let mut answers = socket.try_clone().expect("a second handle");
    let mut lines = BufReader::new(socket);
    loop {
        let (mut head, mut length) = (String::new(), 0);
        while !head.ends_with("\r\n\r\n") {
            let begin = head.len();
            if lines.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
            let line = head[begin..].to_ascii_lowercase();
            if let Some(text) = line.strip_prefix("content-length:") {
                length = text.trim().parse().expect("a length");
            }
        }
        let mut body = vec![0; length];
        lines.read_exact(&mut body).expect("the body is whole");
        let is_right = head.starts_with("POST /v1/traces HTTP/1.1\r\n")
            && head.to_ascii_lowercase().contains("content-type: application/x-protobuf\r\n");
        if is_right {
            kept.lock().unwrap_or_else(PoisonError::into_inner).push(body);
        }
        let status = if is_right { "200 OK" } else { "400 Bad Request" };
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        if answers.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn decoded(body: &[u8]) -> Vec<Exported> {
    let request = ExportTraceServiceRequest::decode(body).expect("it is OTLP");
    let mut spans = Vec::new();
    for of_node in request.resource_spans {
        let resource = pairs(of_node.resource.map(|resource| resource.attributes));
        let about = |name: &str| {
            resource.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
        };
        assert_eq!(about("service.name").as_deref(), Some("starling"));
        let node = about("service.instance.id").expect("the node says who it is");
        for span in of_node.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            spans.push(Exported {
                node: node.clone(),
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                kind: span.kind(),
                why: span.status.map(error).unwrap_or_default(),
                began: span.start_time_unix_nano,
                ended: span.end_time_unix_nano,
                attributes: pairs(Some(span.attributes)),
                name: span.name,
            });
        }
    }
    spans
}

fn error(status: Status) -> String {
    let is_error = status.code() == StatusCode::Error;
    if is_error { status.message } else { String::new() }
}

fn pairs(attributes: Option<Vec<KeyValue>>) -> Vec<(String, String)> {
    let text = |value: Option<AnyValue>| match value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => panic!("an attribute of another kind: {other:?}"),
    };
    let attributes = attributes.unwrap_or_default();
    attributes.into_iter().map(|pair| (pair.key, text(pair.value))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
