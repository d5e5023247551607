//! "Replicas that have received the same writes, in any order, any number of times, are
//! byte-equal." After healing all owners have received all writes. (What has expired is as good as
//! absent: it is not exchanged any more.)

use super::{Evidence, Findings, is_going, is_gone, layout_of, owners};
use crate::node::Node;
use starling_node::wire::codec;
use std::collections::BTreeSet;

/// The first object that its owners do not all hold in the same bytes and with the same digest.
pub fn first_difference(nodes: &[Node], now_us: u64) -> Option<String> {
    differences(nodes, now_us).into_iter().next()
}

pub(super) fn check(evidence: &Evidence<'_>, findings: &mut Findings) {
    for difference in differences(evidence.nodes, evidence.clocks.now_us) {
        findings.violation("replicas_equal", difference);
    }
}

fn differences(nodes: &[Node], now_us: u64) -> Vec<String> {
    let mut audits = Vec::new();
    for node in nodes {
        match node.audit() {
            Ok(audit) => audits.push(audit),
            Err(error) => return vec![format!("{node} cannot be read: {error}")],
        }
    }
    let layouts: BTreeSet<_> = nodes.iter().map(|n| n.layout().map(|layout| layout.id())).collect();
    let Some(layout) = layout_of(nodes).filter(|_| layouts.len() == 1) else {
        return vec![format!("nodes work with different layouts: {layouts:?}")];
    };
    let ids: BTreeSet<_> = audits.iter().flat_map(|audit| audit.keys()).collect();
    let mut differences = Vec::new();
    for id in ids {
        let places = owners(&layout, nodes, id);
        let of = |at: usize| audits[at].get(id);
        let going = |at: &usize| of(*at).is_some_and(|a| is_going(&a.object, &nodes[*at], now_us));
        if places.iter().any(going) {
            continue;
        }
        let there = |at: usize| of(at).filter(|a| !is_gone(&a.object, &nodes[at], now_us));
        let copies: Vec<_> = places.iter().map(|at| (*at, there(*at))).collect();
        let bytes =
            |at: usize| copies[at].1.map(|audit| (audit.digest, codec::encode(&audit.object)));
        for at in 1..copies.len() {
            if bytes(0) != bytes(at) {
                let (one, other) = (&nodes[copies[0].0], &nodes[copies[at].0]);
                let shown = |at: usize| copies[at].1.map(|audit| (audit.digest, &audit.object));
                let states = format!("{:?} and {:?}", shown(0), shown(at));
                differences.push(format!("{id}: {one} and {other} hold {states}"));
                break;
            }
        }
    }
    differences
}
