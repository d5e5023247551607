//! What a scenario may say.

use super::{Bucket, Latencies, Scenario};
use crate::faults;
use crate::workload::Paced;

/// Nodes of a cluster at most.
const NODES_MAX: usize = 1_000;

/// The path of a field, and a sentence on what it may be.
type Wrong = (String, String);

fn wrong(field: &str, why: impl Into<String>) -> Result<(), Wrong> {
    Err((field.to_string(), why.into()))
}

/// Whether everything but the faults can be.
pub(super) fn check(scenario: &Scenario) -> Result<(), Wrong> {
    if !(1..=604_800).contains(&scenario.seconds) {
        return wrong("seconds", "1 to 604800");
    }
    let drawn = scenario.drawn.is_some();
    if drawn {
        let own = [
            ("cluster", scenario.cluster.is_some()),
            ("network", scenario.network.is_some()),
            ("bucket", scenario.bucket.is_some()),
            ("workload", scenario.workload.is_some()),
        ];
        if let Some((field, _)) = own.iter().find(|(_, said)| *said) {
            return wrong(field, "is drawn from the seed where there is [drawn]");
        }
    } else if scenario.cluster.is_none() {
        return wrong("cluster", "is missing; say its zones, or [drawn] with nodes");
    }
    if let Some(cluster) = &scenario.cluster {
        for (field, ms) in
            [("cluster.start_ms", cluster.start_ms), ("cluster.look_ms", cluster.look_ms)]
        {
            if ms > 60_000 {
                return wrong(field, "0 to 60000");
            }
        }
    }
    if !(3..=NODES_MAX).contains(&scenario.nodes()) {
        let field = if drawn { "drawn.nodes" } else { "cluster.zones" };
        return wrong(field, format!("a cluster has 3 to {NODES_MAX} nodes"));
    }
    match &scenario.workload {
        Some(paced) => workload(paced)?,
        None if !drawn => return wrong("workload", "is missing"),
        None => {}
    }
    if let Some(latencies) = &scenario.network {
        network(latencies, scenario)?;
    }
    scenario.bucket.as_ref().map_or(Ok(()), |properties| bucket(properties, scenario.nodes()))
}

/// Whether all faults can be; else which cannot, and why.
pub(super) fn check_faults(scenario: &Scenario) -> Result<(), (usize, String)> {
    let span = 0.0..=scenario.seconds as f64;
    for (place, entry) in scenario.faults.iter().enumerate() {
        for (field, at) in [("from_s", entry.from_s), ("until_s", entry.until_s)] {
            if !span.contains(&at) {
                let seconds = scenario.seconds;
                return Err((place, format!("{field}: the run lasts from 0 to {seconds} s")));
            }
        }
        faults::check(&[entry.scheduled()], scenario.nodes()).map_err(|why| {
            let said = why.strip_prefix("fault 1 ").unwrap_or(&why);
            (place, said.to_string())
        })?;
    }
    Ok(())
}

fn network(latencies: &Latencies, scenario: &Scenario) -> Result<(), Wrong> {
    let sound = |ms: f64| (0.002..=60_000.0).contains(&ms);
    if !sound(latencies.within_ms) {
        return wrong("network.within_ms", "0.002 to 60000");
    }
    if !sound(latencies.between_ms) {
        return wrong("network.between_ms", "0.002 to 60000");
    }
    let zones = scenario.cluster.as_ref().map_or(&[][..], |cluster| &cluster.zones);
    for pair in &latencies.pairs {
        if let Some(absent) = [&pair.a, &pair.b].into_iter().find(|zone| !zones.contains(zone)) {
            return wrong("network.pairs", format!("no node is in zone {absent:?}"));
        }
        if !sound(pair.ms) {
            return wrong("network.pairs", "ms is 0.002 to 60000");
        }
    }
    Ok(())
}

fn workload(paced: &Paced) -> Result<(), Wrong> {
    if !(1..=1_000).contains(&paced.clients) {
        return wrong("workload.clients", "1 to 1000");
    }
    if !(0.000_1..=10_000.0).contains(&paced.ops_per_second) {
        return wrong("workload.ops_per_second", "0.0001 to 10000");
    }
    if !(1..=100_000).contains(&paced.keys) {
        return wrong("workload.keys", "1 to 100000");
    }
    if !(0.0..=10.0).contains(&paced.skew) {
        return wrong("workload.skew", "0 to 10");
    }
    if !(0.0..=1.0).contains(&paced.reads) {
        return wrong("workload.reads", "0 to 1");
    }
    match paced.mix.total() {
        Some(1..=1_000_000) => Ok(()),
        _ => wrong("workload.mix", "weights from 0 to 1000000 together, one above 0"),
    }
}

fn bucket(bucket: &Bucket, nodes: usize) -> Result<(), Wrong> {
    let n = usize::from(bucket.n);
    if !(1..=7.min(nodes)).contains(&n) {
        return wrong("bucket.n", format!("1 to 7, and not more than the {nodes} nodes"));
    }
    for (field, quorum) in [("bucket.r", bucket.r), ("bucket.w", bucket.w)] {
        if !(1..=n).contains(&quorum.of(n)) {
            return wrong(field, format!("1 to {n}, which is n, or one, quorum or all"));
        }
    }
    Ok(())
}
