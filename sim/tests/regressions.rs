//! Seeds that once broke a promise keep it now, and known bugs put back are still found.

use starling_node::config::Mutant;
use starling_sim::verdict::{Params, Verdict, run_alone};

/// Runs that failed when they were found, with what was wrong.
const ONCE_FAILED: [(u64, &str); 2] = [
    (2, "a duplicated request to apply was applied twice"),
    (63, "a stand-in was counted beside the owner it stood in for"),
];

fn run(seed: u64, seconds: u64, mutant: Option<Mutant>) -> Verdict {
    run_alone(&Params { seed, nodes: 5, seconds, mutant, family: None }, None)
}

#[test]
fn seeds_that_once_broke_a_promise_keep_it() {
    for (seed, bug) in ONCE_FAILED {
        let verdict = run(seed, 60, None);
        assert!(verdict.is_clean(), "{bug}: {}: {:#?}", verdict.command, verdict.violations);
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

#[test]
fn each_known_bug_put_back_is_caught_within_ten_seeds() {
    for mutant in Mutant::ALL.iter().copied() {
        let caught = (0..10).find(|seed| !run(*seed, 20, Some(mutant)).is_clean());
        assert!(caught.is_some(), "{mutant:?} was not caught");
    }
}
