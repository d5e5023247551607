//! Counters under reset and collection, and the limits of every type, case by case.

mod crdt_support;

use crdt_support::actor_of;
use starling_node::crdt::kv::SIBLINGS_MAX;
use starling_node::crdt::rows::DEFERRED_MAX;
use starling_node::crdt::{
    Actor, Counter, CounterOp, DeltaType, Dot, Flag, FlagOp, Hlc, Kv, KvOp, Mint, Object, Observed,
    OpError, SeenContext, Set, SetOp,
};
use starling_node::wire::codec;
use std::collections::BTreeSet;

fn a() -> Actor {
    actor_of(0, 0)
}

fn b() -> Actor {
    actor_of(1, 0)
}

/// Applies `op` as `actor` whose dots begin after `floor`; the delta.
fn apply<T: DeltaType>(state: &mut T, op: &T::Op, actor: Actor, floor: u64) -> T {
    let delta = try_apply(state, op, actor, floor).expect("within limits");
    state.join(&delta);
    delta
}

fn try_apply<T: DeltaType>(state: &T, op: &T::Op, actor: Actor, floor: u64) -> Result<T, OpError> {
    let next = state.context().highest(actor).max(floor) + 1;
    let mut mint = Mint::new(actor, next, Hlc::default());
    let before = mint.clone();
    let delta = state.delta(op, &mut mint);
    if delta.is_err() {
        assert_eq!(mint.dot(), before.clone().dot(), "a refused operation uses no dot");
    }
    delta
}

fn add(amount: i128) -> CounterOp {
    CounterOp::Add { amount, floor: 0 }
}

fn add_above(amount: i128, floor: u64) -> CounterOp {
    CounterOp::Add { amount, floor }
}

fn reset() -> CounterOp {
    CounterOp::Reset { observed: Observed::Here, floor: 0 }
}

fn seen(counter: &Counter) -> Observed {
    Observed::Context(Object::Counter(counter.clone()).seen())
}

#[test]
fn concurrent_resets_of_the_same_amount_remove_it_once() {
    let mut left = Counter::default();
    apply(&mut left, &add(10), a(), 0);
    let mut right = left.clone();
    apply(&mut left, &reset(), a(), 0);
    apply(&mut right, &reset(), b(), 0);
    apply(&mut right, &add(3), b(), 0);
    left.join(&right);
    assert_eq!(left.value(), Some(3));
}

#[test]
fn a_reset_leaves_the_increments_it_did_not_observe() {
    let mut left = Counter::default();
    apply(&mut left, &add(10), a(), 0);
    let stale = seen(&left);
    apply(&mut left, &add(7), a(), 0);
    apply(&mut left, &CounterOp::Reset { observed: stale, floor: 0 }, a(), 0);
    assert_eq!(left.value(), Some(7));
}

#[test]
fn a_reset_counter_is_there_and_zero_and_a_removed_one_is_not_there() {
    let mut counter = Counter::default();
    assert_eq!(counter.value(), None);
    apply(&mut counter, &reset(), a(), 0);
    assert_eq!(counter.value(), Some(0));
    apply(&mut counter, &add(5), a(), 0);
    apply(&mut counter, &CounterOp::Delete { observed: Observed::Here }, b(), 0);
    assert_eq!(counter.value(), None);
    apply(&mut counter, &add(2), a(), 0);
    assert_eq!(counter.value(), Some(2), "what was removed does not come back");
}

#[test]
fn an_increment_that_passed_a_reset_on_the_way_does_not_stand_for_it() {
    let mut writer = Counter::default();
    apply(&mut writer, &add(10), b(), 0);
    let mut reader = writer.clone();
    let reset = apply(&mut writer, &reset(), a(), 0);
    let later = apply(&mut writer, &add(1), a(), 0);
    reader.join(&later);
    let reset_dot = Dot { actor: a(), counter: 1 };
    assert!(!reader.context().contains(reset_dot), "the reset has not arrived");
    assert_eq!(reader.value(), Some(11));
    reader.join(&reset);
    assert_eq!(reader, writer);
}

#[test]
fn a_collected_counter_that_comes_back_first_counts_on_in_a_new_run() {
    let mut peer = Counter::default();
    for _ in 0..3 {
        apply(&mut peer, &add(10), a(), 0);
    }
    let floor = peer.context().highest(a());
    // The replica forgets, gets its state back from a peer, and increments.
    let mut replica = peer.clone();
    apply(&mut replica, &add_above(1, floor), a(), floor);
    assert_eq!(replica.value(), Some(31));
    assert_eq!(replica.runs().count(), 2);
    apply(&mut replica, &add_above(1, floor), a(), floor);
    assert_eq!(replica.runs().count(), 2, "the new run goes on");
    peer.join(&replica);
    assert_eq!(peer.value(), Some(32));
}

#[test]
fn a_collected_counter_incremented_before_it_comes_back_loses_nothing() {
    let mut peer = Counter::default();
    for _ in 0..3 {
        apply(&mut peer, &add(10), a(), 0);
    }
    let floor = peer.context().highest(a());
    let mut replica = Counter::default();
    apply(&mut replica, &add_above(1, floor), a(), floor);
    assert_eq!(replica.value(), Some(1));
    // An older state of the peer, then the newest: neither passes for a later total.
    replica.join(&peer);
    apply(&mut replica, &add_above(1, floor), a(), floor);
    peer.join(&replica);
    assert_eq!((peer.value(), replica.value()), (Some(32), Some(32)));
}

#[test]
fn a_counter_refuses_to_leave_its_range_and_changes_nothing() {
    let mut counter = Counter::default();
    apply(&mut counter, &add(i64::MAX.into()), a(), 0);
    let over = try_apply(&counter, &add(1), a(), 0);
    assert_eq!(over, Err(OpError::CounterOverflow));
    for extreme in [i128::MAX, i128::MIN] {
        let over = try_apply(&counter, &add(extreme), a(), 0);
        assert_eq!(over, Err(OpError::CounterOverflow));
    }
    apply(&mut counter, &add(i128::from(i64::MIN) - i128::from(i64::MAX)), a(), 0);
    assert_eq!(counter.value(), Some(i64::MIN));
    assert_eq!(try_apply(&counter, &add(-1), a(), 0), Err(OpError::CounterOverflow));
}

#[test]
fn a_counter_driven_out_of_range_by_two_sides_stays_exact_and_finds_back() {
    let mut left = Counter::default();
    apply(&mut left, &add(i64::MAX.into()), a(), 0);
    let mut right = Counter::default();
    apply(&mut right, &add(100), b(), 0);
    left.join(&right);
    assert_eq!(left.value(), Some(i64::MAX));
    assert_eq!(left.total(), i128::from(i64::MAX) + 100);
    assert_eq!(try_apply(&left, &add(1), a(), 0), Err(OpError::CounterOverflow));
    apply(&mut left, &add(-40), a(), 0);
    apply(&mut left, &add(-70), a(), 0);
    assert_eq!(left.value(), Some(i64::MAX - 10));
}

#[test]
fn writes_that_observe_nothing_are_refused_at_the_sibling_limit() {
    let (mut kv, mut flag) = (Kv::default(), Flag::default());
    let put = |observed| KvOp::Put { value: vec![1], content_type: String::new(), observed };
    let set = |observed| FlagOp::Set { enabled: true, observed };
    for _ in 0..SIBLINGS_MAX {
        apply(&mut kv, &put(Observed::Nothing), a(), 0);
        apply(&mut flag, &set(Observed::Nothing), a(), 0);
    }
    let (count, limit) = (SIBLINGS_MAX as u32, SIBLINGS_MAX as u32);
    let refused = OpError::TooManySiblings { count, limit };
    assert_eq!(try_apply(&kv, &put(Observed::Nothing), a(), 0), Err(refused.clone()));
    assert_eq!(try_apply(&flag, &set(Observed::Nothing), a(), 0), Err(refused));
    apply(&mut kv, &put(Observed::Here), a(), 0);
    apply(&mut flag, &set(Observed::Here), a(), 0);
    assert_eq!((kv.siblings().count(), flag.votes().count()), (1, 1));
}

#[test]
fn siblings_of_a_mebibyte_are_refused_before_they_outgrow_a_frame() {
    let put = |observed| KvOp::Put {
        value: vec![7; 1 << 20],
        content_type: "application/octet-stream".into(),
        observed,
    };
    let mut met = Kv::default();
    for n in 0..3 {
        let mut apart = Kv::default();
        let refused = (0..SIBLINGS_MAX).find_map(|_| {
            let delta = try_apply(&apart, &put(Observed::Nothing), actor_of(n, 0), 0);
            delta.map(|delta| apart.join(&delta)).err()
        });
        let (count, limit) = (4, 4);
        assert_eq!(refused, Some(OpError::TooManySiblings { count, limit }));
        apply(&mut apart.clone(), &put(Observed::Here), actor_of(n, 0), 0);
        met.join(&apart);
    }
    assert_eq!(codec::decode(&codec::encode(&met)), Ok(met));
}

#[test]
fn merging_keeps_siblings_beyond_the_limit_of_clients() {
    let mut all = Kv::default();
    for n in 0..SIBLINGS_MAX as u32 + 8 {
        let put = KvOp::Put {
            value: n.to_le_bytes().to_vec(),
            content_type: String::new(),
            observed: Observed::Here,
        };
        all.join(&apply(&mut Kv::default(), &put, actor_of(n, 0), 0));
    }
    assert_eq!(all.siblings().count(), SIBLINGS_MAX + 8);
}

#[test]
fn the_last_writer_is_the_one_with_the_latest_clock_and_ties_go_to_the_dot() {
    let put = |value: u8| KvOp::Put {
        value: vec![value],
        content_type: String::new(),
        observed: Observed::Here,
    };
    let mut all = Kv::default();
    let clocks = [(0, 5, 0), (1, 7, 1), (2, 7, 1), (3, 7, 0)];
    for (n, wall_ms, logical) in clocks {
        let mut mint = Mint::new(actor_of(n, 0), 1, Hlc { wall_ms, logical });
        all.join(&Kv::default().delta(&put(n as u8), &mut mint).expect("within limits"));
    }
    let (dot, sibling) = all.latest().expect("four siblings");
    assert_eq!((dot.actor, sibling.value.as_slice()), (actor_of(2, 0), [2].as_slice()));
}

#[test]
fn removals_that_wait_for_unseen_adds_are_refused_at_their_limit() {
    let dots = [Dot { actor: b(), counter: 1 }].into_iter().collect();
    let unseen = Observed::Context(SeenContext { dots, ..SeenContext::default() });
    let remove = |member: usize, observed: &Observed| SetOp::Update {
        add: BTreeSet::from([b"kept".to_vec()]),
        remove: BTreeSet::from([member.to_be_bytes().to_vec()]),
        observed: observed.clone(),
    };
    let mut set = Set::default();
    for member in 0..DEFERRED_MAX {
        apply(&mut set, &remove(member, &unseen), a(), 0);
    }
    let (count, limit) = (DEFERRED_MAX as u32 + 1, DEFERRED_MAX as u32);
    let refused = try_apply(&set, &remove(DEFERRED_MAX, &unseen), a(), 0);
    assert_eq!(refused, Err(OpError::TooManyDeferred { count, limit }));
    apply(&mut set, &remove(DEFERRED_MAX, &Observed::Here), a(), 0);
}
