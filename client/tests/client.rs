//! The client against servers that it did not write: a scripted node that answers as told, for
//! the order in which nodes are asked and what an answer is taken for.

mod support;

use starling_client::{Client, Context, Options, Quorum, ScorePage, ScoreRange};
use std::time::Duration;
use support::{Act, COUNTED, Node, UNAVAILABLE, nobody};

#[tokio::test]
async fn a_write_goes_on_where_nothing_was_applied() {
    let (refusing, good) = (Node::json(503, UNAVAILABLE).await, Node::json(200, COUNTED).await);
    let client = Client::connect([&nobody().await, &refusing.url, &good.url]).unwrap();
    let counter = client.counter("b", "k");
    let after = counter.increment(5).await.unwrap();
    assert_eq!((after.value, after.acks.owners, after.acks.hints), (5, 2, 1));
    assert_eq!((refusing.requests(), good.requests()), (1, 1));
    counter.increment(5).await.unwrap();
    assert_eq!((refusing.requests(), good.requests()), (1, 2), "the good node is kept");
}

#[tokio::test]
async fn a_write_that_counts_twice_is_not_repeated_when_its_outcome_is_unknown() {
    for act in [
        Act::Hang,
        Act::Silence,
        Act::Answer(504, "", r#"{"code":"unknown","detail":"the deadline passed"}"#.into()),
        Act::Answer(200, "", "nonsense".into()),
    ] {
        let (first, second) = (Node::start(act).await, Node::json(200, COUNTED).await);
        let client = Client::connect([&first.url, &second.url]).unwrap();
        let hasty = Options { timeout: Duration::from_millis(100), ..Options::default() };
        let stock = client.with_options(hasty).bounded_counter("b", "k");
        let error = stock.increment(5).await.unwrap_err();
        assert!(error.is_unknown(), "{error}");
        assert_eq!((first.requests(), second.requests()), (1, 0));
    }
}

#[tokio::test]
async fn a_read_is_asked_of_the_next_node_when_an_answer_is_lost() {
    let (first, second) = (Node::start(Act::Hang).await, Node::json(200, COUNTED).await);
    let client = Client::connect([&first.url, &second.url]).unwrap();
    assert_eq!(client.counter("b", "k").get().await.unwrap(), 5);
    assert_eq!(second.requests(), 1);
}

#[tokio::test]
async fn when_no_node_is_there_the_error_says_so() {
    let client = Client::connect([nobody().await, nobody().await]).unwrap();
    let error = client.flag("b", "k").enable().await.unwrap_err();
    assert!(error.is_unavailable() && !error.is_unknown(), "{error}");
    assert!(error.to_string().contains("http://127.0.0.1:"), "{error}");
}

#[tokio::test]
async fn refusals_are_told_as_they_are_and_end_the_call() {
    let overflow = r#"{"code":"counter_overflow","detail":"the counter would leave its range"}"#;
    let (first, second) = (Node::json(409, overflow).await, Node::json(200, COUNTED).await);
    let client = Client::connect([&first.url, &second.url]).unwrap();
    let error = client.counter("b", "k").increment(5).await.unwrap_err();
    assert!(error.is_conflict() && !error.is_unknown());
    assert_eq!((error.code(), error.status()), (Some("counter_overflow"), Some(409)));
    assert_eq!(second.requests(), 0);
}

#[tokio::test]
async fn absent_objects_read_as_nothing() {
    let node = Node::json(404, r#"{"code":"not_found","detail":"absent"}"#).await;
    let client = Client::connect([&node.url]).unwrap();
    assert_eq!(client.counter("b", "k").get().await.unwrap(), 0);
    assert!(!client.flag("b", "k").is_enabled().await.unwrap());
    assert!(!client.set("b", "k").contains("m").await.unwrap());
    assert!(client.set("b", "k").page(None, 10).await.unwrap().members.is_empty());
    assert!(client.kv("b").get("k").await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn siblings_and_single_values_are_read_alike() {
    let headers = "content-type: text/plain\r\nstarling-context: ctx\r\n";
    let node = Node::start(Act::Answer(200, headers, "hello".into())).await;
    let value = Client::connect([&node.url]).unwrap().kv("b").get("k").await.unwrap();
    assert_eq!((value.bytes().as_ref(), value.context().as_str()), (&b"hello"[..], "ctx"));
    assert_eq!(value.siblings()[0].content_type, "text/plain");
    let siblings = r#"{"siblings":[
        {"content_type":"a/b","value_base64":"b25l","written_at":"2025-11-22T14:40:00.007Z"},
        {"content_type":"a/b","value_base64":"dHdv","written_at":"2025-11-22T14:40:00.008Z"}],
        "context":"both"}"#;
    let node = Node::json(300, siblings).await;
    let value = Client::connect([&node.url]).unwrap().kv("b").get("k").await.unwrap();
    let bytes: Vec<_> = value.siblings().iter().map(|one| one.bytes.as_ref()).collect();
    assert_eq!(bytes, [b"one", b"two"]);
    assert_eq!(value.context().as_str(), "both");
}

#[tokio::test]
async fn requests_say_what_the_interface_expects() {
    let node = Node::json(200, COUNTED).await;
    let options = Options { w: Some(Quorum::All), ..Options::default() };
    let client = Client::connect([&node.url]).unwrap().with_options(options);
    client.kv("b").put_seen("a/b\u{e9}", "x", &Context::none()).await.unwrap();
    let sent = node.last();
    assert!(sent.starts_with("PUT /v1/kv/b/a%2Fb%C3%A9?timeout_ms=5000&w=all "), "{sent}");
    assert!(sent.contains("starling-context: none\r\n") && sent.ends_with("\r\n\r\nx"), "{sent}");
    client.set("b", "k").add([&b"m"[..], b"\xff"]).await.unwrap();
    assert!(node.last().ends_with(r#"{"add":["m",{"base64":"/w=="}]}"#), "{}", node.last());
    client.set("b", "k").remove(["m"]).await.unwrap();
    assert!(node.last().ends_with(r#"{"remove":["m"]}"#));
    let error = client.set("b", "k").add(Vec::<String>::new()).await.unwrap_err();
    assert!(error.is_usage());
    client.flag("b", "k").disable().await.unwrap_err();
    assert!(node.last().ends_with(r#"{"disable":true}"#));
}

#[tokio::test]
async fn a_bounded_counter_tells_that_rights_do_not_cover_a_decrement() {
    let refused = r#"{"code":"insufficient_rights","detail":"3 here","local":3,"global":9}"#;
    let node = Node::json(409, refused).await;
    let stock = Client::connect([&node.url]).unwrap().bounded_counter("b", "k/1");
    let error = stock.decrement(5).await.unwrap_err();
    assert!(error.is_insufficient_rights() && error.is_conflict() && !error.is_unknown());
    let sent = node.last();
    assert!(sent.starts_with("POST /v1/boundedcounters/b/k%2F1?"), "{sent}");
    assert!(sent.ends_with(r#"{"decrement":5}"#), "{sent}");
    let node = Node::json(200, COUNTED).await;
    let stock = Client::connect([&node.url]).unwrap().bounded_counter("b", "k");
    assert_eq!(stock.increment(5).await.unwrap().value, stock.get().await.unwrap());
    assert!(node.last().starts_with("GET /v1/boundedcounters/b/k?"), "{}", node.last());
}

#[tokio::test]
async fn types_in_which_removal_wins_have_paths_of_their_own() {
    let node = Node::json(404, r#"{"code":"not_found","detail":"absent"}"#).await;
    let client = Client::connect([&node.url]).unwrap();
    assert!(!client.dwflag("b", "k").is_enabled().await.unwrap());
    assert!(node.last().starts_with("GET /v1/dwflags/b/k?"), "{}", node.last());
    assert!(!client.rwset("b", "k").contains("m").await.unwrap());
    assert!(node.last().starts_with("GET /v1/rwsets/b/k/m?"), "{}", node.last());
}

#[tokio::test]
async fn scores_are_sent_and_read_as_numbers_with_members_of_any_bytes() {
    let page = r#"{"members":[{"member":"m","score":-1.5},{"member":{"base64":"/w=="},"score":2}],
        "count":7,"next":"bmV4dA","context":"ctx"}"#;
    let node = Node::json(200, page).await;
    let client = Client::connect([&node.url]).unwrap();
    let set = client.zset("b", "k");
    let range = ScoreRange { min: Some(-2.0), desc: true, limit: 2, ..ScoreRange::default() };
    let page = set.page(&range).await.unwrap();
    assert_eq!(page.members, [(b"m".to_vec(), -1.5), (b"\xff".to_vec(), 2.0)]);
    assert_eq!((page.count, page.next.as_deref()), (7, Some("bmV4dA")));
    let asked = node.last();
    for part in ["GET /v1/zsets/b/k?", "limit=2", "desc=true", "min=-2"] {
        assert!(asked.contains(part), "{part}: {asked}");
    }
    let written = r#"{"context":"ctx","acks":{"owners":1,"hints":0,"durable":1}}"#;
    let node = Node::json(200, written).await;
    let client = Client::connect([&node.url]).unwrap();
    let set = client.zset("b", "k");
    set.increment(b"\xff", 2.5).await.unwrap();
    let sent = r#"{"increment":[{"by":2.5,"member":{"base64":"/w=="}}]}"#;
    assert!(node.last().ends_with(sent), "{}", node.last());
    set.add([("m", 1.0)]).await.unwrap();
    assert!(node.last().ends_with(r#"{"add":[{"member":"m","score":1.0}]}"#), "{}", node.last());
    let sent = node.requests();
    assert!(set.add([("m", f64::NAN)]).await.unwrap_err().is_usage());
    assert!(set.remove(Vec::<String>::new()).await.unwrap_err().is_usage());
    assert_eq!(node.requests(), sent, "nothing was sent");
    client.hll("b", "k").add(["Ada"]).await.unwrap();
    assert!(
        node.last().contains("POST /v1/hlls/b/k") && node.last().contains(r#"{"add":["Ada"]}"#)
    );
}

#[tokio::test]
async fn absent_scores_and_sketches_are_read_as_nothing() {
    let problem =
        r#"{"type":"about:blank","title":"","status":404,"detail":"","code":"not_found"}"#;
    let headers = "content-type: application/problem+json\r\n";
    let node = Node::start(Act::Answer(404, headers, problem.into())).await;
    let client = Client::connect([&node.url]).unwrap();
    let set = client.zset("b", "k");
    assert_eq!(set.score("m").await.unwrap(), None);
    assert_eq!(set.page(&ScoreRange::default()).await.unwrap(), ScorePage::default());
    assert_eq!(client.hll("b", "k").estimate().await.unwrap(), 0);
}
