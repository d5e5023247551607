//! Bounded counters: a number that is never below 0, in any view.

use crate::Client;
use crate::counter::CounterValue;
use crate::error::Error;
use crate::options::Options;
use crate::transport::{Call, encoded};
use hyper::Method;
use serde::Deserialize;
use serde_json::json;

/// One bounded counter. It can be neither reset nor removed.
///
/// ```no_run
/// # async fn example(client: starling_client::Client) -> Result<(), starling_client::Error> {
/// let stock = client.bounded_counter("shop", "chairs");
/// stock.increment(12).await?;
/// match stock.decrement(5).await {
///     Ok(after) => println!("sold, {} are left", after.value),
///     Err(error) if error.is_insufficient_rights() => println!("sold out: {error}"),
///     Err(error) => return Err(error),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct BoundedCounter {
    client: Client,
    path: String,
}

impl BoundedCounter {
    pub(crate) fn new(client: Client, bucket: &str, key: &[u8]) -> BoundedCounter {
        let (bucket, key) = (encoded(bucket.as_bytes()), encoded(key));
        BoundedCounter { client, path: format!("/v1/boundedcounters/{bucket}/{key}") }
    }

    /// The same counter with other settings.
    #[must_use]
    pub fn with_options(&self, options: Options) -> BoundedCounter {
        BoundedCounter { client: self.client.with_options(options), path: self.path.clone() }
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

    /// Adds `amount`, which is not negative.
    ///
    /// # Errors
    /// [`Error::is_usage`] of a negative amount, [`Error::is_conflict`] on overflow, and those of
    /// any call. When [`Error::is_unknown`], a repetition may count twice.
    pub async fn increment(&self, amount: i64) -> Result<CounterValue, Error> {
        self.change(json!({ "increment": amount })).await
    }

    /// Subtracts `amount`, which is not negative.
    ///
    /// # Errors
    /// [`Error::is_insufficient_rights`] when the rights that could be gathered in time do not
    /// cover it, and as for [`increment`](BoundedCounter::increment).
    pub async fn decrement(&self, amount: i64) -> Result<CounterValue, Error> {
        self.change(json!({ "decrement": amount })).await
    }

    async fn change(&self, body: serde_json::Value) -> Result<CounterValue, Error> {
        let options = &self.client.options;
        let call = Call::write(Method::POST, &self.path, body.to_string().into(), options);
        self.client.transport.call(&call).await?.json(false)
    }
}
