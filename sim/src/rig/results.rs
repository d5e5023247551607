//! Results of many runs: one JSON line each in a file that is only added to, and the table.

use crate::catalogue;
use crate::figures::Figures;
use crate::one::Report;
use anyhow::Context;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::xxh3_64;

/// A look at a cluster and the pause before the next: what lies between is not seen, s.
const LOOK_S: f64 = 0.2;
/// A prediction so near is a good one, as a part of it.
const NEAR: f64 = 0.2;

/// A line of the file.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Line {
    /// Hash of the program that ran: what another build did says nothing of this one.
    pub program: String,
    /// What came out.
    #[serde(flatten)]
    pub report: Report,
}

/// The hash of a program.
///
/// # Errors
/// It cannot be read.
pub fn hash(program: &Path) -> anyhow::Result<String> {
    let bytes = std::fs::read(program).with_context(|| program.display().to_string())?;
    Ok(format!("{:016x}", xxh3_64(&bytes)))
}

/// The file with the results of one program.
pub struct Results {
    file: PathBuf,
    program: String,
    /// Those of the program.
    pub reports: Vec<Report>,
}

impl Results {
    /// Reads what is there.
    ///
    /// # Errors
    /// The file is there and cannot be read; a last line that was cut off is no error.
    pub fn open(file: &Path, program: String) -> anyhow::Result<Results> {
        let text = match std::fs::read_to_string(file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            text => text.with_context(|| file.display().to_string())?,
        };
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
        let own = lines.filter(|line| line.program == program);
        let reports = own.map(|line| line.report).collect();
        Ok(Results { file: file.to_owned(), program, reports })
    }

    /// Whether that run is there.
    pub fn has(&self, name: &str, seed: u64, seconds: u64) -> bool {
        let same = |report: &&Report| (report.seed, report.seconds) == (seed, seconds);
        self.reports.iter().filter(same).any(|report| report.name == name)
    }

    /// Adds a run.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn add(&mut self, report: Report) -> anyhow::Result<()> {
        let line = Line { program: self.program.clone(), report };
        let mut file = OpenOptions::new().create(true).append(true).open(&self.file)?;
        file.write_all(format!("{}\n", serde_json::to_string(&line)?).as_bytes())?;
        self.reports.push(line.report);
        Ok(())
    }

    /// A row for each fault, as Markdown, of runs of that length.
    pub fn table(&self, seconds: u64) -> String {
        let of_length = |report: &&Report| report.seconds == seconds;
        let reports: Vec<&Report> = self.reports.iter().filter(of_length).collect();
        let is_predicted = reports.iter().any(|report| !report.predictions.is_empty());
        let mut text = String::from(
            "| fault | runs | operations | lost | counters exact | available | \
             recovered, median (most) |",
        );
        if is_predicted {
            text += " available, predicted | ratio | recovered, predicted | ratio |";
        }
        text += "\n|---|---|---|---|---|---|---|";
        text += if is_predicted { "---|---|---|---|\n" } else { "\n" };
        let listed = catalogue::names().map(str::to_owned);
        let others = reports.iter().map(|report| report.name.clone());
        let mut names: Vec<String> = Vec::new();
        for name in listed.chain(others) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        for name in names {
            let runs: Vec<&Report> =
                reports.iter().filter(|report| report.name == name).copied().collect();
            if !runs.is_empty() {
                row(&mut text, &name, &runs, is_predicted);
            }
        }
        text
    }
}

fn row(text: &mut String, name: &str, runs: &[&Report], is_predicted: bool) {
    let operations: u64 = runs.iter().map(|run| run.figures.operations).sum();
    let lost: u64 = runs.iter().map(|run| run.findings.lost + run.findings.invented).sum();
    let exact = runs.iter().all(|run| run.figures.counters_exact);
    let (is_ours, is_theirs): (Vec<_>, Vec<_>) =
        (runs.iter().map(|run| &run.figures).collect(), predicted(runs));
    let _ = write!(
        text,
        "| {name} | {} | {operations} | {lost} | {} | {} | {} |",
        runs.len(),
        if exact { "yes" } else { "NO" },
        available(&is_ours),
        recovered(&is_ours),
    );
    if is_predicted {
        let _ = write!(
            text,
            " {} | {} | {} | {} |",
            available(&is_theirs),
            ratio(share(&is_ours), share(&is_theirs)),
            recovered(&is_theirs),
            ratio_of_times(median(&is_ours), median(&is_theirs)),
        );
    }
    *text += "\n";
}

fn predicted<'a>(runs: &[&'a Report]) -> Vec<&'a Figures> {
    runs.iter().flat_map(|run| &run.predictions).collect()
}

/// The mean, in percent.
fn available(figures: &[&Figures]) -> String {
    share(figures).map_or("-".into(), |share| format!("{:.2} %", share * 100.0))
}

fn share(figures: &[&Figures]) -> Option<f64> {
    let shares: Vec<f64> = figures.iter().filter_map(|figures| figures.availability).collect();
    (!shares.is_empty()).then(|| shares.iter().sum::<f64>() / shares.len() as f64)
}

/// Times of recoveries that came, from the shortest.
fn times(figures: &[&Figures]) -> Vec<f64> {
    let mut took: Vec<f64> = figures.iter().filter_map(|figures| figures.recovery_s).collect();
    took.sort_by(f64::total_cmp);
    took
}

/// The median: of an even number the mean of the two in the middle.
fn median(figures: &[&Figures]) -> Option<f64> {
    let took = times(figures);
    let (low, high) = (took.get(took.len().checked_sub(1)? / 2)?, took.get(took.len() / 2)?);
    Some((low + high) / 2.0)
}

/// What was measured for one of what was predicted.
fn ratio(ours: Option<f64>, theirs: Option<f64>) -> String {
    match (ours, theirs) {
        (Some(ours), Some(theirs)) if theirs > 0.0 => format!("{:.2}", ours / theirs),
        _ => "-".into(),
    }
}

/// The same of recoveries, with how far they are apart where that is less than the rig can tell.
fn ratio_of_times(ours: Option<f64>, theirs: Option<f64>) -> String {
    let ratio = ratio(ours, theirs);
    let apart_s = ours.zip(theirs).map(|(ours, theirs)| (ours - theirs).abs());
    let is_near = ours.zip(theirs).is_some_and(|(ours, theirs)| {
        (theirs * (1.0 - NEAR)..=theirs * (1.0 + NEAR)).contains(&ours)
    });
    match apart_s {
        Some(apart_s) if !is_near && apart_s <= LOOK_S => format!("{ratio}, {apart_s:.2} s apart"),
        _ => ratio,
    }
}

fn seconds(took_s: f64) -> String {
    if took_s < 1.0 { format!("{took_s:.2} s") } else { format!("{took_s:.1} s") }
}

/// Median and most, seconds.
fn recovered(figures: &[&Figures]) -> String {
    let took = times(figures);
    let never = figures.len() - took.len();
    match (median(figures), took.last(), never) {
        (Some(median), Some(most), 0) => format!("{} ({})", seconds(median), seconds(*most)),
        (Some(median), _, never) => format!("{} ({never} times never)", seconds(median)),
        _ => "never".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::Findings;

    fn report(name: &str, seed: u64, recovery_s: Option<f64>) -> Report {
        let figures = Figures {
            operations: 100,
            availability: Some(0.5),
            recovery_s,
            counters_exact: true,
            ..Figures::default()
        };
        let (name, findings, wrong) = (name.into(), Findings::default(), Vec::new());
        Report { name, seed, seconds: 60, figures, findings, wrong, predictions: Vec::new() }
    }

    #[test]
    fn results_are_kept_and_those_of_another_program_do_not_count() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("results.jsonl");
        let mut results = Results::open(&file, "one".into()).expect("none yet");
        for (seed, took) in [(0, Some(1.0)), (1, Some(3.0)), (2, Some(2.0))] {
            results.add(report("halves", seed, took)).expect("written");
        }
        results.add(report("wipe", 0, None)).expect("written");
        let same = Results::open(&file, "one".into()).expect("read");
        assert!(same.has("halves", 2, 60) && !same.has("halves", 3, 60));
        assert!(!same.has("halves", 2, 12));
        let table = same.table(60);
        assert!(
            table.contains("| halves | 3 | 300 | 0 | yes | 50.00 % | 2.0 s (3.0 s) |"),
            "{table}"
        );
        assert!(table.contains("| wipe | 1 | 100 | 0 | yes | 50.00 % | never |"), "{table}");
        let mut predicted = report("bridge", 0, Some(1.2));
        let draw = |took| Figures {
            availability: Some(0.4),
            recovery_s: Some(took),
            ..Figures::default()
        };
        predicted.predictions = [0.7, 1.0, 1.9].map(draw).to_vec();
        results.add(predicted).expect("written");
        let table = results.table(60);
        let row = "| 50.00 % | 1.2 s (1.2 s) | 40.00 % | 1.25 | 1.0 s (1.9 s) | 1.20 |";
        assert!(table.contains(row), "{table}");
        assert_eq!(ratio_of_times(Some(0.05), Some(0.2)), "0.25, 0.15 s apart");
        assert_eq!(ratio_of_times(Some(0.05), Some(0.0)), "-, 0.05 s apart");
        assert_eq!(ratio_of_times(Some(1.0), Some(0.5)), "2.00");
        let other = Results::open(&file, "two".into()).expect("read");
        assert!(other.reports.is_empty());
    }
}
