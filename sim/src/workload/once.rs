//! Keys of additions to counters that count once: asked again of any node until it answers, and
//! now and then once more; rarely a key that stood for something else before.

use super::{BUCKET, is_kind};
use crate::history::Action;
use crate::random::Rng;
use rand::{Rng as _, SeedableRng as _};
use starling_node::crdt::{CounterOp, ObjectId, ObjectOp, Once};
use std::collections::BTreeMap;

/// Attempts at one operation at most.
const ATTEMPTS_MAX: u32 = 8;

/// The keys given out. Draws of their own leave those of the other workloads as they are.
pub(super) struct Keys {
    rng: Rng,
    count: u64,
    last: BTreeMap<ObjectId, Vec<u8>>,
}

impl Keys {
    pub(super) fn new(mut rng: Rng) -> Keys {
        // Apart from where the others go on.
        let rng = Rng::seed_from_u64(rng.random::<u64>() ^ 0x6f6e_6365);
        Keys { rng, count: 0, last: BTreeMap::new() }
    }

    /// The key of what a client does next, if it gets one.
    pub(super) fn draw(&mut self, object: &ObjectId, action: &Action) -> Option<Box<Once>> {
        let Action::Write(ObjectOp::Counter(CounterOp::Add { amount, .. })) = action else {
            return None;
        };
        if object.bucket != BUCKET || !is_kind(object, "sum") || self.rng.random_bool(0.4) {
            return None;
        }
        let used = self.last.get(object).filter(|_| self.rng.random_bool(0.03)).cloned();
        let key = used.unwrap_or_else(|| {
            self.count += 1;
            format!("key {}", self.count).into_bytes()
        });
        self.last.insert(object.clone(), key.clone());
        Some(Box::new(Once { key, asked: *amount as u64 }))
    }

    /// Whether a client asks the same again at once.
    pub(super) fn again(&mut self, failed: bool, retried: u32) -> bool {
        let often = if failed { 0.95 } else { 0.1 };
        retried + 1 < ATTEMPTS_MAX && self.rng.random_bool(often)
    }
}
