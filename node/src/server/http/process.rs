//! What Linux says of this process and its machine; elsewhere most of it is left out.

use crate::server::families::{Family, Sample};
use rustix::process::{Resource, getrlimit};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Appends it, of a process that began to serve at `started`.
pub fn samples(started: (Instant, SystemTime), samples: &mut Vec<Sample>) {
    samples.push(Family::BuildInfo.of(&[("version", env!("CARGO_PKG_VERSION"))], 1.0));
    let since = started.1.duration_since(UNIX_EPOCH).unwrap_or_default();
    samples.push(Family::Started.is(since.as_secs_f64()));
    samples.push(Family::Uptime.is(started.0.elapsed().as_secs_f64()));
    let max_fds = getrlimit(Resource::Nofile).current.map(|most| most as f64);
    let known = [
        (Family::CpuSeconds, cpu_seconds()),
        (Family::Resident, kib_line("/proc/self/status", "VmRSS:")),
        (Family::Memory, kib_line("/proc/meminfo", "MemTotal:")),
        (Family::OpenFds, open_fds()),
        (Family::MaxFds, max_fds),
    ];
    samples.extend(known.iter().filter_map(|(family, value)| value.map(|value| family.is(value))));
}

fn open_fds() -> Option<f64> {
    Some(std::fs::read_dir("/proc/self/fd").ok()?.count() as f64)
}

/// The bytes that a line of a file under `/proc` gives in kibibytes.
fn kib_line(file: &str, name: &str) -> Option<f64> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some((kib * 1_024) as f64)
}

/// User and system time. The kernel reports it in hundredths of a second to every program,
/// whatever its own tick (`proc_pid_stat(5)`, `USER_HZ`).
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program, in parentheses, may hold spaces; user time is the 12th after it.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system) as f64 / 100.0)
}
