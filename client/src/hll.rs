//! HyperLogLogs: about how many distinct elements were added.

use crate::Client;
use crate::answer::Written;
use crate::error::Error;
use crate::options::Options;
use crate::set::Member;
use crate::transport::{Call, encoded};
use hyper::Method;
use serde::Deserialize;
use serde_json::json;

/// Elements that one call takes.
const ELEMENTS_MAX: usize = 1_000;

/// One sketch.
///
/// ```no_run
/// # async fn example(client: starling_client::Client) -> Result<(), starling_client::Error> {
/// let visitors = client.hll("site", "visitors");
/// visitors.add(["Ada", "Grace", "Ada"]).await?;
/// assert_eq!(visitors.estimate().await?, 2);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Hll {
    client: Client,
    path: String,
}

impl Hll {
    pub(crate) fn new(client: Client, bucket: &str, key: &[u8]) -> Hll {
        let path = format!("/v1/hlls/{}/{}", encoded(bucket.as_bytes()), encoded(key));
        Hll { client, path }
    }

    /// The same sketch with other settings.
    #[must_use]
    pub fn with_options(&self, options: Options) -> Hll {
        Hll { client: self.client.with_options(options), path: self.path.clone() }
    }

    /// Counts elements, 1 to 1,000. One that was counted before changes nothing, so that a call
    /// that timed out may be made again.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn add<I>(&self, elements: I) -> Result<Written, Error>
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        let elements: Vec<_> =
            elements.into_iter().map(|element| Member::new(element.as_ref())).collect();
        if !(1..=ELEMENTS_MAX).contains(&elements.len()) {
            let text = format!("{} elements in a call; 1 to {ELEMENTS_MAX} go", elements.len());
            return Err(Error::usage(text));
        }
        let body = json!({ "add": elements }).to_string().into();
        let call = Call::write(Method::POST, &self.path, body, &self.client.options);
        self.client.transport.call(&call).await?.json(false)
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
        let call = Call::read(&self.path, &self.client.options);
        match self.client.transport.call(&call).await {
            Ok(answer) => answer.json(true).map(|Read { estimate }| estimate),
            Err(error) if error.is_not_found() => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Removes the sketch as far as it is read first.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn delete(&self) -> Result<Written, Error> {
        let options = &self.client.options;
        let call = Call::write(Method::DELETE, &self.path, Default::default(), options);
        self.client.transport.call(&call).await?.json(false)
    }
}
