//! Seeds that once broke a promise keep it now, and known bugs put back are still found.

use starling_node::config::Mutant;
use starling_sim::verdict::{Params, Verdict, run_alone};

/// Runs that failed when they were found: seed, family of faults, and what was wrong.
const ONCE_FAILED: [(u64, Option<&str>, &str); 72] = [
    (2, None, "a duplicated request to apply was applied twice"),
    (63, None, "a stand-in was counted beside the owner it stood in for"),
    (1, None, "a layout that came while the disk was full stopped the node"),
    (7, None, "a layout that came while the disk was full stopped the node"),
    (21, None, "a copy that was mended called dots removed that it had never seen"),
    (53, None, "a copy that was mended called dots removed that it had never seen"),
    (106, Some("bit-flips"), "a copy that was mended called dots removed it had never seen"),
    (27, None, "hints for a node that no longer owned were handed over without end"),
    (56, None, "hints for a node that no longer owned were handed over without end"),
    (4, Some("bad-disks"), "marks that a full disk kept were handed over in circles"),
    (11, Some("bad-disks"), "marks that a full disk kept were handed over in circles"),
    (215, Some("bit-flips"), "two owners with damaged copies waited for each other"),
    (223, Some("bit-flips"), "two owners with damaged copies waited for each other"),
    (233, Some("bit-flips"), "two owners with damaged copies waited for each other"),
    (1708, None, MENDING),
    (1914, None, MENDING),
    (2187, None, MENDING),
    (2855, None, MENDING),
    (3693, None, MENDING),
    (4816, None, MENDING),
    (4914, None, MENDING),
    (5158, None, MENDING),
    (5941, None, MENDING),
    (7990, None, MENDING),
    (8840, None, MENDING),
    (11201, None, MENDING),
    (11279, None, MENDING),
    (11614, None, MENDING),
    (10827, None, LAYOUT),
    (6520, None, FULL),
    (1145, None, WAITING),
    (3548, None, WAITING),
    (4661, None, WAITING),
    (8279, None, WAITING),
    (881, None, "a refusal that came twice was taken for the answer to the second question"),
    (2470, None, RIGHTS),
    (2885, None, RIGHTS),
    (98, None, RUNS),
    (268, None, RUNS),
    (5186, None, RUNS),
    (4938, None, COLLECTING),
    (12289, None, COLLECTING),
    (5299, None, FORGOTTEN),
    (5599, None, FORGOTTEN),
    (10673, None, FORGOTTEN),
    (11259, None, FORGOTTEN),
    (10661, None, RUNS),
    (30136, None, "a repetition of what was refused for want of a layout was applied"),
    (8, Some("flapping"), "a setting came without the value it named and was replaced without it"),
    (2755, None, "a part of an extension was taken for a new beginning, and all was cleared"),
    (3477, None, "what an owner remembers of removed totals was taken for what clients read"),
    (6190, None, "what is stable was forgotten with any bucket's number of replicas"),
    (10527, None, "a setting of values that were gone hid that the last one had expired"),
    (11413, None, "a setting of values that were gone hid that the last one had expired"),
    (13569, None, "a mark just taken off was looked for on a disk that did not have that yet"),
    (19806, None, "owners were those of a node that knew less of the bucket than the reader"),
    (20550, None, "what is stable was forgotten with any bucket's number of replicas"),
    (21639, None, "a write of unknown outcome came late, over one acknowledged since"),
    (22100, None, "what is stable was forgotten with any bucket's number of replicas"),
    (23239, None, "a row without a header was not counted by the header that came later"),
    (28206, None, "a row without a header was not counted by the header that came later"),
    (15039, None, "a counter's totals that came back and were taken off had been removed later"),
    (67, None, "a bit was flipped on a disk in what had not been written to it yet"),
    (377, None, "that a removal was lost with all disks went unnoticed: its members were not"),
    (940, None, SHORTENED),
    (946, None, "half of an update that a disk took with it was called a broken promise"),
    (2381, None, SHORTENED),
    (2433, None, "what a clock a year ahead had left of an object was compared with nothing"),
    (2672, None, SHORTENED),
    (1932, Some("bit-flips"), "a damaged copy waited for an owner that was one no more"),
    (1796, Some("replaced-disks"), "what a stand-in owed of another row was taken for the write"),
    (1228, Some("replaced-disks"), "what a stand-in owed of something expired went nowhere"),
];

const MENDING: &str = "what a set with a damaged row took meanwhile was dropped when it was mended";
const SHORTENED: &str =
    "a replica that had missed that a time to live was shortened never learned of it";
const LAYOUT: &str = "a node that had lost its layout deleted what it owed";
const FULL: &str = "what a full disk kept from being given up was never tried again";
const RIGHTS: &str = "replicas were compared while rights were on the move between them";
const RUNS: &str = "totals that were removed and collected came back as somebody had seen them";
const COLLECTING: &str =
    "replicas were compared while one had forgotten what the other had not yet";
const FORGOTTEN: &str = "an owner kept for ever what the others had forgotten";
const WAITING: &str = "a removal that waits was thought to be on a disk that had lost it";

/// Events of a run of 60 s without clients in a hurry at most; a node that does the same over and
/// over makes many more.
const EVENTS_MAX: u64 = 100_000;

fn params(seed: u64, seconds: u64, mutant: Option<Mutant>, family: Option<&str>) -> Params {
    Params { seed, nodes: 5, seconds, mutant, family: family.map(Into::into) }
}

fn run(seed: u64, seconds: u64, mutant: Option<Mutant>) -> Verdict {
    run_alone(&params(seed, seconds, mutant, None), None)
}

#[test]
fn seeds_that_once_broke_a_promise_keep_it() {
    for (seed, family, bug) in ONCE_FAILED {
        let verdict = run_alone(&params(seed, 60, None, family), None);
        assert!(verdict.is_clean(), "{bug}: {}: {:#?}", verdict.command, verdict.violations);
        let calm = family == Some("bad-disks");
        let events = verdict.counts.get("events").copied().unwrap_or(0);
        assert!(!calm || events < EVENTS_MAX, "{bug}: {events} events: {}", verdict.command);
    }
}

#[test]
fn a_few_seeds_keep_every_promise_and_are_not_idle() {
    for seed in 1_000..1_004 {
        let verdict = run(seed, 20, None);
        assert!(verdict.is_clean(), "{}: {:#?}", verdict.command, verdict.violations);
        let counted = |name: &str| verdict.counts.get(name).copied().unwrap_or(0);
        for name in [
            "writes_acknowledged",
            "reads_answered",
            "acked_writes_that_must_be_there",
            "elements_that_must_be_gone",
            "counters_bounded",
            "acks_compared_with_stores",
            "objects_read_back",
        ] {
            assert!(counted(name) > 0, "{}: no {name}", verdict.command);
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_one_another() {
    let first = run(7, 10, None);
    assert_eq!(run(7, 10, None), first);
    assert_ne!(run(8, 10, None).trace, first.trace);
}

/// The others take more seeds: `make sim` looks for all of them.
#[test]
fn the_bluntest_bugs_put_back_are_caught_by_the_first_seeds() {
    for mutant in [Mutant::SkipSync, Mutant::DropHint, Mutant::ForgetDot, Mutant::StaleLayout] {
        let caught = (0..5).find(|seed| !run(*seed, 20, Some(mutant)).is_clean());
        assert!(caught.is_some(), "{mutant:?} was not caught");
    }
}
