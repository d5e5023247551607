//! A real Prometheus watches a real cluster: what nodes say is well-formed, every board and alert
//! asks for metrics that are there, and every metric is on a board.
#![cfg(feature = "server")]
// The shell is tested with what the core must not have.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod dev_support;
mod prometheus_support;

use dev_support::Dev;
use prometheus_support::boards::{Query, Rule, alerts, boards, queries, rules};
use prometheus_support::{Prometheus, folder, promtool, selectors, traffic};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long clients ask while Prometheus looks once a second.
const WATCHED: Duration = Duration::from_secs(24);

/// Panels whose query has no data in a healthy cluster, and why that is right.
const EMPTY: &[(&str, &str, &str)] = &[
    ("starling-overview", "Alerts that fire", "nothing is wrong with this cluster"),
    ("starling-storage", "Cache hits", "all rows are in memory: no block was looked up, 0 of 0"),
];

/// Series of one node at the most; a label whose values clients choose would pass it.
const SERIES_MAX: usize = 3_000;

/// Series that Prometheus makes itself.
const OF_PROMETHEUS: &[&str] = &["up", "ALERTS"];

/// The families of `/metrics`, by name: the kind, and how many series there are.
fn families(text: &str) -> BTreeMap<String, (String, usize)> {
    let mut found: BTreeMap<String, (String, usize)> = BTreeMap::new();
    let mut last = String::new();
    for line in text.lines().filter(|line| !line.starts_with("# HELP")) {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a name and a kind");
            last = name.to_owned();
            assert!(found.insert(last.clone(), (kind.to_owned(), 0)).is_none(), "{name} twice");
        } else {
            assert!(line.starts_with(&last), "{line} stands under {last}");
            found.get_mut(&last).expect("a type stands first").1 += 1;
        }
    }
    found
}

/// The family that a name in a query belongs to.
fn family<'a>(name: &'a str, known: &BTreeMap<String, (String, usize)>) -> &'a str {
    let is_histogram = |stem: &&str| known.get(*stem).is_some_and(|(kind, _)| kind == "histogram");
    let mut stems =
        ["_bucket", "_sum", "_count"].into_iter().filter_map(|end| name.strip_suffix(end));
    stems.find(is_histogram).unwrap_or(name)
}

fn check_names(queries: &[Query], known: &BTreeMap<String, (String, usize)>) {
    let recorded: BTreeSet<String> = rules().iter().filter_map(Rule::record).collect();
    let mut shown = BTreeSet::new();
    for query in queries {
        for selector in selectors(&query.expr) {
            let name = family(&selector.name, known);
            let exists = known.contains_key(name)
                || recorded.contains(&selector.name)
                || OF_PROMETHEUS.contains(&name);
            assert!(exists, "{}: no node and no rule makes {}", query.place(), selector.name);
            shown.insert(name.to_owned());
        }
    }
    // What a recording rule reads is shown where its result is.
    let mut rules = rules();
    rules.retain(|rule| rule.record().is_some_and(|record| shown.contains(&record)));
    for rule in rules {
        shown.extend(selectors(&rule.expr).iter().map(|s| family(&s.name, known).to_owned()));
    }
    let hidden: Vec<_> = known.keys().filter(|name| !shown.contains(*name)).collect();
    assert!(hidden.is_empty(), "on no board: {hidden:?}");
}

/// Whether any value is a number.
fn has_data(result: &[Value]) -> bool {
    result.iter().any(|series| series["value"][1].as_str().is_some_and(|value| value != "NaN"))
}

fn check_queries(prometheus: &Prometheus, queries: &[Query], instance: &str) {
    let mut wrong = Vec::new();
    for query in queries {
        let expr = query.expr.replace("$__rate_interval", "20s").replace("$instance", instance);
        let excused = EMPTY.iter().any(|(b, title, _)| *b == query.board && *title == query.title);
        match (has_data(&prometheus.query(&expr)), excused) {
            (true, true) => wrong.push(format!("{} is excused and has data", query.place())),
            (false, false) => wrong.push(format!("{} has no data: {expr}", query.place())),
            _ => {}
        }
    }
    for (board, title, _) in EMPTY {
        let exists = queries.iter().any(|query| query.board == *board && query.title == *title);
        assert!(exists, "EMPTY names a panel that is not there: {board}, {title}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Rules that record must have recorded. An alert is silent when all is well: each series it looks
/// at must be there, so that it is the threshold that keeps it silent and not a name.
fn check_rules(prometheus: &Prometheus) {
    let mut wrong = Vec::new();
    for rule in rules() {
        let result = prometheus.query(&rule.expr);
        let made = rule.record().map(|record| prometheus.query(&record));
        if made.is_some_and(|made| made.is_empty() || result.is_empty()) {
            wrong.push(format!("{} is not recorded", rule.name));
        }
        for selector in selectors(&rule.expr) {
            if !has_data(&prometheus.query(&selector.text())) {
                wrong.push(format!("{}: nothing matches {}", rule.name, selector.text()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let groups = prometheus.get("/api/v1/rules");
    for group in groups["data"]["groups"].as_array().expect("groups") {
        for rule in group["rules"].as_array().expect("rules") {
            assert_eq!(rule["health"], "ok", "{rule}");
            assert_ne!(rule["state"], "firing", "all is well, and yet: {rule}");
        }
    }
}

#[test]
fn every_query_of_a_board_or_a_rule_finds_what_it_asks_for() {
    let dir = tempfile::tempdir().expect("a directory");
    let dev = Dev::new(&dir.path().join("cluster"), 3);
    dev.ready();
    let ports: Vec<u16> = (0..3).map(|node| dev.port + node).collect();
    let prometheus = Prometheus::start(&dir.path().join("prometheus"), &ports);
    let begun = Instant::now();
    while begun.elapsed() < WATCHED {
        traffic(&ports);
    }
    let mut known = BTreeMap::new();
    for node in 0..3 {
        let text = dev.curl(node, "/metrics");
        promtool(&["check", "metrics"], Some(&text));
        let found = families(&text);
        let series: usize = found.values().map(|(_, series)| series).sum();
        println!("node {node} makes {series} series");
        assert!(series <= SERIES_MAX, "{series} series");
        let silent: Vec<_> = found.iter().filter(|(_, (_, series))| *series == 0).collect();
        assert!(silent.is_empty(), "node {node} has no series of {silent:?}");
        known.extend(found);
    }
    let tables = starling_node::metrics::TABLE.iter().map(|(name, ..)| *name);
    let tables = tables.chain(starling_node::server::families::TABLE.iter().map(|row| row.0));
    assert_eq!(known.keys().map(String::as_str).collect::<BTreeSet<_>>(), tables.collect());
    let queries = queries();
    check_names(&queries, &known);
    check_queries(&prometheus, &queries, &format!("127.0.0.1:{}", ports[0]));
    check_rules(&prometheus);
}

#[test]
fn promtool_accepts_the_configuration_and_every_alert_fires_and_is_silent_as_told() {
    let at = folder("prometheus");
    let path = |name: &str| at.join(name).to_str().expect("a path").to_owned();
    promtool(&["check", "config", &path("prometheus.yml")], None);
    let files = |kind: &str| -> Vec<String> {
        let entries = std::fs::read_dir(at.join(kind)).expect("a folder");
        entries.map(|e| e.expect("an entry").path().to_str().expect("a path").to_owned()).collect()
    };
    let rules: Vec<String> = files("rules");
    let tests: Vec<String> = files("tests");
    let with = |first: [&str; 2], rest: &[String]| -> Vec<String> {
        first.iter().map(|word| (*word).to_owned()).chain(rest.iter().cloned()).collect()
    };
    for command in [with(["check", "rules"], &rules), with(["test", "rules"], &tests)] {
        promtool(&command.iter().map(String::as_str).collect::<Vec<_>>(), None);
    }
    let tests: String =
        tests.iter().map(|file| std::fs::read_to_string(file).expect("a test")).collect();
    for alert in alerts() {
        let (name, severity) = (&alert.name, &alert.severity);
        for case in ["fires", "is silent"] {
            let case = format!("name: {name} ({severity}) {case}\n");
            assert_eq!(tests.matches(&case).count(), 1, "the test called {case}");
        }
        assert!(["page", "ticket"].contains(&severity.as_str()), "{name}: {severity}");
    }
}

#[test]
fn every_alert_has_its_page_and_every_page_its_alert() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository");
    let mut named = BTreeSet::new();
    for alert in alerts() {
        let page = format!("docs/operations/{}.md", alert.name);
        assert_eq!(alert.runbook, page);
        let text = std::fs::read_to_string(root.join(&page)).expect("the page is there");
        assert!(text.starts_with(&format!("# {}\n", alert.name)), "{page}");
        for section in [
            "What it means",
            "What users see",
            "How to confirm",
            "What to do",
            "When to worry",
            "What not to do",
        ] {
            assert!(text.contains(&format!("\n## {section}\n\n")), "{page} lacks {section}");
        }
        named.insert(page);
    }
    let pages = std::fs::read_dir(root.join("docs/operations")).expect("the folder");
    for page in pages {
        let page = page.expect("an entry").file_name().into_string().expect("a name");
        assert!(named.contains(&format!("docs/operations/{page}")), "{page} is of no alert");
    }
}

#[test]
fn boards_are_what_grafana_reads_and_each_panel_says_normal_bad_and_what_to_do() {
    let mut uids = BTreeSet::new();
    for (file, board) in boards() {
        let text = |field: &str| board[field].as_str().unwrap_or_default().to_owned();
        assert!(uids.insert(text("uid")), "{file}: the uid is taken");
        assert!(!text("uid").is_empty() && text("uid").len() <= 40, "{file}: uid");
        assert!(!text("title").is_empty() && !text("description").is_empty(), "{file}");
        assert!(board["schemaVersion"].as_u64().is_some_and(|version| version >= 36), "{file}");
        let variables = board["templating"]["list"].as_array().expect("variables");
        let source = &variables[0];
        assert!(source["type"] == "datasource" && source["name"] == "datasource", "{file}");
        prometheus_support::boards::check_panels(&file, &board);
    }
    assert_eq!(uids.len(), 5, "overview, replication, membership, storage, node");
}
