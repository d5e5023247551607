//! "A hint is a delta that is owed": once all nodes are back, every one of them is paid.

use super::{Evidence, Findings};

pub(super) fn check(evidence: &Evidence<'_>, findings: &mut Findings) {
    for node in evidence.nodes {
        if !node.is_up() {
            findings.violation("hints_drain", format!("{node} is not back"));
        }
        let pending = node.hints_pending();
        if pending > 0 {
            findings.violation("hints_drain", format!("{node} still owes {pending} hints"));
        }
    }
}
