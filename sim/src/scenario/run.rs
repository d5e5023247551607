//! Runs a setup on a thread of its own.

use crate::report::Figures;
use crate::trace::Sink;
use crate::verdict::{Params, Verdict};
use crate::world::observe::Observed;
use crate::world::{self, Setup};

const STACK_BYTES: usize = 8 << 20;

/// A run that has come to its end.
pub struct Ran {
    /// What came out, with figures.
    pub verdict: Verdict,
    /// What was seen of it; nothing when it ended in a panic.
    pub observed: Observed,
}

/// Runs a setup and looks at it. A panic of the node or of the harness is a violation like any
/// other, where panics unwind.
pub fn run_setup(setup: Setup, sink: Option<Sink>) -> Ran {
    let params = setup.params.clone();
    match alone(&params, move || world::run_observed(setup, sink)) {
        Ok((mut verdict, observed)) => {
            verdict.figures = Some(Figures::of(&observed, &verdict));
            Ran { verdict, observed }
        }
        Err(verdict) => Ran { verdict: *verdict, observed: Observed::default() },
    }
}

/// Runs a setup without looking at it: faster, and the same run.
pub fn run_setup_quietly(setup: Setup) -> Verdict {
    let params = setup.params.clone();
    alone(&params, move || world::run_setup(setup, None)).unwrap_or_else(|panicked| *panicked)
}

/// A run takes its thread's randomness over, and ends with it.
fn alone<T: Send + 'static>(
    params: &Params,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Box<Verdict>> {
    let thread = std::thread::Builder::new()
        .name(format!("seed-{}", params.seed))
        .stack_size(STACK_BYTES)
        .spawn(run);
    thread.expect("the system has a thread to give").join().map_err(|cause| {
        let said = cause.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| cause.downcast_ref::<&str>().copied());
        Box::new(Verdict::panicked(params, said.unwrap_or("without a message")))
    })
}
