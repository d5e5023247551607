//! The two ages that tell replication debt: how long hints have waited, and for how long a
//! partition was not proven equal.

mod cluster_support;

use cluster_support::{Cluster, object};
use starling_node::crdt::{CounterOp, ObjectOp, TypeTag};
use starling_node::metrics::Metric;
use starling_node::wire::api::{Options, Reply, Request};

fn count(cluster: &mut Cluster, at: usize, key: &str) {
    let op = ObjectOp::Counter(CounterOp::Add { amount: 1, floor: 0 });
    let object = object(TypeTag::Counter, key);
    let reply = cluster.ask(at, Request::Write { object, op, options: Options::default() });
    assert!(matches!(reply, Reply::Written(_)), "{reply:?}");
}

fn gauge(cluster: &mut Cluster, at: usize, metric: Metric) -> u64 {
    cluster.cores[at].metrics().get(metric)
}

#[test]
fn hints_age_from_the_first_that_waits_until_none_does() {
    let mut cluster = Cluster::new(4);
    cluster.down.insert(3);
    cluster.gossip();
    for key in 0..8 {
        count(&mut cluster, 0, &format!("first{key}"));
    }
    cluster.pass(20_000);
    for key in 0..8 {
        count(&mut cluster, 0, &format!("second{key}"));
    }
    let owes = |cluster: &Cluster, at: usize| cluster.cores[at].hints_pending() > 0;
    let owing: Vec<usize> = (0..3).filter(|at| owes(&cluster, *at)).collect();
    assert!(!owing.is_empty(), "node 3 owns about three keys in four");
    for at in owing {
        let age = gauge(&mut cluster, at, Metric::HintsOldest);
        assert!((19..=21).contains(&age), "node {at}: {age} s");
    }
    cluster.heal();
    cluster.pass(2_000);
    for at in 0..4 {
        assert_eq!(gauge(&mut cluster, at, Metric::HintsOldest), 0, "node {at}");
    }
}

#[test]
fn a_member_that_is_away_is_not_proven_equal_until_it_is_compared_with() {
    let mut cluster = Cluster::with(3, |config| config.exchange_ms = 5_000);
    cluster.pass(12_000);
    for at in 0..3 {
        assert!(gauge(&mut cluster, at, Metric::Unproven) <= 5, "node {at}");
    }
    cluster.down.insert(2);
    cluster.gossip();
    cluster.pass(60_000);
    for at in 0..2 {
        let unproven = gauge(&mut cluster, at, Metric::Unproven);
        assert!((54..=66).contains(&unproven), "node {at}: {unproven} s");
    }
    cluster.heal();
    cluster.pass(12_000);
    for at in 0..3 {
        assert!(gauge(&mut cluster, at, Metric::Unproven) <= 5, "node {at}");
    }
}
