//! `/metrics`: the core's table, the node's samples and this layer's own families as one text in
//! the format of Prometheus 0.0.4.

use super::families::{Family, LATENCY_BOUNDS};
use super::meter::Meter;
use super::problem::Code;
use super::router::ROUTES;
use crate::metrics::Kind;
use crate::server::handle::{NodeMetrics, SyncTimes};
use std::fmt::Write;
use std::sync::atomic::Ordering::Relaxed;

/// The media type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

type Labels<'a> = &'a [(&'a str, &'a str)];

/// Writes families one after another.
#[derive(Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: Labels<'_>, value: impl std::fmt::Display) {
        self.0.push_str(name);
        for (at, (label, text)) in labels.iter().enumerate() {
            let open = if at == 0 { '{' } else { ',' };
            let text = text.replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n");
            let _ = write!(self.0, "{open}{label}=\"{text}\"");
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{close} {value}");
    }

    /// A family of this layer with one sample.
    fn single(&mut self, family: Family, value: impl std::fmt::Display) {
        let (name, kind, help) = family.row();
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }
}

/// The whole text.
pub fn render(meter: &Meter, measured: &NodeMetrics, ready: bool) -> String {
    let mut text = Text::default();
    for (name, kind, help, value) in measured.core.iter() {
        text.family(name, kind_name(kind), help);
        text.sample(name, &[], value);
    }
    let mut last = "";
    for sample in &measured.samples {
        if sample.name != last {
            text.family(sample.name, kind_name(sample.kind), sample.help);
            last = sample.name;
        }
        let labels: Vec<_> =
            sample.labels.iter().map(|(name, text)| (*name, text.as_str())).collect();
        text.sample(sample.name, &labels, sample.value);
    }
    syncs(&mut text, &measured.syncs);
    requests(&mut text, meter);
    latency(&mut text, meter);
    problems(&mut text, meter);
    text.single(Family::InFlight, meter.in_flight.load(Relaxed));
    text.single(Family::ConnectionsOpen, meter.connections_open.load(Relaxed));
    text.single(Family::Connections, meter.connections.load(Relaxed));
    text.single(Family::BytesIn, meter.bytes_in.load(Relaxed));
    text.single(Family::BytesOut, meter.bytes_out.load(Relaxed));
    text.single(Family::ContextsOmitted, meter.contexts_omitted.load(Relaxed));
    text.single(Family::Ready, u8::from(ready));
    process(&mut text, meter);
    text.0
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
    }
}

fn syncs(text: &mut Text, syncs: &SyncTimes) {
    let (name, kind, help) = Family::SyncDuration.row();
    text.family(name, kind, help);
    let bucket = format!("{name}_bucket");
    for (bound, below) in &syncs.buckets {
        text.sample(&bucket, &[("le", &bound.to_string())], below);
    }
    text.sample(&bucket, &[("le", "+Inf")], syncs.count);
    text.sample(&format!("{name}_sum"), &[], syncs.sum_seconds);
    text.sample(&format!("{name}_count"), &[], syncs.count);
}

fn requests(text: &mut Text, meter: &Meter) {
    let (name, kind, help) = Family::Requests.row();
    text.family(name, kind, help);
    let unmatched = ("unmatched", "unmatched", "any");
    let rows = ROUTES.iter().map(|route| (route.name, route.path, route.method));
    for (at, (operation, path, method)) in rows.chain([unmatched]).enumerate() {
        for (class, count) in meter.reading(at).classes.iter().enumerate() {
            if *count > 0 {
                let class = format!("{}xx", class + 1);
                let labels = [
                    ("operation", operation),
                    ("route", path),
                    ("method", method),
                    ("status", &class),
                ];
                text.sample(name, &labels, count);
            }
        }
    }
}

fn latency(text: &mut Text, meter: &Meter) {
    let (name, kind, help) = Family::Latency.row();
    text.family(name, kind, help);
    for (at, route) in ROUTES.iter().enumerate() {
        let reading = meter.reading(at);
        let count = *reading.cumulative.last().expect("there is a bucket without bound");
        if count == 0 {
            continue;
        }
        let operation = ("operation", route.name);
        let bucket = format!("{name}_bucket");
        for (bound, below) in LATENCY_BOUNDS.iter().zip(&reading.cumulative) {
            text.sample(&bucket, &[operation, ("le", &bound.to_string())], below);
        }
        text.sample(&bucket, &[operation, ("le", "+Inf")], count);
        text.sample(&format!("{name}_sum"), &[operation], reading.sum.as_secs_f64());
        text.sample(&format!("{name}_count"), &[operation], count);
    }
}

fn problems(text: &mut Text, meter: &Meter) {
    let (name, kind, help) = Family::Problems.row();
    text.family(name, kind, help);
    for (at, (code, ..)) in Code::TABLE.iter().enumerate() {
        text.sample(name, &[("code", code)], meter.problems(at));
    }
}

/// What Linux says of this process; elsewhere these families are left out.
fn process(text: &mut Text, meter: &Meter) {
    let (name, kind, help) = Family::BuildInfo.row();
    text.family(name, kind, help);
    text.sample(name, &[("version", env!("CARGO_PKG_VERSION"))], 1);
    text.single(Family::Uptime, meter.started.elapsed().as_secs_f64());
    if let Some(bytes) = resident_bytes() {
        text.single(Family::Resident, bytes);
    }
    if let Ok(descriptors) = std::fs::read_dir("/proc/self/fd") {
        text.single(Family::OpenFds, descriptors.count());
    }
    if let Some(seconds) = cpu_seconds() {
        text.single(Family::CpuSeconds, seconds);
    }
}

fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1_024)
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
