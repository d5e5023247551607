//! Flags: on or off. When someone switches it on while another switches it off it is on, or in
//! flags of the other type off.

use crate::Client;
use crate::answer::{Acks, Context, Written};
use crate::error::Error;
use crate::options::Options;
use crate::transport::{Call, encoded};
use hyper::Method;
use serde::Deserialize;
use serde_json::json;

/// One flag.
///
/// ```no_run
/// # async fn example(client: starling_client::Client) -> Result<(), starling_client::Error> {
/// let beta = client.flag("features", "beta");
/// beta.enable().await?;
/// assert!(beta.is_enabled().await?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Flag {
    client: Client,
    path: String,
}

/// A flag after a change: the value at the replica that applied it.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct FlagValue {
    /// On or off.
    pub enabled: bool,
    /// Who has the change.
    pub acks: Acks,
    /// What was seen.
    pub context: Context,
}

impl Flag {
    /// `kind` is the type in the path: `flags` or `dwflags`.
    pub(crate) fn new(client: Client, kind: &str, bucket: &str, key: &[u8]) -> Flag {
        let path = format!("/v1/{kind}/{}/{}", encoded(bucket.as_bytes()), encoded(key));
        Flag { client, path }
    }

    /// The same flag with other settings.
    #[must_use]
    pub fn with_options(&self, options: Options) -> Flag {
        Flag { client: self.client.with_options(options), path: self.path.clone() }
    }

    /// Whether it is on; an absent flag is off.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn is_enabled(&self) -> Result<bool, Error> {
        #[derive(Deserialize)]
        struct Read {
            enabled: bool,
        }
        let call = Call::read(&self.path, &self.client.options);
        match self.client.transport.call(&call).await {
            Ok(answer) => answer.json(true).map(|Read { enabled }| enabled),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Switches it on.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn enable(&self) -> Result<FlagValue, Error> {
        self.change(json!({ "enable": true })).await
    }

    /// Switches it off, as far as the applying replica has seen it on.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn disable(&self) -> Result<FlagValue, Error> {
        self.change(json!({ "disable": true })).await
    }

    /// Removes the flag as far as it is read first.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn delete(&self) -> Result<Written, Error> {
        let options = &self.client.options;
        let call = Call::write(Method::DELETE, &self.path, Default::default(), options);
        self.client.transport.call(&call).await?.json(false)
    }

    async fn change(&self, body: serde_json::Value) -> Result<FlagValue, Error> {
        let options = &self.client.options;
        let call = Call::write(Method::POST, &self.path, body.to_string().into(), options);
        self.client.transport.call(&call).await?.json(false)
    }
}
