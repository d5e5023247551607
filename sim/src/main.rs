//! The `starling-sim` command.

mod cli;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let command = cli::Cli::parse();
    starling_sim::random::self_test();
    match cli::run(command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("starling-sim: {error}");
            ExitCode::FAILURE
        }
    }
}
