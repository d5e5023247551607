//! Other programs: run to their end, with an error that says what they said.

use anyhow::{Context, ensure};
use std::io::Write;
use std::process::{Command, Output, Stdio};

/// Runs a program; what it printed.
///
/// # Errors
/// It cannot be run, or fails: with the command and what it said.
pub fn run(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    feed(program, arguments, "")
}

/// The same with something to read.
///
/// # Errors
/// As for [`run`].
pub fn feed(program: &str, arguments: &[&str], input: &str) -> anyhow::Result<String> {
    let shown = || format!("{program} {}", arguments.join(" "));
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(shown)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).with_context(shown)?;
    }
    let output = child.wait_with_output().with_context(shown)?;
    checked(&output).with_context(|| format!("{} <<< {input:?}", shown()))
}

/// What a program that has ended printed.
///
/// # Errors
/// It failed.
pub fn checked(output: &Output) -> anyhow::Result<String> {
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {}", output.status, said.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
