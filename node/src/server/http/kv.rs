//! `kv`: raw bytes in and out, siblings as JSON when there are several.

use super::answer::{self, Answer};
use super::app::Exchange;
use super::backend::Backend;
use super::limits::CONTENT_TYPE_BYTES_MAX;
use super::problem::{Code, Problem};
use crate::config::Resolve;
use crate::crdt::{KvOp, Object, ObjectOp, Sibling, TypeTag};
use crate::wire::api::{ReadQuery, ReadResult};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use hyper::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use serde_json::{Value, json};

const DEFAULT_TYPE: &str = "application/octet-stream";

/// `PUT`: writes the body.
pub async fn put<B: Backend>(mut exchange: Exchange<'_, B>) -> Result<Answer, Problem> {
    let object = exchange.object(TypeTag::Kv)?;
    let options = exchange.query.take_write_options()?;
    exchange.finish_query()?;
    let observed = exchange.observed(&object, None)?;
    let content_type = content_type(exchange.parts.headers.get(CONTENT_TYPE))?;
    let held = exchange.body(exchange.app.limits.value_bytes_max).await?;
    let value = held.bytes.to_vec();
    let op = ObjectOp::Kv(KvOp::Put { value, content_type, observed });
    let written = exchange.write(&object, op, options).await?;
    Ok(exchange.written(&object, &written, json!({})))
}

/// `GET`: the value, or all siblings.
pub async fn get<B: Backend>(mut exchange: Exchange<'_, B>) -> Result<Answer, Problem> {
    let object = exchange.object(TypeTag::Kv)?;
    let options = exchange.query.take_options()?;
    let wanted = match exchange.query.take("resolve").as_deref() {
        None => None,
        Some("lww") => Some(Resolve::Lww),
        Some("siblings") => Some(Resolve::Siblings),
        Some(other) => {
            let text = format!("{other:?} is not lww or siblings");
            return Err(Problem::parameter("resolve", text));
        }
    };
    exchange.finish_query()?;
    let read = exchange.read(&object, ReadQuery::Whole, options).await?;
    let Object::Kv(kv) = &read.object else {
        return Err(Problem::new(Code::Internal, "the node's reply is of another type"));
    };
    let context = exchange.sealed(&object, &read.object.seen()).unwrap_or_default();
    if read.present {
        exchange.app.meter.siblings.record(kv.siblings().count() as f64);
    }
    let chosen = match wanted.unwrap_or(read.resolve) {
        Resolve::Lww => kv.latest().into_iter().collect::<Vec<_>>(),
        Resolve::Siblings => kv.siblings().collect(),
    };
    match chosen.as_slice() {
        [] => Ok(exchange.absent(&object, &read)),
        [(_, one)] => Ok(exchange.with_context(value(one, &read), &context)),
        several => {
            let siblings = several.iter().map(|(_, sibling)| describe(sibling));
            let body = json!({ "siblings": siblings.collect::<Vec<_>>(), "context": context });
            let answer = answer::json(StatusCode::MULTIPLE_CHOICES, &body);
            tracing::debug!(siblings = several.len(), "siblings answered");
            Ok(exchange.with_context(answer::with_read(answer, &read), &context))
        }
    }
}

/// The bytes as they were given. Browsers are told to keep them apart from the console's page.
fn value(sibling: &Sibling, read: &ReadResult) -> Answer {
    let content_type = HeaderValue::from_str(&sibling.content_type)
        .unwrap_or(HeaderValue::from_static(DEFAULT_TYPE));
    let mut answer = answer::bytes(StatusCode::OK, content_type, sibling.value.clone().into());
    let headers = answer.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    answer::with_read(answer, read)
}

fn describe(sibling: &Sibling) -> Value {
    json!({
        "content_type": sibling.content_type,
        "value_base64": STANDARD.encode(&sibling.value),
        "written_at": answer::rfc3339(sibling.written_at),
    })
}

fn content_type(header: Option<&HeaderValue>) -> Result<String, Problem> {
    let Some(header) = header else { return Ok(DEFAULT_TYPE.into()) };
    match header.to_str() {
        Ok(text) if text.len() <= CONTENT_TYPE_BYTES_MAX => Ok(text.into()),
        _ => {
            let text = format!("not visible ASCII of at most {CONTENT_TYPE_BYTES_MAX} bytes");
            Err(Problem::parameter("Content-Type", text))
        }
    }
}
