//! Bytes in and out: the one place that knows the encoding.
//!
//! Every encoded value is `version byte | bincode 2 (standard, varint) | xxh3 checksum, 4 bytes
//! little endian, over all before it`. Decoding checks the length cap and the checksum before
//! anything is allocated, limits what the decoder may allocate, and demands that every byte is
//! used. Golden bytes in the tests pin the format.

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::{Decode, Encode};
use thiserror::Error;
use xxhash_rust::xxh3::xxh3_64;

/// Version of the encoding, the first byte of every encoded value.
pub const VERSION: u8 = 1;

/// The longest encoded value, bytes: a frame between peers, a row in the store.
pub const ENCODED_MAX: usize = 64 << 20;

const CHECKSUM_BYTES: usize = 4;

/// The memory a decoder may claim at once, bytes: by a value of at most [`SMALL`] bytes, and by a
/// longer one. Rows and intervals are larger in memory than encoded.
const SMALL_CLAIM_MAX: usize = 16 << 20;
const CLAIM_MAX: usize = 4 * ENCODED_MAX;
const SMALL: usize = 1 << 20;

type Config<const CLAIM: usize> = Configuration<LittleEndian, Varint, Limit<CLAIM>>;

fn config<const CLAIM: usize>() -> Config<CLAIM> {
    bincode::config::standard().with_limit::<CLAIM>()
}

/// Why bytes were refused. Nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum CodecError {
    /// Longer than [`ENCODED_MAX`].
    #[error("{0} bytes exceed the limit of {ENCODED_MAX}")]
    TooLong(usize),
    /// Ends before it is complete.
    #[error("truncated")]
    Truncated,
    /// Written by another version of the encoding.
    #[error("version {0} is not supported, this is version {VERSION}")]
    Version(u8),
    /// The checksum does not match.
    #[error("checksum mismatch")]
    Checksum,
    /// The checksum matches, yet it is no value of the expected type.
    #[error("malformed")]
    Malformed,
}

/// Encodes `value`.
///
/// # Panics
/// When it is longer than [`ENCODED_MAX`]; limits on requests keep values far below.
pub fn encode<T: Encode>(value: &T) -> Vec<u8> {
    let mut out = vec![VERSION];
    let written = bincode::encode_into_std_write(value, &mut out, config::<CLAIM_MAX>());
    let sum = checksum(&out);
    out.extend_from_slice(&sum);
    assert!(written.is_ok() && out.len() <= ENCODED_MAX, "a value within limits encodes");
    out
}

/// Whether the bytes are as [`encode`] left them, by their checksum alone.
pub fn is_intact(bytes: &[u8]) -> bool {
    let body_end = bytes.len().checked_sub(CHECKSUM_BYTES);
    body_end.is_some_and(|end| checksum(&bytes[..end]) == bytes[end..])
}

/// The whole number that an encoded value begins with; nothing else of it is looked at.
pub fn first_number(bytes: &[u8]) -> Option<u64> {
    let decoded = bincode::decode_from_slice(bytes.get(1..)?, config::<SMALL_CLAIM_MAX>());
    decoded.ok().map(|(number, _)| number)
}

/// Decodes what [`encode`] made.
///
/// # Errors
/// See [`CodecError`]; the input is not trusted.
pub fn decode<T: Decode<()>>(bytes: &[u8]) -> Result<T, CodecError> {
    if bytes.len() > ENCODED_MAX {
        return Err(CodecError::TooLong(bytes.len()));
    }
    let body_end = bytes.len().checked_sub(CHECKSUM_BYTES).ok_or(CodecError::Truncated)?;
    let (sealed, sum) = bytes.split_at(body_end);
    if checksum(sealed) != sum {
        return Err(CodecError::Checksum);
    }
    let (&version, body) = sealed.split_first().ok_or(CodecError::Truncated)?;
    if version != VERSION {
        return Err(CodecError::Version(version));
    }
    let decoded = match bytes.len() <= SMALL {
        true => bincode::decode_from_slice(body, config::<SMALL_CLAIM_MAX>()),
        false => bincode::decode_from_slice(body, config::<CLAIM_MAX>()),
    };
    match decoded {
        Ok((value, used)) if used == body.len() => Ok(value),
        _ => Err(CodecError::Malformed),
    }
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    (xxh3_64(bytes) as u32).to_le_bytes()
}
