//! Typed access to a Starling cluster over HTTP.
//!
//! A [`Client`] knows some nodes and uses any of them. A call that fails goes to the next node
//! only where that is safe: when nothing was applied, or when the call is a read. What an
//! increment that timed out came to is unknown, and [`Error::is_unknown`] says so.
//!
//! ```no_run
//! # async fn example() -> Result<(), starling_client::Error> {
//! use starling_client::Client;
//!
//! let client = Client::connect(["http://127.0.0.1:7000", "http://127.0.0.1:7001"])?;
//! client.kv("demo").put("greeting", "hello").await?;
//! client.counter("demo", "visits").increment(1).await?;
//! client.set("demo", "guests").add(["Ada", "Grace"]).await?;
//! client.flag("demo", "beta").enable().await?;
//!
//! let greeting = client.kv("demo").get("greeting").await?;
//! println!("{}", String::from_utf8_lossy(greeting.bytes()));
//! # Ok(())
//! # }
//! ```

mod answer;
mod bounded;
mod counter;
mod error;
mod flag;
mod hll;
mod kv;
mod options;
mod set;
mod transport;
mod zset;

pub use answer::{Acks, Context, Written};
pub use bounded::BoundedCounter;
pub use counter::{Counter, CounterValue};
pub use error::Error;
pub use flag::{Flag, FlagValue};
pub use hll::Hll;
pub use kv::{Kv, Sibling, Value};
pub use options::{Durable, Options, Quorum};
pub use set::{Page, Set};
pub use zset::{ScorePage, ScoreRange, Zset};

use std::sync::Arc;
use transport::Transport;

/// A cluster, by some of its nodes. Clones share connections.
#[derive(Clone, Debug)]
pub struct Client {
    transport: Arc<Transport>,
    options: Options,
}

impl Client {
    /// A client of the cluster that these nodes, `http://HOST:PORT`, belong to. Connections are
    /// made when calls need them.
    ///
    /// # Errors
    /// There is no url, or one is not of that form ([`Error::is_usage`]).
    pub fn connect<I>(urls: I) -> Result<Client, Error>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let transport = Arc::new(Transport::new(urls)?);
        Ok(Client { transport, options: Options::default() })
    }

    /// The same client with other settings for every call.
    #[must_use]
    pub fn with_options(&self, options: Options) -> Client {
        Client { transport: self.transport.clone(), options }
    }

    /// Registers of a bucket.
    pub fn kv(&self, bucket: impl Into<String>) -> Kv {
        Kv::new(self.clone(), bucket.into())
    }

    /// A counter.
    pub fn counter(&self, bucket: &str, key: impl AsRef<[u8]>) -> Counter {
        Counter::new(self.clone(), bucket, key.as_ref())
    }

    /// A set.
    pub fn set(&self, bucket: &str, key: impl AsRef<[u8]>) -> Set {
        Set::new(self.clone(), "sets", bucket, key.as_ref())
    }

    /// A set in which a removal wins over an add at the same time.
    ///
    /// ```no_run
    /// # async fn example(client: starling_client::Client) -> Result<(), starling_client::Error> {
    /// client.rwset("access", "door").remove(["mallory"]).await?;
    /// assert!(!client.rwset("access", "door").contains("mallory").await?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn rwset(&self, bucket: &str, key: impl AsRef<[u8]>) -> Set {
        Set::new(self.clone(), "rwsets", bucket, key.as_ref())
    }

    /// A flag.
    pub fn flag(&self, bucket: &str, key: impl AsRef<[u8]>) -> Flag {
        Flag::new(self.clone(), "flags", bucket, key.as_ref())
    }

    /// A flag that is off when someone switches it off while another switches it on.
    ///
    /// ```no_run
    /// # async fn example(client: starling_client::Client) -> Result<(), starling_client::Error> {
    /// client.dwflag("payments", "open").disable().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn dwflag(&self, bucket: &str, key: impl AsRef<[u8]>) -> Flag {
        Flag::new(self.clone(), "dwflags", bucket, key.as_ref())
    }

    /// A counter that is never below 0.
    pub fn bounded_counter(&self, bucket: &str, key: impl AsRef<[u8]>) -> BoundedCounter {
        BoundedCounter::new(self.clone(), bucket, key.as_ref())
    }

    /// A HyperLogLog.
    pub fn hll(&self, bucket: &str, key: impl AsRef<[u8]>) -> Hll {
        Hll::new(self.clone(), bucket, key.as_ref())
    }

    /// A sorted set.
    pub fn zset(&self, bucket: &str, key: impl AsRef<[u8]>) -> Zset {
        Zset::new(self.clone(), bucket, key.as_ref())
    }
}
