//! Properties of a bucket: how many replicas its objects have, and how they are read and written.

use crate::Client;
use crate::error::Error;
use crate::options::Quorum;
use crate::repeat::Repeat;
use crate::transport::{Call, encoded};
use bytes::Bytes;
use hyper::Method;
use serde::{Deserialize, Serialize};

/// A bucket's properties in force, to be read and set.
///
/// ```
/// # starling_client::example(async |client| {
/// use starling_client::{BucketProps, Quorum};
///
/// let sessions = client.bucket("sessions");
/// let props = BucketProps { w: Quorum::All, ttl_seconds: Some(1_800), ..sessions.get().await? };
/// sessions.set(&props).await?;
/// # Ok(())
/// # });
/// ```
///
/// # What is repeated
/// Every call: properties set twice are set.
#[derive(Clone, Debug)]
pub struct Bucket {
    client: Client,
    name: String,
}

/// When a replica acknowledges a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// After the group commit that holds it.
    #[default]
    Sync,
    /// Before; the sync follows within 100 ms.
    Batched,
}

/// How several siblings of a register are read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resolve {
    /// All of them.
    #[default]
    Siblings,
    /// The one written last.
    Lww,
}

/// Properties of a bucket.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BucketProps {
    /// Replicas of each object, 1 to 7; 3 unless set.
    pub n: u8,
    /// Replicas that answer a read; a quorum unless set.
    pub r: Quorum,
    /// Replicas that acknowledge a write; a quorum unless set.
    pub w: Quorum,
    /// Whether stand-ins count among those that acknowledge; they do unless set.
    pub sloppy: bool,
    /// When a replica acknowledges.
    pub durability: Durability,
    /// How siblings are read.
    pub resolve: Resolve,
    /// Seconds after which an object is absent, when its write does not say; at most ten years.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_seconds: Option<u32>,
}

impl Default for BucketProps {
    fn default() -> Self {
        BucketProps {
            n: 3,
            r: Quorum::Quorum,
            w: Quorum::Quorum,
            sloppy: true,
            durability: Durability::Sync,
            resolve: Resolve::Siblings,
            ttl_seconds: None,
        }
    }
}

impl Bucket {
    pub(crate) fn new(client: Client, name: &str) -> Bucket {
        Bucket { client, name: name.into() }
    }

    /// The properties in force: those that were set, or the defaults.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn get(&self) -> Result<BucketProps, Error> {
        self.call(Method::GET, "bucket_get", Bytes::new()).await
    }

    /// Sets all properties.
    ///
    /// # Errors
    /// [`Error::is_usage`] of what cannot be, and those of any call.
    pub async fn set(&self, props: &BucketProps) -> Result<BucketProps, Error> {
        let body = serde_json::to_vec(props).expect("properties are plain fields");
        self.call(Method::PUT, "bucket_put", body.into()).await
    }

    /// Back to the defaults.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn reset(&self) -> Result<BucketProps, Error> {
        self.call(Method::DELETE, "bucket_delete", Bytes::new()).await
    }

    async fn call(&self, method: Method, name: &str, body: Bytes) -> Result<BucketProps, Error> {
        let call = Call {
            operation: name.into(),
            bucket: &self.name,
            method,
            path: format!("/v1/buckets/{}", encoded(self.name.as_bytes())),
            query: None,
            body,
            content_type: None,
            context: None,
            key: None,
            repeat: Repeat::Harmless,
            options: &self.client.options,
        };
        self.client.transport.call(&call).await?.json()
    }
}
