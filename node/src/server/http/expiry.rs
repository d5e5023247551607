//! The expiry of an object, of any type that has one: read it, extend it, take it away.

use super::answer::{self, Answer};
use super::app::Exchange;
use super::backend::Backend;
use super::body;
use super::params;
use super::problem::{Code, Problem};
use crate::crdt::expiry::TTL_MAX_S;
use crate::crdt::{Hlc, ObjectId, ObjectOp, Ttl};
use crate::wire::api::ReadQuery;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

/// A new expiry: exactly one of the two.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpiryUpdate {
    /// Seconds until the object is absent, 1 to ten years.
    ttl_seconds: Option<u32>,
    /// `true`: it stays until it is removed.
    persist: Option<bool>,
}

/// `GET`: how long the object is there.
pub async fn get<B: Backend>(mut exchange: Exchange<'_, B>) -> Result<Answer, Problem> {
    let object = object(&exchange)?;
    let options = exchange.query.take_options()?;
    exchange.finish_query()?;
    let query = match object.tag.has_rows() {
        true => ReadQuery::Page { after: None, prefix: Vec::new(), limit: 0 },
        false => ReadQuery::Whole,
    };
    let read = exchange.read(&object, query, options).await?;
    if !read.present {
        return Ok(exchange.absent(&object, &read));
    }
    let fields = json!({
        "ttl_seconds": read.left_s,
        "expires_at": read.expires_at.map(at),
    });
    Ok(exchange.present(&object, &read, fields))
}

/// `PUT`: changes it, and nothing else of the object.
pub async fn put<B: Backend>(mut exchange: Exchange<'_, B>) -> Result<Answer, Problem> {
    let object = object(&exchange)?;
    let mut options = exchange.query.take_options()?;
    exchange.finish_query()?;
    let held = exchange.body(exchange.app.limits.json_body_bytes_max).await?;
    let update: ExpiryUpdate = body::json(&held.bytes)?;
    options.ttl = Some(match (update.ttl_seconds, update.persist) {
        (Some(seconds), None) if (1..=TTL_MAX_S).contains(&seconds) => Ttl::For(seconds),
        (Some(seconds), None) => {
            let text = format!("{seconds} is not 1 to {TTL_MAX_S}");
            return Err(Problem::parameter("ttl_seconds", text));
        }
        (None, Some(true)) => Ttl::Persist,
        _ => {
            let text = "give exactly one of ttl_seconds and persist, the latter with true";
            return Err(Problem::new(Code::MalformedBody, text));
        }
    });
    let written = exchange.write(&object, ObjectOp::Touch(object.tag), options).await?;
    let expires_at = written.object.expires_at().map(at);
    Ok(exchange.written(&object, &written, json!({ "expires_at": expires_at })))
}

fn object<B: Backend>(exchange: &Exchange<'_, B>) -> Result<ObjectId, Problem> {
    let tag = params::type_tag(exchange.found.param("type"))?;
    exchange.object(tag)
}

fn at(seconds: u64) -> Value {
    answer::rfc3339(Hlc { wall_ms: seconds.saturating_mul(1_000), logical: 0 }).into()
}
