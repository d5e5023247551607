//! Counters: one signed 64-bit number, changed by amounts.

use crate::Client;
use crate::answer::{Acks, Context};
use crate::error::Error;
use crate::object::{Object, handle, whole};
use crate::repeat::Repeat;
use serde::Deserialize;
use serde_json::{Value, json};

/// One counter.
///
/// ```
/// # starling_client::example(async |client| {
/// let visits = client.counter("site", "visits");
/// let after = visits.increment(1).await?;
/// println!("{} visits, on {} owners", after.value, after.acks.owners);
/// // What has a name of its own counts once, even when the process asks again after a restart.
/// visits.increment_as("order 4711", 1).await?;
/// visits.increment_as("order 4711", 1).await?;
/// # Ok(())
/// # });
/// ```
///
/// # What is repeated
/// Everything: changes carry a key, drawn for the call or given by the caller, under which they
/// count once whichever node is asked again. A key is remembered for a day. An error that
/// [is unknown](Error::is_unknown) comes only when there was no answer in all the time that the
/// [settings](crate::Options) give; [`increment_as`](Counter::increment_as) with the same key may
/// then be called again. With [`exactly_once`](crate::Options::exactly_once) off, what was sent is
/// not repeated unless surely nothing was applied.
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

    /// Adds `amount`, negative to subtract.
    ///
    /// # Errors
    /// [`Error::is_conflict`] on overflow, and those of any call.
    pub async fn increment(&self, amount: i64) -> Result<CounterValue, Error> {
        self.change(json!({ "increment": amount }), None).await
    }

    /// Adds `amount` under a key of the caller's, 1 to 255 visible ASCII characters: however often
    /// it is called within a day, with the same amount and by whomever, it counts once.
    ///
    /// # Errors
    /// [`Error::is_conflict`] on overflow, [`Error::is_key_reused`] when something else was asked
    /// of this counter under the key, and those of any call.
    pub async fn increment_as(&self, key: &str, amount: i64) -> Result<CounterValue, Error> {
        self.change(json!({ "increment": amount }), Some(key)).await
    }

    /// Subtracts `amount`.
    ///
    /// # Errors
    /// As for [`increment`](Counter::increment).
    pub async fn decrement(&self, amount: i64) -> Result<CounterValue, Error> {
        self.change(json!({ "decrement": amount }), None).await
    }

    async fn change(&self, body: Value, key: Option<&str>) -> Result<CounterValue, Error> {
        self.object.change_once(body, key, Repeat::CountsTwice).await
    }

    /// Back to 0; concurrent increments survive.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn reset(&self) -> Result<CounterValue, Error> {
        let options = crate::Options { ttl: None, ..self.object.options().clone() };
        let object = self.object.with_options(options);
        object.change_once(json!({ "reset": true }), None, Repeat::Harmless).await
    }
}
