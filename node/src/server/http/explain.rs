//! `explain`: every replica's view of one object, and why its value is what it is. It shows dots,
//! contexts and amounts, and of `kv` the length of a value instead of the value.

use super::answer::{self, Answer};
use super::app::{Exchange, unexpected};
use super::backend::Backend;
use super::member::Member;
use super::params;
use super::problem::Problem;
use crate::crdt::{CausalContext, DeltaType, NodeId, Object, ObjectId};
use crate::wire::api::{Reply, Request};
use crate::wire::peer::ReplicaReport;
use hyper::StatusCode;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

type Names = BTreeMap<NodeId, String>;

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
    let body = json!({
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
    Ok(answer::json(StatusCode::OK, &body))
}

/// Names of the members known, by id.
async fn names<B: Backend>(exchange: &Exchange<'_, B>) -> Result<Names, Problem> {
    match exchange.call(Request::Cluster).await? {
        Reply::Cluster(cluster) => {
            let members = cluster.members.into_iter().map(|status| status.member);
            Ok(members.map(|member| (member.id, member.name)).collect())
        }
        other => Err(unexpected(&other)),
    }
}

fn name(names: &Names, id: NodeId) -> String {
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
        "layout": report.layout.to_string(),
        "digest": format!("{:016x}", report.digest),
        "count": report.count,
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

fn value(object: &Object) -> Value {
    match object {
        Object::Kv(kv) => Value::Array(
            kv.siblings()
                .map(|(dot, sibling)| {
                    json!({
                        "dot": dot.to_string(),
                        "bytes": sibling.value.len(),
                        "content_type": sibling.content_type,
                        "written_at": answer::rfc3339(sibling.written_at),
                    })
                })
                .collect(),
        ),
        Object::Counter(counter) => {
            // Sums are wider than JSON numbers are read elsewhere, so they are text.
            let tally = |(run, tally): (&crate::crdt::Dot, &crate::crdt::counter::Tally)| {
                json!({
                    "run": run.to_string(),
                    "last": tally.last,
                    "up": tally.up.to_string(),
                    "down": tally.down.to_string(),
                })
            };
            json!({
                "value": counter.value(),
                "runs": counter.runs().map(tally).collect::<Vec<_>>(),
                "base": counter.base().map(tally).collect::<Vec<_>>(),
            })
        }
        Object::Set(set) => Value::Array(
            set.members()
                .map(|(member, dots)| {
                    let dots: Vec<_> = dots.iter().map(ToString::to_string).collect();
                    json!({ "member": Member::from(member.clone()), "dots": dots })
                })
                .collect(),
        ),
        Object::Flag(flag) => json!({
            "enabled": flag.value(),
            "votes": flag.votes().map(|(dot, enabled)| {
                json!({ "dot": dot.to_string(), "enabled": enabled })
            }).collect::<Vec<_>>(),
        }),
    }
}

fn why(object: &ObjectId, merged: Option<&Object>, agree: bool) -> String {
    let value = match merged {
        None => format!("no replica that answered knows anything of {object}"),
        Some(state) if !state.is_present() => {
            "it is absent: every write that the replicas know was observed by a removal".into()
        }
        Some(Object::Kv(kv)) => match kv.siblings().count() {
            1 => "one write is live; every other was observed by a later write or removal".into(),
            several => format!("{several} writes are live: none of them had observed another"),
        },
        Some(Object::Counter(counter)) => format!(
            "{} is the sum of all runs, less what resets observed of them (base)",
            counter.total()
        ),
        Some(Object::Set(_)) => {
            "a member is in the set while an add of it is live that no removal observed".into()
        }
        Some(Object::Flag(flag)) => match flag.value() {
            Some(true) => "on: an enable is live that no later change observed; enable wins".into(),
            _ => "off: no enable is live that a later disable had not observed".to_string(),
        },
    };
    let replicas = match agree {
        true => "the owners that answered are equal",
        false => "the owners differ: repair or hints are under way, or a read will start them",
    };
    format!("{value}; {replicas}")
}
