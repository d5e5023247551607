//! Sets, sorted sets, sketches and maps: what is in them, page by page.
//!
//! ```sh
//! make run   # in another terminal
//! cargo run -p starling-client --example collections
//! ```

use starling_client::{Client, Error, Field, MapRange, MapUpdate, ScoreRange};
use std::time::Duration;

/// What was read in the end.
#[derive(Clone, PartialEq, Debug)]
pub struct Seen {
    /// Members of the set, in order.
    pub members: Vec<String>,
    /// Who has the highest score.
    pub leader: String,
    /// About how many distinct visitors there were.
    pub visitors: u64,
    /// A field in a map in the map.
    pub city: Option<Field>,
    /// Whether the session is there and will not stay.
    pub session_expires: bool,
}

/// Fills and reads one collection of each type, those of `name`.
///
/// # Errors
/// Those of any call.
pub async fn run(client: &Client, name: &str) -> Result<Seen, Error> {
    let tags = client.set("collections", name);
    tags.add((0..25).map(|number| format!("tag {number:02}"))).await?;
    let page = tags.page(None, 100).await?;
    // Exactly what that page has seen: what others add meanwhile stays.
    if let Some(context) = &page.context {
        tags.remove_seen(["tag 00", "tag 01"], context).await?;
    }

    let scores = client.zset("collections", name);
    scores.add([("Ada", 10.0), ("Grace", 12.5)]).await?;
    let highest = ScoreRange { desc: true, limit: 1, ..ScoreRange::default() };
    let top = scores.page(&highest).await?;

    let visitors = client.hll("collections", name);
    visitors.add(["10.0.0.1", "10.0.0.2", "10.0.0.1"]).await?;

    let profile = client.map("collections", name);
    let home = MapUpdate::new().register("city", "London").register("street", "Dorset Street");
    profile.update(&MapUpdate::new().flag("newsletter", true).map("home", home)).await?;
    profile.update(&MapUpdate::new().map("home", MapUpdate::new().remove("street"))).await?;

    let session = client.rwset("sessions", name).with_ttl(Duration::from_secs(600));
    session.add(["signed in"]).await?;

    Ok(Seen {
        members: all(client, name).await?,
        leader: top.members.first().map(|(member, _)| text(member)).unwrap_or_default(),
        visitors: visitors.estimate().await?,
        city: profile.page(&MapRange::default()).await?.fields.at(["home", "city"]).cloned(),
        session_expires: session.expiry().await?.is_some_and(|expiry| expiry.left.is_some()),
    })
}

/// All members of the set, ten a page.
async fn all(client: &Client, name: &str) -> Result<Vec<String>, Error> {
    let (set, mut after, mut members) = (client.set("collections", name), None, Vec::new());
    loop {
        let page = set.page(after.as_deref(), 10).await?;
        members.extend(page.members.iter().map(|member| text(member)));
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(members),
        }
    }
}

fn text(member: &[u8]) -> String {
    String::from_utf8_lossy(member).into_owned()
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let mut urls: Vec<String> = std::env::args().skip(1).collect();
    if urls.is_empty() {
        urls = (7000..7003).map(|port| format!("http://127.0.0.1:{port}")).collect();
    }
    println!("{:#?}", run(&Client::connect(urls)?, "Ada").await?);
    Ok(())
}
