//! Every type says what its specification says in all histories of up to three replicas and up to
//! four operations in all, whatever is delivered in between ([`small`] says what "all" means). The
//! counts below are what that comes to; one history less, and the test fails.
//!
//! Four operations *each* are out of reach: 67,525,948,680,375 histories before there is any
//! choice of what the operations are, and 3.6 * 10^19 with three kinds of them.
//!
//! `STARLING_SMALL=wide` goes further: more kinds of operations, and what clients have read.

mod crdt_support;

use crdt_support::small::{Bound, Count, all_histories};
use crdt_support::spec::{
    BoundedSubject, CounterSubject, DwFlagSubject, FlagSubject, KvSubject, RwSetSubject, SetSubject,
};
use crdt_support::spec_map::MapSubject;
use crdt_support::spec_zset::{HllSubject, ZsetSubject};
use crdt_support::{REPLICAS, Subject, wide};

/// Four operations, of clients that say nothing of what they have read.
fn four(kinds: &[u8]) -> Bound<'_> {
    Bound { operations: 4, kinds, contexts: false, lives: false }
}

/// Four operations, of clients with any context or none.
fn with_contexts(kinds: &[u8]) -> Bound<'_> {
    Bound { contexts: true, ..four(kinds) }
}

/// Three, and replicas may lose their identity or their memory before each.
fn with_lives(kinds: &[u8]) -> Bound<'_> {
    Bound { operations: 3, lives: true, ..with_contexts(kinds) }
}

/// Histories of the full number of operations, and worlds at the end of them.
type Expected = (u64, u64);

fn go_through<S: Subject>(always: &[(Bound<'_>, Expected)], wider: &[(Bound<'_>, Expected)]) {
    let wider = if wide() { wider } else { &[] };
    for (bound, expected) in always.iter().chain(wider) {
        let Count { histories, worlds, met } = all_histories::<S>(*bound);
        println!("{bound:?}: {histories:?} histories, {worlds:?} worlds, {met} sets of deltas");
        assert_eq!((histories.len(), worlds.len()), (bound.operations, bound.operations));
        assert_eq!((*histories.last().unwrap(), *worlds.last().unwrap()), *expected, "{bound:?}");
    }
}

/// What three replicas can have received in so many operations that are all alike, counted
/// without going through it: of each delta, each other replica hears before one of its own later
/// operations, or before none. `each` is how many operations of a replica there must be.
fn histories_of(operations: usize, each: Option<usize>) -> u64 {
    fn assign(order: &mut Vec<usize>, operations: usize, each: Option<usize>) -> u64 {
        let of =
            |order: &[usize], replica: usize| order.iter().filter(|at| **at == replica).count();
        if order.len() == operations {
            let order = &*order;
            let later = |n: usize| {
                let others = (0..REPLICAS).filter(move |other| *other != order[n]);
                others.map(move |other| 1 + of(&order[n..], other) as u64).product::<u64>()
            };
            return (0..operations).map(later).product();
        }
        let begun = order.iter().max().map_or(0, |last| last + 1);
        let mut sum = 0;
        for at in 0..REPLICAS.min(begun + 1) {
            if each.is_none_or(|each| of(order, at) < each) {
                order.push(at);
                sum += assign(order, operations, each);
                order.pop();
            }
        }
        sum
    }
    assign(&mut Vec::new(), operations, each)
}

#[test]
fn the_small_histories_are_as_many_as_there_can_be() {
    let one_kind = Bound { operations: 5, ..four(&[1]) };
    let count = all_histories::<KvSubject>(one_kind);
    let expected: Vec<_> = (1..=5).map(|operations| histories_of(operations, None)).collect();
    assert_eq!(expected, [1, 3, 20, 222, 3_457]);
    assert_eq!(count.histories, expected);
    // What is too much.
    assert_eq!(histories_of(4 * REPLICAS, Some(4)), 67_525_948_680_375);
}

#[test]
fn all_histories_of_four_operations_on_a_register_are_as_specified() {
    let kinds = &[0, 1];
    go_through::<KvSubject>(
        &[(four(kinds), (3_552, 280_704)), (with_lives(kinds), (7_952, 678_720))],
        &[(with_contexts(kinds), (142_080, 11_228_160))],
    );
}

#[test]
fn all_histories_of_four_operations_on_a_flag_are_as_specified() {
    let kinds = &[0, 1, 3];
    go_through::<FlagSubject>(
        &[(four(kinds), (17_982, 1_421_064)), (with_lives(kinds), (26_838, 2_290_680))],
        &[(with_contexts(kinds), (719_280, 56_842_560))],
    );
}

#[test]
fn all_histories_of_four_operations_on_a_disable_wins_flag_are_as_specified() {
    let kinds = &[0, 1, 3];
    go_through::<DwFlagSubject>(
        &[(four(kinds), (17_982, 1_421_064)), (with_lives(kinds), (26_838, 2_290_680))],
        &[(with_contexts(kinds), (719_280, 56_842_560))],
    );
}

#[test]
fn all_histories_of_four_operations_on_a_counter_are_as_specified() {
    let (kinds, more) = (&[0, 1, 2], &[0, 1, 2, 4]);
    go_through::<CounterSubject>(
        &[(four(kinds), (17_982, 1_421_064)), (with_lives(more), (24_424, 2_084_640))],
        &[(four(more), (56_832, 4_491_264)), (with_contexts(kinds), (174_270, 13_772_040))],
    );
}

#[test]
fn all_histories_of_four_operations_on_a_bounded_counter_are_as_specified() {
    let (kinds, all) = (&[0, 3, 4, 6, 7, 9], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    go_through::<BoundedSubject>(
        &[(four(kinds), (7_557, 638_304)), (with_lives(all), (10_373, 872_128))],
        &[(four(all), (131_067, 11_039_104))],
    );
}

#[test]
fn all_histories_of_four_operations_on_a_set_are_as_specified() {
    let (kinds, all) = (&[0, 1, 4], Vec::from_iter(0..SetSubject::KINDS));
    go_through::<SetSubject>(
        &[(four(kinds), (17_982, 1_421_064)), (with_lives(kinds), (6_885, 593_328))],
        &[(with_contexts(kinds), (55_878, 4_573_224)), (with_lives(&all), (213_157, 19_264_904))],
    );
}

#[test]
fn all_histories_of_four_operations_on_a_remove_wins_set_are_as_specified() {
    let (kinds, all) = (&[0, 1, 4], Vec::from_iter(0..RwSetSubject::KINDS));
    go_through::<RwSetSubject>(
        &[(four(kinds), (17_982, 1_421_064)), (with_lives(kinds), (9_140, 747_032))],
        &[(with_contexts(kinds), (100_996, 7_547_624)), (with_lives(&all), (204_626, 16_351_768))],
    );
}

#[test]
fn all_histories_of_four_operations_on_a_map_are_as_specified() {
    let (kinds, all) = (&[0, 2, 4], Vec::from_iter(0..MapSubject::KINDS));
    go_through::<MapSubject>(
        &[(four(kinds), (7_256, 527_048)), (with_lives(kinds), (6_261, 525_976))],
        &[(with_contexts(kinds), (47_225, 3_700_488)), (with_lives(&all), (331_400, 28_783_120))],
    );
}

#[test]
fn all_histories_of_four_operations_on_a_sorted_set_are_as_specified() {
    let (kinds, all) = (&[1, 4, 7], Vec::from_iter(0..ZsetSubject::KINDS));
    go_through::<ZsetSubject>(
        &[
            (four(kinds), (17_982, 1_421_064)),
            (four(&[0, 4]), (3_552, 280_704)),
            (with_lives(kinds), (6_887, 596_968)),
        ],
        &[(with_contexts(kinds), (54_993, 4_595_120)), (with_lives(&all), (465_131, 42_244_384))],
    );
}

#[test]
fn all_histories_of_four_operations_on_a_sketch_are_as_specified() {
    let (kinds, two_registers) = (&[0, 2, 4], &[0, 2, 4, 8, 7, 9]);
    go_through::<HllSubject>(
        &[(four(kinds), (17_982, 1_421_064)), (with_lives(kinds), (6_996, 597_744))],
        &[
            (with_contexts(kinds), (60_133, 4_833_160)),
            (with_lives(two_registers), (46_974, 4_011_192)),
        ],
    );
}
