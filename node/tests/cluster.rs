//! The replicated core, one mechanism at a time.

mod cluster_support;

use cluster_support::{Cluster, object};
use starling_node::crdt::{
    CounterOp, DeltaType, FlagOp, KvOp, NodeId, Object, ObjectOp, Observed, SetOp, TypeTag,
};
use starling_node::placement::partition_of;
use starling_node::store::memory::MemoryStore;
use starling_node::wire::api::{
    Acks, Failure, Options, Quorum, ReadQuery, ReadResult, Reply, Request, Written,
};
use starling_node::wire::peer::{PeerBody, PeerMessage};
use std::collections::BTreeSet;

fn w(count: u8) -> Options {
    Options { w: Some(Quorum::Count(count)), ..Options::default() }
}

fn r(count: u8) -> Options {
    Options { r: Some(Quorum::Count(count)), ..Options::default() }
}

fn put(value: &str) -> ObjectOp {
    ObjectOp::Kv(KvOp::Put {
        value: value.into(),
        content_type: "text/plain".into(),
        observed: Observed::Here,
    })
}

fn add(amount: i128) -> ObjectOp {
    ObjectOp::Counter(CounterOp::Add { amount, floor: 0 })
}

fn members(names: &[&str]) -> BTreeSet<Vec<u8>> {
    names.iter().map(|name| name.as_bytes().to_vec()).collect()
}

fn update(add: &[&str], remove: &[&str]) -> ObjectOp {
    let (add, remove) = (members(add), members(remove));
    ObjectOp::Set(SetOp::Update { add, remove, observed: Observed::Here })
}

fn write(cluster: &mut Cluster, at: usize, key: &str, op: ObjectOp, options: Options) -> Reply {
    let object = object(op.tag(), key);
    cluster.ask(at, Request::Write { object, op, options })
}

fn acked(reply: Reply) -> Written {
    match reply {
        Reply::Written(written) => written,
        other => panic!("not acknowledged: {other:?}"),
    }
}

fn read(cluster: &mut Cluster, at: usize, tag: TypeTag, key: &str, options: Options) -> Reply {
    let query = match tag {
        TypeTag::Set => ReadQuery::Page { after: None, prefix: vec![], limit: 1_000 },
        _ => ReadQuery::Whole,
    };
    cluster.ask(at, Request::Read { object: object(tag, key), query, options })
}

fn result(reply: Reply) -> ReadResult {
    match reply {
        Reply::Read(result) => result,
        other => panic!("not read: {other:?}"),
    }
}

fn values(result: &ReadResult) -> Vec<String> {
    match &result.object {
        Object::Kv(kv) => kv
            .value()
            .unwrap_or_default()
            .into_iter()
            .map(|sibling| String::from_utf8(sibling.value).unwrap())
            .collect(),
        Object::Counter(counter) => counter.value().iter().map(ToString::to_string).collect(),
        Object::Flag(flag) => flag.value().iter().map(ToString::to_string).collect(),
        Object::Set(set) => {
            set.members().map(|(m, _)| String::from_utf8(m.clone()).unwrap()).collect()
        }
        other => panic!("no values of {other:?} are asked for here"),
    }
}

#[test]
fn a_write_is_read_back_at_every_node() {
    let mut cluster = Cluster::new(5);
    for at in 0..5 {
        let key = format!("k{at}");
        let written = acked(write(&mut cluster, at, &key, put("v"), w(3)));
        assert_eq!(written.acks, Acks { owners: 3, hints: 0, durable: 3 });
        for other in 0..5 {
            let got = result(read(&mut cluster, other, TypeTag::Kv, &key, r(3)));
            assert_eq!((values(&got), got.answered), (vec!["v".to_string()], 3));
        }
    }
    assert!(cluster.differences().is_empty());
}

#[test]
fn a_stand_in_is_counted_as_one_and_hands_over_when_the_owner_returns() {
    let mut cluster = Cluster::new(5);
    cluster.down.insert(2);
    cluster.gossip();
    let mut hints = 0;
    for at in 0..40 {
        let key = format!("k{at}");
        hints += acked(write(&mut cluster, at % 2, &key, put("v"), w(3))).acks.hints;
        acked(write(&mut cluster, at % 2, &key, add(2), w(3)));
        acked(write(&mut cluster, at % 2, "set", update(&[&key], &[]), w(3)));
    }
    assert!(hints > 10, "about three in five keys belong to the node that is down: {hints}");
    cluster.heal();
    let got = result(read(&mut cluster, 2, TypeTag::Set, "set", r(3)));
    assert_eq!((got.count, got.repaired), (40, 0));
    // What stand-ins kept is collected once it is delivered.
    cluster.pass(2_000);
    for core in &cluster.cores {
        assert!(core.audit().unwrap().values().all(|audit| audit.owner));
    }
}

#[test]
fn a_node_alone_accepts_writes_and_merges_later() {
    let mut cluster = Cluster::new(3);
    let pairs = (0..3).flat_map(|a| (0..3).map(move |b| (a, b))).filter(|(a, b)| a != b);
    cluster.cut = pairs.collect();
    cluster.gossip();
    for at in 0..3 {
        let name = format!("v{at}");
        let acks = acked(write(&mut cluster, at, "k", put(&name), w(1))).acks;
        assert_eq!(acks, Acks { owners: 1, hints: 0, durable: 1 });
        acked(write(&mut cluster, at, "c", add(1), w(1)));
        acked(write(&mut cluster, at, "s", update(&[&name], &[]), w(1)));
        let refused = write(&mut cluster, at, "k", put("no"), w(2));
        assert!(matches!(refused, Reply::Failed(Failure::Unavailable(_))), "{refused:?}");
    }
    cluster.heal();
    let got = result(read(&mut cluster, 0, TypeTag::Kv, "k", r(3)));
    let mut siblings = values(&got);
    siblings.sort();
    assert_eq!(siblings, ["v0", "v1", "v2"].map(String::from));
    let got = result(read(&mut cluster, 1, TypeTag::Counter, "c", r(3)));
    assert_eq!(values(&got), ["3"]);
    let got = result(read(&mut cluster, 2, TypeTag::Set, "s", r(3)));
    assert_eq!((values(&got).len(), got.count), (3, 3));
}

#[test]
fn a_node_that_can_reach_no_owner_still_accepts() {
    let mut cluster = Cluster::new(5);
    let layout = cluster.cores[0].layout().unwrap().clone();
    let name = |at: usize| starling_node::crdt::NodeId::of_name(&format!("n{at}"));
    let keys: Vec<String> = (0..50).map(|at| format!("k{at}")).collect();
    let partition =
        |key: &str| starling_node::placement::partition_of(&object(TypeTag::Counter, key));
    let key = keys.iter().find(|key| !layout.owns(name(4), partition(key), 3)).unwrap();
    for other in 0..4 {
        cluster.cut.extend([(4, other), (other, 4)]);
    }
    cluster.gossip();
    let acks = acked(write(&mut cluster, 4, key, add(7), w(1))).acks;
    assert_eq!(acks, Acks { owners: 0, hints: 1, durable: 1 });
    let pw = Options { pw: Some(Quorum::One), ..w(1) };
    let refused = write(&mut cluster, 4, key, add(7), pw);
    assert!(matches!(refused, Reply::Failed(Failure::Unavailable(_))));
    cluster.heal();
    let got = result(read(&mut cluster, 0, TypeTag::Counter, key, r(3)));
    assert_eq!(values(&got), ["7"]);
    // Collected at the stand-in, then written there again: nothing is lost, no dot given twice.
    cluster.pass(2_000);
    cluster.cut.extend((0..4).flat_map(|other| [(4, other), (other, 4)]));
    cluster.gossip();
    acked(write(&mut cluster, 4, key, add(5), w(1)));
    cluster.heal();
    let got = result(read(&mut cluster, 0, TypeTag::Counter, key, r(3)));
    assert_eq!(values(&got), ["12"]);
}

#[test]
fn a_removal_without_a_context_spares_what_was_written_meanwhile() {
    let mut cluster = Cluster::new(3);
    acked(write(&mut cluster, 0, "s", update(&["a", "b"], &[]), w(3)));
    cluster.cut = [(2, 0), (0, 2), (2, 1), (1, 2)].into();
    cluster.gossip();
    let delete = ObjectOp::delete(TypeTag::Set, Observed::Here);
    acked(write(&mut cluster, 0, "s", delete, w(2)));
    acked(write(&mut cluster, 2, "s", update(&["c"], &["a"]), w(1)));
    cluster.heal();
    let got = result(read(&mut cluster, 0, TypeTag::Set, "s", r(3)));
    assert_eq!((values(&got), got.count), (vec!["c".to_string()], 1));
}

#[test]
fn a_read_of_differing_replicas_joins_and_repairs_them() {
    let mut cluster = Cluster::new(3);
    acked(write(&mut cluster, 0, "k", put("old"), w(3)));
    // The node misses a write and nobody notices: messages to it are lost, gossip still comes.
    cluster.cut = [(0, 2), (1, 2)].into();
    acked(write(&mut cluster, 0, "k", put("new"), w(2)));
    cluster.cut.clear();
    let got = result(read(&mut cluster, 1, TypeTag::Kv, "k", r(3)));
    assert_eq!((values(&got), got.repaired), (vec!["new".to_string()], 1));
    assert!(cluster.differences().is_empty());
}

#[test]
fn a_large_set_is_repaired_by_pages() {
    let mut cluster = Cluster::with(3, |config| config.exchange_ms = 2_000);
    let names: Vec<String> = (0..3_000).map(|at| format!("m{at:05}")).collect();
    for (at, chunk) in names.chunks(500).enumerate() {
        let chunk: Vec<&str> = chunk.iter().map(String::as_str).collect();
        acked(write(&mut cluster, at % 3, "s", update(&chunk, &[]), w(3)));
    }
    cluster.cut = [(0, 2), (1, 2)].into();
    acked(write(&mut cluster, 0, "s", update(&["zzz"], &["m00007"]), w(2)));
    cluster.cut.clear();
    let got = result(read(&mut cluster, 1, TypeTag::Set, "s", r(3)));
    assert!(got.repaired > 0 && got.next.is_some());
    assert!(cluster.differences().is_empty());
}

#[test]
fn what_a_crash_of_the_coordinator_left_unsaid_is_found_by_comparison() {
    let mut cluster = Cluster::with(3, |config| config.exchange_ms = 2_000);
    cluster.cut = [(0, 2), (1, 2)].into();
    for at in 0..20 {
        acked(write(&mut cluster, 0, &format!("k{at}"), put("v"), w(2)));
    }
    // Before the coordinator could note what it owes.
    cluster.crash(0, 999);
    cluster.cut.clear();
    assert!(!cluster.differences().is_empty());
    cluster.heal();
}

#[test]
fn what_a_dead_coordinator_left_unsaid_is_found_while_it_is_dead() {
    // No comparison is due for an hour.
    let mut cluster = Cluster::with(4, |config| config.exchange_ms = 3_600_000);
    cluster.pass(5_000);
    cluster.cut = (1..4).flat_map(|to| [(0, to), (3, to)]).filter(|(a, b)| a != b).collect();
    cluster.cut.remove(&(0, 1));
    for at in 0..20 {
        let object = object(TypeTag::Counter, &format!("c{at}"));
        cluster.begin(0, Request::Write { object, op: add(1), options: w(1) });
    }
    cluster.down.insert(0);
    cluster.cut.clear();
    assert!(!cluster.differences_of(&[1, 2, 3]).is_empty());
    cluster.gossip();
    cluster.pass(2_000);
    assert_eq!(cluster.differences_of(&[1, 2, 3]), []);
}

#[test]
fn hints_lost_in_a_silence_are_sent_again_when_it_ends() {
    let mut cluster = Cluster::with(3, |config| config.exchange_ms = 3_600_000);
    cluster.pass(5_000);
    // Gossip goes round the cut, so nobody is seen to go or to come back.
    cluster.cut = [(0, 2), (2, 0)].into();
    for at in 0..20 {
        acked(write(&mut cluster, 0, &format!("k{at}"), put("v"), w(2)));
    }
    cluster.pass(2_000);
    let owed = |cluster: &Cluster| cluster.cores[0].hints_pending();
    assert!(owed(&cluster) >= 20);
    cluster.cut.clear();
    acked(write(&mut cluster, 0, "k", put("v"), w(3)));
    cluster.pass(1_100);
    assert_eq!(owed(&cluster), 0);
    assert_eq!(cluster.differences(), []);
}

#[test]
fn an_unclean_stop_gives_the_node_a_new_actor() {
    let mut cluster = Cluster::new(3);
    acked(write(&mut cluster, 0, "c", add(1), w(3)));
    cluster.crash(0, 999);
    acked(write(&mut cluster, 0, "c", add(1), w(3)));
    let got = result(read(&mut cluster, 1, TypeTag::Counter, "c", r(3)));
    let Object::Counter(counter) = &got.object else { panic!() };
    assert_eq!((counter.value(), counter.runs().count()), (Some(2), 2));
}

#[test]
fn impossible_options_are_refused_and_change_nothing() {
    let mut cluster = Cluster::new(3);
    let refused = write(&mut cluster, 0, "k", put("v"), w(4));
    assert!(matches!(refused, Reply::Failed(Failure::BadParameter { parameter: "w", .. })));
    let refused = read(&mut cluster, 0, TypeTag::Kv, "k", r(4));
    assert!(matches!(refused, Reply::Failed(Failure::BadParameter { parameter: "r", .. })));
    assert!(cluster.cores.iter().all(|core| core.audit().unwrap().is_empty()));
}

#[test]
fn bucket_properties_are_in_force_everywhere_when_they_are_answered() {
    let mut cluster = Cluster::new(5);
    let props = starling_node::config::BucketProps { n: 5, ..Default::default() };
    let put_bucket = Request::PutBucket { bucket: "b".into(), props: props.clone() };
    assert_eq!(cluster.ask(1, put_bucket), Reply::Bucket(props.clone()));
    for at in 0..5 {
        let got = cluster.ask(at, Request::GetBucket { bucket: "b".into() });
        assert_eq!(got, Reply::Bucket(props.clone()));
        let written = acked(write(&mut cluster, at, "k", put("v"), w(5)));
        assert_eq!(written.acks.owners, 5);
    }
    cluster.crash(3, 77);
    let got = cluster.ask(3, Request::GetBucket { bucket: "b".into() });
    assert_eq!(got, Reply::Bucket(props));
}

#[test]
fn a_flag_switched_off_is_there_and_a_removed_one_is_not() {
    let mut cluster = Cluster::new(3);
    let set = |enabled| ObjectOp::Flag(FlagOp::Set { enabled, observed: Observed::Here });
    acked(write(&mut cluster, 0, "f", set(true), w(2)));
    acked(write(&mut cluster, 1, "f", set(false), w(2)));
    let got = result(read(&mut cluster, 2, TypeTag::Flag, "f", r(2)));
    assert_eq!((values(&got), got.present), (vec!["false".to_string()], true));
    let delete = ObjectOp::delete(TypeTag::Flag, Observed::Here);
    acked(write(&mut cluster, 2, "f", delete, w(2)));
    assert!(!result(read(&mut cluster, 0, TypeTag::Flag, "f", r(2))).present);
}

#[test]
fn bytes_to_a_peer_for_one_add_do_not_grow_with_the_set() {
    let mut cluster = Cluster::new(3);
    let mut costs = Vec::new();
    let mut size = 0;
    for target in [100, 10_000] {
        while size < target {
            let chunk: Vec<String> = (size..size + 100).map(|at| format!("m{at:07}")).collect();
            let chunk: Vec<&str> = chunk.iter().map(String::as_str).collect();
            acked(write(&mut cluster, 0, "s", update(&chunk, &[]), w(3)));
            size += 100;
        }
        cluster.pass(1_000);
        cluster.sent_bytes = 0;
        acked(write(&mut cluster, 0, "s", update(&["one more"], &[]), w(3)));
        costs.push(cluster.sent_bytes);
        acked(write(&mut cluster, 0, "s", update(&[], &["one more"]), w(3)));
    }
    assert!(costs[1] <= costs[0] + 16, "{costs:?}");
}

/// Cuts node 0 off from all others; gossip has not noticed.
fn cut_off_unnoticed(count: usize) -> Cluster {
    let mut cluster = Cluster::new(count);
    cluster.cut = (1..count).flat_map(|other| [(0, other), (other, 0)]).collect();
    // One request each way is what a node needs to learn it by.
    for at in 0..count {
        for key in 0..20 {
            cluster.begin(
                at,
                Request::Read {
                    object: object(TypeTag::Kv, &format!("probe{key}")),
                    query: ReadQuery::Whole,
                    options: r(3),
                },
            );
        }
    }
    cluster.pass(400);
    cluster
}

/// Promise 6, in the seconds in which gossip still calls alive what is cut off.
#[test]
fn a_node_cut_off_accepts_writes_before_gossip_has_noticed() {
    let mut cluster = cut_off_unnoticed(5);
    let mut stood_in = 0;
    for key in 0..40 {
        let acks = acked(write(&mut cluster, 0, &format!("c{key}"), add(1), w(1))).acks;
        assert_eq!(acks.owners + acks.hints, 1);
        stood_in += acks.hints;
    }
    assert!(stood_in > 5, "two in five keys belong to others: {stood_in}");
    cluster.heal();
    for key in 0..40 {
        let got = result(read(&mut cluster, 1, TypeTag::Counter, &format!("c{key}"), r(3)));
        assert_eq!(values(&got), ["1"]);
    }
}

#[test]
fn the_others_pass_over_a_silent_owner_before_gossip_has_noticed() {
    let mut cluster = cut_off_unnoticed(5);
    for key in 0..40 {
        let at = 1 + key % 4;
        let key = format!("c{key}");
        acked(write(&mut cluster, at, &key, add(1), Options::default()));
        acked(write(&mut cluster, at, &key, add(1), w(1)));
    }
    cluster.heal();
    for key in 0..40 {
        let got = result(read(&mut cluster, 0, TypeTag::Counter, &format!("c{key}"), r(3)));
        assert_eq!(values(&got), ["2"]);
    }
    // It answers again, so it applies again.
    for key in 0..40 {
        let acks = acked(write(&mut cluster, 1, &format!("c{key}"), add(1), w(3))).acks;
        assert_eq!((acks.owners, acks.hints), (3, 0));
    }
}

#[test]
fn what_was_refused_for_want_of_a_layout_is_not_applied_when_it_arrives_again() {
    let mut cluster = Cluster::new(4);
    let add = |amount| ObjectOp::Counter(CounterOp::Add { amount, floor: 0 });
    let layout = cluster.cores[0].layout().unwrap().clone();
    let owns = |at: usize, key: &str| {
        let partition = partition_of(&object(TypeTag::Counter, key));
        layout.owns(NodeId::of_name(&format!("n{at}")), partition, 3)
    };
    let key = (0..).map(|n| format!("k{n}")).find(|key| !owns(0, key)).unwrap();
    cluster.kept = Some(Vec::new());
    let (object, options) = (object(TypeTag::Counter, &key), Options::default());
    let request = Request::Write { object: object.clone(), op: add(7), options };
    assert!(matches!(cluster.ask(0, request), Reply::Written(_)));
    let kept = cluster.kept.take().unwrap();
    let is_apply = |message: &PeerMessage| matches!(message.body, PeerBody::Apply { .. });
    let apply: Vec<_> = kept.into_iter().filter(|(.., message)| is_apply(message)).collect();
    let [(_, at, _)] = apply[..] else { panic!("one owner applies: {apply:?}") };
    // Its disk is replaced, and the message comes before the layout, and once more after it.
    cluster.restore(at, MemoryStore::new(), 7_777, |_| {});
    cluster.again(apply.clone());
    cluster.pass(2_000);
    assert!(cluster.cores[at].layout().is_some(), "the others have told it");
    cluster.again(apply);
    cluster.heal();
    let value = |at: usize| match cluster.cores[at].audit_object(&object).unwrap() {
        Some(audit) => match &audit.object {
            Object::Counter(counter) => counter.value(),
            other => panic!("a counter: {other:?}"),
        },
        None => None,
    };
    assert_eq!((1..4).map(value).collect::<Vec<_>>(), [Some(7); 3]);
}
