//! "After corruption correct data or a loud refusal": what a node cannot read intact it refuses,
//! and once all nodes are back it has taken every such object from another owner.

use super::{Evidence, Findings};

pub(super) fn check(evidence: &Evidence<'_>, findings: &mut Findings) {
    for node in evidence.nodes {
        let damaged = node.damaged();
        if damaged > 0 {
            let detail = format!("{node} still has {damaged} damaged objects");
            findings.violation("damage_is_mended", detail);
        }
    }
}
