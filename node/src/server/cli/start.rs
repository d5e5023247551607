//! `starling start`: one node, until it is told to stop or cannot go on.

use super::{USAGE, fail};
use crate::server::settings::{Settings, SettingsError, StartArgs};
use crate::server::{start, telemetry};
use std::io::Read;
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

/// A node that was told to stop ends at the latest after this.
const STOP_MAX: Duration = Duration::from_secs(12);

/// Runs the command.
pub fn run(args: StartArgs) -> ExitCode {
    let settings = match Settings::resolve(args) {
        Ok(settings) => settings,
        Err(error @ SettingsError::Usage(_)) => return fail(USAGE, &error.to_string()),
        Err(error @ SettingsError::Refused(_)) => return fail(1, &error.to_string()),
    };
    telemetry::start(settings.log_format);
    die_with_panics();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &format!("cannot start: {error}")),
    };
    let ended = runtime.block_on(async {
        let stop = stop_asked(settings.exit_with_stdin)?;
        start::run(settings, stop).await
    });
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => fail(1, &text),
    }
}

/// A thread that panicked has left its work undone, so the whole process ends with it.
fn die_with_panics() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        report(info);
        std::process::abort();
    }));
}

/// Done when a signal asks the process to stop, or standard input ends if that counts.
fn stop_asked(with_stdin: bool) -> Result<impl Future<Output = &'static str>, String> {
    let listen = |kind| signal(kind).map_err(|e| format!("cannot listen for signals: {e}"));
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut hangup = listen(SignalKind::hangup())?;
    let stdin_end = stdin_end(with_stdin);
    Ok(async move {
        let why = tokio::select! {
            _ = interrupt.recv() => "interrupted",
            _ = terminate.recv() => "asked to terminate",
            _ = hangup.recv() => "the terminal is gone",
            _ = stdin_end => "standard input ended",
        };
        std::thread::spawn(|| {
            std::thread::sleep(STOP_MAX);
            std::process::exit(1);
        });
        why
    })
}

async fn stdin_end(counts: bool) {
    let (ended, end) = oneshot::channel::<()>();
    if counts {
        std::thread::spawn(move || {
            let mut ignored = [0; 256];
            while std::io::stdin().lock().read(&mut ignored).is_ok_and(|count| count > 0) {}
            drop(ended);
        });
        let _ = end.await;
    } else {
        std::future::pending::<()>().await;
    }
}
