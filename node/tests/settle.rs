//! Collection by causal stability, on a cluster of cores: a removed object is forgotten once
//! everybody knows of it, and nothing that was away brings it back.

mod cluster_support;

use cluster_support::{Cluster, object};
use starling_node::config::{BucketProps, Config};
use starling_node::core::Core;
use starling_node::crdt::map::{Change, FieldOp};
use starling_node::crdt::{
    CounterOp, FlagOp, HllOp, KvOp, MapOp, ObjectOp, Observed, Real, SetOp, TypeTag, ZsetOp,
};
use starling_node::metrics::Metric;
use starling_node::store::memory::MemoryStore;
use starling_node::store::{Family, Store, Visit};
use starling_node::wire::api::{Options, Quorum, ReadQuery, Reply, Request};
use starling_node::wire::peer::{PeerBody, PeerMessage, Settle};
use std::collections::{BTreeMap, BTreeSet};

/// All types whose objects can be removed.
const TYPES: [TypeTag; 9] = [
    TypeTag::Kv,
    TypeTag::Counter,
    TypeTag::Set,
    TypeTag::Flag,
    TypeTag::RwSet,
    TypeTag::DwFlag,
    TypeTag::Map,
    TypeTag::Hll,
    TypeTag::Zset,
];
const SETTLE_MS: u32 = 3_000;

fn settings(config: &mut Config) {
    config.exchange_ms = 1_000;
    config.settle_ms = SETTLE_MS;
}

fn add(tag: TypeTag, name: &str) -> ObjectOp {
    let observed = Observed::Here;
    let member = || name.as_bytes().to_vec();
    match tag {
        TypeTag::Kv => {
            let (value, content_type) = (name.into(), "text/plain".into());
            ObjectOp::Kv(KvOp::Put { value, content_type, observed })
        }
        TypeTag::Flag => ObjectOp::Flag(FlagOp::Set { enabled: true, observed }),
        TypeTag::DwFlag => ObjectOp::DwFlag(FlagOp::Set { enabled: true, observed }),
        TypeTag::Counter => ObjectOp::Counter(CounterOp::Add { amount: 7, floor: 0 }),
        TypeTag::Set | TypeTag::RwSet => members(tag, [member()].into(), BTreeSet::new()),
        TypeTag::Hll => ObjectOp::Hll(HllOp::add([name.as_bytes()])),
        TypeTag::Map => {
            let update = BTreeMap::from([
                (name.to_string(), FieldOp::Register(member())),
                (format!("{name}-count"), FieldOp::Counter(3)),
            ]);
            let change = Change { update, remove: BTreeSet::new() };
            ObjectOp::Map(MapOp::Update { change, observed })
        }
        TypeTag::Zset => {
            let score = Real::new(1.5).expect("finite");
            let (add, increment) = (BTreeMap::new(), BTreeMap::from([(member(), score)]));
            let remove = BTreeSet::new();
            ObjectOp::Zset(ZsetOp::Update { add, increment, remove, observed })
        }
        TypeTag::Bounded => panic!("a bounded counter is not removed"),
    }
}

fn members(tag: TypeTag, add: BTreeSet<Vec<u8>>, remove: BTreeSet<Vec<u8>>) -> ObjectOp {
    let update = SetOp::Update { add, remove, observed: Observed::Here };
    if tag == TypeTag::Set { ObjectOp::Set(update) } else { ObjectOp::RwSet(update) }
}

fn write(cluster: &mut Cluster, at: usize, op: ObjectOp, w: u8) {
    let object = object(op.tag(), "k");
    let options = Options { w: Some(Quorum::Count(w)), ..Options::default() };
    match cluster.ask(at, Request::Write { object, op, options }) {
        Reply::Written(_) => {}
        other => panic!("not acknowledged: {other:?}"),
    }
}

fn remove(cluster: &mut Cluster, at: usize, tag: TypeTag, w: u8) {
    write(cluster, at, ObjectOp::delete(tag, Observed::Here), w);
}

fn is_there(cluster: &mut Cluster, at: usize, tag: TypeTag, r: u8) -> bool {
    let query = match tag.has_rows() && tag != TypeTag::Hll {
        true => ReadQuery::Page { after: None, prefix: Vec::new(), limit: 100 },
        false => ReadQuery::Whole,
    };
    let options = Options { r: Some(Quorum::Count(r)), ..Options::default() };
    match cluster.ask(at, Request::Read { object: object(tag, "k"), query, options }) {
        Reply::Read(read) => read.present,
        other => panic!("not read: {other:?}"),
    }
}

/// Rows on the disk of one node that are about objects.
fn rows(store: &MemoryStore) -> Vec<(Family, Vec<u8>)> {
    let mut rows = Vec::new();
    for family in [Family::Headers, Family::Rows, Family::Hints, Family::Scores] {
        let mut visit = |key: &[u8], _: &[u8]| {
            rows.push((family, key.to_vec()));
            Visit::Next
        };
        store.scan(family, b"", None, &mut visit).unwrap();
    }
    rows
}

fn all_rows(cluster: &Cluster) -> Vec<(Family, Vec<u8>)> {
    cluster.cores.iter().flat_map(|core| rows(core.store())).collect()
}

fn isolate(cluster: &mut Cluster, node: usize) {
    let others = (0..cluster.names.len()).filter(|other| *other != node);
    cluster.cut.extend(others.flat_map(|other| [(node, other), (other, node)]));
    cluster.gossip();
}

/// Long enough for an attempt, and for what follows from it.
fn settle(cluster: &mut Cluster) {
    cluster.pass(u64::from(SETTLE_MS) * 2 + 1_000);
}

#[test]
fn of_a_removed_object_of_any_type_nothing_is_left_anywhere() {
    for tag in TYPES {
        let mut cluster = Cluster::with(4, settings);
        for at in 0..4 {
            write(&mut cluster, at, add(tag, &format!("m{at}")), 3);
        }
        remove(&mut cluster, 1, tag, 3);
        assert!(!all_rows(&cluster).is_empty(), "{tag}: its removal is known");
        settle(&mut cluster);
        assert_eq!(all_rows(&cluster), [], "{tag}");
        // It begins anew, and can be removed and forgotten again.
        write(&mut cluster, 2, add(tag, "again"), 2);
        assert!(is_there(&mut cluster, 0, tag, 2), "{tag}");
        remove(&mut cluster, 3, tag, 2);
        assert!(!is_there(&mut cluster, 0, tag, 2), "{tag}");
        settle(&mut cluster);
        assert_eq!(all_rows(&cluster), [], "{tag}");
    }
}

/// How often one object is written and removed, 500 when nothing else is asked for.
#[allow(clippy::disallowed_methods)] // Asked for by a person.
fn rounds() -> usize {
    let asked = std::env::var("STARLING_ROUNDS").ok();
    asked.map_or(500, |rounds| rounds.parse().expect("a number of rounds"))
}

fn written_and_removed_many_times(tag: TypeTag) {
    let mut cluster = Cluster::with(3, settings);
    for round in 0..rounds() {
        write(&mut cluster, round % 3, add(tag, &format!("m{round}")), 3);
        match tag {
            // Each of its members is removed by itself.
            TypeTag::Set | TypeTag::RwSet => {
                let gone = BTreeSet::from([format!("m{round}").into_bytes()]);
                write(&mut cluster, round % 2, members(tag, BTreeSet::new(), gone), 3);
            }
            _ => remove(&mut cluster, round % 2, tag, 3),
        }
        // Removals of more than 10,000 totals wait for their collection.
        if tag == TypeTag::Zset && round % 5_000 == 4_999 {
            settle(&mut cluster);
        }
    }
    // Twice, for rows that nobody sees go first.
    settle(&mut cluster);
    settle(&mut cluster);
    assert_eq!(all_rows(&cluster), [], "{tag}");
}

#[test]
fn a_set_written_and_removed_many_times_is_as_if_it_was_never_there() {
    written_and_removed_many_times(TypeTag::Set);
}

#[test]
fn a_remove_wins_set_written_and_removed_many_times_is_as_if_it_was_never_there() {
    written_and_removed_many_times(TypeTag::RwSet);
}

#[test]
fn a_sorted_set_written_and_removed_many_times_is_as_if_it_was_never_there() {
    written_and_removed_many_times(TypeTag::Zset);
}

#[test]
fn a_register_written_and_removed_many_times_is_as_if_it_was_never_there() {
    written_and_removed_many_times(TypeTag::Kv);
}

#[test]
fn removals_leave_nothing_behind_in_a_collection_that_goes_on() {
    let increment = |by: f64| {
        let score = Real::new(by).expect("finite");
        let (add, increment) = (BTreeMap::new(), BTreeMap::from([(b"m".to_vec(), score)]));
        let (remove, observed) = (BTreeSet::new(), Observed::Here);
        ObjectOp::Zset(ZsetOp::Update { add, increment, remove, observed })
    };
    let drop_member = || {
        let (add, increment) = (BTreeMap::new(), BTreeMap::new());
        let (remove, observed) = ([b"m".to_vec()].into(), Observed::Here);
        ObjectOp::Zset(ZsetOp::Update { add, increment, remove, observed })
    };
    let mut cluster = Cluster::with(3, settings);
    write(&mut cluster, 0, add(TypeTag::RwSet, "stays"), 3);
    for round in 0..100 {
        let name = BTreeSet::from([format!("m{round}").into_bytes()]);
        write(&mut cluster, round % 3, members(TypeTag::RwSet, name.clone(), BTreeSet::new()), 3);
        write(&mut cluster, 0, members(TypeTag::RwSet, BTreeSet::new(), name), 3);
        write(&mut cluster, round % 3, increment(1.5), 3);
        write(&mut cluster, 1, drop_member(), 3);
    }
    write(&mut cluster, 2, increment(2.0), 3);
    settle(&mut cluster);
    for tag in [TypeTag::RwSet, TypeTag::Zset] {
        let audit = cluster.cores[1].audit_object(&object(tag, "k")).unwrap();
        let state = audit.expect("it is there").object;
        let rows: Vec<_> = state.rows().unwrap().held().collect();
        let parts: usize = rows.iter().map(|(_, row)| row.live.len() + row.base.len()).sum();
        assert_eq!((rows.len(), parts), (1, 1), "{tag}: {rows:?}");
        assert!(is_there(&mut cluster, 0, tag, 3), "{tag}");
    }
}

#[test]
fn while_a_member_is_away_what_it_missed_is_kept_and_it_brings_nothing_back() {
    for tag in TYPES {
        let mut cluster = Cluster::with(3, settings);
        write(&mut cluster, 0, add(tag, "old"), 3);
        isolate(&mut cluster, 2);
        for round in 0..20 {
            remove(&mut cluster, round % 2, tag, 2);
            write(&mut cluster, round % 2, add(tag, "new"), 2);
        }
        remove(&mut cluster, 0, tag, 2);
        settle(&mut cluster);
        settle(&mut cluster);
        assert!(
            rows(cluster.cores[0].store()).iter().any(|(family, _)| *family == Family::Headers)
        );
        cluster.heal();
        for at in 0..3 {
            assert!(!is_there(&mut cluster, at, tag, 3), "{tag} at {at}");
        }
        settle(&mut cluster);
        settle(&mut cluster);
        assert_eq!(all_rows(&cluster), [], "{tag}");
    }
}

#[test]
fn a_disk_put_back_to_a_time_before_the_removal_brings_nothing_back() {
    for tag in TYPES {
        let mut cluster = Cluster::with(3, settings);
        write(&mut cluster, 0, add(tag, "old"), 3);
        let backup = cluster.cores[2].store().clone();
        remove(&mut cluster, 0, tag, 3);
        settle(&mut cluster);
        assert_eq!(all_rows(&cluster), [], "{tag}");
        cluster.restore(2, backup, 9_000, settings);
        assert!(!rows(cluster.cores[2].store()).is_empty());
        // A read that meets a node that knows better does not show it, in time it is gone.
        for at in 0..3 {
            assert!(!is_there(&mut cluster, at, tag, 3), "{tag} at {at}");
        }
        cluster.heal();
        settle(&mut cluster);
        settle(&mut cluster);
        assert_eq!(all_rows(&cluster), [], "{tag}");
    }
}

fn put_bucket(cluster: &mut Cluster, n: u8) {
    let props = BucketProps { n, ..BucketProps::default() };
    let reply = cluster.ask(0, Request::PutBucket { bucket: "another".into(), props });
    assert!(matches!(reply, Reply::Bucket(_)), "{reply:?}");
}

#[test]
fn nor_does_it_when_a_bucket_changed_its_number_of_replicas_meanwhile() {
    // To another number than that of the bucket with the object, and to the same.
    for (tag, n) in TYPES.into_iter().flat_map(|tag| [(tag, 2), (tag, 3)]) {
        let mut cluster = Cluster::with(4, settings);
        write(&mut cluster, 0, add(tag, "old"), 3);
        put_bucket(&mut cluster, 4);
        let object = object(tag, "k");
        let owns = |core: &Core<_>| core.audit_object(&object).unwrap().is_some_and(|a| a.owner);
        let away = cluster.cores.iter().rposition(owns).expect("it has owners");
        let backup = cluster.cores[away].store().clone();
        remove(&mut cluster, 0, tag, 3);
        settle(&mut cluster);
        let is_gone = |core: &Core<_>| core.audit_object(&object) == Ok(None);
        assert!(cluster.cores.iter().all(is_gone), "{tag}");
        put_bucket(&mut cluster, n);
        cluster.restore(away, backup, 9_000, settings);
        for at in 0..4 {
            assert!(!is_there(&mut cluster, at, tag, 3), "{tag} at {at}");
        }
        cluster.heal();
        settle(&mut cluster);
        settle(&mut cluster);
        assert!(cluster.cores.iter().all(is_gone), "{tag}");
    }
}

#[test]
fn what_a_removal_says_of_totals_that_were_forgotten_is_kept_the_same_by_all() {
    let mut cluster = Cluster::with(4, settings);
    write(&mut cluster, 0, add(TypeTag::Map, "old"), 3);
    let map = object(TypeTag::Map, "k");
    let page = ReadQuery::Page { after: None, prefix: Vec::new(), limit: 100 };
    let ask = Request::Read { object: map.clone(), query: page, options: Options::default() };
    let Reply::Read(read) = cluster.ask(0, ask) else { panic!("not read") };
    let owns = |core: &Core<_>| core.audit_object(&map).unwrap().is_some_and(|audit| audit.owner);
    let owners: Vec<usize> = (0..4).filter(|at| owns(&cluster.cores[*at])).collect();
    remove(&mut cluster, 0, TypeTag::Map, 3);
    settle(&mut cluster);
    assert_eq!(all_rows(&cluster), []);
    // One that hears nobody has nothing of the object but that, and a mark of it for the others.
    isolate(&mut cluster, owners[0]);
    let observed = Observed::Context(read.object.seen());
    let change = Change { update: BTreeMap::new(), remove: ["other".to_string()].into() };
    write(&mut cluster, owners[0], ObjectOp::Map(MapOp::Update { change, observed }), 1);
    write(&mut cluster, owners[1], add(TypeTag::Map, "new"), 2);
    cluster.heal();
    settle(&mut cluster);
    assert_eq!(cluster.differences(), []);
}

#[test]
fn copies_of_old_messages_that_come_late_bring_nothing_back() {
    for tag in TYPES {
        let mut cluster = Cluster::with(4, settings);
        cluster.kept = Some(Vec::new());
        for at in 0..4 {
            write(&mut cluster, at, add(tag, "old"), 3);
        }
        // A comparison sends whole states.
        cluster.pass(2_000);
        let old = cluster.kept.take().unwrap();
        remove(&mut cluster, 1, tag, 3);
        settle(&mut cluster);
        assert_eq!(all_rows(&cluster), [], "{tag}");
        let late = |(_, _, message): &(usize, usize, PeerMessage)| {
            matches!(message.body, PeerBody::Join { .. } | PeerBody::Repair { .. })
        };
        let late: Vec<_> = old.into_iter().filter(late).collect();
        assert!(late.len() >= 8, "{tag}: {} messages", late.len());
        cluster.again(late.clone());
        assert_eq!(all_rows(&cluster), [], "{tag}");
        let refused = cluster.cores.iter_mut().map(|core| core.metrics().get(Metric::StaleDots));
        assert!(refused.sum::<u64>() > 0, "{tag}");
        // Nor do they touch what has begun anew.
        write(&mut cluster, 2, add(tag, "new"), 3);
        let digests = |cluster: &Cluster| {
            let object = object(tag, "k");
            let audit = |at: usize| cluster.cores[at].audit_object(&object).unwrap();
            (0..4).map(|at| audit(at).map(|audit| audit.object)).collect::<Vec<_>>()
        };
        let before = digests(&cluster);
        cluster.again(late);
        assert_eq!(digests(&cluster), before, "{tag}");
    }
}

#[test]
fn nodes_that_did_not_hear_that_all_agreed_learn_it_when_they_compare() {
    let mut cluster = Cluster::with(3, settings);
    let tag = TypeTag::Kv;
    write(&mut cluster, 0, add(tag, "old"), 3);
    remove(&mut cluster, 0, tag, 3);
    cluster.lose =
        |message| matches!(&message.body, PeerBody::Settle { what: Settle::Done { .. }, .. });
    settle(&mut cluster);
    assert_eq!(all_rows(&cluster), []);
}

#[test]
fn actors_that_are_no_more_leave_the_contexts_of_what_is_still_there() {
    let mut cluster = Cluster::with(3, settings);
    for round in 0..30 {
        write(&mut cluster, round % 3, add(TypeTag::Kv, "v"), 3);
        let store = cluster.cores[round % 3].store().clone();
        cluster.restore(round % 3, store, 10_000 + round as u64, settings);
        cluster.heal();
    }
    let intervals = |cluster: &Cluster| {
        let audit = cluster.cores[0].audit_object(&object(TypeTag::Kv, "k")).unwrap();
        audit.expect("it is there").object.context().interval_count()
    };
    assert!(intervals(&cluster) >= 30, "each life has its own");
    settle(&mut cluster);
    write(&mut cluster, 0, add(TypeTag::Kv, "v"), 3);
    settle(&mut cluster);
    assert!(intervals(&cluster) <= 3, "{}", intervals(&cluster));
    assert!(is_there(&mut cluster, 0, TypeTag::Kv, 3));
}
