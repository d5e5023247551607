//! Traces: what became of one request on every node it touched, sent to a collector over OTLP.
//!
//! Off unless a collector is named. Whether a request is traced is decided once, where it comes
//! in; whoever handles it further carries an `Option`, so one that is not traced costs a branch.
//! Spans hold names of calls, of nodes and of buckets, never a key or a value.

mod context;
mod export;
mod kept;
mod steps;

pub use context::TraceContext;
pub use export::address;
pub use steps::{Queued, Step, Steps};

use super::families::{Family, Sample};
use export::{Delivery, Exporter};
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags,
    TraceId, TraceState, Tracer, TracerProvider,
};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider, Span as SdkSpan,
};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Spans that wait for their delivery; more are lost.
const QUEUE_MAX: usize = 4_096;
/// Spans sent at once.
const BATCH_MAX: usize = 512;
/// The longest that a span waits for others to be sent with.
const DELAY: Duration = Duration::from_secs(1);
/// How long the last spans of a node that stops may take.
const LAST: Duration = Duration::from_secs(1);

/// Where traces go and how many are kept.
#[derive(Clone, PartialEq, Debug)]
pub struct TraceSettings {
    /// As [`address`] gives it.
    pub address: String,
    /// Of the requests that do not say whether they are traced, the part that is: 0 to 1.
    pub ratio: f64,
}

/// Makes spans, or nothing when tracing is off. Clones share it.
#[derive(Clone, Default)]
pub struct Traces {
    on: Option<Arc<On>>,
}

struct On {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    ratio: f64,
    delivery: Arc<Delivery>,
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traces").field("on", &self.on.is_some()).finish()
    }
}

impl Traces {
    /// Sends spans of the node `name` as `settings` say. Must be called within a runtime, which
    /// sends them.
    ///
    /// # Errors
    /// What the environment says of OTLP is wrong.
    pub fn start(settings: &TraceSettings, name: &str, zone: &str) -> Result<Traces, String> {
        let delivery = Arc::new(Delivery::default());
        let exporter = Exporter::new(&settings.address, delivery.clone())?;
        let config = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE_MAX)
            .with_max_export_batch_size(BATCH_MAX)
            .with_scheduled_delay(DELAY)
            .build();
        let resource = Resource::builder_empty()
            .with_service_name("starling")
            .with_attributes([
                KeyValue::new("service.instance.id", name.to_owned()),
                KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
                KeyValue::new("starling.zone", zone.to_owned()),
            ])
            .build();
        let provider = SdkTracerProvider::builder()
            // Whatever gets as far as a span was chosen before.
            .with_sampler(Sampler::AlwaysOn)
            .with_resource(resource)
            .with_span_processor(
                BatchSpanProcessor::builder(exporter).with_batch_config(config).build(),
            )
            .build();
        let tracer = provider.tracer("starling");
        let ratio = settings.ratio;
        Ok(Traces { on: Some(Arc::new(On { provider, tracer, ratio, delivery })) })
    }

    /// Whether there is a collector.
    pub fn are_on(&self) -> bool {
        self.on.is_some()
    }

    /// Whether a request is traced that came with `parent`: as its sender says, else by chance.
    pub fn follows(&self, parent: Option<&TraceContext>) -> bool {
        let Some(on) = &self.on else { return false };
        match parent {
            Some(parent) => parent.is_sampled(),
            None => on.ratio > 0.0 && rand::random::<f64>() < on.ratio,
        }
    }

    /// A span that begins now, under `parent` or at the root of a trace of its own; `None` when
    /// tracing is off.
    pub fn begin(
        &self,
        name: impl Into<Cow<'static, str>>,
        kind: SpanKind,
        parent: Option<&TraceContext>,
    ) -> Option<Span> {
        let on = self.on.as_ref()?;
        let context = parent.map_or_else(Context::new, |parent| {
            let context = SpanContext::new(
                TraceId::from_bytes(parent.trace),
                SpanId::from_bytes(parent.span),
                TraceFlags::new(parent.flags),
                kind == SpanKind::Server,
                TraceState::NONE,
            );
            Context::new().with_remote_span_context(context)
        });
        let builder = SpanBuilder::from_name(name).with_kind(kind);
        Some(Span(on.tracer.build_with_context(builder, &context)))
    }

    /// Appends what became of spans.
    pub fn samples(&self, samples: &mut Vec<Sample>) {
        let count =
            |of: fn(&Delivery) -> u64| self.on.as_ref().map_or(0.0, |on| of(&on.delivery) as f64);
        samples.extend([
            Family::SpansSent.is(count(|delivery| delivery.sent.load(Ordering::Relaxed))),
            Family::SpansLost.is(count(|delivery| delivery.lost.load(Ordering::Relaxed))),
        ]);
    }

    /// Sends what waits, for a moment, and ends. Spans that end later are lost.
    pub async fn stop(&self) {
        let Some(on) = &self.on else { return };
        let provider = on.provider.clone();
        let stopping = move || provider.shutdown_with_timeout(LAST);
        // Whether it could be delivered was counted and said by the exporter.
        let _ = tokio::task::spawn_blocking(stopping).await;
    }
}

/// A span that is open; it ends when dropped.
#[derive(Debug)]
pub struct Span(SdkSpan);

impl Span {
    /// Where spans below this one hang.
    pub fn context(&self) -> TraceContext {
        let context = self.0.span_context();
        TraceContext {
            trace: context.trace_id().to_bytes(),
            span: context.span_id().to_bytes(),
            flags: context.trace_flags().to_u8(),
        }
    }

    /// Says something of it.
    pub fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        self.0.set_attribute(KeyValue::new(key, value));
    }

    /// Marks a moment in it.
    pub fn event(&mut self, name: &'static str) {
        self.0.add_event(name, Vec::new());
    }

    /// What it stands for went wrong.
    pub fn fail(&mut self, why: &'static str) {
        self.0.set_status(Status::error(why));
    }
}
