//! Clients, each with one node that it talks to. They ask at a steady rate whether or not they
//! have answers, as a service's own callers would: a slow cluster does not slow the questions.
//!
//! Registers with even keys are overwritten blindly, odd ones only as they were read. Members of
//! sets are added once and removed only as read. So a check knows what it may demand.

use crate::history::{Action, BUCKET, Object, Outcome, Record, Seen, Type};
use crate::net::{HTTP, host};
use crate::scenario::Workload;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use starling_client::{Client, Context, Error, Options, Quorum};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Share of the operations that ask for one replica only.
pub const ONE: f64 = 0.25;
/// Members of a page at most.
const PAGE: u32 = 1_000;

/// What is known of the last read of an object.
type Known = BTreeMap<Object, (Context, BTreeSet<String>)>;

/// One client.
struct Caller {
    client: usize,
    node: usize,
    http: Client,
    rng: StdRng,
    known: Arc<Mutex<Known>>,
    fresh: u64,
}

/// What all clients share.
struct Shape {
    workload: Workload,
    /// Of keys, cumulated and ending in 1.
    shares: Vec<f64>,
    begun: Instant,
    records: Mutex<Vec<Record>>,
}

/// Runs all clients until `seconds` after `begun`; everything they did.
pub async fn run(
    workload: &Workload,
    nodes: usize,
    seed: u64,
    begun: Instant,
    seconds: u64,
) -> anyhow::Result<Vec<Record>> {
    let shape = Arc::new(Shape {
        workload: workload.clone(),
        shares: shares(workload.keys, workload.skew),
        begun,
        records: Mutex::default(),
    });
    let mut callers = Vec::new();
    for client in 0..workload.clients {
        let node = client % nodes;
        let caller = Caller {
            client,
            node,
            http: Client::connect([format!("http://{}:{HTTP}", host(node))])?,
            rng: StdRng::seed_from_u64(seed << 16 | client as u64),
            known: Arc::default(),
            fresh: 0,
        };
        callers.push(tokio::spawn(caller.ask_until(shape.clone(), seconds)));
    }
    for caller in callers {
        caller.await?;
    }
    Ok(std::mem::take(&mut shape.records.lock().expect("nobody panics with it")))
}

/// Shares of the first key, the first two, and so on: Zipf's law.
fn shares(keys: usize, skew: f64) -> Vec<f64> {
    let weights: Vec<f64> = (1..=keys).map(|rank| (rank as f64).powf(-skew)).collect();
    let total: f64 = weights.iter().sum();
    let mut sum = 0.0;
    weights
        .iter()
        .map(|weight| {
            sum += weight / total;
            sum
        })
        .collect()
}

impl Caller {
    async fn ask_until(mut self, shape: Arc<Shape>, seconds: u64) {
        let workload = &shape.workload;
        let apart = Duration::from_secs_f64(1.0 / workload.ops_per_second as f64);
        let mut asked = Vec::new();
        for turn in 0.. {
            let place = turn * workload.clients + self.client;
            let due = apart * place as u32;
            if due >= Duration::from_secs(seconds) {
                break;
            }
            tokio::time::sleep_until((shape.begun + due).into()).await;
            let (object, action, context) = self.next(&shape);
            let one = self.rng.random_bool(ONE);
            asked.push(tokio::spawn(self.ask(&shape, object, action, context, one)));
        }
        for asked in asked {
            // A panic of ours would show as a missing record; there is none to hide.
            asked.await.expect("an operation ends");
        }
    }

    fn fresh(&mut self) -> String {
        self.fresh += 1;
        format!("c{}.{}", self.client, self.fresh)
    }

    /// What comes next, with the context to send along.
    fn next(&mut self, shape: &Shape) -> (Object, Action, Option<Context>) {
        let mix = &shape.workload.mix;
        let mut at = self.rng.random_range(0..mix.values().sum::<u32>());
        let weight = |tag: Type| mix.get(tag.name()).copied().unwrap_or(0);
        let tag = Type::ALL.into_iter().find(|tag| {
            let found = at < weight(*tag);
            at = at.saturating_sub(weight(*tag));
            found
        });
        let tag = tag.unwrap_or(Type::Kv);
        let place: f64 = self.rng.random();
        let key = shape.shares.partition_point(|share| *share < place);
        let mut object = Object { tag, key: key.min(shape.shares.len() - 1) };
        if self.rng.random_bool(shape.workload.reads) {
            return (object, Action::Read, None);
        }
        let taken = match object {
            Object { tag: Type::Kv, key } if key % 2 == 0 => None,
            Object { tag: Type::Kv | Type::Set, .. } => {
                self.known.lock().expect("nobody panics with it").remove(&object)
            }
            _ => None,
        };
        let (action, context) = match (tag, taken) {
            (Type::Kv, Some((context, seen))) => {
                (Action::Put(self.fresh(), Seen::Just(seen)), Some(context))
            }
            (Type::Kv, None) => {
                // What this client has not read it does not supersede blindly.
                object.key &= !1;
                (Action::Put(self.fresh(), Seen::Here), None)
            }
            (Type::Set, Some((context, seen))) if !seen.is_empty() && self.rng.random_bool(0.6) => {
                let count = self.rng.random_range(1..=3);
                let remove = seen.into_iter().take(count).collect();
                (Action::Remove(remove), Some(context))
            }
            (Type::Set, _) => {
                let count = self.rng.random_range(1..=3);
                (Action::Add((0..count).map(|_| self.fresh()).collect()), None)
            }
            (Type::Counter, _) => match self.rng.random_range(-40..=100) {
                0 => (Action::Count(1), None),
                amount => (Action::Count(amount), None),
            },
            (Type::Flag, _) => (Action::Switch(self.rng.random_bool(0.5)), None),
        };
        (object, action, context)
    }

    fn ask(
        &self,
        shape: &Arc<Shape>,
        object: Object,
        action: Action,
        context: Option<Context>,
        one: bool,
    ) -> impl Future<Output = ()> + use<> {
        let quorum = one.then_some(Quorum::One);
        // Each attempt is an operation of its own in the history.
        let options = Options { r: quorum, w: quorum, attempts: 1, ..Options::default() };
        let (http, known) = (self.http.with_options(options), self.known.clone());
        let (node, shape) = (self.node, shape.clone());
        async move {
            let begun = shape.begun.elapsed();
            let answer = perform(&http, object, &action, context.as_ref()).await;
            let outcome = match answer {
                Ok((outcome, context)) => {
                    let mut known = known.lock().expect("nobody panics with it");
                    if let (Outcome::Read(values), Some(context)) = (&outcome, context) {
                        known.insert(object, (context, values.clone()));
                    }
                    outcome
                }
                Err(error) => Outcome::failed(&error),
            };
            let done = shape.begun.elapsed();
            let record = Record { node, object, action, one, begun, done, outcome };
            shape.records.lock().expect("nobody panics with it").push(record);
        }
    }
}

/// Carries one operation out; what was answered, and the context of what was read.
pub async fn perform(
    http: &Client,
    object: Object,
    action: &Action,
    context: Option<&Context>,
) -> Result<(Outcome, Option<Context>), Error> {
    let key = object.key();
    let (kv, set) = (http.kv(BUCKET), http.set(BUCKET, &key));
    let (counter, flag) = (http.counter(BUCKET, &key), http.flag(BUCKET, &key));
    let acks = match (action, context) {
        (Action::Read, _) => return read(http, object).await,
        (Action::Put(value, _), Some(seen)) => kv.put_seen(&key, value.clone(), seen).await?.acks,
        (Action::Put(value, _), None) => kv.put(&key, value.clone()).await?.acks,
        (Action::Count(amount), _) => counter.increment(*amount).await?.acks,
        (Action::Add(members), _) => set.add(members).await?.acks,
        (Action::Remove(members), Some(seen)) => set.remove_seen(members, seen).await?.acks,
        (Action::Remove(members), None) => set.remove(members).await?.acks,
        (Action::Switch(true), _) => flag.enable().await?.acks,
        (Action::Switch(false), _) => flag.disable().await?.acks,
    };
    Ok((Outcome::Written(acks.owners + acks.hints), None))
}

async fn read(http: &Client, object: Object) -> Result<(Outcome, Option<Context>), Error> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let key = object.key();
    let (values, context) = match object.tag {
        Type::Kv => match http.kv(BUCKET).get(&key).await {
            Ok(value) => {
                let values = value.siblings().iter().map(|one| text(&one.bytes)).collect();
                (values, Some(value.context().clone()))
            }
            Err(error) if error.is_not_found() => (BTreeSet::new(), None),
            Err(error) => return Err(error),
        },
        Type::Counter => {
            (BTreeSet::from([http.counter(BUCKET, &key).get().await?.to_string()]), None)
        }
        Type::Set => {
            let page = http.set(BUCKET, &key).page(None, PAGE).await?;
            (page.members.iter().map(|member| text(member)).collect(), page.context)
        }
        Type::Flag => {
            (BTreeSet::from([http.flag(BUCKET, &key).is_enabled().await?.to_string()]), None)
        }
    };
    Ok((Outcome::Read(values), context))
}

/// The whole value in the end, from all owners: sets page by page.
///
/// # Errors
/// Not all owners answer.
pub async fn whole(http: &Client, object: Object) -> Result<BTreeSet<String>, Error> {
    let mut after: Option<Vec<u8>> = None;
    let mut members = BTreeSet::new();
    if object.tag != Type::Set {
        return match read(http, object).await?.0 {
            Outcome::Read(values) => Ok(values),
            _ => Ok(members),
        };
    }
    loop {
        let page = http.set(BUCKET, object.key()).page(after.as_deref(), PAGE).await?;
        members.extend(page.members.iter().map(|one| String::from_utf8_lossy(one).into_owned()));
        after = page.next;
        if after.is_none() {
            return Ok(members);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_follow_zipfs_law() {
        let shares = shares(200, 0.99);
        assert!((shares[199] - 1.0).abs() < 1e-9);
        // 1 / (1 + 2^-0.99 + …): between a sixth and a fifth of all.
        assert!((0.16..0.20).contains(&shares[0]), "{}", shares[0]);
        let ratio = (shares[9] - shares[8]) / shares[0];
        assert!((ratio - 10f64.powf(-0.99)).abs() < 1e-9);
    }
}
