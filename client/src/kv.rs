//! Registers: bytes under a key, and siblings when several were written at once.

use crate::answer::{Context, Written};
use crate::error::Error;
use crate::expiry::Expiry;
use crate::object::Object;
use crate::options::{Options, Ttl};
use crate::transport::{Answer, Call};
use crate::{Client, answer};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::{Method, StatusCode};
use serde::Deserialize;
use std::time::Duration;

const DEFAULT_TYPE: &str = "application/octet-stream";

/// Registers of one bucket.
///
/// ```
/// # starling_client::example(async |client| {
/// let kv = client.kv("carts");
/// kv.put("ada", "apples").await?;
/// let cart = kv.get("ada").await?;
/// // Several siblings: merge them as the application wants, and write back what was seen.
/// let merged: Vec<u8> = cart.siblings().iter().flat_map(|one| one.bytes.to_vec()).collect();
/// kv.put_seen("ada", merged, cart.context()).await?;
/// # Ok(())
/// # });
/// ```
///
/// # What is repeated
/// Every call. A value written twice is there once: siblings that are equal are read as one. The
/// repetition of [`put`](Kv::put), or of [`delete`](Kv::delete) without a context, counts as a
/// write of its moment, so it may take the place of what others wrote during the call; with a
/// context it touches nothing that the context has not seen.
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

    /// The same bucket with an expiry of what is written: see [`Options::ttl`](Options).
    #[must_use]
    pub fn with_ttl(&self, ttl: Duration) -> Kv {
        self.with_options(Options { ttl: Some(Ttl::For(ttl)), ..self.client.options.clone() })
    }

    /// Reads.
    ///
    /// # Errors
    /// [`Error::is_not_found`] when it is absent, and those of any call.
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Value, Error> {
        let object = self.object(key.as_ref());
        value(&object.send(object.read("")).await?)
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
        self.write(key.as_ref(), value.into(), None, DEFAULT_TYPE).await
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
        self.write(key.as_ref(), value.into(), Some(context), DEFAULT_TYPE).await
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
        self.write(key.as_ref(), value.into(), None, content_type).await
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
        self.object(key.as_ref()).delete(context).await
    }

    /// Until when a value is there; `None` when it is absent.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn expiry(&self, key: impl AsRef<[u8]>) -> Result<Option<Expiry>, Error> {
        self.object(key.as_ref()).expiry().await
    }

    /// Extends or shortens the time of a value, or lets it stay.
    ///
    /// # Errors
    /// [`Error::is_not_found`] when it is absent or has expired, and those of any call.
    pub async fn set_expiry(&self, key: impl AsRef<[u8]>, ttl: Ttl) -> Result<Written, Error> {
        self.object(key.as_ref()).set_expiry(ttl).await
    }

    async fn write(
        &self,
        key: &[u8],
        body: Bytes,
        context: Option<&Context>,
        content_type: &str,
    ) -> Result<Written, Error> {
        let object = self.object(key);
        let call = object.write(Method::PUT, body);
        object.send(Call { context, content_type: Some(content_type), ..call }).await?.json()
    }

    fn object(&self, key: &[u8]) -> Object {
        Object::new(self.client.clone(), "kv", &self.bucket, key)
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
    let several: Several = answer.json()?;
    let mut siblings: Vec<Sibling> = Vec::new();
    for One { content_type, value_base64, written_at } in several.siblings {
        let bytes = STANDARD.decode(value_base64);
        let bytes: Bytes = bytes.map_err(|e| Error::garbled(false, e.to_string()))?.into();
        // A write that was repeated may have been applied twice, as two dots of one value.
        let is_same = |one: &Sibling| one.bytes == bytes && one.content_type == content_type;
        if !siblings.iter().any(is_same) {
            siblings.push(Sibling { bytes, content_type, written_at });
        }
    }
    match siblings.is_empty() {
        true => Err(Error::garbled(false, "siblings without a sibling")),
        false => Ok(Value { siblings, context: several.context }),
    }
}
