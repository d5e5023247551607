//! Counting while nodes die: the client repeats what was not answered, and it counts once.
//!
//! ```sh
//! make run   # in another terminal
//! cargo run -p starling-client --example counters
//! ```

use starling_client::{Client, Error};

/// Counts up by `times`.
///
/// # Errors
/// Those of any call.
pub async fn count(client: &Client, counter: &str, times: u32) -> Result<(), Error> {
    let counter = client.counter("counters", counter);
    for _ in 0..times {
        counter.increment(1).await?;
    }
    Ok(())
}

/// Counts what has a name of its own with the name as the key: who asks again, even after a
/// restart, counts nothing twice within a day.
///
/// # Errors
/// Those of any call.
pub async fn count_keyed(client: &Client, counter: &str, names: &[String]) -> Result<(), Error> {
    let counter = client.counter("counters", counter);
    for name in names {
        counter.increment_as(name, 1).await?;
    }
    Ok(())
}

/// Counts what has a name of its own by adding the names to a set: a name added twice is there
/// once, for as long as the set is kept.
///
/// # Errors
/// Those of any call.
pub async fn count_named(client: &Client, set: &str, names: &[String]) -> Result<(), Error> {
    let set = client.set("counters", set);
    for name in names {
        set.add([name]).await?;
    }
    Ok(())
}

/// How many names were counted.
///
/// # Errors
/// Those of any call.
pub async fn named(client: &Client, set: &str) -> Result<u64, Error> {
    Ok(client.set("counters", set).page(None, 1).await?.count)
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let mut urls: Vec<String> = std::env::args().skip(1).collect();
    if urls.is_empty() {
        urls = (7000..7003).map(|port| format!("http://127.0.0.1:{port}")).collect();
    }
    let client = Client::connect(urls)?;
    let before = client.counter("counters", "visits").get().await?;
    count(&client, "visits", 1_000).await?;
    let value = client.counter("counters", "visits").get().await?;
    println!("visits: {value}, {before} before");
    let names: Vec<String> = (0..1_000).map(|number| format!("order {number}")).collect();
    count_keyed(&client, "ordered", &names).await?;
    println!("ordered: {}", client.counter("counters", "ordered").get().await?);
    count_named(&client, "orders", &names).await?;
    println!("orders: {}", named(&client, "orders").await?);
    Ok(())
}
