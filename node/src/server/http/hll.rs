//! HyperLogLogs: estimates of how many distinct elements were added.

use super::answer::Answer;
use super::app::Exchange;
use super::backend::Backend;
use super::body;
use super::limits::MEMBERS_MAX;
use super::member::Member;
use super::problem::{Code, Problem};
use crate::crdt::{DeltaType, HllOp, Object, ObjectOp, TypeTag};
use crate::wire::api::ReadQuery;
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

/// Elements to count: 1 to 1,000.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HllUpdate {
    /// Elements to count; one that was counted before changes nothing.
    add: Vec<Member>,
}

/// `GET`: the estimate.
pub async fn get<B: Backend>(mut exchange: Exchange<'_, B>) -> Result<Answer, Problem> {
    let object = exchange.object(TypeTag::Hll)?;
    let options = exchange.query.take_options()?;
    exchange.finish_query()?;
    let read = exchange.read(&object, ReadQuery::Whole, options).await?;
    let Object::Hll(hll) = &read.object else {
        return Err(Problem::new(Code::Internal, "the node's reply is of another type"));
    };
    if hll.value().is_none() {
        return Ok(exchange.absent(&object, &read));
    }
    Ok(exchange.present(&object, &read, json!({ "estimate": hll.estimate() })))
}

/// `POST`: counts elements.
pub async fn post<B: Backend>(mut exchange: Exchange<'_, B>) -> Result<Answer, Problem> {
    let object = exchange.object(TypeTag::Hll)?;
    let options = exchange.query.take_write_options()?;
    exchange.finish_query()?;
    let held = exchange.body(exchange.app.limits.members_body_bytes_max).await?;
    let update: HllUpdate = body::json(&held.bytes)?;
    if update.add.is_empty() {
        return Err(Problem::new(Code::MalformedBody, "name at least one element in add"));
    }
    if update.add.len() > MEMBERS_MAX {
        let named = update.add.len();
        let text = format!("{named} elements exceed the limit of {MEMBERS_MAX} a call");
        return Err(Problem::too_large(text, MEMBERS_MAX));
    }
    let elements: Vec<Vec<u8>> = update.add.into_iter().map(Member::into_bytes).collect();
    let op = ObjectOp::Hll(HllOp::add(elements.iter().map(Vec::as_slice)));
    let written = exchange.write(&object, op, options).await?;
    Ok(exchange.written(&object, &written, json!({})))
}
