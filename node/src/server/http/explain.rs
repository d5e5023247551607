//! `explain`: every replica's view of one object, and why its value is what it is. It shows dots,
//! contexts and amounts, and of `kv` the length of a value instead of the value.

use super::answer::{self, Answer};
use super::app::{Exchange, unexpected};
use super::backend::Backend;
use super::member::Member;
use super::params;
use super::problem::Problem;
use super::why::{rights, value, why};
use crate::crdt::{CausalContext, Hlc, NodeId, Object};
use crate::wire::api::{Reply, Request};
use crate::wire::peer::ReplicaReport;
use hyper::StatusCode;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Names by id.
pub type Names = BTreeMap<NodeId, String>;

/// `GET`.
pub async fn get<B: Backend>(exchange: Exchange<'_, B>) -> Result<Answer, Problem> {
    let tag = params::type_tag(exchange.found.param("type"))?;
    let object = exchange.object(tag)?;
    exchange.finish_query()?;
    let reply = exchange.call(Request::Explain { object: object.clone() }).await?;
    let Reply::Explained { replicas, silent, layout, partition } = reply else {
        return Err(unexpected(&reply));
    };
    let names = names(&exchange).await?;
    let merged = merge(&replicas);
    let owners = replicas.iter().filter(|report| report.owner).map(|report| report.digest);
    let first = owners.clone().next();
    let agree = owners.clone().all(|digest| Some(digest) == first);
    let mut body = json!({
        "type": tag.name(),
        "bucket": object.bucket,
        "key": Member::from(object.key.clone()),
        "partition": partition,
        "layout": layout.to_string(),
        "owners_agree": agree,
        "why": why(&object, merged.as_ref(), agree),
        "value": merged.as_ref().map(value),
        "replicas": replicas.iter().map(|report| replica(report, &names)).collect::<Vec<_>>(),
        "silent": silent,
    });
    if let Some(rights) = rights(merged.as_ref(), &replicas) {
        body["rights"] = rights;
    }
    Ok(answer::json(StatusCode::OK, &body))
}

/// Names of the members known, by id.
pub async fn names<B: Backend>(exchange: &Exchange<'_, B>) -> Result<Names, Problem> {
    match exchange.call(Request::Cluster).await? {
        Reply::Cluster(cluster) => {
            let members = cluster.members.into_iter().map(|status| status.member);
            Ok(members.map(|member| (member.id, member.name)).collect())
        }
        other => Err(unexpected(&other)),
    }
}

/// The member's name, its id where that is not known.
pub fn name(names: &Names, id: NodeId) -> String {
    names.get(&id).cloned().unwrap_or_else(|| id.to_string())
}

/// What a read that reached all of these replicas would find.
fn merge(replicas: &[ReplicaReport]) -> Option<Object> {
    let mut states = replicas.iter().filter_map(|report| report.state.as_ref());
    let mut merged = states.next()?.clone();
    // Replicas of one object report one type; a report of another adds nothing.
    states.for_each(|state| drop(merged.join(state)));
    Some(merged)
}

fn replica(report: &ReplicaReport, names: &Names) -> Value {
    let owed = report
        .owed
        .iter()
        .map(|(target, dots)| json!({ "to": name(names, *target), "dots": context(dots, names) }));
    json!({
        "node": name(names, report.node),
        "owner": report.owner,
        "actor": report.actor.to_string(),
        "layout": report.layout.to_string(),
        "digest": format!("{:016x}", report.digest),
        "count": report.count,
        "expires_at": report.state.as_ref().and_then(Object::expires_at).map(|at| {
            answer::rfc3339(Hlc { wall_ms: at.saturating_mul(1_000), logical: 0 })
        }),
        "header_bytes": report.header_bytes,
        "context": report.state.as_ref().map(|state| context(state.context(), names)),
        "live": report.state.as_ref().map(|state| {
            state.live_dots().iter().map(ToString::to_string).collect::<Vec<_>>()
        }),
        "value": report.state.as_ref().map(value),
        "hints": owed.collect::<Vec<_>>(),
        "error": report.error,
    })
}

/// Per actor the intervals of counters seen, as `node.epoch`.
fn context(context: &CausalContext, names: &Names) -> Value {
    let actors = context.iter().map(|(actor, runs)| {
        (format!("{}.{:x}", name(names, actor.node), actor.epoch), json!(runs))
    });
    Value::Object(actors.collect::<Map<_, _>>())
}
