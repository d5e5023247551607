//! Large collections travel by pages of rows. The receiver asks for the next page when it has
//! joined one, so nothing piles up, and stopping anywhere is harmless: each page is a join of its
//! own.
//!
//! After the last page the receiver takes over the context of the first: each dot in it was in
//! its row or gone when that row's page was read. That holds only if it has joined every page in
//! this life, and if the sender forgot nothing in between, so both are checked.

use super::Replica;
use super::read::PageLimits;
use super::rows;
use crate::cluster::View;
use crate::crdt::rows::Covers;
use crate::crdt::{NodeId, Object, ObjectId, Rows};
use crate::store::{Store, StoreError};
use crate::time::Time;
use crate::wire::peer::PeerBody;
use std::collections::BTreeMap;

/// Rows in one page.
const PAGE_ROWS: usize = 1_024;
/// Collections pulled at the same time; a further one waits for the next comparison.
const PULLS_MAX: usize = 256;

/// Collections being pulled, and from whom.
#[derive(Debug, Default)]
pub(super) struct Pulls {
    under_way: BTreeMap<(NodeId, ObjectId), Pull>,
}

#[derive(Debug)]
struct Pull {
    /// The header as of the first page, without rows.
    first: Rows,
    /// Where the page that was asked for begins.
    after: Vec<u8>,
}

impl Pulls {
    /// Rows of the object were dropped: what was joined of it so far no longer stands for all.
    pub(super) fn forget(&mut self, object: &ObjectId) {
        self.under_way.retain(|(_, pulled), _| pulled != object);
    }
}

impl<S: Store> Replica<S> {
    /// The page of rows after `after`.
    pub(super) fn page(
        &self,
        object: &ObjectId,
        after: Option<Vec<u8>>,
    ) -> Result<PeerBody, StoreError> {
        let (header, _) = rows::load(&self.store, object)?;
        let Some(head) = header.object.rows() else {
            return Err(StoreError::Corrupt(format!("{object} has no rows")));
        };
        let limits = PageLimits { present: PAGE_ROWS, held: PAGE_ROWS };
        let (page, more) = self.row_page(object, head, after.as_deref(), b"", limits)?;
        let next = page.rows.keys().next_back().filter(|_| more).cloned();
        let page = Object::with_rows(object.tag, page);
        Ok(PeerBody::Rows { object: object.clone(), page, next })
    }

    pub(super) fn on_pull_rows(&mut self, from: NodeId, object: &ObjectId, after: Option<Vec<u8>>) {
        match self.page(object, after) {
            Ok(body) => self.send(from, body),
            Err(error) => {
                self.refusal_of(object, error);
            }
        }
    }

    pub(super) fn on_rows(
        &mut self,
        view: &View,
        now: Time,
        from: NodeId,
        object: ObjectId,
        page: &Object,
        next: Option<Vec<u8>>,
    ) {
        let Some(rows) = page.rows().filter(|_| page.tag() == object.tag) else { return };
        let Covers::Range { after, .. } = &rows.covers else { return };
        let known = self.pulls.under_way.remove(&(from, object.clone()));
        let first = match (after, known) {
            (None, _) => Some(Rows { covers: Covers::Rows, ..rows.header() }),
            (Some(after), Some(pull)) if pull.after == *after => Some(pull.first),
            // Not the page asked for: late, or asked for in an earlier life.
            (Some(_), _) => None,
        };
        if !self.join_state(view, now, from, &object, page) {
            return;
        }
        // A sender that lost dots since the first page may have lost rows not yet sent.
        let Some(first) = first.filter(|first| first.context.is_subset(&rows.context)) else {
            return;
        };
        match next {
            None => {
                let first = Object::with_rows(object.tag, first);
                self.join_quietly(view, now, &object, &first);
            }
            Some(after) if self.pulls.under_way.len() < PULLS_MAX => {
                let pull = Pull { first, after: after.clone() };
                self.pulls.under_way.insert((from, object.clone()), pull);
                self.send(from, PeerBody::PullRows { object, after: Some(after) });
            }
            Some(_) => {}
        }
    }
}
