//! A map beside the `crdts` crate, and where that crate is not to be followed.
//!
//! Our map agrees with the crate's plain types held side by side, one for each field. The crate's
//! own `Map` is no oracle for more than maps whose fields are never removed: an entry's clock is a
//! version vector, which cannot say that of one actor's writes some are removed and others not.
//! The histories in which it shows what was removed or overwritten are tests here.

mod crdt_support;

use crdt_support::oracle::{Both, Pair, agrees};
use crdts::{CmRDT, CvRDT, LWWReg, MVReg, Map as Theirs, Orswot, PNCounter};
use starling_node::crdt::map::{Change, Field, FieldOp, Fields};
use starling_node::crdt::{DeltaType, Hlc, Map, MapOp, Observed};
use std::collections::{BTreeMap, BTreeSet};

/// A field, a member, or a value.
type Byte = u8;

fn named(member: Byte) -> BTreeSet<Vec<u8>> {
    BTreeSet::from([vec![member]])
}

fn update(field: &str, op: FieldOp) -> Change {
    Change { update: BTreeMap::from([(field.to_string(), op)]), remove: BTreeSet::new() }
}

fn remove(field: &str) -> Change {
    Change { update: BTreeMap::new(), remove: BTreeSet::from([field.to_string()]) }
}

fn add_member(member: Byte) -> FieldOp {
    FieldOp::Set { add: named(member), remove: BTreeSet::new() }
}

fn remove_member(member: Byte) -> FieldOp {
    FieldOp::Set { add: BTreeSet::new(), remove: named(member) }
}

fn asked(change: Change) -> MapOp {
    MapOp::Update { change, observed: Observed::Here }
}

/// What is there, by path: members of sets, values side by side, a flag that is on.
type View = BTreeMap<String, Vec<i64>>;

fn show(at: &str, fields: &Fields, view: &mut View) {
    for (name, field) in fields.iter() {
        let bytes = |many: &[Vec<u8>]| {
            let sorted: BTreeSet<i64> = many.iter().map(|one| one[0].into()).collect();
            sorted.into_iter().collect()
        };
        let shown = match field {
            Field::Register(value) => vec![value[0].into()],
            Field::MvRegister(values) => bytes(values),
            Field::Set(members) => bytes(members),
            Field::Counter(sum) => vec![*sum],
            Field::Flag(on) => vec![1; usize::from(*on)],
            Field::Map(fields) => {
                show(&format!("{at}{name}/"), fields, view);
                continue;
            }
        };
        if !shown.is_empty() {
            view.insert(format!("{at}{name}"), shown);
        }
    }
}

fn shown(map: &Map) -> View {
    let mut view = View::new();
    map.value().iter().for_each(|fields| show("", fields, &mut view));
    view
}

/// Their types, one for each field.
#[derive(Clone, Default)]
struct SideBySide {
    last: LWWReg<Option<Byte>, (Hlc, u8)>,
    values: MVReg<Byte, u8>,
    sum: PNCounter<u8>,
    counts: bool,
    on: Orswot<(), u8>,
    set: Orswot<Byte, u8>,
    below: [Orswot<Byte, u8>; 2],
}

fn add(set: &mut Orswot<Byte, u8>, member: Byte, actor: u8) {
    let context = set.read_ctx().derive_add_ctx(actor);
    set.apply(set.add(member, context));
}

fn drop_member(set: &mut Orswot<Byte, u8>, member: Byte) {
    let context = set.contains(&member).derive_rm_ctx();
    set.apply(set.rm(member, context));
}

/// A map with a field of each kind, and a map of two sets below.
struct AllKinds;

impl Pair for AllKinds {
    type Ours = Map;
    type Theirs = SideBySide;
    type View = View;

    /// Later than all seen, as a hybrid clock is; often the same as at another replica.
    fn clock(id: u8, theirs: &SideBySide) -> Hlc {
        let seen = theirs.last.marker.0;
        let own = Hlc { wall_ms: u64::from(id) / 2 + 1, logical: 0 };
        own.max(Hlc { logical: seen.logical + 1, ..seen })
    }

    fn op(kind: u8, id: u8, actor: u8, theirs: &mut SideBySide) -> MapOp {
        let (member, inner) = (kind / 16 % 3, kind / 64 % 2);
        let below = |change| update("below", FieldOp::Map(change));
        asked(match kind % 16 {
            0 | 1 => {
                let clock = Self::clock(id, theirs);
                theirs.last.update(Some(id), (clock, actor));
                update("last", FieldOp::Register(vec![id]))
            }
            2 | 3 => {
                let context = theirs.values.read_ctx().derive_add_ctx(actor);
                theirs.values.apply(theirs.values.write(id, context));
                update("values", FieldOp::MvRegister(vec![id]))
            }
            4 | 5 => {
                let (up, steps) = (kind.is_multiple_of(2), member.into());
                theirs.sum.apply(match up {
                    true => theirs.sum.inc_many(actor, steps),
                    false => theirs.sum.dec_many(actor, steps),
                });
                theirs.counts = true;
                let amount = i64::from(member) * if up { 1 } else { -1 };
                update("sum", FieldOp::Counter(amount))
            }
            6 => {
                let context = theirs.on.read_ctx().derive_add_ctx(actor);
                theirs.on.apply(theirs.on.add((), context));
                update("on", FieldOp::Flag(true))
            }
            7 => {
                let context = theirs.on.contains(&()).derive_rm_ctx();
                theirs.on.apply(theirs.on.rm((), context));
                if member == 0 { remove("on") } else { update("on", FieldOp::Flag(false)) }
            }
            8 | 9 => {
                add(&mut theirs.set, member, actor);
                update("set", add_member(member))
            }
            10 => {
                drop_member(&mut theirs.set, member);
                update("set", remove_member(member))
            }
            11 => {
                (0..3).for_each(|member| drop_member(&mut theirs.set, member));
                remove("set")
            }
            12 | 13 => {
                add(&mut theirs.below[usize::from(inner)], member, actor);
                below(update(&inner.to_string(), add_member(member)))
            }
            14 => {
                let set = &mut theirs.below[usize::from(inner)];
                (0..3).for_each(|member| drop_member(set, member));
                below(remove(&inner.to_string()))
            }
            _ => {
                for set in &mut theirs.below {
                    (0..3).for_each(|member| drop_member(set, member));
                }
                remove("below")
            }
        })
    }

    fn merge(theirs: &mut SideBySide, other: SideBySide) {
        theirs.last.merge(other.last);
        theirs.values.merge(other.values);
        theirs.sum.merge(other.sum);
        theirs.counts |= other.counts;
        theirs.on.merge(other.on);
        theirs.set.merge(other.set);
        let below = theirs.below.iter_mut().zip(other.below);
        below.for_each(|(set, other)| set.merge(other));
    }

    fn ours(value: &Map) -> View {
        shown(value)
    }

    fn theirs(value: &SideBySide) -> View {
        let sorted = |values: Vec<Byte>| {
            let sorted: BTreeSet<i64> = values.into_iter().map(i64::from).collect();
            sorted.into_iter().collect::<Vec<_>>()
        };
        let members = |set: &Orswot<Byte, u8>| sorted(set.read().val.into_iter().collect());
        let sum = i64::try_from(value.sum.read()).expect("small");
        let all = [
            ("last", sorted(value.last.val.into_iter().collect())),
            ("values", sorted(value.values.read().val)),
            ("sum", vec![sum; usize::from(value.counts)]),
            ("on", vec![1; usize::from(value.on.contains(&()).val)]),
            ("set", members(&value.set)),
            ("below/0", members(&value.below[0])),
            ("below/1", members(&value.below[1])),
        ];
        let there = all.into_iter().filter(|(_, shown)| !shown.is_empty());
        there.map(|(path, shown)| (path.to_string(), shown)).collect()
    }
}

#[test]
fn a_map_shows_what_a_type_of_theirs_for_each_field_shows() {
    agrees::<AllKinds>();
}

const FIELD: Byte = 0;

/// Their map of sets.
struct MapOfSets<const REMOVES: bool>;

impl<const REMOVES: bool> Pair for MapOfSets<REMOVES> {
    type Ours = Map;
    type Theirs = Theirs<Byte, Orswot<Byte, u8>, u8>;
    type View = View;

    fn op(kind: u8, _: u8, actor: u8, theirs: &mut Self::Theirs) -> MapOp {
        let (field, member) = (kind / 8 % 2, kind / 16 % 3);
        let name = field.to_string();
        let context = theirs.read_ctx().derive_add_ctx(actor);
        asked(match kind % 4 {
            0 if REMOVES => {
                let context = theirs.get(&field).derive_rm_ctx();
                theirs.apply(theirs.rm(field, context));
                remove(&name)
            }
            1 => {
                theirs.apply(theirs.update(field, context, |set, _| {
                    set.rm(member, set.contains(&member).derive_rm_ctx())
                }));
                update(&name, remove_member(member))
            }
            _ => {
                let add = |set: &Orswot<_, _>, context| set.add(member, context);
                theirs.apply(theirs.update(field, context, add));
                update(&name, add_member(member))
            }
        })
    }

    fn merge(theirs: &mut Self::Theirs, other: Self::Theirs) {
        theirs.merge(other);
    }

    fn ours(value: &Map) -> View {
        shown(value)
    }

    fn theirs(value: &Self::Theirs) -> View {
        let sets = value.iter().map(|entry| {
            let members: BTreeSet<Byte> = entry.val.1.read().val.into_iter().collect();
            (entry.val.0.to_string(), members.into_iter().map(i64::from).collect::<Vec<_>>())
        });
        sets.filter(|(_, members)| !members.is_empty()).collect()
    }
}

/// Their map of counters.
struct MapOfCounters<const REMOVES: bool>;

impl<const REMOVES: bool> Pair for MapOfCounters<REMOVES> {
    type Ours = Map;
    type Theirs = Theirs<Byte, PNCounter<u8>, u8>;
    type View = View;

    fn op(kind: u8, _: u8, actor: u8, theirs: &mut Self::Theirs) -> MapOp {
        let field = kind / 8 % 2;
        let context = theirs.read_ctx().derive_add_ctx(actor);
        let (op, amount) = match kind % 4 {
            0 if REMOVES => {
                let context = theirs.get(&field).derive_rm_ctx();
                theirs.apply(theirs.rm(field, context));
                return asked(remove(&field.to_string()));
            }
            1 => (theirs.update(field, context, |counter, _| counter.dec(actor)), -1),
            _ => (theirs.update(field, context, |counter, _| counter.inc(actor)), 1),
        };
        theirs.apply(op);
        asked(update(&field.to_string(), FieldOp::Counter(amount)))
    }

    fn merge(theirs: &mut Self::Theirs, other: Self::Theirs) {
        theirs.merge(other);
    }

    fn ours(value: &Map) -> View {
        shown(value)
    }

    fn theirs(value: &Self::Theirs) -> View {
        let sum = |counter: &PNCounter<u8>| i64::try_from(counter.read()).expect("small");
        let sums = value.iter().map(|entry| (entry.val.0.to_string(), vec![sum(entry.val.1)]));
        sums.collect()
    }
}

/// Their map of registers.
struct MapOfRegisters;

impl Pair for MapOfRegisters {
    type Ours = Map;
    type Theirs = Theirs<Byte, MVReg<Byte, u8>, u8>;
    type View = View;

    fn op(kind: u8, id: u8, actor: u8, theirs: &mut Self::Theirs) -> MapOp {
        let context = theirs.read_ctx().derive_add_ctx(actor);
        let write = |register: &MVReg<_, _>, context| register.write(id, context);
        theirs.apply(theirs.update(kind, context, write));
        asked(update(&kind.to_string(), FieldOp::MvRegister(vec![id])))
    }

    fn merge(theirs: &mut Self::Theirs, other: Self::Theirs) {
        theirs.merge(other);
    }

    fn ours(value: &Map) -> View {
        shown(value)
    }

    fn theirs(value: &Self::Theirs) -> View {
        let registers = value.iter().map(|entry| {
            let values: BTreeSet<Byte> = entry.val.1.read().val.into_iter().collect();
            (entry.val.0.to_string(), values.into_iter().map(i64::from).collect())
        });
        registers.collect()
    }
}

#[test]
fn a_map_of_sets_shows_what_theirs_shows_while_no_field_is_removed() {
    agrees::<MapOfSets<false>>();
}

#[test]
fn a_map_of_counters_shows_what_theirs_shows_while_no_field_is_removed() {
    agrees::<MapOfCounters<false>>();
}

/// The fields that either shows at a replica.
fn differ<P: Pair<View = View>>(both: &Both<P>, at: usize, ours: &[i64], theirs: &[i64]) {
    let view = |values: &[i64]| View::from([(FIELD.to_string(), values.to_vec())]);
    assert_eq!(both.views(at), (view(ours), view(theirs)));
}

#[test]
fn what_a_removed_field_held_stays_away_where_their_map_of_sets_brings_it_back() {
    const ADD_0: u8 = 2;
    const ADD_1: u8 = 2 + 16;
    const REMOVE: u8 = 0;
    let mut both = Both::<MapOfSets<true>>::new(2);
    both.write(0, ADD_0, 0);
    both.merge(1, 0);
    both.write(1, REMOVE, 1);
    both.write(0, ADD_1, 2);
    both.merge(1, 0);
    // Replica 1 removed the field with member 0 in it, and has not seen member 1.
    differ(&both, 1, &[1], &[0, 1]);
}

#[test]
fn what_a_removed_counter_counted_is_gone_where_their_map_of_counters_keeps_it() {
    const ADD: u8 = 2;
    const REMOVE: u8 = 0;
    let mut both = Both::<MapOfCounters<true>>::new(2);
    both.write(0, ADD, 0);
    both.merge(1, 0);
    both.write(1, REMOVE, 1);
    both.write(0, ADD, 2);
    both.merge(1, 0);
    // Replica 1 removed the first increment with the field.
    differ(&both, 1, &[1], &[2]);
}

#[test]
fn an_overwritten_value_stays_away_where_their_map_of_registers_brings_it_back() {
    const OTHER: u8 = FIELD + 1;
    let mut both = Both::<MapOfRegisters>::new(3);
    both.write(2, OTHER, 0);
    both.merge(1, 2);
    both.write(1, FIELD, 1);
    both.merge(0, 1);
    both.write(0, FIELD, 2);
    // Only the write of value 2 is left of the field, until the other field's writer comes by.
    both.merge(0, 2);
    both.merge(0, 1);
    let (ours, theirs) = both.views(0);
    assert_eq!((&ours["0"], &ours["1"]), (&vec![2], &vec![0]));
    assert_eq!((&theirs["0"], &theirs["1"]), (&vec![1, 2], &vec![0]));
}
