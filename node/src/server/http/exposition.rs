//! `/metrics`: the core's table and the shell's as one text in the format of Prometheus 0.0.4.

use super::meter::Meter;
use super::process;
use crate::metrics::Kind;
use crate::server::families::{Family, Sample, Value};
use crate::server::handle::NodeMetrics;
use crate::server::histogram::Reading;
use std::borrow::Cow;
use std::fmt::Write;

/// The media type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

type Labels<'a> = &'a [(&'static str, Cow<'static, str>)];

/// Writes families one after another.
#[derive(Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// One line; `bound` is that of a bucket.
    fn line(&mut self, name: &str, labels: Labels<'_>, bound: Option<&str>, value: f64) {
        self.0.push_str(name);
        let labels = labels.iter().map(|(label, text)| (*label, text.as_ref()));
        let mut open = '{';
        for (label, text) in labels.chain(bound.map(|bound| ("le", bound))) {
            let text = text.replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n");
            let _ = write!(self.0, "{open}{label}=\"{text}\"");
            open = ',';
        }
        let close = if open == ',' { "}" } else { "" };
        let _ = writeln!(self.0, "{close} {value}");
    }

    fn sample(&mut self, sample: &Sample) {
        match &sample.value {
            Value::Number(value) => self.line(sample.name(), &sample.labels, None, *value),
            Value::Spread(reading) => self.spread(sample.name(), &sample.labels, reading),
        }
    }

    fn spread(&mut self, name: &str, labels: Labels<'_>, reading: &Reading) {
        let bucket = format!("{name}_bucket");
        for (bound, below) in &reading.buckets {
            self.line(&bucket, labels, Some(&bound.to_string()), *below as f64);
        }
        self.line(&bucket, labels, Some("+Inf"), reading.count as f64);
        self.line(&format!("{name}_sum"), labels, None, reading.sum);
        self.line(&format!("{name}_count"), labels, None, reading.count as f64);
    }
}

/// The whole text: every family there is, also those without a series yet.
pub fn render(meter: &Meter, measured: &NodeMetrics, ready: bool) -> String {
    let mut text = Text::default();
    for (name, kind, help, value) in measured.core.iter() {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        text.family(name, kind, help);
        text.line(name, &[], None, value as f64);
    }
    let mut samples = measured.samples.clone();
    meter.samples(&mut samples);
    samples.push(Family::Ready.is(u8::from(ready).into()));
    process::samples(meter.started, &mut samples);
    samples.sort_by_key(|sample| sample.family);
    let mut samples = samples.iter().peekable();
    for family in Family::all() {
        let (name, kind, help) = family.row();
        text.family(name, kind, help);
        while let Some(sample) = samples.next_if(|sample| sample.family == family) {
            text.sample(sample);
        }
    }
    text.0
}
