//! What the handles send and read: maps, expiry, buckets, equal siblings.

mod support;

use starling_client::{
    BucketProps, Client, Context, Field, MapPage, MapRange, MapUpdate, Options, Quorum, Ttl,
};
use std::time::Duration;
use support::Node;

const WRITTEN: &str = r#"{"context":"ctx","acks":{"owners":2,"hints":0,"durable":2}}"#;

async fn answering(body: &str) -> (Client, Node) {
    let node = Node::json(200, body).await;
    (Client::connect([&node.url]).unwrap(), node)
}

#[tokio::test]
async fn maps_are_changed_and_read_by_typed_fields() {
    let (client, node) = answering(WRITTEN).await;
    let update = MapUpdate::new().register("name", "Ada").remove("old");
    let map = client.map("b", "k");
    map.update_seen(&update, &Context::from("seen".to_owned())).await.unwrap();
    let sent = node.last();
    assert!(sent.starts_with("POST /v1/maps/b/k?timeout_ms=5000 "), "{sent}");
    assert!(sent.contains("starling-context: seen\r\n"), "{sent}");
    assert!(sent.ends_with(r#"{"remove":["old"],"update":{"name":{"register":"Ada"}}}"#), "{sent}");
    assert!(map.update(&MapUpdate::new()).await.unwrap_err().is_usage());
    let many = MapUpdate::new().add("s", (0..1_001).map(|n| n.to_string()));
    assert!(map.update(&many).await.unwrap_err().is_usage());
    assert_eq!(node.requests(), 1, "nothing was sent");

    let page = r#"{"value":{"n":-2,"in":{"on":true}},"context":"c","next":"~Zm9v",
        "kinds":{"n":"counter","in":"map","in/on":"flag"}}"#;
    let (client, node) = answering(page).await;
    let range = MapRange { after: Some("a b".into()), prefix: "i/".into(), limit: 7 };
    let page = client.map("b", "k").page(&range).await.unwrap();
    assert!(node.last().starts_with("GET /v1/maps/b/k?"), "{}", node.last());
    assert!(node.last().contains("&limit=7&after=a%20b&prefix=i%2F "), "{}", node.last());
    assert_eq!(page.fields.at(["in", "on"]), Some(&Field::Flag(true)));
    let names: Vec<_> = page.fields.iter().map(|(name, _)| name).collect();
    assert_eq!((names, page.next.as_deref()), (vec!["in", "n"], Some("~Zm9v")));
    let node = Node::json(404, r#"{"code":"not_found","detail":"absent"}"#).await;
    let map = Client::connect([&node.url]).unwrap().map("b", "k");
    assert_eq!(map.page(&MapRange::default()).await.unwrap(), MapPage::default());
}

#[tokio::test]
async fn expiry_goes_with_writes_and_is_read_and_changed() {
    let (client, node) = answering(WRITTEN).await;
    let second = Duration::from_secs(1);
    client.kv("b").with_ttl(90 * second).put("k", "v").await.unwrap();
    assert!(node.last().starts_with("PUT /v1/kv/b/k?timeout_ms=5000&ttl_seconds=90 "));
    client.set("b", "k").with_ttl(second / 2).add(["m"]).await.unwrap();
    assert!(node.last().contains("&ttl_seconds=1 "), "{}", node.last());
    client.set("b", "k").with_ttl(second).delete().await.unwrap();
    assert!(node.last().starts_with("DELETE /v1/sets/b/k?timeout_ms=5000 "), "{}", node.last());
    client.dwflag("b", "k").set_expiry(Ttl::For(90 * second)).await.unwrap();
    assert!(node.last().starts_with("PUT /v1/expiry/dwflag/b/k?"), "{}", node.last());
    assert!(node.last().ends_with(r#"{"ttl_seconds":90}"#), "{}", node.last());
    client.kv("b").set_expiry("k", Ttl::Persist).await.unwrap();
    assert!(node.last().ends_with(r#"{"persist":true}"#), "{}", node.last());

    let expiry = r#"{"ttl_seconds":5,"expires_at":"2026-01-01T00:00:00.000Z","context":"c"}"#;
    let (client, _node) = answering(expiry).await;
    let found = client.map("b", "k").expiry().await.unwrap().unwrap();
    assert_eq!(found.left, Some(5 * second));
    assert_eq!(found.at.as_deref(), Some("2026-01-01T00:00:00.000Z"));
    let (client, _node) = answering(r#"{"ttl_seconds":null,"expires_at":null}"#).await;
    assert_eq!(client.kv("b").expiry("k").await.unwrap().unwrap().left, None);
    let node = Node::json(404, r#"{"code":"not_found","detail":"absent"}"#).await;
    let client = Client::connect([&node.url]).unwrap();
    assert_eq!(client.hll("b", "k").expiry().await.unwrap(), None);
}

#[tokio::test]
async fn buckets_have_properties_and_no_parameters() {
    let props = r#"{"n":5,"r":"one","w":4,"sloppy":false,"durability":"batched",
        "resolve":"lww","ttl_seconds":60}"#;
    let (client, node) = answering(props).await;
    let bucket = client.bucket("b");
    let found = bucket.get().await.unwrap();
    assert!(node.last().starts_with("GET /v1/buckets/b HTTP"), "{}", node.last());
    assert_eq!((found.n, found.r, found.w), (5, Quorum::One, Quorum::Count(4)));
    bucket.set(&BucketProps { w: Quorum::Count(2), ..BucketProps::default() }).await.unwrap();
    let sent =
        r#"{"n":3,"r":"quorum","w":2,"sloppy":true,"durability":"sync","resolve":"siblings"}"#;
    assert!(node.last().ends_with(sent), "{}", node.last());
    bucket.reset().await.unwrap();
    assert!(node.last().starts_with("DELETE /v1/buckets/b HTTP"), "{}", node.last());
}

#[tokio::test]
async fn siblings_that_are_equal_are_read_as_one() {
    let sibling = |value: &str, kind: &str| {
        format!(r#"{{"content_type":"{kind}","value_base64":"{value}","written_at":"t"}}"#)
    };
    let all = [sibling("b25l", "a/b"), sibling("b25l", "a/b"), sibling("b25l", "c/d")].join(",");
    let node = Node::json(300, &format!(r#"{{"siblings":[{all}],"context":"c"}}"#)).await;
    let value = Client::connect([&node.url]).unwrap().kv("b").get("k").await.unwrap();
    let types: Vec<_> = value.siblings().iter().map(|one| one.content_type.as_str()).collect();
    assert_eq!(types, ["a/b", "c/d"]);
}

#[tokio::test]
async fn a_trace_can_be_gone_on_with() {
    let (client, node) = answering(WRITTEN).await;
    let given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let options = Options { traceparent: Some(given.into()), ..Options::default() };
    client.with_options(options).set("b", "k").add(["m"]).await.unwrap();
    assert!(node.last().contains(&format!("traceparent: {given}\r\n")), "{}", node.last());
}
