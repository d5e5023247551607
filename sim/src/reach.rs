//! What a sweep reached: every metric and every way to fail of the core has happened at least
//! once, or is listed here with the reason why it cannot.

use starling_node::metrics::TABLE;
use std::collections::BTreeMap;

/// Ways to fail, as [`crate::names`] counts them.
const FAILURES: &[&str] = &[
    "failures_unavailable",
    "failures_unknown",
    "failures_bad_parameter",
    "failures_refused",
    "failures_overloaded",
    "failures_disk_full",
    "failures_corrupt",
    "failures_conflict",
    "refusals_op",
    "refusals_disk_full",
    "refusals_corrupt",
    "refusals_failed",
    "refusals_hints_full",
    "refusals_misdirected",
    "op_errors_counter_overflow",
    "op_errors_too_many_siblings",
    "op_errors_too_many_deferred",
    "op_errors_wrong_type",
    "op_errors_absent",
];

/// What no run can reach, and why. (`refusals_stale` is in neither list: a copy that comes later
/// than a collection is rare; node/tests/settle.rs makes them.)
const UNREACHABLE: &[(&str, &str)] = &[
    (
        "starling_peer_malformed_total",
        "every simulated peer is a sound one; node/tests/hostile.rs sends what is not",
    ),
    ("refusals_failed", "a store that failed halts its node, which then says nothing any more"),
    (
        "op_errors_too_many_deferred",
        "takes thousands of removals of what a replica has not seen; node/tests/crdt_limits.rs",
    ),
    (
        "op_errors_wrong_type",
        "the type is part of an object's name, so no client can ask it; the codec checks peers",
    ),
];

/// One line of the table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// A metric or a way to fail.
    pub name: &'static str,
    /// How often it moved in the sweep.
    pub times: u64,
    /// Why it cannot.
    pub excuse: Option<&'static str>,
}

impl Line {
    /// Whether it is as it should be: reached, or excused and not reached.
    pub fn is_well(&self) -> bool {
        (self.times > 0) != self.excuse.is_some()
    }
}

/// The table, from what was counted over all runs of a sweep.
pub fn table(counts: &BTreeMap<String, u64>) -> Vec<Line> {
    let names = TABLE.iter().map(|(name, ..)| *name).chain(FAILURES.iter().copied());
    let line = |name: &'static str| {
        let excuse = UNREACHABLE.iter().find(|(of, _)| *of == name).map(|(_, why)| *why);
        Line { name, times: counts.get(name).copied().unwrap_or(0), excuse }
    };
    names.map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_reached_or_excused_is_well() {
        let lines = table(&BTreeMap::new());
        let well = |name| lines.iter().find(|line| line.name == name).unwrap().is_well();
        assert!(!well("failures_unknown") && well("refusals_failed"));
        let reached = table(&BTreeMap::from([("refusals_failed".to_string(), 1)]));
        assert!(reached.iter().any(|line| line.name == "refusals_failed" && !line.is_well()));
        for (name, _) in UNREACHABLE {
            assert!(lines.iter().any(|line| line.name == *name), "{name} is no metric any more");
        }
    }
}
