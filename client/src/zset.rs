//! Sorted sets: members with scores, read from the lowest score or from the highest.

use crate::Client;
use crate::answer::{Context, Written};
use crate::error::Error;
use crate::options::Options;
use crate::set::Member;
use crate::transport::{Call, encoded};
use hyper::Method;
use serde::Deserialize;
use serde_json::{Value, json};

/// Members that one call takes.
const MEMBERS_MAX: usize = 1_000;

/// One sorted set.
///
/// ```no_run
/// # async fn example(client: starling_client::Client) -> Result<(), starling_client::Error> {
/// use starling_client::ScoreRange;
///
/// let board = client.zset("game", "board");
/// board.add([("Ada", 10.0), ("Grace", 12.5)]).await?;
/// board.increment("Ada", 5.0).await?;
/// assert_eq!(board.score("Ada").await?, Some(15.0));
///
/// let mut range = ScoreRange { desc: true, ..ScoreRange::default() };
/// loop {
///     let page = board.page(&range).await?;
///     for (member, score) in &page.members {
///         println!("{score} {}", String::from_utf8_lossy(member));
///     }
///     let Some(next) = page.next else { break };
///     range.after = Some(next);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Zset {
    client: Client,
    path: String,
}

/// Which members to read, in the order of their scores.
#[derive(Clone, PartialEq, Debug)]
pub struct ScoreRange {
    /// Only those with this score or more.
    pub min: Option<f64>,
    /// Only those with this score or less.
    pub max: Option<f64>,
    /// From the highest score to the lowest.
    pub desc: bool,
    /// What the last page gave as `next`.
    pub after: Option<String>,
    /// At most so many, 1 to 1,000.
    pub limit: u32,
}

impl Default for ScoreRange {
    fn default() -> Self {
        ScoreRange { min: None, max: None, desc: false, after: None, limit: 100 }
    }
}

/// Members in the order of their scores, those of one score in that of their bytes.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ScorePage {
    /// Members with their scores.
    pub members: Vec<(Vec<u8>, f64)>,
    /// Members of the set in all.
    pub count: u64,
    /// Where the next page begins, if there is one.
    pub next: Option<String>,
    /// What was seen; `None` of a set never heard of.
    pub context: Option<Context>,
}

impl Zset {
    pub(crate) fn new(client: Client, bucket: &str, key: &[u8]) -> Zset {
        let path = format!("/v1/zsets/{}/{}", encoded(bucket.as_bytes()), encoded(key));
        Zset { client, path }
    }

    /// The same sorted set with other settings.
    #[must_use]
    pub fn with_options(&self, options: Options) -> Zset {
        Zset { client: self.client.with_options(options), path: self.path.clone() }
    }

    /// Sets the scores of 1 to 1,000 members.
    ///
    /// # Errors
    /// Those of any call; a score that is not finite is wrong usage.
    pub async fn add<M: AsRef<[u8]>>(
        &self,
        scores: impl IntoIterator<Item = (M, f64)>,
    ) -> Result<Written, Error> {
        let scored = scores.into_iter().map(|(member, score)| {
            Ok(json!({ "member": Member::new(member.as_ref()), "score": finite(score)? }))
        });
        self.change("add", scored.collect::<Result<_, Error>>()?, None).await
    }

    /// Adds `by` to a member's score; one that is not there begins at 0. A call that timed out
    /// may have added it ([`Error::is_unknown`]).
    ///
    /// # Errors
    /// Those of any call, as when the score would not be a finite number.
    pub async fn increment(&self, member: impl AsRef<[u8]>, by: f64) -> Result<Written, Error> {
        let member = Member::new(member.as_ref());
        self.change("increment", vec![json!({ "member": member, "by": finite(by)? })], None).await
    }

    /// Removes members, 1 to 1,000, as far as the applying replica has seen them.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn remove<M: AsRef<[u8]>>(
        &self,
        members: impl IntoIterator<Item = M>,
    ) -> Result<Written, Error> {
        self.change("remove", named(members), None).await
    }

    /// Removes members as far as `context` has seen them: what was added to a score since stays.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn remove_seen<M: AsRef<[u8]>>(
        &self,
        members: impl IntoIterator<Item = M>,
        context: &Context,
    ) -> Result<Written, Error> {
        self.change("remove", named(members), Some(context)).await
    }

    /// A member's score; `None` when it is not in the set.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn score(&self, member: impl AsRef<[u8]>) -> Result<Option<f64>, Error> {
        #[derive(Deserialize)]
        struct Read {
            score: f64,
        }
        let path = format!("{}/{}", self.path, encoded(member.as_ref()));
        let call = Call::read(&path, &self.client.options);
        match self.client.transport.call(&call).await {
            Ok(answer) => answer.json(true).map(|Read { score }| Some(score)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Members by score; an absent set is empty.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn page(&self, range: &ScoreRange) -> Result<ScorePage, Error> {
        #[derive(Deserialize)]
        struct Scored {
            member: Member,
            score: f64,
        }
        #[derive(Deserialize)]
        struct Read {
            members: Vec<Scored>,
            count: u64,
            next: Option<String>,
            context: Context,
        }
        let mut call = Call::read(&self.path, &self.client.options);
        call.target += &format!("&limit={}&desc={}", range.limit, range.desc);
        for (name, bound) in [("min", range.min), ("max", range.max)] {
            if let Some(bound) = bound {
                call.target += &format!("&{name}={}", finite(bound)?);
            }
        }
        if let Some(after) = &range.after {
            call.target += &format!("&after={}", encoded(after.as_bytes()));
        }
        let read: Read = match self.client.transport.call(&call).await {
            Ok(answer) => answer.json(true)?,
            Err(error) if error.is_not_found() => return Ok(ScorePage::default()),
            Err(error) => return Err(error),
        };
        let scored = |Scored { member, score }| Ok((Member::into_bytes(member)?, score));
        Ok(ScorePage {
            members: read.members.into_iter().map(scored).collect::<Result<_, Error>>()?,
            count: read.count,
            next: read.next,
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

    async fn change(
        &self,
        what: &str,
        members: Vec<Value>,
        context: Option<&Context>,
    ) -> Result<Written, Error> {
        if !(1..=MEMBERS_MAX).contains(&members.len()) {
            let text = format!("{} members in a call; 1 to {MEMBERS_MAX} go", members.len());
            return Err(Error::usage(text));
        }
        let body = json!({ what: members }).to_string().into();
        let call = Call::write(Method::POST, &self.path, body, &self.client.options);
        self.client.transport.call(&Call { context, ..call }).await?.json(false)
    }
}

fn named<M: AsRef<[u8]>>(members: impl IntoIterator<Item = M>) -> Vec<Value> {
    members.into_iter().map(|member| json!(Member::new(member.as_ref()))).collect()
}

fn finite(score: f64) -> Result<f64, Error> {
    match score.is_finite() {
        true => Ok(score),
        false => Err(Error::usage(format!("{score} is no finite number"))),
    }
}
