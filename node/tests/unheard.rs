//! A write whose outcome its coordinator never hears, or that not all owners acknowledged, is owed
//! to those that may lack it: no message that is lost leaves it where nobody owes it.

mod cluster_support;

use cluster_support::{Cluster, object};
use starling_node::config::Config;
use starling_node::core::Core;
use starling_node::crdt::{
    BoundedOp, CounterOp, KvOp, NodeId, ObjectId, ObjectOp, Observed, Once, SetOp, TypeTag,
};
use starling_node::placement::partition_of;
use starling_node::wire::api::{Failure, Options, Quorum, Reply, Request};
use starling_node::wire::peer::{PeerBody, PeerMessage};

/// Without the comparison of every minute, and when that of the beginning is over.
fn cluster() -> Cluster {
    let mut cluster = Cluster::with(5, |config: &mut Config| config.exchange_ms = 3_600_000);
    cluster.pass(5_000);
    cluster
}

/// An object that node 0 does not own, and its owners.
fn not_of_node_0(cluster: &Cluster, tag: TypeTag) -> (ObjectId, Vec<usize>) {
    let owners = |object: &ObjectId| -> Vec<usize> {
        let layout = cluster.cores[0].layout().unwrap();
        let owns =
            |at: &usize| layout.owns(NodeId::of_name(&format!("n{at}")), partition_of(object), 3);
        (0..5).filter(owns).collect()
    };
    let objects = (0..).map(|key| object(tag, &format!("key{key}")));
    let mut objects = objects.map(|object| (owners(&object), object));
    let (owners, object) = objects.find(|(owners, _)| !owners.contains(&0)).unwrap();
    (object, owners)
}

fn operations() -> Vec<ObjectOp> {
    let add = [b"member".to_vec()].into();
    vec![
        ObjectOp::Counter(CounterOp::Add { amount: 1, floor: 0 }),
        ObjectOp::Bounded(BoundedOp::Add { amount: 3 }),
        ObjectOp::Set(SetOp::Update { add, remove: [].into(), observed: Observed::Here }),
        ObjectOp::Kv(KvOp::Put {
            value: b"v".to_vec(),
            content_type: "text/plain".into(),
            observed: Observed::Here,
        }),
    ]
}

fn write(cluster: &mut Cluster, object: &ObjectId, op: ObjectOp, once: Option<Once>) -> Reply {
    let once = once.map(Box::new);
    // A second acknowledgement would be asked of a stand-in.
    let options = Options { w: Some(Quorum::One), once, ..Options::default() };
    cluster.ask(0, Request::Write { object: object.clone(), op, options })
}

fn holders(cluster: &Cluster, object: &ObjectId) -> Vec<usize> {
    let holds = |at: &usize| cluster.cores[*at].audit_object(object).unwrap().is_some();
    (0..5).filter(holds).collect()
}

#[test]
fn what_was_applied_and_never_answered_comes_to_all_owners_while_the_cut_lasts() {
    let key = || Some(Once { key: b"k".to_vec(), asked: 1 });
    let without = operations().into_iter().map(|op| (op, None));
    for (op, once) in [(operations().remove(0), key())].into_iter().chain(without) {
        let mut cluster = cluster();
        let (object, owners) = not_of_node_0(&cluster, op.tag());
        cluster.cut.extend((1..5).map(|from| (from, 0)));
        let note = once.as_ref().map(|once| object.note(&once.key));
        let reply = write(&mut cluster, &object, op, once);
        assert!(matches!(reply, Reply::Failed(Failure::Unknown(_))), "{reply:?}");
        cluster.pass(1_500);
        assert_eq!(holders(&cluster, &object), owners, "{object}");
        note.iter().for_each(|note| assert_eq!(holders(&cluster, note), owners, "{note}"));
        assert_eq!(cluster.differences(), []);
        // It is told again until the answer comes, and nothing comes of that.
        cluster.pass(10_000);
        assert_eq!(cluster.cores.iter().map(Core::hints_pending).sum::<u64>(), 0);
        cluster.cut.clear();
        cluster.pass(2_000);
        cluster.lose = |message| matches!(message.body, PeerBody::Unheard(_));
        cluster.kept = Some(Vec::new());
        cluster.pass(5_000);
        assert_eq!(cluster.kept.take().map(|kept| kept.len()), Some(0), "it was answered");
    }
}

#[test]
fn the_word_that_a_write_is_owed_may_be_lost_as_well() {
    let losses: [fn(&PeerMessage) -> bool; 2] = [
        |message| matches!(message.body, PeerBody::Applied { .. } | PeerBody::Unheard(_)),
        // The first owner is heard, and nobody else.
        |message| matches!(message.body, PeerBody::Join { .. } | PeerBody::Unheard(_)),
    ];
    for lose in losses {
        let mut cluster = cluster();
        let (object, owners) = not_of_node_0(&cluster, TypeTag::Counter);
        cluster.lose = lose;
        write(&mut cluster, &object, operations().remove(0), None);
        cluster.pass(8_000);
        assert_eq!(holders(&cluster, &object).len(), 1, "only the first owner has it");
        cluster.lose = |_| false;
        cluster.pass(2_500);
        assert_eq!(holders(&cluster, &object), owners);
        assert_eq!(cluster.differences(), []);
    }
}

#[test]
fn what_comes_after_it_was_called_unheard_is_not_applied() {
    let mut cluster = cluster();
    let (object, owners) = not_of_node_0(&cluster, TypeTag::Counter);
    for owner in &owners {
        cluster.delay_ms.insert((0, *owner), 6_000);
    }
    let op = operations().remove(0);
    cluster.begin(0, Request::Write { object: object.clone(), op, options: Options::default() });
    // What is sent later comes before it.
    cluster.delay_ms.clear();
    cluster.pass(8_000);
    assert_eq!(holders(&cluster, &object), [0_usize; 0]);
}

/// What a node had begun to spread when it ended is owed by nobody. Where it was away for long
/// enough to be missed the others compare; so they do when it was not.
#[test]
fn the_others_compare_when_a_coordinator_started_again_before_anybody_missed_it() {
    let mut cluster = cluster();
    let (object, owners) = not_of_node_0(&cluster, TypeTag::Counter);
    cluster.cut.extend((1..5).map(|from| (from, 0)));
    let op = operations().remove(0);
    cluster.begin(0, Request::Write { object: object.clone(), op, options: Options::default() });
    assert_eq!(holders(&cluster, &object).len(), 1);
    cluster.cut.clear();
    cluster.crash(0, 7);
    cluster.pass(3_000);
    assert_eq!(holders(&cluster, &object), owners);
}
