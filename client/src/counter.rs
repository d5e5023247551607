//! Counters: one signed 64-bit number, changed by amounts.

use crate::Client;
use crate::answer::{Acks, Context, Written};
use crate::error::Error;
use crate::options::Options;
use crate::transport::{Call, encoded};
use hyper::Method;
use serde::Deserialize;
use serde_json::json;

/// One counter.
///
/// ```no_run
/// # async fn example(client: starling_client::Client) -> Result<(), starling_client::Error> {
/// let visits = client.counter("site", "visits");
/// let after = visits.increment(1).await?;
/// println!("{} visits, on {} owners", after.value, after.acks.owners);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Counter {
    client: Client,
    path: String,
}

/// A counter after a change: the value at the replica that applied it.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct CounterValue {
    /// The value.
    pub value: i64,
    /// Who has the change.
    pub acks: Acks,
    /// What was seen.
    pub context: Context,
}

impl Counter {
    pub(crate) fn new(client: Client, bucket: &str, key: &[u8]) -> Counter {
        let path = format!("/v1/counters/{}/{}", encoded(bucket.as_bytes()), encoded(key));
        Counter { client, path }
    }

    /// The same counter with other settings.
    #[must_use]
    pub fn with_options(&self, options: Options) -> Counter {
        Counter { client: self.client.with_options(options), path: self.path.clone() }
    }

    /// The value, 0 when the counter is absent.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn get(&self) -> Result<i64, Error> {
        #[derive(Deserialize)]
        struct Read {
            value: i64,
        }
        let call = Call::read(&self.path, &self.client.options);
        match self.client.transport.call(&call).await {
            Ok(answer) => answer.json(true).map(|Read { value }| value),
            Err(error) if error.is_not_found() => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Adds `amount`, negative to subtract.
    ///
    /// # Errors
    /// [`Error::is_conflict`] on overflow, and those of any call. When
    /// [`Error::is_unknown`], a repetition may count twice.
    pub async fn increment(&self, amount: i64) -> Result<CounterValue, Error> {
        self.change(json!({ "increment": amount })).await
    }

    /// Subtracts `amount`.
    ///
    /// # Errors
    /// As for [`increment`](Counter::increment).
    pub async fn decrement(&self, amount: i64) -> Result<CounterValue, Error> {
        self.change(json!({ "decrement": amount })).await
    }

    /// Back to 0; concurrent increments survive.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn reset(&self) -> Result<CounterValue, Error> {
        self.change(json!({ "reset": true })).await
    }

    /// Removes the counter as far as it is read first.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn delete(&self) -> Result<Written, Error> {
        let options = &self.client.options;
        let call = Call::write(Method::DELETE, &self.path, Default::default(), options);
        self.client.transport.call(&call).await?.json(false)
    }

    async fn change(&self, body: serde_json::Value) -> Result<CounterValue, Error> {
        let options = &self.client.options;
        let call = Call::write(Method::POST, &self.path, body.to_string().into(), options);
        self.client.transport.call(&call).await?.json(false)
    }
}
