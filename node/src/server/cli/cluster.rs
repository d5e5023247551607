//! `starling cluster`: looks at a cluster and forms its first layout, over HTTP to any node.

use super::get::{Ask, Node};
use super::{USAGE, fail, print};
use clap::{Args, Subcommand};
use serde::Deserialize;
use std::process::ExitCode;

/// Looks at a cluster and changes it.
#[derive(Args, Debug)]
pub struct ClusterArgs {
    #[command(subcommand)]
    command: ClusterCommand,
}

#[derive(Subcommand, Debug)]
enum ClusterCommand {
    /// Members, liveness and layout as one node sees them
    Status {
        #[command(flatten)]
        node: Node,
        /// Print the node's JSON answer instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Form the first layout from the members that are alive
    Apply {
        #[command(flatten)]
        node: Node,
        /// Refuse unless so many members are alive
        #[arg(long, value_name = "N", default_value_t = 1)]
        expect_members: u16,
    },
    /// Show what a change would move (not available yet)
    Plan(Rest),
    /// Add a node to a layout (not available yet)
    Join(Rest),
    /// Take a node out of the layout (not available yet)
    Leave(Rest),
    /// Put one node in another's place (not available yet)
    Replace(Rest),
    /// Change how much nodes hold (not available yet)
    Weights(Rest),
    /// Mark a moment that all nodes share (not available yet)
    SyncPoint(Rest),
}

#[derive(Args, Debug)]
struct Rest {
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// Runs the command.
pub fn run(args: ClusterArgs) -> ExitCode {
    let later = |name: &str| fail(1, &format!("cluster {name} is not available in this version"));
    match args.command {
        ClusterCommand::Status { node, json } => ask(&node, "GET", "/v1/cluster", "", json),
        ClusterCommand::Apply { expect_members: 0, .. } => {
            fail(USAGE, "--expect-members: at least 1")
        }
        ClusterCommand::Apply { node, expect_members } => {
            let body = format!(r#"{{"expect_members":{expect_members}}}"#);
            ask(&node, "POST", "/v1/cluster/apply", &body, false)
        }
        ClusterCommand::Plan(_) => later("plan"),
        ClusterCommand::Join(_) => later("join"),
        ClusterCommand::Leave(_) => later("leave"),
        ClusterCommand::Replace(_) => later("replace"),
        ClusterCommand::Weights(_) => later("weights"),
        ClusterCommand::SyncPoint(_) => later("sync-point"),
    }
}

fn ask(node: &Node, method: &'static str, path: &str, body: &str, json: bool) -> ExitCode {
    let reply = match node.ask(&Ask::json(method, path, body.to_owned())) {
        Ok(reply) => reply,
        Err(status) => return status,
    };
    if json {
        return print(&[&reply.body[..], b"\n"].concat());
    }
    match serde_json::from_slice::<Cluster>(&reply.body) {
        Ok(cluster) => print(table(&cluster).as_bytes()),
        Err(error) => fail(1, &format!("{} answered something else: {error}", node.url)),
    }
}

#[derive(Deserialize)]
struct Cluster {
    node: String,
    ready: bool,
    layout: Option<Layout>,
    members: Vec<Member>,
}

#[derive(Deserialize)]
struct Layout {
    id: String,
    version: u64,
}

#[derive(Deserialize)]
struct Member {
    name: String,
    zone: String,
    alive: bool,
    partitions: u32,
    hints_owed: u64,
    http_addr: String,
    layout: String,
}

fn table(cluster: &Cluster) -> String {
    let head = ["NAME", "ZONE", "ALIVE", "PARTITIONS", "HINTS OWED", "HTTP", "LAYOUT"];
    let mut rows = vec![head.map(str::to_owned)];
    for member in &cluster.members {
        let alive = if member.alive { "yes" } else { "no" };
        let layout = match member.layout.trim_matches('0') {
            "" => "none",
            _ => &member.layout,
        };
        rows.push([
            member.name.clone(),
            member.zone.clone(),
            alive.into(),
            member.partitions.to_string(),
            member.hints_owed.to_string(),
            member.http_addr.clone(),
            layout.into(),
        ]);
    }
    let widths: [usize; 7] = std::array::from_fn(|column| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()
    });
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    let ready = if cluster.ready { "ready" } else { "not ready" };
    let layout = match &cluster.layout {
        Some(layout) => format!("layout {} version {}", layout.id, layout.version),
        None => "no layout yet: form the first with starling cluster apply".into(),
    };
    text + &format!("\nseen by {} ({ready}); {layout}\n", cluster.node)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_lines_up_and_says_what_to_do_without_a_layout() {
        let cluster = r#"{"node":"n1","ready":false,"layout":null,"members":[
            {"name":"n1","zone":"a","alive":true,"partitions":0,"hints_owed":0,
             "http_addr":"127.0.0.1:7000","layout":"0000000000000000"},
            {"name":"node-2","zone":"b","alive":false,"partitions":0,"hints_owed":12345,
             "http_addr":"127.0.0.1:7001","layout":"00000000000000a0"}]}"#;
        let expected = "\
NAME    ZONE  ALIVE  PARTITIONS  HINTS OWED  HTTP            LAYOUT
n1      a     yes    0           0           127.0.0.1:7000  none
node-2  b     no     0           12345       127.0.0.1:7001  00000000000000a0

seen by n1 (not ready); no layout yet: form the first with starling cluster apply
";
        assert_eq!(table(&serde_json::from_str(cluster).unwrap()), expected);
    }
}
