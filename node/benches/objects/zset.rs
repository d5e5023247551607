//! Additions to scores of sorted sets small and huge: time on one node, bytes to each peer.

use crate::cluster_support::{Cluster, object};
use crate::node::Node;
use crate::{median, sent_by};
use criterion::{BenchmarkId, Criterion, Throughput};
use starling_node::crdt::{ObjectOp, Observed, Real, TypeTag, ZsetOp};
use starling_node::store::Store;
use starling_node::wire::api::{Options, Request};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

const SIZES: [u64; 2] = [100, 1_000_000];
/// Additions that share a sync.
const GROUP: u64 = 10;

/// Additions to sets of every size; each goes to the next member of the first hundred.
pub fn increments<S: Store>(
    criterion: &mut Criterion,
    name: &str,
    mut node: impl FnMut() -> Node<S>,
) {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(1));
    for size in SIZES {
        let mut node = node();
        fill(size).for_each(|request| node.finish(request));
        let mut next = 0;
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter_custom(|count| {
                let mut took = Duration::ZERO;
                for first in (0..count).step_by(GROUP as usize) {
                    let group = next..next + GROUP.min(count - first);
                    next = group.end;
                    took += node.timed(group.map(increment));
                }
                took
            });
        });
    }
}

/// Prints what criterion found, the ratio between the largest and the smallest set, and the bytes
/// that an addition sends.
pub fn report(reports: &Path, stores: [&str; 2]) {
    for store in stores {
        let found = SIZES.map(|size| median(reports.join(store).join(size.to_string())));
        for (size, (median, low, high)) in SIZES.iter().zip(found.iter().flatten()) {
            println!("result\t{store}\t{size}\t{median:.0}\t{low:.0}\t{high:.0}");
        }
        if let [Some((small, ..)), Some((large, ..))] = found {
            println!("result\t{store}\tratio\t{:.3}", large / small);
        }
    }
    for size in SIZES {
        println!("result\tzset_increment_bytes\t{size}\t{:.1}", bytes_per_increment(size));
    }
}

/// Bytes that one addition exchanges with each of the two peers of three nodes, answers included.
fn bytes_per_increment(size: u64) -> f64 {
    const COUNT: u64 = 200;
    let mut cluster = Cluster::new(3);
    let mut write = |request| sent_by(&mut cluster, request);
    fill(size).for_each(|request| {
        write(request);
    });
    // The first addition to a member begins its run.
    (0..SIZES[0]).for_each(|at| {
        write(increment(at));
    });
    let sent: u64 = (0..COUNT).map(|at| write(increment(at))).sum();
    sent as f64 / COUNT as f64 / 2.0
}

/// Requests that make a set of `size` members.
fn fill(size: u64) -> impl Iterator<Item = Request> {
    (0..size).step_by(1_000).map(move |first| {
        let members = first..size.min(first + 1_000);
        let score = |at: u64| Real::new((at % 1_000) as f64).expect("finite");
        update(members.map(|at| (member(at), score(at))).collect(), BTreeMap::new())
    })
}

fn increment(at: u64) -> Request {
    let by = Real::new(1.5).expect("finite");
    let member = member(at.wrapping_mul(7_919) % SIZES[0]);
    update(BTreeMap::new(), BTreeMap::from([(member, by)]))
}

fn member(at: u64) -> Vec<u8> {
    format!("member:{at:012}").into_bytes()
}

fn update(add: BTreeMap<Vec<u8>, Real>, increment: BTreeMap<Vec<u8>, Real>) -> Request {
    let (remove, observed) = (Default::default(), Observed::Here);
    let op = ObjectOp::Zset(ZsetOp::Update { add, increment, remove, observed });
    Request::Write { object: object(TypeTag::Zset, "zset"), op, options: Options::default() }
}
