//! The client's examples against a cluster of real processes of which one is killed: no error
//! reaches the caller at default settings, and counters are exact.
#![cfg(feature = "server")]
// The shell is tested with what the core must not have.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod dev_support;

#[path = "../../client/examples/collections.rs"]
#[allow(dead_code)]
mod collections;
#[path = "../../client/examples/counters.rs"]
#[allow(dead_code)]
mod counters;
#[path = "../../client/examples/quickstart.rs"]
#[allow(dead_code)]
mod quickstart;

use dev_support::{Dev, signal, until};
use starling_client::{Client, Error, Field};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Callers of each example at once.
const CALLERS: usize = 4;
/// Callers that do nothing but count: at any moment most of them wait for an answer.
const COUNTERS: usize = 16;
/// Rounds of each example before the kill and after it.
const ROUNDS: u64 = 20;

/// Members that are there though they were removed: an addition whose answer was lost with the
/// node is repeated, and a removal takes away what the replica has seen that applies it, which
/// may be the second addition alone.
const ADDED_TWICE: RangeInclusive<u64> = 0..=2;

/// What all callers together did.
#[derive(Default)]
struct Books {
    rounds: AtomicU64,
    increments: AtomicU64,
    names: AtomicU64,
    end: AtomicBool,
}

impl Books {
    fn goes_on(&self) -> bool {
        !self.end.load(Ordering::Relaxed)
    }
}

/// Runs the quickstart over and over; its visits.
async fn quickstarts(client: Client, name: String, books: Arc<Books>) -> Result<i64, Error> {
    let mut visits = 0;
    while books.goes_on() {
        let seen = quickstart::run(&client, &name).await?;
        visits += 1;
        assert_eq!((&seen.greeting, seen.dark), (&format!("hello {name}"), true));
        assert!(ADDED_TWICE.contains(&(seen.guests - 2)) && seen.fields == 3, "{seen:?}");
        assert_eq!(seen.visits, visits);
        books.rounds.fetch_add(1, Ordering::Relaxed);
    }
    Ok(visits)
}

async fn collections(client: Client, name: String, books: Arc<Books>) -> Result<(), Error> {
    while books.goes_on() {
        let seen = collections::run(&client, &name).await?;
        assert!(ADDED_TWICE.contains(&(seen.members.len() as u64 - 23)), "{seen:?}");
        assert!(seen.members.iter().any(|member| member == "tag 24"));
        assert_eq!((seen.leader.as_str(), seen.visitors), ("Grace", 2));
        assert_eq!(seen.city, Some(Field::Register("London".into())));
        assert!(seen.session_expires);
        books.rounds.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Adds names that nobody else adds; how many.
async fn orders(client: Client, caller: usize, books: Arc<Books>) -> Result<u64, Error> {
    let mut added = 0;
    while books.goes_on() {
        let names: Vec<_> = (added..added + 10).map(|n| format!("{caller} {n}")).collect();
        counters::count_named(&client, "orders", &names).await?;
        added += 10;
        books.names.fetch_add(10, Ordering::Relaxed);
    }
    Ok(added)
}

async fn count(client: Client, books: Arc<Books>) -> Result<i64, Error> {
    let mut counted = 0;
    while books.goes_on() {
        counters::count(&client, "visits", 10).await?;
        counted += 10;
        books.increments.fetch_add(10, Ordering::Relaxed);
    }
    Ok(counted)
}

#[test]
fn the_examples_go_on_when_their_node_is_killed_and_counters_are_exact() {
    examples_while_one_is_killed(0);
}

#[test]
fn the_examples_go_on_when_another_replica_is_killed() {
    examples_while_one_is_killed(2);
}

/// All callers talk to node 0 as long as it is there.
fn examples_while_one_is_killed(killed: u16) {
    let dir = tempfile::tempdir().expect("a directory");
    let dev = Dev::new(dir.path(), 3);
    dev.ready();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let books = Arc::new(Books::default());
    let urls: Vec<_> = (0..3).map(|node| format!("http://127.0.0.1:{}", dev.port + node)).collect();
    let client = Client::connect(&urls).expect("urls");
    let (mut starting, mut filling, mut ordering) = (Vec::new(), Vec::new(), Vec::new());
    for caller in 0..CALLERS {
        let (name, books) = (format!("caller {caller}"), || books.clone());
        starting.push(runtime.spawn(quickstarts(client.clone(), name.clone(), books())));
        filling.push(runtime.spawn(collections(client.clone(), name, books())));
        ordering.push(runtime.spawn(orders(client.clone(), caller, books())));
    }
    let counting: Vec<_> =
        (0..COUNTERS).map(|_| runtime.spawn(count(client.clone(), books.clone()))).collect();

    let rounds = || books.rounds.load(Ordering::Relaxed);
    until("the examples run", || rounds() >= ROUNDS);
    let (before, counted) = (rounds(), books.increments.load(Ordering::Relaxed));
    signal(dev.node(killed), "KILL");
    assert!(dev.says(&format!("node{killed} ended")).contains("SIGKILL"));
    until("the examples go on", || {
        rounds() >= before + ROUNDS && books.increments.load(Ordering::Relaxed) > counted + 1_000
    });
    books.end.store(true, Ordering::Relaxed);

    let mut visits = 0;
    for caller in starting {
        visits += runtime.block_on(caller).expect("no panic").expect("no error");
    }
    for caller in filling {
        runtime.block_on(caller).expect("no panic").expect("no error");
    }
    let mut names = 0;
    for caller in ordering {
        names += runtime.block_on(caller).expect("no panic").expect("no error");
    }
    let mut counted = 0;
    for caller in counting {
        counted += runtime.block_on(caller).expect("no panic").expect("no error");
    }
    let value = runtime.block_on(client.counter("counters", "visits").get()).expect("no error");
    let named = runtime.block_on(counters::named(&client, "orders")).expect("no error");
    eprintln!("{} rounds, {visits} quickstarts; {named} names of {names}", rounds());
    eprintln!("counter {value} of {counted}");
    assert_eq!(named, names, "names are counted exactly");
    assert_eq!(value, counted, "increments are counted exactly");
}

#[test]
fn a_change_with_a_key_counts_once_and_can_be_asked_about() {
    let dir = tempfile::tempdir().expect("a directory");
    let dev = Dev::new(dir.path(), 3);
    dev.ready();
    let change = |node: u16, key: &str, body: &str| {
        let header = format!("-H 'Idempotency-Key: {key}'");
        let w = if key == "order-3" { "quorum" } else { "all" };
        let path = format!("'/v1/counters/shop/sold?w={w}'");
        let text = dev.curl(node, &format!("{path} -X POST {header} -d '{body}'"));
        serde_json::from_str::<serde_json::Value>(&text).expect(&text)
    };
    let ask = |key: &str| {
        let text = dev.curl(1, &format!("'/v1/ops/{key}?type=counter&bucket=shop&key=sold'"));
        serde_json::from_str::<serde_json::Value>(&text).expect(&text)
    };
    assert_eq!(ask("order-1")["state"], "not_applied");
    for node in [0, 1, 2, 0] {
        assert_eq!(change(node, "order-1", r#"{"increment":5}"#)["value"], 5);
    }
    assert_eq!(change(1, "order-2", r#"{"decrement":2}"#)["value"], 3);
    let refused = change(2, "order-2", r#"{"decrement":3}"#);
    assert_eq!((&refused["code"], &refused["status"]), (&"key_reused".into(), &422.into()));
    let known = ask("order-2");
    assert_eq!(known["state"], "applied");
    assert_eq!(known["applied_on"].as_array().expect("names").len(), 3, "{known}");
    assert_eq!(known["hinted_for"].as_array().expect("names").len(), 0, "{known}");
    // Two owners are left; what the third is owed is told.
    signal(dev.node(2), "KILL");
    dev.says("node2 ended");
    until("a stand-in or an owner keeps it for the third", || {
        change(0, "order-3", r#"{"increment":1}"#);
        let known = ask("order-3");
        known["state"] == "applied" && known["applied_on"].as_array().expect("names").len() == 2
    });
    assert_eq!(change(0, "order-3", r#"{"increment":1}"#)["value"], 4);
}
