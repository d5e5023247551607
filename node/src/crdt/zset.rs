//! Sorted set: members with scores. Each member is a row, see [`super::rows`].
//!
//! A score is the last one set, plus what was added since. Setting replaces what the applying
//! replica holds of the member; of scores set concurrently the later by clock counts. Additions
//! are running totals of each actor (see [`super::row`]), so those made on two sides of a
//! partition add up, and a removal takes away those it observed and no others.
//!
//! Scores are 64-bit floats. Sums of whole numbers below 2^53 are exact; of others the last bits
//! depend on how the additions were spread over the replicas, though not on the order in which
//! they arrived.

use super::row::{Amount, Base, Leaf, Real, Row};
use super::rows::rows_type;
use super::{CausalContext, DeltaType, Dot, Hlc, Mint, Needs, Observed, OpError, Rows};
use bincode::{Decode, Encode};
use std::collections::{BTreeMap, BTreeSet};

rows_type! {
    /// A sorted set, or a part of one.
    Zset
}

/// What clients ask of a sorted set.
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub enum ZsetOp {
    /// Change members; none is named twice.
    Update {
        /// Members and the scores they get.
        add: BTreeMap<Vec<u8>, Real>,
        /// Members and what is added to their scores; one that is not there begins at 0.
        increment: BTreeMap<Vec<u8>, Real>,
        /// Members to remove.
        remove: BTreeSet<Vec<u8>>,
        /// What the removals cover.
        observed: Observed,
    },
    /// Remove the whole, as far as observed.
    Delete {
        /// What the removal covers.
        observed: Observed,
    },
}

impl ZsetOp {
    pub(super) fn needs(&self) -> Needs {
        match self {
            ZsetOp::Update { add, increment, remove, .. } => {
                let keys = add.keys().chain(increment.keys()).chain(remove).cloned().collect();
                Needs { keys, ..Needs::default() }
            }
            ZsetOp::Delete { .. } => Needs { totals: true, ..Needs::default() },
        }
    }
}

/// The score that a member's row comes to. Sums beyond the finite numbers, which only concurrent
/// additions can reach, stop at the largest.
pub fn score_of(row: &Row) -> f64 {
    let set = row.live.iter().filter_map(|(dot, leaf)| match leaf {
        Leaf::Score { score, at } => Some((*at, *dot, *score)),
        _ => None,
    });
    let last = set.max_by_key(|(at, dot, _): &(Hlc, Dot, Real)| (*at, *dot));
    let base = last.map_or(0.0, |(_, _, score)| score.get());
    let sum = (base + row.real_total()).clamp(f64::MIN, f64::MAX);
    // Zero has one form.
    if sum == 0.0 { 0.0 } else { sum }
}

/// Bytes of the score in a [`place`].
const SCORE_BYTES: usize = 8;

/// Where a score sorts among scores: the order of the bytes is that of the numbers (IEEE 754
/// bits, the sign turned round and negative ones inverted).
pub fn score_key(score: f64) -> [u8; SCORE_BYTES] {
    let bits = score.to_bits();
    let sign = 1 << 63;
    (if bits & sign == 0 { bits | sign } else { !bits }).to_be_bytes()
}

/// Where a member sorts in its set by score: members of one score by their bytes.
pub fn place(score: f64, member: &[u8]) -> Vec<u8> {
    [&score_key(score)[..], member].concat()
}

/// Score and member of a place; `None` of bytes that are none.
pub fn at_place(place: &[u8]) -> Option<(f64, &[u8])> {
    let (score, member) = place.split_first_chunk::<SCORE_BYTES>()?;
    let key = u64::from_be_bytes(*score);
    let bits = if key >> 63 == 1 { key ^ (1 << 63) } else { !key };
    let score = f64::from_bits(bits);
    (Real::new(score)?.get().to_bits() == bits && !member.is_empty()).then_some((score, member))
}

impl Zset {
    /// Visible members with their scores, in the order of their bytes.
    pub fn scores(&self) -> impl DoubleEndedIterator<Item = (&Vec<u8>, f64)> {
        self.present().map(|(member, row)| (member, score_of(row)))
    }

    fn set(&self, member: &[u8], score: Real, mint: &mut Mint, delta: &mut Rows) {
        let row = self.row(member);
        let leaf = Leaf::Score { score, at: mint.at() };
        delta.put(member, mint.dot(), leaf, row.live.keys().copied());
        let totals = row.live.keys().filter_map(|dot| row.total_of(dot)).collect();
        delta.rows.entry(member.to_vec()).or_default().join_base(&totals);
    }

    fn increment(
        &self,
        member: &[u8],
        by: Real,
        mint: &mut Mint,
        delta: &mut Rows,
    ) -> Result<(), OpError> {
        let row = self.row(member);
        let overflow = || OpError::ScoreOverflow { member: text_of(member) };
        Real::new(score_of(&row) + by.get()).ok_or_else(overflow)?;
        let (dot, leaf, replaced) = row.extend(mint, |own| {
            let own = match own {
                Some(Amount::Real(real)) => real.get(),
                _ => 0.0,
            };
            Real::new(own + by.get()).map(Amount::Real).ok_or_else(overflow)
        })?;
        delta.put(member, dot, leaf, replaced);
        Ok(())
    }

    /// Removes a member as far as observed. Totals that the client has seen and this replica has
    /// not are noted as well: what their actors add later comes with them.
    fn take(&self, member: &[u8], observed: &Observed, delta: &mut Rows) {
        self.remove(member, observed, delta);
        let Observed::Context(seen) = observed else { return };
        let unseen: BTreeMap<Dot, Base> = seen
            .reals
            .iter()
            .filter(|(run, base)| {
                !self.context.contains(Dot { actor: run.actor, counter: base.last })
            })
            .map(|(run, base)| (*run, *base))
            .collect();
        delta.rows.entry(member.to_vec()).or_default().join_base(&unseen);
    }
}

fn text_of(member: &[u8]) -> String {
    String::from_utf8_lossy(member).into_owned()
}

impl DeltaType for Zset {
    type Op = ZsetOp;
    type Value = BTreeMap<Vec<u8>, f64>;

    fn delta(&self, op: &ZsetOp, mint: &mut Mint) -> Result<Zset, OpError> {
        let (add, increment, remove, observed) = match op {
            ZsetOp::Update { add, increment, remove, observed } => {
                (add, increment, remove, observed)
            }
            ZsetOp::Delete { observed } => return Ok(Zset(self.clear(observed))),
        };
        let mut delta = Rows::delta();
        remove.iter().for_each(|member| self.take(member, observed, &mut delta));
        self.check_deferred(&delta)?;
        add.iter().for_each(|(member, score)| self.set(member, *score, mint, &mut delta));
        for (member, by) in increment {
            self.increment(member, *by, mint, &mut delta)?;
        }
        Ok(Zset(delta))
    }

    fn join(&mut self, other: &Zset) {
        self.0.join(other);
    }

    fn context(&self) -> &CausalContext {
        &self.0.context
    }

    fn value(&self) -> Option<BTreeMap<Vec<u8>, f64>> {
        let scores: BTreeMap<_, _> =
            self.scores().map(|(member, score)| (member.clone(), score)).collect();
        (!scores.is_empty()).then_some(scores)
    }
}
