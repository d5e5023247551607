//! The model of staleness against real cores: the same trial comes out alike on both, and so do
//! the quantiles of trials that share nothing.

use clap::Parser;
use starling_sim::pbs::cluster::Cluster;
use starling_sim::pbs::shape::Shape;
use starling_sim::pbs::{Draws, Pbs, Prober, close, predict};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    pbs: Pbs,
}

fn question(line: &str) -> Pbs {
    Line::try_parse_from(["pbs"].into_iter().chain(line.split_whitespace())).unwrap().pbs
}

fn shape(line: &str) -> Shape {
    question(line).shape().unwrap()
}

/// Questions that take every path of the model: local and remote appliers, each quorum, zones and
/// durability.
const SHAPES: [&str; 7] = [
    "--latency exp:1 --write-latency exp:5",
    "--w 2 --latency lognormal:1,10 --sync exp:1",
    "--r 2 --latency exp:2",
    "--r 2 --w 2 --nodes 5 --latency exp:2 --sync exp:3",
    "--n 5 --r 3 --w 1 --nodes 7 --latency lognormal:2,30",
    "--nodes 6 --w 3 --durability batched --latency exp:1 --sync exp:10",
    "--nodes 9 --zones 3 --cross-latency exp:4 --r 2 --w 2",
];

/// Hedges that pass in most trials: corners that the model leaves out show here.
const HEDGED: [&str; 2] = [
    "--nodes 8 --w 2 --latency exp:4 --hedge-ms 5",
    "--n 5 --nodes 9 --r 2 --latency exp:4 --hedge-ms 5",
];

/// In how many of the first 150 trials the model and real cores differ, and how many were stale.
fn differing(line: &str) -> (Vec<u64>, usize) {
    let shape = shape(line);
    let mut cluster = Cluster::new(&shape).unwrap();
    let (mut differing, mut turned) = (Vec::new(), 0);
    for trial in 0..150 {
        let draws = Draws::new(7, trial);
        let predicted = predict(&shape, &draws);
        let turns_us = predicted.visible_us;
        let seen = cluster.trial(draws, turns_us).unwrap();
        let mut alike = seen.fresh && seen.write_us == predicted.write_us;
        if turns_us > 0 {
            turned += 1;
            alike &= !cluster.trial(draws, turns_us - 1).unwrap().fresh;
        } else if predicted.read_us <= shape.hedge_us {
            alike &= seen.read_us == predicted.read_us;
        }
        differing.extend((!alike).then_some(trial));
    }
    (differing, turned)
}

#[test]
fn each_trial_of_the_model_comes_out_as_on_real_cores() {
    for line in SHAPES {
        let (differing, turned) = differing(line);
        assert!(differing.is_empty(), "{line}: trials {differing:?} differ");
        let shape = shape(line);
        let quorums_meet = shape.r + shape.w > shape.n;
        assert!(quorums_meet || turned > 0, "{line}: no trial was ever stale");
    }
}

#[test]
fn hedges_are_in_the_model_but_for_rare_corners() {
    for line in HEDGED {
        let (differing, turned) = differing(line);
        assert!(differing.len() <= 3, "{line}: trials {differing:?} differ");
        assert!(turned > 10, "{line}: only {turned} trials were ever stale");
    }
}

#[test]
fn a_trial_that_is_fresh_stays_fresh() {
    let shape = shape("--w 1 --r 2 --n 5 --nodes 6 --latency exp:4 --hedge-ms 8");
    let mut cluster = Cluster::new(&shape).unwrap();
    let mut turned = 0;
    for trial in 0..150 {
        let mut look = |t_us| cluster.trial(Draws::new(3, trial), t_us).unwrap().fresh;
        let looks: Vec<bool> = [0, 1_000, 3_000, 9_000, 27_000].map(&mut look).to_vec();
        assert!(looks.is_sorted(), "trial {trial}: {looks:?}");
        turned += usize::from(!looks[0]);
    }
    assert!(turned > 3, "only {turned} trials were stale at first");
}

/// 20 trials lie beyond the quantile that is compared; the command takes five times as many.
const TRIALS: usize = 20_000;

fn predicted_is_measured(line: &str) {
    let shape = shape(line);
    let mut predicted: Vec<u64> =
        (0..300_000).map(|trial| predict(&shape, &Draws::new(1, trial)).visible_us).collect();
    predicted.sort_unstable();
    let predicted_us = predicted[predicted.len() / 1_000 * 999 - 1];
    let bar = indicatif::ProgressBar::hidden();
    let mut prober = Prober::new(&shape, 2, TRIALS as u64, 2).unwrap();
    // A first look at a time before the quantile, for speed alone.
    let early_us = predicted_us / 2;
    let fresh = prober.fresh_at(early_us, &bar).unwrap() as f64 / TRIALS as f64;
    let wanted = predicted.partition_point(|us| *us <= early_us) as f64 / predicted.len() as f64;
    assert!((fresh - wanted).abs() < 0.006, "{line}: {fresh} of {wanted} at {early_us} us");
    let measured_us = prober.turn_of(TRIALS / 1_000 * 999 - 1, &bar).unwrap();
    let [predicted_ms, measured_ms] = [predicted_us, measured_us].map(|us| us as f64 / 1_000.0);
    println!("{line}: predicted {predicted_ms} ms, measured {measured_ms} ms");
    assert!(close(predicted_ms, measured_ms), "{line}: {predicted_ms} and {measured_ms} ms");
    assert!(predicted_ms > 1.0, "{line}: nothing to compare");
}

#[test]
fn predicted_t_visibility_is_measured_with_r1_w1() {
    predicted_is_measured("--latency exp:1 --write-latency exp:5");
    predicted_is_measured("--latency lognormal:1,10");
}

#[test]
fn predicted_t_visibility_is_measured_with_r1_w2() {
    predicted_is_measured("--w 2 --latency exp:1 --write-latency exp:5");
    predicted_is_measured("--w 2 --latency lognormal:1,10");
}

#[test]
fn predicted_t_visibility_is_measured_with_r2_w1() {
    predicted_is_measured("--r 2 --latency exp:1 --write-latency exp:5");
    predicted_is_measured("--r 2 --latency lognormal:1,10");
}

#[test]
fn a_trial_comes_out_alike_whatever_ran_before() {
    let shape = shape("--r 2 --latency exp:1");
    let mut cluster = Cluster::new(&shape).unwrap();
    let mut look = |trial| cluster.trial(Draws::new(5, trial), 500).unwrap();
    let first: Vec<_> = (0..100).map(&mut look).collect();
    let again: Vec<_> = (0..100).rev().map(&mut look).collect();
    assert!(first.iter().eq(again.iter().rev()));
}

#[test]
fn quorums_that_meet_are_never_stale() {
    let question = question("--r 2 --w 2 --latency exp:5 --trials 20000");
    let report = question.answer(&question.shape().unwrap()).unwrap();
    assert!(report.predicted.consistent.iter().all(|at| at.p == 1.0));
}

#[test]
fn an_impossible_question_is_wrong_usage() {
    let run = |arguments: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_starling-sim"));
        let output = command.args(arguments.split(' ')).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for (arguments, named) in [
        ("pbs --r 4", "--r 4 is not from 1 to 3"),
        ("pbs --nodes 2", "--nodes 2"),
        ("pbs --latency fast", "exp:MEAN_MS"),
        ("pbs --cross-latency exp:1", "--zones"),
    ] {
        let (code, text) = run(arguments);
        assert_eq!(code, Some(2), "{arguments}: {text}");
        assert!(text.contains(named), "{arguments}: {text}");
    }
}
