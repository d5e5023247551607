//! What goes wrong: drawn from the seed, or written in a scenario; printed before the run. One
//! fault a file.
//!
//! A fault is an overlay: while it is active it changes the conditions of the run, and the
//! conditions of a moment are the fair ones with all active faults laid over them. So faults
//! overlap freely and end without having to undo anything. What cannot be undone, as damage to a
//! disk, is a [`Strike`] at one moment.

pub mod bit_flip;
pub mod bridge;
pub mod clock_back_over_restart;
pub mod clock_drift;
pub mod clock_skew;
pub mod clock_strobe;
pub mod clock_year;
mod conditions;
pub mod corruption;
pub mod crash;
pub mod delay;
pub mod duplication;
pub mod every_node_alone;
pub mod failed_sync;
pub mod flapping;
pub mod full_disk;
pub mod halves;
pub mod islands;
pub mod isolate_one;
pub mod loss;
pub mod minority_third;
pub mod old_backup;
pub mod one_way_cut;
pub mod overlapping_majorities;
pub mod overload;
pub mod pause;
pub mod power_loss;
pub mod reordering;
pub mod retry_storm;
pub mod slow_link;
pub mod slow_replica;
pub mod slow_sync;
pub mod swizzle_clog;
pub mod torn_batch;
pub mod wipe;

use crate::random::Rng;
pub use conditions::{Conditions, Load, Machine, Stop, Where};
use rand::Rng as _;
use rand::seq::{IndexedRandom, SliceRandom};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Something that happens at one moment and stays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Strike {
    /// Bits flip in rows on a node's disk.
    Flip {
        /// Whose disk.
        node: usize,
        /// Where.
        part: bit_flip::Part,
        /// In how many rows, one bit each.
        rows: usize,
    },
    /// A disk is replaced by an empty one; the node must be down.
    Wipe {
        /// Whose.
        node: usize,
    },
    /// A copy is made of what a crash would leave of a disk.
    Backup {
        /// Whose.
        node: usize,
    },
    /// A node crashes and starts some time later with the copy in place of its disk.
    Restore {
        /// Which.
        node: usize,
        /// How long it is down, ms.
        down_ms: u64,
    },
}

/// Something that goes wrong for a while. All times are ms since it began.
pub trait Fault: fmt::Debug + Send {
    /// Lays itself over the conditions of that moment.
    fn apply(&self, since_ms: u64, conditions: &mut Conditions);

    /// Moments between its beginning and its end at which it changes.
    fn changes(&self, _lasts_ms: u64) -> Vec<u64> {
        Vec::new()
    }

    /// What happens at single moments, not after `lasts_ms`.
    fn strikes(&self, _lasts_ms: u64) -> Vec<(u64, Strike)> {
        Vec::new()
    }

    /// How long it should last, if that matters to it; drawn.
    fn lasts_ms(&self, _rng: &mut Rng) -> Option<u64> {
        None
    }

    /// The nodes that it names, to check that they are there.
    fn named(&self) -> Vec<usize> {
        Vec::new()
    }
}

macro_rules! kinds {
    ($($family:literal: $($module:ident::$kind:ident)+;)+) => {
        /// Every fault there is, as it is written in a scenario: `kind` and its fields.
        #[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
        #[serde(tag = "kind", rename_all = "kebab-case")]
        pub enum Kind {
            $($(
                #[doc = concat!("See [`", stringify!($module), "`].")]
                $kind($module::$kind),
            )+)+
        }

        impl Kind {
            /// What it does.
            pub fn fault(&self) -> &dyn Fault {
                match self {
                    $($(Kind::$kind(fault) => fault,)+)+
                }
            }
        }

        type Draw = fn(&mut Rng, usize) -> Kind;

        /// Groups of faults that are drawn, and swept, together.
        const FAMILIES: &[(&str, &[Draw])] = &[
            $(($family, &[$(|rng, nodes| Kind::$kind($module::draw(rng, nodes)),)+]),)+
        ];
    };
}

kinds! {
    "partitions": isolate_one::IsolateOne halves::Halves minority_third::MinorityThird
        every_node_alone::EveryNodeAlone islands::Islands bridge::Bridge
        overlapping_majorities::OverlappingMajorities;
    "one-way": one_way_cut::OneWayCut;
    "flapping": flapping::Flapping swizzle_clog::SwizzleClog;
    "loss": loss::Loss;
    "disorder": duplication::Duplication reordering::Reordering;
    "slow": delay::Delay slow_link::SlowLink slow_replica::SlowReplica;
    "corruption": corruption::Corruption;
    "crashes": crash::Crash power_loss::PowerLoss torn_batch::TornBatch slow_sync::SlowSync;
    "pauses": pause::Pause;
    "bit-flips": bit_flip::BitFlip;
    "bad-disks": full_disk::FullDisk failed_sync::FailedSync;
    "replaced-disks": wipe::Wipe old_backup::OldBackup;
    "clocks": clock_skew::ClockSkew clock_year::ClockYear clock_drift::ClockDrift
        clock_strobe::ClockStrobe clock_back_over_restart::ClockBackOverRestart;
    "load": overload::Overload retry_storm::RetryStorm;
}

/// Names of all families.
pub fn families() -> impl Iterator<Item = &'static str> {
    FAMILIES.iter().map(|(name, _)| *name)
}

/// A fault and when it is active, ms since faults began.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Scheduled {
    /// First moment.
    pub from_ms: u64,
    /// First moment after it.
    pub until_ms: u64,
    /// What.
    #[serde(flatten)]
    pub fault: Kind,
}

/// All faults of a run, in the order in which they begin.
pub type Plan = Vec<Scheduled>;

impl fmt::Display for Scheduled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |ms: u64| ms as f64 / 1e3;
        let (from, until) = (seconds(self.from_ms), seconds(self.until_ms));
        write!(f, "{from:>7.3}s to {until:>7.3}s  {:?}", self.fault.fault())
    }
}

impl Scheduled {
    fn lasts_ms(&self) -> u64 {
        self.until_ms.saturating_sub(self.from_ms)
    }

    /// Moments at which it begins, changes or ends, ms since faults began.
    fn moments(&self) -> Vec<u64> {
        let lasts_ms = self.lasts_ms();
        let fault = self.fault.fault();
        let inner = fault.changes(lasts_ms).into_iter().filter(|since| *since < lasts_ms);
        let mut moments: Vec<u64> = inner.map(|since| self.from_ms + since).collect();
        moments.extend([self.from_ms, self.until_ms]);
        moments.extend(fault.strikes(lasts_ms).iter().map(|(since, _)| self.from_ms + since));
        moments
    }
}

/// Multiples of `step_ms` below `lasts_ms`, without 0.
fn every(step_ms: u64, lasts_ms: u64) -> Vec<u64> {
    let step_ms = step_ms.max(1);
    (1..).map(|count| count * step_ms).take_while(|since| *since < lasts_ms).collect()
}

/// `count` different nodes, fewer if there are not so many.
fn some_nodes(rng: &mut Rng, nodes: usize, count: usize) -> Vec<usize> {
    let mut all: Vec<usize> = (0..nodes).collect();
    all.shuffle(rng);
    all.truncate(count);
    all
}

/// The faults of one run: of one family, or of a random choice of families (Groce et al., "Swarm
/// testing", ISSTA 2012), several at random times.
///
/// # Panics
/// When there is no such family; the command line checks it.
pub fn draw(rng: &mut Rng, nodes: usize, seconds: u64, family: Option<&str>) -> Plan {
    let mut chosen: Vec<&[Draw]> = FAMILIES
        .iter()
        .filter(|(name, _)| match family {
            Some(family) => *name == family,
            None => rng.random_bool(0.5),
        })
        .map(|(_, draws)| *draws)
        .collect();
    if chosen.is_empty() {
        assert!(family.is_none(), "a family of the list");
        chosen.extend(FAMILIES.choose(rng).map(|(_, draws)| *draws));
    }
    let count = seconds.div_ceil(10) * rng.random_range(1..=4);
    let mut plan: Plan = (0..count)
        .map(|_| {
            let draws = chosen.choose(rng).expect("not empty");
            let fault = draws.choose(rng).expect("not empty")(rng, nodes);
            scheduled(rng, seconds * 1_000, fault)
        })
        .collect();
    plan.sort_by_key(|fault| (fault.from_ms, fault.until_ms));
    plan
}

fn scheduled(rng: &mut Rng, end_ms: u64, fault: Kind) -> Scheduled {
    let from_ms = rng.random_range(0..end_ms);
    let lasts_ms = fault.fault().lasts_ms(rng).unwrap_or_else(|| match rng.random_bool(0.3) {
        true => rng.random_range(50..2_000),
        false => rng.random_range(2_000..20_000),
    });
    Scheduled { from_ms, until_ms: (from_ms + lasts_ms).min(end_ms), fault }
}

/// Moments at which anything changes, in order, ms since faults began.
pub fn moments(plan: &[Scheduled]) -> Vec<u64> {
    let mut moments: Vec<u64> = plan.iter().flat_map(Scheduled::moments).collect();
    moments.sort_unstable();
    moments.dedup();
    moments
}

/// The conditions at a moment, ms since faults began.
pub fn conditions(plan: &[Scheduled], nodes: usize, at_ms: u64) -> Conditions {
    let mut conditions = Conditions::fair(nodes);
    for scheduled in plan {
        if (scheduled.from_ms..scheduled.until_ms).contains(&at_ms) {
            scheduled.fault.fault().apply(at_ms - scheduled.from_ms, &mut conditions);
        }
    }
    conditions
}

/// What strikes at that very moment, ms since faults began.
pub fn strikes(plan: &[Scheduled], at_ms: u64) -> Vec<Strike> {
    let of = |scheduled: &Scheduled| {
        let strikes = scheduled.fault.fault().strikes(scheduled.lasts_ms());
        let from_ms = scheduled.from_ms;
        strikes.into_iter().filter(move |(since, _)| from_ms + since == at_ms)
    };
    plan.iter().flat_map(of).map(|(_, strike)| strike).collect()
}

/// Whether all nodes that a plan names are there, and every fault ends after it begins.
///
/// # Errors
/// Says which fault is wrong and how.
pub fn check(plan: &[Scheduled], nodes: usize) -> Result<(), String> {
    for (place, scheduled) in plan.iter().enumerate() {
        let number = place + 1;
        let absent = scheduled.fault.fault().named().into_iter().find(|node| *node >= nodes);
        if let Some(node) = absent {
            let last = nodes - 1;
            return Err(format!("fault {number} names node {node}, nodes are 0 to {last}"));
        }
        if scheduled.until_ms <= scheduled.from_ms {
            return Err(format!("fault {number} ends before it begins"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::stream;

    #[test]
    fn every_fault_survives_being_written_and_read() {
        for (_, draws) in FAMILIES {
            for draw in *draws {
                let fault = draw(&mut stream(7, "faults"), 5);
                let scheduled = Scheduled { from_ms: 1, until_ms: 2_000, fault };
                let text = serde_json::to_string(&scheduled).unwrap();
                assert_eq!(serde_json::from_str::<Scheduled>(&text).unwrap(), scheduled, "{text}");
            }
        }
    }

    #[test]
    fn every_fault_changes_something() {
        for (family, draws) in FAMILIES {
            for draw in *draws {
                let changes = (0..20).any(|seed| {
                    let fault = draw(&mut stream(seed, "faults"), 5);
                    let plan = [Scheduled { from_ms: 0, until_ms: 60_000, fault }];
                    moments(&plan).into_iter().any(|at_ms| {
                        conditions(&plan, 5, at_ms) != Conditions::fair(5)
                            || !strikes(&plan, at_ms).is_empty()
                    })
                });
                assert!(changes, "one of {family} does nothing");
            }
        }
    }

    #[test]
    fn a_plan_that_names_an_absent_node_is_refused() {
        let fault = Kind::IsolateOne(isolate_one::IsolateOne { node: 5 });
        let plan = [Scheduled { from_ms: 0, until_ms: 1, fault }];
        assert!(check(&plan, 6).is_ok());
        assert_eq!(check(&plan, 5), Err("fault 1 names node 5, nodes are 0 to 4".into()));
    }
}
