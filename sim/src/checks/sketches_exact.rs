//! "Nothing is silently dropped", for sketches that clients only add to: every register is at
//! least what acknowledged elements make it and at most what all that may be in force make it,
//! and the estimate is within the published error of how many elements there are.

use super::{Evidence, Findings};
use crate::history::Record;
use crate::workload::is_kind;
use starling_node::crdt::hll::REGISTERS;
use starling_node::crdt::{DeltaType, Hll, HllOp, Object, ObjectOp};
use std::collections::BTreeMap;

const NAME: &str = "sketches_exact";

/// Standard errors that an estimate may be off.
const ERRORS_MAX: f64 = 4.0;

/// Elements of a sketch, each added by one operation and by no other.
#[derive(Default)]
struct Added {
    /// Of acknowledged operations: rank by register.
    certain: BTreeMap<u16, u8>,
    /// Of all that may be in force.
    possible: BTreeMap<u16, u8>,
    /// How many elements either has.
    counts: (u64, u64),
}

pub(super) fn check(evidence: &Evidence<'_>, findings: &mut Findings) {
    for (id, copies) in &evidence.owned {
        let added = added(evidence.history.of(id));
        for copy in copies.iter().filter(|_| is_kind(id, "distinct")) {
            let Object::Hll(sketch) = &copy.state else { continue };
            findings.count("sketches_bounded", 1);
            if let Err(why) = judge(sketch, &added) {
                findings.violation(NAME, format!("{} on {id}: {why}", copy.owner));
            }
        }
    }
}

fn added<'a>(records: impl Iterator<Item = &'a Record>) -> Added {
    let mut added = Added::default();
    for record in records {
        let Some(ObjectOp::Hll(HllOp::Add { places })) = record.possible_write() else { continue };
        raise(&mut added.possible, places);
        added.counts.1 += 1;
        if record.durable_write().is_some() {
            raise(&mut added.certain, places);
            added.counts.0 += 1;
        }
    }
    added
}

fn raise(ranks: &mut BTreeMap<u16, u8>, places: &BTreeMap<u16, u8>) {
    for (register, rank) in places {
        let kept = ranks.entry(*register).or_default();
        *kept = (*kept).max(*rank);
    }
}

fn judge(sketch: &Hll, added: &Added) -> Result<(), String> {
    let held = sketch.value().unwrap_or_default();
    let rank = |ranks: &BTreeMap<u16, u8>, register| ranks.get(register).copied().unwrap_or(0);
    if let Some((register, least)) =
        added.certain.iter().find(|(register, least)| rank(&held, register) < **least)
    {
        return Err(format!("register {register} is below {least}, which was acknowledged"));
    }
    if let Some((register, shown)) =
        held.iter().find(|(register, shown)| rank(&added.possible, register) < **shown)
    {
        return Err(format!("register {register} is {shown}, which nobody added"));
    }
    let (least, most) = added.counts;
    let estimate = sketch.estimate();
    match estimate + slack(least) < least || estimate > most + slack(most) {
        true => Err(format!("estimated {estimate} for {least} to {most} elements")),
        false => Ok(()),
    }
}

/// What an estimate of that many may be off: the relative standard error of HyperLogLog is 1.04
/// over the root of its registers (Flajolet et al. 2007). Of few elements one more: two that meet
/// in one register are no error of the sketch.
fn slack(count: u64) -> u64 {
    1 + (ERRORS_MAX * 1.04 / (REGISTERS as f64).sqrt() * count as f64).ceil() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use starling_node::crdt::{Actor, Hlc, Mint, NodeId};

    fn sketch(elements: std::ops::Range<u64>) -> Hll {
        let actor = Actor { node: NodeId(1), epoch: 0 };
        let mut mint = Mint::new(actor, 1, Hlc::default());
        let mut sketch = Hll::default();
        for element in elements {
            let op = HllOp::add([element.to_string().as_bytes()]);
            let delta = sketch.delta(&op, &mut mint).expect("a sketch refuses nothing");
            sketch.join(&delta);
        }
        sketch
    }

    fn asked(certain: u64, possible: u64) -> Added {
        let ranks = |count| sketch(0..count).value().unwrap_or_default();
        let (certain_ranks, possible_ranks) = (ranks(certain), ranks(possible));
        let counts = (certain, possible);
        Added { certain: certain_ranks, possible: possible_ranks, counts }
    }

    #[test]
    fn what_was_acknowledged_must_be_there_and_what_is_unknown_may_be() {
        for held in 30..=40 {
            assert_eq!(judge(&sketch(0..held), &asked(30, 40)), Ok(()));
        }
    }

    #[test]
    fn a_lost_element_and_an_invented_one_are_told() {
        let lost = judge(&sketch(1..40), &asked(30, 40));
        assert!(lost.is_err_and(|why| why.contains("acknowledged")));
        let invented = judge(&sketch(0..41), &asked(30, 40));
        assert!(invented.is_err_and(|why| why.contains("nobody")));
    }

    #[test]
    fn an_estimate_beyond_the_published_error_is_told() {
        let mut added = asked(1_000, 1_000);
        assert_eq!(judge(&sketch(0..1_000), &added), Ok(()));
        for counts in [(1_100, 1_100), (900, 900)] {
            added.counts = counts;
            let wrong = judge(&sketch(0..1_000), &added);
            assert!(wrong.is_err_and(|why| why.contains("estimated")));
        }
    }
}
