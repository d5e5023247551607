//! What clients do: a mix of all types with options of all kinds, over few objects that many
//! clients share and some that nobody else touches. One type a file.
//!
//! The name of an object says what its clients keep to, so that a check knows what it may demand.

mod bounded;
mod brief;
mod counter;
mod flag;
mod hll;
mod kv;
mod map;
mod once;
mod options;
mod paced;
mod rude;
mod rwset;
mod set;
mod zset;

use crate::history::{Action, Intent, Outcome, Record};
use crate::random::Rng;
pub use brief::{LASTING_S, expires};
pub use map::{COUNT, INNER};
pub use paced::{Mix, Paced};
use rand::Rng as _;
use starling_node::crdt::{Object, ObjectId, ObjectOp, Observed, SeenContext, TypeTag};
use starling_node::wire::api::Options;
use std::collections::BTreeMap;

/// The bucket of most objects; it has the default properties.
pub const BUCKET: &str = "main";
/// A bucket whose properties are drawn; it holds registers, counters and sets that only converge
/// and are not lost, whatever the properties are.
pub const SIDE: &str = "side";

/// What one client remembers.
#[derive(Default)]
struct Client {
    /// From its last read or write of an object.
    seen: BTreeMap<ObjectId, SeenContext>,
    /// What it asks again, and how often it has done so.
    again: Option<Intent>,
    retried: u32,
    /// Members that its last page of a set showed, or the sets of a map.
    members: BTreeMap<ObjectId, Vec<Vec<u8>>>,
}

/// All clients of a run.
pub struct Workload {
    rng: Rng,
    /// What a scenario says; else all is drawn.
    paced: Option<Paced>,
    clients: Vec<Client>,
    /// Until a client's next operation at most, microseconds; drawn for the whole run.
    pause_max_us: u64,
    /// Numbers that make values unique.
    fresh: u64,
    /// The newest object that expires.
    brief: u64,
    /// How often each object was written, where that is bounded.
    writes: BTreeMap<ObjectId, u32>,
    once: once::Keys,
}

impl Workload {
    /// Clients that have done nothing yet.
    pub fn new(rng: Rng, clients: usize) -> Self {
        let mut rng = rng;
        let once = once::Keys::new(rng.clone());
        let pause_max_us = [250_000, 600_000, 1_500_000][rng.random_range(0..3)];
        let clients = (0..clients).map(|_| Client::default()).collect();
        Workload {
            rng,
            paced: None,
            clients,
            pause_max_us,
            fresh: 0,
            brief: 0,
            writes: BTreeMap::new(),
            once,
        }
    }

    /// Clients of a scenario that have done nothing yet.
    pub fn of_scenario(rng: Rng, paced: Paced) -> Self {
        Workload { paced: Some(paced.clone()), ..Workload::new(rng, paced.clients) }
    }

    /// Where clients ask at even times, whether or not they have answers: the time between two
    /// operations of one client, microseconds.
    pub fn period_us(&self) -> Option<u64> {
        self.paced.as_ref().map(Paced::period_us)
    }

    /// Until a client's first operation, microseconds.
    pub fn first_us(&mut self, client: usize) -> u64 {
        match &self.paced {
            Some(paced) => paced.first_us(client),
            None => self.pause_us(),
        }
    }

    /// The node that the client asks, of those that serve; of a scenario always the same.
    pub fn asks(&mut self, client: usize, nodes: usize, ready: &[usize]) -> usize {
        match self.paced {
            Some(_) => client % nodes,
            None => ready[self.pick(ready.len())],
        }
    }

    /// What the client asks again at once, if there is something.
    pub fn again(&mut self, client: usize) -> bool {
        self.clients[client].again.is_some()
    }

    /// Until a client's next operation, microseconds.
    pub fn pause_us(&mut self) -> u64 {
        self.rng.random_range(5_000..self.pause_max_us)
    }

    /// Draws one of `count` things.
    pub fn pick(&mut self, count: usize) -> usize {
        self.rng.random_range(0..count)
    }

    /// What the client does next.
    pub fn next(&mut self, client: usize) -> Intent {
        if let Some(intent) = self.clients[client].again.take() {
            return intent;
        }
        if let Some(paced) = self.paced.clone() {
            return paced::next(self, &paced, client);
        }
        let (object, action) = match self.rng.random_range(0..100) {
            0..32 => kv::next(self, client),
            32..35 => brief::next(self, client),
            35..58 => counter::next(self, client),
            58..61 => map::next(self, client),
            61..92 => set::next(self, client),
            95 => rude::next(self),
            96 => zset::next(self, client),
            97 => rwset::next(self, client),
            98.. => bounded::next(self, client),
            _ => flag::next(self, client),
        };
        // A context belongs to the object that it was read from.
        let main_only = expires(&object) || carries_context(&action);
        if self.rng.random_bool(0.1) && !main_only {
            let object = ObjectId { bucket: SIDE.into(), ..object };
            return Intent { object, action, options: Options::default(), impossible: false };
        }
        let (mut options, impossible) = options::draw(&mut self.rng, &action);
        options.ttl = brief::ttl(self, &object, &action);
        options.once = self.once.draw(&object, &action).filter(|_| !impossible);
        Intent { object, action, options, impossible }
    }

    /// Whether the client asks the same again at once, having done so less than `retries` times:
    /// what was not acknowledged and may be asked twice.
    pub fn retry(&mut self, record: &Record, retries: u32) -> bool {
        let spare = brief::spare(self, record);
        let client = &mut self.clients[record.client];
        let failed = matches!(record.outcome, Outcome::Unknown | Outcome::NotApplied(_));
        // Members of sets, values in maps and elements of distinct sketches are added once, and
        // keys called fresh are written once: checks rely on it.
        let may = !matches!(record.intent.object.tag, TypeTag::Set | TypeTag::Map)
            && !is_kind(&record.intent.object, "fresh")
            && !is_kind(&record.intent.object, "distinct")
            && !is_kind(&record.intent.object, "rude")
            && !expires(&record.intent.object)
            && !record.intent.impossible;
        let again = match record.intent.options.once {
            Some(_) => self.once.again(failed, client.retried),
            None => failed && may && client.retried < retries,
        };
        client.retried = if again { client.retried + 1 } else { 0 };
        client.again = again.then(|| record.intent.clone()).or(spare);
        again
    }

    /// Remembers what an answer showed the client.
    pub fn learn(&mut self, record: &Record) {
        let client = &mut self.clients[record.client];
        let object = &record.intent.object;
        match &record.outcome {
            Outcome::Written(written) => {
                client.seen.insert(object.clone(), written.seen.clone());
            }
            Outcome::Read(read) => {
                client.seen.insert(object.clone(), read.object.seen());
                if let Object::Set(set) = &read.object {
                    let members = set.members().map(|(member, _)| member.clone()).collect();
                    client.members.insert(object.clone(), members);
                }
                if let Some(members) = crate::leaves::members(&read.object) {
                    client.members.insert(object.clone(), members);
                }
            }
            _ => {}
        }
    }

    fn seen(&self, client: usize, object: &ObjectId) -> Option<Observed> {
        self.clients[client].seen.get(object).cloned().map(Observed::Context)
    }

    /// Any of the ways to observe; a context only where the client has one.
    fn observed(&mut self, client: usize, object: &ObjectId) -> Observed {
        match self.rng.random_range(0..10) {
            0..5 => self.seen(client, object).unwrap_or(Observed::Here),
            5..8 => Observed::Here,
            _ => Observed::Nothing,
        }
    }

    fn fresh(&mut self) -> u64 {
        self.fresh += 1;
        self.fresh
    }

    /// One of `count`, the first ones more often.
    fn skewed(&mut self, count: u64) -> u64 {
        let at: f64 = self.rng.random();
        ((at * at) * count as f64) as u64
    }

    /// Counts a write of an object; false once there were `max`.
    fn spend(&mut self, object: &ObjectId, max: u32) -> bool {
        let spent = self.writes.entry(object.clone()).or_default();
        *spent += 1;
        *spent <= max
    }
}

fn carries_context(action: &Action) -> bool {
    let Action::Write(op) = action else { return false };
    matches!(op.observed(), Some(Observed::Context(_)))
}

/// The object of that type and name in the bucket of all objects.
fn object(tag: TypeTag, name: String) -> ObjectId {
    ObjectId { bucket: BUCKET.into(), tag, key: name.into_bytes() }
}

/// Whether the object's name begins so: what its clients keep to.
pub fn is_kind(object: &ObjectId, kind: &str) -> bool {
    object.key.starts_with(kind.as_bytes())
}

/// The object of that type and name, for tests of checks.
#[cfg(test)]
pub fn named(tag: TypeTag, name: &str) -> ObjectId {
    object(tag, name.into())
}

fn delete(tag: TypeTag, observed: Observed) -> Action {
    Action::Write(ObjectOp::delete(tag, observed))
}
