//! Every command that the documents print works as it stands: each block of commands runs in
//! bash, those that speak to a cluster against one that is started for them.
//!
//! What cannot run here (builds, servers, what takes minutes or other machines) is listed with its
//! reason, by its first line; an entry that matches no block, or two, fails.
#![cfg(feature = "server")]
// Tests of running processes use files and clocks.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod dev_support;

use dev_support::{Dev, starling};
use pulldown_cmark::{CodeBlockKind, Event, Parser, Tag, TagEnd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// For one block, seconds.
const BLOCK_MAX_S: &str = "20";

/// The document, the first line of the block, and why it does not run here.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("README.md", "make run", "a server, and the build before it"),
    ("README.md", "prometheus --config", "a server; the test prometheus.rs starts one"),
    ("README.md", "cargo run --release -p starling-sim", "a build; sim/tests run the file"),
    ("docs/chaos.md", "make chaos  ", "takes minutes to hours; CI runs its short form"),
    ("docs/chaos.md", "target/release/starling-chaos all --runs 10", "more than an hour"),
    ("docs/collection.md", "# Writes and removes one object", "a million rounds, and a build"),
    ("docs/monitoring.md", "prometheus --config", "a server; the test prometheus.rs starts one"),
    ("docs/guarantees.md", "make fuzz", "an hour and more"),
    ("docs/monitoring.md", "starling dev --otlp-endpoint", "a server; otlp.rs starts one so"),
    ("docs/monitoring.md", "make drills", "minutes, with clusters and servers of its own"),
    ("docs/pbs.md", "starling-sim pbs", "another crate's program, with files of the reader's own"),
    ("docs/performance.md", "make bench", "minutes, on a machine that does nothing else"),
    ("docs/performance.md", "cargo build --release", "a build, a server and a profiler"),
    ("docs/performance-profile.md", "make profile", "minutes, on a machine that does nothing else"),
    ("docs/planning.md", "starling-sim plan", "another crate's program, and minutes"),
    ("docs/scenarios.md", "starling-sim run", "another crate's program; its tests run the file"),
    ("docs/simulation.md", "make sim", "minutes to hours; CI runs it with 50 seeds"),
];

/// A block of commands and where it stands.
#[derive(Debug)]
struct Block {
    document: String,
    /// Of its first command.
    line: usize,
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository").to_owned()
}

/// Markdown under `folder`, from the repository's root.
fn markdown(folder: &str, deep: bool) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root().join(folder)).expect("a folder") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("a name");
        let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
        if entry.path().is_dir() && deep {
            found.extend(markdown(&path, deep));
        } else if path.ends_with(".md") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Blocks marked `sh` or `bash`, in the order of the text.
fn blocks(document: &str, text: &str) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let mut inside = false;
    for (event, range) in Parser::new(text).into_offset_iter() {
        match event {
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(language))) => {
                inside = matches!(language.as_ref(), "sh" | "bash" | "shell" | "console");
                if inside {
                    let line = text[..range.start].matches('\n').count() + 2;
                    let (document, text) = (document.to_owned(), String::new());
                    found.push(Block { document, line, text });
                }
            }
            Event::Text(part) if inside => {
                found.last_mut().expect("a block is open").text.push_str(&part);
            }
            Event::End(TagEnd::CodeBlock) => inside = false,
            _ => {}
        }
    }
    found
}

fn all() -> Vec<Block> {
    let documents = markdown("", false).into_iter().chain(markdown("docs", true));
    let read = |document: String| {
        let text = std::fs::read_to_string(root().join(&document)).expect("documents are UTF-8");
        blocks(&document, &text)
    };
    documents.flat_map(read).collect()
}

fn is_excepted(block: &Block) -> bool {
    let mut entries = EXCEPTIONS.iter();
    entries.any(|(document, first, _)| *document == block.document && block.text.starts_with(first))
}

/// The block as it runs here: the three nodes listen elsewhere than those of `make run`, and a
/// `curl` that is answered with a refusal fails.
fn adapted(text: &str, port: u16) -> String {
    let mut script = "curl() { command curl -sS --fail-with-body -m 10 \"$@\"; }\n".to_owned();
    script += text;
    for node in 0..3 {
        for host in ["localhost", "127.0.0.1"] {
            let from = format!("{host}:{}", 7000 + node);
            script = script.replace(&from, &format!("{host}:{}", port + node));
        }
    }
    script
}

/// What is wrong with it when it runs in `dir`.
fn run(block: &Block, script: &str, dir: &Path) -> Option<String> {
    let starling = PathBuf::from(starling());
    let programs = starling.parent().expect("a folder").display();
    let path = std::env::var("PATH").expect("a path");
    let output = Command::new("timeout")
        .args([BLOCK_MAX_S, "bash", "-euo", "pipefail", "-c", script])
        .current_dir(dir)
        .env("PATH", format!("{programs}:{path}"))
        .stdin(Stdio::null())
        .output()
        .expect("timeout and bash are there");
    let (told, said) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let Block { document, line, text } = block;
    let failed = !output.status.success();
    failed.then(|| format!("{document}:{line}: {}\n{text}---\n{told}{said}", output.status))
}

#[test]
fn every_command_block_of_the_documents_runs() {
    let dir = tempfile::tempdir().expect("a directory");
    let dev = Dev::new(&dir.path().join("cluster"), 3);
    dev.ready();
    let mut ran = 0;
    let mut wrong = Vec::new();
    for block in all().iter().filter(|block| !is_excepted(block)) {
        ran += 1;
        wrong.extend(run(block, &adapted(&block.text, dev.port), dir.path()));
    }
    println!("{ran} blocks ran");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(ran > 0, "no document has a block of commands");
}

#[test]
fn every_exception_is_one_block() {
    let blocks = all();
    for (document, first, why) in EXCEPTIONS {
        let is_it = |block: &&Block| block.document == *document && block.text.starts_with(first);
        assert_eq!(blocks.iter().filter(is_it).count(), 1, "{document}: {first}");
        assert!(!why.is_empty(), "{document}: {first}");
    }
}

#[test]
fn a_block_that_fails_is_seen_with_its_place() {
    let text = "a\n\n```sh\ntrue\nfalse\n```\n\n```json\n{}\n```\n\n```sh\necho ok\n```\n";
    let found = blocks("x.md", text);
    let lines: Vec<_> = found.iter().map(|block| (block.line, block.text.as_str())).collect();
    assert_eq!(lines, [(4, "true\nfalse\n"), (13, "echo ok\n")]);
    let at = std::env::temp_dir();
    let said = run(&found[0], &adapted(&found[0].text, 7000), &at).expect("it fails");
    assert!(said.starts_with("x.md:4: exit status: 1\n"), "{said}");
    assert_eq!(run(&found[1], &adapted(&found[1].text, 7000), &at), None);
    assert!(adapted("curl localhost:7002/x", 20_000).ends_with("localhost:20002/x"));
}
