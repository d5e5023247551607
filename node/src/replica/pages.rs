//! Large sets travel by pages of rows. The receiver asks for the next page when it has joined one,
//! so nothing piles up, and stopping anywhere is harmless: each page is a join of its own.

use super::Replica;
use super::rows::{self, RowRange};
use crate::cluster::View;
use crate::crdt::set::Covers;
use crate::crdt::{NodeId, Object, ObjectId};
use crate::store::{Store, StoreError, Visit};
use crate::time::Time;
use crate::wire::peer::PeerBody;
use std::ops::Bound;

/// Rows in one page.
const PAGE_ROWS: usize = 1_024;

impl<S: Store> Replica<S> {
    /// The page of rows after `after`. `first` is the header as of the first page; it may be taken
    /// over whole when every page has been joined, since each dot it knows was either in its row
    /// or gone by then.
    pub(super) fn page(
        &self,
        object: &ObjectId,
        after: Option<Vec<u8>>,
        first: Option<Box<Object>>,
    ) -> Result<PeerBody, StoreError> {
        let (header, _) = rows::load(&self.store, object)?;
        let Object::Set(head) = &header.object else {
            return Err(StoreError::Corrupt(format!("{object} has no rows")));
        };
        let mut page = head.header();
        let mut more = false;
        let range = RowRange {
            from: after.as_deref().map_or(Bound::Unbounded, Bound::Excluded),
            ..RowRange::ALL
        };
        rows::scan_members(&self.store, object, head, range, &mut |member, dots| {
            if page.rows.len() == PAGE_ROWS {
                more = true;
                return Visit::Stop;
            }
            if !dots.is_empty() {
                page.rows.insert(member.to_vec(), dots);
            }
            Visit::Next
        })?;
        let next = page.rows.keys().next_back().filter(|_| more).cloned();
        page.covers = Covers::Range { after, upto: next.clone() };
        let first = first.unwrap_or_else(|| {
            let mut head = head.header();
            head.covers = Covers::Rows;
            Box::new(Object::Set(head))
        });
        Ok(PeerBody::Rows { object: object.clone(), page: Object::Set(page), first, next })
    }

    pub(super) fn on_pull_rows(
        &mut self,
        from: NodeId,
        object: ObjectId,
        after: Option<Vec<u8>>,
        first: Option<Box<Object>>,
    ) {
        match self.page(&object, after, first) {
            Ok(body) => self.send(from, body),
            Err(error) => {
                self.refusal(error);
            }
        }
    }

    #[allow(clippy::too_many_arguments)] // The fields of one message.
    pub(super) fn on_rows(
        &mut self,
        view: &View,
        now: Time,
        from: NodeId,
        object: ObjectId,
        page: &Object,
        first: Box<Object>,
        next: Option<Vec<u8>>,
    ) {
        if !view.owns(&object) || !self.join_quietly(view, now, &object, page) {
            return;
        }
        match next {
            Some(after) => {
                let first = Some(first);
                self.send(from, PeerBody::PullRows { object, after: Some(after), first });
            }
            None => {
                self.join_quietly(view, now, &object, &first);
            }
        }
    }
}
