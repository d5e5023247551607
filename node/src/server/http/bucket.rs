//! Bucket properties.

use super::answer::{self, Answer};
use super::app::{Exchange, unexpected};
use super::backend::Backend;
use super::body;
use super::params;
use super::problem::{Code, Problem};
use crate::config::BucketProps;
use crate::crdt::expiry::TTL_MAX_S;
use crate::placement::N_MAX;
use crate::wire::api::{Quorum, Reply, Request};
use hyper::StatusCode;
use serde_json::{Map, Value};

/// Properties that later versions have.
const LATER: [&str; 2] = ["limits", "indexes"];

/// `GET`: the properties in force.
pub async fn get<B: Backend>(exchange: Exchange<'_, B>) -> Result<Answer, Problem> {
    let bucket = params::bucket(exchange.found.param("bucket"))?;
    exchange.finish_query()?;
    answer(&exchange, Request::GetBucket { bucket }).await
}

/// `PUT`: sets all of them; those left out get their default.
pub async fn put<B: Backend>(mut exchange: Exchange<'_, B>) -> Result<Answer, Problem> {
    let bucket = params::bucket(exchange.found.param("bucket"))?;
    exchange.finish_query()?;
    let held = exchange.body(exchange.app.limits.json_body_bytes_max).await?;
    let fields: Map<String, Value> = body::json(&held.bytes)?;
    if let Some(later) = LATER.iter().find(|name| fields.contains_key(**name)) {
        let text = format!("{later} is not available in this version; nothing was changed");
        return Err(Problem::new(Code::UnsupportedProperty, text).with("property", (*later).into()));
    }
    let props: BucketProps = body::json(&held.bytes)?;
    check(&props)?;
    answer(&exchange, Request::PutBucket { bucket, props }).await
}

/// `DELETE`: back to the defaults.
pub async fn delete<B: Backend>(exchange: Exchange<'_, B>) -> Result<Answer, Problem> {
    let bucket = params::bucket(exchange.found.param("bucket"))?;
    exchange.finish_query()?;
    answer(&exchange, Request::DeleteBucket { bucket }).await
}

async fn answer<B: Backend>(
    exchange: &Exchange<'_, B>,
    request: Request,
) -> Result<Answer, Problem> {
    match exchange.call(request).await? {
        Reply::Bucket(props) => Ok(answer::json(StatusCode::OK, &props)),
        other => Err(unexpected(&other)),
    }
}

fn check(props: &BucketProps) -> Result<(), Problem> {
    if !(1..=N_MAX).contains(&props.n) {
        return Err(Problem::parameter("n", format!("{} is not 1 to {N_MAX}", props.n)));
    }
    if let Some(seconds) = props.ttl_seconds
        && !(1..=TTL_MAX_S).contains(&seconds)
    {
        return Err(Problem::parameter(
            "ttl_seconds",
            format!("{seconds} is not 1 to {TTL_MAX_S}"),
        ));
    }
    for (name, quorum) in [("r", props.r), ("w", props.w)] {
        if let Quorum::Count(count) = quorum
            && !(1..=props.n).contains(&count)
        {
            let text = format!("{count} is not 1 to {} (n)", props.n);
            return Err(Problem::parameter(name, text));
        }
    }
    Ok(())
}
