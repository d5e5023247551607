//! A plan as tables that a document can take as they are, and as a chart.

use super::{Report, Row};
use crate::pbs::plot::{Chart, Line};
use std::fmt::Write;
use std::io;
use std::path::Path;

/// The plan as text.
pub fn report(report: &Report) -> String {
    let mut text = String::new();
    text += "| nodes | gossip | rounds until all know a change | bytes until then, all nodes | \
             bytes/s a node, nothing new |\n|---|---|---|---|---|\n";
    for row in &report.rows {
        let how = if row.gossip_measured { "run" } else { "extrapolated" };
        let (rounds, spread) = (row.gossip_rounds, bytes(row.gossip_spread_bytes));
        let steady = bytes(row.gossip_node_bytes_s);
        let _ = writeln!(text, "| {} | {how} | {rounds:.1} | {spread} | {steady} |", row.nodes);
    }
    let ((b0, b1), (r0, r1)) = (report.bytes_fit, report.rounds_fit);
    let _ = writeln!(text, "\nfit: {b0:.0} + {b1:.1} x nodes bytes/s a node");
    let _ = writeln!(text, "fit: {r0:.2} + {r1:.2} x log2(nodes) rounds");
    text += "\n| nodes | fullest owns, of its fair share | emptiest | owners in distinct zones | \
             one joins, copies moved | at least | one of one more leaves | at least |\n\
             |---|---|---|---|---|---|---|---|\n";
    for row in &report.rows {
        let Row { nodes, owned_most, owned_least, .. } = row;
        let shares =
            [row.zones_distinct, row.join_moves, row.join_least, row.leave_moves, row.leave_least];
        let _ = write!(text, "| {nodes} | {owned_most:.3} | {owned_least:.3} |");
        for share in shares {
            let _ = write!(text, " {:.2} % |", share * 100.0);
        }
        text += "\n";
    }
    let _ = writeln!(
        text,
        "\n| nodes | writes missed in {} s | marks kept for it | bytes of marks | exchange of \
         roots, bytes/s a node, differing with each peer every {} s |\n|---|---|---|---|---|",
        report.outage_s, report.exchange_s
    );
    for row in &report.rows {
        let (debt, exchange) = (bytes(row.outage_bytes), bytes(row.exchange_node_bytes_s));
        let (nodes, writes, marks) = (row.nodes, row.outage_writes, row.outage_marks);
        let _ = writeln!(text, "| {nodes} | {writes:.0} | {marks:.0} | {debt} | {exchange} |");
    }
    text += "\n| outage on real cores, nodes | marks left | by the formula | bytes a mark |\n\
             |---|---|---|---|\n";
    for outage in &report.outages {
        let _ = writeln!(
            text,
            "| {} | {} | {:.1} ± {:.1} | {:.0} |",
            outage.nodes, outage.marks, outage.expected, outage.deviation, outage.mark_bytes
        );
    }
    text
}

fn bytes(count: f64) -> String {
    match count {
        count if count >= 1e9 => format!("{:.2} GB", count / 1e9),
        count if count >= 1e6 => format!("{:.2} MB", count / 1e6),
        count if count >= 1e3 => format!("{:.2} kB", count / 1e3),
        count => format!("{count:.0} B"),
    }
}

/// Draws bytes a second over nodes.
///
/// # Errors
/// The file could not be written.
pub fn plot(report: &Report, path: &Path) -> io::Result<()> {
    let line = |name: &str, of: fn(&Row) -> f64| Line {
        name: name.to_string(),
        points: report.rows.iter().map(|row| (row.nodes as f64, of(row))).collect(),
        dotted: false,
    };
    Chart {
        title: "What a node sends when nothing happens".into(),
        x: "nodes".into(),
        y: "bytes a second".into(),
        lines: vec![
            line("gossip", |row| row.gossip_node_bytes_s),
            line("exchange of roots", |row| row.exchange_node_bytes_s),
        ],
        log: true,
    }
    .draw(path)
}
