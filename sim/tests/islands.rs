//! Bounded counters on islands: far more is asked for than there is, while every node is alone.

use starling_sim::scenario::{parse, run_setup};

/// Five replicas on five nodes, each alone for most of the run; nearly all that clients ask is to
/// take one away, from little.
const ISLANDS: &str = r#"
name = "five-islands"
about = "Every node is alone while clients take away more than there is."
seed = 1
seconds = SECONDS

[cluster]
zones = ["a", "b", "c", "a", "b"]

[network]
within_ms = 0.25
between_ms = 1.5

[bucket]
n = 5
r = 1
w = 1
sloppy = true
durability = "sync"

[workload]
clients = 25
ops_per_second = 1000
keys = 4
skew = 0
reads = 0.02
mix = { bounded = 100 }

[[fault]]
kind = "islands"
from_s = 10
until_s = UNTIL
groups = [[0], [1], [2], [3], [4]]
"#;

/// Seconds of the run that the test makes; 105 make 100,000 decrements.
const SECONDS: u32 = 18;

#[test]
fn five_islands_never_show_less_than_nothing_and_every_decrement_counts_once() {
    let text = ISLANDS.replace("SECONDS", &SECONDS.to_string());
    let text = text.replace("UNTIL", &(SECONDS - 6).to_string());
    let verdict = run_setup(parse("five-islands", &text).unwrap().setup(None), None).verdict;
    assert!(verdict.is_clean(), "{:#?}", verdict.violations);
    let figures = verdict.figures.unwrap();
    let offered = u64::from(SECONDS) * 900;
    assert!(figures.operations >= offered, "{figures:#?}");
    // Some were covered and some were not.
    assert!(figures.answered > offered / 10 && figures.refused > offered / 10, "{figures:#?}");
}
