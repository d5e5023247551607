//! Logs: to standard error, as text or JSON, filtered by `RUST_LOG`. One line where an error is
//! handled, never a value or a secret.

use super::settings::LogFormat;
use std::io::{IsTerminal, stderr};
use tracing_subscriber::EnvFilter;

/// What is logged without `RUST_LOG`. The gossip library is chatty about what is normal.
const FILTER: &str = "info,chitchat=error";

/// Starts logging; a second call has no effect.
pub fn start(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(FILTER));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    let _ = match format {
        LogFormat::Text => lines.with_ansi(stderr().is_terminal()).with_target(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
}
