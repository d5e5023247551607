//! Membership and layout as this node sees them, and the forming of the first layout.

use super::answer::{self, Answer};
use super::app::{Exchange, unexpected};
use super::backend::Backend;
use super::body;
use super::problem::Problem;
use crate::placement::Layout;
use crate::wire::api::{ClusterStatus, MemberStatus, Reply, Request};
use hyper::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

/// When to form the first layout.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClusterApply {
    /// Refused unless so many members are alive; at least 1, the default.
    #[schema(minimum = 1)]
    expect_members: Option<u16>,
}

/// `GET`.
pub async fn get<B: Backend>(exchange: Exchange<'_, B>) -> Result<Answer, Problem> {
    exchange.finish_query()?;
    answer(&exchange, Request::Cluster).await
}

/// `POST …/apply`: forms the first layout.
pub async fn apply<B: Backend>(mut exchange: Exchange<'_, B>) -> Result<Answer, Problem> {
    exchange.finish_query()?;
    let held = exchange.body(exchange.app.limits.json_body_bytes_max).await?;
    let wanted = match held.bytes.is_empty() {
        true => ClusterApply { expect_members: None },
        false => body::json(&held.bytes)?,
    };
    let expect_members = wanted.expect_members.unwrap_or(1);
    if expect_members == 0 {
        return Err(Problem::parameter("expect_members", "0 is not 1 to 65535"));
    }
    answer(&exchange, Request::FormLayout { expect_members }).await
}

async fn answer<B: Backend>(
    exchange: &Exchange<'_, B>,
    request: Request,
) -> Result<Answer, Problem> {
    match exchange.call(request).await? {
        Reply::Cluster(status) => Ok(answer::json(StatusCode::OK, &cluster(&status))),
        other => Err(unexpected(&other)),
    }
}

fn cluster(status: &ClusterStatus) -> Value {
    json!({
        "node": status.node,
        "ready": status.ready,
        "layout": status.layout.as_ref().map(layout),
        "members": status.members.iter().map(member).collect::<Vec<_>>(),
    })
}

fn layout(layout: &Layout) -> Value {
    let members = layout.members.iter().map(
        |member| json!({ "name": member.name, "zone": member.zone, "capacity": member.capacity }),
    );
    json!({
        "id": layout.id().to_string(),
        "version": layout.version,
        "parent": layout.parent.to_string(),
        "members": members.collect::<Vec<_>>(),
    })
}

fn member(status: &MemberStatus) -> Value {
    let member = &status.member;
    json!({
        "name": member.name,
        "id": member.id.to_string(),
        "zone": member.zone,
        "capacity": member.capacity,
        "alive": member.alive,
        "http_addr": member.http_addr,
        "peer_addr": member.peer_addr,
        "generation": member.generation,
        "layout": member.layout.to_string(),
        "partitions": status.partitions,
        "hints_owed": status.hints_owed,
    })
}
