//! Starling's node: a pure replicated core, and (feature `server`) the thin shell around it.
//!
//! Without default features this crate has no runtime, no socket, no file, no clock, no thread
//! and no randomness of its own; the simulator runs exactly this. See `docs/architecture.md`.

pub mod cluster;
pub mod config;
pub mod coordinator;
pub mod core;
pub mod crdt;
pub mod metrics;
pub mod placement;
pub mod replica;
pub mod store;
pub mod time;
pub mod wire;

#[cfg(feature = "server")]
pub mod server;
