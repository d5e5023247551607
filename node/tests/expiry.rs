//! Expiry in the merged state: what a setting does, alone and under concurrency, whatever the
//! order of delivery.

use proptest::prelude::*;
use starling_node::crdt::expiry::{NEVER, Terms, instant_after};
use starling_node::crdt::{
    Actor, BoundedOp, CounterOp, FlagOp, Hlc, HllOp, KvOp, Mint, NodeId, Object, ObjectOp,
    Observed, OpError, SetOp, TypeTag,
};
use std::collections::BTreeSet;

/// Types of which a write changes a part, then types of which it replaces the whole.
const TYPES: [TypeTag; 7] = [
    TypeTag::Set,
    TypeTag::RwSet,
    TypeTag::Hll,
    TypeTag::Counter,
    TypeTag::Kv,
    TypeTag::Flag,
    TypeTag::DwFlag,
];
const REPLICAS: usize = 3;

fn replaces(tag: TypeTag) -> bool {
    matches!(tag, TypeTag::Kv | TypeTag::Flag | TypeTag::DwFlag)
}

/// A write of that type that leaves the object present.
fn op_of(tag: TypeTag, id: usize) -> ObjectOp {
    let observed = Observed::Here;
    let member = BTreeSet::from([vec![id as u8]]);
    let update =
        || SetOp::Update { add: member.clone(), remove: BTreeSet::new(), observed: Observed::Here };
    match tag {
        TypeTag::Kv => {
            ObjectOp::Kv(KvOp::Put { value: vec![id as u8], content_type: String::new(), observed })
        }
        TypeTag::Flag => ObjectOp::Flag(FlagOp::Set { enabled: true, observed }),
        TypeTag::DwFlag => ObjectOp::DwFlag(FlagOp::Set { enabled: true, observed }),
        TypeTag::Counter => ObjectOp::Counter(CounterOp::Add { amount: 1, floor: 0 }),
        TypeTag::Set => ObjectOp::Set(update()),
        TypeTag::RwSet => ObjectOp::RwSet(update()),
        TypeTag::Hll => ObjectOp::Hll(HllOp::add([&[id as u8][..]])),
        other => panic!("{other} is not written here"),
    }
}

#[derive(Clone)]
struct Replica {
    state: Object,
    /// Writes received, one bit each.
    known: u64,
    at: usize,
}

impl Replica {
    fn new(tag: TypeTag, at: usize) -> Replica {
        Replica { state: Object::empty(tag), known: 0, at }
    }

    fn write(&mut self, op: &ObjectOp, asked: Option<u64>, expired: bool) -> Object {
        let delta = self.try_write(op, asked, expired).expect("within limits");
        self.state.join(&delta).expect("the same type");
        delta
    }

    fn try_write(
        &self,
        op: &ObjectOp,
        asked: Option<u64>,
        expired: bool,
    ) -> Result<Object, OpError> {
        let actor = Actor { node: NodeId(self.at as u64), epoch: 0 };
        let next = self.state.context().highest(actor) + 1;
        let mut mint = Mint::new(actor, next, Hlc::default());
        let present = self.state.is_present();
        self.state.write(op, Terms { asked, default: None, expired, present }, &mut mint)
    }
}

/// A write as the specification knows it: which settings and values it saw.
#[derive(Clone, Copy)]
struct Fact {
    known: u64,
    /// Of a setting: its instant.
    at: Option<u64>,
    /// Whether it left a value.
    value: bool,
    /// Whether it replaced the values it saw with the settings about them.
    whole: bool,
    /// Whether its replica had received all that what it had received had seen. One that has
    /// heard of a setting and not of what it was made for finds no object, and begins one.
    in_order: bool,
}

/// Whether all that these writes had seen is among them.
fn in_order(facts: &[Fact], known: u64) -> bool {
    (0..facts.len())
        .filter(|id| known & (1 << id) != 0)
        .all(|id| facts[id].known & !known == 0 && facts[id].in_order)
}

/// The instant after the writes `known`, from the facts alone.
fn instant(tag: TypeTag, facts: &[Fact], known: u64) -> Option<u64> {
    let has = |bits: u64, id: usize| bits & (1 << id) != 0;
    let ids = || (0..facts.len()).filter(|id| has(known, *id));
    // A setting counts unless a received write that saw it set or replaced anew.
    let gone = |id: usize| {
        ids().any(|by| has(facts[by].known, id) && (facts[by].at.is_some() || facts[by].whole))
    };
    let settings: Vec<usize> = ids().filter(|id| facts[*id].at.is_some() && !gone(*id)).collect();
    let at = |id: &usize| facts[*id].at.expect("a setting");
    let instant = match replaces(tag) {
        false => settings.iter().map(at).max(),
        true => {
            let live = |id: &usize| {
                facts[*id].value && !ids().any(|by| has(facts[by].known, *id) && facts[by].whole)
            };
            let of = |value: usize| {
                let about = settings.iter().filter(|setting| {
                    let fact = facts[**setting];
                    **setting == value || (!fact.value && has(fact.known, value))
                });
                about.map(at).max().unwrap_or(NEVER)
            };
            ids().filter(live).map(of).max()
        }
    };
    instant.filter(|at| *at != NEVER)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn of_concurrent_settings_the_latest_counts_in_any_order_of_delivery(
        kind in 0..TYPES.len(),
        steps in prop::collection::vec((0u8..10, 0..REPLICAS, any::<u8>(), 2u64..9), 1..20),
    ) {
        let tag = TYPES[kind];
        let mut replicas: Vec<_> = (0..REPLICAS).map(|at| Replica::new(tag, at)).collect();
        let mut facts: Vec<Fact> = Vec::new();
        let mut sent: Vec<(Object, u64)> = Vec::new();
        for (what, at, which, when) in steps {
            let replica = &mut replicas[at];
            let known = replica.known;
            match what {
                0..5 => {
                    let touch = what == 4 && replica.state.is_present();
                    // Without a value to set it for, a write makes one.
                    let op = if touch { ObjectOp::Touch(tag) } else { op_of(tag, facts.len()) };
                    let asked = match what {
                        0 => None,
                        3 => Some(NEVER),
                        _ => Some(when),
                    };
                    let whole = replaces(tag) && !touch;
                    let value = !touch;
                    // A value without a setting never expires.
                    let noted = asked.filter(|at| !(whole && *at == NEVER));
                    let delta = replica.write(&op, asked, false);
                    replica.known |= 1 << facts.len();
                    sent.push((delta, 1 << facts.len()));
                    let in_order = in_order(&facts, known);
                    facts.push(Fact { known, at: noted, value, whole, in_order });
                }
                5..9 if !sent.is_empty() => {
                    let (delta, of) = &sent[usize::from(which) % sent.len()];
                    replica.state.join(delta).expect("the same type");
                    replica.known |= of;
                }
                _ => {
                    let from = replicas[usize::from(which) % REPLICAS].clone();
                    replicas[at].state.join(&from.state).expect("the same type");
                    replicas[at].known |= from.known;
                }
            }
            let replica = &replicas[at];
            prop_assert!(replica.state.is_canonical());
            // A removed setting whose write has not come is no promise of the types either way:
            // deltas say what they replaced.
            if in_order(&facts, replica.known) {
                prop_assert_eq!(replica.state.expires_at(), instant(tag, &facts, replica.known));
            }
        }
        let (mut one, mut other) = (Object::empty(tag), Object::empty(tag));
        for (delta, _) in &sent {
            one.join(delta).unwrap();
        }
        for (delta, _) in sent.iter().rev().chain(&sent) {
            other.join(delta).unwrap();
        }
        prop_assert_eq!(&one, &other);
    }

    #[test]
    fn a_write_after_the_instant_brings_nothing_back(kind in 0..TYPES.len(), old in 1usize..6) {
        let tag = TYPES[kind];
        let mut stale = Replica::new(tag, 0);
        (0..old).for_each(|id| drop(stale.write(&op_of(tag, id), Some(10), false)));
        let mut fresh = Replica { at: 1, ..stale.clone() };
        let delta = fresh.write(&op_of(tag, 9), Some(20), true);
        // Alone, beside the old content, and with it in the other order.
        let mut alone = Object::empty(tag);
        alone.join(&delta).unwrap();
        stale.state.join(&delta).unwrap();
        prop_assert_eq!(stale.state.expires_at(), Some(20));
        prop_assert_eq!(fresh.state.expires_at(), Some(20));
        prop_assert_eq!(&stale.state, &fresh.state);
        for state in [&alone, &fresh.state, &stale.state] {
            prop_assert_eq!(values(state), 1, "{:?}", state);
        }
    }
}

/// How many values or members there are; of a counter what it comes to.
fn values(state: &Object) -> i64 {
    use starling_node::crdt::DeltaType;
    match state {
        Object::Kv(kv) => kv.siblings().count() as i64,
        Object::Flag(flag) => flag.votes().count() as i64,
        Object::DwFlag(flag) => flag.votes().count() as i64,
        Object::Counter(counter) => counter.value().unwrap_or(0),
        collection => collection.rows().expect("rows").present().count() as i64,
    }
}

#[test]
fn a_write_of_a_part_keeps_the_instant_and_one_of_the_whole_replaces_it() {
    for tag in TYPES {
        let mut replica = Replica::new(tag, 0);
        replica.write(&op_of(tag, 0), Some(10), false);
        assert_eq!(replica.state.expires_at(), Some(10), "{tag}");
        replica.write(&op_of(tag, 1), None, false);
        let kept = if replaces(tag) { None } else { Some(10) };
        assert_eq!(replica.state.expires_at(), kept, "{tag}");
    }
}

#[test]
fn a_register_written_to_stay_is_not_taken_along_by_a_concurrent_one_that_expires() {
    for tag in [TypeTag::Kv, TypeTag::Flag, TypeTag::DwFlag] {
        let (mut stays, mut goes) = (Replica::new(tag, 0), Replica::new(tag, 1));
        let expiring = goes.write(&op_of(tag, 1), Some(10), false);
        goes.write(&ObjectOp::Touch(tag), Some(5), false);
        stays.write(&op_of(tag, 0), None, false);
        stays.state.join(&expiring).unwrap();
        stays.state.join(&goes.state).unwrap();
        assert_eq!(stays.state.expires_at(), None, "{tag}");
        assert_eq!(values(&stays.state), 2);
    }
}

#[test]
fn what_a_removal_did_not_observe_goes_when_it_was_to_go() {
    for tag in TYPES {
        let mut here = Replica::new(tag, 0);
        let written = here.write(&op_of(tag, 0), Some(10), false);
        let mut there = Replica::new(tag, 1);
        there.state.join(&written).unwrap();
        there.write(&op_of(tag, 1), Some(10).filter(|_| replaces(tag)), false);
        here.write(&ObjectOp::delete(tag, Observed::Here), None, false);
        assert!(!here.state.is_present());
        here.state.join(&there.state).unwrap();
        assert!(here.state.is_present());
        assert_eq!(here.state.expires_at(), Some(10), "{tag}");
    }
}

#[test]
fn what_a_removed_object_was_left_with_is_not_for_the_next_one() {
    for tag in TYPES {
        let mut replica = Replica::new(tag, 0);
        replica.write(&op_of(tag, 0), Some(10), false);
        replica.write(&ObjectOp::delete(tag, Observed::Here), None, false);
        replica.write(&op_of(tag, 1), None, false);
        assert_eq!(replica.state.expires_at(), None, "{tag}");
    }
}

#[test]
fn only_what_is_there_can_be_given_an_expiry() {
    for tag in TYPES {
        let mut replica = Replica::new(tag, 0);
        let touch = ObjectOp::Touch(tag);
        assert_eq!(replica.try_write(&touch, Some(10), false), Err(OpError::Absent));
        replica.write(&op_of(tag, 0), Some(10), false);
        assert_eq!(replica.try_write(&touch, Some(20), true), Err(OpError::Absent));
        let before = values(&replica.state);
        replica.write(&touch, Some(20), false);
        assert_eq!((replica.state.expires_at(), values(&replica.state)), (Some(20), before));
        replica.write(&touch, Some(NEVER), false);
        assert_eq!((replica.state.expires_at(), values(&replica.state)), (None, before));
    }
}

#[test]
fn a_bounded_counter_takes_no_expiry_and_says_why() {
    let replica = Replica::new(TypeTag::Bounded, 0);
    let op = ObjectOp::Bounded(BoundedOp::Add { amount: 1 });
    assert!(matches!(replica.try_write(&op, Some(10), false), Err(OpError::Unsupported(_))));
    let touch = ObjectOp::Touch(TypeTag::Bounded);
    assert!(matches!(replica.try_write(&touch, Some(10), false), Err(OpError::Unsupported(_))));
}

#[test]
fn extending_a_counter_again_and_again_leaves_one_total() {
    let mut replica = Replica::new(TypeTag::Counter, 0);
    for at in 2..100 {
        replica.write(&op_of(TypeTag::Counter, 0), Some(at), false);
        replica.write(&ObjectOp::Touch(TypeTag::Counter), Some(at + 1), false);
    }
    let Object::Counter(counter) = &replica.state else { unreachable!() };
    assert_eq!(counter.runs().count(), 1);
    assert_eq!(replica.state.expiry_dots().count(), 1);
}

#[test]
fn a_husk_hides_what_was_seen_and_nothing_else() {
    for tag in TYPES {
        let mut replica = Replica::new(tag, 0);
        replica.write(&op_of(tag, 0), Some(10), false);
        let mut other = Replica { at: 1, ..replica.clone() };
        other.write(&ObjectOp::Touch(tag), Some(20), false);
        let unseen = other.write(&op_of(tag, 1), Some(20), false);
        let husk = replica.state.husk();
        assert!(husk.is_canonical() && !husk.is_present());
        assert_eq!(husk.context(), replica.state.context());
        let mut stale = replica.state.clone();
        stale.join(&husk).unwrap();
        assert!(!stale.is_present(), "{tag}");
        stale.join(&unseen).unwrap();
        assert_eq!((values(&stale), stale.expires_at()), (1, Some(20)), "{tag}");
    }
}

#[test]
fn a_husk_says_when_the_last_value_went_whatever_was_said_of_earlier_ones() {
    for tag in TYPES.into_iter().filter(|tag| replaces(*tag)) {
        let mut replica = Replica::new(tag, 0);
        replica.write(&op_of(tag, 0), Some(10), false);
        let mut other = Replica { at: 1, ..replica.clone() };
        let kept = other.write(&ObjectOp::Touch(tag), Some(NEVER), false);
        replica.write(&op_of(tag, 1), Some(20), false);
        replica.state.join(&kept).unwrap();
        assert_eq!(replica.state.expires_at(), Some(20), "{tag}");
        assert_eq!(replica.state.husk().expires_at(), Some(20), "{tag}");
    }
}

#[test]
fn an_instant_is_a_whole_second_and_never_early() {
    assert_eq!(instant_after(10_000, 5), 15);
    assert_eq!(instant_after(10_001, 5), 16);
    assert_eq!(instant_after(10_999, 5), 16);
}
