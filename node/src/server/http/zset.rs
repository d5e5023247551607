//! Sorted sets: members with scores, by score or by name.

use super::answer::{self, Answer};
use super::app::Exchange;
use super::backend::Backend;
use super::body;
use super::limits::{MEMBERS_MAX, PAGE_DEFAULT};
use super::member::Member;
use super::params::{self, Query};
use super::problem::{Code, Problem};
use crate::crdt::zset::{at_place, place, score_of};
use crate::crdt::{Object, ObjectOp, Real, TypeTag, Zset, ZsetOp};
use crate::wire::api::{ByScore, ReadQuery, ReadResult};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use utoipa::ToSchema;

/// One change of a sorted set: up to 1,000 members in all, none named twice.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ZsetUpdate {
    /// Members and the scores they get.
    #[serde(default)]
    add: Vec<Scored>,
    /// Members and what is added to their scores; one that is not there begins at 0.
    #[serde(default)]
    increment: Vec<Increment>,
    /// Members to remove, as far as observed.
    #[serde(default)]
    remove: Vec<Member>,
    /// What was observed; the header `Starling-Context` says the same.
    context: Option<String>,
}

/// A member and its score.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Scored {
    /// The member.
    member: Member,
    /// Its score, a finite number.
    score: f64,
}

/// A member and what is added to its score.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Increment {
    /// The member.
    member: Member,
    /// A finite number, negative to subtract, 1 if left out. `score` and `increment` are other
    /// names for it.
    #[serde(default = "one", alias = "score", alias = "increment")]
    by: f64,
}

fn one() -> f64 {
    1.0
}

/// `GET`: one page, by score or by member.
pub async fn get<B: Backend>(mut exchange: Exchange<'_, B>) -> Result<Answer, Problem> {
    let object = exchange.object(TypeTag::Zset)?;
    let options = exchange.query.take_options()?;
    let query = query_of(&mut exchange.query)?;
    exchange.finish_query()?;
    let by_score = match &query {
        ReadQuery::Scores(query) => Some(query.desc),
        _ => None,
    };
    let read = exchange.read(&object, query, options).await?;
    let set = zset_of(&read)?;
    if !read.present {
        return Ok(exchange.absent(&object, &read));
    }
    let mut scores: Vec<_> = set.scores().collect();
    if let Some(desc) = by_score {
        scores.sort_by_cached_key(|(member, score)| place(*score, member));
        if desc {
            scores.reverse();
        }
    }
    let members: Vec<Value> = scores
        .into_iter()
        .map(|(member, score)| json!({ "member": Member::from(member.clone()), "score": score }))
        .collect();
    let next = match (&read.next, by_score) {
        (None, _) => Value::Null,
        (Some(next), Some(_)) => URL_SAFE_NO_PAD.encode(next).into(),
        (Some(next), None) => json!(Member::from(next.clone())),
    };
    let fields = json!({ "members": members, "count": read.count, "next": next });
    Ok(exchange.present(&object, &read, fields))
}

fn query_of(query: &mut Query<'_>) -> Result<ReadQuery, Problem> {
    let limit = query.take_number("limit", 1, MEMBERS_MAX as u32)?.unwrap_or(PAGE_DEFAULT);
    let by_member = match query.take("order").as_deref() {
        None | Some("score") => false,
        Some("member") => true,
        Some(other) => {
            return Err(Problem::parameter("order", format!("{other:?} is not score or member")));
        }
    };
    if by_member {
        let after = query.take("after").map(|text| params::member("after", &text)).transpose()?;
        let prefix = query.take("prefix").unwrap_or_default();
        return Ok(ReadQuery::Page { after, prefix: params::member("prefix", &prefix)?, limit });
    }
    let after = query.take("after").map(|text| {
        let place = URL_SAFE_NO_PAD.decode(text.as_bytes()).ok();
        let place = place.filter(|place| at_place(place).is_some());
        place.ok_or_else(|| Problem::parameter("after", "it is not what a page gave as next"))
    });
    let desc = match query.take("desc").as_deref() {
        None | Some("false") => false,
        Some("true" | "") => true,
        Some(other) => {
            return Err(Problem::parameter("desc", format!("{other:?} is not true or false")));
        }
    };
    let (min, max) = (bound(query, "min", f64::NEG_INFINITY)?, bound(query, "max", f64::INFINITY)?);
    Ok(ReadQuery::Scores(ByScore { min, max, after: after.transpose()?, desc, limit }))
}

/// A bound of the scores; `none` is the infinity that is the same as no bound.
fn bound(query: &mut Query<'_>, name: &str, none: f64) -> Result<Option<Real>, Problem> {
    let Some(text) = query.take(name) else { return Ok(None) };
    let text = String::from_utf8(params::decode(name, &text)?).unwrap_or_default();
    let refuse = |why: &str| Problem::parameter(name, format!("{text:?} is {why}"));
    // A plus that was not encoded arrives as a space.
    match text.trim_start_matches(['+', ' ']) {
        "-inf" if none < 0.0 => Ok(None),
        "inf" if none > 0.0 => Ok(None),
        "inf" | "-inf" => Err(refuse("a bound that no score meets")),
        number => match number.parse().ok().and_then(Real::new) {
            Some(score) => Ok(Some(score)),
            None => Err(refuse("not a finite number, -inf or +inf")),
        },
    }
}

fn zset_of(read: &ReadResult) -> Result<&Zset, Problem> {
    match &read.object {
        Object::Zset(set) => Ok(set),
        _ => Err(Problem::new(Code::Internal, "the node's reply is of another type")),
    }
}

/// `GET` on a member: its score, `404` when it is not in the set.
pub async fn member<B: Backend>(mut exchange: Exchange<'_, B>) -> Result<Answer, Problem> {
    let object = exchange.object(TypeTag::Zset)?;
    let member = params::member("member", exchange.found.param("member"))?;
    let options = exchange.query.take_options()?;
    exchange.finish_query()?;
    let read = exchange.read(&object, ReadQuery::Member(member.clone()), options).await?;
    let found = zset_of(&read)?.present().find(|(found, _)| **found == member);
    let Some((_, row)) = found else { return Ok(exchange.absent(&object, &read)) };
    let fields = json!({ "member": Member::from(member), "score": score_of(row) });
    let answer = answer::with_read(answer::json(StatusCode::OK, &fields), &read);
    match exchange.sealed(&object, &read.object.seen()) {
        Some(context) => Ok(exchange.with_context(answer, &context)),
        None => Ok(answer),
    }
}

/// `POST`: sets and adds to scores, and removes members.
pub async fn post<B: Backend>(mut exchange: Exchange<'_, B>) -> Result<Answer, Problem> {
    let object = exchange.object(TypeTag::Zset)?;
    let options = exchange.query.take_write_options()?;
    exchange.finish_query()?;
    let held = exchange.body(exchange.app.limits.members_body_bytes_max).await?;
    let mut update: ZsetUpdate = body::json(&held.bytes)?;
    let observed = exchange.observed(&object, update.context.take().as_deref())?;
    let named = update.add.len() + update.increment.len() + update.remove.len();
    if named == 0 {
        let text = "name at least one member in add, increment or remove";
        return Err(Problem::new(Code::MalformedBody, text));
    }
    if named > MEMBERS_MAX {
        let text = format!("{named} members exceed the limit of {MEMBERS_MAX} a call");
        return Err(Problem::too_large(text, MEMBERS_MAX));
    }
    let (mut add, mut increment) = (BTreeMap::new(), BTreeMap::new());
    for Scored { member, score } in update.add {
        add.insert(member.into_bytes(), finite(score)?);
    }
    for Increment { member, by } in update.increment {
        increment.insert(member.into_bytes(), finite(by)?);
    }
    let remove: BTreeSet<_> = update.remove.into_iter().map(Member::into_bytes).collect();
    let members: BTreeSet<_> = add.keys().chain(increment.keys()).chain(&remove).collect();
    if members.len() < named {
        return Err(Problem::new(Code::MalformedBody, "a member is named twice"));
    }
    let op = ObjectOp::Zset(ZsetOp::Update { add, increment, remove, observed });
    let written = exchange.write(&object, op, options).await?;
    Ok(exchange.written(&object, &written, json!({})))
}

fn finite(score: f64) -> Result<Real, Problem> {
    Real::new(score).ok_or_else(|| Problem::new(Code::MalformedBody, "a score must be finite"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<ReadQuery, Problem> {
        let mut query = Query::new(Some(text)).expect("well formed");
        let read = query_of(&mut query)?;
        query.finish().map(|()| read)
    }

    fn refused(text: &str) -> String {
        let problem = of(text).expect_err(text);
        assert_eq!(problem.code, Code::BadParameter, "{text}");
        problem.detail
    }

    #[test]
    fn a_page_by_score_takes_bounds_an_order_and_a_place() {
        let real = |score| Real::new(score).expect("finite");
        let after = place(-2.5, b"ada");
        let text = URL_SAFE_NO_PAD.encode(&after);
        let page = ByScore {
            min: Some(real(-3.0)),
            max: Some(real(1e3)),
            after: Some(after),
            desc: true,
            limit: 7,
        };
        let asked = of(&format!("min=-3&max=1e3&desc=true&limit=7&after={text}"));
        assert_eq!(asked.expect("taken"), ReadQuery::Scores(page));
        let all = ByScore { limit: PAGE_DEFAULT, ..ByScore::default() };
        for text in ["", "min=-inf&max=+inf", "max=%2Binf&order=score&desc=false", "max=inf"] {
            assert_eq!(of(text).expect(text), ReadQuery::Scores(all.clone()));
        }
        assert_eq!(of("max=+2.5").expect("taken"), of("max=2.5").expect("taken"));
    }

    #[test]
    fn impossible_pages_are_refused_by_the_name_of_the_parameter() {
        for (text, name) in [
            ("order=size", "order"),
            ("min=abc", "min"),
            ("min=nan", "min"),
            ("max=1e999", "max"),
            ("min=inf", "min"),
            ("max=-inf", "max"),
            ("max=infinity", "max"),
            ("desc=maybe", "desc"),
            ("limit=0", "limit"),
            ("limit=1001", "limit"),
            ("after=ada", "after"),
            ("prefix=a", "prefix"),
            ("order=member&min=1", "min"),
            ("order=member&desc=true", "desc"),
        ] {
            assert!(refused(text).starts_with(&format!("{name}: ")), "{text}: {}", refused(text));
        }
    }

    #[test]
    fn an_increment_has_three_names_for_its_amount_and_is_one_without() {
        let by = |text: &str| {
            let parsed: Result<Increment, _> = serde_json::from_str(text);
            parsed.map(|increment| increment.by).map_err(|error| error.to_string())
        };
        for name in ["by", "score", "increment"] {
            assert_eq!(by(&format!(r#"{{"member":"a","{name}":-2.5}}"#)), Ok(-2.5));
        }
        assert_eq!(by(r#"{"member":"a"}"#), Ok(1.0));
        assert!(by(r#"{"member":"a","by":1e999}"#).is_err());
        assert!(by(r#"{"member":"a","by":1,"score":1}"#).is_err());
    }
}
