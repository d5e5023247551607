//! A report as tables that a document can take as they are, and as a chart.

use super::Report;
use super::plot::{Chart, Line};
use super::side::{Quantile, Side};
use std::fmt::Write;
use std::io;
use std::path::Path;

/// The report as text.
pub fn report(report: &Report) -> String {
    let mut text = String::new();
    let Report { n, r, w, nodes, zones, .. } = report;
    let _ = writeln!(text, "N={n} R={r} W={w}, {nodes} nodes in {zones} zones");
    for (name, latency) in &report.latencies {
        let _ = writeln!(text, "  {name}: {latency}");
    }
    text += "\n| read begun after the acknowledgement | ";
    text += &heads(report, "P(consistent) ");
    for (at, predicted) in report.predicted.consistent.iter().enumerate() {
        let measured = report.measured.as_ref().map(|side| side.consistent[at].p);
        let _ = write!(text, "| {} ms | {:.5} |", predicted.t_ms, predicted.p);
        let _ = measured.map(|p| write!(text, " {p:.5} |"));
        text += "\n";
    }
    text += "\n| share of reads that return the write | ";
    text += &heads(report, "t-visibility, ms, ");
    text += &rows(report, |side| &side.visibility);
    for (what, of) in [
        ("write", (|side| &side.write) as fn(&Side) -> &Vec<Quantile>),
        ("read, begun at the acknowledgement", |side| &side.read),
    ] {
        let _ = write!(text, "\n| latency of a {what} | ");
        text += &heads(report, "ms, ");
        text += &rows(report, of);
    }
    let trials = report.predicted.trials;
    let _ = write!(text, "\n{trials} trials of the model");
    if let Some(side) = &report.measured {
        let _ = write!(text, ", {} of real cores", side.trials);
    }
    let _ = writeln!(text, "; in parentheses the 95 % interval of the sample");
    for warning in &report.warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    if let Some(agree) = report.agree {
        let how = if agree { "within" } else { "NOT within" };
        let _ = writeln!(text, "t-visibility at 99.9 %: {how} 10 % or 1 ms of each other");
    }
    text
}

fn heads(report: &Report, what: &str) -> String {
    match &report.measured {
        Some(_) => format!("{what}predicted | measured |\n|---|---|---|\n"),
        None => format!("{what}predicted |\n|---|---|\n"),
    }
}

fn rows(report: &Report, of: fn(&Side) -> &Vec<Quantile>) -> String {
    let mut text = String::new();
    let cell = |quantile: &Quantile| {
        format!(" {:.2} ({:.2}–{:.2}) |", quantile.ms, quantile.low_ms, quantile.high_ms)
    };
    for predicted in of(&report.predicted) {
        let _ = write!(text, "| {} % |{}", percent(predicted.q), cell(predicted));
        if let Some(side) = &report.measured {
            let measured = of(side).iter().find(|measured| measured.q == predicted.q);
            text += &measured.map_or(" too few trials |".to_string(), cell);
        }
        text += "\n";
    }
    text
}

fn percent(q: f64) -> String {
    // 0.9999 times 100 is not 99.99 in binary.
    format!("{}", (q * 1e6).round() / 1e4)
}

/// Draws the share of consistent reads over time.
///
/// # Errors
/// The file could not be written.
pub fn plot(report: &Report, path: &Path) -> io::Result<()> {
    let line = |side: &Side, name: &str, dotted: bool| Line {
        name: name.to_string(),
        points: side.consistent.iter().map(|at| (at.t_ms, at.p)).collect(),
        dotted,
    };
    let mut lines = vec![line(&report.predicted, "predicted", false)];
    lines.extend(report.measured.as_ref().map(|side| line(side, "measured", true)));
    Chart {
        title: format!("N={} R={} W={}", report.n, report.r, report.w),
        x: "read begun after the acknowledgement, ms".into(),
        y: "share of reads that return the write".into(),
        lines,
        log: false,
    }
    .draw(path)
}
