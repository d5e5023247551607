//! Asks nodes how they are, and says when a cluster has recovered: nobody owes a hint, every node
//! hears every other, and every object was seen equal at all its owners.

use crate::history::{BUCKET, Object};
use crate::net::{HTTP, host};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Between two questions.
pub const POLL: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(6);
const BODY_BYTES_MAX: usize = 16 << 20;
/// Before an object counts as unequal.
const LOOKS: usize = 4;
/// Objects asked about at once: for the first time, and those that were not equal then.
const ASKED_MAX: [usize; 2] = [4, 16];

/// Questions to all nodes.
#[derive(Clone)]
pub struct Cluster {
    http: Client<HttpConnector, Empty<Bytes>>,
    nodes: usize,
}

impl Cluster {
    /// Of so many nodes.
    pub fn new(nodes: usize) -> Cluster {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(Duration::from_secs(1)));
        let http = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_secs(5))
            .build(connector);
        Cluster { http, nodes }
    }

    async fn get(&self, node: usize, path: &str) -> Option<Bytes> {
        let uri = format!("http://{}:{HTTP}{path}", host(node)).parse().ok()?;
        let answer = timeout(PATIENCE, async {
            let answer = self.http.get(uri).await.ok()?;
            let found = answer.status().is_success();
            let body = Limited::new(answer.into_body(), BODY_BYTES_MAX).collect().await.ok()?;
            found.then(|| body.to_bytes())
        });
        answer.await.ok()?
    }

    async fn json(&self, node: usize, path: &str) -> Option<Value> {
        serde_json::from_slice(&self.get(node, path).await?).ok()
    }

    /// Whether the node is ready and hears all.
    async fn hears(&self, node: usize) -> bool {
        let Some(status) = self.json(node, "/v1/cluster").await else { return false };
        let members = status["members"].as_array().map(Vec::as_slice).unwrap_or_default();
        status["ready"] == true
            && members.len() == self.nodes
            && members.iter().all(|member| member["alive"] == true)
    }

    /// Hints that the node owes; none if it does not say.
    async fn owes(&self, node: usize) -> Option<u64> {
        let text = self.get(node, "/metrics").await?;
        let text = String::from_utf8_lossy(&text);
        let value = text.lines().find_map(|line| line.strip_prefix("starling_hints_pending "));
        value?.trim().parse::<f64>().ok().map(|count| count as u64)
    }

    /// Whether all hear all, and what is owed in all.
    pub async fn state(&self) -> (bool, Option<u64>) {
        let mut asked = JoinSet::new();
        for node in 0..self.nodes {
            let cluster = self.clone();
            asked.spawn(async move { (cluster.hears(node).await, cluster.owes(node).await) });
        }
        let answers = asked.join_all().await;
        let hear = answers.iter().all(|(hears, _)| *hears);
        (hear, answers.iter().map(|(_, owes)| *owes).sum())
    }

    /// Waits until all hear all and none owes; how long each look took.
    ///
    /// # Errors
    /// The time is over; says how it is.
    pub async fn calm(&self, until: Instant) -> Result<Vec<Duration>, String> {
        let (begun, mut last, mut looks) = (Instant::now(), None, Vec::new());
        loop {
            let asked = Instant::now();
            let state = self.state().await;
            looks.push(asked.elapsed());
            if last != Some(state) {
                let after = begun.elapsed().as_secs_f64();
                eprintln!("after {after:.1} s: all hear all: {}; owed: {:?}", state.0, state.1);
                last = Some(state);
            }
            if state == (true, Some(0)) {
                return Ok(looks);
            }
            if Instant::now() >= until {
                let (hear, owed) = state;
                return Err(format!("all hear all: {hear}; hints owed: {owed:?}"));
            }
            sleep(POLL).await;
        }
    }

    /// Why the owners of an object are not all there and equal.
    async fn unequal(&self, object: Object) -> Option<String> {
        let path = format!("/v1/explain/{}/{BUCKET}/{}", object.tag.name(), object.key());
        let node = object.key % self.nodes;
        let Some(report) = self.json(node, &path).await else {
            return Some(format!("node{node} does not say"));
        };
        let replicas = report["replicas"].as_array().map(Vec::as_slice).unwrap_or_default();
        let owners = replicas.iter().filter(|replica| replica["owner"] == true);
        let whole = owners.clone().count() == 3
            && owners.clone().all(|replica| replica["error"].is_null())
            && report["owners_agree"] == true;
        (!whole).then(|| report.to_string())
    }

    /// Waits until the owners of an object are equal, and says when that was seen: nothing where it
    /// was so at first, or within so few looks that a write may just have been on its way.
    async fn becomes_equal(
        &self,
        object: Object,
        until: Instant,
        (first, later): (Arc<Semaphore>, Arc<Semaphore>),
    ) -> Result<Option<Instant>, String> {
        let mut turns = first;
        for look in 0_usize.. {
            let turn = turns.acquire().await.expect("nobody closes it");
            let asked = Instant::now();
            let Some(why) = self.unequal(object).await else {
                return Ok((look >= LOOKS).then(Instant::now));
            };
            drop(turn);
            let why: String = why.chars().take(2_000).collect();
            if look == LOOKS {
                eprintln!("{object} is not equal: {why}");
            }
            if asked >= until {
                return Err(format!("{object} is not equal: {why}"));
            }
            turns = later.clone();
            sleep(POLL / 2).await;
        }
        Ok(None)
    }

    /// Asks about all objects until each was seen equal at its owners once, and says when the last
    /// one that was not equal at first was. What is asked for most comes first, and each that is
    /// not equal is looked at again and again from then on.
    ///
    /// # Errors
    /// The time is over; names an object that is not equal.
    pub async fn equal(
        &self,
        objects: &BTreeSet<Object>,
        until: Instant,
    ) -> Result<Option<Instant>, String> {
        let turns = ASKED_MAX.map(|count| Arc::new(Semaphore::new(count)));
        let mut by_key: Vec<Object> = objects.iter().copied().collect();
        by_key.sort_by_key(|object| object.key);
        let mut asked = JoinSet::new();
        for object in by_key {
            let (cluster, [first, later]) = (self.clone(), turns.clone());
            let wait = async move { cluster.becomes_equal(object, until, (first, later)).await };
            asked.spawn(wait);
        }
        let answers: Result<Vec<_>, _> = asked.join_all().await.into_iter().collect();
        let late: Vec<Instant> = answers?.into_iter().flatten().collect();
        if !late.is_empty() {
            eprintln!("{} objects were not equal at first", late.len());
        }
        Ok(late.into_iter().max())
    }
}
