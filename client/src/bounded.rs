//! Bounded counters: a number that is never below 0, in any view.

use crate::Client;
use crate::counter::{CounterValue, value};
use crate::error::Error;
use crate::object::{Object, handle};
use crate::repeat::Repeat;
use serde_json::json;

/// One bounded counter. It can be neither reset nor removed, and does not expire.
///
/// ```
/// # starling_client::example(async |client| {
/// let stock = client.bounded_counter("shop", "chairs");
/// stock.increment(12).await?;
/// match stock.decrement(5).await {
///     Ok(after) => println!("sold, {} are left", after.value),
///     Err(error) if error.is_insufficient_rights() => println!("sold out: {error}"),
///     Err(error) => return Err(error),
/// }
/// # Ok(())
/// # });
/// ```
///
/// # What is repeated
/// Reads always, changes only when surely nothing was applied: a connection was refused, or a node
/// said so (`503`, `429`). A decrement that is repeated by the caller may take twice, never more
/// than there is.
#[derive(Clone, Debug)]
pub struct BoundedCounter {
    object: Object,
}

handle!(BoundedCounter);

impl BoundedCounter {
    pub(crate) fn new(client: Client, bucket: &str, key: &[u8]) -> BoundedCounter {
        BoundedCounter { object: Object::new(client, "boundedcounter", bucket, key) }
    }

    /// The value, 0 when the counter is absent.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn get(&self) -> Result<i64, Error> {
        value(&self.object).await
    }

    /// Adds `amount`, which is not negative.
    ///
    /// # Errors
    /// [`Error::is_usage`] of a negative amount, [`Error::is_conflict`] on overflow, and those of
    /// any call. When [`Error::is_unknown`], a repetition may count twice.
    pub async fn increment(&self, amount: i64) -> Result<CounterValue, Error> {
        self.object.change(json!({ "increment": amount }), None, Repeat::CountsTwice).await
    }

    /// Subtracts `amount`, which is not negative.
    ///
    /// # Errors
    /// [`Error::is_insufficient_rights`] when the rights that could be gathered in time do not
    /// cover it, and as for [`increment`](BoundedCounter::increment).
    pub async fn decrement(&self, amount: i64) -> Result<CounterValue, Error> {
        self.object.change(json!({ "decrement": amount }), None, Repeat::CountsTwice).await
    }
}
