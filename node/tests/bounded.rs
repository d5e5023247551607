//! Bounded counters on a cluster of cores: rights move to where they are needed, islands keep to
//! theirs, and nobody ever sees less than 0.

mod cluster_support;

use cluster_support::{Cluster, object};
use starling_node::config::BucketProps;
use starling_node::crdt::{BoundedOp, DeltaType, Object, ObjectOp, Observed, OpError, TypeTag};
use starling_node::metrics::Metric;
use starling_node::store::StoreError;
use starling_node::wire::api::{Failure, Options, Quorum, ReadQuery, Reply, Request};

fn options(w: u8) -> Options {
    Options { w: Some(Quorum::Count(w)), ..Options::default() }
}

fn add(cluster: &mut Cluster, at: usize, amount: i64, w: u8) -> Reply {
    let op = ObjectOp::Bounded(BoundedOp::Add { amount: amount.into() });
    let object = object(TypeTag::Bounded, "stock");
    cluster.ask(at, Request::Write { object, op, options: options(w) })
}

/// The value at the replica that applied it.
fn applied(reply: Reply) -> i64 {
    match reply {
        Reply::Written(written) => match written.object {
            Object::Bounded(state) => state.value().expect("it is there"),
            other => panic!("{other:?}"),
        },
        other => panic!("not acknowledged: {other:?}"),
    }
}

fn refused(reply: Reply) -> (u64, u64) {
    match reply {
        Reply::Failed(Failure::Refused(OpError::InsufficientRights { local, global })) => {
            (local, global)
        }
        other => panic!("not refused: {other:?}"),
    }
}

fn value(cluster: &mut Cluster, at: usize, r: u8) -> Option<i64> {
    let object = object(TypeTag::Bounded, "stock");
    let options = Options { r: Some(Quorum::Count(r)), ..Options::default() };
    match cluster.ask(at, Request::Read { object, query: ReadQuery::Whole, options }) {
        Reply::Read(read) => match read.object {
            Object::Bounded(state) => state.value(),
            other => panic!("{other:?}"),
        },
        other => panic!("not read: {other:?}"),
    }
}

/// No replica's view is below 0.
fn check_views(cluster: &Cluster) {
    for core in &cluster.cores {
        let held = core.audit_object(&object(TypeTag::Bounded, "stock")).unwrap();
        let Some(Object::Bounded(state)) = held.map(|audit| audit.object) else { continue };
        assert!(state.total() >= 0, "{state:?}");
    }
}

fn metric(cluster: &mut Cluster, metric: Metric) -> u64 {
    cluster.cores.iter_mut().map(|core| core.metrics().get(metric)).sum()
}

/// Places of the owners, and of those that are none.
fn places(cluster: &Cluster) -> (Vec<usize>, Vec<usize>) {
    let id = object(TypeTag::Bounded, "stock");
    let owns = |at: &usize| {
        let partition = starling_node::placement::partition_of(&id);
        let layout = cluster.cores[*at].layout().unwrap();
        layout.owns(starling_node::crdt::NodeId::of_name(&cluster.names[*at]), partition, 3)
    };
    (0..cluster.names.len()).partition(owns)
}

fn isolate(cluster: &mut Cluster, at: usize) {
    for other in 0..cluster.names.len() {
        if other != at {
            cluster.cut.extend([(at, other), (other, at)]);
        }
    }
    cluster.gossip();
}

#[test]
fn a_decrement_is_covered_wherever_it_is_asked_and_refused_when_nothing_is_left() {
    let mut cluster = Cluster::new(3);
    assert_eq!(applied(add(&mut cluster, 0, 30, 3)), 30);
    // The rights are at node 0: the others ask for them.
    assert_eq!(applied(add(&mut cluster, 1, -25, 3)), 5);
    assert_eq!(applied(add(&mut cluster, 2, -5, 3)), 0);
    assert_eq!(refused(add(&mut cluster, 1, -1, 3)), (0, 0));
    for at in 0..3 {
        assert_eq!(value(&mut cluster, at, 3), Some(0));
    }
    check_views(&cluster);
}

#[test]
fn a_decrement_of_more_than_one_owner_has_gathers_what_several_have() {
    let mut cluster = Cluster::new(3);
    for at in 0..3 {
        applied(add(&mut cluster, at, 10, 3));
    }
    assert_eq!(refused(add(&mut cluster, 0, -31, 3)).1, 30);
    assert_eq!(applied(add(&mut cluster, 0, -29, 3)), 1);
    check_views(&cluster);
}

#[test]
fn owners_even_out_rights_before_anybody_asks_for_them() {
    let mut cluster = Cluster::new(3);
    applied(add(&mut cluster, 0, 90, 3));
    cluster.pass(10_000);
    assert_eq!(metric(&mut cluster, Metric::RightsAsked), 0);
    // Alone, each has something to take.
    for at in 0..3 {
        isolate(&mut cluster, at);
        applied(add(&mut cluster, at, -10, 1));
        cluster.heal();
    }
    assert_eq!(value(&mut cluster, 0, 3), Some(60));
    assert_eq!(metric(&mut cluster, Metric::RightsAsked), 0);
}

#[test]
fn an_island_takes_no_more_than_its_rights_and_says_what_it_knows() {
    let mut cluster = Cluster::new(3);
    applied(add(&mut cluster, 0, 90, 3));
    cluster.pass(10_000);
    isolate(&mut cluster, 1);
    let (local, global) = refused(add(&mut cluster, 1, -80, 1));
    assert!((1..80).contains(&local) && global == 90, "{local} of {global}");
    let mut taken = 0;
    while let Reply::Written(_) = add(&mut cluster, 1, -1, 1) {
        taken += 1;
        check_views(&cluster);
    }
    assert_eq!(taken, local);
    cluster.heal();
    assert_eq!(value(&mut cluster, 0, 3), Some(90 - taken as i64));
}

#[test]
fn five_islands_never_take_more_than_there_is_and_go_on_when_they_meet() {
    let mut cluster = Cluster::new(5);
    // Five replicas on five nodes: every island is an owner.
    let props = BucketProps { n: 5, ..BucketProps::default() };
    let reply = cluster.ask(0, Request::PutBucket { bucket: "b".into(), props });
    assert!(matches!(reply, Reply::Bucket(_)), "{reply:?}");
    applied(add(&mut cluster, 0, 5_000, 5));
    cluster.pass(10_000);
    for at in 0..5 {
        isolate(&mut cluster, at);
    }
    let (mut taken, mut denied) = (0i64, 0i64);
    for round in 0..2_000 {
        for at in 0..5 {
            match add(&mut cluster, at, -1, 1) {
                Reply::Written(_) => taken += 1,
                other => denied += i64::from(refused(other).0 == 0),
            }
            if round % 100 == 0 {
                check_views(&cluster);
                assert!(value(&mut cluster, at, 1).is_some_and(|value| value >= 0));
            }
        }
    }
    // Every island takes what it has, and no island has more than its share three times.
    assert!(taken + denied == 10_000 && (3_000..=5_000).contains(&taken), "{taken}");
    applied(add(&mut cluster, 3, 20, 1));
    cluster.cut.clear();
    cluster.gossip();
    // All but one of what is left, which no owner has alone, within two seconds of their meeting.
    let (left, healed_us) = (5_020 - taken, cluster.now_us());
    while let Reply::Failed(_) = add(&mut cluster, 0, 1 - left, 1) {
        cluster.pass(10);
    }
    let waited_us = cluster.now_us() - healed_us;
    assert!(waited_us <= 2_000_000, "{waited_us} us");
    cluster.heal();
    check_views(&cluster);
    assert_eq!(value(&mut cluster, 4, 5), Some(1));
}

#[test]
fn rights_made_by_a_stand_in_come_to_an_owner_and_the_copy_goes() {
    let mut cluster = Cluster::new(5);
    let (owners, others) = places(&cluster);
    cluster.down.extend(&owners);
    cluster.gossip();
    applied(add(&mut cluster, others[0], 12, 1));
    // A stand-in takes nothing, not even what was made there.
    assert_eq!(refused(add(&mut cluster, others[0], -1, 1)), (0, 12));
    cluster.heal();
    cluster.pass(10_000);
    let at_stand_in = cluster.cores[others[0]].audit_object(&object(TypeTag::Bounded, "stock"));
    assert!(at_stand_in.unwrap().is_none());
    cluster.down.insert(others[0]);
    cluster.gossip();
    assert_eq!(applied(add(&mut cluster, owners[2], -12, 2)), 0);
}

#[test]
fn rights_of_an_earlier_life_rest_and_the_value_keeps_them() {
    let mut cluster = Cluster::new(3);
    applied(add(&mut cluster, 0, 9, 3));
    cluster.crash(0, 7);
    assert_eq!(refused(add(&mut cluster, 0, -1, 3)), (0, 9));
    applied(add(&mut cluster, 1, 4, 3));
    assert_eq!(applied(add(&mut cluster, 0, -4, 3)), 9);
    assert_eq!(refused(add(&mut cluster, 2, -1, 3)), (0, 9));
}

#[test]
fn a_bounded_counter_cannot_be_removed_and_says_why() {
    let mut cluster = Cluster::new(3);
    applied(add(&mut cluster, 0, 9, 3));
    for observed in [Observed::Here, Observed::Nothing] {
        let op = ObjectOp::delete(TypeTag::Bounded, observed);
        let object = object(TypeTag::Bounded, "stock");
        match cluster.ask(1, Request::Write { object, op, options: Options::default() }) {
            Reply::Failed(Failure::Refused(OpError::Unsupported(why))) => {
                assert!(why.contains("below 0"), "{why}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(value(&mut cluster, 0, 3), Some(9));
}

#[test]
fn a_refusal_that_arrives_twice_says_nothing_of_what_is_asked_next() {
    let mut cluster = Cluster::new(5);
    let (owners, others) = places(&cluster);
    for owner in &owners {
        applied(add(&mut cluster, *owner, 10, 3));
    }
    // Owners are 25 ms from each other, and every message comes again after 10: what refused the
    // decrement is heard once more while one of them gathers the rights of the others.
    for (one, other) in owners.iter().flat_map(|one| owners.iter().map(move |other| (one, other))) {
        cluster.delay_ms.insert((*one, *other), 25);
    }
    cluster.echo_ms = Some(10);
    assert_eq!(applied(add(&mut cluster, others[0], -25, 1)), 5);
    assert_eq!(refused(add(&mut cluster, others[0], -6, 1)).1, 5);
    cluster.echo_ms = None;
    cluster.delay_ms.clear();
    cluster.heal();
    assert_eq!(value(&mut cluster, 0, 3), Some(5));
}

#[test]
fn a_decrement_goes_around_an_owner_whose_disk_is_full() {
    for full in 0..3 {
        let mut cluster = Cluster::new(5);
        let (owners, others) = places(&cluster);
        for (rank, owner) in owners.iter().enumerate() {
            let amount = if rank == full { 20 } else { 10 };
            applied(add(&mut cluster, *owner, amount, 3));
        }
        cluster.cores[owners[full]].store_mut().fail_writes(Some(StoreError::Full));
        // More than each of the others has.
        assert_eq!(applied(add(&mut cluster, others[0], -15, 1)), 25);
        cluster.cores[owners[full]].store_mut().fail_writes(None);
        cluster.heal();
        assert_eq!(value(&mut cluster, 0, 3), Some(25));
    }
}

#[test]
fn when_rights_are_at_rest_nobody_writes_until_somebody_asks() {
    let mut cluster = Cluster::new(3);
    applied(add(&mut cluster, 0, 90, 3));
    // The rights of these lives rest: the next ones begin ledgers and ask in vain.
    for at in 0..3 {
        cluster.crash(at, 7 + at as u64);
    }
    applied(add(&mut cluster, 1, 4, 3));
    let all = (0..3).flat_map(|from| (0..3).map(move |to| ((from, to), 50)));
    cluster.delay_ms = all.filter(|((from, to), _)| from != to).collect();
    let written = |cluster: &Cluster| -> Vec<_> {
        let of = |core: &starling_node::core::Core<_>| core.audit().unwrap();
        cluster.cores.iter().map(of).map(|audit| format!("{audit:?}")).collect()
    };
    let (first, mut rest_ms) = (written(&cluster), 0);
    while cluster.cores.iter().any(|core| core.rights_moving() > 0) {
        cluster.pass(1);
        rest_ms += 1;
        assert!(rest_ms < 15_000, "rights still move");
    }
    assert!(cluster.differences().is_empty());
    let last = written(&cluster);
    assert_ne!(first, last);
    cluster.pass(20_000);
    assert_eq!(last, written(&cluster));
}
