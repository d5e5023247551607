//! Set: add wins over a concurrent remove, and cost follows the members touched, not the size.
//!
//! Optimized OR-set (Bieniusa et al., "An optimized conflict-free replicated set", 2012) kept by
//! rows: each member carries its live dots, and join looks at the rows the other side mentions.
//! A value of this type is a whole set, a delta, a page, or a window of rows loaded from a store;
//! `covers` says for which members its context speaks.
//!
//! Invariant of a delta (`Covers::Rows`): for each dot of its context, the member it belonged to
//! is mentioned, or the dot is in `cleared`. So joining never has to look at other rows.

use super::{CausalContext, DeltaType, Dot, Mint, Observed, OpError, SeenContext, impl_cvrdt};
use bincode::{Decode, Encode};
use std::collections::{BTreeMap, BTreeSet};

/// Removals that may wait for unseen writes before a client's removal is refused.
pub const DEFERRED_MAX: usize = 1_000;

/// Live dots of one member, never empty in a stored row.
pub type MemberDots = BTreeSet<Dot>;

/// An add-wins set, or a part of one.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct Set {
    pub(crate) context: CausalContext,
    /// Dots that removals of the whole set covered: rows inside are invisible and collected later.
    pub(crate) cleared: CausalContext,
    /// Removals of members by dots not seen yet; such a dot is dead on arrival.
    pub(crate) deferred: BTreeMap<Vec<u8>, CausalContext>,
    pub(crate) rows: BTreeMap<Vec<u8>, MemberDots>,
    /// In a delta, the dots of each mentioned member that it removes: with the row's own dots all
    /// that it says of that member. Empty in a whole set.
    pub(crate) removed: BTreeMap<Vec<u8>, MemberDots>,
    pub(crate) covers: Covers,
}

/// The members a [`Set`] value speaks for.
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
    /// Whether a member without a row is said not to be there.
    pub(crate) fn has(&self, member: &[u8]) -> bool {
        match self {
            Covers::All => true,
            Covers::Rows => false,
            Covers::Range { after, upto } => {
                after.as_deref().is_none_or(|after| after < member)
                    && upto.as_deref().is_none_or(|upto| member <= upto)
            }
        }
    }
}

/// What clients ask of a set.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum SetOp {
    /// Add and remove members; no member is in both lists.
    Update {
        /// Members to add.
        add: BTreeSet<Vec<u8>>,
        /// Members to remove.
        remove: BTreeSet<Vec<u8>>,
        /// What the removals cover.
        observed: Observed,
    },
    /// Remove the whole set, as far as observed.
    Delete {
        /// What the removal covers.
        observed: Observed,
    },
}

impl SetOp {
    /// The members whose rows the operation needs and touches.
    pub fn members(&self) -> impl Iterator<Item = &Vec<u8>> {
        let (add, remove) = match self {
            SetOp::Update { add, remove, .. } => (Some(add), Some(remove)),
            SetOp::Delete { .. } => (None, None),
        };
        add.into_iter().flatten().chain(remove.into_iter().flatten())
    }
}

impl Set {
    /// Visible members with their dots, in order.
    pub fn members(&self) -> impl DoubleEndedIterator<Item = (&Vec<u8>, &MemberDots)> {
        self.rows.iter().filter(|(_, dots)| !dots.is_empty())
    }

    /// Members that this value mentions, visible or not, in order.
    pub fn mentioned(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.rows.keys()
    }

    /// The same set without rows: what a store keeps beside them.
    pub fn header(&self) -> Set {
        Set {
            context: self.context.clone(),
            cleared: self.cleared.clone(),
            deferred: self.deferred.clone(),
            ..Set::default()
        }
    }

    /// The part of it that is about no single member: clears and waiting removals.
    pub fn clears(&self) -> Set {
        Set {
            context: self.cleared.clone(),
            cleared: self.cleared.clone(),
            deferred: self.deferred.clone(),
            covers: Covers::Rows,
            ..Set::default()
        }
    }

    /// Whether a removal of the whole set leaves members it must check one by one.
    pub fn clear_needs_scan(&self, delta: &Set) -> bool {
        !delta.cleared.is_subset(&self.cleared) && !self.context.is_subset(&delta.cleared)
    }

    /// Dots of `member` that neither a clear nor a waiting removal covers.
    pub fn visible(&self, member: &[u8], dots: &MemberDots) -> MemberDots {
        let deferred = self.deferred.get(member);
        let dead = |dot: Dot| {
            self.cleared.contains(dot) || deferred.is_some_and(|seen| seen.contains(dot))
        };
        dots.iter().copied().filter(|dot| !dead(*dot)).collect()
    }

    /// Dots of `member` that an operation here finds; a stored row may hold dead ones.
    fn live(&self, member: &[u8]) -> MemberDots {
        self.rows.get(member).map_or_else(MemberDots::new, |dots| self.visible(member, dots))
    }

    fn remove_member(&self, member: &[u8], observed: &Observed, delta: &mut Set) {
        let live = self.live(member);
        match observed {
            Observed::Here => delta.remove_dots(member, live.into_iter()),
            Observed::Context(SeenContext { dots, .. }) => {
                delta.remove_dots(member, live.into_iter().filter(|dot| dots.contains(*dot)));
                let unseen = dots.minus(&self.context);
                if !unseen.is_empty() {
                    delta.deferred.insert(member.to_vec(), unseen);
                }
            }
            Observed::Nothing => {}
        }
        delta.rows.insert(member.to_vec(), MemberDots::new());
    }

    fn remove_dots(&mut self, member: &[u8], dots: impl Iterator<Item = Dot>) {
        let removed: MemberDots = dots.collect();
        removed.iter().for_each(|dot| self.context.insert(*dot));
        if !removed.is_empty() {
            self.removed.insert(member.to_vec(), removed);
        }
    }

    /// What a delta says of one mentioned member: its dots, live and removed. With the row as it
    /// is now, that makes a delta of its own.
    pub fn said_of(&self, member: &[u8]) -> CausalContext {
        let live = self.rows.get(member).into_iter().flatten();
        live.chain(self.removed.get(member).into_iter().flatten()).copied().collect()
    }

    /// The delta that brings a replica up to date about `member`: `said` are dots it missed,
    /// `live` the member's dots now.
    pub fn owed(member: &[u8], said: &CausalContext, live: &MemberDots) -> Set {
        let mut delta = Set { covers: Covers::Rows, context: said.clone(), ..Set::default() };
        live.iter().for_each(|dot| delta.context.insert(*dot));
        delta.rows.insert(member.to_vec(), live.clone());
        delta
    }

    fn drop_dead(&mut self) {
        if self.deferred.is_empty() && self.cleared.is_empty() {
            return;
        }
        let mut rows = std::mem::take(&mut self.rows);
        for (member, dots) in &mut rows {
            *dots = self.visible(member, dots);
        }
        self.rows = rows;
    }

    /// Waiting removals in their one form: only dots still unseen, no empty entries.
    fn settle_deferred(&mut self) {
        if self.deferred.is_empty() {
            return;
        }
        for seen in self.deferred.values_mut() {
            *seen = seen.minus(&self.context);
        }
        self.deferred.retain(|_, seen| !seen.is_empty());
    }

    /// The dots this value lets a value that covers `covers` claim to have seen: of a page only
    /// those of its rows and clears, unless the other is a page of the same range.
    fn known_to(&self, covers: &Covers) -> CausalContext {
        match self.covers {
            Covers::Range { .. } if self.covers != *covers => {
                let mut known: CausalContext = self.rows.values().flatten().copied().collect();
                known.join(&self.cleared);
                known
            }
            _ => self.context.clone(),
        }
    }

    /// Whether a dot of `member` that is not in its row was seen and is dead.
    fn has_lost(&self, member: &[u8], dot: Dot) -> bool {
        let speaks = !matches!(self.covers, Covers::Range { .. }) || self.covers.has(member);
        speaks && self.context.contains(dot)
    }

    /// What a join of the two speaks for: a page keeps its range only with its like.
    fn covers_with(&self, other: &Set) -> Covers {
        match (&self.covers, &other.covers) {
            (mine, theirs) if mine == theirs => mine.clone(),
            (Covers::All, _) | (_, Covers::All) => Covers::All,
            _ => Covers::Rows,
        }
    }

    /// Whether its parts fit together; live dots are checked with those of the other types.
    pub(crate) fn is_sound(&self) -> bool {
        let in_range = |member| self.covers.has(member);
        self.cleared.is_canonical()
            && self.deferred.values().all(|seen| seen.is_canonical() && !seen.is_empty())
            && self.removed.values().flatten().all(|dot| self.context.contains(*dot))
            && (!matches!(self.covers, Covers::Range { .. })
                || self.rows.keys().all(|member| in_range(member)))
    }
}

impl DeltaType for Set {
    type Op = SetOp;
    type Value = BTreeSet<Vec<u8>>;

    fn delta(&self, op: &SetOp, mint: &mut Mint) -> Result<Set, OpError> {
        let mut delta = Set { covers: Covers::Rows, ..Set::default() };
        match op {
            SetOp::Update { add, remove, observed } => {
                for member in remove {
                    self.remove_member(member, observed, &mut delta);
                }
                let waiting = self.deferred.len() + delta.deferred.len();
                if !delta.deferred.is_empty() && waiting > DEFERRED_MAX {
                    let (count, limit) = (waiting as u32, DEFERRED_MAX as u32);
                    return Err(OpError::TooManyDeferred { count, limit });
                }
                for member in add {
                    delta.remove_dots(member, self.live(member).into_iter());
                    let dot = mint.dot();
                    delta.context.insert(dot);
                    delta.rows.insert(member.clone(), MemberDots::from([dot]));
                }
            }
            SetOp::Delete { observed } => {
                delta.context = match observed {
                    Observed::Here => self.context.clone(),
                    Observed::Context(seen) => seen.dots.clone(),
                    Observed::Nothing => CausalContext::new(),
                };
                delta.cleared = delta.context.clone();
            }
        }
        Ok(delta)
    }

    fn join(&mut self, other: &Set) {
        let covered = self.rows.keys().filter(|member| other.covers.has(member));
        let members: BTreeSet<&Vec<u8>> = covered.chain(other.rows.keys()).collect();
        let empty = MemberDots::new();
        let mut joined = BTreeMap::new();
        for member in members {
            let mine = self.rows.get(member).unwrap_or(&empty);
            let theirs = other.rows.get(member).unwrap_or(&empty);
            let kept = mine.iter().filter(|d| theirs.contains(d) || !other.has_lost(member, **d));
            let new = theirs.iter().filter(|d| mine.contains(d) || !self.has_lost(member, **d));
            joined.insert(member.clone(), kept.chain(new).copied().collect::<MemberDots>());
        }
        self.rows.extend(joined);
        for (member, seen) in &other.deferred {
            self.deferred.entry(member.clone()).or_default().join(seen);
        }
        let (covers, known) = (self.covers_with(other), other.known_to(&self.covers));
        self.context = self.known_to(&other.covers);
        self.context.join(&known);
        self.cleared.join(&other.cleared);
        self.drop_dead();
        self.settle_deferred();
        self.covers = covers;
        for (member, dots) in &other.removed {
            self.removed.entry(member.clone()).or_default().extend(dots);
        }
        // A member that `covers` speaks for needs no empty row.
        self.rows.retain(|member, dots| !dots.is_empty() || !self.covers.has(member));
        if self.covers == Covers::All {
            self.removed.clear();
        }
    }

    fn context(&self) -> &CausalContext {
        &self.context
    }

    fn value(&self) -> Option<BTreeSet<Vec<u8>>> {
        let members: BTreeSet<_> = self.members().map(|(member, _)| member.clone()).collect();
        (!members.is_empty()).then_some(members)
    }
}

impl_cvrdt!(Set);
