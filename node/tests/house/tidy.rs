//! Files that can be read: short lines, short files, a first sentence that says what a module is
//! for, and a top folder that holds what it should.

use std::fs;
use std::path::PathBuf;

use super::source::{files, root, shown};

const COLUMNS_MAX: usize = 100;
const FILE_LINES_MAX: usize = 700;
const MODULE_DOC_LINES_MAX: usize = 15;

/// Tables with longer lines: one row a metric or a route.
const LONG_LINES: &[&str] = &[
    "node/src/metrics.rs",
    "node/src/server/families.rs",
    "node/src/server/http/router.rs",
    "node/tests/http_metrics.rs",
];

/// What may lie in the top folder, besides what `.gitignore` names there.
const TOP: &[&str] = &[
    ".ci",
    ".git",
    ".gitignore",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "Makefile",
    "README.md",
    "client",
    "deny.toml",
    "docs",
    "grafana",
    "node",
    "rustfmt.toml",
    "sim",
];

fn rust_files() -> Vec<(PathBuf, String)> {
    let crates = ["node", "client", "sim"].map(|name| root().join(name));
    let all = crates.iter().flat_map(|folder| files(folder, "rs"));
    let own = all.filter(|file| !file.iter().any(|part| part == "target"));
    own.map(|file| (file.clone(), fs::read_to_string(&file).expect("sources are UTF-8"))).collect()
}

/// Lines of the module's documentation, examples not counted.
fn module_doc_lines(text: &str) -> usize {
    let mut inside_example = false;
    let doc = text.lines().take_while(|line| line.starts_with("//!"));
    doc.filter(|line| {
        let fence = line.contains("```");
        inside_example ^= fence;
        !inside_example && !fence
    })
    .count()
}

/// What is untidy in one file, as messages.
fn untidy(name: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let columns = line.chars().count();
        if columns > COLUMNS_MAX && !LONG_LINES.contains(&name) {
            found.push(format!("{name}:{}: {columns} columns, at most {COLUMNS_MAX}", at + 1));
        }
    }
    let lines = text.lines().count();
    if lines > FILE_LINES_MAX {
        found.push(format!("{name}: {lines} lines, at most {FILE_LINES_MAX}: split it by noun"));
    }
    match module_doc_lines(text) {
        0 => found.push(format!("{name}: opens with no //! that says what it promises")),
        doc if doc > MODULE_DOC_LINES_MAX => {
            found.push(format!("{name}: {doc} lines of //!, at most {MODULE_DOC_LINES_MAX}"));
        }
        _ => {}
    }
    found
}

#[test]
fn every_rust_file_is_tidy() {
    let files = rust_files();
    assert!(files.iter().any(|(file, _)| file.ends_with("node/src/lib.rs")), "files were found");
    let found: Vec<String> =
        files.iter().flat_map(|(file, text)| untidy(&shown(file), text)).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_top_folder_holds_what_it_should() {
    let ignored = fs::read_to_string(root().join(".gitignore")).expect("there is a .gitignore");
    let ignored: Vec<&str> = ignored.lines().map(|line| line.trim_matches('/')).collect();
    let names = fs::read_dir(root()).expect("the folder is readable").map(|entry| {
        entry.expect("the entry is readable").file_name().into_string().expect("names are UTF-8")
    });
    let strange: Vec<String> = names
        .filter(|name| !TOP.contains(&name.as_str()) && !ignored.contains(&name.as_str()))
        .collect();
    assert!(strange.is_empty(), "move or ignore: {}", strange.join(", "));
}

#[test]
fn untidiness_is_seen() {
    let long = format!("//! Doc.\n// {}\n", "é".repeat(COLUMNS_MAX));
    assert_eq!(untidy("a.rs", &long), ["a.rs:2: 103 columns, at most 100"]);
    assert_eq!(untidy("a.rs", "fn f() {}\n").len(), 1);
    assert_eq!(untidy("a.rs", &"//! Doc.\n".repeat(16)).len(), 1);
    assert_eq!(untidy("a.rs", &format!("//! Doc.\n{}", "\n".repeat(700))).len(), 1);
    assert_eq!(untidy("a.rs", "//! Doc.\n"), [""; 0]);
}
