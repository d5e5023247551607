//! Counting while nodes die: with a counter, whose value is exact but for what is in doubt, and
//! with the names of what is counted, which leaves no doubt.
//!
//! ```sh
//! make run   # in another terminal
//! cargo run -p starling-client --example counters
//! ```

use starling_client::{Client, Error};

/// What became of increments.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// They count.
    pub acknowledged: i64,
    /// They count or they do not: the answer was lost.
    pub unknown: i64,
}

impl Tally {
    /// Whether a counter that had only these increments may have this value.
    pub fn allows(self, value: i64) -> bool {
        (self.acknowledged..=self.acknowledged + self.unknown).contains(&value)
    }
}

/// Counts up by `times` and keeps a tally. Nothing is done about what is in doubt: to repeat it
/// could count twice.
///
/// # Errors
/// Those of any call but [`Error::is_unknown`].
pub async fn count(client: &Client, counter: &str, times: u32) -> Result<Tally, Error> {
    let counter = client.counter("counters", counter);
    let mut tally = Tally::default();
    for _ in 0..times {
        match counter.increment(1).await {
            Ok(_) => tally.acknowledged += 1,
            Err(error) if error.is_unknown() => tally.unknown += 1,
            Err(error) => return Err(error),
        }
    }
    Ok(tally)
}

/// Counts what has a name of its own by adding the names to a set: the client repeats that as
/// often as it needs to, and a name added twice is there once.
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
    let tally = count(&client, "visits", 1_000).await?;
    let value = client.counter("counters", "visits").get().await?;
    println!("visits: {value}, {before} before; of 1000: {tally:?}");
    let names: Vec<String> = (0..1_000).map(|number| format!("order {number}")).collect();
    count_named(&client, "orders", &names).await?;
    println!("orders: {}", named(&client, "orders").await?);
    Ok(())
}
