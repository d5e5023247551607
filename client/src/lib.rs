//! Typed access to a Starling cluster over HTTP.
//!
//! A [`Client`] knows some nodes and keeps to the one that answered last. Attempts that fail are
//! repeated, at another node if there is one, as long as that is harmless: every handle says of
//! its calls which are. Changes of a [`Counter`] carry a key, so that they count once. Where no
//! attempt was answered [`Error::is_unknown`] says so. [`Options`] has the times, and how often.
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
mod bucket;
mod counter;
#[cfg(feature = "embedded")]
pub mod embedded;
mod error;
mod expiry;
mod flag;
mod hll;
mod kv;
mod map;
mod member;
mod nodes;
mod object;
mod options;
mod repeat;
mod set;
mod trace;
mod transport;
mod update;
mod zset;

pub use answer::{Acks, Context, Written};
pub use bounded::BoundedCounter;
pub use bucket::{Bucket, BucketProps, Durability, Resolve};
pub use counter::{Counter, CounterValue};
pub use error::Error;
pub use expiry::Expiry;
pub use flag::{Flag, FlagValue};
pub use hll::Hll;
pub use kv::{Kv, Sibling, Value};
pub use map::{Field, Fields, Map, MapPage, MapRange};
pub use options::{Durable, Options, Quorum, Ttl};
pub use set::{Page, Set};
pub use update::MapUpdate;
pub use zset::{ScorePage, ScoreRange, Zset};

use std::sync::Arc;
use transport::Transport;

/// Runs an example of this documentation against a node in the process; without the feature
/// `embedded` it only has to compile.
#[doc(hidden)]
pub fn example(body: impl AsyncFnOnce(Client) -> Result<(), Error>) {
    #[cfg(feature = "embedded")]
    embedded::run_example(body);
    #[cfg(not(feature = "embedded"))]
    drop(body);
}

/// A cluster, by some of its nodes. Clones share connections and the budget of repetitions.
///
/// # What is repeated
/// An operation whose answer is lost is repeated when doing it twice, whatever others do in
/// between, leaves what doing it once at the end would. That is every operation but increments of
/// bounded counters, of scores and of fields, which are repeated only when surely nothing was
/// applied: a connection was refused, or a node answered `503` or `429`. Changes of a [`Counter`]
/// carry a key, under which nodes count them once.
///
/// The price: an operation may be carried out again while its call lasts, and where a node was
/// frozen with the first attempt, when it has ended. Writes and removals that must not touch what
/// came later go with a [`Context`]: they touch nothing else, however often.
///
/// Repetitions go to another node where there is one; a node that could not be reached or was
/// silent is avoided for 2 s, and one that answers with `Retry-After` is asked no sooner. Between
/// attempts there are pauses, drawn from 0 to 20 ms, 40 ms and so on up to 1 s. There are at most
/// [`Options::attempts`] within [`Options::deadline`], and of all calls a tenth may be repeated,
/// and ten a second besides. Going past nodes that refuse connections is not counted.
#[derive(Clone, Debug)]
pub struct Client {
    transport: Arc<Transport>,
    options: Options,
}

impl Client {
    /// A client of the cluster that these nodes, `http://HOST:PORT`, belong to. Connections are
    /// made when calls need them. The first node is asked first, and others while it fails: let
    /// each client begin with the node that is nearest to it.
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
        Set::new(self.clone(), "set", bucket, key.as_ref())
    }

    /// A set in which a removal wins over an add at the same time.
    ///
    /// ```
    /// # starling_client::example(async |client| {
    /// client.rwset("access", "door").remove(["mallory"]).await?;
    /// assert!(!client.rwset("access", "door").contains("mallory").await?);
    /// # Ok(())
    /// # });
    /// ```
    pub fn rwset(&self, bucket: &str, key: impl AsRef<[u8]>) -> Set {
        Set::new(self.clone(), "rwset", bucket, key.as_ref())
    }

    /// A flag.
    pub fn flag(&self, bucket: &str, key: impl AsRef<[u8]>) -> Flag {
        Flag::new(self.clone(), "flag", bucket, key.as_ref())
    }

    /// A flag that is off when someone switches it off while another switches it on.
    ///
    /// ```
    /// # starling_client::example(async |client| {
    /// client.dwflag("payments", "open").disable().await?;
    /// # Ok(())
    /// # });
    /// ```
    pub fn dwflag(&self, bucket: &str, key: impl AsRef<[u8]>) -> Flag {
        Flag::new(self.clone(), "dwflag", bucket, key.as_ref())
    }

    /// A counter that is never below 0.
    pub fn bounded_counter(&self, bucket: &str, key: impl AsRef<[u8]>) -> BoundedCounter {
        BoundedCounter::new(self.clone(), bucket, key.as_ref())
    }

    /// A map.
    pub fn map(&self, bucket: &str, key: impl AsRef<[u8]>) -> Map {
        Map::new(self.clone(), bucket, key.as_ref())
    }

    /// Properties of a bucket.
    pub fn bucket(&self, name: &str) -> Bucket {
        Bucket::new(self.clone(), name)
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
