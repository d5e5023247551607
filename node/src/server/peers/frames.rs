//! Frames on a connection: `u32 length, big endian | bytes`, inside Noise messages when the
//! cluster has a secret. A length above the cap is refused before anything is allocated, and
//! memory grows only with bytes that have arrived.

use std::io;
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Bytes of a Noise message at most, its tag included.
const NOISE_MAX: usize = 65_535;
const TAG_BYTES: usize = 16;
const LENGTH_BYTES: usize = 4;
/// Room made for each read.
const READ_BYTES: usize = 16 << 10;
/// Kept between frames; more is given back.
const BUFFER_KEPT: usize = 256 << 10;

/// Why a connection has to be closed.
#[derive(Debug, Error)]
pub enum LinkError {
    /// The socket failed, or ended inside a frame.
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    /// A frame says that it is longer than allowed.
    #[error("a frame of {length} bytes exceeds the limit of {limit}")]
    TooLong {
        /// What it says.
        length: usize,
        /// What is allowed here.
        limit: usize,
    },
    /// Bytes did not decrypt: another secret, or they were changed on the way.
    #[error("bytes did not decrypt; the other side has another secret or another cluster name")]
    Sealed,
    /// The other side speaks something else.
    #[error("{0}")]
    Protocol(String),
}

impl From<snow::Error> for LinkError {
    fn from(_: snow::Error) -> Self {
        LinkError::Sealed
    }
}

/// An authenticated connection, or a plain one.
pub struct Link {
    socket: TcpStream,
    noise: Option<snow::TransportState>,
    /// Decrypted bytes that no frame has taken yet.
    plain: Vec<u8>,
    /// Where the next frame begins in `plain`.
    taken: usize,
}

impl Link {
    /// Over `socket`, sealed by `noise` if there is one.
    pub fn new(socket: TcpStream, noise: Option<snow::TransportState>) -> Link {
        Link { socket, noise, plain: Vec::new(), taken: 0 }
    }

    /// Writes bytes that [`append_frame`] made.
    pub async fn write(&mut self, frames: &[u8]) -> Result<(), LinkError> {
        let Some(noise) = &mut self.noise else {
            return Ok(self.socket.write_all(frames).await?);
        };
        let mut sealed = Vec::with_capacity(frames.len() + (frames.len() / NOISE_MAX + 1) * 18);
        for part in frames.chunks(NOISE_MAX - TAG_BYTES) {
            let length = (part.len() + TAG_BYTES) as u16;
            sealed.extend_from_slice(&length.to_be_bytes());
            let begin = sealed.len();
            sealed.resize(begin + usize::from(length), 0);
            noise.write_message(part, &mut sealed[begin..])?;
        }
        Ok(self.socket.write_all(&sealed).await?)
    }

    /// The next frame, or `None` when the other side closed between two frames.
    pub async fn read(&mut self, limit: usize) -> Result<Option<Vec<u8>>, LinkError> {
        if !self.fill(LENGTH_BYTES).await? {
            return Ok(None);
        }
        let begin = self.taken + LENGTH_BYTES;
        let length = self.plain[self.taken..begin].try_into().map(u32::from_be_bytes);
        let length = length.unwrap_or(u32::MAX) as usize;
        if length > limit {
            return Err(LinkError::TooLong { length, limit });
        }
        if !self.fill(LENGTH_BYTES + length).await? {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let begin = self.taken + LENGTH_BYTES;
        let frame = self.plain[begin..begin + length].to_vec();
        self.taken = begin + length;
        if self.taken == self.plain.len() {
            self.plain.clear();
            self.plain.shrink_to(BUFFER_KEPT);
            self.taken = 0;
        }
        Ok(Some(frame))
    }

    /// Waits until `wanted` bytes are there; false at a clean end before the first of them.
    async fn fill(&mut self, wanted: usize) -> Result<bool, LinkError> {
        while self.plain.len() - self.taken < wanted {
            if self.taken > 0 {
                self.plain.drain(..self.taken);
                self.taken = 0;
            }
            let ended = match &mut self.noise {
                None => {
                    self.plain.reserve(READ_BYTES);
                    self.socket.read_buf(&mut self.plain).await? == 0
                }
                Some(noise) => !read_sealed(&mut self.socket, noise, &mut self.plain).await?,
            };
            if ended && self.plain.is_empty() {
                return Ok(false);
            }
            if ended {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
        Ok(true)
    }

    /// Returns when the other side has closed, or sent what it must not on this connection.
    pub async fn closed(&self) -> LinkError {
        match self.socket.peek(&mut [0]).await {
            Ok(0) => LinkError::Protocol("the other side closed".into()),
            Ok(_) => LinkError::Protocol("bytes came the wrong way".into()),
            Err(error) => error.into(),
        }
    }
}

/// Appends the next Noise message; false at the end of the connection.
async fn read_sealed(
    socket: &mut TcpStream,
    noise: &mut snow::TransportState,
    plain: &mut Vec<u8>,
) -> Result<bool, LinkError> {
    let mut length = [0; 2];
    if socket.read(&mut length[..1]).await? == 0 {
        return Ok(false);
    }
    socket.read_exact(&mut length[1..]).await?;
    let mut sealed = vec![0; u16::from_be_bytes(length).into()];
    socket.read_exact(&mut sealed).await?;
    let begin = plain.len();
    plain.resize(begin + sealed.len(), 0);
    let count = noise.read_message(&sealed, &mut plain[begin..])?;
    plain.truncate(begin + count);
    Ok(true)
}

/// Appends a frame.
pub fn append_frame(out: &mut Vec<u8>, frame: &[u8]) {
    out.extend_from_slice(&(frame.len() as u32).to_be_bytes());
    out.extend_from_slice(frame);
}
