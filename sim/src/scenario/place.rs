//! Reads a scenario's file; what is wrong is told with file, line and field.

use super::{Scenario, fit};
use crate::faults::Kind;
use std::fmt;
use std::path::Path;
use toml::de::{DeTable, DeValue};

/// Bytes of a file at most.
const BYTES_MAX: u64 = 1 << 20;

/// What is wrong with a scenario's file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Misfit {
    /// The file.
    pub file: String,
    /// The line, from 1; 0 where the file as a whole is meant.
    pub line: usize,
    /// What is wrong, with the field where it is one.
    pub what: String,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.what),
            line => write!(f, "{}:{line}: {}", self.file, self.what),
        }
    }
}

impl std::error::Error for Misfit {}

/// Reads a scenario from a file.
///
/// # Errors
/// The file cannot be read, is no TOML, or says what cannot be.
pub fn read(path: &Path) -> Result<Scenario, Misfit> {
    let file = path.display().to_string();
    let failed = |what: String| Misfit { file: file.clone(), line: 0, what };
    let size = std::fs::metadata(path).map_err(|error| failed(error.to_string()))?.len();
    if size > BYTES_MAX {
        return Err(failed(format!("{size} bytes are more than the {BYTES_MAX} of a scenario")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    parse(&file, &text)
}

/// Reads a scenario from the text of the file of that name.
///
/// # Errors
/// As [`read`].
pub fn parse(file: &str, text: &str) -> Result<Scenario, Misfit> {
    let misfit = |line: usize, what: String| Misfit { file: file.into(), line, what };
    let scenario: Scenario = toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(0, |span| line_at(text, span.start));
        let told = wrong_fault(text).unwrap_or((line, one_line(error.message())));
        misfit(told.0, told.1)
    })?;
    fit::check(&scenario)
        .map_err(|(field, why)| misfit(line_of(text, &field), format!("{field}: {why}")))?;
    fit::check_faults(&scenario).map_err(|(place, why)| {
        let number = place + 1;
        misfit(line_of_fault(text, place), format!("fault {number}: {why}"))
    })?;
    Ok(scenario)
}

fn one_line(text: &str) -> String {
    text.replace('\n', " ")
}

fn line_at(text: &str, at: usize) -> usize {
    text.as_bytes()[..at.min(text.len())].iter().filter(|byte| **byte == b'\n').count() + 1
}

/// The line of a field by its path, of its section where it is not there, or 0.
fn line_of(text: &str, field: &str) -> usize {
    let Ok(whole) = DeTable::parse(text) else { return 0 };
    let mut table = whole.get_ref();
    let mut line = 0;
    for part in field.split('.') {
        let Some((key, value)) = table.iter().find(|(key, _)| key.get_ref() == part) else { break };
        line = line_at(text, key.span().start);
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            _ => break,
        }
    }
    line
}

fn line_of_fault(text: &str, place: usize) -> usize {
    let Ok(whole) = DeTable::parse(text) else { return 0 };
    match whole.get_ref().get("fault").map(toml::Spanned::get_ref) {
        Some(DeValue::Array(faults)) => {
            faults.get(place).map_or(0, |fault| line_at(text, fault.span().start))
        }
        _ => 0,
    }
}

/// The first fault that is none, told by itself: of a list the reader knows only where it begins.
fn wrong_fault(text: &str) -> Option<(usize, String)> {
    let whole: toml::Table = text.parse().ok()?;
    for (place, fault) in whole.get("fault")?.as_array()?.iter().enumerate() {
        let (number, line) = (place + 1, line_of_fault(text, place));
        let Some(mut fields) = fault.as_table().cloned() else { continue };
        for name in ["from_s", "until_s"] {
            let seconds = fields.remove(name);
            if !seconds.is_some_and(|value| value.is_float() || value.is_integer()) {
                return Some((line, format!("fault {number}: {name}: a number of seconds")));
            }
        }
        let kind = fields.get("kind").and_then(toml::Value::as_str).unwrap_or_default().to_string();
        let read: Result<Kind, _> = toml::Value::Table(fields).try_into();
        if let Err(error) = read {
            let why = one_line(error.message());
            return Some((line, format!("fault {number} {kind}: {why}")));
        }
    }
    None
}
