//! "The same seed gives the same run", also in another build of the simulator: a build that gives
//! another run is noticed, and the seed named.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

const THIS: &str = env!("CARGO_BIN_EXE_starling-sim");

/// A program that is this one but for what the shell does to the seeds on their way in.
fn other(folder: &Path, seeds: &str) -> PathBuf {
    let path = folder.join("other");
    let text = format!("#!/usr/bin/env bash\nexec {THIS} \"$@\" < <({seeds})\n");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn compare(with: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(THIS);
    command.args(["twice", "--seeds", "0..4", "--nodes", "3", "--seconds", "2", "--with"]);
    command.arg(with).args(more).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_same_program_twice_gives_the_same_runs() {
    let folder = TempDir::new().unwrap();
    let output = compare(&other(folder.path(), "cat"), &[]);
    assert!(output.status.success(), "{output:?}");
    assert!(said(&output).starts_with("4 seeds in two builds each: traces identical, "));
}

#[test]
fn a_program_that_gives_another_run_is_noticed_and_the_seed_named() {
    let folder = TempDir::new().unwrap();
    let path = other(folder.path(), "sed -u 's/^2$/3/'");
    let output = compare(&path, &[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told = said(&output);
    assert_eq!(told.matches("same_in_both_builds").count(), 1, "{told}");
    assert!(told.starts_with("seed 2: same_in_both_builds: trace "), "{told}");
    let shown = format!("{} replay 2 --nodes 3 --seconds 2", path.display());
    assert!(told.contains(&shown) && told.contains(&format!("{THIS} replay 2")), "{told}");
    assert!(told.contains("4 seeds in two builds each: traces NOT identical in 1"), "{told}");
}

#[test]
fn a_program_that_dies_is_noticed() {
    let folder = TempDir::new().unwrap();
    let output = compare(&other(folder.path(), "sed -u 's/^1$/x/'"), &[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(said(&output).contains("seed 1: same_in_both_builds"), "{}", said(&output));
}

#[test]
fn a_comparison_goes_on_where_it_was_stopped_but_not_with_another_program() {
    let folder = TempDir::new().unwrap();
    let state = folder.path().join("state.json");
    let more = ["--state", state.to_str().unwrap()];
    let path = other(folder.path(), "sed -u 's/^2$/3/'");
    assert_eq!(compare(&path, &more).status.code(), Some(1));
    let again = compare(&path, &more);
    assert_eq!(again.status.code(), Some(1), "what was found is remembered: {again:?}");
    assert!(said(&again).contains("seed 2: same_in_both_builds"));
    let fresh = compare(&other(folder.path(), "cat"), &more);
    assert!(String::from_utf8_lossy(&fresh.stderr).contains("the state is of a sweep with"));
}
