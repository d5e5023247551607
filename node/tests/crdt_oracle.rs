//! State merges of the `crdts` crate, run beside ours, always give the same value.

mod crdt_support;

use crdt_support::{actor_of, for_histories};
use crdts::{CmRDT, CvRDT, MVReg, Orswot, PNCounter};
use starling_node::crdt::{
    Counter, CounterOp, DeltaType, Flag, FlagOp, Hlc, Kv, KvOp, Mint, Observed, Set, SetOp,
};
use std::collections::BTreeSet;

/// A type of ours and the type of theirs that is to agree with it.
trait Pair {
    type Ours: DeltaType + CvRDT;
    type Theirs: CvRDT + Clone + Default;
    type View: PartialEq + std::fmt::Debug;

    /// The same operation on both, as seen by the replica that applies it.
    fn op(kind: u8, id: u8, actor: u8, theirs: &mut Self::Theirs) -> <Self::Ours as DeltaType>::Op;
    fn ours(value: &Self::Ours) -> Self::View;
    fn theirs(value: &Self::Theirs) -> Self::View;
}

fn agrees<P: Pair>() {
    for_histories(2, |replicas, steps| {
        let count = usize::from(replicas);
        let mut ours = vec![P::Ours::default(); count];
        let mut theirs = vec![P::Theirs::default(); count];
        for (id, step) in steps.iter().enumerate() {
            use crdt_support::Step::*;
            let at = match *step {
                Op { at, kind, .. } => {
                    let at = usize::from(at) % count;
                    let op = P::op(kind, id as u8, at as u8, &mut theirs[at]);
                    let actor = actor_of(at as u32, 0);
                    let next = ours[at].context().highest(actor) + 1;
                    let mut mint = Mint::new(actor, next, Hlc::default());
                    let delta = ours[at].delta(&op, &mut mint).expect("within limits");
                    ours[at].join(&delta);
                    at
                }
                Merge { to, from } | Deliver { to, delta: from } => {
                    let (to, from) = (usize::from(to) % count, usize::from(from) % count);
                    let (our, their) = (ours[from].clone(), theirs[from].clone());
                    ours[to].merge(our);
                    theirs[to].merge(their);
                    to
                }
                _ => continue,
            };
            assert_eq!(P::ours(&ours[at]), P::theirs(&theirs[at]), "after step {id}");
        }
    });
}

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

    fn ours(value: &Flag) -> bool {
        value.value() == Some(true)
    }

    fn theirs(value: &Self::Theirs) -> bool {
        value.contains(&()).val
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
