//! "A stand-in is never passed off as an owner": a read counts replicas that can know. An owner
//! that could not be reached while the read was under way cannot have answered it, and a node that
//! only stands in says nothing of an object that it does not hold.

use super::{Findings, layout_of, owners_of_n};
use crate::faults::Conditions;
use crate::history::{Outcome, Record};
use crate::node::Node;
use starling_node::crdt::Object;

const NAME: &str = "reads_counted";

/// Checks a read that was just answered. `settled_us`: since when conditions are as they are.
pub fn at_answer(
    place: usize,
    record: &Record,
    nodes: &[Node],
    (conditions, settled_us): (&Conditions, u64),
    findings: &mut Findings,
) {
    let Outcome::Read(read) = &record.outcome else { return };
    let Some(layout) = layout_of(nodes) else { return };
    // Messages sent under other conditions may still have been on their way.
    if record.invoked_us < settled_us + SETTLE_US {
        return;
    }
    findings.count("reads_compared_with_reach", 1);
    let from = record.node;
    // A node that hears nobody counts by what it knows of the bucket.
    let Some(n) = nodes[from].n_of(&record.intent.object.bucket) else { return };
    let owners = owners_of_n(&layout, nodes, &record.intent.object, n);
    let reached = |to: usize| {
        let link = |a: usize, b: usize| !conditions.links[a][b].cut;
        to == from || (nodes[to].is_up() && link(from, to) && link(to, from))
    };
    let may_know = |at: &usize| {
        let holds = nodes[*at].held(&record.intent.object, false);
        owners.contains(at)
            || holds.is_some_and(|state| state != Object::empty(record.intent.object.tag))
    };
    let count = (0..nodes.len()).filter(|at| reached(*at) && may_know(at)).count();
    // A stand-in that knew something may have handed it over since it answered.
    let nothing_known = read.object.context().is_empty();
    let slack = if nothing_known { 0 } else { nodes.len() - owners.len() };
    if read.answered as usize > count + slack {
        let answered = read.answered;
        let detail = format!(
            "operation #{place}: {answered} replicas answered, of the owners {owners:?} and those \
             that hold it {count} could be reached"
        );
        findings.violation(NAME, detail);
    }
}

/// Longer than any message is under way without being lost, microseconds.
const SETTLE_US: u64 = 3_000_000;
