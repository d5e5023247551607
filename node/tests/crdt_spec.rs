//! Every type says what its specification says, over random histories and all small ones.

mod crdt_support;

use crdt_support::spec::{CounterSubject, FlagSubject, KvSubject, SetSubject};
use crdt_support::{World, for_histories};

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
