//! The `starling-sim` command.

mod cli;

use clap::Parser;
use std::process::ExitCode;

/// Runs allocate a lot and share nothing between threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
