//! Maps and the other collections on replicated cores: both sides of a cut, pages, repair.

mod cluster_support;

use cluster_support::{Cluster, object};
use starling_node::crdt::map::{Change, Field, FieldOp};
use starling_node::crdt::{HllOp, MapOp, Object, ObjectOp, Observed, SetOp, TypeTag};
use starling_node::wire::api::{Options, Quorum, ReadQuery, ReadResult, Reply, Request};
use std::collections::BTreeSet;

fn quorum(count: u8) -> Option<Quorum> {
    Some(Quorum::Count(count))
}

fn write(cluster: &mut Cluster, at: usize, op: ObjectOp, w: u8) {
    let object = object(op.tag(), "k");
    let options = Options { w: quorum(w), ..Options::default() };
    match cluster.ask(at, Request::Write { object, op, options }) {
        Reply::Written(_) => {}
        other => panic!("not acknowledged: {other:?}"),
    }
}

fn update(cluster: &mut Cluster, at: usize, fields: Vec<(&str, FieldOp)>, w: u8) {
    let update = fields.into_iter().map(|(name, op)| (name.to_string(), op)).collect();
    let change = Change { update, remove: BTreeSet::new() };
    write(cluster, at, ObjectOp::Map(MapOp::Update { change, observed: Observed::Here }), w);
}

fn remove(cluster: &mut Cluster, at: usize, field: &str, w: u8) {
    let change = Change { remove: [field.to_string()].into(), ..Change::default() };
    write(cluster, at, ObjectOp::Map(MapOp::Update { change, observed: Observed::Here }), w);
}

fn inner(field: &str, op: FieldOp) -> FieldOp {
    let update = [(field.to_string(), op)].into();
    FieldOp::Map(Change { update, remove: BTreeSet::new() })
}

fn read(cluster: &mut Cluster, at: usize, tag: TypeTag, query: ReadQuery) -> ReadResult {
    let options = Options { r: quorum(3), ..Options::default() };
    match cluster.ask(at, Request::Read { object: object(tag, "k"), query, options }) {
        Reply::Read(read) => read,
        other => panic!("not read: {other:?}"),
    }
}

fn page(after: Option<Vec<u8>>, limit: u32) -> ReadQuery {
    ReadQuery::Page { after, prefix: Vec::new(), limit }
}

fn field(cluster: &mut Cluster, name: &str) -> Option<Field> {
    let read = read(cluster, 0, TypeTag::Map, page(None, 1_000));
    let Object::Map(map) = &read.object else { panic!("{read:?}") };
    map.fields().get(name).cloned()
}

#[test]
fn fields_changed_on_two_sides_meet_in_one_map() {
    let mut cluster = Cluster::new(3);
    let text = |text: &str| FieldOp::Register(text.into());
    update(&mut cluster, 0, vec![("name", text("ada")), ("visits", FieldOp::Counter(1))], 3);
    cluster.cut = [(0, 2), (2, 0), (1, 2), (2, 1)].into();
    cluster.gossip();
    update(&mut cluster, 0, vec![("visits", FieldOp::Counter(10))], 1);
    update(&mut cluster, 2, vec![("visits", FieldOp::Counter(100)), ("mail", text("x"))], 1);
    cluster.cut.clear();
    cluster.heal();
    assert_eq!(field(&mut cluster, "visits"), Some(Field::Counter(111)));
    assert_eq!(field(&mut cluster, "name"), Some(Field::Register(b"ada".to_vec())));
    assert_eq!(field(&mut cluster, "mail"), Some(Field::Register(b"x".to_vec())));
}

/// In Riak the whole running total of a side came back (riak_dt's known anomaly of counters in
/// maps).
#[test]
fn a_counter_in_a_removed_field_keeps_only_what_the_removal_did_not_see() {
    let mut cluster = Cluster::new(3);
    update(&mut cluster, 2, vec![("a", inner("n", FieldOp::Counter(10)))], 3);
    cluster.cut = [(0, 2), (2, 0), (1, 2), (2, 1)].into();
    cluster.gossip();
    remove(&mut cluster, 0, "a", 1);
    update(&mut cluster, 2, vec![("a", inner("n", FieldOp::Counter(1)))], 1);
    cluster.cut.clear();
    cluster.heal();
    let Some(Field::Map(map)) = field(&mut cluster, "a") else { panic!("the field is there") };
    assert_eq!(map.get("n"), Some(&Field::Counter(1)));
}

#[test]
fn the_same_holds_when_the_whole_map_was_removed() {
    let mut cluster = Cluster::new(3);
    update(&mut cluster, 2, vec![("n", FieldOp::Counter(10)), ("m", FieldOp::Flag(true))], 3);
    cluster.cut = [(0, 2), (2, 0), (1, 2), (2, 1)].into();
    cluster.gossip();
    write(&mut cluster, 0, ObjectOp::delete(TypeTag::Map, Observed::Here), 1);
    update(&mut cluster, 2, vec![("n", FieldOp::Counter(1))], 1);
    cluster.cut.clear();
    cluster.heal();
    assert_eq!(field(&mut cluster, "n"), Some(Field::Counter(1)));
    assert_eq!(field(&mut cluster, "m"), None);
}

#[test]
fn pages_of_any_length_show_every_field_once() {
    let mut cluster = Cluster::new(3);
    let names: Vec<String> = (0..200).map(|at| format!("f{at:03}")).collect();
    for chunk in names.chunks(50) {
        let fields = chunk.iter().map(|name| (name.as_str(), FieldOp::Counter(1))).collect();
        update(&mut cluster, 1, fields, 3);
    }
    for limit in [1, 7, 199, 200, 1_000] {
        let (mut shown, mut after) = (Vec::new(), None);
        loop {
            let read = read(&mut cluster, 0, TypeTag::Map, page(after, limit));
            let Object::Map(map) = &read.object else { panic!("{read:?}") };
            let fields = map.fields();
            assert!(fields.iter().count() <= limit as usize);
            shown.extend(fields.iter().map(|(name, _)| name.clone()));
            after = read.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(shown, names, "by {limit}");
    }
}

#[test]
fn pages_of_a_remove_wins_set_go_on_behind_what_was_removed() {
    let mut cluster = Cluster::new(3);
    let names = |from: usize, to: usize| -> BTreeSet<Vec<u8>> {
        (from..to).map(|at| format!("m{at:04}").into_bytes()).collect()
    };
    let change =
        |add, remove| ObjectOp::RwSet(SetOp::Update { add, remove, observed: Observed::Here });
    write(&mut cluster, 0, change(names(0, 900), BTreeSet::new()), 3);
    write(&mut cluster, 1, change(BTreeSet::new(), names(5, 890)), 3);
    let (mut shown, mut after) = (BTreeSet::new(), None);
    loop {
        let read = read(&mut cluster, 2, TypeTag::RwSet, page(after, 4));
        assert_eq!(read.count, 15);
        let rows = read.object.rows().expect("a set has rows");
        shown.extend(rows.present().map(|(member, _)| member.clone()));
        after = read.next;
        if after.is_none() {
            break;
        }
    }
    let expected: BTreeSet<_> = names(0, 5).into_iter().chain(names(890, 900)).collect();
    assert_eq!(shown, expected);
}

#[test]
fn a_sketch_is_repaired_by_pages() {
    let mut cluster = Cluster::with(3, |config| config.exchange_ms = 2_000);
    let elements =
        |from: u32| -> Vec<[u8; 4]> { (from..from + 900).map(u32::to_be_bytes).collect() };
    let add = |from| {
        let elements = elements(from);
        ObjectOp::Hll(HllOp::add(elements.iter().map(|element| &element[..])))
    };
    for turn in 0..4 {
        write(&mut cluster, turn % 3, add(turn as u32 * 900), 3);
    }
    cluster.cut = [(0, 2), (1, 2)].into();
    write(&mut cluster, 0, add(3_600), 2);
    cluster.cut.clear();
    let read = read(&mut cluster, 1, TypeTag::Hll, ReadQuery::Whole);
    let Object::Hll(hll) = &read.object else { panic!("{read:?}") };
    let estimate = hll.estimate();
    assert!((4_410..=4_590).contains(&estimate), "{estimate} of 4500");
    cluster.heal();
    assert!(cluster.differences().is_empty());
}
