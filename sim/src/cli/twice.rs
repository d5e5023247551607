//! `twice`: the same seed gives the same run, in two processes and in two builds.

use super::{Shape, parse_range};
use clap::Args;
use starling_sim::say;
use starling_sim::sweep::{self, SAME_IN_BOTH};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

#[derive(Args)]
pub(super) struct Twice {
    /// Seeds, as A..B without B
    #[arg(long, value_parser = parse_range)]
    seeds: Range<u64>,
    #[command(flatten)]
    shape: Shape,
    /// Compare with another build of this program, by hash and length of the traces: quick
    #[arg(long)]
    with: Option<PathBuf>,
    /// Runs at a time; one for each core unless said
    #[arg(long, requires = "with")]
    jobs: Option<usize>,
    /// Remember in this file what was done, and go on from there
    #[arg(long, requires = "with")]
    state: Option<PathBuf>,
}

/// Runs each seed twice; whether both runs were the same.
pub(super) fn twice(args: &Twice) -> io::Result<bool> {
    match &args.with {
        Some(other) => in_two_builds(args, other),
        None => in_two_processes(args),
    }
}

fn in_two_builds(args: &Twice, other: &Path) -> io::Result<bool> {
    let plan = sweep::Plan {
        seeds: args.seeds.clone(),
        jobs: args.jobs.unwrap_or_else(super::cores),
        until_found: false,
        state: args.state.clone(),
        other: Some(other.into()),
    };
    let summary = sweep::sweep(&args.shape.params(0), &plan)?;
    for failure in &summary.failures {
        for found in &failure.violations {
            say!("seed {}: {}: {}", failure.seed, found.check, found.detail);
        }
    }
    let differ = summary.counts.get(&format!("broken {SAME_IN_BOTH}")).copied().unwrap_or(0);
    let count = |name: &str| summary.counts.get(name).copied().unwrap_or(0);
    let how = match differ {
        0 => "identical".to_string(),
        _ => format!("NOT identical in {differ}"),
    };
    say!(
        "{} seeds in two builds each: traces {how}, {} lines and {} bytes hashed; {} broke a \
         promise alike; {:.1} s",
        summary.runs,
        count("trace_lines"),
        count("trace_bytes"),
        summary.failed - differ,
        summary.wall_seconds
    );
    Ok(summary.failed == 0)
}

fn in_two_processes(args: &Twice) -> io::Result<bool> {
    let folder = tempfile::tempdir()?;
    let mut all_equal = true;
    let mut bytes = 0;
    for seed in args.seeds.clone() {
        let paths = [folder.path().join("one"), folder.path().join("two")];
        let mut children = Vec::new();
        for path in &paths {
            let mut command = Command::new(std::env::current_exe()?);
            let params = args.shape.params(seed);
            command.args(params.command().split(' ').skip(1)).arg("--trace").arg(path);
            command.stdout(Stdio::null()).stderr(Stdio::null());
            children.push(command.spawn()?);
        }
        for mut child in children {
            child.wait()?;
        }
        let [one, two] = [std::fs::read(&paths[0])?, std::fs::read(&paths[1])?];
        bytes += one.len();
        if one.is_empty() || one != two {
            all_equal = false;
            say!("seed {seed}: {}", first_difference(&one, &two));
        }
    }
    let runs = args.seeds.end - args.seeds.start;
    let how = if all_equal { "byte-identical" } else { "NOT identical" };
    say!("{runs} seeds in two processes each: traces {how}, {bytes} bytes compared");
    Ok(all_equal)
}

fn first_difference(one: &[u8], two: &[u8]) -> String {
    let lines = one.split(|b| *b == b'\n').zip(two.split(|b| *b == b'\n')).enumerate();
    let found = lines.into_iter().find(|(_, (a, b))| a != b);
    match found {
        Some((number, (a, b))) => {
            let text = |line: &[u8]| String::from_utf8_lossy(line).into_owned();
            format!("line {}\n  {}\n  {}", number + 1, text(a), text(b))
        }
        None => format!("{} and {} bytes", one.len(), two.len()),
    }
}
