//! Sorted sets: members with scores, read from the lowest score or from the highest.

use crate::Client;
use crate::answer::{Context, Written};
use crate::error::Error;
use crate::member::Member;
use crate::object::{Object, check_count, handle, whole};
use crate::repeat::Repeat;
use crate::transport::encoded;
use serde::Deserialize;
use serde_json::{Value, json};

/// One sorted set.
///
/// ```
/// # starling_client::example(async |client| {
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
/// # });
/// ```
///
/// # What is repeated
/// Every call but [`increment`](Zset::increment), which is repeated only when surely nothing was
/// applied. Where others change a member during the call that sets its score or removes it, the
/// repetition counts as the later one.
#[derive(Clone, Debug)]
pub struct Zset {
    object: Object,
}

handle!(Zset);
whole!(Zset);

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
        Zset { object: Object::new(client, "zset", bucket, key) }
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
        let read = self.object.find(self.object.read_member(member.as_ref())).await?;
        Ok(read.map(|Read { score }| score))
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
        let mut query = format!("&limit={}&desc={}", range.limit, range.desc);
        for (name, bound) in [("min", range.min), ("max", range.max)] {
            if let Some(bound) = bound {
                query += &format!("&{name}={}", finite(bound)?);
            }
        }
        if let Some(after) = &range.after {
            query += &format!("&after={}", encoded(after.as_bytes()));
        }
        let read: Option<Read> = self.object.find(self.object.read(&query)).await?;
        let Some(read) = read else { return Ok(ScorePage::default()) };
        let scored = |Scored { member, score }| Ok((Member::into_bytes(member)?, score));
        Ok(ScorePage {
            members: read.members.into_iter().map(scored).collect::<Result<_, Error>>()?,
            count: read.count,
            next: read.next,
            context: Some(read.context),
        })
    }

    async fn change(
        &self,
        what: &str,
        members: Vec<Value>,
        context: Option<&Context>,
    ) -> Result<Written, Error> {
        check_count(members.len(), "members")?;
        let repeat = match what {
            "increment" => Repeat::CountsTwice,
            _ => Repeat::Harmless,
        };
        self.object.change(json!({ what: members }), context, repeat).await
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
