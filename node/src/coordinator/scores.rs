//! A page by score where replicas differ: what each of them lists is joined, sorted anew, and cut
//! where the shortest list ends.
//!
//! A page by score says nothing of members that it does not list: a replica's own score decides
//! what it lists, and only all replicas together know the score. So every member that any of them
//! lists is read at all of them. What can still be missed, until the repair that such a read
//! starts is done: a member whose score none of the replicas has inside the range, though what
//! they know together is inside. Members that are listed have the joined score.

use crate::crdt::zset::{place, score_key, score_of};
use crate::crdt::{Object, Rows};
use crate::wire::api::ByScore;
use std::collections::BTreeSet;

/// What was asked, and where the lists of the replicas end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Listed {
    query: ByScore,
    /// The place where the shortest list ends, of those that have more behind them.
    end: Option<Vec<u8>>,
    /// Every member listed.
    members: BTreeSet<Vec<u8>>,
}

impl Listed {
    /// From the lists, each with whether there is more behind it.
    pub(super) fn new<'a>(
        query: &ByScore,
        lists: impl Iterator<Item = (&'a Object, bool)>,
    ) -> Listed {
        let mut listed = Listed { query: query.clone(), end: None, members: BTreeSet::new() };
        for (object, more) in lists {
            let Some(rows) = object.rows() else { continue };
            listed.members.extend(rows.mentioned().cloned());
            let places = places(rows, query.desc);
            let Some(end) = places.into_iter().next_back().filter(|_| more) else { continue };
            let nearer = listed.end.as_ref().is_none_or(|other| before(&end, other, query.desc));
            if nearer {
                listed.end = Some(end);
            }
        }
        listed
    }

    /// The members to ask every replica for.
    pub(super) fn members(&self) -> Vec<Vec<u8>> {
        self.members.iter().cloned().collect()
    }

    /// Whether an answer speaks for exactly these members.
    pub(super) fn is_of(&self, object: &Object) -> bool {
        object.rows().is_some_and(|rows| rows.mentioned().eq(&self.members))
    }

    /// Keeps what belongs on the page; where the next one begins, if there is more.
    pub(super) fn trim(&self, merged: &mut Object) -> Option<Vec<u8>> {
        let rows = merged.rows_mut()?;
        let mut on_page: Vec<_> =
            places(rows, self.query.desc).into_iter().filter(|place| self.has(place)).collect();
        let limit = self.query.limit as usize;
        let next = match on_page.len() > limit {
            true => on_page.get(limit - 1).cloned(),
            false => self.end.clone(),
        };
        on_page.truncate(limit);
        let kept: BTreeSet<&[u8]> = on_page.iter().map(|place| member_of(place)).collect();
        rows.rows.retain(|member, _| kept.contains(&member[..]));
        next
    }

    /// Whether all members of the set were asked for, and no list was cut short.
    pub(super) fn is_whole(&self) -> bool {
        let ByScore { min, max, after, .. } = &self.query;
        min.is_none() && max.is_none() && after.is_none() && self.end.is_none()
    }

    fn has(&self, place: &[u8]) -> bool {
        let ByScore { min, max, after, desc, .. } = &self.query;
        let score = &place[..SCORE_BYTES];
        min.is_none_or(|min| score >= &score_key(min.get())[..])
            && max.is_none_or(|max| score <= &score_key(max.get())[..])
            && after.as_ref().is_none_or(|after| before(after, place, *desc))
            && self.end.as_ref().is_none_or(|end| !before(end, place, *desc))
    }
}

/// Bytes of the score in a place.
const SCORE_BYTES: usize = 8;

fn member_of(place: &[u8]) -> &[u8] {
    &place[SCORE_BYTES..]
}

fn before(a: &[u8], b: &[u8], desc: bool) -> bool {
    if desc { b < a } else { a < b }
}

/// The places of the visible members, in the order of the page.
fn places(rows: &Rows, desc: bool) -> Vec<Vec<u8>> {
    let mut places: Vec<_> =
        rows.present().map(|(member, row)| place(score_of(row), member)).collect();
    places.sort();
    if desc {
        places.reverse();
    }
    places
}

/// Where the next page begins after a list that one replica gave, if there is more.
pub(super) fn next_of(object: &Object, query: &ByScore, more: bool) -> Option<Vec<u8>> {
    places(object.rows()?, query.desc).pop().filter(|_| more)
}
