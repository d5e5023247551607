//! `starling kv`, `starling set` and so on: reads and writes of one object from a terminal.
//!
//! A command is one request. What it prints is for people; `--json` prints the node's answer.

mod args;
mod show;

use super::fail;
use super::get::Node;
use clap::{Args, Subcommand};
use std::process::ExitCode;

pub use args::{BoundedCommand, CounterCommand, FlagCommand, HllCommand, KvCommand};
pub use args::{MapCommand, SetCommand, ZsetCommand};

/// Which object, at which node.
#[derive(Args, Clone, Debug)]
pub struct At {
    /// The bucket
    bucket: String,
    /// The key
    key: String,
    #[command(flatten)]
    to: To,
}

/// Which node, and how to print its answer.
#[derive(Args, Clone, Debug)]
pub struct To {
    #[command(flatten)]
    node: Node,
    /// Print the node's answer as JSON
    #[arg(long)]
    json: bool,
}

/// `starling explain`.
#[derive(Args, Debug)]
pub struct ExplainArgs {
    /// The type: kv, counter, boundedcounter, set, rwset, flag, dwflag, map, hll or zset
    #[arg(value_name = "TYPE")]
    kind: String,
    #[command(flatten)]
    at: At,
}

/// A command on an object.
#[derive(Subcommand, Debug)]
pub enum DataCommand {
    /// Registers: bytes under a key
    #[command(subcommand)]
    Kv(KvCommand),
    /// Counters that add up
    #[command(subcommand)]
    Counter(CounterCommand),
    /// Counters that are never below 0
    #[command(subcommand)]
    Boundedcounter(BoundedCommand),
    /// Sets in which an add wins over a removal at the same time
    #[command(subcommand)]
    Set(SetCommand),
    /// Sets in which a removal wins
    #[command(subcommand)]
    Rwset(SetCommand),
    /// Flags that are on when switched on and off at the same time
    #[command(subcommand)]
    Flag(FlagCommand),
    /// Flags that are off when switched on and off at the same time
    #[command(subcommand)]
    Dwflag(FlagCommand),
    /// Maps of typed fields
    #[command(subcommand)]
    Map(MapCommand),
    /// Sketches of how many distinct elements there are
    #[command(subcommand)]
    Hll(HllCommand),
    /// Sorted sets
    #[command(subcommand)]
    Zset(ZsetCommand),
    /// Every replica's view of an object, and why its value is what it is
    Explain(ExplainArgs),
}

/// Runs a command.
pub fn run(command: DataCommand) -> ExitCode {
    let what = match &command {
        DataCommand::Kv(KvCommand::Get { .. }) => show::What::Value,
        _ => show::What::Json,
    };
    let asked = match command {
        DataCommand::Kv(command) => args::kv(command),
        DataCommand::Counter(command) => args::counter(command),
        DataCommand::Boundedcounter(command) => args::bounded(command),
        DataCommand::Set(command) => args::set("sets", command),
        DataCommand::Rwset(command) => args::set("rwsets", command),
        DataCommand::Flag(command) => args::flag("flags", command),
        DataCommand::Dwflag(command) => args::flag("dwflags", command),
        DataCommand::Map(command) => args::map(command),
        DataCommand::Hll(command) => args::hll(command),
        DataCommand::Zset(command) => args::zset(command),
        DataCommand::Explain(ExplainArgs { kind, at }) => args::explain(&kind, at),
    };
    let (ask, to) = match asked {
        Ok(asked) => asked,
        Err(text) => return fail(super::USAGE, &text),
    };
    let reply = match to.node.ask(&ask) {
        Ok(reply) => reply,
        Err(status) => return status,
    };
    match show::print(&reply, what, to.json) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, &format!("cannot print the answer: {error}")),
    }
}
