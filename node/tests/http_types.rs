//! Maps, remove-wins sets, disable-wins flags and sketches over HTTP.
#![cfg(feature = "server")]

mod http_fake;

use http_fake::{Server, object};
use serde_json::{Value, json};
use starling_node::crdt::{FlagOp, ObjectOp, Observed, SetOp, TypeTag};

async fn post(server: &Server, target: &str, body: Value) -> http_fake::Answer {
    server.ask("POST", target, "", body.to_string().as_bytes()).await
}

#[tokio::test]
async fn fields_of_every_kind_are_changed_together_and_read_back() {
    let server = Server::start().await;
    let update = json!({ "update": {
        "name": { "register": "Ada" },
        "seen": { "mvregister": { "at": 7 } },
        "visits": { "counter": 3 },
        "on": { "flag": true },
        "tags": { "add": ["x", "y"] },
        "address": { "map": { "city": { "register": "Paris" }, "floor": { "counter": -1 } } },
    }});
    let answer = post(&server, "/v1/maps/b/k", update).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["acks"], json!({ "owners": 2, "hints": 1, "durable": 2 }));
    let read = server.get("/v1/maps/b/k").await.json();
    assert_eq!(
        read["value"],
        json!({
            "name": "Ada", "seen": [{ "at": 7 }], "visits": 3, "on": true, "tags": ["x", "y"],
            "address": { "city": "Paris", "floor": -1 },
        })
    );
    assert_eq!(
        read["kinds"],
        json!({
            "name": "register", "seen": "mvregister", "visits": "counter", "on": "flag",
            "tags": "set", "address": "map", "address/city": "register",
            "address/floor": "counter",
        })
    );
    assert_eq!(read["next"], Value::Null);
    let change = json!({
        "update": {
            "visits": { "counter": -5 },
            "tags": { "remove": ["x"] },
            "address": { "map": {}, "remove": ["city"] },
        },
        "remove": ["on", "seen"],
    });
    assert_eq!(post(&server, "/v1/maps/b/k", change).await.status, 200);
    let read = server.get("/v1/maps/b/k").await.json();
    let expected =
        json!({ "name": "Ada", "visits": -2, "tags": ["y"], "address": { "floor": -1 } });
    assert_eq!(read["value"], expected);
    assert_eq!(server.ask("DELETE", "/v1/maps/b/k", "", b"").await.status, 200);
    assert_eq!(server.get("/v1/maps/b/k").await.status, 404);
}

#[tokio::test]
async fn a_change_that_cannot_be_made_names_the_field_and_changes_nothing() {
    let server = Server::start().await;
    let first = json!({ "update": { "a": { "map": { "b": { "register": 1 } } } } });
    post(&server, "/v1/maps/b/k", first).await;
    let before = server.get("/v1/maps/b/k").await.json();
    let mut deep = json!({ "x": { "flag": true } });
    for _ in 0..8 {
        deep = json!({ "m": { "map": deep } });
    }
    let many: Vec<_> = (0..1_001).map(|n| format!("m{n}")).collect();
    let wrong = [
        (json!({}), 400, "malformed_body", "at least one"),
        (json!({ "update": { "a": {} } }), 400, "malformed_body", "a: "),
        (json!({ "update": { "a": { "map": { "b": 7 } } } }), 400, "malformed_body", "a/b: "),
        (json!({ "update": { "c": { "counter": 1.5 } } }), 400, "malformed_body", "64-bit"),
        (
            json!({ "update": { "c": { "register": 1, "flag": true } } }),
            400,
            "malformed_body",
            "c: ",
        ),
        (
            json!({ "update": { "c": { "flag": true } }, "remove": ["c"] }),
            400,
            "malformed_body",
            "c",
        ),
        (
            json!({ "update": { "s": { "add": ["x"], "remove": ["x"] } } }),
            400,
            "malformed_body",
            "s: ",
        ),
        (json!({ "delete": ["c"] }), 400, "malformed_body", "delete"),
        (json!({ "update": { "a": { "register": 1 } } }), 409, "wrong_kind", "a"),
        (
            json!({ "update": {
                "new": { "flag": true }, "a": { "map": { "b": { "counter": 1 } } },
            } }),
            409,
            "wrong_kind",
            "a/b",
        ),
        (json!({ "update": deep }), 409, "too_deep", "8"),
        (json!({ "update": { "s": { "add": many } } }), 413, "too_large", "1000"),
    ];
    for (body, status, code, hint) in wrong {
        let answer = post(&server, "/v1/maps/b/k", body.clone()).await;
        let problem = answer.json();
        assert_eq!((answer.status, &problem["code"]), (status, &json!(code)), "{body}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(hint), "{body}: {problem}");
        let after = server.get("/v1/maps/b/k").await.json();
        assert_eq!(after["value"], before["value"], "{body}");
    }
}

#[tokio::test]
async fn a_removal_wins_over_an_add_that_had_not_seen_it() {
    let server = Server::start().await;
    post(&server, "/v1/rwsets/b/k", json!({ "add": ["ada", "bob"] })).await;
    let remove = SetOp::Update {
        add: Default::default(),
        remove: [b"ada".to_vec()].into(),
        observed: Observed::Here,
    };
    server.node.0.write_elsewhere(&object(TypeTag::RwSet, "b", "k"), &ObjectOp::RwSet(remove));
    assert_eq!(server.get("/v1/rwsets/b/k/ada").await.json()["member"], false);
    let members = server.get("/v1/rwsets/b/k").await.json()["members"].clone();
    assert_eq!(members, json!(["bob"]));
    post(&server, "/v1/rwsets/b/k", json!({ "add": ["ada"] })).await;
    assert_eq!(server.get("/v1/rwsets/b/k/ada").await.json()["member"], true);
}

#[tokio::test]
async fn a_disable_wins_over_an_enable_that_had_not_seen_it() {
    let server = Server::start().await;
    let answer = post(&server, "/v1/dwflags/b/k", json!({ "enable": true })).await;
    assert_eq!(answer.json()["enabled"], true);
    let off = FlagOp::Set { enabled: false, observed: Observed::Nothing };
    server.node.0.write_elsewhere(&object(TypeTag::DwFlag, "b", "k"), &ObjectOp::DwFlag(off));
    assert_eq!(server.get("/v1/dwflags/b/k").await.json()["enabled"], false);
    post(&server, "/v1/dwflags/b/k", json!({ "enable": true })).await;
    assert_eq!(server.get("/v1/dwflags/b/k").await.json()["enabled"], true);
}

#[tokio::test]
async fn a_sketch_counts_distinct_elements() {
    let server = Server::start().await;
    assert_eq!(server.get("/v1/hlls/b/k").await.status, 404);
    for _ in 0..2 {
        let elements: Vec<_> = (0..1_000).map(|n| format!("e{n}")).collect();
        let answer = post(&server, "/v1/hlls/b/k", json!({ "add": elements })).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let estimate = server.get("/v1/hlls/b/k").await.json()["estimate"].as_u64().unwrap();
    assert!((980..=1_020).contains(&estimate), "{estimate} of 1000");
    assert_eq!(post(&server, "/v1/hlls/b/k", json!({ "add": [] })).await.status, 400);
    assert_eq!(server.ask("DELETE", "/v1/hlls/b/k", "", b"").await.status, 200);
    assert_eq!(server.get("/v1/hlls/b/k").await.status, 404);
}
