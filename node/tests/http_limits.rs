//! What one client cannot do to a node: floods, endless bodies and idle connections are cut off
//! with an answer where one can still be sent, and the node goes on serving.
#![cfg(feature = "server")]
// Speaks to a server over sockets and through tools.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod http_fake;

use http_fake::{Answer, Server};
use starling_node::server::http::Limits;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn hasty() -> Limits {
    let short = Duration::from_millis(300);
    Limits { header_timeout: short, body_timeout: short, ..Limits::default() }
}

/// Reads to the end of the connection, or fails the test after five seconds.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut bytes)).await;
    // A reset counts as an end.
    let _ = read.expect("the server closes the connection");
    bytes
}

async fn still_serves(server: &Server) {
    assert_eq!(server.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn a_value_over_the_limit_is_refused_with_the_number_and_one_at_it_taken() {
    let server = Server::start().await;
    let mib = 1 << 20;
    assert_eq!(server.ask("PUT", "/v1/kv/b/k", "", &vec![7; mib]).await.status, 200);
    let refused = server.ask("PUT", "/v1/kv/b/k", "", &vec![8; mib + 1]).await;
    refused.problem(413, "too_large");
    assert_eq!(refused.json()["limit"], mib);
    assert_eq!(server.get("/v1/kv/b/k").await.body, vec![7; mib]);
}

#[tokio::test]
async fn a_length_that_is_announced_is_refused_before_it_is_sent() {
    let server = Server::start().await;
    let head = "PUT /v1/kv/b/k HTTP/1.1\r\nHost: n\r\nExpect: 100-continue\r\n";
    let began = Instant::now();
    let answer = server.raw(format!("{head}Content-Length: 99999999999\r\n\r\n").as_bytes()).await;
    answer.problem(413, "too_large");
    assert!(began.elapsed() < Duration::from_secs(1));
    still_serves(&server).await;
}

#[tokio::test]
async fn a_chunked_body_without_end_is_cut_off() {
    let server = Server::start().await;
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    let head = "PUT /v1/kv/b/k HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut chunk = b"10000\r\n".to_vec();
    chunk.resize(chunk.len() + 0x10000, b'x');
    chunk.extend_from_slice(b"\r\n");
    let mut sent = 0;
    while sent < 64 << 20 && stream.write_all(&chunk).await.is_ok() {
        sent += 0x10000;
    }
    assert!(sent < 64 << 20, "the server took {sent} bytes");
    server.get("/v1/kv/b/k").await.problem(404, "not_found");
}

#[tokio::test]
async fn a_chunked_body_over_the_limit_that_ends_gets_its_answer() {
    let server = Server::start().await;
    let head = "PUT /v1/kv/b/k HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut request = head.as_bytes().to_vec();
    for _ in 0..20 {
        request.extend_from_slice(b"10000\r\n");
        request.resize(request.len() + 0x10000, b'x');
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"0\r\n\r\n");
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    stream.write_all(&request).await.unwrap();
    let mut answer = vec![0; 4_096];
    let count = stream.read(&mut answer).await.unwrap();
    Answer::parse(&answer[..count]).problem(413, "too_large");
}

#[tokio::test]
async fn json_bodies_and_members_have_limits() {
    let server = Server::start().await;
    let long = format!(r#"{{"increment":1,"context":"{}"}}"#, "A".repeat(70_000));
    server.post("/v1/counters/b/k", &long).await.problem(413, "too_large");
    let members = |count: usize| {
        let all: Vec<_> = (0..count).map(|at| at.to_string()).collect();
        serde_json::json!({ "add": all }).to_string()
    };
    assert_eq!(server.post("/v1/sets/b/k", &members(1_000)).await.status, 200);
    let refused = server.post("/v1/sets/b/k", &members(1_001)).await;
    refused.problem(413, "too_large");
    assert_eq!(refused.json()["limit"], 1_000);
    let longest = serde_json::json!({ "add": vec!["m".repeat(1_024); 1_000] }).to_string();
    assert_eq!(server.post("/v1/sets/b/k2", &longest).await.status, 200);
    let deep = format!(r#"{{"add":{}"#, "[".repeat(100_000));
    server.post("/v1/sets/b/k", &deep).await.problem(400, "malformed_body");
}

#[tokio::test]
async fn floods_of_headers_are_refused() {
    let server = Server::start().await;
    let many: String = (0..101).map(|at| format!("x-{at}: 1\r\n")).collect();
    server.ask("GET", "/healthz", &many, b"").await.problem(431, "headers_too_large");
    let long = format!("x-long: {}\r\n", "x".repeat(17 << 10));
    server.ask("GET", "/healthz", &long, b"").await.problem(431, "headers_too_large");
    let endless = format!("GET /{}", "x".repeat(40 << 10));
    server.raw(endless.as_bytes()).await.problem(431, "headers_too_large");
    still_serves(&server).await;
}

#[tokio::test]
async fn what_is_not_http_is_told_so_unless_an_answer_could_be_taken_for_another() {
    let server = Server::start().await;
    server.raw(b"EHLO mail\r\n\r\n").await.problem(400, "malformed_request");
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: n\r\n\r\nnonsense\r\n\r\n").await.unwrap();
    let answers = String::from_utf8(rest(&mut stream).await).unwrap();
    assert!(!answers.contains("HTTP/1.1 400"), "{answers}");
    still_serves(&server).await;
}

#[tokio::test]
async fn headers_that_never_end_are_cut_off() {
    let server = Server::with(hasty()).await;
    for beginning in ["GET / HTTP/1.1\r\nHost: n\r\nx-slow: ", "P", "PRI * HT", ""] {
        let mut stream = TcpStream::connect(server.addr).await.unwrap();
        stream.write_all(beginning.as_bytes()).await.unwrap();
        let answered = rest(&mut stream).await;
        assert!(!answered.starts_with(b"HTTP/1.1 200"), "{beginning:?}");
    }
    still_serves(&server).await;
}

#[tokio::test]
async fn a_body_that_trickles_is_given_up() {
    let server = Server::with(hasty()).await;
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    let head = "PUT /v1/kv/b/k HTTP/1.1\r\nHost: n\r\nContent-Length: 100\r\n\r\nx";
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = rest(&mut stream).await;
    Answer::parse(&answer).problem(408, "body_timeout");
    server.get("/v1/kv/b/k").await.problem(404, "not_found");
}

#[tokio::test]
async fn a_body_cut_short_changes_nothing() {
    let server = Server::start().await;
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    let head = "PUT /v1/kv/b/k HTTP/1.1\r\nHost: n\r\nContent-Length: 100\r\n\r\nx";
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    rest(&mut stream).await;
    server.get("/v1/kv/b/k").await.problem(404, "not_found");
}

#[tokio::test]
async fn bodies_together_hold_no_more_than_their_share() {
    let limits = Limits { bodies_bytes_max: 64 << 10, ..Limits::default() };
    let server = Server::with(limits).await;
    let answer = server.ask("PUT", "/v1/kv/b/k", "", &[7; 100 << 10]).await;
    answer.problem(429, "overloaded");
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(server.ask("PUT", "/v1/kv/b/k", "", &[7; 60 << 10]).await.status, 200);
    assert_eq!(server.ask("PUT", "/v1/kv/b/k", "", &[7; 60 << 10]).await.status, 200);
}

#[tokio::test]
async fn connections_over_the_cap_wait_for_a_place() {
    let limits = Limits { connections_max: 2, ..Limits::default() };
    let server = Server::with(limits).await;
    let first = TcpStream::connect(server.addr).await.unwrap();
    let _second = TcpStream::connect(server.addr).await.unwrap();
    let waiting = tokio::time::timeout(Duration::from_millis(300), server.get("/healthz")).await;
    assert!(waiting.is_err(), "a third connection was served");
    drop(first);
    still_serves(&server).await;
}

#[tokio::test]
async fn a_connection_is_kept_and_requests_on_it_are_pipelined() {
    let server = Server::start().await;
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    let one =
        "POST /v1/counters/b/k HTTP/1.1\r\nHost: n\r\nContent-Length: 15\r\n\r\n{\"increment\":1}";
    let last = "GET /v1/counters/b/k HTTP/1.1\r\nHost: n\r\nConnection: close\r\n\r\n";
    stream.write_all((one.repeat(50) + last).as_bytes()).await.unwrap();
    let answers = String::from_utf8(rest(&mut stream).await).unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 51);
    assert!(answers.rsplit("\r\n").next().unwrap().contains("\"value\":50"), "{answers}");
}

#[tokio::test]
async fn http_2_is_spoken_on_the_same_port() {
    use http_body_util::{BodyExt, Full};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let server = Server::start().await;
    let stream = TcpStream::connect(server.addr).await.unwrap();
    let io = TokioIo::new(stream);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let target = format!("http://{}/v1/kv/b/k", server.addr);
    let put = hyper::Request::put(&target).body(Full::new(bytes::Bytes::from("two"))).unwrap();
    let answer = sender.send_request(put).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.version()), (200, hyper::Version::HTTP_2));
    let get = hyper::Request::get(&target).body(Full::default()).unwrap();
    let answer = sender.send_request(get).await.unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "two");
    let head = hyper::Request::head(&target).body(Full::default()).unwrap();
    let answer = sender.send_request(head).await.unwrap();
    assert_eq!(answer.headers()["content-length"], "3");
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "");
}

#[tokio::test]
async fn a_stop_lets_idle_connections_go_and_ends() {
    let server = Server::start().await;
    let mut idle = TcpStream::connect(server.addr).await.unwrap();
    let ask = "GET /healthz HTTP/1.1\r\nHost: n\r\n\r\n";
    idle.write_all(ask.as_bytes()).await.unwrap();
    let mut answer = [0; 4_096];
    assert!(idle.read(&mut answer).await.unwrap() > 0);
    let _silent = TcpStream::connect(server.addr).await.unwrap();
    server.stop();
    let ended = tokio::time::timeout(Duration::from_secs(5), server.task).await;
    ended.expect("the server ends").unwrap().unwrap();
    assert!(rest(&mut idle).await.is_empty());
}
