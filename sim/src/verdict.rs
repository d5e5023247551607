//! What a run was given and what came out of it.

use crate::checks::{Findings, Violation};
use crate::report::Figures;
use serde::{Deserialize, Serialize};
use starling_node::config::Mutant;
use std::collections::BTreeMap;

const STACK_BYTES: usize = 8 << 20;

/// What decides a run.
#[derive(Clone, Debug)]
pub struct Params {
    /// Everything that is drawn follows from it.
    pub seed: u64,
    /// Nodes of the cluster, at least 3.
    pub nodes: usize,
    /// How long faults and clients last, virtual seconds, at least 1.
    pub seconds: u64,
    /// A known bug to put back.
    pub mutant: Option<Mutant>,
    /// The only family of faults; a random choice unless said.
    pub family: Option<String>,
}

impl Params {
    /// The command that repeats the run.
    pub fn command(&self) -> String {
        let (seed, shape) = (self.seed, self.shape().join(" "));
        format!("starling-sim run --seed {seed} {shape}")
    }

    /// Everything but the seed, as arguments.
    pub fn shape(&self) -> Vec<String> {
        let mut shape = vec!["--nodes".into(), self.nodes.to_string()];
        shape.extend(["--seconds".into(), self.seconds.to_string()]);
        if let Some(mutant) = self.mutant {
            shape.extend(["--mutant".into(), mutant.name().into()]);
        }
        if let Some(family) = &self.family {
            shape.extend(["--family".into(), family.clone()]);
        }
        shape
    }
}

/// Runs one seed on a thread of its own. A panic of the node or of the harness is a violation
/// like any other, where panics unwind.
pub fn run_alone(params: &Params, sink: Option<crate::trace::Sink>) -> Verdict {
    let own = params.clone();
    let run = std::thread::Builder::new()
        .name(format!("seed-{}", params.seed))
        .stack_size(STACK_BYTES)
        .spawn(move || crate::world::run(own, sink));
    let ended = run.expect("the system has a thread to give").join();
    ended.unwrap_or_else(|cause| {
        let said = cause.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| cause.downcast_ref::<&str>().copied());
        Verdict::panicked(params, said.unwrap_or("without a message"))
    })
}

/// What came out of a run.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Verdict {
    /// The run's seed.
    pub seed: u64,
    /// The command that repeats the run.
    pub command: String,
    /// Hash of the trace, in hexadecimal.
    pub trace: String,
    /// The faults that were drawn.
    pub faults: Vec<String>,
    /// How often what happened: operations, faults, what checks looked at, the core's counters.
    pub counts: BTreeMap<String, u64>,
    /// Broken promises; at most some of them.
    pub violations: Vec<Violation>,
    /// Numbers, of a run that was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub figures: Option<Figures>,
}

impl Verdict {
    pub(crate) fn new(params: &Params, hash: u64, faults: Vec<String>, found: Findings) -> Self {
        let broken =
            found.broken.into_iter().map(|(name, count)| (format!("broken {name}"), count));
        let counts = found.counts.into_iter().map(|(name, count)| (name.to_string(), count));
        let counts = counts.chain(broken).collect();
        Verdict {
            seed: params.seed,
            command: params.command(),
            trace: format!("{hash:016x}"),
            faults,
            counts,
            violations: found.violations,
            figures: None,
        }
    }

    /// A run that did not come to its end.
    pub fn panicked(params: &Params, said: &str) -> Self {
        let mut found = Findings::default();
        found.violation("panics", said.to_string());
        Verdict::new(params, 0, Vec::new(), found)
    }

    /// Whether every promise was kept.
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty()
    }
}
