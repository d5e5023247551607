//! Bounded counters: a number that is never below 0, in any view.

use super::answer::Answer;
use super::app::Exchange;
use super::backend::Backend;
use super::body;
use super::problem::{Code, Problem};
use crate::crdt::{BoundedOp, DeltaType, Object, ObjectOp, TypeTag};
use crate::wire::api::ReadQuery;
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

/// One change of a bounded counter: exactly one of `increment` and `decrement`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BoundedCounterUpdate {
    /// Added to the value; not negative.
    #[schema(minimum = 0)]
    increment: Option<i64>,
    /// Subtracted from the value; not negative.
    #[schema(minimum = 0)]
    decrement: Option<i64>,
}

/// `GET`: the value.
pub async fn get<B: Backend>(mut exchange: Exchange<'_, B>) -> Result<Answer, Problem> {
    let object = exchange.object(TypeTag::Bounded)?;
    let options = exchange.query.take_options()?;
    exchange.finish_query()?;
    let read = exchange.read(&object, ReadQuery::Whole, options).await?;
    match value(&read.object)? {
        Some(value) => Ok(exchange.present(&object, &read, json!({ "value": value }))),
        None => Ok(exchange.absent(&object, &read)),
    }
}

/// `POST`: a change; answers the value at the replica that applied it.
pub async fn post<B: Backend>(mut exchange: Exchange<'_, B>) -> Result<Answer, Problem> {
    let object = exchange.object(TypeTag::Bounded)?;
    let options = exchange.query.take_options()?;
    exchange.finish_query()?;
    let held = exchange.body(exchange.app.limits.json_body_bytes_max).await?;
    let update: BoundedCounterUpdate = body::json(&held.bytes)?;
    let amount = match (update.increment, update.decrement) {
        (Some(amount @ 0..), None) => i128::from(amount),
        (None, Some(amount @ 0..)) => -i128::from(amount),
        _ => {
            let text = "give exactly one of increment and decrement, not negative";
            return Err(Problem::new(Code::MalformedBody, text));
        }
    };
    let op = ObjectOp::Bounded(BoundedOp::Add { amount });
    let written = exchange.write(&object, op, options).await?;
    let value = value(&written.object)?.unwrap_or_default();
    Ok(exchange.written(&object, &written, json!({ "value": value })))
}

fn value(object: &Object) -> Result<Option<i64>, Problem> {
    match object {
        Object::Bounded(counter) => Ok(counter.value()),
        _ => Err(Problem::new(Code::Internal, "the node's reply is of another type")),
    }
}
