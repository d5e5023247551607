//! "Replicas that have received the same writes, in any order, any number of times, are
//! byte-equal." After healing all owners have received all writes.

use super::{Evidence, Findings, layout_of, owners};
use crate::node::Node;
use starling_node::wire::codec;
use std::collections::BTreeSet;

/// The first object that its owners do not all hold in the same bytes and with the same digest.
pub fn first_difference(nodes: &[Node]) -> Option<String> {
    differences(nodes).into_iter().next()
}

pub(super) fn check(evidence: &Evidence<'_>, findings: &mut Findings) {
    for difference in differences(evidence.nodes) {
        findings.violation("replicas_equal", difference);
    }
}

fn differences(nodes: &[Node]) -> Vec<String> {
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
        let copies: Vec<_> = places.iter().map(|at| (*at, audits[*at].get(id))).collect();
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
