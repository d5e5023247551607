//! A node in the process of its client, real to its last file.

#[path = "../examples/collections.rs"]
#[allow(dead_code)]
mod collections;
#[path = "../examples/embedded.rs"]
#[allow(dead_code)]
mod example;
#[path = "../examples/quickstart.rs"]
#[allow(dead_code)]
mod quickstart;

use starling_client::embedded::Node;
use starling_client::{BucketProps, Client, Error, Field, MapUpdate, Ttl};
use std::time::{Duration, Instant};

#[tokio::test]
async fn the_example_counts_its_starts_over_restarts() {
    let dir = tempfile::tempdir().unwrap();
    for start in 1..=3 {
        assert_eq!(example::run(dir.path()).await.unwrap(), start);
    }
}

#[tokio::test]
async fn a_node_that_is_dropped_stops_and_its_directory_is_free() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path()).await.unwrap();
    let url = node.url().to_owned();
    let error = Node::start(dir.path()).await.unwrap_err();
    assert!(!error.is_unknown() && error.to_string().contains("this process"), "{error}");
    node.client().set("b", "k").add(["m"]).await.unwrap();
    drop(node);
    let late = Client::connect([url]).unwrap().set("b", "k").contains("m").await;
    assert!(late.unwrap_err().is_unavailable(), "nobody listens any more");
    let node = Node::start(dir.path()).await.unwrap();
    assert!(node.client().set("b", "k").contains("m").await.unwrap());
}

#[tokio::test]
async fn the_other_examples_run_against_it() -> Result<(), Error> {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path()).await?;
    let seen = quickstart::run(&node.client(), "Ada").await?;
    assert_eq!((seen.greeting.as_str(), seen.dark), ("hello Ada", true));
    assert_eq!((seen.guests, seen.fields, seen.visits), (2, 3, 1));
    let seen = collections::run(&node.client(), "Ada").await?;
    assert_eq!((seen.members.len(), seen.leader.as_str(), seen.visitors), (23, "Grace", 2));
    assert_eq!(seen.city, Some(Field::Register("London".into())));
    assert!(seen.session_expires);
    node.shutdown().await
}

#[tokio::test]
async fn every_type_that_expires_takes_a_time_with_its_write() -> Result<(), Error> {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path()).await?;
    let client = node.client();
    let hour = Duration::from_secs(3_600);
    client.kv("b").with_ttl(hour).put("k", "v").await?;
    client.counter("b", "k").with_ttl(hour).increment(1).await?;
    client.set("b", "k").with_ttl(hour).add(["m"]).await?;
    client.rwset("b", "k").with_ttl(hour).add(["m"]).await?;
    client.flag("b", "k").with_ttl(hour).enable().await?;
    client.dwflag("b", "k").with_ttl(hour).enable().await?;
    client.hll("b", "k").with_ttl(hour).add(["m"]).await?;
    client.zset("b", "k").with_ttl(hour).add([("m", 1.0)]).await?;
    client.map("b", "k").with_ttl(hour).update(&MapUpdate::new().register("f", 1)).await?;
    let all = [
        client.kv("b").expiry("k").await?,
        client.counter("b", "k").expiry().await?,
        client.set("b", "k").expiry().await?,
        client.rwset("b", "k").expiry().await?,
        client.flag("b", "k").expiry().await?,
        client.dwflag("b", "k").expiry().await?,
        client.hll("b", "k").expiry().await?,
        client.zset("b", "k").expiry().await?,
        client.map("b", "k").expiry().await?,
    ];
    // The instant is rounded up to a whole second.
    let most = hour + Duration::from_secs(1);
    for (at, expiry) in all.into_iter().enumerate() {
        let left = expiry.and_then(|expiry| expiry.left);
        assert!(left.is_some_and(|left| left > hour / 2 && left <= most), "{at}: {left:?}");
    }
    let set = client.set("b", "k");
    set.set_expiry(Ttl::Persist).await?;
    assert_eq!(set.expiry().await?.map(|expiry| expiry.left), Some(None));
    set.set_expiry(Ttl::For(Duration::from_secs(1))).await?;
    let begun = Instant::now();
    while set.expiry().await?.is_some() {
        assert!(begun.elapsed() < Duration::from_secs(30), "it does not expire");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(set.set_expiry(Ttl::Persist).await.unwrap_err().is_not_found());
    node.shutdown().await
}

#[tokio::test]
async fn what_bounds_and_buckets_say_is_what_the_client_hears() -> Result<(), Error> {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path()).await?;
    let client = node.client();
    let stock = client.bounded_counter("b", "chairs");
    stock.increment(3).await?;
    assert!(stock.decrement(4).await.unwrap_err().is_insufficient_rights());
    assert_eq!(stock.decrement(3).await?.value, 0);
    let bucket = client.bucket("b");
    assert_eq!(bucket.get().await?, BucketProps::default());
    let short = BucketProps { ttl_seconds: Some(60), ..BucketProps::default() };
    assert_eq!(bucket.set(&short).await?, short);
    client.kv("b").put("k", "v").await?;
    assert!(client.kv("b").expiry("k").await?.is_some_and(|expiry| expiry.left.is_some()));
    assert_eq!(bucket.reset().await?, BucketProps::default());
    assert!(bucket.set(&BucketProps { n: 0, ..short }).await.unwrap_err().is_usage());
    let map = client.map("b", "k");
    map.update(&MapUpdate::new().register("f", 1)).await?;
    let error = map.update(&MapUpdate::new().counter("f", 1)).await.unwrap_err();
    assert_eq!((error.is_conflict(), error.code()), (true, Some("wrong_kind")));
    assert!(error.title().is_some());
    node.shutdown().await
}
