//! Counters: one signed 64-bit number, changed by amounts.

use crate::Client;
use crate::answer::{Acks, Context};
use crate::error::Error;
use crate::object::{Object, handle, whole};
use crate::repeat::Repeat;
use serde::Deserialize;
use serde_json::json;

/// One counter.
///
/// ```
/// # starling_client::example(async |client| {
/// let visits = client.counter("site", "visits");
/// match visits.increment(1).await {
///     Ok(after) => println!("{} visits, on {} owners", after.value, after.acks.owners),
///     // The node died with the answer: it counted once or not at all.
///     Err(error) if error.is_unknown() => println!("one visit in doubt"),
///     Err(error) => return Err(error),
/// }
/// # Ok(())
/// # });
/// ```
///
/// # What is repeated
/// Reads, [`reset`](Counter::reset) and removals, always. Increments and decrements only when
/// surely nothing was applied: a connection was refused, or a node said so (`503`, `429`). When
/// the answer to one that was sent is lost, the error [is unknown](Error::is_unknown) and it is
/// the caller's to decide: done again it may count twice, left alone it may not count. So the value
/// is exact while nothing is in doubt, and otherwise within what is. To count without doubt what
/// has names of its own (orders, visitors, votes), add the names to a [`Set`](crate::Set): adding
/// one twice adds it once, and [`Page::count`](crate::Page) is exact.
#[derive(Clone, Debug)]
pub struct Counter {
    object: Object,
}

handle!(Counter);
whole!(Counter);

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

/// The value that `object`, a counter of either type, has.
pub(crate) async fn value(object: &Object) -> Result<i64, Error> {
    #[derive(Deserialize)]
    struct Read {
        value: i64,
    }
    let read = object.find(object.read("")).await?;
    Ok(read.map_or(0, |Read { value }| value))
}

impl Counter {
    pub(crate) fn new(client: Client, bucket: &str, key: &[u8]) -> Counter {
        Counter { object: Object::new(client, "counter", bucket, key) }
    }

    /// The value, 0 when the counter is absent.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn get(&self) -> Result<i64, Error> {
        value(&self.object).await
    }

    /// Adds `amount`, negative to subtract. Never repeated once it may have been applied.
    ///
    /// # Errors
    /// [`Error::is_conflict`] on overflow, and those of any call. When
    /// [`Error::is_unknown`], a repetition may count twice.
    pub async fn increment(&self, amount: i64) -> Result<CounterValue, Error> {
        self.object.change(json!({ "increment": amount }), None, Repeat::CountsTwice).await
    }

    /// Subtracts `amount`.
    ///
    /// # Errors
    /// As for [`increment`](Counter::increment).
    pub async fn decrement(&self, amount: i64) -> Result<CounterValue, Error> {
        self.object.change(json!({ "decrement": amount }), None, Repeat::CountsTwice).await
    }

    /// Back to 0; concurrent increments survive. Repeated when an answer is lost: increments
    /// made during the call may be taken back too.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn reset(&self) -> Result<CounterValue, Error> {
        let options = crate::Options { ttl: None, ..self.object.options().clone() };
        let object = self.object.with_options(options);
        object.change(json!({ "reset": true }), None, Repeat::Harmless).await
    }
}
