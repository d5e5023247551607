//! Flags: on or off. When someone switches it on while another switches it off it is on, or in
//! flags of the other type off.

use crate::Client;
use crate::answer::{Acks, Context};
use crate::error::Error;
use crate::object::{Object, handle, whole};
use crate::repeat::Repeat;
use serde::Deserialize;
use serde_json::json;

/// One flag.
///
/// ```
/// # starling_client::example(async |client| {
/// let beta = client.flag("features", "beta");
/// beta.enable().await?;
/// assert!(beta.is_enabled().await?);
/// # Ok(())
/// # });
/// ```
///
/// # What is repeated
/// Every call: a flag switched on twice is on. Where others switch it the other way during the
/// call, the repetition counts as the later one.
#[derive(Clone, Debug)]
pub struct Flag {
    object: Object,
}

handle!(Flag);
whole!(Flag);

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
    /// `kind` is the type: `flag` or `dwflag`.
    pub(crate) fn new(client: Client, kind: &'static str, bucket: &str, key: &[u8]) -> Flag {
        Flag { object: Object::new(client, kind, bucket, key) }
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
        let read = self.object.find(self.object.read("")).await?;
        Ok(read.is_some_and(|Read { enabled }| enabled))
    }

    /// Switches it on.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn enable(&self) -> Result<FlagValue, Error> {
        self.object.change(json!({ "enable": true }), None, Repeat::Harmless).await
    }

    /// Switches it off, as far as the applying replica has seen it on.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn disable(&self) -> Result<FlagValue, Error> {
        self.object.change(json!({ "disable": true }), None, Repeat::Harmless).await
    }
}
