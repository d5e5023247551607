//! What some of the known bugs make of a delta before it is joined; see [`crate::config::Mutant`].

use crate::crdt::{CausalContext, Kv, Object};

/// The delta as a buggy join would take it: it forgets every dot that is not live.
pub(super) fn forget_dots(delta: &Object) -> Object {
    let mut delta = delta.clone();
    let dots = delta.live_dots().into_iter().chain(delta.expiry_dots());
    let live: CausalContext = dots.collect();
    match &mut delta {
        Object::Kv(kv) => kv.context = live,
        Object::Flag(flag) => flag.context = live,
        Object::Counter(counter) => counter.context = live,
        Object::DwFlag(flag) => flag.0.context = live,
        // Its context is no more than what its ledgers say.
        Object::Bounded(_) => {}
        collection => {
            let rows = collection.rows_mut().expect("every other type has rows");
            rows.context = live;
            rows.removed.clear();
        }
    }
    delta
}

/// The delta without the tallies that are newer than the held ones but come to less.
pub(super) fn keep_higher(delta: &Object, held: &Object) -> Object {
    let mut delta = delta.clone();
    if let (Object::Counter(delta), Object::Counter(held)) = (&mut delta, held) {
        delta.runs.retain(|run, tally| {
            let sum = |up: u128, down: u128| up as i128 - down as i128;
            let kept = held.runs.get(run).map(|kept| sum(kept.up, kept.down));
            kept.is_none_or(|kept| sum(tally.up, tally.down) >= kept)
        });
    }
    delta
}

/// A register in which only the value with the latest wall time is left.
pub(super) fn keep_latest(kv: &mut Kv) {
    if let Some(latest) = kv.latest().map(|(dot, _)| *dot) {
        kv.siblings.retain(|dot, _| *dot == latest);
    }
}
