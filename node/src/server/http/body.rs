//! Request bodies: read whole, within a length, a time, and what all bodies together may hold.

use super::limits::Limits;
use super::problem::{Code, Problem};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::HeaderMap;
use hyper::body::{Body, Incoming};
use hyper::header::EXPECT;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

const KIB: usize = 1_024;
/// Of a body that is refused for its length, so much is read and dropped before the answer, so
/// that a client which is still sending gets to see it.
const DRAIN_BYTES_MAX: usize = 8 << 20;
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Reads bodies for one server.
pub struct Reader {
    places_kib: Arc<Semaphore>,
    timeout: Duration,
}

/// A body with its share of what all bodies may hold; given back when dropped.
pub struct Held {
    /// The body.
    pub bytes: Bytes,
    _share: Option<OwnedSemaphorePermit>,
}

impl Reader {
    /// With the bounds of `limits`.
    pub fn new(limits: &Limits) -> Reader {
        let places_kib = Arc::new(Semaphore::new(limits.bodies_bytes_max / KIB));
        Reader { places_kib, timeout: limits.body_timeout }
    }

    /// Reads `body`, at most `max` bytes of it.
    ///
    /// # Errors
    /// `too_large`, `body_timeout`, `overloaded`, or `malformed_body` when the connection ends
    /// or the framing is broken before the body does.
    pub async fn read(
        &self,
        headers: &HeaderMap,
        mut body: Incoming,
        max: usize,
    ) -> Result<Held, Problem> {
        if body.size_hint().lower() > max as u64 {
            // A client that awaits `100 Continue` has sent nothing yet.
            if !headers.contains_key(EXPECT) {
                drain(&mut body).await;
            }
            return Err(too_large(max));
        }
        timeout(self.timeout, self.collect(&mut body, max)).await.unwrap_or_else(|_| {
            let text = format!("the body was not complete after {:?}", self.timeout);
            Err(Problem::new(Code::BodyTimeout, text))
        })
    }

    async fn collect(&self, body: &mut Incoming, max: usize) -> Result<Held, Problem> {
        let mut share: Option<OwnedSemaphorePermit> = None;
        let mut whole = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                Problem::new(Code::MalformedBody, format!("the body could not be read: {error}"))
            })?;
            let Ok(data) = frame.into_data() else { continue };
            if whole.len() + data.len() > max {
                drain(body).await;
                return Err(too_large(max));
            }
            let more = self.share(data.len())?;
            match &mut share {
                Some(share) => share.merge(more),
                None => share = Some(more),
            }
            if whole.is_empty() && body.is_end_stream() {
                return Ok(Held { bytes: data, _share: share });
            }
            whole.extend_from_slice(&data);
        }
        Ok(Held { bytes: whole.freeze(), _share: share })
    }

    fn share(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Problem> {
        let kib = bytes.div_ceil(KIB) as u32;
        self.places_kib.clone().try_acquire_many_owned(kib).map_err(|_| {
            Problem::new(Code::Overloaded, "the bodies under way fill the memory set aside")
        })
    }
}

fn too_large(max: usize) -> Problem {
    Problem::too_large(format!("the body exceeds the limit of {max} bytes"), max)
}

async fn drain(body: &mut Incoming) {
    let dropping = async {
        let mut dropped = 0;
        while let Some(Ok(frame)) = body.frame().await {
            dropped += frame.data_ref().map_or(0, Bytes::len);
            if dropped > DRAIN_BYTES_MAX {
                return;
            }
        }
    };
    // Running out of time ends the courtesy, nothing else.
    let _ = timeout(DRAIN_TIMEOUT, dropping).await;
}

/// A JSON document out of `bytes`.
///
/// # Errors
/// `malformed_body`.
pub fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes)
        .map_err(|error| Problem::new(Code::MalformedBody, format!("JSON: {error}")))
}
