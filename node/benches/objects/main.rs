//! The core without its shell: what an operation costs, and that it does not grow with the set.
//!
//! One request is timed from `step` to `Reply`; adds in a set of 100, 10,000 and 1,000,000 members.
//! Requests come in groups of [`GROUP`] that share one sync, as in group commit; the sync is a real
//! one and outside the measured time, which is the core's and the store's own. Every group of adds
//! is removed again, unmeasured, so the set keeps its size. After criterion's report come lines of
//! tab-separated `result`, name and figures, in nanoseconds and bytes, for `.ci/bench`.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // Measures time, reads its report.

#[path = "../../tests/cluster_support/mod.rs"]
mod cluster_support;
mod huge;
mod node;

use cluster_support::{Cluster, object};
use criterion::{BenchmarkId, Criterion, Throughput};
use node::Node;
use starling_node::crdt::{CounterOp, KvOp, ObjectOp, Observed, SetOp, TypeTag};
use starling_node::store::Store;
use starling_node::wire::api::{Options, Quorum, ReadQuery, Reply, Request};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SIZES: [u64; 3] = [100, 10_000, 1_000_000];
/// Adds that share a sync. Small, so that the smallest set stays near its size.
const GROUP: u64 = 10;
/// Keys of the small objects.
const KEYS: u64 = 10_000;

fn main() {
    let reports = Path::new(env!("CARGO_TARGET_TMPDIR")).join("objects");
    let mut criterion = Criterion::default()
        .output_directory(&reports)
        .sample_size(30)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target is writable");
    small_objects(&mut criterion, "small_memory", Node::in_memory());
    small_objects(&mut criterion, "small_rocksdb", Node::on_disk(&dir.path().join("small")));
    set_adds(&mut criterion, "set_add_memory", Node::in_memory);
    let mut stores = 0;
    set_adds(&mut criterion, "set_add_rocksdb", || {
        stores += 1;
        Node::on_disk(&dir.path().join(stores.to_string()))
    });
    for kind in &huge::KINDS {
        kind.run(&mut criterion, "memory", Node::in_memory);
        kind.run(&mut criterion, "rocksdb", || {
            stores += 1;
            Node::on_disk(&dir.path().join(stores.to_string()))
        });
    }
    criterion.final_summary();
    report(&reports);
    huge::KINDS.iter().for_each(|kind| kind.report(&reports));
    huge::pages(|| {
        stores += 1;
        Node::on_disk(&dir.path().join(stores.to_string()))
    });
}

/// Adds of one member to sets of every size.
fn set_adds<S: Store>(criterion: &mut Criterion, name: &str, mut node: impl FnMut() -> Node<S>) {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(1));
    for size in SIZES {
        let mut node = node();
        for request in fill(size) {
            node.finish(request);
        }
        let mut next = 0;
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter_custom(|adds| {
                let mut took = Duration::ZERO;
                for first in (0..adds).step_by(GROUP as usize) {
                    let group: Vec<_> = (0..GROUP.min(adds - first)).map(|at| next + at).collect();
                    next += group.len() as u64;
                    took += node.timed(group.iter().map(|at| update(&[newcomer(*at)], &[])));
                    let gone = group.iter().map(|at| newcomer(*at)).collect::<Vec<_>>();
                    node.finish(update(&[], &gone));
                }
                took
            });
        });
        let found = node.count(&object(TypeTag::Set, "set"));
        assert_eq!(found, size, "the set has kept its size");
    }
}

/// Reads and writes of small objects.
fn small_objects<S: Store>(criterion: &mut Criterion, name: &str, mut node: Node<S>) {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(1));
    for at in 0..KEYS {
        node.timed([put(at), increment(at)].into_iter());
    }
    for (name, request) in [
        ("kv_put", put as fn(u64) -> Request),
        ("kv_get", get as fn(u64) -> Request),
        ("counter_add", increment as fn(u64) -> Request),
    ] {
        let mut next = 0_u64;
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|count| {
                let mut took = Duration::ZERO;
                for first in (0..count).step_by(GROUP as usize) {
                    let group = next..next + GROUP.min(count - first);
                    next = group.end;
                    took += node.timed(group.map(|at| request(at.wrapping_mul(7_919) % KEYS)));
                }
                took
            });
        });
    }
}

/// Prints what criterion found, the ratio between the largest and the smallest set, and the bytes
/// that an add sends.
fn report(reports: &Path) {
    for store in ["small_memory", "small_rocksdb"] {
        for name in ["kv_put", "kv_get", "counter_add"] {
            if let Some((median, low, high)) = median(reports.join(store).join(name)) {
                println!("result\t{store}\t{name}\t{median:.0}\t{low:.0}\t{high:.0}");
            }
        }
    }
    for store in ["set_add_memory", "set_add_rocksdb"] {
        let found = SIZES.map(|size| median(reports.join(store).join(size.to_string())));
        for (size, (median, low, high)) in SIZES.iter().zip(found.iter().flatten()) {
            println!("result\t{store}\t{size}\t{median:.0}\t{low:.0}\t{high:.0}");
        }
        if let [Some((small, ..)), _, Some((large, ..))] = found {
            println!("result\t{store}\tratio\t{:.3}", large / small);
        }
    }
    for size in SIZES {
        println!("result\tset_add_bytes\t{size}\t{:.1}", bytes_per_add(size));
    }
}

/// Criterion's median and its confidence interval, nanoseconds; none if it was not measured now.
fn median(report: PathBuf) -> Option<(f64, f64, f64)> {
    let text = std::fs::read_to_string(report.join("new/estimates.json")).ok()?;
    let value: serde_json::Value = serde_json::from_str(&text).expect("criterion writes JSON");
    let median = &value["median"];
    let bound = |name: &str| median["confidence_interval"][name].as_f64();
    Some((median["point_estimate"].as_f64()?, bound("lower_bound")?, bound("upper_bound")?))
}

/// Bytes that one add exchanges with each of the two peers of three nodes, answers included.
/// Every set has had as many adds as the largest, so that dots are of the same length.
fn bytes_per_add(size: u64) -> f64 {
    const ADDS: u64 = 200;
    let mut cluster = Cluster::new(3);
    let mut write = |request| sent_by(&mut cluster, request);
    fill(SIZES[2]).chain(drain(size)).for_each(|request| {
        write(request);
    });
    let sent: u64 = (0..ADDS).map(|at| write(update(&[newcomer(at)], &[]))).sum();
    sent as f64 / ADDS as f64 / 2.0
}

/// Bytes that all three nodes send for a write that all acknowledge.
fn sent_by(cluster: &mut Cluster, mut request: Request) -> u64 {
    if let Request::Write { options, .. } = &mut request {
        options.w = Some(Quorum::All);
    }
    let reply = cluster.ask(0, request);
    assert!(matches!(reply, Reply::Written(_)), "{reply:?}");
    std::mem::take(&mut cluster.sent_bytes)
}

/// Requests that make a set of `size` members.
fn fill(size: u64) -> impl Iterator<Item = Request> {
    calls(0..size).map(|some| update(&some, &[]))
}

/// Requests that leave `size` members of the largest set.
fn drain(size: u64) -> impl Iterator<Item = Request> {
    calls(size..SIZES[2]).map(|some| update(&[], &some))
}

/// Members in the portions that one call takes.
fn calls(range: Range<u64>) -> impl Iterator<Item = Vec<Vec<u8>>> {
    let portions = range.clone().step_by(1_000);
    portions.map(move |first| {
        let some = first..range.end.min(first + 1_000);
        some.map(|at| format!("member:{at:012}").into_bytes()).collect()
    })
}

/// A member that [`fill`] does not add, in the middle of those that it does.
fn newcomer(at: u64) -> Vec<u8> {
    format!("member:{:012}+{at:012}", at.wrapping_mul(7_919) % SIZES[0]).into_bytes()
}

fn update(add: &[Vec<u8>], remove: &[Vec<u8>]) -> Request {
    let (add, remove) = (add.iter().cloned().collect(), remove.iter().cloned().collect());
    let op = ObjectOp::Set(SetOp::Update { add, remove, observed: Observed::Here });
    Request::Write { object: object(TypeTag::Set, "set"), op, options: Options::default() }
}

fn put(at: u64) -> Request {
    let op = ObjectOp::Kv(KvOp::Put {
        value: vec![b'v'; 100],
        content_type: "text/plain".into(),
        observed: Observed::Here,
    });
    Request::Write { object: object(TypeTag::Kv, &key(at)), op, options: Options::default() }
}

fn get(at: u64) -> Request {
    let object = object(TypeTag::Kv, &key(at));
    Request::Read { object, query: ReadQuery::Whole, options: Options::default() }
}

fn increment(at: u64) -> Request {
    let op = ObjectOp::Counter(CounterOp::Add { amount: 1, floor: 0 });
    Request::Write { object: object(TypeTag::Counter, &key(at)), op, options: Options::default() }
}

fn key(at: u64) -> String {
    format!("key:{at:012}")
}
