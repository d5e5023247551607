//! Spans on their way to a collector: OTLP in protobuf over HTTP.
//!
//! The SDK collects them in a queue of bounded length and sends batches from a thread of its own;
//! what does not fit, or cannot be delivered, is lost and nothing waits for it. The HTTP client
//! needs the node's runtime, so each batch is sent from there.

use hyper::Uri;
use opentelemetry_otlp::{Protocol, SpanExporter as Otlp, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;

/// Until the delivery of a batch is given up.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The address for traces at a collector whose base address is `text`.
///
/// # Errors
/// It is none that this node can send to; the text says why.
pub fn address(text: &str) -> Result<String, String> {
    let wrong = |why: &str| Err(format!("{text:?} {why}, such as http://127.0.0.1:4318"));
    let Ok(uri) = text.parse::<Uri>() else { return wrong("is no URL of a collector") };
    match (uri.scheme_str(), uri.authority()) {
        (Some("http"), Some(at)) if !at.host().is_empty() && !at.as_str().contains('@') => {}
        (Some("https"), _) => {
            return wrong(
                "asks for TLS, which this node does not speak to collectors: \
                 send to one on this machine, which passes traces on; it must be http://",
            );
        }
        _ => return wrong("is no URL of a collector: it must be http://HOST:PORT"),
    }
    if uri.query().is_some() {
        return wrong("has a query, and the URL of a collector has none");
    }
    Ok(format!("{}/v1/traces", text.trim_end_matches('/')))
}

/// What became of spans.
#[derive(Debug, Default)]
pub struct Delivery {
    /// Spans that the collector took.
    pub sent: AtomicU64,
    /// Spans that could not be delivered.
    pub lost: AtomicU64,
    /// Whether the last batch could not be.
    failing: AtomicBool,
}

/// Sends batches and says once when that fails, and once when it works again.
#[derive(Debug)]
pub struct Exporter {
    otlp: Arc<Otlp>,
    runtime: Handle,
    delivery: Arc<Delivery>,
    address: String,
}

impl Exporter {
    /// Sends to `address` from the runtime it is called in.
    ///
    /// # Errors
    /// What the environment says of OTLP is wrong.
    pub fn new(address: &str, delivery: Arc<Delivery>) -> Result<Exporter, String> {
        let otlp = Otlp::builder()
            .with_http()
            .with_endpoint(address)
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(TIMEOUT)
            .build()
            .map_err(|error| format!("cannot send traces to {address}: {error}"))?;
        let runtime = Handle::current();
        Ok(Exporter { otlp: Arc::new(otlp), runtime, delivery, address: address.to_owned() })
    }

    fn count(&self, spans: u64, result: &OTelSdkResult) {
        let Delivery { sent, lost, failing } = &*self.delivery;
        match result {
            Ok(()) => {
                sent.fetch_add(spans, Ordering::Relaxed);
                if failing.swap(false, Ordering::Relaxed) {
                    tracing::info!(address = self.address, "traces are delivered again");
                }
            }
            Err(error) => {
                lost.fetch_add(spans, Ordering::Relaxed);
                if !failing.swap(true, Ordering::Relaxed) {
                    let address = &self.address;
                    tracing::warn!(address, %error, "cannot deliver traces; they are lost");
                }
            }
        }
    }
}

impl SpanExporter for Exporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let (spans, otlp) = (batch.len() as u64, self.otlp.clone());
        let sent = self.runtime.spawn(async move { otlp.export(batch).await }).await;
        let result = sent.unwrap_or_else(|gone| {
            Err(OTelSdkError::InternalFailure(format!("the node stops: {gone}")))
        });
        self.count(spans, &result);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.otlp.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        // Called before the first batch: nothing else holds it then.
        if let Some(otlp) = Arc::get_mut(&mut self.otlp) {
            otlp.set_resource(resource);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_http_with_a_host_is_a_collector() {
        for (given, meant) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("http://otel.example/", "http://otel.example/v1/traces"),
            ("http://[::1]:1/base/", "http://[::1]:1/base/v1/traces"),
        ] {
            assert_eq!(address(given).as_deref(), Ok(meant));
        }
        for wrong in
            ["", "collector", "collector:4318", "http://", "ftp://a", "http://u:p@a", "http://a?b"]
        {
            let told = address(wrong).expect_err(wrong);
            assert!(told.contains("http://127.0.0.1:4318"), "{told}");
        }
        assert!(address("https://a").is_err_and(|told| told.contains("TLS")));
    }
}
