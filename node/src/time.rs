//! Time as the core sees it: given from outside, never asked for.

/// A reading of both clocks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Time {
    /// Microseconds since an arbitrary start, never going back.
    pub mono_us: u64,
    /// Milliseconds since the Unix epoch; may jump.
    pub wall_ms: u64,
}
