//! "Live nodes agree": once nothing is wrong, every node hears every other within a bounded number
//! of gossip rounds, and all see the same members.

use super::Findings;
use crate::gossip::INTERVAL_US;
use crate::node::Node;

/// Rounds of gossip after healing in which all must have the same view.
const ROUNDS_MAX: u64 = 40;

/// Whether all nodes see all others alive, each with the same generation and layout.
pub fn agree(nodes: &[Node]) -> bool {
    let first = nodes.first().map(Node::view);
    nodes.iter().all(|node| node.heard() == nodes.len() && Some(node.view()) == first)
}

/// Judges how long that took after healing, `None`: it did not happen.
pub fn check(took_us: Option<u64>, findings: &mut Findings) {
    let rounds = took_us.map(|us| us.div_ceil(INTERVAL_US));
    findings.count("rounds_until_views_agree_sum", rounds.unwrap_or(ROUNDS_MAX));
    if rounds.is_none_or(|rounds| rounds > ROUNDS_MAX) {
        let detail = format!("{rounds:?} rounds after healing, at most {ROUNDS_MAX}");
        findings.violation("views_agree", detail);
    }
}
