//! Sorted sets on a cluster: scores add up, removals are exact, and a page by score is right also
//! where replicas differ.

mod cluster_support;

use cluster_support::{Cluster, object};
use starling_node::crdt::zset::{place, score_of};
use starling_node::crdt::{
    DeltaType, Object, ObjectOp, Observed, OpError, Real, SeenContext, TypeTag, ZsetOp,
};
use starling_node::store::{Family, Store, Visit};
use starling_node::wire::api::{
    ByScore, Failure, Options, Quorum, ReadQuery, ReadResult, Reply, Request,
};
use std::collections::BTreeMap;

const KEY: &str = "scores";

type Scores<'a> = &'a [(&'a str, f64)];

fn scored(scores: Scores<'_>) -> BTreeMap<Vec<u8>, Real> {
    let real = |score| Real::new(score).expect("finite");
    scores.iter().map(|(member, score)| (member.as_bytes().to_vec(), real(*score))).collect()
}

fn update(add: Scores<'_>, increment: Scores<'_>, remove: &[&str], observed: Observed) -> ObjectOp {
    let remove = remove.iter().map(|member| member.as_bytes().to_vec()).collect();
    let (add, increment) = (scored(add), scored(increment));
    ObjectOp::Zset(ZsetOp::Update { add, increment, remove, observed })
}

fn add(scores: Scores<'_>) -> ObjectOp {
    update(scores, &[], &[], Observed::Here)
}

fn increment(scores: Scores<'_>) -> ObjectOp {
    update(&[], scores, &[], Observed::Here)
}

fn remove(members: &[&str], observed: Observed) -> ObjectOp {
    update(&[], &[], members, observed)
}

fn quorum(r: u8, w: u8) -> Options {
    let (r, w) = (Some(Quorum::Count(r)), Some(Quorum::Count(w)));
    Options { r, w, ..Options::default() }
}

fn write(cluster: &mut Cluster, at: usize, op: ObjectOp, w: u8) {
    let object = object(TypeTag::Zset, KEY);
    let reply = cluster.ask(at, Request::Write { object, op, options: quorum(1, w) });
    assert!(matches!(reply, Reply::Written(_)), "{reply:?}");
}

fn read(cluster: &mut Cluster, at: usize, query: ReadQuery, r: u8) -> ReadResult {
    let object = object(TypeTag::Zset, KEY);
    match cluster.ask(at, Request::Read { object, query, options: quorum(r, 1) }) {
        Reply::Read(read) => read,
        other => panic!("not read: {other:?}"),
    }
}

fn by_score(limit: u32) -> ByScore {
    ByScore { limit, ..ByScore::default() }
}

/// Members in the order of their scores.
fn listed(read: &ReadResult) -> Vec<(String, f64)> {
    let Object::Zset(set) = &read.object else { panic!("of another type: {read:?}") };
    let mut scores: Vec<_> = set.scores().collect();
    scores.sort_by_key(|(member, score)| place(*score, member));
    let text = |member: &[u8]| String::from_utf8_lossy(member).into_owned();
    scores.into_iter().map(|(member, score)| (text(member), score)).collect()
}

fn shown(scores: Scores<'_>) -> Vec<(String, f64)> {
    scores.iter().map(|(member, score)| ((*member).into(), *score)).collect()
}

fn all(cluster: &mut Cluster, at: usize, r: u8) -> Vec<(String, f64)> {
    listed(&read(cluster, at, ReadQuery::Scores(by_score(1_000)), r))
}

fn seen(cluster: &mut Cluster, at: usize) -> SeenContext {
    read(cluster, at, ReadQuery::Scores(by_score(1_000)), 1).object.seen()
}

fn islands(cluster: &mut Cluster) {
    let pairs = (0..3).flat_map(|a| (0..3).map(move |b| (a, b))).filter(|(a, b)| a != b);
    cluster.cut = pairs.collect();
    cluster.gossip();
}

/// What each node has by score is what its rows say.
fn assert_index(cluster: &Cluster) {
    for core in &cluster.cores {
        let mut keys = 0;
        let mut visit = |_: &[u8], _: &[u8]| {
            keys += 1;
            Visit::Next
        };
        core.store().scan(Family::Scores, b"", None, &mut visit).expect("it is in memory");
        let id = object(TypeTag::Zset, KEY);
        let (_, whole) = starling_node::replica::load_whole(core.store(), &id).expect("readable");
        let Object::Zset(set) = whole else { panic!("of another type") };
        assert_eq!(keys, set.scores().count());
    }
}

#[test]
fn additions_on_every_side_of_a_partition_add_up() {
    let mut cluster = Cluster::new(3);
    write(&mut cluster, 0, add(&[("ada", 10.0)]), 3);
    islands(&mut cluster);
    for at in 0..3 {
        for _ in 0..4 {
            let by = f64::from(1 << at);
            write(&mut cluster, at, increment(&[("ada", by), ("bob", -by)]), 1);
        }
    }
    cluster.heal();
    for at in 0..3 {
        assert_eq!(all(&mut cluster, at, 3), shown(&[("bob", -28.0), ("ada", 38.0)]));
    }
    assert_index(&cluster);
}

#[test]
fn a_removal_leaves_exactly_the_additions_it_did_not_observe() {
    let mut cluster = Cluster::new(3);
    write(&mut cluster, 0, increment(&[("ada", 5.0)]), 3);
    islands(&mut cluster);
    write(&mut cluster, 0, increment(&[("ada", 3.0)]), 1);
    write(&mut cluster, 1, remove(&["ada"], Observed::Here), 1);
    write(&mut cluster, 2, increment(&[("ada", 0.25)]), 1);
    cluster.heal();
    assert_eq!(all(&mut cluster, 0, 3), shown(&[("ada", 3.25)]));
    assert_index(&cluster);
}

#[test]
fn a_removal_with_a_context_leaves_what_was_added_since_it_was_read() {
    let mut cluster = Cluster::new(3);
    write(&mut cluster, 0, increment(&[("ada", 5.0)]), 3);
    let context = seen(&mut cluster, 1);
    write(&mut cluster, 0, increment(&[("ada", 3.0)]), 3);
    write(&mut cluster, 2, remove(&["ada"], Observed::Context(context)), 3);
    assert_eq!(all(&mut cluster, 0, 3), shown(&[("ada", 3.0)]));
    write(&mut cluster, 0, increment(&[("ada", 1.0)]), 3);
    assert_eq!(all(&mut cluster, 1, 3), shown(&[("ada", 4.0)]));
}

#[test]
fn a_score_set_takes_the_place_of_what_it_saw_and_of_nothing_else() {
    let mut cluster = Cluster::new(3);
    write(&mut cluster, 0, increment(&[("ada", 5.0)]), 3);
    islands(&mut cluster);
    write(&mut cluster, 0, add(&[("ada", 100.0)]), 1);
    write(&mut cluster, 1, increment(&[("ada", 2.0)]), 1);
    cluster.heal();
    // The 5 was seen when 100 was set, the 2 was not.
    assert_eq!(all(&mut cluster, 2, 3), shown(&[("ada", 102.0)]));
    assert_index(&cluster);
}

#[test]
fn sums_that_are_not_finite_are_refused_and_merges_stop_at_the_largest() {
    let mut cluster = Cluster::new(3);
    write(&mut cluster, 0, add(&[("ada", f64::MAX)]), 3);
    let id = object(TypeTag::Zset, KEY);
    let op = increment(&[("bob", 1.0), ("ada", f64::MAX)]);
    let options = Options::default();
    let reply = cluster.ask(0, Request::Write { object: id, op, options });
    let overflow = OpError::ScoreOverflow { member: "ada".into() };
    assert_eq!(reply, Reply::Failed(Failure::Refused(overflow)));
    assert_eq!(all(&mut cluster, 0, 3), shown(&[("ada", f64::MAX)]), "nothing changed");

    islands(&mut cluster);
    for at in 0..3 {
        write(&mut cluster, at, increment(&[("carl", f64::MAX)]), 1);
    }
    cluster.heal();
    assert_eq!(all(&mut cluster, 0, 3), shown(&[("ada", f64::MAX), ("carl", f64::MAX)]));
}

#[test]
fn more_sums_than_a_removal_can_name_are_refused_and_stay() {
    let mut cluster = Cluster::new(3);
    let names: Vec<String> = (0..10_001).map(|n| format!("m{n:05}")).collect();
    for some in names.chunks(1_000) {
        let scores: Vec<_> = some.iter().map(|name| (name.as_str(), 1.0)).collect();
        write(&mut cluster, 0, increment(&scores), 3);
    }
    let id = object(TypeTag::Zset, KEY);
    let op = ObjectOp::delete(TypeTag::Zset, Observed::Here);
    let whole = Request::Write { object: id, op, options: quorum(1, 3) };
    let reply = cluster.ask(0, whole.clone());
    let too_many = OpError::TooManyTotals { count: 10_001, limit: 10_000 };
    assert_eq!(reply, Reply::Failed(Failure::Refused(too_many)));
    assert_eq!(all(&mut cluster, 0, 3).len(), 1_000, "a page of what is still there");
    // What the message advises helps.
    for some in names.chunks(1_000) {
        let members: Vec<_> = some.iter().map(String::as_str).collect();
        write(&mut cluster, 1, remove(&members, Observed::Here), 3);
    }
    assert_eq!(all(&mut cluster, 0, 3), shown(&[]));
}

#[test]
fn pages_by_score_from_replicas_that_differ_have_the_joined_scores_in_order() {
    let mut cluster = Cluster::new(3);
    let names: Vec<String> = (0..40).map(|n| format!("m{n:02}")).collect();
    let scores: Vec<_> = names.iter().map(|name| (name.as_str(), 1.0)).collect();
    write(&mut cluster, 0, add(&scores), 3);
    islands(&mut cluster);
    for (at, by) in [(0, 10.0), (1, 20.0), (2, 40.0)] {
        let mine: Vec<_> = names.iter().skip(at).step_by(2).map(|n| (n.as_str(), by)).collect();
        write(&mut cluster, at, increment(&mine), 1);
    }
    write(&mut cluster, 2, remove(&["m39"], Observed::Here), 1);
    cluster.cut.clear();
    cluster.gossip();
    let mut query = by_score(7);
    let mut paged = Vec::new();
    let mut diverged = false;
    loop {
        let read = read(&mut cluster, 0, ReadQuery::Scores(query.clone()), 3);
        diverged |= read.repaired > 0;
        let page = listed(&read);
        assert!(page.len() <= 7);
        let last = paged.last().map(|(name, score): &(String, f64)| place(*score, name.as_bytes()));
        let first = page.first().map(|(name, score)| place(*score, name.as_bytes()));
        assert!(last < first || first.is_none(), "in order over pages");
        paged.extend(page);
        match read.next {
            Some(next) => query.after = Some(next),
            None => break,
        }
    }
    assert!(diverged, "the first page met replicas that differ");
    cluster.heal();
    let expected = all(&mut cluster, 1, 3);
    let is_joined = |entry: &&(String, f64)| expected.contains(entry);
    assert_eq!(paged.iter().filter(is_joined).count(), paged.len(), "no score is half of it");
    assert_eq!(expected.len(), 40);
    assert_eq!(expected[..3], shown(&[("m00", 11.0), ("m39", 20.0), ("m01", 21.0)]));
    assert_index(&cluster);
}

#[test]
fn an_empty_sorted_set_is_absent_and_its_scores_are_collected() {
    let mut cluster = Cluster::new(3);
    let names: Vec<String> = (0..700).map(|n| format!("m{n}")).collect();
    let scores: Vec<_> = names.iter().map(|name| (name.as_str(), 1.0)).collect();
    write(&mut cluster, 0, add(&scores), 3);
    let delete = ObjectOp::delete(TypeTag::Zset, Observed::Here);
    write(&mut cluster, 0, delete, 3);
    let read_back = read(&mut cluster, 1, ReadQuery::Scores(by_score(10)), 3);
    assert!(!read_back.present && listed(&read_back).is_empty(), "{read_back:?}");
    write(&mut cluster, 0, add(&[("m5", 2.0)]), 3);
    assert_eq!(all(&mut cluster, 0, 3), shown(&[("m5", 2.0)]));
    cluster.heal();
    cluster.pass(2_000);
    assert_index(&cluster);
    let one = ReadQuery::Member(b"m5".to_vec());
    let row = read(&mut cluster, 0, one, 3);
    let Object::Zset(set) = &row.object else { panic!("of another type") };
    assert_eq!(set.present().map(|(_, row)| score_of(row)).collect::<Vec<_>>(), [2.0]);
    assert!(set.value().is_some());
}
