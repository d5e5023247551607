//! Registers: bytes under a key, and siblings when several were written at once.

use crate::answer::{Context, Written};
use crate::error::Error;
use crate::options::Options;
use crate::transport::{Answer, Call, encoded};
use crate::{Client, answer};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::{Method, StatusCode};
use serde::Deserialize;

const DEFAULT_TYPE: &str = "application/octet-stream";

/// Registers of one bucket.
///
/// ```no_run
/// # async fn example(client: starling_client::Client) -> Result<(), starling_client::Error> {
/// let kv = client.kv("carts");
/// let cart = kv.get("ada").await?;
/// // Several siblings: merge them as the application wants, and write back what was seen.
/// let merged: Vec<u8> = cart.siblings().iter().flat_map(|one| one.bytes.to_vec()).collect();
/// kv.put_seen("ada", merged, cart.context()).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Kv {
    client: Client,
    bucket: String,
}

/// One value of a register.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sibling {
    /// The bytes.
    pub bytes: Bytes,
    /// Their media type.
    pub content_type: String,
    /// When it was written, RFC 3339; empty unless there are several siblings.
    pub written_at: String,
}

/// What a register holds: at least one sibling.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Value {
    siblings: Vec<Sibling>,
    context: Context,
}

impl Value {
    /// The bytes of the only sibling, or of the first of several.
    pub fn bytes(&self) -> &Bytes {
        &self.siblings[0].bytes
    }

    /// All siblings, at least one.
    pub fn siblings(&self) -> &[Sibling] {
        &self.siblings
    }

    /// What was seen, to write back.
    pub fn context(&self) -> &Context {
        &self.context
    }
}

impl Kv {
    pub(crate) fn new(client: Client, bucket: String) -> Kv {
        Kv { client, bucket }
    }

    /// The same bucket with other settings.
    #[must_use]
    pub fn with_options(&self, options: Options) -> Kv {
        Kv { client: self.client.with_options(options), bucket: self.bucket.clone() }
    }

    /// Reads.
    ///
    /// # Errors
    /// [`Error::is_not_found`] when it is absent, and those of any call.
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Value, Error> {
        let call = Call::read(&self.path(key.as_ref()), &self.client.options);
        value(&self.client.transport.call(&call).await?)
    }

    /// Writes in place of what the applying replica holds.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn put(
        &self,
        key: impl AsRef<[u8]>,
        value: impl Into<Bytes>,
    ) -> Result<Written, Error> {
        self.write(Method::PUT, key.as_ref(), value.into(), None, DEFAULT_TYPE).await
    }

    /// Writes in place of exactly what `context` has seen.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn put_seen(
        &self,
        key: impl AsRef<[u8]>,
        value: impl Into<Bytes>,
        context: &Context,
    ) -> Result<Written, Error> {
        self.write(Method::PUT, key.as_ref(), value.into(), Some(context), DEFAULT_TYPE).await
    }

    /// Writes as [`put`](Kv::put) does, with a media type that is kept.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn put_typed(
        &self,
        key: impl AsRef<[u8]>,
        value: impl Into<Bytes>,
        content_type: &str,
    ) -> Result<Written, Error> {
        self.write(Method::PUT, key.as_ref(), value.into(), None, content_type).await
    }

    /// Removes what `context` has seen, or without one what is read first.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn delete(
        &self,
        key: impl AsRef<[u8]>,
        context: Option<&Context>,
    ) -> Result<Written, Error> {
        self.write(Method::DELETE, key.as_ref(), Bytes::new(), context, DEFAULT_TYPE).await
    }

    async fn write(
        &self,
        method: Method,
        key: &[u8],
        body: Bytes,
        context: Option<&Context>,
        content_type: &str,
    ) -> Result<Written, Error> {
        let call = Call::write(method, &self.path(key), body, &self.client.options);
        let call = Call { context, content_type: Some(content_type), ..call };
        self.client.transport.call(&call).await?.json(false)
    }

    fn path(&self, key: &[u8]) -> String {
        format!("/v1/kv/{}/{}", encoded(self.bucket.as_bytes()), encoded(key))
    }
}

fn value(answer: &Answer) -> Result<Value, Error> {
    #[derive(Deserialize)]
    struct Several {
        siblings: Vec<One>,
        context: answer::Context,
    }
    #[derive(Deserialize)]
    struct One {
        content_type: String,
        value_base64: String,
        written_at: String,
    }
    if answer.status != StatusCode::MULTIPLE_CHOICES {
        let context = Context(answer.header("starling-context").into());
        let content_type = answer.header("content-type").into();
        let bytes = answer.body.clone();
        let siblings = vec![Sibling { bytes, content_type, written_at: String::new() }];
        return Ok(Value { siblings, context });
    }
    let several: Several = answer.json(true)?;
    let siblings: Result<Vec<_>, Error> = several
        .siblings
        .into_iter()
        .map(|One { content_type, value_base64, written_at }| {
            let bytes = STANDARD.decode(value_base64);
            let bytes = bytes.map_err(|e| Error::garbled(false, e.to_string()))?.into();
            Ok(Sibling { bytes, content_type, written_at })
        })
        .collect();
    let siblings = siblings?;
    match siblings.is_empty() {
        true => Err(Error::garbled(false, "siblings without a sibling")),
        false => Ok(Value { siblings, context: several.context }),
    }
}
