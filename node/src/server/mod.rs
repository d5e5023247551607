//! The shell: the only place with sockets, files, clocks and tasks.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // The shell is what the core must not be.
