//! Messages over connections: sent again when they are lost, gone when the connection ends.

use starling_sim::scenario::{parse, run_setup};
use starling_sim::verdict::Verdict;

fn run(tcp: bool, fault: &str) -> Verdict {
    run_seed(1, tcp, fault)
}

fn run_seed(seed: u64, tcp: bool, fault: &str) -> Verdict {
    let text = format!(
        "name = \"connections\"\nabout = \"A test.\"\nseed = {seed}\nseconds = 30\n\
         [cluster]\nzones = [\"a\", \"b\", \"c\", \"a\", \"b\"]\nstart_ms = 300\n\
         [network]\nwithin_ms = 0.1\nbetween_ms = 0.1\ntcp = {tcp}\n\
         [workload]\nclients = 5\nops_per_second = 40\nkeys = 50\nskew = 0.99\nreads = 0.4\n\
         mix = {{ kv = 35, counter = 25, set = 32, flag = 8 }}\n\
         [[fault]]\nfrom_s = 5.0\nuntil_s = 15.0\n{fault}"
    );
    let scenario = parse("connections.toml", &text).expect("it can be");
    let verdict = run_setup(scenario.setup(None), None).verdict;
    assert!(verdict.is_clean(), "{:#?}", verdict.violations);
    verdict
}

fn available(verdict: &Verdict) -> f64 {
    verdict.figures.as_ref().and_then(|figures| figures.availability).expect("there is a fault")
}

fn lost(verdict: &Verdict) -> u64 {
    verdict.counts.get("messages_lost").copied().unwrap_or(0)
}

const LOSS: &str = "kind = \"loss\"\nat = \"everywhere\"\npermille = 50\n";
const ALONE: &str = "kind = \"isolate-one\"\nnode = 0\n";

#[test]
fn what_is_lost_on_the_way_is_sent_again() {
    let connected = run(true, LOSS);
    assert_eq!((lost(&connected), available(&connected)), (0, 1.0));
    let by_itself = run(false, LOSS);
    assert!(lost(&by_itself) > 50 && available(&by_itself) < 0.99);
}

#[test]
fn a_connection_ends_in_a_cut_and_stands_again_after_it() {
    let verdict = run(true, ALONE);
    assert!(lost(&verdict) > 0);
    let recovery_s = verdict.figures.and_then(|figures| figures.recovery_s);
    assert!(recovery_s.is_some_and(|took| took < 5.0), "{recovery_s:?}");
}

#[test]
fn connections_repeat_and_end_with_their_processes() {
    for fault in [LOSS, ALONE, "kind = \"crash\"\nnodes = [0, 1]\nstop = \"crash\"\n"] {
        assert_eq!(run(true, fault).trace, run(true, fault).trace);
    }
}

/// Processes start again at times of their own, between two whole milliseconds of the others. A
/// tick that was due just then was never said, and its node stood still for ever.
#[test]
fn a_process_that_starts_again_takes_no_tick_from_the_others() {
    let text = "name = \"failed-sync\"\nabout = \"A test.\"\nseed = 2\nseconds = 60\n\
        [cluster]\nzones = [\"a\", \"b\", \"c\", \"a\", \"b\"]\nstart_ms = 21\nlook_ms = 6\n\
        [network]\nwithin_ms = 0.1\nbetween_ms = 0.1\ntcp = true\n\
        [workload]\nclients = 10\nops_per_second = 95\nkeys = 200\nskew = 0.99\nreads = 0.4\n\
        mix = { kv = 35, counter = 25, set = 32, flag = 8 }\n\
        [[fault]]\nfrom_s = 10.0\nuntil_s = 40.0\nkind = \"failed-sync\"\nnode = 2\n";
    let scenario = parse("failed-sync.toml", text).expect("it can be");
    let verdict = run_setup(scenario.setup(None), None).verdict;
    assert!(verdict.is_clean(), "{:#?}", verdict.violations);
}

/// What was sent to it before it had the layout was said again after 5 s.
#[test]
fn what_is_owed_to_a_new_disk_comes_as_soon_as_it_has_the_layout() {
    for seed in 0..8 {
        let verdict = run_seed(seed, true, "kind = \"wipe\"\nnode = 0\n");
        let recovery_s = verdict.figures.and_then(|figures| figures.recovery_s);
        assert!(recovery_s.is_some_and(|took| took < 4.5), "{seed}: {recovery_s:?}");
    }
}
