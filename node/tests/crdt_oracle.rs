//! Merges of whole states beside the `crdts` crate always give the same value.
//!
//! Where the crate has no such type, it often has the parts: the other kinds of flag and set are
//! its observed-remove set of what wins, a sketch without removals is its version vector, which is
//! a maximum for each name. Nothing there knows resets, scores that are set and added to, or
//! rights to decrement: for those the specification (`crdt_spec.rs`) is the only oracle. Maps are
//! in `crdt_oracle_map.rs`, and what the crate gets wrong there.

mod crdt_support;

use crdt_support::oracle::{Both, Pair, agrees};
use crdts::{CmRDT, CvRDT, GSet, LWWReg, MVReg, Orswot, PNCounter, VClock};
use starling_node::crdt::{
    Bounded, BoundedOp, Counter, CounterOp, DeltaType, DwFlag, Flag, FlagOp, Hlc, Hll, HllOp, Kv,
    KvOp, Mint, Observed, Real, RwSet, Set, SetOp, Zset, ZsetOp,
};
use std::collections::{BTreeMap, BTreeSet};

struct Sets;

impl Pair for Sets {
    type Ours = Set;
    type Theirs = Orswot<u8, u8>;
    type View = BTreeSet<u8>;

    fn op(kind: u8, _: u8, actor: u8, theirs: &mut Self::Theirs) -> SetOp {
        let (member, observed) = (kind % 3, Observed::Here);
        let named = || BTreeSet::from([vec![member]]);
        if kind.is_multiple_of(2) {
            let context = theirs.read_ctx().derive_add_ctx(actor);
            theirs.apply(theirs.add(member, context));
            return SetOp::Update { add: named(), remove: BTreeSet::new(), observed };
        }
        let context = theirs.contains(&member).derive_rm_ctx();
        theirs.apply(theirs.rm(member, context));
        SetOp::Update { add: BTreeSet::new(), remove: named(), observed }
    }

    fn merge(theirs: &mut Self::Theirs, other: Self::Theirs) {
        theirs.merge(other);
    }

    fn ours(value: &Set) -> Self::View {
        value.value().into_iter().flatten().map(|member| member[0]).collect()
    }

    fn theirs(value: &Self::Theirs) -> Self::View {
        value.read().val.into_iter().collect()
    }
}

struct Registers;

impl Pair for Registers {
    type Ours = Kv;
    type Theirs = MVReg<u8, u8>;
    type View = BTreeSet<u8>;

    fn op(_: u8, id: u8, actor: u8, theirs: &mut Self::Theirs) -> KvOp {
        let context = theirs.read_ctx().derive_add_ctx(actor);
        theirs.apply(theirs.write(id, context));
        KvOp::Put { value: vec![id], content_type: String::new(), observed: Observed::Here }
    }

    fn merge(theirs: &mut Self::Theirs, other: Self::Theirs) {
        theirs.merge(other);
    }

    fn ours(value: &Kv) -> Self::View {
        value.value().into_iter().flatten().map(|sibling| sibling.value[0]).collect()
    }

    fn theirs(value: &Self::Theirs) -> Self::View {
        value.read().val.into_iter().collect()
    }
}

struct Counters;

impl Pair for Counters {
    type Ours = Counter;
    type Theirs = PNCounter<u8>;
    type View = i64;

    fn op(kind: u8, _: u8, actor: u8, theirs: &mut Self::Theirs) -> CounterOp {
        let steps = u64::from(kind / 2);
        let (op, amount) = match kind % 2 {
            0 => (theirs.inc_many(actor, steps), i128::from(steps)),
            _ => (theirs.dec_many(actor, steps), -i128::from(steps)),
        };
        theirs.apply(op);
        CounterOp::Add { amount, floor: 0 }
    }

    fn merge(theirs: &mut Self::Theirs, other: Self::Theirs) {
        theirs.merge(other);
    }

    fn ours(value: &Counter) -> i64 {
        value.value().unwrap_or(0)
    }

    fn theirs(value: &Self::Theirs) -> i64 {
        i64::try_from(value.read()).expect("small")
    }
}

struct Flags;

impl Pair for Flags {
    type Ours = Flag;
    type Theirs = Orswot<(), u8>;
    type View = bool;

    fn op(kind: u8, _: u8, actor: u8, theirs: &mut Self::Theirs) -> FlagOp {
        let enabled = kind.is_multiple_of(2);
        if enabled {
            let context = theirs.read_ctx().derive_add_ctx(actor);
            theirs.apply(theirs.add((), context));
        } else {
            let context = theirs.contains(&()).derive_rm_ctx();
            theirs.apply(theirs.rm((), context));
        }
        FlagOp::Set { enabled, observed: Observed::Here }
    }

    fn merge(theirs: &mut Self::Theirs, other: Self::Theirs) {
        theirs.merge(other);
    }

    fn ours(value: &Flag) -> bool {
        value.value() == Some(true)
    }

    fn theirs(value: &Self::Theirs) -> bool {
        value.contains(&()).val
    }
}

/// The removals, which win, are a set of theirs; all that was ever added is another.
struct RemoveWinsSets;

impl Pair for RemoveWinsSets {
    type Ours = RwSet;
    type Theirs = (GSet<u8>, Orswot<u8, u8>);
    type View = BTreeSet<u8>;

    fn op(kind: u8, _: u8, actor: u8, (added, removed): &mut Self::Theirs) -> SetOp {
        let (member, observed) = (kind / 2 % 3, Observed::Here);
        let named = || BTreeSet::from([vec![member]]);
        if kind.is_multiple_of(2) {
            let context = removed.contains(&member).derive_rm_ctx();
            removed.apply(removed.rm(member, context));
            added.insert(member);
            return SetOp::Update { add: named(), remove: BTreeSet::new(), observed };
        }
        let context = removed.read_ctx().derive_add_ctx(actor);
        removed.apply(removed.add(member, context));
        SetOp::Update { add: BTreeSet::new(), remove: named(), observed }
    }

    fn merge((added, removed): &mut Self::Theirs, other: Self::Theirs) {
        added.merge(other.0);
        removed.merge(other.1);
    }

    fn ours(value: &RwSet) -> Self::View {
        value.value().into_iter().flatten().map(|member| member[0]).collect()
    }

    fn theirs((added, removed): &Self::Theirs) -> Self::View {
        added.read().into_iter().filter(|member| !removed.contains(member).val).collect()
    }
}

/// On, when it was ever switched on and a set of theirs holds no switching off.
struct DisableWinsFlags;

impl Pair for DisableWinsFlags {
    type Ours = DwFlag;
    type Theirs = (bool, Orswot<(), u8>);
    type View = bool;

    fn op(kind: u8, _: u8, actor: u8, (ever, off): &mut Self::Theirs) -> FlagOp {
        let enabled = kind.is_multiple_of(2);
        if enabled {
            let context = off.contains(&()).derive_rm_ctx();
            off.apply(off.rm((), context));
            *ever = true;
        } else {
            let context = off.read_ctx().derive_add_ctx(actor);
            off.apply(off.add((), context));
        }
        FlagOp::Set { enabled, observed: Observed::Here }
    }

    fn merge((ever, off): &mut Self::Theirs, other: Self::Theirs) {
        *ever |= other.0;
        off.merge(other.1);
    }

    fn ours(value: &DwFlag) -> bool {
        value.value() == Some(true)
    }

    fn theirs((ever, off): &Self::Theirs) -> bool {
        *ever && !off.contains(&()).val
    }
}

/// What is not refused.
struct BoundedCounters;

impl Pair for BoundedCounters {
    type Ours = Bounded;
    type Theirs = PNCounter<u8>;
    type View = i64;

    fn op(kind: u8, _: u8, actor: u8, theirs: &mut Self::Theirs) -> BoundedOp {
        let CounterOp::Add { amount, .. } = Counters::op(kind % 32, 0, actor, theirs) else {
            panic!("counters are only added to here");
        };
        BoundedOp::Add { amount }
    }

    fn merge(theirs: &mut Self::Theirs, other: Self::Theirs) {
        theirs.merge(other);
    }

    fn ours(value: &Bounded) -> i64 {
        value.value().unwrap_or(0)
    }

    fn theirs(value: &Self::Theirs) -> i64 {
        i64::try_from(value.read()).expect("small")
    }
}

struct Sketches;

impl Pair for Sketches {
    type Ours = Hll;
    type Theirs = VClock<u16>;
    type View = BTreeMap<u16, u8>;

    fn op(kind: u8, _: u8, _: u8, theirs: &mut Self::Theirs) -> HllOp {
        let (register, rank) = (u16::from(kind % 4), 1 + kind / 4 % 50);
        theirs.apply(crdts::Dot::new(register, rank.into()));
        HllOp::Add { places: BTreeMap::from([(register, rank)]) }
    }

    fn merge(theirs: &mut Self::Theirs, other: Self::Theirs) {
        theirs.merge(other);
    }

    fn ours(value: &Hll) -> Self::View {
        value.value().unwrap_or_default()
    }

    fn theirs(value: &Self::Theirs) -> Self::View {
        value.iter().map(|dot| (*dot.actor, dot.counter as u8)).collect()
    }
}

fn zset_op(add: Option<u8>, increment: Option<(u8, f64)>, remove: Option<u8>) -> ZsetOp {
    let scored = |(member, score)| (vec![member], Real::new(score).expect("finite"));
    ZsetOp::Update {
        add: add.map(|member| scored((member, 1.0))).into_iter().collect(),
        increment: increment.map(scored).into_iter().collect(),
        remove: remove.map(|member| vec![member]).into_iter().collect(),
        observed: Observed::Here,
    }
}

/// Who is in, whatever the scores.
struct RankedMembers;

impl Pair for RankedMembers {
    type Ours = Zset;
    type Theirs = Orswot<u8, u8>;
    type View = BTreeSet<u8>;

    fn op(kind: u8, _: u8, actor: u8, theirs: &mut Self::Theirs) -> ZsetOp {
        let member = kind / 4 % 3;
        if kind.is_multiple_of(4) {
            let context = theirs.contains(&member).derive_rm_ctx();
            theirs.apply(theirs.rm(member, context));
            return zset_op(None, None, Some(member));
        }
        let context = theirs.read_ctx().derive_add_ctx(actor);
        theirs.apply(theirs.add(member, context));
        match kind % 4 {
            1 => zset_op(Some(member), None, None),
            _ => zset_op(None, Some((member, f64::from(kind))), None),
        }
    }

    fn merge(theirs: &mut Self::Theirs, other: Self::Theirs) {
        theirs.merge(other);
    }

    fn ours(value: &Zset) -> Self::View {
        value.value().into_iter().flatten().map(|(member, _)| member[0]).collect()
    }

    fn theirs(value: &Self::Theirs) -> Self::View {
        value.read().val.into_iter().collect()
    }
}

/// Scores that are only added to.
struct AddedScores;

impl Pair for AddedScores {
    type Ours = Zset;
    type Theirs = BTreeMap<u8, PNCounter<u8>>;
    type View = BTreeMap<u8, f64>;

    fn op(kind: u8, _: u8, actor: u8, theirs: &mut Self::Theirs) -> ZsetOp {
        let (member, counted) = (kind / 2 % 3, kind % 2 + kind / 8 * 2);
        let counter = theirs.entry(member).or_default();
        let CounterOp::Add { amount, .. } = Counters::op(counted, 0, actor, counter) else {
            panic!("counters are only added to here");
        };
        zset_op(None, Some((member, amount as f64)), None)
    }

    fn merge(theirs: &mut Self::Theirs, other: Self::Theirs) {
        other.into_iter().for_each(|(member, sum)| theirs.entry(member).or_default().merge(sum));
    }

    fn ours(value: &Zset) -> Self::View {
        value.value().into_iter().flatten().map(|(member, score)| (member[0], score)).collect()
    }

    fn theirs(value: &Self::Theirs) -> Self::View {
        let score = |sum: &PNCounter<u8>| i32::try_from(sum.read()).expect("small").into();
        value.iter().map(|(member, sum)| (*member, score(sum))).collect()
    }
}

/// The sibling that was written last; clocks are as the server's, or `BEHIND`.
struct LastWriters<const BEHIND: bool>;

impl<const BEHIND: bool> Pair for LastWriters<BEHIND> {
    type Ours = Kv;
    type Theirs = LWWReg<Option<u8>, (Hlc, u8)>;
    type View = Option<u8>;

    /// Later than all seen, as a hybrid clock is; often the same as at another replica.
    fn clock(id: u8, theirs: &Self::Theirs) -> Hlc {
        if BEHIND {
            return Hlc { wall_ms: 100 - u64::from(id), logical: 0 };
        }
        let seen = theirs.marker.0;
        let own = Hlc { wall_ms: u64::from(id) / 2 + 1, logical: 0 };
        own.max(Hlc { logical: seen.logical + 1, ..seen })
    }

    fn op(_: u8, id: u8, actor: u8, theirs: &mut Self::Theirs) -> KvOp {
        let clock = Self::clock(id, theirs);
        theirs.update(Some(id), (clock, actor));
        KvOp::Put { value: vec![id], content_type: String::new(), observed: Observed::Here }
    }

    fn merge(theirs: &mut Self::Theirs, other: Self::Theirs) {
        theirs.merge(other);
    }

    fn ours(value: &Kv) -> Self::View {
        value.latest().map(|(_, sibling)| sibling.value[0])
    }

    fn theirs(value: &Self::Theirs) -> Self::View {
        value.val
    }
}

#[test]
fn a_set_holds_the_members_an_orswot_holds() {
    agrees::<Sets>();
}

#[test]
fn a_register_holds_the_values_an_mvreg_holds() {
    agrees::<Registers>();
}

#[test]
fn a_counter_without_resets_counts_as_a_pncounter() {
    agrees::<Counters>();
}

#[test]
fn a_flag_is_on_while_an_orswot_of_one_holds_it() {
    agrees::<Flags>();
}

#[test]
fn a_remove_wins_set_holds_what_was_added_and_an_orswot_of_removals_does_not_hold() {
    agrees::<RemoveWinsSets>();
}

#[test]
fn a_disable_wins_flag_is_off_while_an_orswot_of_one_holds_it() {
    agrees::<DisableWinsFlags>();
}

#[test]
fn a_bounded_counter_counts_as_a_pncounter_what_it_does_not_refuse() {
    agrees::<BoundedCounters>();
}

#[test]
fn a_sketch_without_removals_is_a_maximum_for_each_register() {
    agrees::<Sketches>();
}

#[test]
fn a_sorted_set_holds_the_members_an_orswot_holds() {
    agrees::<RankedMembers>();
}

#[test]
fn a_score_that_is_only_added_to_counts_as_a_pncounter() {
    agrees::<AddedScores>();
}

#[test]
fn the_last_writer_is_that_of_an_lwwreg_while_clocks_are_later_than_what_they_have_seen() {
    agrees::<LastWriters<false>>();
}

#[test]
fn a_write_takes_the_place_of_what_it_saw_though_an_lwwreg_keeps_the_later_clock() {
    let mut both = Both::<LastWriters<true>>::new(1);
    both.write(0, 0, 1);
    both.write(0, 0, 2);
    assert_eq!(both.views(0), (Some(2), Some(1)));
}

/// Trap: two writes under one clock. Ours are told apart by their dots.
#[test]
fn writes_under_one_clock_have_one_winner_though_an_lwwreg_keeps_its_own_on_either_side() {
    let mut theirs = [1, 2].map(|val| LWWReg { val, marker: 7 });
    let [one, two] = theirs.clone();
    theirs[0].merge(two);
    theirs[1].merge(one);
    assert_eq!((theirs[0].val, theirs[1].val), (1, 2));

    let put = |value| KvOp::Put { value, content_type: String::new(), observed: Observed::Here };
    let write = |n: u32| {
        let clock = Hlc { wall_ms: 7, logical: 0 };
        let mut mint = Mint::new(crdt_support::actor_of(n, 0), 1, clock);
        Kv::default().delta(&put(vec![n as u8]), &mut mint).expect("within limits")
    };
    let (mut here, mut there) = (write(1), write(2));
    here.join(&there);
    there.join(&write(1));
    let winner = |register: &Kv| register.latest().map(|(_, sibling)| sibling.value.clone());
    assert_eq!((winner(&here), winner(&there)), (Some(vec![2]), Some(vec![2])));
}
