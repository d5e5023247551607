//! The law of arrows: a module names only what lies below it, and the core names no clock, file,
//! socket, thread, environment, randomness or randomly ordered map.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::source::{Named, code_files, module_of, named_paths, root, shown};

/// From the bottom up: a module, and what it may name besides itself. Whole modules must stand
/// above it in the list; a single item may be borrowed from further up where it says so.
const LAW: &[(&str, &[&str])] = &[
    ("crdt", &[]),
    ("metrics", &[]),
    ("time", &[]),
    ("store", &[]),
    ("config", &["crdt"]),
    // A layout's id is the hash of its encoding, and there is one encoding.
    ("placement", &["crdt", "wire::codec"]),
    ("cluster", &["crdt", "config", "placement"]),
    ("wire", &["crdt", "time", "config", "placement", "cluster"]),
    ("replica", &["crdt", "metrics", "time", "store", "config", "placement", "cluster", "wire"]),
    // It talks to replicas, its own node's too, by messages; the digest of an answer it holds
    // must be the one that replicas compute.
    (
        "coordinator",
        &[
            "crdt",
            "metrics",
            "time",
            "config",
            "placement",
            "cluster",
            "wire",
            "replica::digest_of_small",
        ],
    ),
    (
        "core",
        &[
            "crdt",
            "metrics",
            "time",
            "store",
            "config",
            "placement",
            "cluster",
            "wire",
            "replica",
            "coordinator",
        ],
    ),
    (
        "server",
        &[
            "crdt",
            "metrics",
            "time",
            "store",
            "config",
            "placement",
            "cluster",
            "wire",
            "replica",
            "coordinator",
            "core",
        ],
    ),
];

/// Files of the shell, which may touch the machine.
const SHELL: &[&str] = &["server", "store/rocks", "store/rocks.rs", "main.rs"];

/// What no file of the core names.
const BANNED: &[&str] = &[
    "std::collections::HashMap",
    "std::collections::HashSet",
    "std::collections::hash_map",
    "std::collections::hash_set",
    "std::env",
    "std::fs",
    "std::hash::RandomState",
    "std::io::stderr",
    "std::io::stdin",
    "std::io::stdout",
    "std::net",
    "std::os",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "chitchat",
    "getrandom",
    "hyper",
    "hyper_util",
    "libc",
    "mio",
    "opentelemetry",
    "opentelemetry_otlp",
    "opentelemetry_sdk",
    "rand",
    "rocksdb",
    "socket2",
    "tokio",
];

fn src() -> PathBuf {
    root().join("node/src")
}

/// What `module` names against the law, as messages.
fn arrows_up(module: &str, named: &[Named]) -> Vec<String> {
    let allowed = LAW.iter().find(|(name, _)| *name == module).map(|(_, allowed)| *allowed);
    let Some(allowed) = allowed else {
        return vec![format!("{module} has no place in the law: give it one in LAW")];
    };
    let breaks = |path: &&Named| {
        path.is_within("crate")
            && path.segments.len() > 1
            && path.segments[1] != module
            && !allowed.iter().any(|below| path.is_within(&format!("crate::{below}")))
    };
    let message = |path: &Named| format!("{}: {module} may not name {}", path.line, path.text());
    named.iter().filter(breaks).map(message).collect()
}

/// What of `named` the core may not touch. A parent of something banned counts, because it
/// would be a way to it: import the item itself.
fn banned(named: &[Named]) -> Vec<String> {
    let touches = |path: &&Named| {
        let text = path.text();
        let parent = text.trim_end_matches("::*");
        let leads_to = |wanted: &&str| wanted.starts_with(&format!("{parent}::"));
        BANNED.iter().any(|wanted| path.is_within(wanted) || leads_to(wanted))
    };
    let message = |path: &Named| format!("{}: the core may not name {}", path.line, path.text());
    named.iter().filter(touches).map(message).collect()
}

fn is_shell(file: &Path) -> bool {
    SHELL.iter().any(|part| file.strip_prefix(src()).expect("in src").starts_with(part))
}

#[test]
fn arrows_never_point_up() {
    let mut broken = Vec::new();
    for file in code_files(&src()) {
        let module = module_of(&src(), &file);
        let Some(top) = module.first() else { continue };
        let source = fs::read_to_string(&file).expect("the file is readable");
        let found = arrows_up(top, &named_paths(&source, &module));
        broken.extend(found.into_iter().map(|line| format!("{}:{line}", shown(&file))));
    }
    assert!(
        broken.is_empty(),
        "move what is shared down, do not import up:\n{}",
        broken.join("\n")
    );
}

#[test]
fn the_core_names_nothing_of_the_machine() {
    let mut broken = Vec::new();
    for file in code_files(&src()).into_iter().filter(|file| !is_shell(file)) {
        let source = fs::read_to_string(&file).expect("the file is readable");
        let found = banned(&named_paths(&source, &module_of(&src(), &file)));
        broken.extend(found.into_iter().map(|line| format!("{}:{line}", shown(&file))));
    }
    assert!(broken.is_empty(), "let it come in through step or Store:\n{}", broken.join("\n"));
}

#[test]
fn the_law_points_down_and_knows_every_module() {
    let mut below = BTreeSet::new();
    for (module, allowed) in LAW {
        for name in allowed.iter().filter(|name| !name.contains("::")) {
            assert!(below.contains(name), "{module} may name {name}, which is not below it");
        }
        let (file, folder) = (src().join(format!("{module}.rs")), src().join(module));
        assert!(file.exists() || folder.exists(), "LAW names {module}, which is not there");
        below.insert(module);
    }
    for part in SHELL {
        assert!(src().join(part).exists(), "SHELL names {part}, which is not there");
    }
}

#[test]
fn a_break_of_the_law_is_seen() {
    let upward = "use crate::{crdt::Dot, wire::{api, codec}}; fn f() { super::super::core::g() }";
    let module = ["placement".to_owned(), "table".to_owned()];
    let found = arrows_up("placement", &named_paths(upward, &module));
    assert_eq!(
        found,
        ["1: placement may not name crate::wire::api", "1: placement may not name crate::core::g"]
    );
    assert_eq!(arrows_up("hobby", &[]).len(), 1);

    let machine = "use std::time::{self, Duration, Instant}; use std::collections::*;
        fn f() -> std::sync::Arc<u8> { tokio::spawn(g); rand::random() }";
    let found = banned(&named_paths(machine, &module));
    let names: Vec<&str> = found.iter().filter_map(|line| line.rsplit(' ').next()).collect();
    assert_eq!(
        names,
        ["std::time", "std::time::Instant", "std::collections::*", "tokio::spawn", "rand::random"]
    );
}
