//! What crosses the seam: the client's requests, the peers' messages, and their encoding.

pub mod api;
pub mod codec;
pub mod peer;
