//! Sets: members of any bytes, read by pages. Of an add and a removal at the same time the add
//! wins, or in sets of the other type the removal.

use crate::Client;
use crate::answer::{Context, Written};
use crate::error::Error;
use crate::member::Member;
use crate::object::{Object, check_count, handle, whole};
use crate::repeat::Repeat;
use crate::transport::encoded;
use serde::Deserialize;
use serde_json::json;

/// One set.
///
/// ```
/// # starling_client::example(async |client| {
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
/// # });
/// ```
///
/// # What is repeated
/// Every call: a member added twice is there once. Where others remove during the call what it
/// adds, or add what it removes, the repetition counts as the later one;
/// [`remove_seen`](Set::remove_seen) touches nothing that its context has not seen.
#[derive(Clone, Debug)]
pub struct Set {
    object: Object,
}

handle!(Set);
whole!(Set);

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

impl Set {
    /// `kind` is the type: `set` or `rwset`.
    pub(crate) fn new(client: Client, kind: &'static str, bucket: &str, key: &[u8]) -> Set {
        Set { object: Object::new(client, kind, bucket, key) }
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
        let read = self.object.find(self.object.read_member(member.as_ref())).await?;
        Ok(read.is_some_and(|Read { member }| member))
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
        let after = after.map(|after| format!("&after={}", encoded(after)));
        let query = format!("&limit={limit}{}", after.unwrap_or_default());
        let read: Option<Read> = self.object.find(self.object.read(&query)).await?;
        let Some(read) = read else { return Ok(Page::default()) };
        Ok(Page {
            members: read.members.into_iter().map(Member::into_bytes).collect::<Result<_, _>>()?,
            count: read.count,
            next: read.next.map(Member::into_bytes).transpose()?,
            context: Some(read.context),
        })
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
        let members = Member::all(members);
        check_count(members.len(), "members")?;
        self.object.change(json!({ what: members }), context, Repeat::Harmless).await
    }
}
