//! The `starling` command. Exit status: 0 done, 1 an error, 2 wrong usage.

mod cluster;
mod data;
mod dev;
mod get;
mod start;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use std::io::{ErrorKind, Write};
use std::process::ExitCode;

/// Exit status for wrong usage, as clap has it.
const USAGE: u8 = 2;

/// An always-writable data store whose types merge.
#[derive(Parser, Debug)]
#[command(name = "starling", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run one node
    Start(Box<super::settings::StartArgs>),
    /// Run a cluster on this machine to develop against
    Dev(dev::DevArgs),
    /// Look at a cluster and form its layout
    Cluster(cluster::ClusterArgs),
    #[command(flatten)]
    Data(data::DataCommand),
    /// Print a script that completes these commands in a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
}

/// The status that a shell gives a program which wrote to a pipe that nobody reads.
const NOBODY_READS: u8 = 141;

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    match Cli::parse().command {
        Command::Start(args) => start::run(*args),
        Command::Dev(args) => dev::run(args),
        Command::Cluster(args) => cluster::run(args),
        Command::Data(command) => data::run(command),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "starling", &mut script);
            print(&script)
        }
    }
}

/// Prints to standard output; when nobody reads on it ends as the signal of that would end it.
fn print(text: &[u8]) -> ExitCode {
    match std::io::stdout().write_all(text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::from(NOBODY_READS),
        Err(error) => fail(1, &format!("cannot print it: {error}")),
    }
}

/// Says what went wrong, on standard error.
fn fail(status: u8, text: &str) -> ExitCode {
    eprintln!("starling: {text}");
    ExitCode::from(status)
}
