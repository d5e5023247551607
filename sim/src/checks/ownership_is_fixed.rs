//! "A slow node must not be able to change the layout": a death, true or false, never changes who
//! owns what, and one layout id names one table on every node.

use super::{Evidence, Findings};

const NAME: &str = "ownership_is_fixed";

pub(super) fn check(evidence: &Evidence<'_>, findings: &mut Findings) {
    let Some(formed) = &evidence.formed else { return };
    for node in evidence.nodes {
        findings.count("layouts_compared", 1);
        match node.layout() {
            Some(layout) if layout == formed => {}
            Some(layout) => {
                let (theirs, ours) = (layout.id(), formed.id());
                let detail = format!("{node} works with {theirs}, the cluster formed {ours}");
                findings.violation(NAME, detail);
            }
            None => findings.violation(NAME, format!("{node} has no layout")),
        }
    }
}
