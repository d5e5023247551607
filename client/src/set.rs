//! Sets: members of any bytes, read by pages. Of an add and a removal at the same time the add
//! wins, or in sets of the other type the removal.

use crate::Client;
use crate::answer::{Context, Written};
use crate::error::Error;
use crate::options::Options;
use crate::transport::{Call, encoded};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Members that one call takes.
const MEMBERS_MAX: usize = 1_000;

/// One set.
///
/// ```no_run
/// # async fn example(client: starling_client::Client) -> Result<(), starling_client::Error> {
/// let guests = client.set("party", "guests");
/// guests.add(["Ada", "Grace"]).await?;
/// assert!(guests.contains("Ada").await?);
///
/// let mut after = None;
/// loop {
///     let page = guests.page(after.as_deref(), 1_000).await?;
///     page.members.iter().for_each(|member| println!("{}", String::from_utf8_lossy(member)));
///     let Some(next) = page.next else { break };
///     after = Some(next);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Set {
    client: Client,
    path: String,
}

/// Members in order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Page {
    /// The members.
    pub members: Vec<Vec<u8>>,
    /// Members of the set in all.
    pub count: u64,
    /// Where the next page begins, if there is one.
    pub next: Option<Vec<u8>>,
    /// What was seen; `None` of a set never heard of.
    pub context: Option<Context>,
}

/// A member as JSON has it.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Member {
    Text(String),
    Bytes { base64: String },
}

impl Member {
    pub(crate) fn new(bytes: &[u8]) -> Member {
        match std::str::from_utf8(bytes) {
            Ok(text) => Member::Text(text.into()),
            Err(_) => Member::Bytes { base64: STANDARD.encode(bytes) },
        }
    }

    pub(crate) fn into_bytes(self) -> Result<Vec<u8>, Error> {
        match self {
            Member::Text(text) => Ok(text.into_bytes()),
            Member::Bytes { base64 } => {
                STANDARD.decode(base64).map_err(|e| Error::garbled(false, e.to_string()))
            }
        }
    }
}

impl Set {
    /// `kind` is the type in the path: `sets` or `rwsets`.
    pub(crate) fn new(client: Client, kind: &str, bucket: &str, key: &[u8]) -> Set {
        let path = format!("/v1/{kind}/{}/{}", encoded(bucket.as_bytes()), encoded(key));
        Set { client, path }
    }

    /// The same set with other settings.
    #[must_use]
    pub fn with_options(&self, options: Options) -> Set {
        Set { client: self.client.with_options(options), path: self.path.clone() }
    }

    /// Adds members, 1 to 1,000.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn add<I>(&self, members: I) -> Result<Written, Error>
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        self.change("add", members, None).await
    }

    /// Removes members, 1 to 1,000, as far as the applying replica has seen them added.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn remove<I>(&self, members: I) -> Result<Written, Error>
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        self.change("remove", members, None).await
    }

    /// Removes members as far as `context` has seen them added.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn remove_seen<I>(&self, members: I, context: &Context) -> Result<Written, Error>
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        self.change("remove", members, Some(context)).await
    }

    /// Whether `member` is in the set.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn contains(&self, member: impl AsRef<[u8]>) -> Result<bool, Error> {
        #[derive(Deserialize)]
        struct Read {
            member: bool,
        }
        let path = format!("{}/{}", self.path, encoded(member.as_ref()));
        let call = Call::read(&path, &self.client.options);
        match self.client.transport.call(&call).await {
            Ok(answer) => answer.json(true).map(|Read { member }| member),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// At most `limit` members, 1 to 1,000, after `after`; an absent set is empty.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn page(&self, after: Option<&[u8]>, limit: u32) -> Result<Page, Error> {
        #[derive(Deserialize)]
        struct Read {
            members: Vec<Member>,
            count: u64,
            next: Option<Member>,
            context: Context,
        }
        let mut call = Call::read(&self.path, &self.client.options);
        call.target += &format!("&limit={limit}");
        if let Some(after) = after {
            call.target += &format!("&after={}", encoded(after));
        }
        let read: Read = match self.client.transport.call(&call).await {
            Ok(answer) => answer.json(true)?,
            Err(error) if error.is_not_found() => return Ok(Page::default()),
            Err(error) => return Err(error),
        };
        Ok(Page {
            members: read.members.into_iter().map(Member::into_bytes).collect::<Result<_, _>>()?,
            count: read.count,
            next: read.next.map(Member::into_bytes).transpose()?,
            context: Some(read.context),
        })
    }

    /// Removes the whole set as far as it is read first.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn delete(&self) -> Result<Written, Error> {
        let options = &self.client.options;
        let call = Call::write(Method::DELETE, &self.path, Default::default(), options);
        self.client.transport.call(&call).await?.json(false)
    }

    async fn change<I>(
        &self,
        what: &str,
        members: I,
        context: Option<&Context>,
    ) -> Result<Written, Error>
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        let members: Vec<_> =
            members.into_iter().map(|member| Member::new(member.as_ref())).collect();
        if !(1..=MEMBERS_MAX).contains(&members.len()) {
            let text = format!("{} members in a call; 1 to {MEMBERS_MAX} go", members.len());
            return Err(Error::usage(text));
        }
        let body = json!({ what: members }).to_string().into();
        let call = Call::write(Method::POST, &self.path, body, &self.client.options);
        self.client.transport.call(&Call { context, ..call }).await?.json(false)
    }
}
