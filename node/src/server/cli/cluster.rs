//! `starling cluster`.

use std::process::ExitCode;

/// Looks at a cluster and changes it.
#[derive(clap::Args, Debug)]
pub struct ClusterArgs {}

/// Runs the command.
pub fn run(args: ClusterArgs) -> ExitCode {
    let _ = args;
    ExitCode::FAILURE
}
