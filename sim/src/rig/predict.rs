//! What the simulator says of the same scenario file.

use crate::figures::Figures;
use crate::shell::checked;
use anyhow::Context;
use serde::Deserialize;
use std::path::Path;
use std::process::Command;

/// The part of its verdict that real processes report too.
#[derive(Deserialize)]
struct Verdict {
    figures: Figures,
}

/// Runs the simulator on the file.
///
/// # Errors
/// It fails, or prints no figures.
pub fn predict(simulator: &Path, scenario: &Path) -> anyhow::Result<Figures> {
    let output = Command::new(simulator).arg("run").arg(scenario).arg("--json").output();
    let output = output.with_context(|| simulator.display().to_string())?;
    let text = checked(&output)?;
    let verdict: Verdict = serde_json::from_str(&text).context("its verdict")?;
    Ok(verdict.figures)
}
