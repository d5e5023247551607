//! Registers: `fresh` keys written once, `log` keys that only collect siblings and are cleared
//! with contexts, `shared` keys written in every way. Each value is unique.

use super::{Workload, delete, object};
use crate::history::Action;
use rand::Rng as _;
use starling_node::crdt::{KvOp, ObjectId, ObjectOp, Observed, TypeTag};
use starling_node::wire::api::ReadQuery;

/// Puts to one `log` key at most; the 32nd sibling would be refused.
const LOG_PUTS_MAX: u32 = 24;

pub(super) fn next(all: &mut Workload, client: usize) -> (ObjectId, Action) {
    let key = |name: String| object(TypeTag::Kv, name);
    match all.rng.random_range(0..100) {
        // In the end it has as many siblings as it may, and more are refused.
        0..3 => (key("full".into()), put(all, Observed::Nothing)),
        3..20 => {
            let object = key(format!("fresh-{}", all.fresh()));
            let here = all.rng.random_bool(0.5);
            (object, put(all, if here { Observed::Here } else { Observed::Nothing }))
        }
        20..35 => {
            let object = key(format!("log-{}", all.skewed(12)));
            match all.spend(&object, LOG_PUTS_MAX) {
                true => (object, put(all, Observed::Nothing)),
                false => (object, Action::Read(ReadQuery::Whole)),
            }
        }
        35..40 => {
            let object = key(format!("log-{}", all.skewed(12)));
            match all.seen(client, &object) {
                Some(observed) => (object, delete(TypeTag::Kv, observed)),
                None => (object, Action::Read(ReadQuery::Whole)),
            }
        }
        40..65 => {
            let object = key(format!("shared-{}", all.skewed(10)));
            let observed = all.observed(client, &object);
            (object, put(all, observed))
        }
        65..70 => {
            let object = key(format!("shared-{}", all.skewed(10)));
            let observed = all.seen(client, &object).unwrap_or(Observed::Here);
            (object, delete(TypeTag::Kv, observed))
        }
        70..75 => {
            let so_far = all.fresh.max(1);
            let which = all.rng.random_range(0..so_far);
            (key(format!("fresh-{which}")), Action::Read(ReadQuery::Whole))
        }
        75..82 => (key(format!("log-{}", all.skewed(12))), Action::Read(ReadQuery::Whole)),
        _ => (key(format!("shared-{}", all.skewed(10))), Action::Read(ReadQuery::Whole)),
    }
}

fn put(all: &mut Workload, observed: Observed) -> Action {
    let padding = all.rng.random_range(0..200);
    let value = format!("v{}.{}", all.fresh(), ".".repeat(padding)).into_bytes();
    let content_type = "text/plain".into();
    Action::Write(ObjectOp::Kv(KvOp::Put { value, content_type, observed }))
}
