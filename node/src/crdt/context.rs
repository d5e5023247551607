//! Causal contexts: exact sets of dots, as small as a version vector when there are no gaps.
//!
//! A context maps each actor to a sorted list of closed, non-adjacent intervals of counters
//! (Almeida, Shoker, Baquero, "Delta State Replicated Data Types", 2018, section 7.2, with
//! intervals in place of vector plus dot cloud).

use super::dot::{Actor, Dot};
use bincode::{Decode, Encode};
use std::collections::BTreeMap;

/// A set of dots.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct CausalContext {
    seen: BTreeMap<Actor, Vec<(u64, u64)>>,
}

impl CausalContext {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether no dot is in it.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// Whether `dot` is in it.
    pub fn contains(&self, dot: Dot) -> bool {
        self.seen.get(&dot.actor).is_some_and(|runs| covers(runs, dot.counter))
    }

    /// Adds one dot.
    pub fn insert(&mut self, dot: Dot) {
        self.insert_range(dot.actor, dot.counter, dot.counter);
    }

    /// Adds the dots `from..=to` of `actor`.
    pub fn insert_range(&mut self, actor: Actor, from: u64, to: u64) {
        assert!(0 < from && from <= to, "an interval of counters starts at 1 and is not empty");
        let runs = self.seen.entry(actor).or_default();
        // The first run that touches or follows `from`.
        let start = runs.partition_point(|&(_, end)| end.saturating_add(1) < from);
        let mut end = start;
        let (mut low, mut high) = (from, to);
        while end < runs.len() && runs[end].0 <= to.saturating_add(1) {
            low = low.min(runs[end].0);
            high = high.max(runs[end].1);
            end += 1;
        }
        runs.splice(start..end, [(low, high)]);
    }

    /// Adds every dot of `other`.
    pub fn join(&mut self, other: &CausalContext) {
        for (actor, runs) in &other.seen {
            match self.seen.get_mut(actor) {
                None => {
                    self.seen.insert(*actor, runs.clone());
                }
                Some(mine) if runs.len() > 8 => *mine = union(mine, runs),
                Some(_) => runs.iter().for_each(|&(from, to)| self.insert_range(*actor, from, to)),
            }
        }
    }

    /// The dots in `self` and not in `other`.
    pub fn minus(&self, other: &CausalContext) -> CausalContext {
        let mut left = CausalContext::new();
        for (actor, runs) in &self.seen {
            let rest = match other.seen.get(actor) {
                None => runs.clone(),
                Some(cut) => difference(runs, cut),
            };
            if !rest.is_empty() {
                left.seen.insert(*actor, rest);
            }
        }
        left
    }

    /// Whether every dot of `self` is in `other`.
    pub fn is_subset(&self, other: &CausalContext) -> bool {
        self.seen.iter().all(|(actor, runs)| match other.seen.get(actor) {
            None => false,
            Some(theirs) => {
                let mut at = 0;
                runs.iter().all(|&(from, to)| {
                    while at < theirs.len() && theirs[at].1 < from {
                        at += 1;
                    }
                    at < theirs.len() && theirs[at].0 <= from && to <= theirs[at].1
                })
            }
        })
    }

    /// The highest counter of `actor`, 0 if none.
    pub fn highest(&self, actor: Actor) -> u64 {
        self.seen.get(&actor).and_then(|runs| runs.last()).map_or(0, |&(_, end)| end)
    }

    /// Actors with their intervals, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Actor, &[(u64, u64)])> {
        self.seen.iter().map(|(actor, runs)| (*actor, runs.as_slice()))
    }

    /// How many intervals it is made of: its size in memory and on the wire.
    pub fn interval_count(&self) -> usize {
        self.seen.values().map(Vec::len).sum()
    }

    /// Whether the intervals are sorted, disjoint, not adjacent and not empty. Holds for every
    /// context made by this module; a decoded one is checked before use.
    pub fn is_canonical(&self) -> bool {
        self.seen.values().all(|runs| {
            !runs.is_empty()
                && runs[0].0 > 0
                && runs.iter().all(|&(from, to)| from <= to)
                && runs.windows(2).all(|pair| pair[0].1 < u64::MAX && pair[0].1 + 1 < pair[1].0)
        })
    }
}

impl FromIterator<Dot> for CausalContext {
    fn from_iter<I: IntoIterator<Item = Dot>>(dots: I) -> Self {
        let mut context = CausalContext::new();
        dots.into_iter().for_each(|dot| context.insert(dot));
        context
    }
}

fn covers(runs: &[(u64, u64)], counter: u64) -> bool {
    let at = runs.partition_point(|&(_, end)| end < counter);
    at < runs.len() && runs[at].0 <= counter
}

/// Union of two sorted interval lists in one pass.
fn union(a: &[(u64, u64)], b: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut out: Vec<(u64, u64)> = Vec::with_capacity(a.len() + b.len());
    let (mut i, mut j) = (0, 0);
    while i < a.len() || j < b.len() {
        let next = if j == b.len() || (i < a.len() && a[i].0 <= b[j].0) {
            i += 1;
            a[i - 1]
        } else {
            j += 1;
            b[j - 1]
        };
        match out.last_mut() {
            Some(last) if next.0 <= last.1.saturating_add(1) => last.1 = last.1.max(next.1),
            _ => out.push(next),
        }
    }
    out
}

/// Sorted interval list `a` without the counters of `b`.
fn difference(a: &[(u64, u64)], b: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut out = Vec::new();
    let mut j = 0;
    for &(mut from, to) in a {
        while j < b.len() && b[j].1 < from {
            j += 1;
        }
        let mut k = j;
        let mut open = true;
        while k < b.len() && b[k].0 <= to {
            if b[k].0 > from {
                out.push((from, b[k].0 - 1));
            }
            if b[k].1 >= to {
                open = false;
                break;
            }
            from = b[k].1 + 1;
            k += 1;
        }
        if open {
            out.push((from, to));
        }
    }
    out
}
