//! Causal contexts against plain sets of dots, and the one form equal sets share.

mod crdt_support;

use bincode::Encode;
use crdt_support::actor_of;
use proptest::prelude::*;
use starling_node::crdt::{Actor, CausalContext, Dot};
use starling_node::wire::codec;
use std::collections::{BTreeMap, BTreeSet};

type Dots = BTreeSet<Dot>;

/// Ranges of counters of two actors, close enough to touch and far enough to leave gaps; some
/// lists are long enough for the one-pass union.
fn ranges() -> impl Strategy<Value = Vec<(u32, u64, u64)>> {
    prop::collection::vec((0u32..2, 1u64..90, 0u64..4), 0..40)
}

fn dot(actor: u32, counter: u64) -> Dot {
    Dot { actor: actor_of(actor, 0), counter }
}

fn both(ranges: &[(u32, u64, u64)]) -> (CausalContext, Dots) {
    let (mut context, mut dots) = (CausalContext::new(), Dots::new());
    for &(actor, from, more) in ranges {
        match more {
            0 => context.insert(dot(actor, from)),
            more => context.insert_range(actor_of(actor, 0), from, from + more),
        }
        dots.extend((from..=from + more).map(|counter| dot(actor, counter)));
    }
    (context, dots)
}

fn dots_of(context: &CausalContext) -> Dots {
    let runs = context.iter().flat_map(|(actor, runs)| runs.iter().map(move |run| (actor, *run)));
    runs.flat_map(|(actor, (from, to))| (from..=to).map(move |counter| Dot { actor, counter }))
        .collect()
}

fn intervals(dots: &Dots) -> usize {
    let begins =
        |dot: &&Dot| dot.counter == 1 || !dots.contains(&Dot { counter: dot.counter - 1, ..**dot });
    dots.iter().filter(begins).count()
}

/// Equal to the set, in the one form, and byte-equal to a context built dot by dot.
fn assert_is(context: &CausalContext, dots: &Dots) {
    assert_eq!(&dots_of(context), dots);
    assert!(context.is_canonical(), "{context:?}");
    let rebuilt: CausalContext = dots.iter().rev().copied().collect();
    assert_eq!(codec::encode(context), codec::encode(&rebuilt));
    assert_eq!(context.interval_count(), intervals(dots));
    assert_eq!(context.is_empty(), dots.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 4_000, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn a_context_is_the_set_of_the_dots_put_in(a in ranges()) {
        let (context, dots) = both(&a);
        assert_is(&context, &dots);
        for actor in 0..3 {
            for counter in 1..100 {
                let dot = dot(actor, counter);
                prop_assert_eq!(context.contains(dot), dots.contains(&dot));
            }
            let mut own = dots.iter().filter(|dot| dot.actor == actor_of(actor, 0));
            let highest = own.next_back();
            let highest = highest.map_or(0, |dot| dot.counter);
            prop_assert_eq!(context.highest(actor_of(actor, 0)), highest);
        }
    }

    #[test]
    fn joining_contexts_is_the_union(a in ranges(), b in ranges()) {
        let ((mut a, dots_a), (b, dots_b)) = (both(&a), both(&b));
        a.join(&b);
        assert_is(&a, &(&dots_a | &dots_b));
    }

    #[test]
    fn minus_is_the_difference(a in ranges(), b in ranges()) {
        let ((a, dots_a), (b, dots_b)) = (both(&a), both(&b));
        assert_is(&a.minus(&b), &(&dots_a - &dots_b));
    }

    #[test]
    fn is_subset_is_inclusion(a in ranges(), b in ranges(), contained in any::<bool>()) {
        let ((a, dots_a), (mut b, mut dots_b)) = (both(&a), both(&b));
        if contained {
            b.join(&a);
            dots_b.extend(&dots_a);
        }
        prop_assert_eq!(a.is_subset(&b), dots_a.is_subset(&dots_b));
        let less: CausalContext = dots_b.iter().skip(1).copied().collect();
        prop_assert_eq!(b.is_subset(&less), dots_b.is_empty());
    }

    #[test]
    fn a_decoded_context_is_canonical_only_in_the_one_form(
        runs in prop::collection::vec((0u64..6, 0u64..6), 0..4)
    ) {
        // The bytes of a context are those of its map.
        #[derive(Encode)]
        struct Raw(BTreeMap<Actor, Vec<(u64, u64)>>);
        let raw = Raw(BTreeMap::from([(actor_of(0, 0), runs.clone())]));
        let context: CausalContext = codec::decode(&codec::encode(&raw)).expect("well formed");
        let in_form = || {
            let valid = runs.iter().all(|(from, to)| 0 < *from && from <= to);
            valid && !runs.is_empty() && {
                let dots: CausalContext = dots_of(&context).into_iter().collect();
                dots == context
            }
        };
        prop_assert_eq!(context.is_canonical(), in_form());
    }
}

#[test]
fn the_highest_counters_there_are_do_not_overflow() {
    let actor = actor_of(0, 0);
    let mut context = CausalContext::new();
    context.insert_range(actor, u64::MAX, u64::MAX);
    context.insert_range(actor, 1, u64::MAX - 2);
    assert_eq!(context.interval_count(), 2);
    let mut whole = context.clone();
    whole.insert(Dot { actor, counter: u64::MAX - 1 });
    assert_eq!(whole.interval_count(), 1);
    assert!(context.is_subset(&whole) && !whole.is_subset(&context));
    let missing = whole.minus(&context);
    assert!(missing.is_canonical() && missing.contains(Dot { actor, counter: u64::MAX - 1 }));
    assert_eq!(missing.interval_count(), 1);
    context.join(&missing);
    assert_eq!(context, whole);
    assert_eq!(whole.highest(actor), u64::MAX);
}
