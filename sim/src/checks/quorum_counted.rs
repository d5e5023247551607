//! "A write acknowledged with W is on W replicas, and the answer says how many of them are owners,
//! how many are stand-ins (hints) and how many are on disk. A stand-in is never passed off as an
//! owner."
//!
//! Judged at the moment of the answer: the counts against what was asked, and of registers also
//! against every store, as it is and as a crash at that moment would leave it.

use super::{Findings, layout_of, owners};
use crate::history::{Outcome, Record};
use crate::node::Node;
use crate::workload::BUCKET;
use starling_node::config::{BucketProps, Durability};
use starling_node::crdt::{Dot, KvOp, Object, ObjectOp, Sibling};
use starling_node::wire::api::{Acks, Durable, Quorum, Written};
use std::collections::BTreeSet;

const NAME: &str = "quorum_counted";

/// Checks an answer that was just given.
pub fn at_answer(place: usize, record: &Record, nodes: &[Node], findings: &mut Findings) {
    let Outcome::Written(written) = &record.outcome else { return };
    if record.intent.object.bucket != BUCKET {
        return; // Its properties are its own.
    }
    findings.count("acks_of_hints", u64::from(written.acks.hints));
    if let Err(why) = as_asked(record, &written.acks, &nodes[record.node].props) {
        findings.violation(NAME, format!("operation #{place}: {why}"));
    }
    if let Some(ObjectOp::Kv(KvOp::Put { value, .. })) = record.possible_write() {
        let Some(dot) = dot_of(written, value) else {
            let detail = format!("operation #{place}: the answer does not show the value");
            findings.violation(NAME, detail);
            return;
        };
        findings.count("acks_compared_with_stores", 1);
        if let Err(why) = as_stored(record, written, dot, nodes) {
            findings.violation(NAME, format!("operation #{place} {dot}: {why}"));
        }
    }
}

fn as_asked(record: &Record, acks: &Acks, props: &BucketProps) -> Result<(), String> {
    let options = &record.intent.options;
    let n = usize::from(props.n);
    let w = options.w.unwrap_or(props.w).of(n) as u32;
    let pw = options.pw.map_or(0, |pw| pw.of(n)) as u32;
    let durable = match options.durable {
        Durable::None => 0,
        Durable::Default if props.durability == Durability::Batched => 0,
        Durable::Default => w,
        Durable::One => 1,
        Durable::Quorum => Quorum::Quorum.of(n) as u32,
        Durable::All => n as u32,
    };
    let all = acks.owners + acks.hints;
    let enough = all >= w && acks.owners >= pw && acks.durable >= durable;
    let sound = acks.owners <= n as u32 && acks.durable <= all;
    match enough && sound {
        true => Ok(()),
        false => Err(format!("{acks:?} for w={w} pw={pw} durable={durable}")),
    }
}

fn dot_of(written: &Written, value: &[u8]) -> Option<Dot> {
    let Object::Kv(kv) = &written.object else { return None };
    // A retry may have put the same value before.
    let own = |dot: &Dot, sibling: &Sibling| sibling.value == value && written.said.contains(*dot);
    kv.siblings().find(|(dot, sibling)| own(dot, sibling)).map(|(dot, _)| *dot)
}

fn as_stored(record: &Record, written: &Written, dot: Dot, nodes: &[Node]) -> Result<(), String> {
    let object = &record.intent.object;
    let has = |node: &Node, durable: bool| {
        node.held(object, durable).is_some_and(|state| state.context().contains(dot))
    };
    let Some(layout) = layout_of(nodes) else { return Ok(()) };
    let owners = owners(&layout, nodes, object);
    let holding = |durable: bool| -> Vec<usize> {
        (0..nodes.len()).filter(|at| has(&nodes[*at], durable)).collect()
    };
    let (holders, on_disk) = (holding(false), holding(true));
    let among_owners = holders.iter().filter(|at| owners.contains(at)).count();
    // A node that crashed since the request began may have lost what it acknowledged from memory.
    let crashed = nodes.iter().filter(|node| node.stopped_us >= record.invoked_us).count();
    let damaged = nodes.iter().filter(|node| node.damaged_us >= record.invoked_us).count();
    let crashed = crashed.max(damaged);
    let acks = &written.acks;
    let zones: BTreeSet<&str> = holders.iter().map(|at| nodes[*at].zone()).collect();
    // A stand-in may have handed its copy to an owner in another zone by now.
    let zones_asked = match acks.hints {
        0 => usize::from(record.intent.options.zones.unwrap_or(0)),
        _ => 0,
    };
    let found = format!(
        "{acks:?}, yet of the owners {owners:?} and others {holders:?} hold it, {on_disk:?} on disk"
    );
    let sound = holders.len() + crashed >= (acks.owners + acks.hints) as usize
        && among_owners + crashed >= acks.owners as usize
        && on_disk.len() + damaged >= acks.durable as usize
        && zones.len() + crashed >= zones_asked;
    if sound { Ok(()) } else { Err(found) }
}
