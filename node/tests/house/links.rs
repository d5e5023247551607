//! Links in the documents lead to files and headings that are there, and the README opens with
//! the command a newcomer needs. Links to other sites are not followed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use super::source::{files, root, shown};

fn documents() -> Vec<PathBuf> {
    let mut found = files(&root().join("docs"), "md");
    for entry in fs::read_dir(root()).expect("the folder is readable") {
        let path = entry.expect("the entry is readable").path();
        if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn parse(text: &str) -> Parser<'_> {
    Parser::new_ext(text, Options::ENABLE_TABLES | Options::ENABLE_FOOTNOTES)
}

/// Where the links and images of a document lead.
fn links(text: &str) -> Vec<String> {
    let target = |event| match event {
        Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
            Some(dest_url.into_string())
        }
        _ => None,
    };
    parse(text).filter_map(target).collect()
}

/// The anchors of a document's headings, as code hosts make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut heading: Option<String> = None;
    for event in parse(text) {
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::Text(part) | Event::Code(part) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&part);
                }
            }
            Event::End(TagEnd::Heading(_)) => {
                let slug = slug(&heading.take().expect("a heading was opened"));
                let numbered = (1..).map(|n| format!("{slug}-{n}"));
                let mut names = [slug.clone()].into_iter().chain(numbered);
                found.insert(names.find(|name| !found.contains(name)).expect("names never end"));
            }
            _ => {}
        }
    }
    found
}

fn slug(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect::<String>().to_lowercase()
}

/// Why `link`, written in the document at `from`, leads nowhere.
fn broken(from: &Path, link: &str) -> Option<String> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (file, anchor) = link.split_once('#').map_or((link, None), |(f, a)| (f, Some(a)));
    let target = match file {
        "" => from.to_path_buf(),
        file => from.parent().expect("a file has a folder").join(file),
    };
    if !target.exists() {
        return Some(format!("{}: {link} is not there", shown(from)));
    }
    let anchor = anchor?;
    let text = fs::read_to_string(&target).unwrap_or_default();
    let missing = !anchors(&text).contains(anchor);
    missing.then(|| format!("{}: {link} has no such heading", shown(from)))
}

#[test]
fn every_link_in_the_documents_leads_somewhere() {
    let mut found = Vec::new();
    for document in documents() {
        let text = fs::read_to_string(&document).expect("documents are UTF-8");
        found.extend(links(&text).iter().filter_map(|link| broken(&document, link)));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_readme_gives_the_first_command_in_its_first_20_lines() {
    let text = fs::read_to_string(root().join("README.md")).expect("there is a README");
    assert!(text.lines().take(20).any(|line| line.trim() == "make run"));
}

#[test]
fn a_broken_link_is_seen() {
    let readme = root().join("README.md");
    assert_eq!(links("[a](b.md) ![c](d.svg) `[e](f)` <https://g.example>").len(), 3);
    assert!(broken(&readme, "docs/nowhere.md").is_some());
    assert!(broken(&readme, "README.md#no-such-heading").is_some());
    assert!(broken(&readme, "Makefile").is_none());
    let expected = ["one-two_3", "again", "again-1"].map(str::to_owned);
    assert_eq!(anchors("# One `two_3`!\n## Again\n## Again\n"), BTreeSet::from(expected));
}
