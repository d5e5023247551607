//! Reading: the whole of a small object, a page or one row of a collection, or the digest alone.

use super::Replica;
use super::rows::{self, RowRange};
use super::scores;
use crate::cluster::View;
use crate::crdt::expiry::bucket_of;
use crate::crdt::rows::Covers;
use crate::crdt::{Object, ObjectId, Row, Rows, Stable, TypeTag};
use crate::store::{Store, StoreError, Visit};
use crate::time::Time;
use crate::wire::api::ReadQuery;
use crate::wire::peer::{Answer, ReplicaReport};
use std::ops::Bound;

/// Rows that clients see in one page at most.
const LIMIT_MAX: u32 = 1_000;
/// Rows in one page at most, with those that clients do not see; also with a small limit.
const HELD_MAX: usize = 4_000;
/// Rows of a collection in a report.
const REPORT_ROWS: u32 = 100;

/// Where a page ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct PageLimits {
    /// Rows that clients see.
    pub present: usize,
    /// Rows that say anything.
    pub held: usize,
}

impl<S: Store> Replica<S> {
    pub(super) fn answer(
        &self,
        (view, now): (&View, Time),
        object: &ObjectId,
        query: &ReadQuery,
        digest_only: bool,
    ) -> Result<Answer, StoreError> {
        let (header, digest) = rows::load(&self.store, object)?;
        let count = header.visible_count();
        let (known, stable) = (digest != 0, Stable::default());
        let mut answer = Answer { digest, known, count, state: None, more: false, stable };
        // The state goes out all the same: another replica may know of a later instant, and
        // whoever joins the answers looks at the instant of them all.
        if header.is_expired(bucket_of(now.wall_ms)) {
            answer.digest = 0;
        }
        if digest_only {
            return Ok(answer);
        }
        if header.goes == rows::HUSK {
            answer.state = Some(nothing_of(object.tag, query));
            return Ok(answer);
        }
        answer.stable = self.stable_for(view, object).cloned().unwrap_or_default();
        let Some(head) = header.object.rows() else {
            answer.state = Some(header.object);
            return Ok(answer);
        };
        let part = match query {
            ReadQuery::Member(key) => self.row_part(object, head, std::slice::from_ref(key))?,
            ReadQuery::Members(keys) => self.row_part(object, head, keys)?,
            ReadQuery::Scores(query) => {
                let limit = query.limit.clamp(1, LIMIT_MAX) as usize;
                let (part, more) = scores::page(&self.store, object, head, query, limit)?;
                answer.more = more;
                part
            }
            ReadQuery::Page { after, prefix, limit } => {
                let present = (*limit).min(LIMIT_MAX) as usize;
                let limits = PageLimits { present, held: HELD_MAX };
                let (part, more) = self.row_page(object, head, after.as_deref(), prefix, limits)?;
                answer.more = more;
                part
            }
            ReadQuery::Whole => match rows::load_whole(&self.store, object)?.1.rows() {
                Some(whole) => whole.clone(),
                None => head.header(),
            },
        };
        answer.state = Some(Object::with_rows(object.tag, part));
        Ok(answer)
    }

    /// These rows. They are there also when empty: the answer speaks for these alone.
    fn row_part(
        &self,
        object: &ObjectId,
        head: &Rows,
        keys: &[Vec<u8>],
    ) -> Result<Rows, StoreError> {
        let mut part = Rows { covers: Covers::Rows, ..head.header() };
        for key in keys {
            let row = rows::load_row(&self.store, object, head, key)?;
            part.rows.insert(key.clone(), row);
        }
        Ok(part)
    }

    /// A page of rows behind `after` with that prefix, and whether there are more.
    pub(super) fn row_page(
        &self,
        object: &ObjectId,
        head: &Rows,
        after: Option<&[u8]>,
        prefix: &[u8],
        limits: PageLimits,
    ) -> Result<(Rows, bool), StoreError> {
        let mut page = head.header();
        let mut more = false;
        let mut present = 0;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let range = RowRange { from, upto: None, prefix };
        rows::scan_rows(&self.store, object, head, range, &mut |key, row| {
            if present == limits.present || page.rows.len() == limits.held {
                more = true;
                return Visit::Stop;
            }
            present += usize::from(row.is_present());
            if !row.is_empty() {
                page.rows.insert(key.to_vec(), row);
            }
            Visit::Next
        })?;
        let upto = page.rows.keys().next_back().filter(|_| more).cloned();
        page.covers = Covers::Range { after: after.map(<[u8]>::to_vec), upto };
        Ok((page, more))
    }

    pub(super) fn inspect(&self, view: &View, now: Time, object: &ObjectId) -> ReplicaReport {
        let mut report = ReplicaReport {
            node: view.me,
            owner: view.owns(object),
            layout: view.layout_id,
            digest: 0,
            state: None,
            count: 0,
            header_bytes: 0,
            owed: Vec::new(),
            actor: self.actor,
            error: None,
        };
        if let Err(error) = self.fill((view, now), object, &mut report) {
            report.error = Some(error.to_string());
        }
        report
    }

    fn fill(
        &self,
        at: (&View, Time),
        object: &ObjectId,
        report: &mut ReplicaReport,
    ) -> Result<(), StoreError> {
        let query = ReadQuery::Page { after: None, prefix: Vec::new(), limit: REPORT_ROWS };
        let answer = self.answer(at, object, &query, false)?;
        report.digest = answer.digest;
        report.count = answer.count;
        report.state = answer.state.filter(|_| answer.known);
        let (header, _) = rows::load(&self.store, object)?;
        if !header.is_empty() {
            report.header_bytes = crate::wire::codec::encode(&header).len() as u64;
        }
        report.owed = self.owed_to(object)?;
        Ok(())
    }
}

/// An answer that says nothing of the part asked for: what another replica has of it stands.
fn nothing_of(tag: TypeTag, query: &ReadQuery) -> Object {
    let mut nothing = Object::empty(tag);
    if let Some(rows) = nothing.rows_mut() {
        match query {
            ReadQuery::Whole => {}
            ReadQuery::Member(key) => {
                rows.rows.insert(key.clone(), Row::default());
                rows.covers = Covers::Rows;
            }
            ReadQuery::Members(keys) => {
                rows.rows = keys.iter().map(|key| (key.clone(), Row::default())).collect();
                rows.covers = Covers::Rows;
            }
            ReadQuery::Scores(_) => rows.covers = Covers::Rows,
            ReadQuery::Page { after, .. } => {
                rows.covers = Covers::Range { after: after.clone(), upto: None };
            }
        }
    }
    nothing
}
