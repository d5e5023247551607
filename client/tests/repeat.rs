//! What is repeated, what is not, when, how often, and what it looks like in a trace.

mod support;

use starling_client::{Client, Error, MapUpdate, Options};
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::{Act, COUNTED, Node, nobody, ok, refusal};

const WRITTEN: &str = r#"{"context":"ctx","acks":{"owners":2,"hints":0,"durable":2}}"#;
const ENABLED: &str = r#"{"enabled":true,"context":"c","acks":{"owners":2,"hints":0,"durable":2}}"#;

/// A client of one node that loses the first answer and gives `body` to the next.
async fn forgetful(body: &str) -> (Client, Node) {
    let node = Node::with(vec![Act::Hang, ok(body)]).await;
    (Client::connect([&node.url]).unwrap(), node)
}

#[tokio::test]
async fn what_is_harmless_twice_is_repeated_when_an_answer_is_lost() {
    macro_rules! repeated {
        ($body:expr, $call:expr) => {{
            let (client, node) = forgetful($body).await;
            $call(client).await.unwrap();
            assert_eq!(node.requests(), 2, "{}", stringify!($call));
        }};
    }
    repeated!(WRITTEN, async |c: Client| c.kv("b").put("k", "v").await);
    repeated!(WRITTEN, async |c: Client| c.kv("b").delete("k", None).await);
    repeated!(WRITTEN, async |c: Client| c.set("b", "k").add(["m"]).await);
    repeated!(WRITTEN, async |c: Client| c.rwset("b", "k").remove(["m"]).await);
    repeated!(WRITTEN, async |c: Client| c.hll("b", "k").add(["m"]).await);
    repeated!(WRITTEN, async |c: Client| c.zset("b", "k").add([("m", 1.0)]).await);
    repeated!(WRITTEN, async |c: Client| c.zset("b", "k").delete().await);
    repeated!(ENABLED, async |c: Client| c.flag("b", "k").enable().await);
    repeated!(COUNTED, async |c: Client| c.counter("b", "k").reset().await);
    repeated!(COUNTED, async |c: Client| c.bounded_counter("b", "k").get().await);
    let update = MapUpdate::new().register("r", 1).add("s", ["m"]);
    repeated!(WRITTEN, async |c: Client| c.map("b", "k").update(&update).await);
    repeated!(WRITTEN, async |c: Client| {
        c.kv("b").set_expiry("k", starling_client::Ttl::Persist).await
    });
}

#[tokio::test]
async fn what_counts_twice_is_not() {
    macro_rules! not_repeated {
        ($call:expr) => {{
            let (client, node) = forgetful(COUNTED).await;
            let error: Error = $call(client).await.map(drop).unwrap_err();
            assert!(error.is_unknown() && error.attempts() == 1, "{error}");
            assert_eq!(node.requests(), 1, "{}", stringify!($call));
        }};
    }
    let unkeyed = |c: Client| {
        let options = Options { exactly_once: false, ..Options::default() };
        c.with_options(options).counter("b", "k")
    };
    not_repeated!(async |c: Client| unkeyed(c).increment(1).await);
    not_repeated!(async |c: Client| unkeyed(c).decrement(1).await);
    not_repeated!(async |c: Client| c.bounded_counter("b", "k").increment(1).await);
    not_repeated!(async |c: Client| c.bounded_counter("b", "k").decrement(1).await);
    not_repeated!(async |c: Client| c.zset("b", "k").increment("m", 1.0).await);
    let update = MapUpdate::new().map("m", MapUpdate::new().counter("n", 1));
    not_repeated!(async |c: Client| c.map("b", "k").update(&update).await);
}

#[tokio::test]
async fn a_change_of_a_counter_is_repeated_under_its_key_and_no_two_calls_have_the_same() {
    let keys = |node: &Node| -> Vec<String> {
        let key = |request: String| {
            let line = request.lines().find_map(|line| line.strip_prefix("idempotency-key: "));
            line.expect("there is a key").to_owned()
        };
        node.sent().into_iter().map(key).collect()
    };
    let (client, node) = forgetful(COUNTED).await;
    let counter = client.counter("b", "k");
    counter.increment(1).await.unwrap();
    counter.decrement(1).await.unwrap();
    counter.increment_as("order 1", 1).await.unwrap();
    let keys = keys(&node);
    assert_eq!(keys.len(), 4);
    assert!(keys[0] == keys[1] && keys[0].len() == 32 && keys[1] != keys[2], "{keys:?}");
    assert_eq!(keys[3], "order 1");
    for bad in ["", &"k".repeat(256), "\n"] {
        assert!(counter.increment_as(bad, 1).await.unwrap_err().is_usage(), "{bad:?}");
    }
    assert_eq!(node.requests(), 4);
}

#[tokio::test]
async fn a_caller_who_repeats_nothing_pays_for_no_note() {
    let node = Node::with(vec![ok(COUNTED)]).await;
    let once = Options { attempts: 1, ..Options::default() };
    let client = Client::connect([&node.url]).unwrap().with_options(once);
    client.counter("b", "k").increment(1).await.unwrap();
    client.counter("b", "k").increment_as("order 1", 1).await.unwrap();
    let sent = node.sent();
    assert!(!sent[0].contains("idempotency-key") && sent[1].contains("idempotency-key"));
}

#[tokio::test]
async fn an_increment_of_which_nothing_was_applied_is_repeated() {
    for status in [429, 503] {
        let node = Node::with(vec![refusal(status, None), refusal(status, None), ok(COUNTED)]);
        let node = node.await;
        let client = Client::connect([&node.url]).unwrap();
        assert_eq!(client.counter("b", "k").increment(5).await.unwrap().value, 5);
        assert_eq!(node.requests(), 3);
    }
}

#[tokio::test]
async fn a_node_is_not_asked_before_the_time_that_it_wants_and_others_are_at_once() {
    let node = Node::with(vec![refusal(503, Some(1)), ok(COUNTED)]).await;
    let begun = Instant::now();
    let client = Client::connect([&node.url]).unwrap();
    client.counter("b", "k").increment(5).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());

    let busy = Node::with(vec![refusal(429, Some(30))]).await;
    let free = Node::with(vec![ok(COUNTED)]).await;
    let begun = Instant::now();
    let client = Client::connect([&busy.url, &free.url]).unwrap();
    client.counter("b", "k").increment(5).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!((busy.requests(), free.requests()), (1, 1));
}

#[tokio::test]
async fn a_call_that_cannot_be_repeated_in_time_ends_at_once() {
    let busy = Node::with(vec![refusal(503, Some(30))]).await;
    let begun = Instant::now();
    let client = Client::connect([&busy.url]).unwrap();
    let error = client.flag("b", "k").enable().await.unwrap_err();
    assert!(error.is_unavailable() && error.retry_after() == Some(Duration::from_secs(30)));
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    let silent = Node::start(Act::Silence).await;
    let (timeout, deadline) = (Duration::from_millis(50), Some(Duration::from_millis(200)));
    let hasty = Options { timeout, deadline, ..Options::default() };
    let client = Client::connect([&silent.url]).unwrap().with_options(hasty);
    let error = client.flag("b", "k").is_enabled().await.unwrap_err();
    assert!(error.is_timeout() && !error.is_unknown(), "{error}");
    assert_eq!(silent.requests(), 1, "the second it waits longer takes it past the deadline");
}

#[tokio::test]
async fn an_earlier_attempt_in_doubt_is_not_forgotten() {
    let node = Node::with(vec![Act::Hang, refusal(503, None)]).await;
    let client = Client::connect([&node.url]).unwrap();
    let twice = Options { attempts: 2, ..Options::default() };
    let error = client.with_options(twice).set("b", "k").add(["m"]).await.unwrap_err();
    assert!(error.is_unavailable() && error.is_unknown(), "{error}");
    assert_eq!((error.attempts(), node.requests()), (2, 2));
    let once = Options { attempts: 1, ..Options::default() };
    let error = client.with_options(once).set("b", "k").add(["m"]).await.unwrap_err();
    assert!(error.is_unavailable() && !error.is_unknown(), "{error}");
    assert_eq!((error.attempts(), node.requests()), (1, 3));
}

#[tokio::test]
async fn a_cluster_that_sheds_load_is_not_buried_under_repetitions() {
    let calls = 200;
    let node = Node::with(vec![refusal(429, None)]).await;
    let client = Client::connect([&node.url]).unwrap();
    let calling = (0..calls).map(|_| {
        let flag = client.flag("b", "k");
        tokio::spawn(async move { flag.enable().await.unwrap_err() })
    });
    for call in calling.collect::<Vec<_>>() {
        assert!(call.await.unwrap().is_overloaded());
    }
    let repetitions = node.requests() - calls;
    assert!(repetitions > 0, "some are repeated");
    assert!(repetitions <= 100 + calls / 10, "{repetitions} of {calls} calls");
}

#[tokio::test]
async fn a_dead_node_costs_one_attempt_and_is_avoided() {
    let (dead, living) = (nobody().await, Node::with(vec![ok(COUNTED)]).await);
    let client = Client::connect([dead, living.url.clone()]).unwrap();
    // Far more than the budget of repetitions: going past a dead node is free.
    for _ in 0..300 {
        client.counter("b", "k").increment(1).await.unwrap();
    }
    assert_eq!(living.requests(), 300);
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_call_is_one_span_and_one_trace_whatever_its_attempts() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::CLOSE)
        .with_writer(move || writer.clone())
        .finish();
    let (client, node) = forgetful(WRITTEN).await;
    let guard = tracing::subscriber::set_default(subscriber);
    client.set("b", "k").add(["m"]).await.unwrap();
    drop(guard);
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    for part in [r#"operation="set_update" bucket="b""#, r#"outcome="ok""#, "attempt=2"] {
        assert!(log.contains(part), "{part}: {log}");
    }
    let headers = node.sent().into_iter().map(|request| {
        let at = request.find("traceparent: 00-").expect("there is a traceparent") + 16;
        request[at..at + 32].to_owned()
    });
    let traces: Vec<_> = headers.collect();
    assert_eq!(traces.len(), 2);
    assert_eq!(traces[0], traces[1]);
    assert!(log.contains(&format!("trace_id=\"{}\"", traces[0])), "{log}");
}
