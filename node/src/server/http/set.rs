//! Sets: members in order, by pages; add wins, or in those of the other type remove.

use super::answer::{self, Answer};
use super::app::Exchange;
use super::backend::Backend;
use super::body;
use super::limits::{MEMBERS_MAX, PAGE_DEFAULT};
use super::member::Member;
use super::params;
use super::problem::{Code, Problem};
use crate::crdt::{ObjectOp, SetOp, TypeTag};
use crate::wire::api::ReadQuery;
use hyper::StatusCode;
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeSet;
use utoipa::ToSchema;

/// One change of a set: up to 1,000 members in all, none in both lists.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetUpdate {
    /// Members to add.
    #[serde(default)]
    add: Vec<Member>,
    /// Members to remove, as far as observed.
    #[serde(default)]
    remove: Vec<Member>,
    /// What was observed; the header `Starling-Context` says the same.
    context: Option<String>,
}

/// `GET` on a set: one page.
pub async fn get<B: Backend>(
    mut exchange: Exchange<'_, B>,
    tag: TypeTag,
) -> Result<Answer, Problem> {
    let object = exchange.object(tag)?;
    let options = exchange.query.take_options()?;
    let limit = exchange.query.take_number("limit", 1, MEMBERS_MAX as u32)?;
    let after = exchange.query.take("after").map(|text| params::member("after", &text));
    let prefix = exchange.query.take("prefix").unwrap_or_default();
    let query = ReadQuery::Page {
        after: after.transpose()?,
        prefix: params::member("prefix", &prefix)?,
        limit: limit.unwrap_or(PAGE_DEFAULT),
    };
    exchange.finish_query()?;
    let read = exchange.read(&object, query, options).await?;
    let Some(set) = read.object.rows() else {
        return Err(Problem::new(Code::Internal, "the node's reply is of another type"));
    };
    if !read.present {
        return Ok(exchange.absent(&object, &read));
    }
    let members: Vec<Member> = set.present().map(|(member, _)| member.clone().into()).collect();
    let next = read.next.clone().map(Member::from);
    let fields = json!({ "members": members, "count": read.count, "next": next });
    Ok(exchange.present(&object, &read, fields))
}

/// `GET` on a member: whether it is in the set. `404` when there is no set at all.
pub async fn member<B: Backend>(
    mut exchange: Exchange<'_, B>,
    tag: TypeTag,
) -> Result<Answer, Problem> {
    let object = exchange.object(tag)?;
    let member = params::member("member", exchange.found.param("member"))?;
    let options = exchange.query.take_options()?;
    exchange.finish_query()?;
    let read = exchange.read(&object, ReadQuery::Member(member), options).await?;
    if !read.present && read.count == 0 {
        return Ok(exchange.absent(&object, &read));
    }
    let answer = answer::json(StatusCode::OK, &json!({ "member": read.present }));
    let answer = answer::with_read(answer, &read);
    match exchange.sealed(&object, &read.object.seen()) {
        Some(context) => Ok(exchange.with_context(answer, &context)),
        None => Ok(answer),
    }
}

/// `POST`: adds and removes.
pub async fn post<B: Backend>(
    mut exchange: Exchange<'_, B>,
    tag: TypeTag,
) -> Result<Answer, Problem> {
    let object = exchange.object(tag)?;
    let options = exchange.query.take_write_options()?;
    exchange.finish_query()?;
    let held = exchange.body(exchange.app.limits.members_body_bytes_max).await?;
    let update: SetUpdate = body::json(&held.bytes)?;
    let observed = exchange.observed(&object, update.context.as_deref())?;
    let (add, remove) = checked(update)?;
    let op = SetOp::Update { add, remove, observed };
    let op = if tag == TypeTag::RwSet { ObjectOp::RwSet(op) } else { ObjectOp::Set(op) };
    let written = exchange.write(&object, op, options).await?;
    Ok(exchange.written(&object, &written, json!({})))
}

type Members = BTreeSet<Vec<u8>>;

fn checked(update: SetUpdate) -> Result<(Members, Members), Problem> {
    let refuse = |text: String| Err(Problem::new(Code::MalformedBody, text));
    let named = update.add.len() + update.remove.len();
    if named == 0 {
        return refuse("name at least one member in add or remove".into());
    }
    if named > MEMBERS_MAX {
        let text = format!("{named} members exceed the limit of {MEMBERS_MAX} a call");
        return Err(Problem::too_large(text, MEMBERS_MAX));
    }
    let add: Members = update.add.into_iter().map(Member::into_bytes).collect();
    let remove: Members = update.remove.into_iter().map(Member::into_bytes).collect();
    match add.intersection(&remove).next() {
        Some(both) => refuse(format!("{:?} is in add and remove", String::from_utf8_lossy(both))),
        None => Ok((add, remove)),
    }
}
