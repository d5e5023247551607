//! Where a span hangs: the trace context of W3C, as the header `traceparent` and as 25 bytes of a
//! frame between nodes.

use bincode::{Decode, Encode};
use std::fmt;

/// The flag that says that the caller keeps this trace.
const SAMPLED: u8 = 1;
/// Flags that are handed on: that one, and that the trace's id is random.
const FLAGS: u8 = SAMPLED | 2;

/// A span that is being kept, to be the parent of others.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct TraceContext {
    /// The trace.
    pub trace: [u8; 16],
    /// The span in it.
    pub span: [u8; 8],
    /// As in the header.
    pub flags: u8,
}

impl TraceContext {
    /// What a header `traceparent` says, unless it is malformed. Of a version to come, what this
    /// one knows of it.
    pub fn parse(header: &[u8]) -> Option<TraceContext> {
        let mut fields = header.split(|byte| *byte == b'-');
        let [version] = hex(fields.next()?)?;
        let (trace, span) = (hex(fields.next()?)?, hex(fields.next()?)?);
        let [flags] = hex(fields.next()?)?;
        let ends = fields.next().is_none() || version > 0;
        let context = TraceContext { trace, span, flags: flags & FLAGS };
        (ends && version != 0xff && context.has_ids()).then_some(context)
    }

    /// Whether the caller keeps this trace.
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// Whether a node can have sent it: it names a trace and a span, and is of a trace that is
    /// kept.
    pub fn is_sound(&self) -> bool {
        self.has_ids() && self.is_sampled() && self.flags & !FLAGS == 0
    }

    fn has_ids(&self) -> bool {
        self.trace != [0; 16] && self.span != [0; 8]
    }
}

/// As the header has it.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (trace, span) = (u128::from_be_bytes(self.trace), u64::from_be_bytes(self.span));
        write!(f, "00-{trace:032x}-{span:016x}-{:02x}", self.flags)
    }
}

/// `N` bytes out of exactly so many pairs of digits.
fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    #[test]
    fn a_header_is_read_and_written_and_a_malformed_one_is_none() {
        let header = format!("00-{TRACE}-{SPAN}-01");
        let context = TraceContext::parse(header.as_bytes()).expect("it is well-formed");
        assert_eq!(context.to_string(), header);
        assert!(context.is_sampled() && context.is_sound());
        let other = TraceContext::parse(format!("00-{TRACE}-{SPAN}-00").as_bytes());
        assert!(other.is_some_and(|context| !context.is_sampled() && !context.is_sound()));
        let later = TraceContext::parse(format!("01-{TRACE}-{SPAN}-ff-more").as_bytes());
        assert_eq!(later.map(|context| context.flags), Some(3));
        for malformed in [
            String::new(),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-1"),
            format!("00-{TRACE}-{SPAN}-0g"),
            format!("00-{}-{SPAN}-01", "0".repeat(32)),
            format!("00-{TRACE}-{}-01", "0".repeat(16)),
            format!("00-{TRACE}é-{SPAN}-01"),
        ] {
            assert_eq!(TraceContext::parse(malformed.as_bytes()), None, "{malformed}");
        }
    }
}
