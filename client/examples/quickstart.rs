//! The first steps: a register, a flag, a set, a map and a counter.
//!
//! ```sh
//! make run   # in another terminal
//! cargo run -p starling-client --example quickstart -- http://127.0.0.1:7000 http://127.0.0.1:7001
//! ```

use starling_client::{Client, Error, MapRange, MapUpdate};

/// What was read in the end.
#[derive(Debug)]
pub struct Seen {
    /// The register's value.
    pub greeting: String,
    /// Whether the flag is on.
    pub dark: bool,
    /// Members of the set.
    pub guests: u64,
    /// Fields of the map.
    pub fields: usize,
    /// The counter's value.
    pub visits: i64,
}

/// Writes and reads one object of each of five types, those of `name`.
///
/// # Errors
/// Those of any call.
pub async fn run(client: &Client, name: &str) -> Result<Seen, Error> {
    // Bytes under a key. What was written at once comes back as siblings.
    let kv = client.kv("quickstart");
    kv.put(name, format!("hello {name}")).await?;
    let greeting = kv.get(name).await?;

    // On or off; on wins.
    let dark = client.flag("quickstart", name);
    dark.enable().await?;

    // Members, read by pages; of an add and a removal at once the add wins.
    let guests = client.set("quickstart", name);
    guests.add(["Ada", "Grace", "Mallory"]).await?;
    guests.remove(["Mallory"]).await?;

    // Fields of different kinds, changed together.
    let profile = client.map("quickstart", name);
    let home = MapUpdate::new().register("city", "London");
    let update = MapUpdate::new().register("name", name).add("tags", ["maths"]).map("home", home);
    profile.update(&update).await?;

    // A number that adds up. When a node dies with the answer another one is asked, and it counts
    // once all the same.
    let visits = client.counter("quickstart", name);
    visits.increment(1).await?;

    Ok(Seen {
        greeting: String::from_utf8_lossy(greeting.bytes()).into_owned(),
        dark: dark.is_enabled().await?,
        guests: guests.page(None, 100).await?.count,
        fields: profile.page(&MapRange::default()).await?.fields.len(),
        visits: visits.get().await?,
    })
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let mut urls: Vec<String> = std::env::args().skip(1).collect();
    if urls.is_empty() {
        urls = (7000..7003).map(|port| format!("http://127.0.0.1:{port}")).collect();
    }
    println!("{:?}", run(&Client::connect(urls)?, "Ada").await?);
    Ok(())
}
