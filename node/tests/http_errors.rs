//! Every error of the HTTP interface: its status, its stable code, and that nothing was changed.
#![cfg(feature = "server")]

mod http_fake;

use http_fake::Server;
use starling_node::crdt::OpError;
use starling_node::wire::api::{Acks, Failure};
use std::sync::atomic::Ordering;

#[tokio::test]
async fn every_failure_of_the_core_has_its_status_and_code() {
    let server = Server::start().await;
    let acks = Acks { owners: 1, hints: 1, durable: 0 };
    let parameter = Failure::BadParameter { parameter: "r", detail: "4 of 3 replicas".into() };
    let cases = [
        (Failure::Unavailable("2 owners of 3 needed".into()), 503, "unavailable", "1"),
        (Failure::Unknown(acks), 504, "unknown", ""),
        (parameter, 400, "bad_parameter", ""),
        (Failure::Refused(OpError::CounterOverflow), 409, "counter_overflow", ""),
        (
            Failure::Refused(OpError::TooManySiblings { count: 32, limit: 32 }),
            409,
            "too_many_siblings",
            "",
        ),
        (
            Failure::Refused(OpError::TooManyDeferred { count: 1_001, limit: 1_000 }),
            409,
            "too_many_deferred",
            "",
        ),
        (Failure::Refused(OpError::WrongType), 500, "internal", ""),
        (Failure::Refused(OpError::KeyReused), 422, "key_reused", ""),
        (Failure::Overloaded, 429, "overloaded", "1"),
        (Failure::DiskFull, 507, "disk_full", ""),
        (Failure::Corrupt("row 7".into()), 500, "corrupt", ""),
        (Failure::Conflict("formed already".into()), 409, "conflict", ""),
    ];
    for (failure, status, code, retry) in cases {
        let text = failure.to_string();
        *server.node.0.failure.lock().unwrap() = Some(failure);
        for target in ["/v1/kv/b/k", "/v1/counters/b/k", "/v1/sets/b/k", "/v1/flags/b/k"] {
            let answer = server.ask("DELETE", target, "", b"").await;
            assert!(answer.problem(status, code).contains(&text), "{text}");
            assert_eq!(answer.header("retry-after"), retry);
        }
    }
    *server.node.0.failure.lock().unwrap() = Some(Failure::Unknown(Acks::default()));
    assert_eq!(server.get("/v1/kv/b/k").await.json()["acks"]["owners"], 0);
}

#[tokio::test]
async fn more_replicas_than_there_are_is_refused_by_name() {
    let server = Server::start().await;
    let detail = server.get("/v1/kv/b/k?r=4").await.problem(400, "bad_parameter");
    assert!(detail.starts_with("r: "), "{detail}");
    let put = server.ask("PUT", "/v1/kv/b/k?w=4", "", b"x").await;
    assert!(put.problem(400, "bad_parameter").starts_with("w: "));
    server.get("/v1/kv/b/k").await.problem(404, "not_found");
}

#[tokio::test]
async fn bad_parameters_are_named_and_never_reach_the_node() {
    let server = Server::start().await;
    for (target, name) in [
        ("/v1/kv/b/k?r=0", "r"),
        ("/v1/kv/b/k?r=two", "r"),
        ("/v1/kv/b/k?r=1&r=2", "r"),
        ("/v1/kv/b/k?resolve=mine", "resolve"),
        ("/v1/kv/b/k?limit=5", "limit"),
        ("/v1/kv/b/k?nonsense=1", "nonsense"),
        ("/v1/kv/b/k?timeout_ms=99999", "timeout_ms"),
        ("/v1/kv/b/k?max_stale_ms=x", "max_stale_ms"),
        ("/v1/sets/b/k?limit=0", "limit"),
        ("/v1/sets/b/k?limit=1001", "limit"),
        ("/v1/sets/b/k?after=%zz", "after"),
        ("/v1/sets/b/k/%zz", "member"),
        ("/v1/kv/_b/k", "bucket"),
        ("/v1/kv/b%20c/k", "bucket"),
        ("/v1/kv/b/%f", "key"),
        ("/v1/cluster?r=1", "r"),
        ("/v1/explain/kv/b/k?r=1", "r"),
    ] {
        let answer = server.get(target).await;
        assert!(answer.problem(400, "bad_parameter").starts_with(&format!("{name}: ")), "{target}");
        assert_eq!(answer.json()["parameter"], name);
    }
    let long = format!("/v1/kv/b/{}", "k".repeat(1_025));
    server.get(&long).await.problem(400, "bad_parameter");
    server.get(&long[..long.len() - 1]).await.problem(404, "not_found");
    assert_eq!(server.node.0.calls.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn what_is_not_there_says_what_is() {
    let server = Server::start().await;
    server.get("/v1/nonsense").await.problem(404, "unknown_route");
    server.get("/v1/kv/b").await.problem(404, "unknown_route");
    server.get("/favicon.ico").await.problem(404, "unknown_route");
    let detail = server.get("/v1/ledgers/b/k").await.problem(404, "unknown_type");
    assert!(detail.contains("counters"), "{detail}");
    server.get("/v1/explain/ledger/b/k").await.problem(404, "unknown_type");
    let answer = server.ask("PATCH", "/v1/kv/b/k", "", b"").await;
    answer.problem(405, "method_not_allowed");
    assert_eq!(answer.header("allow"), "GET, PUT, DELETE, HEAD");
    for later in ["plan", "join", "leave", "replace", "weights", "sync-point"] {
        let target = format!("/v1/cluster/{later}");
        server.post(&target, "{}").await.problem(501, "not_supported");
    }
    server.post("/v1/batch", "{}").await.problem(501, "not_supported");
}

#[tokio::test]
async fn promises_of_later_versions_are_refused_rather_than_ignored() {
    let server = Server::start().await;
    let later = [
        ("/v1/sets/b/k", "Idempotency-Key: a-1\r\n", &br#"{"add":["m"]}"#[..]),
        ("/v1/boundedcounters/b/k", "Idempotency-Key: a-1\r\n", br#"{"increment":1}"#),
        ("/v1/counters/b/k", "Starling-Session: s\r\n", br#"{"increment":1}"#),
    ];
    for (target, header, body) in later {
        let answer = server.ask("POST", target, header, body).await;
        let detail = answer.problem(501, "not_supported");
        assert!(detail.contains(&header.to_lowercase()[..header.find(':').unwrap()]), "{detail}");
    }
    for property in [r#"{"limits":{}}"#, r#"{"n":2,"indexes":[]}"#] {
        let answer = server.ask("PUT", "/v1/buckets/b", "", property.as_bytes()).await;
        answer.problem(400, "unsupported_property");
    }
    assert_eq!(server.node.0.calls.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_key_is_one_to_255_bytes_and_given_once() {
    let server = Server::start().await;
    let long = format!("Idempotency-Key: {}\r\n", "k".repeat(256));
    let twice = "Idempotency-Key: a\r\nIdempotency-Key: a\r\n";
    for header in ["Idempotency-Key: \r\n", &long, twice] {
        let answer = server.ask("POST", "/v1/counters/b/k", header, br#"{"increment":1}"#).await;
        let detail = answer.problem(400, "bad_parameter");
        assert!(detail.starts_with("Idempotency-Key: "), "{detail}");
    }
    for query in ["", "?type=counter&bucket=b", "?type=counter&bucket=b&key=k&more=1"] {
        server.get(&format!("/v1/ops/a{query}")).await.problem(400, "bad_parameter");
    }
    server.get("/v1/ops/a?type=list&bucket=b&key=k").await.problem(404, "unknown_type");
    server.get("/v1/ops/a?type=set&bucket=b&key=k").await.problem(501, "not_supported");
    assert_eq!(server.node.0.calls.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn malformed_bodies_change_nothing() {
    let server = Server::start().await;
    let counters = [
        "",
        "{",
        "[]",
        "{}",
        "5",
        r#"{"increment":1.5}"#,
        r#"{"increment":"1"}"#,
        r#"{"increment":9223372036854775808}"#,
        r#"{"increment":1,"decrement":1}"#,
        r#"{"increment":1,"reset":true}"#,
        r#"{"reset":false}"#,
        r#"{"increment":1,"incr":1}"#,
        r#"{"increment":1,"increment":2}"#,
        r#"{"increment":1} x"#,
    ];
    let sets = [
        "{}",
        r#"{"add":"a"}"#,
        r#"{"add":[""]}"#,
        r#"{"add":[1]}"#,
        r#"{"add":["a"],"remove":["a"]}"#,
        r#"{"add":[{"base64":"YQ=="}],"remove":["a"]}"#,
        r#"{"ad":["a"]}"#,
    ];
    let flags =
        ["{}", r#"{"enable":false}"#, r#"{"enable":true,"disable":true}"#, r#"{"enable":1}"#];
    let all = counters.iter().map(|body| ("/v1/counters/b/k", *body));
    let all = all.chain(sets.iter().map(|body| ("/v1/sets/b/k", *body)));
    for (target, body) in all.chain(flags.iter().map(|body| ("/v1/flags/b/k", *body))) {
        server.post(target, body).await.problem(400, "malformed_body");
    }
    let apply = server.post("/v1/cluster/apply", r#"{"expect_members":0}"#).await;
    apply.problem(400, "bad_parameter");
    for bad in [r#"{"n":0}"#, r#"{"n":8}"#, r#"{"n":2,"r":3}"#, r#"{"w":0}"#] {
        let answer = server.ask("PUT", "/v1/buckets/b", "", bad.as_bytes()).await;
        answer.problem(400, "bad_parameter");
    }
    for bad in ["", "[]", r#"{"m":1}"#, r#"{"n":"3"}"#, r#"{"resolve":"mine"}"#] {
        let answer = server.ask("PUT", "/v1/buckets/b", "", bad.as_bytes()).await;
        answer.problem(400, "malformed_body");
    }
    assert_eq!(server.node.0.calls.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_context_of_another_object_or_none_at_all_is_malformed() {
    let server = Server::start().await;
    let put = server.ask("PUT", "/v1/kv/b/k", "", b"one").await;
    let good = put.header("starling-context").to_owned();
    let calls = server.node.0.calls.load(Ordering::Relaxed);
    let header = |context: &str| format!("Starling-Context: {context}\r\n");
    for context in ["nonsense", "", "None", &good[1..], &format!("{good}AA"), &"A".repeat(13_000)] {
        let answer = server.ask("PUT", "/v1/kv/b/k", &header(context), b"two").await;
        answer.problem(400, "malformed_context");
    }
    for target in ["/v1/kv/b/other", "/v1/kv/c/k"] {
        let answer = server.ask("PUT", target, &header(&good), b"two").await;
        answer.problem(400, "malformed_context");
    }
    let body = format!(r#"{{"enable":true,"context":"{good}"}}"#);
    server.post("/v1/flags/b/k", &body).await.problem(400, "malformed_context");
    let both = format!(r#"{{"reset":true,"context":"{good}"}}"#);
    let answer = server.ask("POST", "/v1/counters/b/k", &header("none"), both.as_bytes()).await;
    answer.problem(400, "malformed_context");
    assert_eq!(server.node.0.calls.load(Ordering::Relaxed), calls);
    assert_eq!(server.get("/v1/kv/b/k").await.body, b"one");
}

#[tokio::test]
async fn the_thirty_third_sibling_is_refused_with_the_number() {
    let server = Server::start().await;
    for at in 0..32 {
        let value = format!("v{at}");
        let put = server.ask("PUT", "/v1/kv/b/k", "Starling-Context: none\r\n", value.as_bytes());
        assert_eq!(put.await.status, 200);
    }
    let refused = server.ask("PUT", "/v1/kv/b/k", "Starling-Context: none\r\n", b"v").await;
    assert!(refused.problem(409, "too_many_siblings").contains("32"));
    assert_eq!(refused.json()["limit"], 32);
    let all = server.get("/v1/kv/b/k").await;
    assert_eq!(all.json()["siblings"].as_array().unwrap().len(), 32);
}
