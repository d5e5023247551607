//! The shell: the only place with sockets, files, clocks and tasks.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // Touches the machine by design.

pub mod cli;
pub mod data_dir;
pub mod families;
pub mod gossip;
pub mod handle;
pub mod histogram;
pub mod http;
pub mod peers;
pub mod runtime;
pub mod secret;
pub mod settings;
pub mod start;
mod storage;
pub mod telemetry;
pub mod timing;
pub mod traces;
pub mod work;
