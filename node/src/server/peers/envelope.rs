//! What one frame between nodes holds: a message, and the trace that it belongs to, if any.
//!
//! Encoded as every value is, with its checksum over both. One byte says whether there is a
//! trace; the trace has 25 more.

use crate::server::traces::TraceContext;
use crate::wire::codec::{self, CodecError};
use crate::wire::peer::PeerMessage;
use bincode::{Decode, Encode};

/// The content of a frame.
#[derive(PartialEq, Debug, Encode, Decode)]
pub struct Envelope {
    /// The span that the message was sent in.
    pub trace: Option<TraceContext>,
    /// The message.
    pub message: PeerMessage,
}

impl Envelope {
    /// As a frame has it.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads a frame, which is not trusted.
    ///
    /// # Errors
    /// As for every value; a trace that no node can have sent is malformed.
    pub fn decode(frame: &[u8]) -> Result<Envelope, CodecError> {
        let envelope: Envelope = codec::decode(frame)?;
        match envelope.trace.is_none_or(|trace| trace.is_sound()) {
            true => Ok(envelope),
            false => Err(CodecError::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::LayoutId;
    use crate::wire::peer::PeerBody;

    const TRACE: TraceContext = TraceContext { trace: [1; 16], span: [2; 8], flags: 1 };

    fn envelope(trace: Option<TraceContext>) -> Envelope {
        let body = PeerBody::HandoffDone { batch: 7 };
        Envelope { trace, message: PeerMessage { layout: LayoutId(9), body } }
    }

    #[test]
    fn a_trace_costs_a_byte_where_there_is_none_and_25_more_where_there_is() {
        let bare = codec::encode(&envelope(None).message).len();
        let lengths = [None, Some(TRACE)].map(|trace| envelope(trace).encode().len());
        assert_eq!(lengths, [bare + 1, bare + 1 + 16 + 8 + 1]);
        for trace in [None, Some(TRACE)] {
            let envelope = envelope(trace);
            assert_eq!(Envelope::decode(&envelope.encode()), Ok(envelope));
        }
    }

    #[test]
    fn a_frame_that_was_changed_or_says_what_no_node_says_is_refused() {
        let frame = envelope(Some(TRACE)).encode();
        for at in 0..frame.len() {
            let mut changed = frame.clone();
            changed[at] ^= 1;
            assert!(Envelope::decode(&changed).is_err(), "byte {at}");
            assert!(Envelope::decode(&frame[..at]).is_err(), "{at} bytes");
        }
        for wrong in [
            TraceContext { trace: [0; 16], ..TRACE },
            TraceContext { span: [0; 8], ..TRACE },
            TraceContext { flags: 0, ..TRACE },
            TraceContext { flags: 0x81, ..TRACE },
        ] {
            let frame = envelope(Some(wrong)).encode();
            assert_eq!(Envelope::decode(&frame), Err(CodecError::Malformed), "{wrong:?}");
        }
        let message = envelope(None).message;
        for marker in [2_u8, 255] {
            let frame = codec::encode(&(marker, message.clone()));
            assert_eq!(Envelope::decode(&frame), Err(CodecError::Malformed), "marker {marker}");
        }
        assert!(Envelope::decode(&codec::encode(&message)).is_err(), "no byte that says whether");
    }
}
