//! HyperLogLogs: about how many distinct elements were added.

use crate::Client;
use crate::answer::Written;
use crate::error::Error;
use crate::member::Member;
use crate::object::{Object, check_count, handle, whole};
use crate::repeat::Repeat;
use serde::Deserialize;
use serde_json::json;

/// One sketch.
///
/// ```
/// # starling_client::example(async |client| {
/// let visitors = client.hll("site", "visitors");
/// visitors.add(["Ada", "Grace", "Ada"]).await?;
/// assert_eq!(visitors.estimate().await?, 2);
/// # Ok(())
/// # });
/// ```
///
/// # What is repeated
/// Every call: an element counted again changes nothing.
#[derive(Clone, Debug)]
pub struct Hll {
    object: Object,
}

handle!(Hll);
whole!(Hll);

impl Hll {
    pub(crate) fn new(client: Client, bucket: &str, key: &[u8]) -> Hll {
        Hll { object: Object::new(client, "hll", bucket, key) }
    }

    /// Counts elements, 1 to 1,000. One that was counted before changes nothing.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn add<I>(&self, elements: I) -> Result<Written, Error>
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        let elements = Member::all(elements);
        check_count(elements.len(), "elements")?;
        self.object.change(json!({ "add": elements }), None, Repeat::Harmless).await
    }

    /// About how many distinct elements were added; an absent sketch counts none.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn estimate(&self) -> Result<u64, Error> {
        #[derive(Deserialize)]
        struct Read {
            estimate: u64,
        }
        let read = self.object.find(self.object.read("")).await?;
        Ok(read.map_or(0, |Read { estimate }| estimate))
    }
}
