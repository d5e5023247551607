//! The laws of join, for whole states, deltas and joins of deltas from random histories.

mod crdt_support;

use crdt_support::spec::{
    BoundedSubject, CounterSubject, DwFlagSubject, FlagSubject, KvSubject, RwSetSubject, SetSubject,
};
use crdt_support::spec_map::MapSubject;
use crdt_support::spec_zset::{HllSubject, ZsetSubject};
use crdt_support::{Known, Subject, World, for_histories};
use starling_node::crdt::{DeltaType, ObjectOp, TypeTag};
use starling_node::wire::codec;

/// Part of the usual number of histories: each of these checks does many joins a history.
const PART: u32 = 8;

fn join_is_commutative_associative_and_idempotent<S: Subject>() {
    for_histories(PART, |replicas, steps| {
        let world = World::<S>::run(replicas, steps);
        let pool = world.pool();
        for (n, a) in pool.iter().enumerate() {
            let (b, c) = (pool[(n + 1) % pool.len()], pool[(n * 5 + 2) % pool.len()]);
            assert_eq!(a.joined(a).state, a.state, "twice is once");
            assert_eq!(a.joined(b).state, b.joined(a).state, "order of two");
            assert_eq!(a.joined(b).joined(a).state, a.joined(b).state, "what is in stays");
            assert_eq!(a.joined(b).joined(c).state, a.joined(&b.joined(c)).state, "grouping");
        }
    });
}

fn all_deltas_in_any_order_make_the_full_state<S: Subject>() {
    for_histories(PART, |replicas, steps| {
        let mut world = World::<S>::run(replicas, steps);
        let empty = || Known { state: S::State::default(), events: 0 };
        let mut orders = [empty(), empty(), empty()];
        let deltas = world.deltas.clone();
        let many = deltas.len();
        for n in 0..2 * many {
            orders[0].join(&deltas[n % many]);
            orders[1].join(&deltas[(2 * many - 1 - n) % many]);
        }
        // Deltas joined with each other first, then taken as one.
        let both = deltas
            .iter()
            .skip(1)
            .fold(deltas.first().cloned(), |all, delta| all.map(|all| delta.joined(&all)));
        both.iter().for_each(|both| orders[2].join(both));
        let mut states = empty();
        world.states().for_each(|state| states.join(state));
        deltas.iter().for_each(|delta| states.join(delta));
        for value in orders.iter().chain([&states]) {
            world.check_value(value);
            world.check_bytes(value);
        }
    });
}

fn values_survive_the_codec_and_are_canonical<S: Subject>() {
    for_histories(PART, |replicas, steps| {
        let world = World::<S>::run(replicas, steps);
        for known in world.pool() {
            let bytes = codec::encode(&known.state);
            assert_eq!(codec::decode::<S::State>(&bytes).as_ref(), Ok(&known.state));
            let object = S::object(known.state.clone());
            assert!(object.is_canonical(), "{object:?}");
            assert!(object.seen().is_canonical(), "{object:?}");
        }
    });
}

/// What a session relies on: a replica whose context has a write shows it.
fn a_write_in_the_context_has_had_its_effect<S: Subject>() {
    for_histories(PART, |replicas, steps| {
        let world = World::<S>::run(replicas, steps);
        for delta in world.deltas.iter().filter(|delta| delta.events.count_ones() == 1) {
            let own = S::object(delta.state.clone()).live_dots();
            let Some(own) = own.iter().find(|dot| world.minted(delta.events) == Some(**dot)) else {
                continue;
            };
            for state in world.states().filter(|state| state.state.context().contains(*own)) {
                assert_eq!(state.joined(delta).state, state.state, "{own} of {:?}", delta.state);
            }
        }
    });
}

macro_rules! laws {
    ($($name:ident: $check:ident $subject:ty;)*) => {
        $(#[test] fn $name() { $check::<$subject>(); })*
    };
}

laws! {
    registers_join_in_any_order_and_grouping:
        join_is_commutative_associative_and_idempotent KvSubject;
    counters_join_in_any_order_and_grouping:
        join_is_commutative_associative_and_idempotent CounterSubject;
    sets_join_in_any_order_and_grouping:
        join_is_commutative_associative_and_idempotent SetSubject;
    flags_join_in_any_order_and_grouping:
        join_is_commutative_associative_and_idempotent FlagSubject;
    maps_join_in_any_order_and_grouping:
        join_is_commutative_associative_and_idempotent MapSubject;

    deltas_of_a_register_make_its_full_state:
        all_deltas_in_any_order_make_the_full_state KvSubject;
    deltas_of_a_counter_make_its_full_state:
        all_deltas_in_any_order_make_the_full_state CounterSubject;
    deltas_of_a_set_make_its_full_state: all_deltas_in_any_order_make_the_full_state SetSubject;
    deltas_of_a_flag_make_its_full_state: all_deltas_in_any_order_make_the_full_state FlagSubject;

    registers_survive_the_codec: values_survive_the_codec_and_are_canonical KvSubject;
    counters_survive_the_codec: values_survive_the_codec_and_are_canonical CounterSubject;
    sets_survive_the_codec: values_survive_the_codec_and_are_canonical SetSubject;
    deltas_of_a_map_make_its_full_state: all_deltas_in_any_order_make_the_full_state MapSubject;
    maps_survive_the_codec: values_survive_the_codec_and_are_canonical MapSubject;
    flags_survive_the_codec: values_survive_the_codec_and_are_canonical FlagSubject;

    a_register_with_a_write_in_its_context_shows_it:
        a_write_in_the_context_has_had_its_effect KvSubject;
    a_counter_with_a_write_in_its_context_shows_it:
        a_write_in_the_context_has_had_its_effect CounterSubject;
    a_flag_with_a_write_in_its_context_shows_it:
        a_write_in_the_context_has_had_its_effect FlagSubject;

    disable_wins_flags_join_in_any_order_and_grouping:
        join_is_commutative_associative_and_idempotent DwFlagSubject;
    deltas_of_a_disable_wins_flag_make_its_full_state:
        all_deltas_in_any_order_make_the_full_state DwFlagSubject;
    disable_wins_flags_survive_the_codec: values_survive_the_codec_and_are_canonical DwFlagSubject;
    a_disable_wins_flag_with_a_write_in_its_context_shows_it:
        a_write_in_the_context_has_had_its_effect DwFlagSubject;

    remove_wins_sets_join_in_any_order_and_grouping:
        join_is_commutative_associative_and_idempotent RwSetSubject;
    deltas_of_a_remove_wins_set_make_its_full_state:
        all_deltas_in_any_order_make_the_full_state RwSetSubject;
    remove_wins_sets_survive_the_codec: values_survive_the_codec_and_are_canonical RwSetSubject;

    bounded_counters_join_in_any_order_and_grouping:
        join_is_commutative_associative_and_idempotent BoundedSubject;
    deltas_of_a_bounded_counter_make_its_full_state:
        all_deltas_in_any_order_make_the_full_state BoundedSubject;
    bounded_counters_survive_the_codec: values_survive_the_codec_and_are_canonical BoundedSubject;
    a_bounded_counter_with_a_write_in_its_context_shows_it:
        a_write_in_the_context_has_had_its_effect BoundedSubject;

    sorted_sets_join_in_any_order_and_grouping:
        join_is_commutative_associative_and_idempotent ZsetSubject;
    sketches_join_in_any_order_and_grouping:
        join_is_commutative_associative_and_idempotent HllSubject;
    deltas_of_a_sorted_set_make_its_full_state:
        all_deltas_in_any_order_make_the_full_state ZsetSubject;
    deltas_of_a_sketch_make_its_full_state: all_deltas_in_any_order_make_the_full_state HllSubject;
    sorted_sets_survive_the_codec: values_survive_the_codec_and_are_canonical ZsetSubject;
    sketches_survive_the_codec: values_survive_the_codec_and_are_canonical HllSubject;
}

#[test]
fn a_removal_of_an_object_is_of_the_type_it_names() {
    use starling_node::crdt::{Mint, Object, Observed, OpError};
    for tag in TypeTag::ALL {
        for other in TypeTag::ALL {
            let mut op = ObjectOp::delete(other, Observed::Here);
            assert_eq!(op.tag(), other);
            assert_eq!(op.delete_observed(), Some(&mut Observed::Here));
            let mut mint = Mint::new(crdt_support::actor_of(0, 0), 1, Default::default());
            let mut object = Object::empty(tag);
            let delta = object.delta(&op, &mut mint);
            let joined = object.join(&Object::empty(other));
            match tag == other {
                true if tag == TypeTag::Bounded => {
                    assert!(matches!(delta, Err(OpError::Unsupported(_))) && joined.is_ok());
                }
                true => assert!(delta.is_ok() && joined.is_ok()),
                false => {
                    assert_eq!(delta, Err(OpError::WrongType));
                    assert_eq!(joined, Err(OpError::WrongType));
                }
            }
            assert_eq!(object, Object::empty(tag), "nothing changed");
        }
        assert_eq!(TypeTag::of_byte(tag as u8), Some(tag));
        assert_eq!(TypeTag::of_name(&format!("{tag}s")), Some(tag));
    }
}
