//! One self-contained page: verdict, figures, pictures, and the command that repeats the run.

use super::chart::{Chart, Line, Scale, Time, curve, number};
use super::figures::{Figures, percentiles};
use super::ops::{self, Op, availability};
use super::predicted::Model;
use super::promises::PROMISES;
use super::staleness::{self, Judged};
use super::{lanes, sides};
use crate::verdict::Verdict;
use crate::world::observe::Observed;
use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = include_str!("style.css");
/// Intervals into which operations are counted.
const INTERVALS: usize = 80;
/// Operations of a shorter interval would be too few to speak of shares, seconds.
const INTERVAL_MIN_S: f64 = 0.5;
/// Nodes with a line of their own in a chart at most.
const NODES_MAX: usize = 8;
/// Letters shown of what a check found.
const DETAIL_MAX: usize = 600;

/// What a page says of the run besides its verdict.
pub struct Told<'a> {
    /// Its name.
    pub name: &'a str,
    /// One sentence.
    pub about: &'a str,
    /// What the cluster and the clients were, a sentence each.
    pub shape: &'a [String],
    /// What the model of staleness takes of them, where it can.
    pub model: Option<Model>,
}

/// When faults were active, seconds since they began, overlapping ones joined.
pub fn broken_s(observed: &Observed) -> Vec<(f64, f64)> {
    let mut joined: Vec<(f64, f64)> = Vec::new();
    let mut all: Vec<_> = observed
        .plan
        .iter()
        .map(|one| (one.from_ms as f64 / 1e3, one.until_ms as f64 / 1e3))
        .collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (from, to) in all {
        match joined.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => joined.push((from, to)),
        }
    }
    joined
}

/// The page as HTML. Everything that comes from outside is escaped; nothing is fetched.
pub fn page(told: &Told<'_>, verdict: &Verdict, observed: &Observed) -> String {
    let figures = verdict.figures.clone().unwrap_or_default();
    let policy = "default-src 'none'; style-src 'unsafe-inline'";
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content=(policy);
                title { (told.name) " – starling-sim" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { (told.name) }
                p.about { (told.about) }
                @for sentence in told.shape { p.note { (sentence) } }
                (summary(verdict))
                (tiles(&figures))
                pre { (verdict.command) }
                @if !observed.nodes.is_empty() { (pictures(told, observed, &figures)) }
                (checks(verdict))
                (numbers(&figures))
                (counts(verdict))
            }
        }
    };
    page.into_string()
}

fn summary(verdict: &Verdict) -> Markup {
    html! {
        @if verdict.is_clean() {
            p.verdict.good { "✓ every promise was kept" }
        } @else {
            p.verdict.bad { "✗ a promise was broken" }
        }
    }
}

fn percent(share: Option<f64>) -> String {
    share.map_or("–".into(), |share| format!("{:.2} %", share * 100.0))
}

fn tiles(figures: &Figures) -> Markup {
    let recovery = figures.recovery_s.map_or("–".into(), |s| format!("{s:.2} s"));
    let tiles = [
        (percent(figures.availability), "of operations answered while a fault was active"),
        (recovery, "from the last fault until all was equal"),
        (format!("{} ms", number(figures.latency_ms.p99)), "99 of 100 answers were not slower"),
        (figures.lost.to_string(), "acknowledged writes missing in the end"),
    ];
    html! {
        div.tiles {
            @for (value, what) in tiles { div.tile { b { (value) } span { (what) } } }
        }
    }
}

fn pictures(told: &Told<'_>, observed: &Observed, figures: &Figures) -> Markup {
    let time = Time { to_s: (observed.rest_us - observed.from_us) as f64 / 1e6 };
    let asked_s = number((observed.until_us - observed.from_us) as f64 / 1e6);
    html! {
        h2 { "What happened" }
        p.note {
            "Clients asked until " (asked_s) " s; then everything healed, and the run went on \
            until all was at rest."
        }
        (lanes::draw(observed, time))
        (over_time(observed, time))
        h2 { "Objects whose owners differ" }
        (divergent(observed, time))
        h2 { "Hints owed" }
        (hints(observed, time))
        h2 { "How old what reads showed was" }
        (stale(observed, figures, told.model.as_ref()))
    }
}

fn over_time(observed: &Observed, time: Time) -> Markup {
    let ops = ops::all(observed);
    let sides = sides::of(observed);
    let span_s = (observed.until_us - observed.from_us) as f64 / 1e6;
    let each_s = (span_s / INTERVALS as f64).max(INTERVAL_MIN_S);
    let intervals = (span_s / each_s).ceil() as usize;
    let of_side = |value: &dyn Fn(&[&Op]) -> Option<f64>| -> Vec<Line> {
        let line = |side: &sides::Side| {
            let mut within: Vec<Vec<&Op>> = vec![Vec::new(); intervals];
            for op in ops.iter().filter(|op| side.nodes.contains(&op.node)) {
                let at_s = op.at_us.saturating_sub(observed.from_us) as f64 / 1e6;
                within[((at_s / each_s) as usize).min(intervals - 1)].push(op);
            }
            let points = within.iter().enumerate();
            let mut points: Vec<_> =
                points.map(|(place, ops)| (place as f64 * each_s, value(ops))).collect();
            points.push((span_s, None));
            Line { name: side.name.clone(), points }
        };
        sides.iter().map(line).collect()
    };
    let available = of_side(&|ops| availability(ops.iter().copied()).map(|share| share * 100.0));
    let slowest = of_side(&|ops| {
        let p99 = percentiles(ops.iter().copied()).p99;
        (p99 > 0.0).then_some(p99)
    });
    let most = slowest.iter().flat_map(|line| &line.points).filter_map(|(_, p99)| *p99);
    let most = most.fold(10.0, f64::max);
    let broken = broken_s(observed);
    let each = number(each_s);
    html! {
        h2 { "Operations answered, by the node asked" }
        p.note { "Of those begun in each " (each) " s." }
        (Chart {
            title: "Share of operations answered over time", what: "answered, %",
            y: Scale::Linear(0.0, 104.0), time, broken: &broken, lines: available, steps: true,
        }.draw())
        h2 { "Latency of answers, by the node asked" }
        p.note { "99 of 100 answers to operations begun in each " (each) " s were not slower." }
        (Chart {
            title: "Latency over time", what: "99th percentile, ms",
            y: Scale::Log(1.0, 10f64.powf(most.log10().ceil())), time, broken: &broken,
            lines: slowest, steps: true,
        }.draw())
    }
}

fn seconds(observed: &Observed, at_us: u64) -> f64 {
    at_us.saturating_sub(observed.from_us) as f64 / 1e6
}

fn divergent(observed: &Observed, time: Time) -> Markup {
    let points: Vec<_> = observed
        .looks
        .iter()
        .map(|look| (seconds(observed, look.at_us), Some(look.divergent as f64)))
        .collect();
    let most =
        observed.looks.iter().map(|look| look.divergent).max().unwrap_or(0).max(5) as f64 * 1.05;
    let lines = vec![Line { name: "objects".into(), points }];
    html! {
        p.note { "Writes on their way count too; of a node that is down, what it held when it was \
            seen last." }
        (Chart {
            title: "Divergent objects over time", what: "objects", y: Scale::Linear(0.0, most),
            time, broken: &broken_s(observed), lines, steps: false,
        }.draw())
    }
}

fn hints(observed: &Observed, time: Time) -> Markup {
    let of = |node: usize| {
        observed
            .looks
            .iter()
            .map(|look| (seconds(observed, look.at_us), Some(look.hints[node] as f64)))
            .collect::<Vec<_>>()
    };
    let most = observed.looks.iter().flat_map(|look| &look.hints).max().copied().unwrap_or(0);
    let mut owing: Vec<usize> = (0..observed.nodes.len()).collect();
    let peak = |node: &usize| observed.looks.iter().map(|look| look.hints[*node]).max();
    owing.sort_by_key(|node| std::cmp::Reverse(peak(node)));
    owing.truncate(NODES_MAX);
    owing.sort_unstable();
    let lines =
        owing.iter().map(|node| Line { name: observed.nodes[*node].clone(), points: of(*node) });
    html! {
        @if most == 0 {
            p { "No node owed a hint at any look." }
        } @else {
            p.note { "By the node that keeps them"
                @if observed.nodes.len() > NODES_MAX {
                    ", the " (NODES_MAX) " that owed most"
                } "." }
            (Chart {
                title: "Hints owed over time", what: "hints",
                y: Scale::Linear(0.0, most.max(5) as f64 * 1.05), time,
                broken: &broken_s(observed), lines: lines.collect(), steps: false,
            }.draw())
        }
    }
}

fn stale(observed: &Observed, figures: &Figures, model: Option<&Model>) -> Markup {
    let (reads, _) = staleness::judge(&observed.history);
    let told = &figures.staleness;
    let share = |count: u64| 100.0 * count as f64 / told.reads.max(1) as f64;
    let calm: Vec<Judged<'_>> = reads
        .iter()
        .filter(|read| !observed.is_broken(read.record.invoked_us))
        .map(Judged::clone)
        .collect();
    let broken = calm.len() < reads.len();
    let mut lines = vec![ages("all reads", &reads)];
    if broken && !calm.is_empty() {
        lines.push(ages("those begun while no fault was active", &calm));
    }
    if let Some(model) = model.filter(|_| !reads.is_empty()) {
        let points = model.older(&reads, told.max_ms);
        let points = points.into_iter().map(|(age, share)| (age, Some(share))).collect();
        lines.push(Line { name: "predicted for all if nothing broke".into(), points });
    }
    let shares = lines.iter().flat_map(|line| line.points.iter().filter_map(|point| point.1));
    let y = Scale::Linear(0.0, shares.fold(0.01, f64::max) * 1.05);
    let x = Scale::Log(0.1, 10f64.powf(told.max_ms.max(10.0).log10().ceil()));
    html! {
        p { (told.stale) " of " (told.reads) " reads, " (number(share(told.stale))) " %, missed a \
            write that had been acknowledged before they began. 99 of 100 reads were at most "
            (number(told.p99_ms)) " ms old, 999 of 1,000 " (number(told.p999_ms)) " ms, the oldest "
            (number(told.max_ms)) " ms." }
        p.note { "A read's age is the time since the acknowledgement of the oldest write it misses."
            @if model.is_some() {
                " Predicted is what the model of probabilistically bounded staleness (PBS) says of \
                the same reads and writes with the same latencies and quorums, had nothing broken; \
                starling-sim pbs shows it by itself."
            }
            @if told.reads_not_judged > 0 {
                " Of " (told.reads_not_judged) " reads it cannot be told: they found nothing after \
                a removal."
            } }
        @if told.stale > 0 || lines.len() > 1 {
            (curve("Reads by age", "age, ms", x, "reads older, %", y, &lines))
        }
    }
}

/// The share of these reads that are older, by age.
fn ages(name: &str, reads: &[Judged<'_>]) -> Line {
    let mut ages: Vec<f64> = reads.iter().map(|read| read.age_ms).collect();
    ages.sort_by(f64::total_cmp);
    let share = |count: usize| Some(100.0 * count as f64 / ages.len().max(1) as f64);
    let first = ages.partition_point(|age| *age <= 0.0);
    // One point where the number of staler reads falls.
    let mut points = vec![(0.0, share(ages.len() - first))];
    for (place, age) in ages.iter().enumerate().skip(first) {
        points.push((*age, share(ages.len() - place - 1)));
    }
    Line { name: name.into(), points }
}

fn checks(verdict: &Verdict) -> Markup {
    let broken = |check: &str| verdict.violations.iter().any(|one| one.check == check);
    let count = |name: &str| verdict.counts.get(name).copied().unwrap_or(0);
    let known = |check: &str| PROMISES.iter().any(|promise| promise.check == check);
    html! {
        h2 { "Promises" }
        table {
            tr { th { "kept" } th { "promise" } th { "looked at" } }
            @for promise in PROMISES {
                tr {
                    @if broken(promise.check) {
                        td.mark.bad { "✗ broken" }
                    } @else {
                        td.mark.good { "✓ kept" }
                    }
                    td { (promise.text) br; span.dim { (promise.check) } }
                    td {
                        @for (name, what) in promise.looked {
                            div { (count(name)) " " (what) }
                        }
                    }
                }
            }
            @for one in verdict.violations.iter().filter(|one| !known(&one.check)) {
                tr { td.mark.bad { "✗ broken" } td { (one.check) } td {} }
            }
        }
        @for one in &verdict.violations {
            p.bad { strong { (one.check) } }
            pre { (shortened(&one.detail)) }
        }
    }
}

/// A detail that names states of objects can be long; the JSON has all of it.
fn shortened(detail: &str) -> String {
    match detail.char_indices().nth(DETAIL_MAX) {
        Some((at, _)) => format!("{} …", &detail[..at]),
        None => detail.to_string(),
    }
}

fn numbers(figures: &Figures) -> Markup {
    let rows = [
        ("operations", figures.operations.to_string()),
        ("answered", figures.answered.to_string()),
        ("refused: nothing was applied", figures.refused.to_string()),
        ("unknown, or no answer", figures.unknown.to_string()),
        ("answered before the first fault", percent(figures.availability_before)),
        ("answered while a fault was active", percent(figures.availability)),
        ("of these, reads", percent(figures.availability_reads)),
        ("of these, writes", percent(figures.availability_writes)),
        ("of these, that asked for one replica", percent(figures.availability_w1)),
        ("answered after the last fault", percent(figures.availability_after)),
        ("half of the answers within", format!("{} ms", number(figures.latency_ms.p50))),
        ("99 of 100 answers within", format!("{} ms", number(figures.latency_ms.p99))),
        (
            "99 of 100 answers under faults within",
            format!("{} ms", number(figures.latency_ms_under_faults.p99)),
        ),
        ("most objects that differed", figures.divergent_max.to_string()),
        ("most hints owed", figures.hints_max.to_string()),
        ("bytes between peers", figures.bytes.peers.to_string()),
        ("bytes of gossip", figures.bytes.gossip.to_string()),
    ];
    html! {
        h2 { "Figures" }
        table {
            tr { th { "nodes" } th.n { "operations" } th.n { "answered under faults" }
                th.n { "half within" } th.n { "99 of 100 within" } }
            @for side in &figures.sides {
                tr {
                    td { (side.nodes) }
                    td.n { (side.operations) }
                    td.n { (percent(side.availability)) }
                    td.n { (number(side.latency_ms.p50)) " ms" }
                    td.n { (number(side.latency_ms.p99)) " ms" }
                }
            }
        }
        br;
        table { @for (what, value) in rows { tr { td { (what) } td.n { (value) } } } }
    }
}

fn counts(verdict: &Verdict) -> Markup {
    html! {
        h2 { "Faults and counts" }
        pre { @for fault in &verdict.faults { (fault) "\n" } }
        details {
            summary { "everything that was counted, trace " (verdict.trace) }
            table {
                @for (name, count) in &verdict.counts { tr { td { (name) } td.n { (count) } } }
            }
        }
    }
}
