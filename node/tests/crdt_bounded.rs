//! No view of a bounded counter is below 0: every history of three replicas and four operations,
//! with every subset of the deltas delivered before each operation and at the end.

mod crdt_support;

use crdt_support::actor_of;
use starling_node::crdt::{
    Actor, Bounded, BoundedOp, CausalContext, DeltaType, Dot, Ledger, Mint, Object, OpError,
};
use starling_node::wire::codec;
use std::collections::BTreeMap;

/// Replicas, and operations in all.
const REPLICAS: u32 = 3;
const OPS: usize = 4;

/// How many histories that is, so that none is left out unnoticed.
const HISTORIES: u64 = 18_709;

/// A replica: its state, and which deltas it has.
#[derive(Clone, Default)]
struct Replica {
    state: Bounded,
    has: u32,
}

#[derive(Clone, Default)]
struct World {
    replicas: [Replica; REPLICAS as usize],
    deltas: Vec<Bounded>,
    /// Increments minus decrements that were not refused.
    sum: i128,
}

fn add(amount: i128) -> BoundedOp {
    BoundedOp::Add { amount }
}

fn actor(replica: u32) -> Actor {
    actor_of(replica, 0)
}

/// The ledger that a replica begins with its first write.
fn run_of(replica: u32) -> Dot {
    Dot { actor: actor(replica), counter: 1 }
}

fn try_op(state: &Bounded, op: &BoundedOp, actor: Actor) -> Result<Bounded, OpError> {
    let next = state.context().highest(actor) + 1;
    state.delta(op, &mut Mint::new(actor, next, Default::default()))
}

fn apply(state: &mut Bounded, op: &BoundedOp, actor: Actor) -> Bounded {
    let delta = try_op(state, op, actor).expect("rights for it");
    state.join(&delta);
    delta
}

fn subsets(of: u32) -> impl Iterator<Item = u32> {
    // Every submask, down to the empty one.
    std::iter::successors(Some(of), move |set| (*set > 0).then(|| (set - 1) & of))
}

fn joined<'a>(deltas: impl Iterator<Item = &'a Bounded>) -> Bounded {
    deltas.fold(Bounded::default(), |mut all, delta| {
        all.join(delta);
        all
    })
}

fn check_view(view: &Bounded) {
    assert!(view.total() >= 0, "below 0: {view:?}");
    // That the context is that of the ledgers, and that each has the rights it used.
    assert!(Object::Bounded(view.clone()).is_canonical(), "{view:?}");
}

fn check_end(world: &World) {
    let all = (1 << world.deltas.len()) - 1;
    for subset in subsets(all) {
        let of = |n: &usize| subset >> n & 1 == 1;
        let view = joined((0..world.deltas.len()).filter(of).map(|n| &world.deltas[n]));
        let other = joined((0..world.deltas.len()).rev().filter(of).map(|n| &world.deltas[n]));
        assert_eq!(view, other, "order");
        check_view(&view);
        if subset == all {
            assert_eq!(view.total(), world.sum, "nothing lost, nothing counted twice");
        }
    }
}

fn extend(world: &World, count: &mut u64) {
    if world.deltas.len() == OPS {
        *count += 1;
        return check_end(world);
    }
    // Replicas are alike: the first operation is replica 0's.
    let replicas = if world.deltas.is_empty() { 0..1 } else { 0..REPLICAS };
    for at in replicas {
        let unseen = ((1 << world.deltas.len()) - 1) & !world.replicas[at as usize].has;
        for received in subsets(unseen) {
            let mut world = world.clone();
            let replica = &mut world.replicas[at as usize];
            for n in (0..world.deltas.len()).rev().filter(|n| received >> n & 1 == 1) {
                replica.state.join(&world.deltas[n]);
                replica.has |= 1 << n;
                check_view(&replica.state);
            }
            for op in operations(at) {
                // Refused is as not asked: a shorter history.
                let mut world = world.clone();
                let replica = &mut world.replicas[at as usize];
                let Ok(delta) = try_op(&replica.state, &op, actor(at)) else { continue };
                replica.state.join(&delta);
                replica.has |= 1 << world.deltas.len();
                check_view(&replica.state);
                world.deltas.push(delta);
                world.sum += if let BoundedOp::Add { amount } = op { amount } else { 0 };
                extend(&world, count);
            }
        }
    }
}

fn operations(at: u32) -> Vec<BoundedOp> {
    let others = (0..REPLICAS).filter(|other| *other != at);
    let gifts = others.map(|other| BoundedOp::Give { to: run_of(other), amount: 1 });
    [add(2), add(0), add(-1), add(-2)].into_iter().chain(gifts).collect()
}

#[test]
fn no_view_of_any_small_history_is_below_0_whatever_was_delivered() {
    let mut count = 0;
    extend(&World::default(), &mut count);
    assert_eq!(count, HISTORIES);
}

#[test]
fn a_decrement_needs_rights_and_a_refusal_says_what_there_is() {
    let mut here = Bounded::default();
    let refused = |local, global| Err(OpError::InsufficientRights { local, global });
    assert_eq!(try_op(&here, &add(-1), actor(0)), refused(0, 0));
    let made = apply(&mut here, &add(10), actor(0));
    assert_eq!(try_op(&here, &add(-11), actor(0)), refused(10, 10));
    let mut there = made;
    assert_eq!(try_op(&there, &add(-1), actor(1)), refused(0, 10));
    apply(&mut there, &add(0), actor(1));
    there.join(&apply(&mut here, &BoundedOp::Give { to: run_of(1), amount: 4 }, actor(0)));
    assert_eq!(try_op(&there, &add(-5), actor(1)), refused(4, 10));
    apply(&mut there, &add(-4), actor(1));
    assert_eq!((there.value(), there.rights_of(run_of(1))), (Some(6), 0));
    assert_eq!(try_op(&here, &add(-7), actor(0)), refused(6, 10));
}

#[test]
fn a_decrement_on_rights_that_were_given_brings_the_gift_along() {
    let mut states = [Bounded::default(), Bounded::default(), Bounded::default()];
    let made = apply(&mut states[0], &add(5), actor(0));
    let gift = apply(&mut states[0], &BoundedOp::Give { to: run_of(1), amount: 5 }, actor(0));
    apply(&mut states[1], &add(0), actor(1));
    states[1].join(&gift);
    let passed = apply(&mut states[1], &BoundedOp::Give { to: run_of(2), amount: 5 }, actor(1));
    apply(&mut states[2], &add(0), actor(2));
    states[2].join(&passed);
    let used = apply(&mut states[2], &add(-5), actor(2));
    // Alone, in the hands of somebody who has seen nothing else.
    assert_eq!(used.value(), Some(0));
    assert_eq!(used.ledgers().count(), 3);
    assert_eq!(joined([&used, &made].into_iter()), used);
}

#[test]
fn the_rights_of_an_earlier_life_are_nobodys() {
    let mut state = Bounded::default();
    apply(&mut state, &add(5), actor(0));
    let later = actor_of(0, 1);
    let refused = Err(OpError::InsufficientRights { local: 0, global: 5 });
    assert_eq!(try_op(&state, &add(-1), later), refused);
    // Nor does an actor that may have forgotten what it used go on with what it finds.
    let mut mint = Mint::new(actor(0), 7, Default::default()).with_floor(6);
    assert_eq!(state.delta(&add(-1), &mut mint), refused);
    apply(&mut state, &add(2), later);
    assert_eq!((state.value(), state.rights_of(run_of(0))), (Some(7), 5));
}

#[test]
fn increments_stay_within_the_range_and_meet_beyond_it_without_harm() {
    let mut here = Bounded::default();
    apply(&mut here, &add(i64::MAX.into()), actor(0));
    assert_eq!(try_op(&here, &add(1), actor(0)), Err(OpError::CounterOverflow));
    let there = apply(&mut Bounded::default(), &add(i64::MAX.into()), actor(1));
    here.join(&there);
    assert_eq!(here.value(), Some(i64::MAX));
    apply(&mut here, &add(-i128::from(i64::MAX)), actor(0));
    assert_eq!(here.value(), Some(i64::MAX));
    check_view(&here);
}

#[test]
fn nothing_can_be_removed_or_given_to_oneself() {
    use starling_node::crdt::Observed;
    let mut state = Bounded::default();
    apply(&mut state, &add(5), actor(0));
    let remove = BoundedOp::Delete { observed: Observed::Here };
    let gifts = [(run_of(0), 1), (run_of(1), 0)].map(|(to, amount)| BoundedOp::Give { to, amount });
    for op in gifts.iter().chain([&remove]) {
        assert!(matches!(try_op(&state, op, actor(0)), Err(OpError::Unsupported(_))), "{op:?}");
    }
}

#[test]
fn a_ledger_that_used_more_than_it_had_is_not_taken_from_anybody() {
    let mut state = Bounded::default();
    apply(&mut state, &add(0), actor(1));
    apply(&mut state, &add(3), actor(0));
    apply(&mut state, &BoundedOp::Give { to: run_of(1), amount: 3 }, actor(0));
    apply(&mut state, &add(-3), actor(1));
    let encoded = |without: &[Dot]| {
        let kept = state.ledgers().filter(|(run, _)| !without.contains(run));
        let kept: BTreeMap<Dot, Ledger> = kept.map(|(run, own)| (*run, own.clone())).collect();
        let mut context = CausalContext::new();
        let covers = |(run, own): (&Dot, &Ledger)| (run.actor, run.counter, own.last);
        kept.iter().map(covers).for_each(|(a, from, to)| context.insert_range(a, from, to));
        codec::decode::<Bounded>(&codec::encode(&(context, kept))).expect("the same form")
    };
    assert_eq!(encoded(&[]), state);
    check_view(&encoded(&[run_of(1)]));
    // Without the ledger that gave the rights.
    assert!(!Object::Bounded(encoded(&[run_of(0)])).is_canonical());
}
