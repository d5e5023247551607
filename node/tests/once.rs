//! Operations with a key count once, whoever is asked again: promise 7 of the design.

mod cluster_support;

use cluster_support::{Cluster, object};
use proptest::prelude::*;
use starling_node::crdt::{
    CounterOp, DeltaType, Object, ObjectOp, Observed, Once, OpError, SeenContext, TypeTag,
};
use starling_node::metrics::Metric;
use starling_node::store::memory::MemoryStore;
use starling_node::wire::api::{Failure, Options, Quorum, ReadQuery, Reply, Request, Written};
use starling_node::wire::peer::PeerBody;
use std::collections::{BTreeMap, BTreeSet};

const DAY_MS: u64 = 24 * 3_600 * 1_000;

fn request(name: &str, key: &str, amount: i128, w: u8) -> Request {
    let once = Some(Box::new(Once { key: key.into(), asked: amount as u64 }));
    let options =
        Options { w: Some(Quorum::Count(w)), timeout_ms: Some(500), once, ..Options::default() };
    let op = ObjectOp::Counter(CounterOp::Add { amount, floor: 0 });
    Request::Write { object: object(TypeTag::Counter, name), op, options }
}

fn add(cluster: &mut Cluster, at: usize, key: &str, amount: i128) -> Written {
    match cluster.ask(at, request("c", key, amount, 1)) {
        Reply::Written(written) => written,
        other => panic!("not acknowledged: {other:?}"),
    }
}

fn write(cluster: &mut Cluster, at: usize, op: CounterOp) {
    let options = Options { w: Some(Quorum::One), ..Options::default() };
    let object = object(TypeTag::Counter, "c");
    let request = Request::Write { object, op: ObjectOp::Counter(op), options };
    assert!(matches!(cluster.ask(at, request), Reply::Written(_)));
}

fn read(cluster: &mut Cluster, at: usize, r: u8) -> (Option<i64>, SeenContext) {
    let options = Options { r: Some(Quorum::Count(r)), ..Options::default() };
    let query = ReadQuery::Whole;
    let read = Request::Read { object: object(TypeTag::Counter, "c"), query, options };
    match cluster.ask(at, read) {
        Reply::Read(read) => match &read.object {
            Object::Counter(counter) => (counter.value(), read.object.seen()),
            other => panic!("a counter: {other:?}"),
        },
        other => panic!("not read: {other:?}"),
    }
}

fn value(cluster: &mut Cluster, at: usize, r: u8) -> Option<i64> {
    read(cluster, at, r).0
}

fn sum(cluster: &mut Cluster, metric: Metric) -> u64 {
    cluster.cores.iter_mut().map(|core| core.metrics().get(metric)).sum()
}

/// Lets wall clocks go on by so much, and some time pass.
fn skip(cluster: &mut Cluster, ms: u64) {
    cluster.ahead_ms.iter_mut().for_each(|ahead| *ahead += ms);
    cluster.pass(5_000);
}

/// Cuts `at` off from all others, both ways.
fn cut_off(cluster: &mut Cluster, at: usize) {
    let others = (0..cluster.cores.len()).filter(|other| *other != at);
    cluster.cut = others.flat_map(|other| [(at, other), (other, at)]).collect();
}

#[test]
fn a_repetition_is_answered_by_any_node_and_not_applied() {
    let mut cluster = Cluster::new(5);
    for at in [0, 1, 2, 3, 4, 0] {
        let Reply::Written(written) = cluster.ask(at, request("c", "k", 7, 3)) else {
            panic!("not acknowledged")
        };
        let Object::Counter(counter) = &written.object else { panic!("a counter") };
        assert_eq!(counter.value(), Some(7));
        assert_eq!(written.acks.owners, 3, "it says who has it, and all of them do");
    }
    assert_eq!(value(&mut cluster, 3, 3), Some(7));
    assert_eq!(sum(&mut cluster, Metric::Repeated), 5);
    assert_eq!(sum(&mut cluster, Metric::Doubled), 0);
    // Another key is another operation, and so is the same key of another counter.
    add(&mut cluster, 1, "l", 7);
    assert!(matches!(cluster.ask(1, request("d", "k", 1, 3)), Reply::Written(_)));
    assert_eq!(value(&mut cluster, 0, 3), Some(14));
}

#[test]
fn the_same_key_with_another_operation_is_refused_and_changes_nothing() {
    let mut cluster = Cluster::new(3);
    add(&mut cluster, 0, "k", 7);
    for at in 0..3 {
        let refused = Reply::Failed(Failure::Refused(OpError::KeyReused));
        assert_eq!(cluster.ask(at, request("c", "k", 8, 1)), refused);
    }
    assert_eq!(value(&mut cluster, 0, 3), Some(7));
}

#[test]
fn a_key_must_have_a_length_and_an_operation_that_takes_one() {
    let mut cluster = Cluster::new(3);
    let bad = |reply: Reply| {
        let named = matches!(&reply, Reply::Failed(Failure::BadParameter { parameter, .. })
            if *parameter == "Idempotency-Key");
        assert!(named, "{reply:?}");
    };
    bad(cluster.ask(0, request("c", "", 1, 1)));
    bad(cluster.ask(0, request("c", &"k".repeat(256), 1, 1)));
    let Request::Write { options, .. } = request("c", "k", 1, 1) else { unreachable!() };
    let object = object(TypeTag::Kv, "c");
    let op = ObjectOp::delete(TypeTag::Kv, Observed::Here);
    bad(cluster.ask(0, Request::Write { object, op, options }));
    assert_eq!(value(&mut cluster, 0, 3), None);
}

/// The answer is lost, and with it what the others would have been told.
#[test]
fn an_operation_whose_answer_was_lost_counts_once_when_another_node_is_asked() {
    let mut cluster = Cluster::new(3);
    add(&mut cluster, 1, "before", 1);
    cut_off(&mut cluster, 0);
    assert!(matches!(
        cluster.ask(0, request("c", "k", 10, 2)),
        Reply::Failed(Failure::Unknown(_) | Failure::Unavailable(_))
    ));
    add(&mut cluster, 1, "k", 10);
    assert_eq!(value(&mut cluster, 1, 2), Some(11));
    cluster.heal();
    for at in 0..3 {
        assert_eq!(value(&mut cluster, at, 3), Some(11), "node {at}");
        add(&mut cluster, at, "k", 10);
    }
    assert_eq!(value(&mut cluster, 0, 3), Some(11));
}

/// All three apply it, each alone; it is reset where one of them is known.
#[test]
fn a_reset_takes_back_what_it_saw_and_what_counts_for_nothing_stays_nothing() {
    let mut cluster = Cluster::new(3);
    let pairs = (0..3).flat_map(|a| (0..3).map(move |b| (a, b))).filter(|(a, b)| a != b);
    cluster.cut = pairs.collect();
    cluster.gossip();
    for at in 0..3 {
        add(&mut cluster, at, "k", 10);
        assert_eq!(value(&mut cluster, at, 1), Some(10));
    }
    cluster.heal();
    assert_eq!(value(&mut cluster, 0, 3), Some(10));
    assert!(sum(&mut cluster, Metric::Doubled) >= 3, "every owner learned of it");
    let (_, seen) = read(&mut cluster, 0, 3);
    add(&mut cluster, 1, "later", 5);
    write(&mut cluster, 2, CounterOp::Reset { observed: Observed::Context(seen), floor: 0 });
    cluster.heal();
    assert_eq!(value(&mut cluster, 1, 3), Some(5), "the later one survives the reset");
    write(&mut cluster, 0, CounterOp::Delete { observed: Observed::Here });
    cluster.heal();
    assert_eq!(value(&mut cluster, 1, 3), None);
    add(&mut cluster, 1, "k", 10);
    assert_eq!(value(&mut cluster, 1, 3), None, "it was done, and removed");
}

#[test]
fn a_disk_that_alone_had_the_first_of_two_does_not_take_the_operation_with_it() {
    let mut cluster = Cluster::new(3);
    cut_off(&mut cluster, 2);
    cluster.gossip();
    add(&mut cluster, 2, "k", 10);
    add(&mut cluster, 1, "k", 10);
    // The note comes through, and what it is about does not.
    cluster.lose = |message| match &message.body {
        PeerBody::Handoff { items, .. } => items.iter().any(|(id, _)| id.key == b"c"),
        PeerBody::Repair { object, .. } => object.key == b"c",
        _ => false,
    };
    cluster.cut.clear();
    cluster.gossip();
    cluster.pass(3_000);
    cluster.restore(2, MemoryStore::new(), 99, |_| {});
    cluster.lose = |_| false;
    cluster.pass(2_000);
    cluster.heal();
    assert_eq!(value(&mut cluster, 1, 3), Some(10));
    add(&mut cluster, 2, "k", 10);
    assert_eq!(value(&mut cluster, 0, 3), Some(10));
}

#[test]
fn a_crash_leaves_both_or_neither_of_counter_and_note() {
    for seed in 0..40 {
        let mut cluster = Cluster::new(3);
        cut_off(&mut cluster, 0);
        cluster.begin(0, request("c", "k", 10, 2));
        cluster.crash(0, seed);
        cluster.cut.clear();
        cluster.gossip();
        add(&mut cluster, (seed % 3) as usize, "k", 10);
        cluster.heal();
        assert_eq!(value(&mut cluster, 1, 3), Some(10));
    }
}

#[test]
fn a_key_is_forgotten_after_a_day_and_its_note_leaves_nothing() {
    let mut cluster = Cluster::with(3, |config| {
        config.exchange_ms = 1_000;
        config.settle_ms = 5_000;
        config.expiry_grace_s = 60;
    });
    add(&mut cluster, 0, "k", 1);
    let notes = |cluster: &Cluster| -> usize {
        let noted = |core: &starling_node::core::Core<MemoryStore>| {
            core.audit().unwrap().keys().filter(|id| id.noted().is_some()).count()
        };
        cluster.cores.iter().map(noted).sum()
    };
    assert_eq!(notes(&cluster), 3);
    skip(&mut cluster, DAY_MS - 60_000);
    add(&mut cluster, 1, "k", 1);
    assert_eq!(value(&mut cluster, 0, 3), Some(1));
    // A minute later it has expired, another one later it is collected.
    skip(&mut cluster, 120_000);
    cluster.pass(5_000);
    add(&mut cluster, 1, "k", 1);
    assert_eq!(value(&mut cluster, 0, 3), Some(2));
    skip(&mut cluster, DAY_MS + 3_600_000);
    cluster.pass(60_000);
    assert_eq!(notes(&cluster), 0);
    assert_eq!(value(&mut cluster, 0, 3), Some(2));
}

/// What happens to a cluster between operations.
#[derive(Clone, Debug)]
enum Step {
    /// Node, number of the operation, W.
    Add(usize, usize, u8),
    /// Pairs that do not hear each other from now on.
    Cut(Vec<(usize, usize)>),
    Crash(usize),
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let pair = (0usize..4, 0usize..4);
    let step = prop_oneof![
        8 => (0usize..4, 0usize..6, 1u8..=3).prop_map(|(at, what, w)| Step::Add(at, what, w)),
        2 => prop::collection::vec(pair, 0..8).prop_map(Step::Cut),
        1 => (0usize..4).prop_map(Step::Crash),
        1 => (1u64..2_000).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 1..30)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_operation_counts_once_however_often_and_wherever_it_was_asked(steps in steps()) {
        let mut cluster = Cluster::new(4);
        let mut asked: BTreeMap<usize, bool> = BTreeMap::new();
        for (count, step) in steps.into_iter().enumerate() {
            match step {
                Step::Add(at, what, w) => {
                    let name = format!("k{what}");
                    let reply = cluster.ask(at, request("c", &name, 1 << what, w));
                    let acked = matches!(reply, Reply::Written(_));
                    *asked.entry(what).or_default() |= acked;
                }
                Step::Cut(pairs) => {
                    cluster.cut = pairs.into_iter().filter(|(a, b)| a != b).collect();
                    cluster.gossip();
                }
                Step::Crash(at) => cluster.crash(at, count as u64),
                Step::Pass(ms) => cluster.pass(ms),
            }
        }
        cluster.heal();
        let value = value(&mut cluster, 0, 3).unwrap_or(0);
        // Each amount is a bit: one that counted twice would show in another one's place.
        let all: BTreeSet<usize> = asked.keys().copied().collect();
        for (what, acked) in &asked {
            prop_assert!(!acked || value & (1 << what) != 0, "{what} is not in {value:b}");
        }
        let possible: i64 = all.iter().map(|what| 1i64 << what).sum();
        prop_assert!(value & !possible == 0 && value <= possible, "{value:b} of {possible:b}");
        // And once more, of all nodes: it stays as it is, but for what was never applied.
        for what in &all {
            for at in 0..4 {
                add(&mut cluster, at, &format!("k{what}"), 1 << what);
            }
        }
        prop_assert_eq!(self::value(&mut cluster, 0, 3).unwrap_or(0), possible);
    }
}
