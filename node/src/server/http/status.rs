//! What operators and tools ask: liveness, readiness, metrics, the interface's own description,
//! and the page for people.

use super::answer::{self, Answer};
use super::app::Exchange;
use super::backend::Backend;
use super::problem::{Code, Problem};
use super::{exposition, openapi};
use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{CONTENT_SECURITY_POLICY, HeaderValue};
use serde_json::json;
use std::sync::LazyLock;

const PAGE: &str = include_str!("console.html");
/// The page runs its own script and talks to its own node, nothing else.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; \
     script-src 'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'";

static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| {
    let text = openapi::document().to_pretty_json();
    text.expect("the document has string keys only").into()
});

/// `GET /healthz`: the process answers.
pub fn healthz<B: Backend>(exchange: Exchange<'_, B>) -> Result<Answer, Problem> {
    let body = json!({ "status": "ok", "node": exchange.app.node.name() });
    Ok(answer::json(StatusCode::OK, &body))
}

/// `GET /readyz`: `200` when clients may be sent here, else `503`.
pub fn readyz<B: Backend>(exchange: Exchange<'_, B>) -> Result<Answer, Problem> {
    match exchange.app.node.is_ready() {
        true => Ok(answer::json(StatusCode::OK, &json!({ "ready": true }))),
        false => {
            let text = "this node is not part of a layout, is about to stop, or has just started \
                        and not heard the others yet; see /v1/cluster";
            Err(Problem::new(Code::NotReady, text).with("ready", false.into()))
        }
    }
}

/// `GET /metrics`.
pub async fn metrics<B: Backend>(exchange: Exchange<'_, B>) -> Result<Answer, Problem> {
    let app = exchange.app;
    let measured = app.node.metrics().await;
    let text = exposition::render(&app.meter, &measured, app.node.is_ready());
    let content_type = HeaderValue::from_static(exposition::CONTENT_TYPE);
    Ok(answer::bytes(StatusCode::OK, content_type, text.into()))
}

/// `GET /openapi.json`.
pub fn openapi<B: Backend>(_: Exchange<'_, B>) -> Result<Answer, Problem> {
    let json = HeaderValue::from_static("application/json");
    Ok(answer::bytes(StatusCode::OK, json, DOCUMENT.clone()))
}

/// `GET /`: the console.
pub fn console<B: Backend>(_: Exchange<'_, B>) -> Result<Answer, Problem> {
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    let mut answer = answer::bytes(StatusCode::OK, html, Bytes::from_static(PAGE.as_bytes()));
    let policy = HeaderValue::from_static(PAGE_POLICY);
    answer.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    Ok(answer)
}
