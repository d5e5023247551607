//! What is in `grafana/`: boards, their queries, and the rules.

use super::folder;
use serde_json::Value;
use std::collections::BTreeSet;

/// One query of one panel.
pub struct Query {
    pub board: String,
    pub title: String,
    pub expr: String,
}

impl Query {
    /// For messages.
    pub fn place(&self) -> String {
        format!("{}, panel {:?}", self.board, self.title)
    }
}

/// Every board with the name of its file.
pub fn boards() -> Vec<(String, Value)> {
    let entries = std::fs::read_dir(folder("dashboards")).expect("a folder");
    let board = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.expect("an entry").path();
        let text = std::fs::read_to_string(&path).expect("a board");
        let board = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path:?}: {e}"));
        (path.file_name().expect("a name").to_string_lossy().into_owned(), board)
    };
    let mut boards: Vec<_> = entries.map(board).collect();
    boards.sort_by(|a, b| a.0.cmp(&b.0));
    boards
}

/// Every query of every board.
pub fn queries() -> Vec<Query> {
    let mut found = Vec::new();
    for (_, board) in boards() {
        for panel in board["panels"].as_array().expect("panels") {
            for target in panel["targets"].as_array().into_iter().flatten() {
                found.push(Query {
                    board: board["uid"].as_str().expect("a uid").to_owned(),
                    title: panel["title"].as_str().expect("a title").to_owned(),
                    expr: target["expr"].as_str().expect("an expression").to_owned(),
                });
            }
        }
    }
    found
}

/// One rule, recording or alerting.
pub struct Rule {
    pub name: String,
    pub expr: String,
    pub severity: String,
    pub runbook: String,
    records: bool,
}

impl Rule {
    /// The name of the series that it makes.
    pub fn record(&self) -> Option<String> {
        self.records.then(|| self.name.clone())
    }
}

/// Every rule, from the files as they are written: one key a line, an expression on its line or
/// on the deeper lines below.
pub fn rules() -> Vec<Rule> {
    let mut found: Vec<Rule> = Vec::new();
    for file in ["ratios.yml", "alerts.yml"] {
        let path = folder("prometheus").join("rules").join(file);
        let text = std::fs::read_to_string(path).expect("a file of rules");
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            let Some((key, value)) = line.trim().split_once(": ") else { continue };
            let value = value.trim_matches('"').to_owned();
            match (key, found.last_mut()) {
                ("- record" | "- alert", _) => found.push(Rule {
                    name: value,
                    expr: String::new(),
                    severity: String::new(),
                    runbook: String::new(),
                    records: key == "- record",
                }),
                ("expr", Some(rule)) if value == "|" => {
                    while let Some(line) = lines.next_if(|line| line.starts_with("          ")) {
                        rule.expr += &format!("{}\n", line.trim());
                    }
                }
                ("expr", Some(rule)) => rule.expr = value,
                ("severity", Some(rule)) => rule.severity = value,
                ("runbook_url", Some(rule)) => rule.runbook = value,
                _ => {}
            }
        }
    }
    assert!(found.iter().all(|rule| !rule.expr.is_empty()), "every rule has its expression");
    found
}

/// The rules that raise an alert.
pub fn alerts() -> Vec<Rule> {
    rules().into_iter().filter(|rule| !rule.records).collect()
}

/// What Grafana demands of panels, and what we do.
pub fn check_panels(file: &str, board: &Value) {
    let panels = board["panels"].as_array().expect("panels");
    let mut ids = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for panel in panels {
        let title = panel["title"].as_str().expect("a title");
        let place = format!("{file}, panel {title:?}");
        assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{place}: the id is taken");
        let at = |field: &str| panel["gridPos"][field].as_u64().expect("a place on the grid");
        let (x, y, w, h) = (at("x"), at("y"), at("w"), at("h"));
        assert!(w > 0 && h > 0 && x + w <= 24, "{place}: outside of the grid");
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(taken.insert(cell), "{place}: over another one");
        }
        if panel["type"] == "row" {
            continue;
        }
        let text = panel["description"].as_str().unwrap_or_default();
        let found: Vec<_> =
            ["Normal: ", " Bad: ", " Do: "].iter().map(|word| text.find(word)).collect();
        let in_order = found.iter().all(Option::is_some) && found.is_sorted();
        assert!(in_order, "{place} does not say what is normal, what is bad and what to do");
        for page in text.split_whitespace().filter(|word| word.starts_with("docs/")) {
            let page = page.trim_end_matches(['.', ',', ';']);
            let known = folder("..").join(page).exists();
            assert!(known, "{place} points at {page}, which is not there");
        }
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{place}");
        let targets = panel["targets"].as_array().expect("targets");
        let refs: BTreeSet<_> = targets.iter().filter_map(|t| t["refId"].as_str()).collect();
        assert!(!targets.is_empty() && refs.len() == targets.len(), "{place}: refId");
        assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{place}: no unit");
    }
}
