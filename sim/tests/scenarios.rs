//! The scenarios that ship keep every promise; files say what is wrong with them; a failing run is
//! made small.

use starling_node::config::Mutant;
use starling_node::config::Quorum;
use starling_sim::report::{Told, judge, page};
use starling_sim::scenario::{
    Bucket, Latencies, Ran, Scenario, parse, read, run_setup, run_setup_quietly,
};
use starling_sim::shrink::{KeepsPromises, shrink};
use starling_sim::verdict::{Params, run_alone};
use std::path::PathBuf;

/// Shipped scenarios.
const SHIPPED: usize = 10;

fn shipped() -> Vec<(PathBuf, Scenario)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = files.map(|path| (path.clone(), read(&path).unwrap())).collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(found.len(), SHIPPED);
    found
}

fn run(scenario: &Scenario, mutant: Option<Mutant>) -> Ran {
    run_setup(scenario.setup(mutant), None)
}

fn text_of(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(name);
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn every_shipped_scenario_shortened_keeps_every_promise_and_is_not_idle() {
    for (path, scenario) in shipped() {
        let mut short = scenario.shortened(20);
        if let Some(paced) = &mut short.workload {
            paced.ops_per_second = 60.0;
        }
        let verdict = run(&short, None).verdict;
        assert!(verdict.is_clean(), "{}: {:#?}", path.display(), verdict.violations);
        let figures = verdict.figures.clone().unwrap();
        assert!(figures.operations >= 1_000, "{}: {figures:#?}", path.display());
        assert!(figures.availability.is_some(), "{}: no fault", path.display());
        // What was begun just before a node stops may go unanswered.
        assert!(figures.availability_before > Some(0.99), "{}: {figures:#?}", path.display());
        assert!(figures.recovery_s.is_some(), "{}: {figures:#?}", path.display());
        assert_eq!((figures.lost, figures.counters_exact), (0, true));
        let ended = figures.answered + figures.refused + figures.unknown;
        assert_eq!(ended, figures.operations);
    }
}

#[test]
fn a_shipped_scenario_is_called_as_its_file() {
    for (path, scenario) in shipped() {
        assert_eq!(path.file_stem().unwrap().to_str(), Some(&*scenario.name));
    }
}

#[test]
fn the_same_file_gives_the_same_run_looked_at_or_not() {
    let short = shipped().remove(0).1.shortened(10);
    let seen = run(&short, None).verdict;
    assert_eq!(run(&short, None).verdict, seen);
    assert_eq!(run_setup_quietly(short.setup(None)).trace, seen.trace);
    let other = Scenario { seed: 2, ..short };
    assert_ne!(run(&other, None).verdict.trace, seen.trace);
}

#[test]
fn a_scenario_survives_being_written_and_read() {
    for (_, scenario) in shipped() {
        let text = scenario.to_toml().unwrap();
        assert_eq!(parse("again", &text).unwrap(), scenario, "{text}");
    }
    // Faults of all kinds.
    for seed in 0..40 {
        let params = Params { seed, nodes: 5, seconds: 60, mutant: None, family: None };
        let drawn = Scenario::of_drawn(&params);
        let text = drawn.to_toml().unwrap();
        assert_eq!(parse("drawn", &text).unwrap(), drawn, "{text}");
    }
}

#[test]
fn a_drawn_run_written_down_is_the_same_run() {
    let params = Params { seed: 5, nodes: 5, seconds: 10, mutant: None, family: None };
    let drawn = run_alone(&params, None);
    assert_eq!(run_setup_quietly(Scenario::of_drawn(&params).setup(None)).trace, drawn.trace);
}

#[test]
fn properties_of_the_bucket_are_in_force() {
    let shipped = text_of("a-zone-lost.toml");
    let figures = |r: &str| {
        let text = shipped.replace("r = \"quorum\"", r);
        let verdict = run(&parse("bucket", &text).unwrap().shortened(20), None).verdict;
        assert!(verdict.is_clean(), "{:#?}", verdict.violations);
        verdict.figures.unwrap()
    };
    // A zone has an owner of every object: who needs all of them reads nothing without it, and at
    // R = 1 a read that says nothing is as available as one that asks for one replica.
    let (all, one) = (figures("r = \"all\""), figures("r = 1"));
    assert!(all.availability_reads < Some(0.25), "{all:#?}");
    assert!(one.availability_reads > Some(0.5), "{one:#?}");
    assert!(all.availability_writes > Some(0.5), "{all:#?}");
}

#[test]
fn what_is_wrong_with_a_file_is_told_with_line_and_field() {
    let sound = text_of("a-flapping-link.toml");
    let said = |from: &str, to: &str| {
        let text = sound.replacen(from, to, 1);
        assert_ne!(text, sound, "{from}");
        let misfit = parse("x.toml", &text).unwrap_err();
        let line = text.lines().nth(misfit.line.saturating_sub(1)).unwrap_or_default();
        (line.to_string(), misfit.to_string())
    };
    let cases = [
        ("keys = 200", "keyz = 200", "keyz = 200", "unknown field `keyz`"),
        ("reads = 0.4", "reads = 1.4", "reads = 1.4", "workload.reads: 0 to 1"),
        ("seconds = 60", "seconds = 0", "seconds = 0", "seconds: 1 to 604800"),
        ("w = \"quorum\"", "w = 5", "w = 5", "bucket.w: 1 to 3"),
        ("nodes = [1]", "nodes = [7]", "[[fault]]", "fault 1: names node 7, nodes are 0 to 4"),
        ("period_ms", "perid_ms", "[[fault]]", "fault 1 flapping: unknown field `perid_ms`"),
        ("\"flapping\"", "\"flaping\"", "[[fault]]", "fault 1 flaping: unknown variant `flaping`"),
        ("until_s = 45", "until_s = 99", "[[fault]]", "fault 1: until_s: the run lasts from 0 to"),
        ("from_s = 15", "", "[[fault]]", "fault 1: from_s: a number of seconds"),
        ("[workload]", "[drawn]\nnodes = 5\n[workload]", "[cluster]", "cluster: is drawn"),
    ];
    for (from, to, line, what) in cases {
        let (at, told) = said(from, to);
        assert!(told.starts_with("x.toml:") && told.contains(what), "{told}");
        assert_eq!(at, line, "{told}");
    }
}

#[test]
fn a_wrong_file_is_wrong_usage() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wrong.toml");
    let text = text_of("a-flapping-link.toml").replacen("keys = 200", "keyz = 200", 1);
    std::fs::write(&path, &text).unwrap();
    let line = text.lines().position(|line| line == "keyz = 200").unwrap() + 1;
    let wrong = format!("{}:{line}: unknown field `keyz`", path.display());
    let absent = folder.path().join("absent.toml");
    for command in ["run", "shrink"] {
        for (file, said) in [(&path, &wrong), (&absent, &absent.display().to_string())] {
            let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_starling-sim"));
            let output = program.arg(command).arg(file).output().unwrap();
            assert_eq!(output.status.code(), Some(2), "{output:?}");
            assert!(String::from_utf8_lossy(&output.stderr).contains(said), "{output:?}");
        }
    }
}

#[test]
fn a_page_needs_no_network_and_escapes_what_it_is_told() {
    let short = shipped().remove(0).1.shortened(10);
    let ran = run(&short, None);
    let told = Told { name: "<b>&", about: "\"</style><script>", shape: &[], model: None };
    let html = page(&told, &ran.verdict, &ran.observed);
    assert!(html.contains("&lt;b&gt;&amp;") && !html.contains("<script"), "escaped");
    for fetched in ["http://", "https://", "src=", "href=", "@import", "url(h"] {
        assert!(!html.contains(fetched), "{fetched} is in the page");
    }
    for part in ["prefers-color-scheme: dark", "Hints owed", "every promise was kept", "<svg"] {
        assert!(html.contains(part), "{part} is not in the page");
    }
}

#[test]
fn where_nothing_breaks_reads_are_as_stale_as_predicted() {
    let mut calm = shipped().remove(0).1.shortened(20);
    calm.faults.clear();
    // Far apart, few objects, and one replica is enough: or hardly a read is stale.
    calm.bucket = Some(Bucket { r: Quorum::One, w: Quorum::One, ..Bucket::default() });
    calm.network = Some(Latencies { between_ms: 40.0, ..Latencies::default() });
    let workload = calm.workload.as_mut().expect("it says what clients do");
    (workload.keys, workload.ops_per_second) = (2, 300.0);
    let ran = run(&calm, None);
    let (reads, _) = judge(&ran.observed.history);
    let model = calm.model().expect("it says what the cluster is");
    let predicted = model.older(&reads, 100.0);
    let older = |age_ms: f64| {
        let older = reads.iter().filter(|read| read.age_ms > age_ms).count();
        100.0 * older as f64 / reads.len() as f64
    };
    assert!(older(0.1) > 5.0, "too little to compare: {} %", older(0.1));
    for (age_ms, share) in predicted {
        let apart = (share - older(age_ms)).abs();
        // Of some two thousand reads, a third of them stale; one that sees the youngest write is
        // taken to see all, so the model says a little too little.
        assert!(apart < 4.0, "{age_ms} ms: predicted {share} %, measured {} %", older(age_ms));
    }
    let told = Told { name: "calm", about: "", shape: &[], model: calm.model() };
    let html = page(&told, &ran.verdict, &ran.observed);
    assert!(html.contains("predicted for all if nothing broke"));
}

#[test]
fn a_failing_run_is_made_small_and_fails_in_the_same_way_when_read_back() {
    let mutant = Some(Mutant::DropHint);
    let failing = (0..20).map(|seed| {
        let params = Params { seed, nodes: 5, seconds: 20, mutant, family: None };
        Scenario::of_drawn(&params)
    });
    let mut failing = failing.filter(|drawn| drawn.faults.len() > 2);
    let drawn = failing.find(|drawn| !run_setup_quietly(drawn.setup(mutant)).is_clean()).unwrap();
    let shrunk = shrink(&drawn, mutant, None, 60, &mut |_| ()).unwrap();
    assert!(shrunk.scenario.faults.len() < drawn.faults.len(), "{shrunk:#?}");
    let text = shrunk.scenario.to_toml().unwrap();
    let verdict = run_setup_quietly(parse("shrunk", &text).unwrap().setup(mutant));
    let found = verdict.violations.iter().find(|found| found.check == shrunk.check);
    assert_eq!(found.map(|found| &found.detail), Some(&shrunk.detail));
}

#[test]
fn a_run_that_keeps_its_promises_is_not_made_small() {
    let params = Params { seed: 1, nodes: 3, seconds: 5, mutant: None, family: None };
    let why = shrink(&Scenario::of_drawn(&params), None, None, 5, &mut |_| ()).unwrap_err();
    assert_eq!(why, KeepsPromises { check: None });
}
