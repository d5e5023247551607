//! The members of a sorted set by score: keys in a family of their own, written in one batch with
//! the rows they come from.
//!
//! Key: object key, then [`place`]. Every row that clients see has its key here. There can be
//! keys too many, where a removal of everything took the rows at once; so each is checked with
//! its row when it is read, and collection takes those away that have none. No digest and no
//! exchange knows of them: they are a function of the rows.

use super::keys::{object_key, prefix_end};
use super::rows::load_row;
use crate::crdt::rows::Covers;
use crate::crdt::zset::{at_place, place, score_key, score_of};
use crate::crdt::{ObjectId, Row, Rows, TypeTag};
use crate::store::{Batch, Family, Store, StoreError, Visit};
use crate::wire::api::ByScore;

/// Keys looked at before their rows are.
const CHUNK: usize = 1_000;

/// A member's row was `old` and is `new`, both as clients see them.
pub(super) fn replace(object: &ObjectId, member: &[u8], old: &Row, new: &Row, batch: &mut Batch) {
    if object.tag != TypeTag::Zset {
        return;
    }
    let key = |row: &Row| {
        row.is_present().then(|| [object_key(object), place(score_of(row), member)].concat())
    };
    let (old, new) = (key(old), key(new));
    if old == new {
        return;
    }
    if let Some(old) = old {
        batch.delete(Family::Scores, old);
    }
    if let Some(new) = new {
        batch.put(Family::Scores, new, Vec::new());
    }
}

/// Places of a set, as they stand: up to `limit` between `from` (inclusive) and `until`.
fn places<S: Store>(
    store: &S,
    base: &[u8],
    (from, until): (&[u8], Option<&[u8]>),
    desc: bool,
    limit: usize,
) -> Result<Vec<Vec<u8>>, StoreError> {
    let mut found = Vec::new();
    let mut visit = |key: &[u8], _: &[u8]| {
        found.push(key[base.len()..].to_vec());
        if found.len() == limit { Visit::Stop } else { Visit::Next }
    };
    match desc {
        false => store.scan(Family::Scores, from, until, &mut visit)?,
        true => store.scan_back(Family::Scores, from, until, &mut visit)?,
    }
    Ok(found)
}

/// A page of members by score with their rows, and whether there are more. The page speaks for
/// these rows alone.
pub(super) fn page<S: Store>(
    store: &S,
    object: &ObjectId,
    head: &Rows,
    query: &ByScore,
    limit: usize,
) -> Result<(Rows, bool), StoreError> {
    let base = object_key(object);
    let min = query.min.map(|min| score_key(min.get()).to_vec()).unwrap_or_default();
    let mut from = [&base[..], &min].concat();
    let max = query.max.map(|max| score_key(max.get()).to_vec()).unwrap_or_default();
    let mut until = prefix_end(&[&base[..], &max].concat());
    let mut after = query.after.clone();
    let mut page = Rows { covers: Covers::Rows, ..head.header() };
    loop {
        if let Some(after) = after.take() {
            let after = [&base[..], &after].concat();
            match query.desc {
                false => from = from.max([&after[..], &[0]].concat()),
                true => until = Some(until.map_or(after.clone(), |until| until.min(after))),
            }
        }
        let range = (&from[..], until.as_deref());
        let places = places(store, &base, range, query.desc, CHUNK.min(limit + 1))?;
        if places.is_empty() {
            return Ok((page, false));
        }
        for place in &places {
            let Some((member, row)) = row_at(store, object, head, place)? else { continue };
            if page.rows.len() == limit {
                return Ok((page, true));
            }
            page.rows.insert(member, row);
        }
        after = places.last().cloned();
    }
}

/// The row that a place belongs to; `None` when it is one too many.
fn row_at<S: Store>(
    store: &S,
    object: &ObjectId,
    head: &Rows,
    place: &[u8],
) -> Result<Option<(Vec<u8>, Row)>, StoreError> {
    let Some((score, member)) = at_place(place) else { return Ok(None) };
    let row = load_row(store, object, head, member)?;
    let fits = row.is_present() && score_of(&row) == score;
    Ok(fits.then(|| (member.to_vec(), row)))
}

/// Deletes keys after `after` that are too many, or all of them, at most `limit` looked at; where
/// to go on.
pub(super) fn collect<S: Store>(
    store: &S,
    object: &ObjectId,
    head: &Rows,
    (all, after, limit): (bool, &[u8], usize),
    batch: &mut Batch,
) -> Result<Option<Vec<u8>>, StoreError> {
    let base = object_key(object);
    let from = [&base[..], after, if after.is_empty() { b"" } else { b"\0" }].concat();
    let range = (&from[..], prefix_end(&base));
    let places = places(store, &base, (range.0, range.1.as_deref()), false, limit)?;
    for place in &places {
        if all || row_at(store, object, head, place)?.is_none() {
            batch.delete(Family::Scores, [&base[..], place].concat());
        }
    }
    Ok(places.last().filter(|_| places.len() == limit).cloned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crdt::{Actor, DeltaType, Hlc, Mint, NodeId, Object, Observed, Real, Zset, ZsetOp};
    use crate::replica::rows;
    use crate::store::memory::MemoryStore;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn object() -> ObjectId {
        ObjectId { bucket: "b".into(), tag: TypeTag::Zset, key: b"k\0".to_vec() }
    }

    fn real(score: f64) -> Real {
        Real::new(score).expect("finite")
    }

    /// A sorted set in a store, and whole in memory beside it.
    struct Held {
        store: MemoryStore,
        whole: Zset,
        garbage: bool,
    }

    impl Held {
        fn new() -> Held {
            Held { store: MemoryStore::new(), whole: Zset::default(), garbage: false }
        }

        fn join(&mut self, delta: &Zset) {
            let (object, mut batch) = (object(), Batch::default());
            let held = rows::load(&self.store, &object).expect("it can be read");
            let own = Actor { node: NodeId(9), epoch: 9 };
            let delta_object = Object::Zset(delta.clone());
            let joined =
                rows::join(&self.store, &object, held, &delta_object, (own, None), &mut batch);
            self.garbage |= joined.expect("of its type").garbage;
            self.store.write(batch).expect("there is room");
            self.whole.join(delta);
        }

        fn head(&self) -> Rows {
            let (header, _) = rows::load(&self.store, &object()).expect("it can be read");
            header.object.rows().expect("a collection").clone()
        }

        fn page(&self, query: &ByScore) -> (Vec<(f64, Vec<u8>)>, bool) {
            let limit = query.limit as usize;
            let (rows, more) =
                page(&self.store, &object(), &self.head(), query, limit).expect("it can be read");
            let mut members: Vec<_> =
                rows.present().map(|(member, row)| (score_of(row), member.clone())).collect();
            members.sort_by_key(|(score, member)| place(*score, member));
            if query.desc {
                members.reverse();
            }
            (members, more)
        }

        /// All members, read in pages.
        fn paged(&self, query: &ByScore) -> Vec<(f64, Vec<u8>)> {
            let (mut all, mut query) = (Vec::new(), query.clone());
            loop {
                let (members, more) = self.page(&query);
                assert!(members.len() <= query.limit as usize);
                query.after = members.last().map(|(score, member)| place(*score, member));
                all.extend(members);
                if !more {
                    return all;
                }
            }
        }

        fn keys(&self) -> BTreeSet<Vec<u8>> {
            let mut keys = BTreeSet::new();
            let mut visit = |key: &[u8], _: &[u8]| {
                keys.insert(key.to_vec());
                Visit::Next
            };
            self.store.scan(Family::Scores, b"", None, &mut visit).expect("it can be read");
            keys
        }

        fn collect(&mut self, all: bool) {
            let mut after = Vec::new();
            loop {
                let mut batch = Batch::default();
                let step = (all, &after[..], 2);
                let next = collect(&self.store, &object(), &self.head(), step, &mut batch)
                    .expect("it can be read");
                self.store.write(batch).expect("there is room");
                match next {
                    Some(next) => after = next,
                    None => return,
                }
            }
        }

        fn check(&self) {
            let expected: BTreeMap<Vec<u8>, f64> = self.whole.value().unwrap_or_default();
            let mut expected: Vec<_> = expected.into_iter().map(|(m, score)| (score, m)).collect();
            expected.sort_by(|a, b| a.partial_cmp(b).expect("finite"));
            let all = ByScore { limit: 2, ..ByScore::default() };
            assert_eq!(self.paged(&all), expected);
            let some = ByScore { min: Some(real(-1.0)), max: Some(real(2.0)), ..all.clone() };
            let inside = expected.iter().filter(|(score, _)| (-1.0..=2.0).contains(score));
            assert_eq!(self.paged(&some), inside.clone().cloned().collect::<Vec<_>>());
            let back = ByScore { desc: true, ..some };
            assert_eq!(self.paged(&back), inside.rev().cloned().collect::<Vec<_>>());
            let base = object_key(&object());
            let wanted: BTreeSet<Vec<u8>> = expected
                .iter()
                .map(|(score, member)| [base.clone(), place(*score, member)].concat())
                .collect();
            let keys = self.keys();
            assert!(wanted.is_subset(&keys), "a member has no key");
            // Only where a removal of everything took the rows unseen there are keys too many.
            assert!(self.garbage || keys == wanted, "keys too many");
        }
    }

    fn mint(set: &Zset, node: u64) -> Mint {
        let actor = Actor { node: NodeId(node), epoch: 0 };
        Mint::new(actor, set.context().highest(actor) + 1, Hlc { wall_ms: 7, logical: 0 })
    }

    fn set(scores: impl IntoIterator<Item = (Vec<u8>, f64)>) -> ZsetOp {
        ZsetOp::Update {
            add: scores.into_iter().map(|(member, score)| (member, real(score))).collect(),
            increment: BTreeMap::new(),
            remove: BTreeSet::new(),
            observed: Observed::Here,
        }
    }

    fn op(kind: u8, member: u8, score: i8, seen: &Observed) -> ZsetOp {
        let member = vec![b'a' + member % 4];
        let scored = BTreeMap::from([(member.clone(), real(f64::from(score % 4) / 2.0))]);
        let (mut add, mut increment, mut remove) = Default::default();
        let observed = match kind {
            0..90 => {
                add = scored;
                Observed::Here
            }
            90..180 => {
                increment = scored;
                Observed::Here
            }
            180..225 => {
                remove = BTreeSet::from([member]);
                if kind.is_multiple_of(2) { seen.clone() } else { Observed::Here }
            }
            _ => return ZsetOp::Delete { observed: seen.clone() },
        };
        ZsetOp::Update { add, increment, remove, observed }
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 400,
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn what_is_read_by_score_is_what_the_rows_say_after_any_history(
            steps in prop::collection::vec(any::<(u8, u8, u8, i8)>(), 1..40),
        ) {
            let mut held = [Held::new(), Held::new()];
            let mut deltas: Vec<Zset> = Vec::new();
            let mut seen = Observed::Here;
            for (what, kind, member, score) in steps {
                let at = usize::from(what % 2);
                match what {
                    0..130 => {
                        let op = op(kind, member, score, &seen);
                        let mut mint = mint(&held[at].whole, at as u64 + 1);
                        let delta = held[at].whole.delta(&op, &mut mint).expect("finite");
                        held[at].join(&delta);
                        deltas.push(delta);
                    }
                    130..200 if !deltas.is_empty() => {
                        let delta = deltas[usize::from(kind) % deltas.len()].clone();
                        held[at].join(&delta);
                    }
                    200..220 => {
                        let other = held[1 - at].whole.clone();
                        held[at].join(&other);
                    }
                    220..235 => {
                        held[at].collect(false);
                        // Rows that nobody sees may be left: their keys are gone.
                        held[at].garbage = false;
                    }
                    _ => seen = Observed::Context(Object::Zset(held[at].whole.clone()).seen()),
                }
                held[at].check();
            }
            for held in &mut held {
                held.collect(true);
                prop_assert!(held.keys().is_empty());
            }
        }

        #[test]
        fn places_sort_like_scores_and_read_back(a: f64, b: f64, member: Vec<u8>) {
            prop_assume!(a.is_finite() && b.is_finite() && !member.is_empty());
            let (a, b) = (real(a).get(), real(b).get());
            prop_assert_eq!(a.partial_cmp(&b), Some(score_key(a).cmp(&score_key(b))));
            let place = place(a, &member);
            prop_assert_eq!(at_place(&place), Some((a, &member[..])));
        }
    }

    #[test]
    fn negative_scores_zeros_and_ties_have_their_order() {
        let mut held = Held::new();
        let scores = [
            ("z", -0.0),
            ("a", 0.0),
            ("m", f64::MIN),
            ("n", -1.5),
            ("o", f64::MAX),
            ("b", f64::MIN_POSITIVE),
            ("c", -f64::MIN_POSITIVE),
        ];
        let op = set(scores.map(|(member, score)| (member.into(), score)));
        let delta = held.whole.delta(&op, &mut mint(&held.whole, 1)).expect("finite");
        held.join(&delta);
        let all = ByScore { limit: 3, ..ByScore::default() };
        let names: Vec<_> = held.paged(&all).into_iter().map(|(_, member)| member).collect();
        assert_eq!(names.concat(), b"mncazbo");
        let zeros = ByScore { min: Some(real(-0.0)), max: Some(real(0.0)), ..all };
        assert_eq!(held.paged(&zeros), [(0.0, b"a".to_vec()), (0.0, b"z".to_vec())]);
    }

    #[test]
    fn pages_of_equal_scores_show_every_member_once() {
        let mut held = Held::new();
        for part in 0..5u32 {
            let names = (part * 1_000..(part + 1) * 1_000).map(|n| n.to_be_bytes().to_vec());
            let op = set(names.map(|name| (name, 42.0)));
            let delta = held.whole.delta(&op, &mut mint(&held.whole, 1)).expect("finite");
            held.join(&delta);
        }
        let names: Vec<_> = (0..5_000u32).map(|n| (42.0, n.to_be_bytes().to_vec())).collect();
        let query = ByScore { limit: 999, ..ByScore::default() };
        assert_eq!(held.paged(&query), names);
        let back = ByScore { limit: 1_000, desc: true, max: Some(real(42.0)), ..query };
        assert!(held.paged(&back).iter().eq(names.iter().rev()));
    }
}
