//! What objects of every type have in common: where they are, and the calls that all types take.

use crate::Client;
use crate::answer::{Context, Written};
use crate::error::Error;
use crate::expiry::Expiry;
use crate::options::{Options, Ttl};
use crate::repeat::Repeat;
use crate::transport::{Answer, Call, encoded};
use bytes::Bytes;
use hyper::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::time::Duration;

/// One object, by its type, its bucket and its key.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub client: Client,
    /// The type's name, in the singular.
    kind: &'static str,
    bucket: String,
    /// Encoded for a path.
    key: String,
}

impl Object {
    pub fn new(client: Client, kind: &'static str, bucket: &str, key: &[u8]) -> Object {
        Object { client, kind, bucket: bucket.into(), key: encoded(key) }
    }

    pub fn with_options(&self, options: Options) -> Object {
        Object { client: self.client.with_options(options), ..self.clone() }
    }

    pub fn options(&self) -> &Options {
        &self.client.options
    }

    fn call(&self, method: Method, action: &str, path: String, query: String) -> Call<'_> {
        Call {
            operation: format!("{}_{action}", self.kind),
            bucket: &self.bucket,
            method,
            path,
            query: Some(query),
            body: Bytes::new(),
            content_type: None,
            context: None,
            key: None,
            repeat: Repeat::Harmless,
            options: self.options(),
        }
    }

    fn path(&self) -> String {
        let plural = if self.kind == "kv" { "" } else { "s" };
        let (kind, bucket) = (self.kind, encoded(self.bucket.as_bytes()));
        format!("/v1/{kind}{plural}/{bucket}/{}", self.key)
    }

    /// A read of the object, with further query parameters.
    pub fn read(&self, further: &str) -> Call<'_> {
        self.call(Method::GET, "get", self.path(), self.options().query() + further)
    }

    /// A read of one member.
    pub fn read_member(&self, member: &[u8]) -> Call<'_> {
        let path = format!("{}/{}", self.path(), encoded(member));
        self.call(Method::GET, "member", path, self.options().query())
    }

    /// A write, with the expiry of what is written.
    pub fn write(&self, method: Method, body: Bytes) -> Call<'_> {
        let action = if method == Method::PUT { "put" } else { "update" };
        Call { body, ..self.call(method, action, self.path(), self.options().write_query()) }
    }

    pub async fn send(&self, call: Call<'_>) -> Result<Answer, Error> {
        self.client.transport.call(&call).await
    }

    /// What a read finds; `None` when the object is absent.
    pub async fn find<T: DeserializeOwned>(&self, call: Call<'_>) -> Result<Option<T>, Error> {
        match self.send(call).await {
            Ok(answer) => answer.json().map(Some),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Changes the object; `repeat` says what doing it twice means.
    pub async fn change<T: DeserializeOwned>(
        &self,
        body: Value,
        context: Option<&Context>,
        repeat: Repeat,
    ) -> Result<T, Error> {
        let call = self.write(Method::POST, body.to_string().into());
        self.send(Call { context, repeat, ..call }).await?.json()
    }

    /// Changes the object once, whatever is repeated: under `key`, or one of its own where the
    /// settings ask for it; else it is not repeated once it may have been applied.
    pub async fn change_once<T: DeserializeOwned>(
        &self,
        body: Value,
        key: Option<&str>,
        unkeyed: Repeat,
    ) -> Result<T, Error> {
        if key.is_some_and(|key| !(1..=KEY_CHARS_MAX).contains(&key.len())) {
            return Err(Error::usage("a key is 1 to 255 visible ASCII characters"));
        }
        let options = self.options();
        let drawn = || format!("{:032x}", rand::random::<u128>());
        let own = (options.exactly_once && options.attempts > 1).then(drawn);
        let key = key.map(str::to_owned).or(own);
        let repeat = if key.is_some() { Repeat::Harmless } else { unkeyed };
        let call = self.write(Method::POST, body.to_string().into());
        self.send(Call { key, repeat, ..call }).await?.json()
    }

    pub async fn delete(&self, context: Option<&Context>) -> Result<Written, Error> {
        let call = self.call(Method::DELETE, "delete", self.path(), self.options().query());
        self.send(Call { context, ..call }).await?.json()
    }

    fn expiry_call(&self, method: Method, action: &str) -> Call<'_> {
        let (kind, bucket) = (self.kind, encoded(self.bucket.as_bytes()));
        let path = format!("/v1/expiry/{kind}/{bucket}/{}", self.key);
        let call = self.call(method, "", path, self.options().query());
        Call { operation: format!("expiry_{action}"), ..call }
    }

    pub async fn expiry(&self) -> Result<Option<Expiry>, Error> {
        #[derive(Deserialize)]
        struct Read {
            ttl_seconds: Option<u64>,
            expires_at: Option<String>,
        }
        let read = self.find(self.expiry_call(Method::GET, "get")).await?;
        Ok(read.map(|Read { ttl_seconds, expires_at }| Expiry {
            left: ttl_seconds.map(Duration::from_secs),
            at: expires_at,
        }))
    }

    pub async fn set_expiry(&self, ttl: Ttl) -> Result<Written, Error> {
        let body = match ttl {
            Ttl::For(time) => json!({ "ttl_seconds": Ttl::seconds(time) }),
            Ttl::Persist => json!({ "persist": true }),
        };
        let call = self.expiry_call(Method::PUT, "put");
        self.send(Call { body: body.to_string().into(), ..call }).await?.json()
    }
}

/// The longest idempotency key.
const KEY_CHARS_MAX: usize = 255;

/// What a list of `what` may hold in one call.
pub(crate) const LIST_MAX: usize = 1_000;

/// Refuses an empty list and one that is too long.
pub(crate) fn check_count(count: usize, what: &str) -> Result<(), Error> {
    match (1..=LIST_MAX).contains(&count) {
        true => Ok(()),
        false => Err(Error::usage(format!("{count} {what} in a call; 1 to {LIST_MAX} go"))),
    }
}

/// Settings of one handle.
macro_rules! handle {
    ($handle:ident) => {
        impl $handle {
            /// The same with other settings.
            #[must_use]
            pub fn with_options(&self, options: crate::Options) -> $handle {
                $handle { object: self.object.with_options(options) }
            }
        }
    };
}
pub(crate) use handle;

/// Calls about the object as a whole, for the types that have them.
macro_rules! whole {
    ($handle:ident) => {
        impl $handle {
            /// The same with an expiry of what it writes: see [`Options::ttl`](crate::Options).
            #[must_use]
            pub fn with_ttl(&self, ttl: std::time::Duration) -> $handle {
                let options = self.object.options().clone();
                let ttl = Some(crate::Ttl::For(ttl));
                self.with_options(crate::Options { ttl, ..options })
            }

            /// Until when it is there; `None` when it is absent.
            ///
            /// # Errors
            /// Those of any call.
            pub async fn expiry(&self) -> Result<Option<crate::Expiry>, crate::Error> {
                self.object.expiry().await
            }

            /// Extends or shortens its time, or lets it stay, and changes nothing else. Repeated
            /// when an answer is lost.
            ///
            /// # Errors
            /// [`Error::is_not_found`](crate::Error::is_not_found) when it is absent or has
            /// expired, and those of any call.
            pub async fn set_expiry(
                &self,
                ttl: crate::Ttl,
            ) -> Result<crate::Written, crate::Error> {
                self.object.set_expiry(ttl).await
            }

            /// Removes it as far as it is read first. Repeated when an answer is lost: what others
            /// write to it during the call may be removed too.
            ///
            /// # Errors
            /// Those of any call.
            pub async fn delete(&self) -> Result<crate::Written, crate::Error> {
                self.object.delete(None).await
            }

            /// Removes exactly what `context` has seen of it. Repeated when an answer is lost,
            /// which changes nothing more.
            ///
            /// # Errors
            /// Those of any call.
            pub async fn delete_seen(
                &self,
                context: &crate::Context,
            ) -> Result<crate::Written, crate::Error> {
                self.object.delete(Some(context)).await
            }
        }
    };
}
pub(crate) use whole;
