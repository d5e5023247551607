//! Makes a failing run small: fewer faults, shorter ones, a shorter run, as long as the same check
//! fails. Faults are removed by delta debugging (Zeller and Hildebrandt, "Simplifying and Isolating
//! Failure-Inducing Input", IEEE TSE 28(2), 2002, `ddmin`, section 3).

use crate::scenario::{Entry, Scenario, run_setup_quietly};
use starling_node::config::Mutant;
use std::fmt;

/// A run that failed, made small.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The run.
    pub scenario: Scenario,
    /// The check that fails in it.
    pub check: String,
    /// What it finds.
    pub detail: String,
    /// How many runs it took.
    pub runs: u32,
}

/// Nothing to make small.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeepsPromises {
    /// The check that was to fail, if one was named.
    pub check: Option<String>,
}

impl fmt::Display for KeepsPromises {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.check {
            Some(check) => write!(f, "the run does not break {check}: there is nothing to shrink"),
            None => write!(f, "the run keeps every promise: there is nothing to shrink"),
        }
    }
}

impl std::error::Error for KeepsPromises {}

struct Search<'a> {
    mutant: Option<Mutant>,
    best: Shrunk,
    runs_max: u32,
    tell: &'a mut dyn FnMut(&Shrunk),
}

/// Makes a run small in at most `runs_max` further runs, and tells of each smaller one. The check
/// that has to fail is the named one, else the first that fails.
///
/// # Errors
/// The run keeps its promises.
pub fn shrink(
    scenario: &Scenario,
    mutant: Option<Mutant>,
    check: Option<&str>,
    runs_max: u32,
    tell: &mut dyn FnMut(&Shrunk),
) -> Result<Shrunk, KeepsPromises> {
    let verdict = run_setup_quietly(scenario.setup(mutant));
    let wanted = |name: &str| check.is_none_or(|check| check == name);
    let Some(found) = verdict.violations.into_iter().find(|found| wanted(&found.check)) else {
        return Err(KeepsPromises { check: check.map(str::to_string) });
    };
    let (scenario, detail) = (scenario.clone(), found.detail);
    let best = Shrunk { scenario, check: found.check, detail, runs: 1 };
    let mut search = Search { mutant, best, runs_max: runs_max.saturating_add(1), tell };
    loop {
        let before = search.best.scenario.clone();
        search.fewer_faults();
        search.shorter_faults();
        search.shorter_run();
        if search.best.scenario == before || search.is_over() {
            let Shrunk { scenario, check, .. } = &mut search.best;
            scenario.about = format!("What is left of {} and still breaks {check}.", scenario.name);
            return Ok(search.best);
        }
    }
}

impl Search<'_> {
    fn is_over(&self) -> bool {
        self.best.runs >= self.runs_max
    }

    /// Whether the same check fails; then this is the best so far.
    fn try_it(&mut self, candidate: Scenario) -> bool {
        if self.is_over() || candidate == self.best.scenario {
            return false;
        }
        self.best.runs += 1;
        let verdict = run_setup_quietly(candidate.setup(self.mutant));
        let found = verdict.violations.into_iter().find(|found| found.check == self.best.check);
        let Some(found) = found else { return false };
        (self.best.scenario, self.best.detail) = (candidate, found.detail);
        (self.tell)(&self.best);
        true
    }

    fn with_faults(&self, faults: Vec<Entry>) -> Scenario {
        Scenario { faults, ..self.best.scenario.clone() }
    }

    /// `ddmin`: no single fault can be left out of what remains.
    fn fewer_faults(&mut self) {
        if self.try_it(self.with_faults(Vec::new())) {
            return;
        }
        let mut parts = 2;
        while self.best.scenario.faults.len() >= 2 && !self.is_over() {
            let faults = self.best.scenario.faults.clone();
            let ranges = split(faults.len(), parts);
            let alone = ranges.iter().map(|(from, to)| faults[*from..*to].to_vec());
            let without =
                ranges.iter().map(|(from, to)| [&faults[..*from], &faults[*to..]].concat());
            let alone: Vec<_> = alone.collect();
            let without: Vec<_> = if parts > 2 { without.collect() } else { Vec::new() };
            if alone.into_iter().any(|some| self.try_it(self.with_faults(some))) {
                parts = 2;
            } else if without.into_iter().any(|some| self.try_it(self.with_faults(some))) {
                parts = (parts - 1).max(2);
            } else if parts < faults.len() {
                parts = (parts * 2).min(faults.len());
            } else {
                return;
            }
        }
    }

    /// Halves what each fault lasts, from behind and from before.
    fn shorter_faults(&mut self) {
        for place in 0..self.best.scenario.faults.len() {
            for from_behind in [true, false] {
                loop {
                    let mut faults = self.best.scenario.faults.clone();
                    let fault = &mut faults[place];
                    let middle_s = whole_ms((fault.from_s + fault.until_s) / 2.0);
                    match from_behind {
                        true => fault.until_s = middle_s,
                        false => fault.from_s = middle_s,
                    }
                    let lasts = fault.scheduled();
                    let none = lasts.until_ms <= lasts.from_ms;
                    if none || !self.try_it(self.with_faults(faults)) {
                        break;
                    }
                }
            }
        }
    }

    /// Halves the time after the last fault, as long as that is something.
    fn shorter_run(&mut self) {
        let ends = self.best.scenario.faults.iter().map(|fault| fault.until_s.ceil() as u64);
        let least = ends.max().unwrap_or(0).max(1);
        let mut candidate = least;
        while candidate < self.best.scenario.seconds && !self.is_over() {
            let shorter = Scenario { seconds: candidate, ..self.best.scenario.clone() };
            if self.try_it(shorter) {
                return;
            }
            candidate += (self.best.scenario.seconds - candidate).div_ceil(2).max(1);
        }
    }
}

fn whole_ms(seconds: f64) -> f64 {
    (seconds * 1e3).round() / 1e3
}

/// `parts` ranges of as equal a length as can be.
fn split(length: usize, parts: usize) -> Vec<(usize, usize)> {
    (0..parts).map(|part| (length * part / parts, length * (part + 1) / parts)).collect()
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn ranges_cover_everything_once() {
        assert_eq!(split(7, 3), [(0, 2), (2, 4), (4, 7)]);
        assert_eq!(split(2, 2), [(0, 1), (1, 2)]);
    }
}
