//! "Nothing is silently dropped", for scores that clients only add to: every acknowledged amount
//! counts exactly once, an unknown one at most once, a refused one never.

use super::{Evidence, Findings};
use crate::history::Record;
use crate::workload::is_kind;
use starling_node::crdt::{Object, ObjectOp, ZsetOp};
use std::collections::BTreeMap;

const NAME: &str = "scores_exact";

pub(super) fn check(evidence: &Evidence<'_>, findings: &mut Findings) {
    for (id, copies) in &evidence.owned {
        let records: Vec<&Record> = evidence.history.of(id).collect();
        for copy in copies.iter().filter(|_| is_kind(id, "tally")) {
            let Object::Zset(set) = &copy.state else { continue };
            let scores: BTreeMap<_, f64> = set.scores().collect();
            for (member, (least, most)) in added(&records) {
                findings.count("scores_bounded", 1);
                let score = scores.get(member).copied().unwrap_or(0.0);
                if !(least..=most).contains(&score) {
                    let name = String::from_utf8_lossy(member);
                    let owner = &copy.owner;
                    let detail =
                        format!("{owner} has {score} for {name} of {id}, not {least} to {most}");
                    findings.violation(NAME, detail);
                }
            }
        }
    }
}

/// Least and most that all additions to each member can come to: whole numbers, whose sums are
/// exact.
fn added<'a>(records: &[&'a Record]) -> BTreeMap<&'a Vec<u8>, (f64, f64)> {
    let mut bounds: BTreeMap<&Vec<u8>, (f64, f64)> = BTreeMap::new();
    for record in records {
        let Some(ObjectOp::Zset(ZsetOp::Update { increment, .. })) = record.possible_write() else {
            continue;
        };
        let certain = record.durable_write().is_some();
        for (member, by) in increment {
            let (least, most) = bounds.entry(member).or_default();
            *least += if certain { by.get() } else { by.get().min(0.0) };
            *most += if certain { by.get() } else { by.get().max(0.0) };
        }
    }
    bounds
}
