//! What ties a call to what nodes log of it: a trace id of W3C's trace context.

use std::fmt::Write;

/// The trace of one call, as the header `traceparent` says it.
#[derive(Debug)]
pub(crate) struct Trace {
    header: String,
}

impl Trace {
    /// `given`, or a new one that nobody samples.
    pub fn new(given: Option<&str>) -> Trace {
        let header = given.map(str::to_owned).unwrap_or_else(|| {
            let (trace, span) = (rand::random::<u128>().max(1), rand::random::<u64>().max(1));
            let mut header = String::with_capacity(55);
            let _ = write!(header, "00-{trace:032x}-{span:016x}-00");
            header
        });
        Trace { header }
    }

    pub fn header(&self) -> &str {
        &self.header
    }

    /// The id that all that belongs together has.
    pub fn id(&self) -> &str {
        self.header.split('-').nth(1).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_drawn_anew_or_gone_on_with() {
        let (one, other) = (Trace::new(None), Trace::new(None));
        assert_ne!(one.id(), other.id());
        let lengths: Vec<_> = one.header().split('-').map(str::len).collect();
        assert_eq!(lengths, [2, 32, 16, 2]);
        let given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let trace = Trace::new(Some(given));
        assert_eq!((trace.header(), trace.id()), (given, "4bf92f3577b34da6a3ce929d0e0e4736"));
    }
}
