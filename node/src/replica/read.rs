//! Reading: the whole of a small object, a page or one member of a set, or the digest alone.

use super::Replica;
use super::rows::{self, RowRange};
use crate::cluster::View;
use crate::crdt::set::Covers;
use crate::crdt::{Object, ObjectId, Set};
use crate::store::{Store, StoreError, Visit};
use crate::wire::api::ReadQuery;
use crate::wire::peer::{Answer, ReplicaReport};
use std::ops::Bound;

/// Members in one page at most.
const LIMIT_MAX: u32 = 1_000;
/// Rows of a set in a report.
const REPORT_ROWS: u32 = 100;

impl<S: Store> Replica<S> {
    pub(super) fn answer(
        &self,
        object: &ObjectId,
        query: &ReadQuery,
        digest_only: bool,
    ) -> Result<Answer, StoreError> {
        let (header, digest) = rows::load(&self.store, object)?;
        let count = header.visible_count();
        let mut answer = Answer { digest, known: digest != 0, count, state: None, more: false };
        if digest_only {
            return Ok(answer);
        }
        answer.state = Some(match (&header.object, query) {
            (Object::Set(head), ReadQuery::Member(member)) => {
                let mut part = head.header();
                let dots = rows::load_member(&self.store, object, head, member)?;
                // The row is there also when empty: the answer speaks for this member alone.
                part.rows.insert(member.clone(), dots);
                part.covers = Covers::Rows;
                Object::Set(part)
            }
            (Object::Set(head), ReadQuery::Page { after, prefix, limit }) => {
                let limit = (*limit).min(LIMIT_MAX) as usize;
                let (part, more) = self.set_page(object, head, after.as_deref(), prefix, limit)?;
                answer.more = more;
                Object::Set(part)
            }
            _ => header.object,
        });
        Ok(answer)
    }

    /// Up to `limit` visible members behind `after` with that prefix, and whether there are more.
    pub(super) fn set_page(
        &self,
        object: &ObjectId,
        head: &Set,
        after: Option<&[u8]>,
        prefix: &[u8],
        limit: usize,
    ) -> Result<(Set, bool), StoreError> {
        let mut page = head.header();
        let mut more = false;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let range = RowRange { from, upto: None, prefix };
        rows::scan_members(&self.store, object, head, range, &mut |member, dots| {
            if page.rows.len() == limit {
                more = true;
                return Visit::Stop;
            }
            if !dots.is_empty() {
                page.rows.insert(member.to_vec(), dots);
            }
            Visit::Next
        })?;
        let upto = page.rows.keys().next_back().filter(|_| more).cloned();
        page.covers = Covers::Range { after: after.map(<[u8]>::to_vec), upto };
        Ok((page, more))
    }

    pub(super) fn inspect(&self, view: &View, object: &ObjectId) -> ReplicaReport {
        let mut report = ReplicaReport {
            node: view.me,
            owner: view.owns(object),
            layout: view.layout_id,
            digest: 0,
            state: None,
            count: 0,
            header_bytes: 0,
            owed: Vec::new(),
            error: None,
        };
        if let Err(error) = self.fill(object, &mut report) {
            report.error = Some(error.to_string());
        }
        report
    }

    fn fill(&self, object: &ObjectId, report: &mut ReplicaReport) -> Result<(), StoreError> {
        let query = ReadQuery::Page { after: None, prefix: Vec::new(), limit: REPORT_ROWS };
        let answer = self.answer(object, &query, false)?;
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
