//! Keeps the house in order: the law of arrows, what the core may name and depend on, tidiness,
//! and links that lead somewhere. Each failure says what to do about it.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // Reads the tree, runs cargo.

mod arrows;
mod links;
mod purity;
mod source;
mod tidy;
