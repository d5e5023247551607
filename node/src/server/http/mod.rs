//! HTTP, version 1: the interface people use, over HTTP/1.1 and HTTP/2.
//!
//! Every answer is honest: errors are problem documents with codes that do not change, `503` says
//! that nothing was applied and `504` that it may have been. Every body, header, path and queue
//! is bounded. The layer knows a node only through [`Backend`].

mod answer;
mod app;
mod backend;
mod body;
mod boundedcounter;
mod bucket;
mod cluster;
mod context;
mod counter;
mod expiry;
mod explain;
mod exposition;
mod flag;
mod hll;
mod kv;
mod labels;
pub mod limits;
mod listener;
mod map;
mod member;
mod meter;
pub mod openapi;
mod ops;
mod params;
pub mod problem;
mod process;
pub mod router;
mod schemas;
mod set;
mod spans;
mod status;
mod why;
mod zset;

pub use backend::Backend;
pub use limits::Limits;
pub use listener::{serve, serve_with};
