//! Every type says what its specification says, over random histories and all small ones.

mod crdt_support;

use crdt_support::spec::{
    BoundedSubject, CounterSubject, DwFlagSubject, FlagSubject, KvSubject, RwSetSubject, SetSubject,
};
use crdt_support::spec_map::MapSubject;
use crdt_support::spec_zset::{HllSubject, ZsetSubject};
use crdt_support::{Step, Subject, World, for_histories};

#[test]
fn a_register_is_the_puts_that_no_received_write_observed() {
    for_histories(1, |replicas, steps| drop(World::<KvSubject>::run(replicas, steps)));
}

#[test]
fn a_flag_is_on_when_an_enable_was_observed_by_no_received_write() {
    for_histories(1, |replicas, steps| drop(World::<FlagSubject>::run(replicas, steps)));
}

#[test]
fn a_counter_is_exactly_the_increments_that_no_received_reset_observed() {
    for_histories(1, |replicas, steps| drop(World::<CounterSubject>::run(replicas, steps)));
}

#[test]
fn a_member_is_in_a_set_when_an_add_was_observed_by_no_received_write() {
    for_histories(1, |replicas, steps| drop(World::<SetSubject>::run(replicas, steps)));
}

#[test]
fn a_field_of_a_map_is_what_its_writes_come_to_that_no_received_removal_observed() {
    for_histories(1, |replicas, steps| drop(World::<MapSubject>::run(replicas, steps)));
}

#[test]
fn a_disable_wins_flag_is_off_when_a_disable_was_observed_by_no_received_write() {
    for_histories(1, |replicas, steps| drop(World::<DwFlagSubject>::run(replicas, steps)));
}

#[test]
fn a_member_is_in_a_remove_wins_set_while_only_additions_of_it_are_left() {
    for_histories(1, |replicas, steps| drop(World::<RwSetSubject>::run(replicas, steps)));
}

#[test]
fn a_bounded_counter_is_the_increments_and_decrements_that_were_received() {
    for_histories(1, |replicas, steps| drop(World::<BoundedSubject>::run(replicas, steps)));
}

/// Operations of each of the two replicas in the exhaustive histories.
const OPS: u8 = 3;

/// How many histories that is, so that none is left out unnoticed.
const HISTORIES_OF_TWO_KINDS: u64 = 26_688;
const HISTORIES_OF_THREE_KINDS: u64 = 303_993;

/// What a replica receives before its next operation.
#[derive(Clone, Copy)]
enum Received {
    Nothing,
    State,
    LastDelta,
}

/// Every history of two replicas that do `OPS` operations each out of `kinds`, and before each of
/// them receive nothing, the other's state, or only the other's last delta. Returns how many.
fn all_small_histories<S: Subject>(kinds: &[u8]) -> u64 {
    let world = World::<S>::new(2);
    let mut count = 0;
    extend(&world, [OPS; 2], kinds, &mut count);
    count
}

fn extend<S: Subject>(world: &World<S>, left: [u8; 2], kinds: &[u8], count: &mut u64) {
    if left == [0, 0] {
        *count += 1;
        return check_meeting(world);
    }
    // The first operation is replica 0's: the other half of the histories mirrors this one.
    let replicas = if left == [OPS; 2] { 0..1 } else { 0..2u8 };
    for at in replicas.filter(|at| left[usize::from(*at)] > 0) {
        let mut rest = left;
        rest[usize::from(at)] -= 1;
        for received in [Received::Nothing, Received::State, Received::LastDelta] {
            let Some(world) = receive(world, at, received) else { continue };
            for kind in kinds {
                let mut world = world.clone();
                let touched = world.step(Step::Op { at, kind: *kind, seen: 0 });
                world.check_value(world.states().nth(touched).expect("a replica"));
                extend(&world, rest, kinds, count);
            }
        }
    }
}

/// `None` when it brings nothing new, or no more than the other choice.
fn receive<S: Subject>(world: &World<S>, at: u8, received: Received) -> Option<World<S>> {
    let from = 1 - at;
    let mut world = world.clone();
    let known = |world: &World<S>, n: u8| world.states().nth(n.into()).expect("a replica").events;
    let unseen = known(&world, from) & !known(&world, at);
    match received {
        Received::Nothing => {}
        Received::State if unseen == 0 => return None,
        Received::State => drop(world.step(Step::Merge { to: at, from })),
        Received::LastDelta if unseen.count_ones() < 2 => return None,
        Received::LastDelta => {
            let delta = unseen.ilog2() as u8;
            world.step(Step::Deliver { to: at, delta });
        }
    }
    Some(world)
}

fn check_meeting<S: Subject>(world: &World<S>) {
    let mut states = world.states();
    let (a, b) = (states.next().expect("two replicas"), states.next().expect("two replicas"));
    let (ab, ba) = (a.joined(b), b.joined(a));
    assert_eq!(ab.state, ba.state);
    world.check_value(&ab);
}

#[test]
fn every_small_history_of_a_register_is_as_specified() {
    let count = all_small_histories::<KvSubject>(&[0, 1]);
    assert_eq!(count, HISTORIES_OF_TWO_KINDS);
}

#[test]
fn every_small_history_of_a_flag_is_as_specified() {
    let count = all_small_histories::<FlagSubject>(&[0, 1, 3]);
    assert_eq!(count, HISTORIES_OF_THREE_KINDS);
}

#[test]
fn every_small_history_of_a_counter_is_as_specified() {
    let count = all_small_histories::<CounterSubject>(&[0, 1, 2]);
    assert_eq!(count, HISTORIES_OF_THREE_KINDS);
}

#[test]
fn every_small_history_of_a_set_is_as_specified() {
    let count = all_small_histories::<SetSubject>(&[0, 1, 4]);
    assert_eq!(count, HISTORIES_OF_THREE_KINDS);
}

#[test]
fn every_small_history_of_a_map_is_as_specified() {
    let count = all_small_histories::<MapSubject>(&[0, 2, 4]);
    assert_eq!(count, HISTORIES_OF_THREE_KINDS);
}

#[test]
fn every_small_history_of_a_disable_wins_flag_is_as_specified() {
    let count = all_small_histories::<DwFlagSubject>(&[0, 1, 3]);
    assert_eq!(count, HISTORIES_OF_THREE_KINDS);
}

#[test]
fn every_small_history_of_a_remove_wins_set_is_as_specified() {
    let count = all_small_histories::<RwSetSubject>(&[0, 1, 4]);
    assert_eq!(count, HISTORIES_OF_THREE_KINDS);
}

#[test]
fn a_score_is_the_last_one_set_plus_the_additions_that_no_received_write_observed() {
    for_histories(1, |replicas, steps| drop(World::<ZsetSubject>::run(replicas, steps)));
}

#[test]
fn a_register_of_a_sketch_is_the_highest_rank_that_no_received_removal_observed() {
    for_histories(1, |replicas, steps| drop(World::<HllSubject>::run(replicas, steps)));
}

#[test]
fn every_small_history_of_a_sorted_set_is_as_specified() {
    let count = all_small_histories::<ZsetSubject>(&[1, 4, 7]);
    assert_eq!(count, HISTORIES_OF_THREE_KINDS);
    let count = all_small_histories::<ZsetSubject>(&[0, 4]);
    assert_eq!(count, HISTORIES_OF_TWO_KINDS);
}

#[test]
fn every_small_history_of_a_sketch_is_as_specified() {
    let count = all_small_histories::<HllSubject>(&[0, 2, 4]);
    assert_eq!(count, HISTORIES_OF_THREE_KINDS);
}
