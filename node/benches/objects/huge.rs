//! Changes of sorted sets and maps small and huge: time on one node, bytes to each peer; and what
//! reading all of a huge set takes, page by page, beside sending it whole.

use crate::cluster_support::{Cluster, object};
use crate::node::Node;
use crate::{fill as fill_set, median, sent_by};
use criterion::{BenchmarkId, Criterion, Throughput};
use starling_node::crdt::map::{Change, FieldOp};
use starling_node::crdt::{MapOp, ObjectOp, Observed, Real, TypeTag, ZsetOp};
use starling_node::store::Store;
use starling_node::wire::api::{Options, ReadQuery, Request};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

const SIZES: [u64; 2] = [100, 1_000_000];
/// Changes that share a sync.
const GROUP: u64 = 10;
/// Members in one page.
const PAGE: u32 = 1_000;

/// What is changed.
pub struct Kind {
    /// As it is named in the results.
    pub name: &'static str,
    /// A request that makes the members `first..until`.
    make: fn(u64, u64) -> Request,
    /// The change of one of the first hundred.
    change: fn(u64) -> Request,
}

/// The kinds there are.
pub const KINDS: [Kind; 2] = [
    Kind { name: "zset_increment", make: scores, change: increment },
    Kind { name: "map_update", make: fields, change: set_field },
];

impl Kind {
    fn fill(&self, size: u64) -> impl Iterator<Item = Request> {
        let make = self.make;
        (0..size).step_by(1_000).map(move |first| make(first, size.min(first + 1_000)))
    }

    /// Changes of objects of every size; each is of the next member of the first hundred.
    pub fn run<S: Store>(
        &self,
        criterion: &mut Criterion,
        store: &str,
        mut node: impl FnMut() -> Node<S>,
    ) {
        let mut group = criterion.benchmark_group(format!("{}_{store}", self.name));
        group.throughput(Throughput::Elements(1));
        for size in SIZES {
            let mut node = node();
            self.fill(size).for_each(|request| node.finish(request));
            let mut next = 0;
            group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
                bencher.iter_custom(|count| {
                    let mut took = Duration::ZERO;
                    for first in (0..count).step_by(GROUP as usize) {
                        let group = next..next + GROUP.min(count - first);
                        next = group.end;
                        took += node.timed(group.map(self.change));
                    }
                    took
                });
            });
        }
    }

    /// Prints what criterion found, the ratio between the largest and the smallest object, and the
    /// bytes that a change sends.
    pub fn report(&self, reports: &Path) {
        for store in ["memory", "rocksdb"] {
            let name = format!("{}_{store}", self.name);
            let found = SIZES.map(|size| median(reports.join(&name).join(size.to_string())));
            for (size, (median, low, high)) in SIZES.iter().zip(found.iter().flatten()) {
                println!("result\t{name}\t{size}\t{median:.0}\t{low:.0}\t{high:.0}");
            }
            if let [Some((small, ..)), Some((large, ..))] = found {
                println!("result\t{name}\tratio\t{:.3}", large / small);
            }
        }
        for size in SIZES {
            println!("result\t{}_bytes\t{size}\t{:.1}", self.name, self.bytes(size));
        }
    }

    /// Bytes that one change exchanges with each of the two peers of three nodes, answers included.
    fn bytes(&self, size: u64) -> f64 {
        const COUNT: u64 = 200;
        let mut cluster = Cluster::new(3);
        let mut write = |request| sent_by(&mut cluster, request);
        self.fill(size).for_each(|request| {
            write(request);
        });
        // The first addition to a member begins its run.
        (0..SIZES[0]).for_each(|at| {
            write((self.change)(at));
        });
        let sent: u64 = (0..COUNT).map(|at| write((self.change)(at))).sum();
        sent as f64 / COUNT as f64 / 2.0
    }
}

/// Reads sets of every size page by page, and prints time and memory for each member, with the
/// bytes of the whole state beside it.
pub fn pages<S: Store>(mut node: impl FnMut() -> Node<S>) {
    for size in [10_000, 100_000, SIZES[1]] {
        let mut node = node();
        fill_set(size).for_each(|request| node.finish(request));
        let before = resident_kib();
        let (mut after, mut read, begun) = (None, 0, Instant::now());
        loop {
            let query = ReadQuery::Page { after, prefix: Vec::new(), limit: PAGE };
            let object = object(TypeTag::Set, "set");
            let page = node.read(Request::Read { object, query, options: Options::default() });
            read += page.object.rows().map_or(0, |rows| rows.present().count() as u64);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let took = begun.elapsed().as_nanos() as f64;
        assert_eq!(read, size, "every member once");
        let grown = resident_kib() as i64 - before as i64;
        println!("result\tset_paging\t{size}\t{:.0}\t{grown}", took / size as f64);
        let whole = node.whole_bytes(&object(TypeTag::Set, "set"));
        println!("result\tset_whole_state_bytes\t{size}\t{whole}");
    }
}

/// Memory of this process, KiB.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("resident memory");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
}

fn scores(first: u64, until: u64) -> Request {
    let score = |at: u64| Real::new((at % 1_000) as f64).expect("finite");
    update((first..until).map(|at| (member(at), score(at))).collect(), BTreeMap::new())
}

fn fields(first: u64, until: u64) -> Request {
    let field = |at: u64| (format!("field:{at:012}"), FieldOp::Register(at.to_le_bytes().into()));
    change_fields((first..until).map(field).collect())
}

fn set_field(at: u64) -> Request {
    let name = format!("field:{:012}", at.wrapping_mul(7_919) % SIZES[0]);
    change_fields(BTreeMap::from([(name, FieldOp::Register(at.to_le_bytes().into()))]))
}

fn change_fields(update: BTreeMap<String, FieldOp>) -> Request {
    let change = Change { update, ..Change::default() };
    let op = ObjectOp::Map(MapOp::Update { change, observed: Observed::Here });
    Request::Write { object: object(TypeTag::Map, "map"), op, options: Options::default() }
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
