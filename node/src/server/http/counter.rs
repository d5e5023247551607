//! Counters: one signed 64-bit number, changed by amounts.

use super::answer::Answer;
use super::app::Exchange;
use super::backend::Backend;
use super::body;
use super::ops;
use super::problem::{Code, Problem};
use crate::crdt::{CounterOp, DeltaType, Object, ObjectId, ObjectOp, TypeTag};
use crate::wire::api::{Options, ReadQuery};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

/// One change of a counter: exactly one of `increment`, `decrement` and `reset`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CounterUpdate {
    /// Added to the value; negative to subtract.
    increment: Option<i64>,
    /// Subtracted from the value.
    decrement: Option<i64>,
    /// `true`: back to 0, as far as observed.
    reset: Option<bool>,
    /// What was observed; the header `Starling-Context` says the same.
    context: Option<String>,
}

/// `GET`: the value.
pub async fn get<B: Backend>(mut exchange: Exchange<'_, B>) -> Result<Answer, Problem> {
    let object = exchange.object(TypeTag::Counter)?;
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
    let object = exchange.object(TypeTag::Counter)?;
    let options = exchange.query.take_write_options()?;
    exchange.finish_query()?;
    let held = exchange.body(exchange.app.limits.json_body_bytes_max).await?;
    let op = operation(&exchange, &object, body::json(&held.bytes)?)?;
    let options = Options { once: ops::once(&exchange, &op)?, ..options };
    let written = exchange.write(&object, ObjectOp::Counter(op), options).await?;
    let value = value(&written.object)?.unwrap_or_default();
    Ok(exchange.written(&object, &written, json!({ "value": value })))
}

fn operation<B: Backend>(
    exchange: &Exchange<'_, B>,
    object: &ObjectId,
    update: CounterUpdate,
) -> Result<CounterOp, Problem> {
    let observed = exchange.observed(object, update.context.as_deref())?;
    // The core fills in the floor that it keeps for the object.
    let add = |amount| CounterOp::Add { amount, floor: 0 };
    match (update.increment, update.decrement, update.reset) {
        (Some(amount), None, None) => Ok(add(amount.into())),
        (None, Some(amount), None) => Ok(add(-i128::from(amount))),
        (None, None, Some(true)) => Ok(CounterOp::Reset { observed, floor: 0 }),
        _ => {
            let text = "give exactly one of increment, decrement and reset (true)";
            Err(Problem::new(Code::MalformedBody, text))
        }
    }
}

fn value(object: &Object) -> Result<Option<i64>, Problem> {
    match object {
        Object::Counter(counter) => Ok(counter.value()),
        _ => Err(Problem::new(Code::Internal, "the node's reply is of another type")),
    }
}
