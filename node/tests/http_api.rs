//! Requests and answers of the HTTP interface as people write and read them.
#![cfg(feature = "server")]

mod http_fake;

use http_fake::{Server, object};
use serde_json::json;
use starling_node::crdt::{KvOp, ObjectOp, Observed, SetOp, TypeTag};
use std::sync::atomic::Ordering;

#[tokio::test]
async fn a_value_comes_back_as_it_was_written() {
    let server = Server::start().await;
    let target = "/v1/kv/photos/a%2Fb%00%FF";
    let put = server.ask("PUT", target, "Content-Type: image/png\r\n", b"\x00\xffpng").await;
    assert_eq!(put.status, 200, "{put:?}");
    assert_eq!(put.header("starling-acks"), "owners=2 hints=1 durable=2");
    assert_eq!(put.json()["acks"], json!({"owners": 2, "hints": 1, "durable": 2}));
    assert_eq!(put.json()["context"], put.header("starling-context"));
    let get = server.get(target).await;
    assert_eq!((get.status, get.body.as_slice()), (200, b"\x00\xffpng".as_slice()));
    assert_eq!(get.header("content-type"), "image/png");
    assert_eq!(get.header("starling-read"), "asked=2 answered=2 repaired=0");
    assert!(!get.header("starling-context").is_empty());
    let put = server.ask("PUT", "/v1/kv/photos/plain", "", b"").await;
    assert_eq!(put.status, 200);
    let get = server.get("/v1/kv/photos/plain").await;
    assert_eq!(get.header("content-type"), "application/octet-stream");
    assert_eq!(get.body, b"");
}

#[tokio::test]
async fn head_answers_as_get_without_the_body() {
    let server = Server::start().await;
    server.ask("PUT", "/v1/kv/b/k", "", b"value").await;
    let head = server.ask("HEAD", "/v1/kv/b/k", "", b"").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), "5");
    let absent = server.ask("HEAD", "/v1/kv/b/absent", "", b"").await;
    assert_eq!((absent.status, absent.body.len()), (404, 0));
}

#[tokio::test]
async fn concurrent_writes_are_siblings_until_a_context_supersedes_them() {
    let server = Server::start().await;
    server.ask("PUT", "/v1/kv/b/k", "Content-Type: text/plain\r\n", b"one").await;
    let put = KvOp::Put {
        value: b"two".to_vec(),
        content_type: "text/plain".into(),
        observed: Observed::Nothing,
    };
    server.node.0.write_elsewhere(&object(TypeTag::Kv, "b", "k"), &ObjectOp::Kv(put));
    let both = server.get("/v1/kv/b/k").await;
    assert_eq!(both.status, 300);
    let siblings = both.json()["siblings"].as_array().unwrap().clone();
    let values: Vec<_> = siblings.iter().map(|one| one["value_base64"].as_str().unwrap()).collect();
    assert!(values.contains(&"b25l") && values.contains(&"dHdv"), "{values:?}");
    assert!(siblings.iter().any(|one| one["written_at"] == "2025-11-22T14:40:00.007Z"));
    assert_eq!(both.json()["context"], both.header("starling-context"));
    let latest = server.get("/v1/kv/b/k?resolve=lww").await;
    assert_eq!((latest.status, latest.body.as_slice()), (200, b"two".as_slice()));
    let context = format!("Starling-Context: {}\r\n", both.header("starling-context"));
    server.ask("PUT", "/v1/kv/b/k", &context, b"both").await;
    assert_eq!(server.get("/v1/kv/b/k").await.body, b"both");
}

#[tokio::test]
async fn a_bucket_that_resolves_by_time_never_answers_siblings() {
    let server = Server::start().await;
    let put = server.ask("PUT", "/v1/buckets/b", "", br#"{"resolve":"lww","n":3,"w":1}"#).await;
    let props = json!({
        "n": 3, "r": "quorum", "w": 1, "sloppy": true, "durability": "sync", "resolve": "lww"
    });
    assert_eq!((put.status, put.json()), (200, props.clone()));
    assert_eq!(server.get("/v1/buckets/b").await.json(), props);
    server.ask("PUT", "/v1/kv/b/k", "", b"one").await;
    server.ask("PUT", "/v1/kv/b/k", "Starling-Context: none\r\n", b"two").await;
    assert_eq!(server.get("/v1/kv/b/k").await.body, b"two");
    assert_eq!(server.get("/v1/kv/b/k?resolve=siblings").await.status, 300);
    let gone = server.ask("DELETE", "/v1/buckets/b", "", b"").await;
    assert_eq!(gone.json()["resolve"], "siblings");
}

#[tokio::test]
async fn a_removed_value_is_absent_and_says_what_was_seen() {
    let server = Server::start().await;
    let never = server.get("/v1/kv/b/k").await;
    never.problem(404, "not_found");
    assert_eq!(never.header("starling-context"), "");
    server.ask("PUT", "/v1/kv/b/k", "", b"one").await;
    let delete = server.ask("DELETE", "/v1/kv/b/k", "", b"").await;
    assert_eq!((delete.status, delete.json()["acks"]["owners"].as_u64()), (200, Some(2)));
    let gone = server.get("/v1/kv/b/k").await;
    gone.problem(404, "not_found");
    assert!(!gone.header("starling-context").is_empty());
    assert_eq!(gone.header("starling-read"), "asked=2 answered=2 repaired=0");
}

#[tokio::test]
async fn a_removal_covers_only_what_its_context_has_seen() {
    let server = Server::start().await;
    let first = server.ask("PUT", "/v1/kv/b/k", "", b"one").await;
    let seen = format!("Starling-Context: {}\r\n", first.header("starling-context"));
    server.ask("PUT", "/v1/kv/b/k", "Starling-Context: none\r\n", b"two").await;
    assert_eq!(server.ask("DELETE", "/v1/kv/b/k", &seen, b"").await.status, 200);
    assert_eq!(server.get("/v1/kv/b/k").await.body, b"two");
    assert_eq!(
        server.ask("DELETE", "/v1/kv/b/k", "Starling-Context: none\r\n", b"").await.status,
        200
    );
    assert_eq!(server.get("/v1/kv/b/k").await.body, b"two");
}

#[tokio::test]
async fn counters_add_up_and_reset() {
    let server = Server::start().await;
    let visits = "/v1/counters/b/visits";
    server.get(visits).await.problem(404, "not_found");
    assert_eq!(server.post(visits, r#"{"increment":5}"#).await.json()["value"], 5);
    assert_eq!(server.post(visits, r#"{"decrement":2}"#).await.json()["value"], 3);
    let seen = server.get(visits).await;
    assert_eq!((seen.status, seen.json()["value"].as_i64()), (200, Some(3)));
    server.post(visits, r#"{"increment":10}"#).await;
    let context = seen.json()["context"].as_str().unwrap().to_owned();
    let reset = json!({ "reset": true, "context": context }).to_string();
    assert_eq!(server.post(visits, &reset).await.json()["value"], 10);
    assert_eq!(server.post(visits, r#"{"reset":true}"#).await.json()["value"], 0);
    assert_eq!(server.get(visits).await.json()["value"], 0);
    let low = format!(r#"{{"decrement":{}}}"#, i64::MAX);
    assert_eq!(server.post(visits, &low).await.json()["value"], -i64::MAX);
    assert_eq!(server.post(visits, r#"{"increment":-1}"#).await.json()["value"], i64::MIN);
    server.post(visits, r#"{"decrement":1}"#).await.problem(409, "counter_overflow");
    assert_eq!(server.get(visits).await.json()["value"], i64::MIN);
    assert_eq!(server.ask("DELETE", visits, "", b"").await.status, 200);
    server.get(visits).await.problem(404, "not_found");
}

#[tokio::test]
async fn a_set_is_read_in_pages_and_asked_for_members() {
    let server = Server::start().await;
    let guests = "/v1/sets/b/guests";
    server.get(guests).await.problem(404, "not_found");
    server.get(&format!("{guests}/ada")).await.problem(404, "not_found");
    let add = r#"{"add":["ada","grace","bob","b c",{"base64":"/w=="}]}"#;
    let added = server.post(guests, add).await;
    assert_eq!((added.status, added.json()["acks"]["durable"].as_u64()), (200, Some(2)));
    let all = server.get(guests).await.json();
    assert_eq!(all["members"], json!(["ada", "b c", "bob", "grace", {"base64": "/w=="}]));
    assert_eq!((&all["count"], &all["next"]), (&json!(5), &json!(null)));
    let page = server.get(&format!("{guests}?limit=2")).await.json();
    assert_eq!((&page["members"], &page["next"]), (&json!(["ada", "b c"]), &json!("b c")));
    let page = server.get(&format!("{guests}?limit=2&after=b+c")).await.json();
    assert_eq!(page["members"], json!(["bob", "grace"]));
    let page = server.get(&format!("{guests}?prefix=b")).await.json();
    assert_eq!(page["members"], json!(["b c", "bob"]));
    let none = server.get(&format!("{guests}?prefix=zz")).await;
    assert_eq!((none.status, &none.json()["members"]), (200, &json!([])));
    for (member, there) in [("b%20c", true), ("%FF", true), ("carol", false)] {
        let answer = server.get(&format!("{guests}/{member}")).await;
        assert_eq!((answer.status, answer.json()), (200, json!({ "member": there })));
    }
    server.post(guests, r#"{"remove":["ada"],"add":["dan"]}"#).await;
    let ada = server.get(&format!("{guests}/ada")).await.json();
    assert_eq!(ada, json!({ "member": false }));
    server.ask("DELETE", guests, "", b"").await;
    server.get(guests).await.problem(404, "not_found");
}

#[tokio::test]
async fn an_add_that_a_removal_has_not_seen_survives_it() {
    let server = Server::start().await;
    let guests = "/v1/sets/b/guests";
    let seen = server.post(guests, r#"{"add":["ada"]}"#).await;
    let add = SetOp::Update {
        add: [b"ada".to_vec()].into(),
        remove: Default::default(),
        observed: Observed::Here,
    };
    server.node.0.write_elsewhere(&object(TypeTag::Set, "b", "guests"), &ObjectOp::Set(add));
    let context = seen.json()["context"].as_str().unwrap().to_owned();
    let remove = json!({ "remove": ["ada"], "context": context }).to_string();
    assert_eq!(server.post(guests, &remove).await.status, 200);
    assert_eq!(server.get(guests).await.json()["members"], json!(["ada"]));
}

#[tokio::test]
async fn flags_go_on_and_off_and_away() {
    let server = Server::start().await;
    let beta = "/v1/flags/b/beta";
    server.get(beta).await.problem(404, "not_found");
    assert_eq!(server.post(beta, r#"{"enable":true}"#).await.json()["enabled"], true);
    assert_eq!(server.get(beta).await.json()["enabled"], true);
    assert_eq!(server.post(beta, r#"{"disable":true}"#).await.json()["enabled"], false);
    assert_eq!(server.get(beta).await.json()["enabled"], false);
    server.ask("DELETE", beta, "", b"").await;
    server.get(beta).await.problem(404, "not_found");
}

#[tokio::test]
async fn the_cluster_is_shown_and_its_first_layout_formed() {
    let server = Server::start().await;
    let before = server.get("/v1/cluster").await.json();
    assert_eq!((&before["layout"], &before["ready"]), (&json!(null), &json!(false)));
    server.post("/v1/cluster/apply", r#"{"expect_members":3}"#).await.problem(409, "conflict");
    let formed = server.ask("POST", "/v1/cluster/apply", "", b"").await.json();
    assert_eq!((&formed["ready"], &formed["layout"]["version"]), (&json!(true), &json!(1)));
    let member = &server.get("/v1/cluster").await.json()["members"][0];
    assert_eq!(member["name"], "n0");
    assert_eq!((&member["alive"], &member["partitions"]), (&json!(true), &json!(1_024)));
}

#[tokio::test]
async fn explain_says_why_for_every_type_and_shows_no_values() {
    let server = Server::start().await;
    server.ask("PUT", "/v1/kv/b/k", "", b"hush").await;
    server.post("/v1/counters/b/k", r#"{"increment":5}"#).await;
    server.post("/v1/sets/b/k", r#"{"add":["m"]}"#).await;
    server.post("/v1/flags/b/k", r#"{"enable":true}"#).await;
    for (name, why) in [
        ("kv", "one write is live"),
        ("counters", "5 is the sum"),
        ("set", "a member"),
        ("flag", "on: "),
    ] {
        let answer = server.get(&format!("/v1/explain/{name}/b/k")).await;
        assert_eq!(answer.status, 200);
        let text = answer.text();
        assert!(!text.contains("hush") && !text.contains("aHVzaA"), "{text}");
        let explained = answer.json();
        assert!(explained["why"].as_str().unwrap().starts_with(why), "{text}");
        assert_eq!(explained["replicas"][0]["node"], "n0");
        assert_eq!(explained["replicas"][0]["live"].as_array().unwrap().len(), 1);
        assert_eq!(explained["silent"], json!(["n1"]));
    }
    let never = server.get("/v1/explain/kv/b/never").await.json();
    assert!(never["why"].as_str().unwrap().contains("no replica that answered"));
}

#[tokio::test]
async fn liveness_and_readiness_are_told_apart() {
    let server = Server::start().await;
    assert_eq!(server.get("/readyz").await.json(), json!({ "ready": true }));
    server.node.0.not_ready.store(true, Ordering::Relaxed);
    server.get("/readyz").await.problem(503, "not_ready");
    assert_eq!(server.get("/healthz").await.json(), json!({ "status": "ok", "node": "n0" }));
}

#[tokio::test]
async fn the_page_and_the_description_are_served_and_need_nothing_else() {
    let server = Server::start().await;
    let page = server.get("/").await;
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    let text = page.text();
    assert!(!text.contains("http://") && !text.contains("https://"), "it loads from elsewhere");
    let document = server.get("/openapi.json").await;
    assert_eq!(document.json()["openapi"], "3.1.0");
}

#[tokio::test]
async fn a_trace_context_comes_back() {
    let server = Server::start().await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let answer = server.ask("GET", "/healthz", &format!("traceparent: {trace}\r\n"), b"").await;
    assert_eq!(answer.header("traceparent"), trace);
    let answer = server.ask("GET", "/healthz", "traceparent: 00-nonsense-01\r\n", b"").await;
    assert_eq!(answer.header("traceparent"), "");
}

/// What the fake node's clock and a time to live of 90 s come to.
const IN_90_S: &str = "2025-11-22T14:41:31.000Z";

#[tokio::test]
async fn a_write_says_when_its_object_goes_and_every_answer_repeats_it() {
    let server = Server::start().await;
    for (method, target, body) in [
        ("PUT", "/v1/kv/b/k", "value"),
        ("POST", "/v1/counters/b/k", r#"{"increment":5}"#),
        ("POST", "/v1/sets/b/k", r#"{"add":["ada"]}"#),
        ("POST", "/v1/rwsets/b/k", r#"{"add":["ada"]}"#),
        ("POST", "/v1/flags/b/k", r#"{"enable":true}"#),
        ("POST", "/v1/dwflags/b/k", r#"{"enable":true}"#),
        ("POST", "/v1/hlls/b/k", r#"{"add":["ada"]}"#),
    ] {
        let with = format!("{target}?ttl_seconds=90");
        let written = server.ask(method, &with, "", body.as_bytes()).await;
        assert_eq!(
            (written.status, written.header("starling-expires")),
            (200, IN_90_S),
            "{target}"
        );
        assert_eq!(server.get(target).await.header("starling-expires"), IN_90_S);
        let stays = format!("{target}?persist=true");
        let written = server.ask(method, &stays, "", body.as_bytes()).await;
        assert_eq!((written.status, written.header("starling-expires")), (200, ""), "{target}");
        assert_eq!(server.get(target).await.header("starling-expires"), "");
    }
}

#[tokio::test]
async fn the_expiry_of_what_is_there_is_read_and_changed() {
    let server = Server::start().await;
    let target = "/v1/expiry/set/b/k";
    let minute = br#"{"ttl_seconds":90}"#;
    server.ask("PUT", target, "", minute).await.problem(404, "not_found");
    server.get(target).await.problem(404, "not_found");
    server.post("/v1/sets/b/k", r#"{"add":["ada"]}"#).await;
    let none = server.get(target).await;
    assert_eq!((none.status, &none.json()["ttl_seconds"]), (200, &json!(null)));
    assert_eq!(none.json()["expires_at"], json!(null));
    let put = server.ask("PUT", target, "", minute).await;
    assert_eq!((put.status, &put.json()["expires_at"]), (200, &json!(IN_90_S)));
    assert_eq!(put.json()["acks"], json!({"owners": 2, "hints": 1, "durable": 2}));
    let get = server.get(target).await;
    assert_eq!(
        (&get.json()["ttl_seconds"], &get.json()["expires_at"]),
        (&json!(91), &json!(IN_90_S))
    );
    assert_eq!(server.get("/v1/sets/b/k").await.json()["members"], json!(["ada"]));
    let put = server.ask("PUT", target, "", br#"{"persist":true}"#).await;
    assert_eq!((put.status, &put.json()["expires_at"]), (200, &json!(null)));
    assert_eq!(server.get(target).await.json()["ttl_seconds"], json!(null));
}

#[tokio::test]
async fn an_impossible_expiry_is_refused_by_name_and_changes_nothing() {
    let server = Server::start().await;
    for query in [
        "ttl_seconds=0",
        "ttl_seconds=315360001",
        "ttl_seconds=-1",
        "ttl_seconds=soon",
        "persist=yes",
        "persist=false",
        "ttl_seconds=5&persist=true",
    ] {
        let put = server.ask("PUT", &format!("/v1/kv/b/k?{query}"), "", b"value").await;
        put.problem(400, "bad_parameter");
    }
    let get = server.get("/v1/kv/b/k?ttl_seconds=5").await;
    get.problem(400, "bad_parameter");
    server.get("/v1/kv/b/k").await.problem(404, "not_found");
    server.ask("PUT", "/v1/kv/b/k", "", b"value").await;
    for body in ["{}", r#"{"ttl_seconds":5,"persist":true}"#, r#"{"persist":false}"#, "[]"] {
        let put = server.ask("PUT", "/v1/expiry/kv/b/k", "", body.as_bytes()).await;
        put.problem(400, "malformed_body");
    }
    let put = server.ask("PUT", "/v1/expiry/kv/b/k", "", br#"{"ttl_seconds":0}"#).await;
    put.problem(400, "bad_parameter");
    server.ask("PUT", "/v1/expiry/list/b/k", "", b"{}").await.problem(404, "unknown_type");
    assert_eq!(server.get("/v1/kv/b/k").await.header("starling-expires"), "");
}

#[tokio::test]
async fn a_bucket_takes_a_time_to_live_and_shows_it() {
    let server = Server::start().await;
    let put = server.ask("PUT", "/v1/buckets/b", "", br#"{"ttl_seconds":3600}"#).await;
    assert_eq!((put.status, &put.json()["ttl_seconds"]), (200, &json!(3_600)));
    assert_eq!(server.get("/v1/buckets/b").await.json()["ttl_seconds"], json!(3_600));
    for ttl in ["0", "315360001", "-1"] {
        let body = format!(r#"{{"ttl_seconds":{ttl}}}"#);
        let put = server.ask("PUT", "/v1/buckets/b", "", body.as_bytes()).await;
        assert_eq!(put.status, 400, "{ttl}");
    }
    assert_eq!(server.get("/v1/buckets/b").await.json()["ttl_seconds"], json!(3_600));
}

#[tokio::test]
async fn bounded_counters_are_taken_from_by_rights_and_cannot_be_removed() {
    let server = Server::start().await;
    let stock = "/v1/boundedcounters/shop/stock";
    server.get(stock).await.problem(404, "not_found");
    let refused = server.post(stock, r#"{"decrement":1}"#).await;
    refused.problem(409, "insufficient_rights");
    let added = server.post(stock, r#"{"increment":5}"#).await;
    assert_eq!((added.status, &added.json()["value"]), (200, &json!(5)));
    assert_eq!(added.json()["acks"], json!({"owners": 2, "hints": 1, "durable": 2}));
    assert_eq!(server.post(stock, r#"{"decrement":2}"#).await.json()["value"], 3);
    let refused = server.post(stock, r#"{"decrement":4}"#).await;
    refused.problem(409, "insufficient_rights");
    assert_eq!((&refused.json()["local"], &refused.json()["global"]), (&json!(3), &json!(3)));
    for wrong in [
        r#"{"increment":-1}"#,
        r#"{"decrement":-1}"#,
        r#"{"increment":1,"decrement":1}"#,
        r#"{"reset":true}"#,
        "{}",
    ] {
        assert_eq!(server.post(stock, wrong).await.status, 400, "{wrong}");
    }
    let most = format!(r#"{{"increment":{}}}"#, i64::MAX);
    server.post(stock, &most).await.problem(409, "counter_overflow");
    server.ask("DELETE", stock, "", b"").await.problem(409, "not_removable");
    let read = server.get(stock).await;
    assert_eq!((read.status, &read.json()["value"]), (200, &json!(3)));
    assert_eq!(read.json()["context"], read.header("starling-context"));
    let explained = server.get("/v1/explain/boundedcounter/shop/stock").await.json();
    let ledger = &explained["value"]["ledgers"][0];
    assert_eq!((&ledger["up"], &ledger["used"]), (&json!("5"), &json!("2")));
    assert_eq!(ledger["rights"], "3");
    let sums = json!({ "usable": "3", "resting": "0", "unheard": "0" });
    assert_eq!(explained["rights"], sums);
}

#[tokio::test]
async fn scores_are_set_and_added_to_and_read_in_their_order() {
    let server = Server::start().await;
    let board = "/v1/zsets/b/board";
    server.get(board).await.problem(404, "not_found");
    let body = r#"{"add":[{"member":"ada","score":10},{"member":"bob","score":-1.5}],
        "increment":[{"member":"carl","by":2.5},{"member":"dora"},{"member":"eve","score":2}]}"#;
    let post = server.post(board, body).await;
    assert_eq!((post.status, post.header("starling-acks")), (200, "owners=2 hints=1 durable=2"));
    assert_eq!(post.json()["acks"], json!({"owners": 2, "hints": 1, "durable": 2}));
    let names = |answer: &http_fake::Answer| {
        let members = answer.json()["members"].as_array().unwrap().clone();
        let names = members.iter().map(|one| one["member"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>().join(" ")
    };
    let get = server.get(board).await;
    assert_eq!(get.json()["members"][0], json!({ "member": "bob", "score": -1.5 }));
    assert_eq!(get.json()["next"], json!(null));
    assert_eq!(names(&get), "bob dora eve carl ada");
    let desc = server.get(&format!("{board}?desc=true")).await;
    assert_eq!(names(&desc), "ada carl eve dora bob");
    let by_member = server.get(&format!("{board}?order=member")).await;
    assert_eq!(names(&by_member), "ada bob carl dora eve");
    let member = server.get(&format!("{board}/carl")).await;
    assert_eq!((member.status, member.json()), (200, json!({ "member": "carl", "score": 2.5 })));
    server.get(&format!("{board}/zoe")).await.problem(404, "not_found");
}

#[tokio::test]
async fn a_member_is_removed_as_far_as_it_was_seen() {
    let server = Server::start().await;
    let board = "/v1/zsets/b/board";
    server.post(board, r#"{"increment":[{"member":"ada","by":5}]}"#).await;
    let seen = server.get(board).await.json()["context"].as_str().unwrap().to_owned();
    server.post(board, r#"{"increment":[{"member":"ada","by":3}]}"#).await;
    let remove = json!({ "remove": ["ada"], "context": seen }).to_string();
    assert_eq!(server.post(board, &remove).await.status, 200);
    assert_eq!(server.get(&format!("{board}/ada")).await.json()["score"], 3.0);
    assert_eq!(server.ask("DELETE", board, "", b"").await.status, 200);
    server.get(board).await.problem(404, "not_found");
}

#[tokio::test]
async fn impossible_scores_are_refused_and_change_nothing() {
    let server = Server::start().await;
    let board = "/v1/zsets/b/board";
    for body in [
        r#"{}"#,
        r#"{"add":[{"member":"a"}]}"#,
        r#"{"add":[{"member":"a","score":1e999}]}"#,
        r#"{"add":[{"member":"a","score":"1"}]}"#,
        r#"{"add":[{"member":"","score":1}]}"#,
        r#"{"add":[{"member":"a","score":1}],"remove":["a"]}"#,
        r#"{"increment":[{"member":"a"},{"member":"a"}]}"#,
        r#"{"add":[{"member":"a","score":1}],"more":1}"#,
    ] {
        server.post(board, body).await.problem(400, "malformed_body");
    }
    let many: Vec<_> = (0..1_001).map(|n| format!("m{n}")).collect();
    let many = json!({ "remove": many }).to_string();
    server.post(board, &many).await.problem(413, "too_large");
    for query in ["order=size", "min=nan", "max=1e999", "min=+inf", "after=x", "limit=1001"] {
        let refused = server.get(&format!("{board}?{query}")).await;
        refused.problem(400, "bad_parameter");
    }
    server.get(board).await.problem(404, "not_found");
    server.post(board, r#"{"add":[{"member":"a","score":1.7e308}]}"#).await;
    let over = r#"{"increment":[{"member":"b"},{"member":"a","by":1.7e308}]}"#;
    server.post(board, over).await.problem(409, "score_overflow");
    assert_eq!(server.get(board).await.json()["members"], json!([{"member":"a","score":1.7e308}]));
}
