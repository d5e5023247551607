//! Rows: the state of every collection, and cost that follows the rows touched, not the size.
//!
//! Optimized OR-set (Bieniusa et al., "An optimized conflict-free replicated set", 2012) by rows:
//! each row carries its live dots and what each of them says ([`Leaf`]), and join looks at the
//! rows the other side mentions. What a row means (a member, a leaf of a map, a score) is its
//! type's; how rows merge, travel and go is here. A value of this type is a whole collection, a
//! delta, a page, or a window of rows loaded from a store; `covers` says for which keys its
//! context speaks.
//!
//! Invariant of a delta (`Covers::Rows`): for each dot of its context, the row it belonged to
//! is mentioned, or the dot is in `cleared`, or it is or was a setting of the expiry. So joining
//! never has to look at other rows.

use super::counter::Tally;
use super::row::{Amount, Base, Leaf, Row};
use super::{CausalContext, Dot, Expiry, Hlc, Observed, OpError, SeenContext};
use bincode::{Decode, Encode};
use std::collections::{BTreeMap, BTreeSet};

/// Removals that may wait for unseen writes before a client's removal is refused.
pub const DEFERRED_MAX: usize = 1_000;

/// Totals in the context of one read. A removal with a context that has none takes totals away
/// where nothing was added since.
pub const TALLIES_MAX: usize = 16;

/// A collection, or a part of one.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct Rows {
    pub(crate) context: CausalContext,
    /// Dots that removals of the whole collection covered: what they say is invisible and
    /// collected later.
    pub(crate) cleared: CausalContext,
    /// Removals of rows by dots not seen yet; such a dot is dead on arrival.
    pub(crate) deferred: BTreeMap<Vec<u8>, CausalContext>,
    /// The same of every row whose key begins so.
    pub(crate) deferred_under: BTreeMap<Vec<u8>, CausalContext>,
    pub(crate) rows: BTreeMap<Vec<u8>, Row>,
    /// In a delta, the dots of each mentioned row that it removes: with the row's own dots all
    /// that it says of that row. Empty in a whole collection.
    pub(crate) removed: BTreeMap<Vec<u8>, BTreeSet<Dot>>,
    pub(crate) covers: Covers,
    pub(crate) expiry: Expiry,
}

/// The keys a [`Rows`] value speaks for.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub enum Covers {
    /// All: a member without a row is not in the set.
    #[default]
    All,
    /// Those with a row, be it empty.
    Rows,
    /// Those after `after` up to `upto` (`None`: without bound), as of one reading of the rows.
    /// The context then says which dots the sender had seen; the receiver takes over only dots
    /// of the rows themselves.
    Range {
        /// Exclusive lower bound.
        after: Option<Vec<u8>>,
        /// Inclusive upper bound.
        upto: Option<Vec<u8>>,
    },
}

impl Covers {
    /// Whether a key without a row is said not to be there.
    pub(crate) fn has(&self, key: &[u8]) -> bool {
        match self {
            Covers::All => true,
            Covers::Rows => false,
            Covers::Range { after, upto } => {
                after.as_deref().is_none_or(|after| after < key)
                    && upto.as_deref().is_none_or(|upto| key <= upto)
            }
        }
    }
}

impl Rows {
    /// A delta that says nothing yet.
    pub(crate) fn delta() -> Rows {
        Rows { covers: Covers::Rows, ..Rows::default() }
    }

    /// Rows that clients see, in order.
    pub fn present(&self) -> impl DoubleEndedIterator<Item = (&Vec<u8>, &Row)> {
        self.rows.iter().filter(|(_, row)| row.is_present())
    }

    /// Rows that say anything, in order.
    pub fn held(&self) -> impl Iterator<Item = (&Vec<u8>, &Row)> {
        self.rows.iter().filter(|(_, row)| !row.is_empty())
    }

    /// Keys that this value mentions, visible or not, in order.
    pub fn mentioned(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.rows.keys()
    }

    /// The same collection without rows: what a store keeps beside them.
    pub fn header(&self) -> Rows {
        Rows {
            context: self.context.clone(),
            cleared: self.cleared.clone(),
            deferred: self.deferred.clone(),
            deferred_under: self.deferred_under.clone(),
            expiry: self.expiry.clone(),
            ..Rows::default()
        }
    }

    /// The part of it that is about no single row: clears and waiting removals.
    pub fn clears(&self) -> Rows {
        Rows {
            context: self.cleared.clone(),
            cleared: self.cleared.clone(),
            deferred: self.deferred.clone(),
            deferred_under: self.deferred_under.clone(),
            ..Rows::delta()
        }
    }

    /// Whether a removal of everything leaves rows it must check one by one.
    pub fn clear_needs_scan(&self, delta: &Rows) -> bool {
        !delta.cleared.is_subset(&self.cleared) && !self.context.is_subset(&delta.cleared)
    }

    /// All live dots of the rows here.
    pub fn live_dots(&self) -> Vec<Dot> {
        self.rows.values().flat_map(|row| row.live.keys()).copied().collect()
    }

    /// The clock readings of the rows here.
    pub(crate) fn times(&self) -> Vec<Hlc> {
        let leaves = self.rows.values().flat_map(|row| row.live.values());
        let at = leaves.filter_map(|leaf| match leaf {
            Leaf::Register { at, .. } | Leaf::Score { at, .. } => Some(*at),
            _ => None,
        });
        at.collect()
    }

    /// The totals of whole numbers that a client sees with these rows and hands back in its
    /// context; none when they are so many that the context would grow long.
    pub fn tallies(&self) -> BTreeMap<Dot, Tally> {
        let totals = self.rows.values().flat_map(|row| {
            row.live.keys().filter_map(|dot| row.total_of(dot)).filter_map(|(run, base)| {
                let Amount::Whole { up, down } = base.amount else { return None };
                Some((run, Tally { last: base.last, up, down }))
            })
        });
        let tallies: BTreeMap<_, _> = totals.take(TALLIES_MAX + 1).collect();
        if tallies.len() > TALLIES_MAX { BTreeMap::new() } else { tallies }
    }

    /// The same of real numbers.
    pub fn reals(&self) -> BTreeMap<Dot, Base> {
        let totals =
            self.rows.values().flat_map(|row| row.live.keys().filter_map(|dot| row.total_of(dot)));
        let real = |(_, base): &(Dot, Base)| matches!(base.amount, Amount::Real(_));
        let reals: BTreeMap<_, _> = totals.filter(real).take(TALLIES_MAX + 1).collect();
        if reals.len() > TALLIES_MAX { BTreeMap::new() } else { reals }
    }

    /// What of the row neither a clear nor a waiting removal covers.
    pub fn visible(&self, key: &[u8], row: &Row) -> Row {
        let under = self.deferred_under.iter().filter(|(prefix, _)| key.starts_with(prefix));
        let waiting: Vec<_> =
            self.deferred.get(key).into_iter().chain(under.map(|u| u.1)).collect();
        let dead = |dot: &Dot| {
            self.cleared.contains(*dot) || waiting.iter().any(|seen| seen.contains(*dot))
        };
        let live = row.live.iter().filter(|(dot, _)| !dead(dot));
        let live = live.map(|(dot, leaf)| (*dot, leaf.clone())).collect();
        Row { live, base: row.base.clone() }
    }

    /// The row as an operation here finds it; a stored row may hold dead dots.
    pub(crate) fn row(&self, key: &[u8]) -> Row {
        self.rows.get(key).map_or_else(Row::default, |row| self.visible(key, row))
    }

    /// An observed removal of one row, added to `delta`.
    pub(crate) fn remove(&self, key: &[u8], observed: &Observed, delta: &mut Rows) {
        self.remove_known(key, observed, delta);
        if let Observed::Context(seen) = observed {
            let unseen = seen.dots.minus(&self.context);
            if !unseen.is_empty() {
                delta.deferred.insert(key.to_vec(), unseen);
                let left = delta.rows.get_mut(key).expect("just removed");
                left.join_base(&self.unseen_totals(seen));
            }
        }
    }

    /// An observed removal of every row whose key begins so. `self` has all that are stored.
    pub(crate) fn remove_under(&self, prefix: &[u8], observed: &Observed, delta: &mut Rows) {
        let from = std::ops::Bound::Included(prefix.to_vec());
        let keys = self.rows.range((from, std::ops::Bound::Unbounded));
        for (key, _) in keys.take_while(|(key, _)| key.starts_with(prefix)) {
            self.remove_known(key, observed, delta);
        }
        if let Observed::Context(seen) = observed {
            let unseen = seen.dots.minus(&self.context);
            if !unseen.is_empty() {
                delta.deferred_under.insert(prefix.to_vec(), unseen);
            }
        }
    }

    /// Removes of one row what is here.
    fn remove_known(&self, key: &[u8], observed: &Observed, delta: &mut Rows) {
        let row = self.row(key);
        let mut left = Row::default();
        match observed {
            Observed::Here => {
                left.join_base(&row.live.keys().filter_map(|dot| row.total_of(dot)).collect());
                delta.remove_dots(key, row.live.keys().copied());
            }
            Observed::Context(seen) => {
                left.join_base(&observed_totals(&row, seen));
                delta.remove_dots(key, row.live.keys().copied().filter(|dot| seen.has(*dot)));
            }
            Observed::Nothing => {}
        }
        delta.rows.insert(key.to_vec(), left);
    }

    /// Totals that a client has seen and this replica has not. Whose row they are is not known;
    /// in any other they say nothing.
    fn unseen_totals(&self, seen: &SeenContext) -> BTreeMap<Dot, Base> {
        let unseen = seen.tallies.iter().filter(|(run, tally)| {
            !self.context.contains(Dot { actor: run.actor, counter: tally.last })
        });
        unseen
            .map(|(run, tally)| (*run, Base { last: tally.last, amount: Amount::of_tally(tally) }))
            .collect()
    }

    /// Writes a dot into a row, in place of `instead`, in `delta`.
    pub(crate) fn put(
        &mut self,
        key: &[u8],
        dot: Dot,
        leaf: Leaf,
        instead: impl IntoIterator<Item = Dot>,
    ) {
        self.remove_dots(key, instead.into_iter());
        self.context.insert(dot);
        self.rows.entry(key.to_vec()).or_default().live.insert(dot, leaf);
    }

    fn remove_dots(&mut self, key: &[u8], dots: impl Iterator<Item = Dot>) {
        let removed: BTreeSet<Dot> = dots.collect();
        removed.iter().for_each(|dot| self.context.insert(*dot));
        if !removed.is_empty() {
            self.removed.entry(key.to_vec()).or_default().extend(removed);
        }
    }

    /// The removal of everything observed. `self` has every row with totals, or no row has any.
    pub(crate) fn clear(&self, observed: &Observed) -> Rows {
        let mut delta = Rows::delta();
        delta.context = match observed {
            Observed::Here => self.context.clone(),
            Observed::Context(seen) => seen.dots.clone(),
            Observed::Nothing => CausalContext::new(),
        };
        delta.cleared = delta.context.clone();
        let seen = match observed {
            Observed::Context(seen) => seen.clone(),
            _ => SeenContext { dots: delta.cleared.clone(), ..SeenContext::default() },
        };
        for key in self.rows.keys() {
            let mut left = Row::default();
            left.join_base(&observed_totals(&self.row(key), &seen));
            if !left.is_empty() {
                delta.rows.insert(key.clone(), left);
            }
        }
        delta
    }

    /// Whether more removals wait with `delta` than a client may leave waiting.
    ///
    /// # Errors
    /// [`OpError::TooManyDeferred`].
    pub(crate) fn check_deferred(&self, delta: &Rows) -> Result<(), OpError> {
        let new = delta.deferred.len() + delta.deferred_under.len();
        let waiting = self.deferred.len() + self.deferred_under.len() + new;
        if new > 0 && waiting > DEFERRED_MAX {
            let (count, limit) = (waiting as u32, DEFERRED_MAX as u32);
            return Err(OpError::TooManyDeferred { count, limit });
        }
        Ok(())
    }

    /// What a delta says of one mentioned row: its dots, live and removed. With the row as it
    /// is now, that makes a delta of its own.
    pub fn said_of(&self, key: &[u8]) -> CausalContext {
        let live = self.rows.get(key).into_iter().flat_map(|row| row.live.keys());
        live.chain(self.removed.get(key).into_iter().flatten()).copied().collect()
    }

    /// The delta that brings a replica up to date about one row: `said` are dots it missed,
    /// `row` is what the row is now.
    pub fn owed(key: &[u8], said: &CausalContext, row: &Row) -> Rows {
        let mut delta = Rows { context: said.clone(), ..Rows::delta() };
        row.live.keys().for_each(|dot| delta.context.insert(*dot));
        delta.rows.insert(key.to_vec(), row.clone());
        delta
    }

    /// The dots of a delta that are settings of the expiry, in force or replaced: those that
    /// belong to no row and to no clear.
    pub fn said_of_expiry(&self) -> CausalContext {
        let mut others = self.cleared.clone();
        self.rows.keys().for_each(|key| others.join(&self.said_of(key)));
        let mut said = self.context.minus(&others);
        self.expiry.dots().for_each(|dot| said.insert(dot));
        said
    }

    fn drop_dead(&mut self) {
        let waiting = !self.deferred.is_empty() || !self.deferred_under.is_empty();
        if !waiting && self.cleared.is_empty() {
            return;
        }
        let mut rows = std::mem::take(&mut self.rows);
        for (key, row) in &mut rows {
            *row = self.visible(key, row);
        }
        self.rows = rows;
    }

    /// Waiting removals in their one form: only dots still unseen, no empty entries.
    fn settle_deferred(&mut self) {
        for waiting in [&mut self.deferred, &mut self.deferred_under] {
            for seen in waiting.values_mut() {
                *seen = seen.minus(&self.context);
            }
            waiting.retain(|_, seen| !seen.is_empty());
        }
    }

    /// The dots this value lets a value that covers `covers` claim to have seen: of a page only
    /// those of its rows and clears, unless the other is a page of the same range.
    fn known_to(&self, covers: &Covers) -> CausalContext {
        match self.covers {
            Covers::Range { .. } if self.covers != *covers => {
                let dots = self.rows.values().flat_map(|row| row.live.keys());
                let mut known: CausalContext = dots.copied().collect();
                known.join(&self.cleared);
                self.expiry.dots().for_each(|dot| known.insert(dot));
                known
            }
            _ => self.context.clone(),
        }
    }

    /// Whether a dot of `key` that is not in its row was seen and is dead.
    fn has_lost(&self, key: &[u8], dot: Dot) -> bool {
        let speaks = !matches!(self.covers, Covers::Range { .. }) || self.covers.has(key);
        speaks && self.context.contains(dot)
    }

    /// What a join of the two speaks for: a page keeps its range only with its like.
    fn covers_with(&self, other: &Rows) -> Covers {
        match (&self.covers, &other.covers) {
            (mine, theirs) if mine == theirs => mine.clone(),
            (Covers::All, _) | (_, Covers::All) => Covers::All,
            _ => Covers::Rows,
        }
    }

    /// One row of both, each under its own context.
    fn joined_row(&self, other: &Rows, key: &[u8]) -> Row {
        let empty = Row::default();
        let mine = self.rows.get(key).unwrap_or(&empty);
        let theirs = other.rows.get(key).unwrap_or(&empty);
        let kept = mine
            .live
            .iter()
            .filter(|(dot, _)| theirs.live.contains_key(dot) || !other.has_lost(key, **dot));
        let new = theirs
            .live
            .iter()
            .filter(|(dot, _)| mine.live.contains_key(dot) || !self.has_lost(key, **dot));
        let live = kept.chain(new).map(|(dot, leaf)| (*dot, leaf.clone())).collect();
        let mut row = Row { live, base: mine.base.clone() };
        row.join_base(&theirs.base);
        row
    }

    /// Merges `other`, a delta, a page or a whole, into this value.
    pub(crate) fn join(&mut self, other: &Rows) {
        let covered = self.rows.keys().filter(|key| other.covers.has(key));
        let keys: BTreeSet<&Vec<u8>> = covered.chain(other.rows.keys()).collect();
        let joined: Vec<_> =
            keys.into_iter().map(|key| (key.clone(), self.joined_row(other, key))).collect();
        self.rows.extend(joined);
        for (key, seen) in &other.deferred {
            self.deferred.entry(key.clone()).or_default().join(seen);
        }
        for (prefix, seen) in &other.deferred_under {
            self.deferred_under.entry(prefix.clone()).or_default().join(seen);
        }
        self.expiry.join(&self.context, &other.expiry, &other.context);
        let (covers, known) = (self.covers_with(other), other.known_to(&self.covers));
        self.context = self.known_to(&other.covers);
        self.context.join(&known);
        self.cleared.join(&other.cleared);
        self.drop_dead();
        self.settle_deferred();
        self.covers = covers;
        for (key, dots) in &other.removed {
            self.removed.entry(key.clone()).or_default().extend(dots);
        }
        // A key that `covers` speaks for needs no empty row.
        self.rows.retain(|key, row| !row.is_empty() || !self.covers.has(key));
        if self.covers == Covers::All {
            self.removed.clear();
        }
    }

    /// Whether its parts fit together; live dots are checked with those of the other types.
    pub(crate) fn is_sound(&self) -> bool {
        let in_range = |key| self.covers.has(key);
        self.cleared.is_canonical()
            && self
                .deferred
                .values()
                .chain(self.deferred_under.values())
                .all(|seen| seen.is_canonical() && !seen.is_empty())
            && self.removed.values().flatten().all(|dot| self.context.contains(*dot))
            && self.rows.values().all(Row::is_sound)
            && (!matches!(self.covers, Covers::Range { .. })
                || self.rows.keys().all(|key| in_range(key)))
    }
}

/// The totals of a row that a client's context has seen: as it says itself, or where it has seen
/// the last dot of the run, as they are.
fn observed_totals(row: &Row, seen: &SeenContext) -> BTreeMap<Dot, Base> {
    let of = |dot: &Dot| {
        let (run, total) = row.total_of(dot)?;
        if seen.has(*dot) {
            return Some((run, total));
        }
        if let Some(base) = seen.reals.get(&run) {
            return Some((run, *base));
        }
        let tally = seen.tallies.get(&run)?;
        Some((run, Base { last: tally.last, amount: Amount::of_tally(tally) }))
    };
    row.live.keys().filter_map(of).collect()
}

/// Declares a type whose state is [`Rows`].
macro_rules! rows_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Debug, Default, bincode::Encode, bincode::Decode)]
        pub struct $name(pub(crate) $crate::crdt::Rows);

        impl std::ops::Deref for $name {
            type Target = $crate::crdt::Rows;

            fn deref(&self) -> &$crate::crdt::Rows {
                &self.0
            }
        }

        impl std::ops::DerefMut for $name {
            fn deref_mut(&mut self) -> &mut $crate::crdt::Rows {
                &mut self.0
            }
        }

        impl From<$crate::crdt::Rows> for $name {
            fn from(rows: $crate::crdt::Rows) -> Self {
                $name(rows)
            }
        }

        $crate::crdt::impl_cvrdt!($name);
    };
}
pub(crate) use rows_type;
