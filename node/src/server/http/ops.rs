//! `ops`: what became of a change that was asked under an idempotency key.

use super::answer::{self, Answer};
use super::app::{Exchange, unexpected};
use super::backend::Backend;
use super::explain::{name, names};
use super::params;
use super::problem::{Code, Problem};
use crate::crdt::note::{ONCE_KEY_BYTES_MAX, notes_in};
use crate::crdt::{CounterOp, NodeId, Object, Once, TypeTag};
use crate::wire::api::{Reply, Request};
use crate::wire::codec;
use crate::wire::peer::ReplicaReport;
use hyper::StatusCode;
use serde_json::json;
use std::collections::BTreeSet;

/// The header.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The key in the header, with a digest of the change.
///
/// # Errors
/// `bad_parameter`: an empty key, one that is too long, or two of them.
pub fn once<B: Backend>(
    exchange: &Exchange<'_, B>,
    op: &CounterOp,
) -> Result<Option<Box<Once>>, Problem> {
    let mut values = exchange.parts.headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(key) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Problem::parameter("Idempotency-Key", "given twice"));
    }
    let key = checked(key.as_bytes())?;
    let asked = xxhash_rust::xxh3::xxh3_64(&codec::encode(op));
    Ok(Some(Box::new(Once { key, asked })))
}

fn checked(key: &[u8]) -> Result<Vec<u8>, Problem> {
    match key.len() {
        1..=ONCE_KEY_BYTES_MAX => Ok(key.to_vec()),
        length => {
            let rule = format!("{length} bytes are not 1 to {ONCE_KEY_BYTES_MAX}");
            Err(Problem::parameter("Idempotency-Key", rule))
        }
    }
}

/// `GET`: which replicas have it, and for whom they keep it.
pub async fn get<B: Backend>(mut exchange: Exchange<'_, B>) -> Result<Answer, Problem> {
    let key = params::decode("idempotency_key", exchange.found.param("idempotency_key"))?;
    let key = checked(&key)?;
    let mut take = |name: &str| {
        let missing = || Problem::parameter(name, "name the object: type, bucket and key");
        exchange.query.take(name).filter(|value| !value.is_empty()).ok_or_else(missing)
    };
    let (kind, bucket, of) = (take("type")?, take("bucket")?, take("key")?);
    exchange.finish_query()?;
    let tag = params::type_tag(&kind)?;
    let object = params::object(tag, &bucket, &of)?;
    if tag != TypeTag::Counter {
        let text = format!("only changes of counters take keys in this version, not of {kind}");
        return Err(Problem::new(Code::NotSupported, text));
    }
    let explain = Request::Explain { object: object.note(&key) };
    let reply = exchange.call(explain).await?;
    let Reply::Explained { replicas, silent, .. } = reply else { return Err(unexpected(&reply)) };
    let names = names(&exchange).await?;
    let knows = |report: &&ReplicaReport| match &report.state {
        Some(Object::Kv(kv)) => !notes_in(kv).is_empty(),
        _ => false,
    };
    let have: Vec<&ReplicaReport> = replicas.iter().filter(knows).collect();
    let owed: BTreeSet<NodeId> =
        have.iter().flat_map(|report| &report.owed).map(|(node, _)| *node).collect();
    let unread = silent.len() + replicas.iter().filter(|report| report.error.is_some()).count();
    let state = match (have.is_empty(), unread) {
        (false, _) => "applied",
        // Who did not say may have it.
        (true, 1..) => "unknown",
        (true, 0) => "not_applied",
    };
    let body = json!({
        "state": state,
        "applied_on": have.iter().map(|report| name(&names, report.node)).collect::<Vec<_>>(),
        "hinted_for": owed.into_iter().map(|node| name(&names, node)).collect::<Vec<_>>(),
        "silent": silent,
    });
    Ok(answer::json(StatusCode::OK, &body))
}
