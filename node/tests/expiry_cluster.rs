//! Expiry on a cluster of cores: absent everywhere from one instant on, and never back.

mod cluster_support;

use cluster_support::{Cluster, object};
use starling_node::config::{BucketProps, Config};
use starling_node::core::Core;
use starling_node::crdt::{
    CounterOp, FlagOp, HllOp, KvOp, ObjectOp, Observed, OpError, SetOp, Ttl, TypeTag,
};
use starling_node::store::memory::MemoryStore;
use starling_node::wire::api::{
    Failure, Options, Quorum, ReadQuery, ReadResult, Reply, Request, Written,
};
use starling_node::wire::peer::PeerBody;
use std::collections::BTreeSet;

const TYPES: [TypeTag; 7] = [
    TypeTag::Kv,
    TypeTag::Counter,
    TypeTag::Set,
    TypeTag::Flag,
    TypeTag::RwSet,
    TypeTag::DwFlag,
    TypeTag::Hll,
];
const GRACE_S: u32 = 100;

fn cluster() -> Cluster {
    Cluster::with(3, |config| {
        config.exchange_ms = 1_000;
        config.expiry_grace_s = GRACE_S;
    })
}

fn op_of(tag: TypeTag, name: &str) -> ObjectOp {
    let observed = Observed::Here;
    let update = || SetOp::Update {
        add: BTreeSet::from([name.as_bytes().to_vec()]),
        remove: BTreeSet::new(),
        observed: Observed::Here,
    };
    match tag {
        TypeTag::Kv => {
            let (value, content_type) = (name.into(), "text/plain".into());
            ObjectOp::Kv(KvOp::Put { value, content_type, observed })
        }
        TypeTag::Flag => ObjectOp::Flag(FlagOp::Set { enabled: true, observed }),
        TypeTag::DwFlag => ObjectOp::DwFlag(FlagOp::Set { enabled: true, observed }),
        TypeTag::Counter => ObjectOp::Counter(CounterOp::Add { amount: 1, floor: 0 }),
        TypeTag::Set => ObjectOp::Set(update()),
        TypeTag::RwSet => ObjectOp::RwSet(update()),
        TypeTag::Hll => ObjectOp::Hll(HllOp::add([name.as_bytes()])),
        other => panic!("{other} is not written here"),
    }
}

fn write(cluster: &mut Cluster, at: usize, op: ObjectOp, ttl: Option<u32>) -> Reply {
    let object = object(op.tag(), "k");
    let ttl = ttl.map(Ttl::For);
    let options = Options { w: Some(Quorum::One), ttl, ..Options::default() };
    cluster.ask(at, Request::Write { object, op, options })
}

fn put(cluster: &mut Cluster, at: usize, tag: TypeTag, name: &str, ttl: Option<u32>) -> Written {
    match write(cluster, at, op_of(tag, name), ttl) {
        Reply::Written(written) => written,
        other => panic!("not acknowledged: {other:?}"),
    }
}

fn touch(cluster: &mut Cluster, at: usize, tag: TypeTag, ttl: Ttl) -> Reply {
    let options = Options { w: Some(Quorum::One), ttl: Some(ttl), ..Options::default() };
    let op = ObjectOp::Touch(tag);
    cluster.ask(at, Request::Write { object: object(tag, "k"), op, options })
}

fn read(cluster: &mut Cluster, at: usize, tag: TypeTag, r: u8) -> ReadResult {
    let query = match tag.has_rows() {
        true => ReadQuery::Page { after: None, prefix: vec![], limit: 1_000 },
        false => ReadQuery::Whole,
    };
    let options = Options { r: Some(Quorum::Count(r)), ..Options::default() };
    match cluster.ask(at, Request::Read { object: object(tag, "k"), query, options }) {
        Reply::Read(result) => result,
        other => panic!("not read: {other:?}"),
    }
}

/// How many members, values or votes a reader sees.
fn seen(result: &ReadResult) -> usize {
    use starling_node::crdt::Object;
    match &result.object {
        Object::Kv(kv) => kv.siblings().count(),
        Object::Flag(flag) => flag.votes().count(),
        Object::DwFlag(flag) => flag.votes().count(),
        Object::Counter(_) => usize::from(result.present),
        collection => collection.rows().unwrap().present().count(),
    }
}

fn is_absent_everywhere(cluster: &mut Cluster, tag: TypeTag) {
    for at in 0..3 {
        for r in 1..=3 {
            let result = read(cluster, at, tag, r);
            let what = (result.present, result.count, seen(&result));
            assert_eq!(what, (false, 0, 0), "{tag} at {at} with r={r}: {result:?}");
        }
    }
}

fn metric(cluster: &mut Cluster, at: usize, name: &str) -> u64 {
    let metrics = cluster.cores[at].metrics();
    metrics.iter().find(|(known, ..)| *known == name).expect("in the table").3
}

/// Nothing is exchanged about anything in three rounds of comparisons.
fn nothing_to_exchange(cluster: &mut Cluster) {
    let count = |cluster: &mut Cluster| -> u64 {
        (0..3).map(|at| metric(cluster, at, "starling_exchange_objects_total")).sum()
    };
    cluster.pass(3_000);
    let before = count(cluster);
    let rounds = metric(cluster, 2, "starling_exchanges_total");
    cluster.pass(3_000);
    assert!(metric(cluster, 2, "starling_exchanges_total") > rounds);
    assert_eq!(count(cluster), before, "objects still differ");
}

/// Node 2 hears and says nothing, and the others know it.
fn cut_off(cluster: &mut Cluster) {
    for other in 0..2 {
        cluster.cut.insert((other, 2));
        cluster.cut.insert((2, other));
    }
    cluster.gossip();
}

/// The three of five nodes that own the object, and hold it.
fn owners(cluster: &Cluster, tag: TypeTag) -> [usize; 3] {
    let object = object(tag, "k");
    let owns = |at: &usize| {
        let audit = cluster.cores[*at].audit_object(&object).expect("it is readable");
        audit.is_some_and(|audit| audit.owner)
    };
    let owners: Vec<usize> = (0..5).filter(owns).collect();
    owners.try_into().expect("three of them")
}

fn others_than(node: usize) -> impl Iterator<Item = usize> {
    (0..5).filter(move |at| *at != node)
}

/// That node and the `others` hear nothing of each other, and know it; all else is whole.
fn cut_from(cluster: &mut Cluster, node: usize, others: &[usize]) {
    let both = |other: usize| [(other, node), (node, other)];
    cluster.cut = others.iter().copied().flat_map(both).collect();
    cluster.gossip();
}

fn heal(cluster: &mut Cluster) {
    cluster.cut.clear();
    cluster.gossip();
    cluster.pass(5_000);
}

#[test]
fn absent_at_every_replica_from_the_same_instant_and_collected_later() {
    for tag in TYPES {
        let mut cluster = cluster();
        put(&mut cluster, 0, tag, "old", Some(5));
        cluster.pass(4_000);
        for at in 0..3 {
            assert!(read(&mut cluster, at, tag, 3).present, "{tag}");
        }
        cluster.pass(2_000);
        is_absent_everywhere(&mut cluster, tag);
        nothing_to_exchange(&mut cluster);
        for at in 0..3 {
            assert_eq!(metric(&mut cluster, at, "starling_objects_expired_total"), 1, "{tag}");
        }
        cluster.pass(u64::from(GRACE_S) * 1_000 + 1_000);
        for at in 0..3 {
            let collected = metric(&mut cluster, at, "starling_objects_expired_collected_total");
            assert_eq!(collected, 1, "{tag} at {at}");
            let audit = cluster.cores[at].audit().unwrap();
            assert!(!audit[&object(tag, "k")].object.is_present());
        }
        is_absent_everywhere(&mut cluster, tag);
        nothing_to_exchange(&mut cluster);
        // And begun anew there is only what is new.
        put(&mut cluster, 1, tag, "new", None);
        cluster.pass(1_000);
        for at in 0..3 {
            let result = read(&mut cluster, at, tag, 3);
            assert_eq!((result.present, seen(&result)), (true, 1), "{tag}: {result:?}");
            assert_eq!(result.expires_at, None);
        }
        nothing_to_exchange(&mut cluster);
    }
}

#[test]
fn cut_off_before_and_healed_after_it_is_neither_shown_nor_spread() {
    for (tag, collected) in TYPES.into_iter().flat_map(|tag| [(tag, false), (tag, true)]) {
        let mut cluster = cluster();
        put(&mut cluster, 0, tag, "old", Some(5));
        cluster.pass(1_000);
        cut_off(&mut cluster);
        // A change that the others never hear of before the instant.
        put(&mut cluster, 2, tag, "unseen", Some(4));
        cluster.pass(7_000);
        if collected {
            cluster.pass(u64::from(GRACE_S) * 1_000);
        }
        heal(&mut cluster);
        is_absent_everywhere(&mut cluster, tag);
        nothing_to_exchange(&mut cluster);
    }
}

#[test]
fn a_replica_that_missed_the_setting_learns_that_the_object_is_gone() {
    for (tag, collected) in TYPES.into_iter().flat_map(|tag| [(tag, false), (tag, true)]) {
        let mut cluster = cluster();
        put(&mut cluster, 0, tag, "old", None);
        cluster.pass(1_000);
        cut_off(&mut cluster);
        assert!(matches!(touch(&mut cluster, 0, tag, Ttl::For(3)), Reply::Written(_)));
        cluster.pass(5_000);
        if collected {
            cluster.pass(u64::from(GRACE_S) * 1_000);
        }
        assert!(read(&mut cluster, 2, tag, 1).present);
        heal(&mut cluster);
        is_absent_everywhere(&mut cluster, tag);
        nothing_to_exchange(&mut cluster);
    }
}

#[test]
fn a_replica_that_missed_that_a_time_to_live_was_shortened_learns_that_the_object_is_gone() {
    for (tag, collected) in TYPES.into_iter().flat_map(|tag| [(tag, false), (tag, true)]) {
        let mut cluster = cluster();
        put(&mut cluster, 0, tag, "old", Some(100_000));
        cluster.pass(1_000);
        cut_off(&mut cluster);
        assert!(matches!(touch(&mut cluster, 0, tag, Ttl::For(3)), Reply::Written(_)));
        cluster.pass(5_000);
        if collected {
            cluster.pass(u64::from(GRACE_S) * 1_000);
        }
        assert!(read(&mut cluster, 2, tag, 1).present);
        heal(&mut cluster);
        is_absent_everywhere(&mut cluster, tag);
        nothing_to_exchange(&mut cluster);
    }
}

#[test]
fn a_stand_in_tells_that_a_time_to_live_was_shortened_while_the_owner_was_away() {
    for tag in TYPES {
        let mut cluster = Cluster::with(5, |config| config.exchange_ms = 1_000);
        put(&mut cluster, 0, tag, "old", Some(100_000));
        cluster.pass(1_000);
        let [first, second, away] = owners(&cluster, tag);
        let others: Vec<usize> = (0..5).filter(|at| *at != away).collect();
        cut_from(&mut cluster, away, &others);
        put(&mut cluster, first, tag, "unseen", Some(1_000));
        assert!(matches!(touch(&mut cluster, first, tag, Ttl::For(3)), Reply::Written(_)));
        cluster.pass(5_000);
        assert!(read(&mut cluster, away, tag, 1).present, "{tag}");
        let hints: u64 = cluster.cores.iter().map(Core::hints_pending).sum();
        assert!(hints > 0, "{tag}: nobody stood in");
        // Only stand-ins reach it.
        cut_from(&mut cluster, away, &[first, second]);
        cluster.pass(5_000);
        let result = read(&mut cluster, away, tag, 1);
        assert_eq!((result.present, seen(&result)), (false, 0), "{tag}: {result:?}");
        heal(&mut cluster);
        nothing_to_exchange(&mut cluster);
    }
}

#[test]
fn what_expired_at_a_stand_in_keeps_away_what_it_replaced() {
    for tag in [TypeTag::Kv, TypeTag::Flag, TypeTag::DwFlag] {
        let slow = |config: &mut Config| config.exchange_ms = 1_000;
        let mut cluster = Cluster::with(5, slow);
        put(&mut cluster, 0, tag, "old", None);
        cluster.pass(1_000);
        let [first, second, away] = owners(&cluster, tag);
        let backup = cluster.cores[first].store().clone();
        cut_from(&mut cluster, away, &others_than(away).collect::<Vec<_>>());
        put(&mut cluster, first, tag, "new", Some(3));
        cluster.pass(1_000);
        // Nobody hears anybody, and of the owners' disks one is an old one and two are empty.
        cluster.cut = (0..5).flat_map(|at| others_than(at).map(move |other| (at, other))).collect();
        cluster.gossip();
        cluster.restore(first, backup, 1, slow);
        cluster.restore(second, MemoryStore::new(), 2, slow);
        cluster.restore(away, MemoryStore::new(), 3, slow);
        cluster.pass(4_000);
        let owed: u64 = cluster.cores.iter().map(Core::hints_pending).sum();
        assert!(owed > 0, "{tag}: nobody stood in");
        // The stand-ins reach the one that was away; the others do later.
        cluster.cut.clear();
        for owner in [first, second] {
            cluster.cut.extend(others_than(owner).flat_map(|at| [(at, owner), (owner, at)]));
        }
        cluster.gossip();
        cluster.pass(5_000);
        heal(&mut cluster);
        for at in 0..5 {
            let result = read(&mut cluster, at, tag, 3);
            assert_eq!((result.present, seen(&result)), (false, 0), "{tag} at {at}: {result:?}");
        }
        nothing_to_exchange(&mut cluster);
    }
}

#[test]
fn a_write_after_the_instant_does_not_bring_back_what_a_stale_replica_holds() {
    for (tag, collected) in TYPES.into_iter().flat_map(|tag| [(tag, false), (tag, true)]) {
        let mut cluster = cluster();
        put(&mut cluster, 0, tag, "old", Some(5));
        cluster.pass(1_000);
        cut_off(&mut cluster);
        put(&mut cluster, 2, tag, "unseen", Some(4));
        cluster.pass(7_000);
        if collected {
            cluster.pass(u64::from(GRACE_S) * 1_000);
        }
        put(&mut cluster, 0, tag, "new", Some(500));
        heal(&mut cluster);
        cluster.heal();
        for at in 0..3 {
            let result = read(&mut cluster, at, tag, 3);
            assert_eq!((result.present, seen(&result)), (true, 1), "{tag}: {result:?}");
            if let starling_node::crdt::Object::Counter(counter) = &result.object {
                assert_eq!(counter.total(), 1);
            }
        }
        nothing_to_exchange(&mut cluster);
    }
}

#[test]
fn an_extension_in_time_is_kept_however_late_the_others_hear_of_it() {
    for (tag, collected) in TYPES.into_iter().flat_map(|tag| [(tag, false), (tag, true)]) {
        let mut cluster = cluster();
        put(&mut cluster, 0, tag, "old", Some(5));
        cluster.pass(1_000);
        cut_off(&mut cluster);
        assert!(matches!(touch(&mut cluster, 2, tag, Ttl::For(1_000)), Reply::Written(_)));
        cluster.pass(7_000);
        if collected {
            cluster.pass(u64::from(GRACE_S) * 1_000);
        }
        assert!(!read(&mut cluster, 0, tag, 1).present);
        heal(&mut cluster);
        cluster.heal();
        for at in 0..3 {
            let result = read(&mut cluster, at, tag, 3);
            assert_eq!((result.present, seen(&result)), (true, 1), "{tag}: {result:?}");
        }
        assert!(matches!(touch(&mut cluster, 1, tag, Ttl::Persist), Reply::Written(_)));
        cluster.pass(2_000_000 / 100);
        assert_eq!(read(&mut cluster, 2, tag, 3).expires_at, None);
        nothing_to_exchange(&mut cluster);
    }
}

#[test]
fn what_was_extended_goes_in_the_end_also_where_only_the_extension_was_heard_of() {
    for tag in TYPES {
        let mut cluster = Cluster::with(5, |config| {
            config.exchange_ms = 1_000;
            config.expiry_grace_s = GRACE_S;
        });
        put(&mut cluster, 0, tag, "old", Some(5));
        cluster.pass(1_000);
        let [first, second, extends] = owners(&cluster, tag);
        cut_from(&mut cluster, extends, &[first, second]);
        // Others stand in for the two, which forget meanwhile what they had.
        for other in 0..5 {
            for owner in [first, second] {
                cluster.cut.extend([(other, owner), (owner, other)]);
            }
        }
        cluster.gossip();
        assert!(matches!(touch(&mut cluster, extends, tag, Ttl::For(1_000)), Reply::Written(_)));
        cluster.pass(7_000 + u64::from(GRACE_S) * 1_000);
        assert!(!read(&mut cluster, first, tag, 1).present, "{tag}");
        let others: Vec<usize> = (0..5).filter(|at| *at != extends).collect();
        cut_from(&mut cluster, extends, &others);
        cluster.pass(10_000);
        let result = read(&mut cluster, first, tag, 1);
        if matches!(tag, TypeTag::Kv | TypeTag::Flag | TypeTag::DwFlag) {
            assert_eq!((result.present, seen(&result)), (true, 1), "{tag}: {result:?}");
        }
        put(&mut cluster, first, tag, "new", Some(500));
        heal(&mut cluster);
        for at in 0..5 {
            assert!(read(&mut cluster, at, tag, 2).present, "{tag} at {at}");
        }
        cluster.pass(1_100_000);
        for at in 0..5 {
            let result = read(&mut cluster, at, tag, 3);
            assert_eq!((result.present, seen(&result)), (false, 0), "{tag} at {at}: {result:?}");
        }
    }
}

#[test]
fn an_extension_of_which_a_stand_in_tells_a_part_first_is_no_new_beginning() {
    for tag in TYPES.into_iter().filter(|tag| tag.has_rows()) {
        let mut cluster = Cluster::with(5, |config| config.exchange_ms = 60_000);
        put(&mut cluster, 0, tag, "first", Some(10));
        cluster.pass(1_000);
        let [first, second, away] = owners(&cluster, tag);
        let others: Vec<usize> = (0..5).filter(|at| *at != away).collect();
        cut_from(&mut cluster, away, &others);
        put(&mut cluster, first, tag, "handed over", Some(10));
        // It comes, and the word that it came does not: it stays owed.
        cluster.lose = |message| matches!(&message.body, PeerBody::HandoffDone { .. });
        cut_from(&mut cluster, away, &[first, second]);
        cluster.pass(1_000);
        assert!(seen(&read(&mut cluster, away, tag, 1)) >= 2 || tag == TypeTag::Hll, "{tag}");
        cluster.lose = |_| false;
        cut_from(&mut cluster, away, &others);
        assert!(matches!(touch(&mut cluster, first, tag, Ttl::For(1_000)), Reply::Written(_)));
        cluster.pass(20_000);
        assert!(!read(&mut cluster, away, tag, 1).present, "{tag}");
        cut_from(&mut cluster, away, &[first, second]);
        cluster.pass(5_000);
        heal(&mut cluster);
        for at in 0..5 {
            let result = read(&mut cluster, at, tag, 3);
            assert!(result.present, "{tag} at {at}: {result:?}");
            assert!(seen(&result) >= 2, "{tag} at {at}: {result:?}");
        }
    }
}

#[test]
fn clocks_a_minute_apart_shift_the_instant_by_a_minute_and_a_bucket_at_most() {
    for tag in TYPES {
        let mut cluster = cluster();
        cluster.ahead_ms = vec![0, 60_000, 30_000];
        put(&mut cluster, 0, tag, "old", Some(100));
        // By the last clock 100 s are not over; by the first one it is another minute.
        cluster.pass(38_000);
        for at in 0..3 {
            assert!(read(&mut cluster, at, tag, 3).present, "{tag} at {at}");
        }
        cluster.pass(63_000);
        is_absent_everywhere(&mut cluster, tag);
        // One replica wrote it anew while the others' clocks say other things.
        put(&mut cluster, 1, tag, "new", Some(200));
        for at in 0..3 {
            assert_eq!(seen(&read(&mut cluster, at, tag, 3)), 1, "{tag} at {at}");
        }
    }
}

#[test]
fn a_clock_set_back_shows_again_what_it_had_hidden() {
    let mut cluster = cluster();
    put(&mut cluster, 0, TypeTag::Kv, "value", Some(60));
    cluster.ahead_ms = vec![70_000; 3];
    cluster.pass(1_000);
    is_absent_everywhere(&mut cluster, TypeTag::Kv);
    cluster.ahead_ms = vec![0; 3];
    cluster.pass(2_000);
    assert!(read(&mut cluster, 0, TypeTag::Kv, 3).present);
    nothing_to_exchange(&mut cluster);
    cluster.pass(60_000);
    is_absent_everywhere(&mut cluster, TypeTag::Kv);
    nothing_to_exchange(&mut cluster);
}

#[test]
fn a_restart_knows_what_expired_while_it_was_down() {
    let mut cluster = cluster();
    for tag in TYPES {
        put(&mut cluster, 0, tag, "value", Some(5));
    }
    cluster.pass(1_000);
    cluster.crash(0, 77);
    cluster.pass(5_000);
    cluster.crash(1, 78);
    cluster.pass(1_000);
    for tag in TYPES {
        is_absent_everywhere(&mut cluster, tag);
    }
    nothing_to_exchange(&mut cluster);
}

#[test]
fn a_bucket_gives_its_time_to_live_to_what_is_created_or_replaced() {
    let mut cluster = cluster();
    let props = BucketProps { ttl_seconds: Some(10), ..BucketProps::default() };
    let bucket = "b".to_string();
    assert!(matches!(cluster.ask(0, Request::PutBucket { bucket, props }), Reply::Bucket(_)));
    let begun = 1_700_000_000;
    for tag in TYPES {
        put(&mut cluster, 0, tag, "first", None);
        let first = read(&mut cluster, 0, tag, 3).expires_at.expect("a time to live");
        assert!((begun + 10..begun + 60).contains(&first));
        cluster.pass(2_000);
        put(&mut cluster, 0, tag, "second", None);
        let second = read(&mut cluster, 0, tag, 3).expires_at.expect("still");
        let whole = matches!(tag, TypeTag::Kv | TypeTag::Flag | TypeTag::DwFlag);
        assert_eq!(second > first, whole, "{tag}");
    }
    let props = BucketProps { ttl_seconds: Some(0), ..BucketProps::default() };
    let refused = cluster.ask(0, Request::PutBucket { bucket: "b".into(), props });
    assert!(matches!(
        refused,
        Reply::Failed(Failure::BadParameter { parameter: "ttl_seconds", .. })
    ));
}

#[test]
fn what_is_not_there_cannot_be_extended() {
    let mut cluster = cluster();
    for tag in TYPES {
        let refused = touch(&mut cluster, 0, tag, Ttl::For(9));
        assert_eq!(refused, Reply::Failed(Failure::Refused(OpError::Absent)), "{tag}");
        put(&mut cluster, 0, tag, "value", Some(1));
        cluster.pass(3_000);
        let refused = touch(&mut cluster, 0, tag, Ttl::For(9));
        assert_eq!(refused, Reply::Failed(Failure::Refused(OpError::Absent)), "{tag}");
    }
}

#[test]
fn a_hint_says_when_the_object_goes() {
    for tag in TYPES {
        let mut cluster = Cluster::with(4, |config: &mut Config| config.exchange_ms = 600_000);
        let object = object(tag, "k");
        let owners: Vec<usize> = {
            let layout = cluster.cores[0].layout().unwrap();
            let partition = starling_node::placement::partition_of(&object);
            let id = |at: &usize| starling_node::crdt::NodeId::of_name(&format!("n{at}"));
            (0..4).filter(|at| layout.owns(id(at), partition, 3)).collect()
        };
        let away = owners[2];
        cluster.down.insert(away);
        cluster.gossip();
        put(&mut cluster, owners[0], tag, "value", None);
        assert!(matches!(touch(&mut cluster, owners[0], tag, Ttl::For(60)), Reply::Written(_)));
        cluster.down.clear();
        cluster.gossip();
        cluster.pass(500);
        let audit = cluster.cores[away].audit_object(&object).unwrap().expect("handed over");
        assert!(audit.object.is_present() && audit.object.expires_at().is_some(), "{tag}");
        assert_eq!((0..4).map(|at| cluster.cores[at].hints_pending()).sum::<u64>(), 0);
    }
}
