//! Flags: on or off; enable wins, or in those of the other type disable.

use super::answer::Answer;
use super::app::Exchange;
use super::backend::Backend;
use super::body;
use super::problem::{Code, Problem};
use crate::crdt::{DeltaType, FlagOp, Object, ObjectOp, TypeTag};
use crate::wire::api::ReadQuery;
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

/// One change of a flag: exactly one of `enable` and `disable`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FlagUpdate {
    /// `true`: on.
    enable: Option<bool>,
    /// `true`: off, as far as observed.
    disable: Option<bool>,
    /// What was observed; the header `Starling-Context` says the same.
    context: Option<String>,
}

/// `GET`: on or off.
pub async fn get<B: Backend>(
    mut exchange: Exchange<'_, B>,
    tag: TypeTag,
) -> Result<Answer, Problem> {
    let object = exchange.object(tag)?;
    let options = exchange.query.take_options()?;
    exchange.finish_query()?;
    let read = exchange.read(&object, ReadQuery::Whole, options).await?;
    match value(&read.object)? {
        Some(enabled) => Ok(exchange.present(&object, &read, json!({ "enabled": enabled }))),
        None => Ok(exchange.absent(&object, &read)),
    }
}

/// `POST`: a change; answers the value at the replica that applied it.
pub async fn post<B: Backend>(
    mut exchange: Exchange<'_, B>,
    tag: TypeTag,
) -> Result<Answer, Problem> {
    let object = exchange.object(tag)?;
    let options = exchange.query.take_write_options()?;
    exchange.finish_query()?;
    let held = exchange.body(exchange.app.limits.json_body_bytes_max).await?;
    let update: FlagUpdate = body::json(&held.bytes)?;
    let enabled = match (update.enable, update.disable) {
        (Some(true), None) => true,
        (None, Some(true)) => false,
        _ => {
            let text = "give exactly one of enable and disable, with true";
            return Err(Problem::new(Code::MalformedBody, text));
        }
    };
    let observed = exchange.observed(&object, update.context.as_deref())?;
    let op = FlagOp::Set { enabled, observed };
    let op = if tag == TypeTag::DwFlag { ObjectOp::DwFlag(op) } else { ObjectOp::Flag(op) };
    let written = exchange.write(&object, op, options).await?;
    let enabled = value(&written.object)?.unwrap_or(enabled);
    Ok(exchange.written(&object, &written, json!({ "enabled": enabled })))
}

fn value(object: &Object) -> Result<Option<bool>, Problem> {
    match object {
        Object::Flag(flag) => Ok(flag.value()),
        Object::DwFlag(flag) => Ok(flag.value()),
        _ => Err(Problem::new(Code::Internal, "the node's reply is of another type")),
    }
}
