//! `starling start`: one node, until it is told to stop or cannot go on.

use super::{USAGE, fail};
use crate::server::settings::{Settings, SettingsError, StartArgs};
use crate::server::{start, telemetry};
use std::io::Read;
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// A node that was told to stop, and has drained, ends at the latest after this.
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
        let stop = stop_asked(settings.exit_with_stdin, settings.drain)?;
        let mut signals = Signals::listen()?;
        let hurry = async {
            signals.next().await;
            signals.next().await;
        };
        start::run(settings, stop, hurry).await
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
fn stop_asked(
    with_stdin: bool,
    drain: Duration,
) -> Result<impl Future<Output = &'static str>, String> {
    let mut signals = Signals::listen()?;
    let stdin_end = stdin_end(with_stdin);
    Ok(async move {
        let why = tokio::select! {
            why = signals.next() => why,
            () = stdin_end => "standard input ended",
        };
        std::thread::spawn(move || {
            std::thread::sleep(drain + STOP_MAX);
            std::process::exit(1);
        });
        why
    })
}

/// The signals that ask a process to stop.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// None where `nohup` or the like said that it does not count.
    hangup: Option<Signal>,
}

impl Signals {
    fn listen() -> Result<Signals, String> {
        let listen = |kind| signal(kind).map_err(|e| format!("cannot listen for signals: {e}"));
        Ok(Signals {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: match is_ignored(SignalKind::hangup()) {
                true => None,
                false => Some(listen(SignalKind::hangup())?),
            },
        })
    }

    /// The next one, in words.
    async fn next(&mut self) -> &'static str {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => "interrupted",
            _ = self.terminate.recv() => "asked to terminate",
            _ = hangup => "the terminal is gone",
        }
    }
}

/// Whether who started the process had it ignore the signal (`SigIgn` in proc(5)).
fn is_ignored(kind: SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (kind.as_raw_value() - 1) & 1 == 1
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
