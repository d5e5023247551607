//! Damage on one disk: what the node acknowledged beside it, and what it owes, comes through.

mod cluster_support;

use cluster_support::{Cluster, object};
use starling_node::crdt::{
    CounterOp, KvOp, NodeId, Object, ObjectId, ObjectOp, Observed, SetOp, TypeTag,
};
use starling_node::placement::partition_of;
use starling_node::store::{Family, StoreError};
use starling_node::wire::api::{Acks, Options, Quorum, ReadQuery, Reply, Request};
use std::collections::BTreeSet;

fn w(count: u8) -> Options {
    Options { w: Some(Quorum::Count(count)), ..Options::default() }
}

fn update(add: &[&str], remove: &[&str]) -> ObjectOp {
    let members = |names: &[&str]| -> BTreeSet<Vec<u8>> {
        names.iter().map(|name| name.as_bytes().to_vec()).collect()
    };
    let (add, remove) = (members(add), members(remove));
    ObjectOp::Set(SetOp::Update { add, remove, observed: Observed::Here })
}

fn write(cluster: &mut Cluster, at: usize, key: &str, op: ObjectOp, options: Options) -> Acks {
    let object = object(op.tag(), key);
    match cluster.ask(at, Request::Write { object, op, options }) {
        Reply::Written(written) => written.acks,
        other => panic!("not acknowledged: {other:?}"),
    }
}

/// A cluster that finds damage and differences within a test's time.
fn damageable(nodes: usize) -> Cluster {
    Cluster::with(nodes, |config| {
        config.scrub_ms = 500;
        config.exchange_ms = 2_000;
    })
}

fn isolate(cluster: &mut Cluster, node: usize) {
    let others = (0..cluster.names.len()).filter(|other| *other != node);
    cluster.cut.extend(others.flat_map(|other| [(node, other), (other, node)]));
    cluster.gossip();
}

/// Ends every cut and lets what is damaged be mended, which comes before it can be compared.
fn mend_and_heal(cluster: &mut Cluster) {
    cluster.cut.clear();
    cluster.gossip();
    for _ in 0..50 {
        cluster.pass(200);
        if cluster.cores.iter().all(|core| core.damaged() == 0 && core.audit().is_ok()) {
            return cluster.heal();
        }
    }
    panic!("still damaged after 10 s");
}

fn members(cluster: &mut Cluster, at: usize, key: &str) -> Vec<String> {
    let query = ReadQuery::Page { after: None, prefix: vec![], limit: 1_000 };
    let options = Options { r: Some(Quorum::All), ..Options::default() };
    let object = object(TypeTag::Set, key);
    let reply = cluster.ask(at, Request::Read { object, query, options });
    let Reply::Read(result) = reply else { panic!("not read: {reply:?}") };
    let Object::Set(set) = &result.object else { panic!("a set") };
    set.members().map(|(member, _)| String::from_utf8_lossy(member).into_owned()).collect()
}

#[test]
fn what_a_damaged_set_took_before_it_was_mended_stays() {
    let mut cluster = damageable(3);
    write(&mut cluster, 0, "s", update(&["a", "b", "c"], &[]), w(3));
    isolate(&mut cluster, 0);
    let row = cluster.cores[0].store_mut().flip(Family::Rows, 0, 7).expect("a row");
    assert!(row.ends_with(b"a"));
    // Nobody has read the damaged row yet, so nothing is known of it.
    write(&mut cluster, 0, "s", update(&["new"], &["b"]), w(1));
    // Marks that cannot be read wait for the mending: nothing is handed over before.
    cluster.pass(1_000);
    let store = cluster.cores[0].store_mut();
    let marks = store.len(Family::Hints) as u64;
    assert_eq!(marks, 4, "two members, for two owners");
    (0..marks).for_each(|mark| assert!(store.flip(Family::Hints, mark, 99).is_some()));
    mend_and_heal(&mut cluster);
    for at in 0..3 {
        assert_eq!(members(&mut cluster, at, "s"), ["a", "c", "new"]);
    }
}

#[test]
fn what_was_handed_to_a_damaged_set_stays() {
    let mut cluster = damageable(5);
    let layout = cluster.cores[0].layout().expect("a layout").clone();
    let partition = partition_of(&object(TypeTag::Set, "s"));
    let owns = |at: &usize| layout.owns(NodeId::of_name(&format!("n{at}")), partition, 3);
    let owners: Vec<usize> = (0..5).filter(owns).collect();
    let stand_in = (0..5).rev().find(|at| !owns(at)).expect("two are no owners");
    write(&mut cluster, owners[0], "s", update(&["a", "b"], &[]), w(3));
    // A stand-in takes a write that no owner sees, and can then reach one of them only.
    isolate(&mut cluster, stand_in);
    write(&mut cluster, stand_in, "s", update(&["handed"], &[]), w(1));
    cluster.cores[owners[0]].store_mut().flip(Family::Rows, 0, 7).expect("a row");
    let only = [(stand_in, owners[0]), (owners[0], stand_in)];
    cluster.cut.retain(|pair| !only.contains(pair));
    for other in (0..5).filter(|at| *at != owners[0]) {
        if other != stand_in {
            cluster.cut.extend([(other, owners[0]), (owners[0], other)]);
        }
    }
    cluster.gossip();
    cluster.pass(3_000);
    // Then its disk is replaced: what it handed over is at the damaged owner alone.
    cluster.cores[stand_in].store_mut().wipe();
    cluster.crash(stand_in, 4_444);
    mend_and_heal(&mut cluster);
    assert_eq!(members(&mut cluster, owners[0], "s"), ["a", "b", "handed"]);
}

#[test]
fn what_was_removed_before_another_row_was_damaged_stays_removed() {
    let mut cluster = Cluster::with(3, |config| {
        config.scrub_ms = 500;
        config.exchange_ms = 2_000;
        config.hints_max = 0; // Nobody is told by marks.
    });
    write(&mut cluster, 0, "s", update(&["b"], &[]), w(3));
    isolate(&mut cluster, 1);
    write(&mut cluster, 0, "s", update(&["a"], &[]), w(2));
    isolate(&mut cluster, 0);
    write(&mut cluster, 0, "s", update(&[], &["a"]), w(1));
    let row = cluster.cores[0].store_mut().flip(Family::Rows, 0, 7).expect("a row");
    assert!(row.ends_with(b"b"));
    // It is mended from one that never had what was removed, and starts again.
    cluster.cut.retain(|pair| ![(0, 1), (1, 0)].contains(pair));
    cluster.gossip();
    cluster.pass(10_000);
    assert_eq!(cluster.cores[0].damaged(), 0);
    cluster.crash(0, 5_555);
    mend_and_heal(&mut cluster);
    for at in 0..3 {
        assert_eq!(members(&mut cluster, at, "s"), ["b"]);
    }
}

#[test]
fn two_copies_damaged_in_different_rows_make_a_whole_one() {
    let mut cluster = damageable(3);
    isolate(&mut cluster, 2);
    write(&mut cluster, 0, "s", update(&["a", "b", "c"], &[]), w(2));
    for (at, row) in [(0, 0), (1, 1)] {
        cluster.cores[at].store_mut().flip(Family::Rows, row, 7).expect("a row");
    }
    mend_and_heal(&mut cluster);
    for at in 0..3 {
        assert_eq!(members(&mut cluster, at, "s"), ["a", "b", "c"]);
    }
}

#[test]
fn a_node_that_lost_its_layout_keeps_what_it_owes() {
    let mut cluster = Cluster::new(5);
    let layout = cluster.cores[0].layout().expect("a layout").clone();
    let not_mine = |key: &String| {
        let partition = partition_of(&object(TypeTag::Counter, key));
        !layout.owns(NodeId::of_name("n4"), partition, 3)
    };
    let key = (0..50).map(|at| format!("k{at}")).find(not_mine).expect("some key is not n4's");
    isolate(&mut cluster, 4);
    let add = ObjectOp::Counter(CounterOp::Add { amount: 7, floor: 0 });
    let acks = write(&mut cluster, 4, &key, add, w(1));
    assert_eq!(acks, Acks { owners: 0, hints: 1, durable: 1 });
    let store = cluster.cores[4].store_mut();
    let last = store.len(Family::Meta) as u64 - 1;
    assert_eq!(store.flip(Family::Meta, last, 99).as_deref(), Some(&b"layout"[..]));
    cluster.crash(4, 4_444);
    cluster.pass(10_000);
    assert!(cluster.cores[4].layout().is_none() && cluster.cores[4].hints_pending() > 0);
    cluster.heal();
    let object = object(TypeTag::Counter, &key);
    let options = Options { r: Some(Quorum::All), ..Options::default() };
    let read = Request::Read { object, query: ReadQuery::Whole, options };
    let Reply::Read(result) = cluster.ask(0, read) else { panic!("not read") };
    let Object::Counter(counter) = &result.object else { panic!("a counter") };
    assert_eq!(counter.runs().map(|(_, tally)| tally.up).sum::<u128>(), 7);
}

#[test]
fn an_object_that_nobody_has_is_given_up_once_the_disk_has_room() {
    let mut cluster = damageable(3);
    isolate(&mut cluster, 0);
    let put = KvOp::Put {
        value: b"v".to_vec(),
        content_type: "text/plain".into(),
        observed: Observed::Here,
    };
    write(&mut cluster, 0, "k", ObjectOp::Kv(put), w(1));
    let store = cluster.cores[0].store_mut();
    store.flip(Family::Headers, 0, 99).expect("a header");
    store.fail_writes(Some(StoreError::Full));
    cluster.cut.clear();
    cluster.gossip();
    cluster.pass(5_000);
    assert_eq!(cluster.cores[0].damaged(), 1, "it cannot be dropped yet");
    cluster.cores[0].store_mut().fail_writes(None);
    mend_and_heal(&mut cluster);
    let object: ObjectId = object(TypeTag::Kv, "k");
    assert_eq!(cluster.cores[0].audit_object(&object), Ok(None));
}
