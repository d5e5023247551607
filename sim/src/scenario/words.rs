//! A scenario in words, and as the text of a file.

use super::Scenario;
use starling_node::config::Quorum;
use std::collections::BTreeMap;

impl Scenario {
    /// As the text of a file.
    ///
    /// # Errors
    /// The seed is beyond what TOML can say, 9,223,372,036,854,775,807.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }

    /// What the cluster and its clients are, a sentence each.
    pub fn sentences(&self) -> Vec<String> {
        let mut told = Vec::new();
        if let Some(drawn) = self.drawn {
            let nodes = drawn.nodes;
            told.push(format!("{nodes} nodes; all but the faults drawn from seed {}.", self.seed));
        }
        if let Some(cluster) = &self.cluster {
            let mut zones: BTreeMap<&str, u32> = BTreeMap::new();
            cluster.zones.iter().for_each(|zone| *zones.entry(zone).or_default() += 1);
            let zones: Vec<String> =
                zones.iter().map(|(zone, nodes)| format!("{nodes} in {zone}")).collect();
            let latencies = self.network.clone().unwrap_or_default();
            let (within, between) = (latencies.within_ms, latencies.between_ms);
            let mut said = format!(
                "{} nodes: {}; one-way latency {within} ms within a zone, {between} ms between",
                cluster.zones.len(),
                zones.join(", ")
            );
            for pair in &latencies.pairs {
                said.push_str(&format!(", {} ms between {} and {}", pair.ms, pair.a, pair.b));
            }
            told.push(said + ".");
        }
        if let Some(paced) = &self.workload {
            let bucket = self.bucket.clone().unwrap_or_default();
            told.push(format!(
                "N={}, R={}, W={}, {}, durability {}.",
                bucket.n,
                quorum(bucket.r),
                quorum(bucket.w),
                if bucket.sloppy { "stand-ins count" } else { "owners only" },
                format!("{:?}", bucket.durability).to_lowercase(),
            ));
            let mix = paced.mix;
            told.push(format!(
                "{} clients, {} operations a second, {} % reads, one of four asks for one replica; \
                 {} keys of each type, Zipf exponent {}; kv {}, counter {}, set {}, flag {}, \
                 bounded {}; seed {}.",
                paced.clients,
                paced.ops_per_second,
                (paced.reads * 100.0).round(),
                paced.keys,
                paced.skew,
                mix.kv,
                mix.counter,
                mix.set,
                mix.flag,
                mix.bounded,
                self.seed
            ));
        }
        told
    }
}

fn quorum(quorum: Quorum) -> String {
    match quorum {
        Quorum::One => "one".into(),
        Quorum::Quorum => "quorum".into(),
        Quorum::All => "all".into(),
        Quorum::Count(count) => count.to_string(),
    }
}
