//! A node in this process: what was counted is there again when the program is run again.
//!
//! ```sh
//! .ci/rocksdb cargo run -p starling-client --features embedded --example embedded -- /tmp/data
//! ```

use starling_client::Error;
use starling_client::embedded::Node;
use std::path::Path;

/// Counts one start in a node that lives in `dir`; how many there were.
///
/// # Errors
/// The node did not start or stop, and those of any call.
pub async fn run(dir: &Path) -> Result<i64, Error> {
    let node = Node::start(dir).await?;
    let starts = node.client().counter("app", "starts");
    starts.increment(1).await?;
    let count = starts.get().await?;
    node.shutdown().await?;
    Ok(count)
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let dir = std::env::args().nth(1).unwrap_or_else(|| "starling-embedded".into());
    println!("started {} times", run(dir.as_ref()).await?);
    Ok(())
}
