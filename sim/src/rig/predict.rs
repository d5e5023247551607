//! What the simulator says of the same scenario.

use crate::figures::Figures;
use crate::scenario::Scenario;
use crate::shell::checked;
use anyhow::Context;
use serde::Deserialize;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

/// The part of its verdict that real processes report too.
#[derive(Deserialize)]
struct Verdict {
    figures: Figures,
}

/// Runs the simulator on it.
///
/// # Errors
/// It fails, or prints no figures.
pub fn predict(simulator: &Path, scenario: &Scenario) -> anyhow::Result<Figures> {
    let mut file = tempfile::NamedTempFile::new()?;
    file.write_all(toml::to_string(scenario)?.as_bytes())?;
    let output = Command::new(simulator).arg("run").arg(file.path()).arg("--json").output();
    let output = output.with_context(|| simulator.display().to_string())?;
    let text = checked(&output)?;
    let verdict: Verdict = serde_json::from_str(&text).context("its verdict")?;
    Ok(verdict.figures)
}
