//! What a sweep reached: every metric and every way to fail of the core has happened at least
//! once, or is listed here with the reason why it cannot.

use crate::names::{FAILURES, OP_ERRORS, REFUSALS};
use starling_node::metrics::TABLE;
use std::collections::BTreeMap;
use std::fmt;

/// What no run can reach, and why.
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
    (
        "op_errors_too_many_totals",
        "takes ten thousand members with sums in one sorted set; node/tests/zset.rs",
    ),
];

/// What a sweep reaches or does not, and why.
const RARE: &[(&str, &str)] = &[(
    "refusals_stale",
    "a copy that comes later than the collection of what it holds; node/tests/settle.rs",
)];

/// Whether something has to be reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// At least once.
    Reached,
    /// Never, for this reason.
    Never(&'static str),
    /// As it comes, for this reason.
    Maybe(&'static str),
}

/// One line of the table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// A metric or a way to fail.
    pub name: &'static str,
    /// How often it moved.
    pub times: u64,
    /// Whether it has to.
    pub wanted: Wanted,
}

impl Line {
    /// Whether it is as it should be.
    pub fn is_well(&self) -> bool {
        match self.wanted {
            Wanted::Reached => self.times > 0,
            Wanted::Never(_) => self.times == 0,
            Wanted::Maybe(_) => true,
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (times, name) = (self.times, self.name);
        match self.wanted {
            Wanted::Reached if self.is_well() => write!(f, "reached {times:>12} {name}"),
            Wanted::Reached => write!(f, "MISSING {times:>12} {name}"),
            Wanted::Never(why) if self.is_well() => write!(f, "cannot  {times:>12} {name}: {why}"),
            Wanted::Never(why) => write!(f, "REACHED {times:>12} {name}, yet listed: {why}"),
            Wanted::Maybe(why) => write!(f, "rare    {times:>12} {name}: {why}"),
        }
    }
}

/// The table, from what was counted over all runs.
pub fn table(counts: &BTreeMap<String, u64>) -> Vec<Line> {
    let kinds = [FAILURES, REFUSALS, OP_ERRORS].into_iter().flatten().copied();
    let names = TABLE.iter().map(|(name, ..)| *name).chain(kinds);
    let line = |name: &'static str| {
        let why = |list: &[(&str, &'static str)]| {
            list.iter().find(|(of, _)| *of == name).map(|(_, why)| *why)
        };
        let wanted = match (why(UNREACHABLE), why(RARE)) {
            (Some(why), _) => Wanted::Never(why),
            (None, Some(why)) => Wanted::Maybe(why),
            (None, None) => Wanted::Reached,
        };
        Line { name, times: counts.get(name).copied().unwrap_or(0), wanted }
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
        for (name, _) in UNREACHABLE.iter().chain(RARE) {
            assert!(lines.iter().any(|line| line.name == *name), "{name} is no metric any more");
        }
    }
}
