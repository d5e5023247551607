//! "Every queue has a bound": requests, hint marks and waiting acknowledgements of each node stay
//! within what its settings allow, at every look during the run.

use super::Findings;
use crate::node::Node;

const NAME: &str = "bounded_memory";
/// Acknowledgements that wait for one sync: two for each message that one can have handled.
const WAITING_MAX: u64 = 200_000;
/// Marks that one batch may add beyond the bound.
const MARKS_SLACK: u64 = 4_096;

/// Looks at every node that is up.
pub fn look(nodes: &mut [Node], findings: &mut Findings) {
    let others = nodes.len() as u64 - 1;
    for node in nodes.iter_mut() {
        let Some(gauges) = node.gauges() else { continue };
        findings.count("queues_measured", 1);
        for (name, value) in &gauges.values {
            findings.count(name, u64::from(*value > 0));
        }
        let most = [
            ("starling_requests_open", gauges.requests_max),
            ("starling_hints_pending", (gauges.hints_max + MARKS_SLACK).saturating_mul(others)),
            ("starling_sync_waiting", WAITING_MAX),
        ];
        for (name, most) in most {
            let now = gauges.values.get(name).copied().unwrap_or(0);
            if now > most {
                findings.violation(NAME, format!("{node}: {name} is {now}, at most {most}"));
            }
        }
    }
}
