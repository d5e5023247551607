//! Rust files and the paths their code names.
//!
//! Paths are read from tokens, so comments and strings do not count, and imports in groups,
//! paths inside expressions and inside macros do. Items under `#[cfg(test)]` are left out: a
//! test may look up where the code may not.

use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The workspace's folder.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace")
}

/// Every file under `folder` whose name ends in `.extension`, in a fixed order.
pub fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder is readable") {
            let path = entry.expect("the entry is readable").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Rust files of `src` without those that another declares with `#[cfg(test)] mod name;`.
pub fn code_files(src: &Path) -> Vec<PathBuf> {
    let mut found = files(src, "rs");
    let for_tests: Vec<PathBuf> = found.iter().flat_map(|file| test_modules(src, file)).collect();
    found.retain(|file| !for_tests.contains(&file.with_extension("")));
    found
}

/// The modules that only the tests of `file` have, as paths without `.rs`.
fn test_modules(src: &Path, file: &Path) -> Vec<PathBuf> {
    let source = fs::read_to_string(file).expect("the file is readable");
    let tokens: TokenStream = source.parse().expect("the file is Rust");
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let folder = src.join(module_of(src, file).iter().collect::<PathBuf>());
    let declared = tokens.windows(5).filter_map(|window| match window {
        [_, _, TokenTree::Ident(word), TokenTree::Ident(name), TokenTree::Punct(_)]
            if word == "mod" && is_cfg_test(window) =>
        {
            Some(folder.join(name.to_string()))
        }
        _ => None,
    });
    declared.collect()
}

/// `path` as it is written in messages.
pub fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// A path that code names, such as `std::fs::File` or, of this crate, `crate::store::Lsn`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Named {
    /// Where, counting from 1.
    pub line: usize,
    /// Its segments; `self` and `super` are resolved to `crate::…`, a glob ends in `*`.
    pub segments: Vec<String>,
}

impl Named {
    /// Whether it is `path` or lies below it.
    pub fn is_within(&self, path: &str) -> bool {
        let mut segments = self.segments.iter();
        path.split("::").all(|wanted| segments.next().is_some_and(|found| found == wanted))
    }

    /// As it would be written.
    pub fn text(&self) -> String {
        self.segments.join("::")
    }
}

/// The module a file of `src` holds: `["replica", "apply"]`, empty for the crate's root.
pub fn module_of(src: &Path, file: &Path) -> Vec<String> {
    let relative = file.strip_prefix(src).expect("the file lies in src").with_extension("");
    let names = relative.iter().map(|name| name.to_str().expect("file names are UTF-8").to_owned());
    names.filter(|name| !matches!(name.as_str(), "mod" | "lib" | "main")).collect()
}

/// Every path that `source`, the file of `module`, names outside its tests.
pub fn named_paths(source: &str, module: &[String]) -> Vec<Named> {
    let tokens: TokenStream = source.parse().expect("the file is Rust");
    let mut found = Vec::new();
    walk(tokens, module, &mut found);
    found
}

fn walk(tokens: TokenStream, module: &[String], found: &mut Vec<Named>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut at = 0;
    while at < tokens.len() {
        if is_cfg_test(&tokens[at..]) {
            at += item_length(&tokens[at..]);
        } else if let Some((name, body)) = inline_module(&tokens[at..]) {
            let inner: Vec<String> = module.iter().cloned().chain([name]).collect();
            walk(body, &inner, found);
            at += 3;
        } else if matches!(tokens[at], TokenTree::Ident(_)) && is_separator(&tokens[at + 1..]) {
            at += tree(&tokens[at..], &[], module, found);
        } else {
            if let TokenTree::Group(group) = &tokens[at] {
                walk(group.stream(), module, found);
            }
            at += 1;
        }
    }
}

/// Reads one path or use tree, records what it names and returns how many tokens it took.
fn tree(
    tokens: &[TokenTree],
    prefix: &[String],
    module: &[String],
    found: &mut Vec<Named>,
) -> usize {
    let mut segments = prefix.to_vec();
    let line = tokens[0].span().start().line;
    let mut at = 0;
    loop {
        match tokens.get(at) {
            Some(TokenTree::Ident(name)) => segments.push(name.to_string()),
            Some(TokenTree::Punct(star)) if star.as_char() == '*' => segments.push("*".to_owned()),
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                let parts = inner.split(|t| matches!(t, TokenTree::Punct(p) if p.as_char() == ','));
                for part in parts.filter(|part| !part.is_empty()) {
                    tree(part, &segments, module, found);
                }
                return at + 1;
            }
            _ => break,
        }
        at += 1;
        if !is_separator(&tokens[at..]) {
            break;
        }
        at += 2;
    }
    found.push(Named { line, segments: resolve(segments, module) });
    at.max(1)
}

/// Turns a leading `self` or `super` into `crate::…`, and drops a closing `self`.
fn resolve(mut segments: Vec<String>, module: &[String]) -> Vec<String> {
    if segments.len() > 1 && segments.last().is_some_and(|last| last == "self") {
        segments.pop();
    }
    let up = segments.iter().take_while(|name| *name == "super").count();
    if up == 0 && segments[0] != "self" {
        return segments;
    }
    let kept = module.len().saturating_sub(up);
    let rest = segments.into_iter().skip(up.max(1));
    ["crate".to_owned()].into_iter().chain(module[..kept].iter().cloned()).chain(rest).collect()
}

fn is_separator(tokens: &[TokenTree]) -> bool {
    let colon =
        |t: Option<&TokenTree>| matches!(t, Some(TokenTree::Punct(p)) if p.as_char() == ':');
    colon(tokens.first()) && colon(tokens.get(1))
}

fn is_cfg_test(tokens: &[TokenTree]) -> bool {
    match tokens {
        [TokenTree::Punct(hash), TokenTree::Group(attribute), ..] => {
            hash.as_char() == '#' && attribute.stream().to_string().replace(' ', "") == "cfg(test)"
        }
        _ => false,
    }
}

/// Tokens up to the end of the item: its `;` or its body in braces.
fn item_length(tokens: &[TokenTree]) -> usize {
    let ends = |token: &TokenTree| match token {
        TokenTree::Punct(punct) => punct.as_char() == ';',
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        _ => false,
    };
    tokens.iter().position(ends).map_or(tokens.len(), |last| last + 1)
}

fn inline_module(tokens: &[TokenTree]) -> Option<(String, TokenStream)> {
    match tokens {
        [TokenTree::Ident(word), TokenTree::Ident(name), TokenTree::Group(body), ..]
            if word == "mod" && body.delimiter() == Delimiter::Brace =>
        {
            Some((name.to_string(), body.stream()))
        }
        _ => None,
    }
}

#[test]
fn paths_are_found_in_groups_expressions_macros_and_above() {
    let source = r#"
        //! crate::comment::does_not_count
        use std::{fs::{self, File}, io};
        use super::layout::Table;
        fn f() { let x = crate::replica::hints::owed(); format!("{}", crate::core::NAME); }
        mod inner { use super::super::store; }
        #[cfg(test)]
        mod tests { use crate::server::start; }
        use crate::wire::*;
    "#;
    let module = ["placement".to_owned(), "table".to_owned()];
    let found: Vec<String> = named_paths(source, &module).iter().map(Named::text).collect();
    assert_eq!(
        found,
        [
            "std::fs",
            "std::fs::File",
            "std::io",
            "crate::placement::layout::Table",
            "crate::replica::hints::owed",
            "crate::core::NAME",
            "crate::placement::store",
            "crate::wire::*",
        ]
    );
}
