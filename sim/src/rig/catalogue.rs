//! The faults that `starling-chaos all` goes through: each alone in a cluster of five nodes, so
//! that a table can say what each one costs.

use crate::faults::{
    Kind, Stop, Where, bridge::Bridge, clock_back_over_restart::ClockBackOverRestart,
    clock_skew::ClockSkew, clock_strobe::ClockStrobe, clock_year::ClockYear,
    corruption::Corruption, crash::Crash, delay::Delay, duplication::Duplication,
    every_node_alone::EveryNodeAlone, failed_sync::FailedSync, flapping::Flapping,
    full_disk::FullDisk, halves::Halves, isolate_one::IsolateOne, loss::Loss,
    minority_third::MinorityThird, old_backup::OldBackup, one_way_cut::OneWayCut,
    overlapping_majorities::OverlappingMajorities, pause::Pause, reordering::Reordering,
    slow_link::SlowLink, slow_sync::SlowSync, swizzle_clog::SwizzleClog, wipe::Wipe,
};
use crate::scenario::{Bucket, Cluster, Entry, Network, Scenario, Workload};

const NODES: usize = 5;
/// From a process's start until it gossips where nothing else runs, ms; see `docs/chaos.md`.
const START_MS: u64 = 200;
/// For a look at all nodes, ms, where it was not measured.
const LOOK_MS: u64 = 50;

/// Times of a run, seconds.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// The fault begins.
    pub from_s: u64,
    /// It ends.
    pub until_s: u64,
    /// Clients end.
    pub seconds: u64,
}

/// The usual run.
pub const LONG: Times = Times { from_s: 10, until_s: 40, seconds: 60 };
/// For a quick look.
pub const SHORT: Times = Times { from_s: 3, until_s: 8, seconds: 12 };
/// What the short form runs: a partition, a crash, a disk and a network fault.
pub const SHORT_NAMES: [&str; 4] = ["isolate-one", "crash-one", "failed-sync", "delay"];

/// By name: what happens, and the fault, which each run lays on other nodes.
type Row = (&'static str, &'static str, fn(&Nodes) -> Kind);

/// All nodes in the order in which a run takes them.
struct Nodes([usize; NODES]);

impl Nodes {
    fn first(&self, count: usize) -> Vec<usize> {
        self.0[..count].to_vec()
    }
}

const ROWS: &[Row] = &[
    ("isolate-one", "One node is cut off.", |n| Kind::IsolateOne(IsolateOne { node: n.0[0] })),
    ("halves", "Two nodes and three do not hear each other.", |n| {
        Kind::Halves(Halves { nodes: n.first(2) })
    }),
    ("minority-third", "Two nodes are cut off together.", |n| {
        Kind::MinorityThird(MinorityThird { nodes: n.first(2) })
    }),
    ("every-node-alone", "No node hears any other.", |_| Kind::EveryNodeAlone(EveryNodeAlone {})),
    ("bridge", "Two pairs do not hear each other, one node hears all.", |n| {
        Kind::Bridge(Bridge { node: n.0[0], side: n.0[1..3].to_vec() })
    }),
    ("overlapping-majorities", "Each node hears two others, no two the same.", |n| {
        Kind::OverlappingMajorities(OverlappingMajorities { ring: n.first(NODES) })
    }),
    ("one-way-cut", "One node hears nobody; the others hear it.", |n| {
        Kind::OneWayCut(OneWayCut { from: n.0[1..].to_vec(), to: n.first(1) })
    }),
    ("flapping", "One node is cut off and heard again every 2 s.", |n| {
        Kind::Flapping(Flapping { nodes: n.first(1), period_ms: 2_000 })
    }),
    ("swizzle-clog", "Nodes are cut off one by one and heard again in another order.", |n| {
        let unclog = [2, 0, 4, 1, 3].map(|place| n.0[place]).to_vec();
        Kind::SwizzleClog(SwizzleClog { clog: n.first(NODES), unclog, step_ms: 2_500 })
    }),
    ("loss-5", "5 of 100 packets between nodes are lost.", |_| loss(50)),
    ("loss-30", "30 of 100 packets between nodes are lost.", |_| loss(300)),
    ("delay", "Everything between nodes takes up to 100 ms longer.", |_| {
        Kind::Delay(Delay { at: Where::Everywhere, up_to_ms: 100 })
    }),
    ("duplication", "Half of all gossip arrives twice.", |_| {
        Kind::Duplication(Duplication { at: Where::Everywhere, permille: 500 })
    }),
    ("reordering", "Gossip overtakes gossip.", |_| {
        Kind::Reordering(Reordering { at: Where::Everywhere })
    }),
    ("corruption", "In 2 of 100 pieces between nodes a bit is flipped.", |_| {
        Kind::Corruption(Corruption { at: Where::Everywhere, permille: 20 })
    }),
    ("slow-link", "Links of one node carry 50 kB a second.", |n| {
        Kind::SlowLink(SlowLink { at: Where::Around(n.0[0]), bytes_per_s: 50_000 })
    }),
    ("crash-one", "One node is killed and started again.", |n| crash(n.first(1))),
    ("crash-minority", "Two nodes are killed and started again.", |n| crash(n.first(2))),
    ("crash-all", "All nodes are killed and started again.", |n| crash(n.first(NODES))),
    ("pause", "One node stands still.", |n| Kind::Pause(Pause { nodes: n.first(1) })),
    ("full-disk", "One node's disk is full.", |n| Kind::FullDisk(FullDisk { nodes: n.first(1) })),
    ("failed-sync", "One node's syncs fail; it must stop.", |n| {
        Kind::FailedSync(FailedSync { node: n.0[0] })
    }),
    ("slow-sync", "One node's syncs take up to 400 ms longer.", |n| {
        Kind::SlowSync(SlowSync { nodes: n.first(1), up_to_ms: 400 })
    }),
    ("wipe", "One node is killed and comes back with an empty disk.", |n| {
        Kind::Wipe(Wipe { node: n.0[0], stop: Stop::Crash })
    }),
    ("old-backup", "One node comes back with its disk of 30 s ago.", |n| {
        Kind::OldBackup(OldBackup { node: n.0[0], stop: Some(Stop::Crash) })
    }),
    ("clock-ahead", "Two wall clocks are a minute ahead.", |n| skew(n, 60_000)),
    ("clock-behind", "Two wall clocks are a minute behind.", |n| skew(n, -60_000)),
    ("clock-year", "One wall clock is a year ahead.", |n| {
        Kind::ClockYear(ClockYear { node: n.0[0], ahead: true })
    }),
    ("clock-strobe", "One wall clock jumps 20 s to and fro every 2 s.", |n| {
        Kind::ClockStrobe(ClockStrobe { node: n.0[0], by_ms: 20_000, period_ms: 2_000 })
    }),
    ("clock-back", "One wall clock is an hour ahead, and right after a crash.", |n| {
        let (node, by_ms) = (n.0[0], 3_600_000);
        // Half of the fault; see `scenario`.
        Kind::ClockBackOverRestart(ClockBackOverRestart { node, by_ms, ahead_for_ms: 0 })
    }),
];

fn loss(permille: u32) -> Kind {
    Kind::Loss(Loss { at: Where::Everywhere, permille })
}

fn crash(nodes: Vec<usize>) -> Kind {
    Kind::Crash(Crash { nodes, stop: Stop::Crash })
}

fn skew(nodes: &Nodes, by_ms: i64) -> Kind {
    Kind::ClockSkew(ClockSkew { nodes: nodes.first(2), by_ms })
}

/// Names of all faults.
pub fn names() -> impl Iterator<Item = &'static str> {
    ROWS.iter().map(|(name, _, _)| *name)
}

/// What a fault of the list does, in a sentence.
pub fn about(name: &str) -> Option<&'static str> {
    ROWS.iter().find(|row| row.0 == name).map(|row| row.1)
}

/// Run `run` of a fault: the first one breaks node 0, the next one node 1, and so on.
pub fn scenario(name: &str, run: u64, times: Times) -> Option<Scenario> {
    let (name, about, kind) = ROWS.iter().find(|row| row.0 == name)?;
    let turn = run as usize % NODES;
    let mut kind = kind(&Nodes(std::array::from_fn(|place| (place + turn) % NODES)));
    if let Kind::ClockBackOverRestart(fault) = &mut kind {
        fault.ahead_for_ms = (times.until_s - times.from_s) * 500;
    }
    let (from_s, until_s) = (times.from_s as f64, times.until_s as f64);
    Some(Scenario {
        name: (*name).into(),
        about: (*about).into(),
        seed: run,
        seconds: times.seconds,
        cluster: Cluster {
            zones: ["a", "b", "c", "a", "b"].map(str::to_owned).to_vec(),
            start_ms: START_MS,
            look_ms: LOOK_MS,
        },
        network: Network { within_ms: 0.1, between_ms: 0.1, tcp: true },
        bucket: Bucket::default(),
        workload: Workload {
            clients: 10,
            ops_per_second: 95,
            keys: 200,
            skew: 0.99,
            reads: 0.4,
            mix: [("kv", 35), ("counter", 25), ("set", 32), ("flag", 8)]
                .map(|(name, weight)| (name.to_owned(), weight))
                .into(),
        },
        fault: vec![Entry { from_s, until_s, kind }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_of_the_list_is_a_scenario_that_a_file_can_hold() {
        for name in names() {
            for run in 0..6 {
                let scenario = scenario(name, run, LONG).expect("it is in the list");
                let file = tempfile::NamedTempFile::new().expect("a file");
                let text = toml::to_string(&scenario).expect("it can be written");
                std::fs::write(file.path(), &text).expect("written");
                assert_eq!(Scenario::read(file.path()).expect(&text), scenario);
            }
        }
        assert!(SHORT_NAMES.iter().all(|name| names().any(|known| known == *name)));
        assert!(scenario("nothing", 0, LONG).is_none());
    }
}
