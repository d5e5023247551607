//! HyperLogLog: how many distinct elements were added, within about 0.8 %, in at most 16,384 rows.
//!
//! Flajolet, Fusy, Gandouet and Meunier, "HyperLogLog", 2007, with p = 14 and 64-bit hashes, read
//! by the improved estimator of Ertl, "New cardinality estimation algorithms for HyperLogLog
//! sketches", 2017, section 4. A register is a row that keeps a dot for each rank an addition
//! gave it, unless a later one gave as much, so a removal takes away what it observed and no
//! more.

use super::row::{Leaf, Row};
use super::rows::rows_type;
use super::{CausalContext, DeltaType, Mint, Needs, Observed, OpError, Rows};
use bincode::{Decode, Encode};
use std::collections::BTreeMap;
use xxhash_rust::xxh3::xxh3_64;

/// Bits of the hash that choose the register.
pub const PRECISION: u32 = 14;
/// Registers.
pub const REGISTERS: usize = 1 << PRECISION;
/// The highest rank a register can have.
const RANK_MAX: u32 = 64 - PRECISION + 1;

rows_type! {
    /// A sketch, or a part of one.
    Hll
}

/// What clients ask of a sketch.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum HllOp {
    /// Count these elements.
    Add {
        /// Register and rank of each, see [`place_of`].
        places: BTreeMap<u16, u8>,
    },
    /// Remove the whole sketch, as far as observed.
    Delete {
        /// What the removal covers.
        observed: Observed,
    },
}

/// The register and the rank of an element.
pub fn place_of(element: &[u8]) -> (u16, u8) {
    let hash = xxh3_64(element);
    let register = (hash >> (64 - PRECISION)) as u16;
    let rest = hash << PRECISION;
    let rank = rest.leading_zeros().min(RANK_MAX - 1) + 1;
    (register, rank as u8)
}

impl HllOp {
    /// Adds these elements.
    pub fn add<'a>(elements: impl IntoIterator<Item = &'a [u8]>) -> HllOp {
        let mut places = BTreeMap::new();
        for (register, rank) in elements.into_iter().map(place_of) {
            let kept = places.entry(register).or_insert(rank);
            *kept = rank.max(*kept);
        }
        HllOp::Add { places }
    }

    pub(super) fn needs(&self) -> Needs {
        let HllOp::Add { places } = self else { return Needs::default() };
        Needs {
            keys: places.keys().map(|register| key_of(*register)).collect(),
            ..Needs::default()
        }
    }
}

fn key_of(register: u16) -> Vec<u8> {
    register.to_be_bytes().to_vec()
}

/// The rank of a register, 0 when nothing was added to it.
fn rank_of(row: &Row) -> u8 {
    let ranks = row.live.values().filter_map(|leaf| match leaf {
        Leaf::Rank(rank) => Some(*rank),
        _ => None,
    });
    ranks.max().unwrap_or(0)
}

impl Hll {
    /// How many distinct elements were added, as far as 16,384 registers tell.
    pub fn estimate(&self) -> u64 {
        let mut counts = [0u32; RANK_MAX as usize + 1];
        counts[0] = REGISTERS as u32;
        for (_, row) in self.present() {
            counts[0] -= 1;
            counts[usize::from(rank_of(row)).min(RANK_MAX as usize)] += 1;
        }
        estimate_of(&counts)
    }
}

/// The estimate from how many registers have each rank (Ertl 2017, algorithm 6).
fn estimate_of(counts: &[u32; RANK_MAX as usize + 1]) -> u64 {
    let m = REGISTERS as f64;
    let q = RANK_MAX as usize - 1;
    let mut z = m * tau(1.0 - f64::from(counts[q + 1]) / m);
    for count in counts[1..=q].iter().rev() {
        z = 0.5 * (z + f64::from(*count));
    }
    z += m * sigma(f64::from(counts[0]) / m);
    let alpha = 0.5 / std::f64::consts::LN_2;
    (alpha * m * m / z).round() as u64
}

fn sigma(mut x: f64) -> f64 {
    if x >= 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x).powi(2) * y;
        if z == before {
            return z / 3.0;
        }
    }
}

impl DeltaType for Hll {
    type Op = HllOp;
    /// The rank of each register that has one, see [`Hll::estimate`].
    type Value = BTreeMap<u16, u8>;

    fn delta(&self, op: &HllOp, mint: &mut Mint) -> Result<Hll, OpError> {
        let places = match op {
            HllOp::Add { places } => places,
            HllOp::Delete { observed } => return Ok(Hll(self.clear(observed))),
        };
        let mut delta = Rows::delta();
        for (register, rank) in places {
            let key = key_of(*register);
            let covered = self
                .row(&key)
                .live
                .into_iter()
                .filter(|(_, leaf)| matches!(leaf, Leaf::Rank(old) if old <= rank));
            delta.put(&key, mint.dot(), Leaf::Rank(*rank), covered.map(|(dot, _)| dot));
        }
        Ok(Hll(delta))
    }

    fn join(&mut self, other: &Hll) {
        self.0.join(other);
    }

    fn context(&self) -> &CausalContext {
        &self.0.context
    }

    fn value(&self) -> Option<BTreeMap<u16, u8>> {
        let rank = |(key, row): (&Vec<u8>, &Row)| {
            let register = key.iter().fold(0, |number, byte| number << 8 | u16::from(*byte));
            (register, rank_of(row))
        };
        let ranks: BTreeMap<_, _> = self.present().map(rank).collect();
        (!ranks.is_empty()).then_some(ranks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crdt::{Actor, Hlc, NodeId};

    #[test]
    fn the_estimate_is_within_two_percent_from_a_hundred_to_a_million_elements() {
        let actor = Actor { node: NodeId(1), epoch: 0 };
        let mut hll = Hll::default();
        let mut added = 0u64;
        for count in [100u64, 10_000, 1_000_000] {
            while added < count {
                let upto = count.min(added + 10_000);
                let names: Vec<_> = (added..upto).map(|n| format!("element {n}")).collect();
                let op = HllOp::add(names.iter().map(String::as_bytes));
                let next = hll.context().highest(actor) + 1;
                let mut mint = Mint::new(actor, next, Hlc::default());
                let delta = hll.delta(&op, &mut mint).expect("a sketch refuses nothing");
                hll.join(&delta);
                added = upto;
            }
            let estimate = hll.estimate();
            assert!(estimate.abs_diff(count) * 50 <= count, "{estimate} for {count}");
        }
        assert!(hll.rows.len() <= REGISTERS);
    }

    #[test]
    fn elements_counted_before_change_no_rank() {
        let actor = Actor { node: NodeId(1), epoch: 0 };
        let mut hll = Hll::default();
        let op = HllOp::add([b"ada".as_slice(), b"bob"]);
        let delta = |hll: &Hll, next| hll.delta(&op, &mut Mint::new(actor, next, Hlc::default()));
        let first = delta(&hll, 1).expect("taken");
        hll.join(&first);
        let ranks = hll.value();
        let second = delta(&hll, 3).expect("taken");
        hll.join(&second);
        assert_eq!((hll.value(), hll.estimate()), (ranks, 2));
    }
}
