//! "An acknowledged write is never lost", "nothing is silently dropped", judged by someone else:
//! the checker of todc-utils (Wing and Gong, Lowe; as Porcupine does it) reads the histories that
//! `run --history` writes and agrees with our own checks, on runs that are sound and on known bugs.
//!
//! Starling merges later, so reads during a run need not be linearizable. What must be: all writes
//! to a key together with the read of that key from all its owners when everything is at rest. An
//! operation with an unknown outcome ends after that read, so the checker may put it before or
//! behind. Judged are counters that nobody resets, members of sets that are added once, and
//! registers that are written once; a removal covers only what its client had seen, so it may have
//! had an effect or not. The checks of the simulator itself demand more.

use serde_json::Value;
use starling_node::config::Mutant;
use starling_sim::history::file::{Op, Type, write};
use starling_sim::scenario::run_setup;
use starling_sim::verdict::Params;
use starling_sim::world::Setup;
use std::collections::BTreeMap;
use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::Action::{Call, Response};
use todc_utils::linearizability::history::History;
use todc_utils::specifications::Specification;

/// A search may try every choice of operations that are under way together: of more, none is made.
const TOGETHER_MAX: usize = 11;

/// Adding and reading, of a counter's sum or of how often a member is there.
#[derive(Clone, Debug)]
enum Step {
    Add(i64),
    Clear,
    Read(i64),
}

struct Sum;

impl Specification for Sum {
    type State = i64;
    type Operation = Step;

    fn init() -> i64 {
        0
    }

    fn apply(step: &Step, sum: &i64) -> (bool, i64) {
        match step {
            Step::Add(amount) => (true, sum + amount),
            Step::Clear => (true, 0),
            Step::Read(shown) => (shown == sum, *sum),
        }
    }
}

/// One step of one key: the numbers of the lines between which it happened, if it did.
struct Span {
    invoked: u64,
    done: u64,
    step: Step,
}

/// By key: a counter, a member of a set, or a register.
type Spans = BTreeMap<String, Vec<Span>>;

fn spans(lines: &[Op]) -> Spans {
    let mut open: BTreeMap<usize, &Op> = BTreeMap::new();
    let mut spans = Spans::new();
    // Attempts at one operation are one step, which happens once between the first and the answer.
    let mut repeated: BTreeMap<(String, &String), (u64, u64, Step)> = BTreeMap::new();
    for line in lines {
        if line.kind == Type::Invoke {
            assert!(open.insert(line.process, line).is_none(), "one at a time: {line:?}");
            continue;
        }
        let invoke = open.remove(&line.process).expect("what ends has begun");
        assert_eq!((&invoke.f, &invoke.key), (&line.f, &line.key));
        if line.kind != Type::Fail {
            for (key, step, certain) in steps(line) {
                let certain = certain && line.kind == Type::Ok;
                let done = if certain { line.index } else { u64::MAX };
                if let Some(once) = &line.once {
                    let begun = repeated.entry((key, once)).or_insert((invoke.index, done, step));
                    (begun.0, begun.1) = (begun.0.min(invoke.index), begun.1.min(done));
                    continue;
                }
                spans.entry(key).or_default().push(Span { invoked: invoke.index, done, step });
            }
        }
    }
    assert!(open.is_empty(), "every operation ends");
    for ((key, _), (invoked, done, step)) in repeated {
        spans.entry(key).or_default().push(Span { invoked, done, step });
    }
    read_what_is_absent(lines, &mut spans);
    spans
}

fn names(value: &Value) -> Vec<String> {
    let all = value.as_array().expect("a list").iter();
    all.map(|name| name.as_str().expect("a name").to_string()).collect()
}

/// What a line says, by key, and whether its effect is certain once it is acknowledged.
fn steps(line: &Op) -> Vec<(String, Step, bool)> {
    let one = |name: &str| format!("{}: {name}", line.key);
    let each = |value: &Value, step: Step, certain: bool| {
        names(value).iter().map(|name| (one(name), step.clone(), certain)).collect()
    };
    let kind = |prefix: &str| line.key.starts_with(prefix);
    let read = line.f == "read" && line.last;
    match &*line.f {
        "add" if kind("counter main/sum-") => {
            vec![(line.key.clone(), Step::Add(line.value.as_i64().unwrap()), true)]
        }
        _ if read && kind("counter main/sum-") => {
            vec![(line.key.clone(), Step::Read(line.value.as_i64().unwrap()), true)]
        }
        "add" if kind("set main/tags-") => each(&line.value, Step::Add(1), true),
        "remove" if kind("set main/tags-") => each(&line.value, Step::Clear, false),
        "write" if kind("kv main/fresh-") => {
            vec![(one(line.value.as_str().unwrap()), Step::Add(1), true)]
        }
        _ if read && (kind("set main/tags-") || kind("kv main/fresh-")) => {
            each(&line.value, Step::Read(1), true)
        }
        _ => Vec::new(),
    }
}

/// The last read of a set or register shows what is there; of every other value that it might
/// have shown, it says that it is not.
fn read_what_is_absent(lines: &[Op], spans: &mut Spans) {
    let mut invoked: BTreeMap<usize, u64> = BTreeMap::new();
    for line in lines.iter().filter(|line| line.last) {
        if line.kind == Type::Invoke {
            invoked.insert(line.process, line.index);
            continue;
        }
        let prefix = format!("{}: ", line.key);
        for (_, all) in
            spans.range_mut(prefix.clone()..).take_while(|(key, _)| key.starts_with(&prefix))
        {
            if !all.iter().any(|span| matches!(span.step, Step::Read(_))) {
                let (invoked, done) = (invoked[&line.process], line.index);
                all.push(Span { invoked, done, step: Step::Read(0) });
            }
        }
    }
}

/// What the checker outside said of a run.
#[derive(Default, Debug)]
struct Judged {
    keys: usize,
    not_judged: usize,
    wrong: Vec<String>,
}

fn judge(lines: &[Op]) -> Judged {
    let mut judged = Judged::default();
    for (key, spans) in spans(lines) {
        let together = |at: &Span| {
            spans.iter().filter(|one| (one.invoked..=one.done).contains(&at.invoked)).count()
        };
        let most = spans.iter().map(together).max().unwrap_or(0);
        if most > TOGETHER_MAX || !spans.iter().any(|span| matches!(span.step, Step::Read(_))) {
            judged.not_judged += 1;
            continue;
        }
        judged.keys += 1;
        let mut actions = Vec::new();
        for (process, span) in spans.iter().enumerate() {
            actions.push((span.invoked, process, Call(span.step.clone())));
            actions.push((span.done, process, Response(span.step.clone())));
        }
        actions.sort_by_key(|(at, process, _)| (*at, *process));
        let actions = actions.into_iter().map(|(_, process, action)| (process, action));
        if !WGLChecker::<Sum>::is_linearizable(History::from_actions(actions.collect())) {
            judged.wrong.push(key);
        }
    }
    judged
}

/// The history of a run, as it is in the file.
fn history(seed: u64, mutant: Option<Mutant>, family: Option<&str>) -> (Vec<Op>, bool) {
    let family = family.map(str::to_string);
    let params = Params { seed, nodes: 5, seconds: 20, mutant, family };
    let ran = run_setup(Setup::of_seed(params), None);
    let mut file = Vec::new();
    write(&ran.observed.history, &mut file).unwrap();
    let text = String::from_utf8(file).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (lines, ran.verdict.is_clean())
}

#[test]
fn the_checker_outside_agrees_that_sound_runs_are_sound() {
    let (mut keys, mut not_judged) = (0, 0);
    for seed in 0..20 {
        let (lines, clean) = history(seed, None, None);
        assert!(clean, "seed {seed}");
        let judged = judge(&lines);
        assert!(judged.wrong.is_empty(), "seed {seed}: {:?}", judged.wrong);
        keys += judged.keys;
        not_judged += judged.not_judged;
    }
    println!("{keys} keys judged, {not_judged} not");
    assert!(keys > 1_000 && not_judged * 20 < keys, "{keys} keys judged, {not_judged} not");
}

/// Seeds with faults of that family until the checker outside finds the bug.
fn seeds_to_find(mutant: Mutant, family: &str, kind: &str) -> u64 {
    let found = (0..100).find(|seed| {
        let judged = judge(&history(*seed, Some(mutant), Some(family)).0);
        judged.wrong.iter().any(|key| key.starts_with(kind))
    });
    found.unwrap_or_else(|| panic!("{} is not found", mutant.name())) + 1
}

#[test]
fn the_checker_outside_finds_counters_that_count_twice() {
    println!("{} seeds", seeds_to_find(Mutant::DoubleCount, "disorder", "counter"));
}

#[test]
fn the_checker_outside_finds_writes_that_no_disk_has() {
    println!("{} seeds", seeds_to_find(Mutant::SkipSync, "crashes", "set"));
}

#[test]
fn the_checker_outside_sees_each_thing_that_can_be_wrong() {
    let (lines, _) = history(0, None, None);
    let wrong = |change: &dyn Fn(&mut Op) -> bool| {
        let mut lines = lines.clone();
        let changed =
            lines.iter_mut().filter(|line| line.last && line.kind == Type::Ok).any(change);
        assert!(changed, "nothing to change");
        judge(&lines).wrong.len()
    };
    let of = |line: &Op, prefix: &str| line.key.starts_with(prefix);
    assert_eq!(wrong(&|_| true), 0);
    // Members that are lost, one that nobody added, and a sum that nothing adds up to.
    let lost = |line: &mut Op| {
        let set = of(line, "set main/tags-") && names(&line.value).len() > 5;
        if set {
            line.value = Vec::<String>::new().into();
        }
        set
    };
    assert!(wrong(&lost) >= 1);
    let invented = |line: &mut Op| {
        let set = of(line, "set main/tags-");
        if set {
            line.value.as_array_mut().unwrap().push("nobody".into());
        }
        set
    };
    assert_eq!(wrong(&invented), 1);
    let off = |line: &mut Op| {
        let sum = of(line, "counter main/sum-");
        if sum {
            line.value = (line.value.as_i64().unwrap() + 1_000_003).into();
        }
        sum
    };
    assert_eq!(wrong(&off), 1);
}
