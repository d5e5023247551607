//! The encoding: pinned bytes, and nothing but what `encode` made is ever decoded.
#![allow(unsafe_code)] // Counts what the allocator gives.

mod crdt_support;

use bincode::Encode;
use crdt_support::actor_of;
use starling_node::crdt::expiry::Terms;
use starling_node::crdt::{
    BoundedOp, CausalContext, CounterOp, Dot, FlagOp, Hlc, KvOp, Mint, Object, ObjectOp, Observed,
    SeenContext, SetOp, TypeTag,
};
use starling_node::wire::codec::{self, CodecError, ENCODED_MAX, VERSION};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use xxhash_rust::xxh3::xxh3_64;

/// The system's allocator, which also notes the largest request of each thread.
struct Watched;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.with(|largest| largest.set(largest.get().max(layout.size())));
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static WATCHED: Watched = Watched;

fn largest_allocation(work: impl FnOnce()) -> usize {
    LARGEST.with(|largest| largest.set(0));
    work();
    LARGEST.with(Cell::get)
}

fn after(ops: &[ObjectOp]) -> Object {
    let mut object = Object::empty(ops[0].tag());
    for (n, op) in ops.iter().enumerate() {
        let actor = actor_of(n as u32 % 2, 7);
        let next = object.context().highest(actor) + 1;
        let at = Hlc { wall_ms: 1_700_000_000_000, logical: n as u32 };
        let delta = object.delta(op, &mut Mint::new(actor, next, at)).expect("within limits");
        object.join(&delta).expect("the same type");
    }
    object
}

/// One write that says when its object goes.
fn expiring(op: &ObjectOp) -> Object {
    let terms = Terms { asked: Some(1_800_000_000), ..Terms::default() };
    let mut mint = Mint::new(actor_of(0, 7), 1, Hlc { wall_ms: 1_700_000_000_000, logical: 0 });
    Object::empty(op.tag()).write(op, terms, &mut mint).expect("within limits")
}

fn names(names: &[&str]) -> BTreeSet<Vec<u8>> {
    names.iter().map(|name| name.as_bytes().to_vec()).collect()
}

/// One object of each type with every part of it filled.
fn samples() -> [Object; 7] {
    let put = |value: &str, observed| {
        let (value, content_type) = (value.as_bytes().to_vec(), "text/plain".to_string());
        ObjectOp::Kv(KvOp::Put { value, content_type, observed })
    };
    let add = |amount| ObjectOp::Counter(CounterOp::Add { amount, floor: 0 });
    let flag = |enabled| ObjectOp::Flag(FlagOp::Set { enabled, observed: Observed::Nothing });
    let set = |add: &[&str], remove: &[&str], observed| {
        let (add, remove) = (names(add), names(remove));
        ObjectOp::Set(SetOp::Update { add, remove, observed })
    };
    let dots = [Dot { actor: actor_of(5, 0), counter: 9 }].into_iter().collect();
    let unseen = Observed::Context(SeenContext { dots, ..SeenContext::default() });
    [
        after(&[put("ada", Observed::Here), put("bob", Observed::Nothing)]),
        after(&[
            add(300),
            ObjectOp::Counter(CounterOp::Reset { observed: Observed::Here, floor: 0 }),
            ObjectOp::delete(TypeTag::Counter, Observed::Here),
            add(-2),
        ]),
        after(&[
            set(&["x"], &[], Observed::Here),
            ObjectOp::delete(TypeTag::Set, Observed::Here),
            set(&["y", "zz"], &["x"], unseen),
        ]),
        after(&[flag(true), flag(false)]),
        expiring(&put("ada", Observed::Here)),
        after(
            &[true, false].map(|enabled| {
                ObjectOp::DwFlag(FlagOp::Set { enabled, observed: Observed::Nothing })
            }),
        ),
        after(
            &[
                BoundedOp::Add { amount: 300 },
                BoundedOp::Add { amount: 7 },
                BoundedOp::Give { to: Dot { actor: actor_of(1, 7), counter: 1 }, amount: 200 },
                BoundedOp::Take { amount: 150 },
            ]
            .map(ObjectOp::Bounded),
        ),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The format: a change of these bytes makes every stored object unreadable.
const GOLDEN: [(TypeTag, &str); 7] = [
    (
        TypeTag::Kv,
        "0100020107010101020701010102010701036164610a746578742f706c61696efd0068e5cf8b01000000\
     02070103626f620a746578742f706c61696efd0068e5cf8b01000001004d197f01",
    ),
    (
        TypeTag::Counter,
        "0101020107010101020701010202010701010102070101010301070101fb2c010002070101000002\
     07020200020201070101fb2c0100020701010000000022ce1edd",
    ),
    (
        TypeTag::Set,
        "010201010701010301010701010101017801060001090900020179010107020000027a7a010107030000\
     000000ad932cf8",
    ),
    (TypeTag::Flag, "0103020107010101020701010102010701010207010000006f444e"),
    (
        TypeTag::Kv,
        "010001010701010201010701036164610a746578742f706c61696efd0068e5cf8b0100000001010702fc\
     00d2496b010107017a8dc1b8",
    ),
    (TypeTag::DwFlag, "01050201070101010207010101020107010102070100008ad6adf7"),
    (
        TypeTag::Bounded,
        "010902010701010202070101020201070102fb2c010001020701c802070102079600f510f136",
    ),
];

#[test]
fn encoded_objects_are_these_bytes() {
    for (object, (tag, golden)) in samples().iter().zip(GOLDEN) {
        assert_eq!(object.tag(), tag);
        let bytes = codec::encode(object);
        assert_eq!(hex(&bytes), golden, "{object:?}");
        assert_eq!(codec::decode(&bytes).as_ref(), Ok(object));
        assert!(object.is_canonical());
    }
}

#[test]
fn every_truncation_is_refused() {
    for object in samples() {
        let bytes = codec::encode(&object);
        for end in 0..bytes.len() {
            let error = codec::decode::<Object>(&bytes[..end]).expect_err("truncated");
            let expected = if end < 4 { CodecError::Truncated } else { CodecError::Checksum };
            assert_eq!(error, expected, "{end} of {} bytes", bytes.len());
        }
    }
}

#[test]
fn every_flipped_bit_is_refused() {
    for object in samples() {
        let bytes = codec::encode(&object);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(codec::decode::<Object>(&flipped), Err(CodecError::Checksum), "bit {bit}");
        }
    }
}

/// `body` with a version and the right checksum.
fn sealed(version: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = [&[version], body].concat();
    let sum = (xxh3_64(&bytes) as u32).to_le_bytes();
    bytes.extend_from_slice(&sum);
    bytes
}

#[test]
fn trailing_bytes_and_another_version_are_refused_though_the_checksum_is_right() {
    for object in samples() {
        let bytes = codec::encode(&object);
        let body = &bytes[1..bytes.len() - 4];
        assert_eq!(sealed(VERSION, body), bytes);
        let longer = [body, &[0]].concat();
        assert_eq!(codec::decode::<Object>(&sealed(VERSION, &longer)), Err(CodecError::Malformed));
        let shorter = &body[..body.len() - 1];
        assert_eq!(codec::decode::<Object>(&sealed(VERSION, shorter)), Err(CodecError::Malformed));
        let next = VERSION + 1;
        assert_eq!(codec::decode::<Object>(&sealed(next, body)), Err(CodecError::Version(next)));
    }
    assert_eq!(codec::decode::<Object>(&sealed(VERSION, &[])), Err(CodecError::Malformed));
    assert_eq!(codec::decode::<Object>(&sealed(VERSION, &[9])), Err(CodecError::Malformed));
}

#[test]
fn a_length_prefix_beyond_the_bytes_allocates_no_more_than_the_limit() {
    // Bincode's varint: 253 announces a 64-bit length. Lists of bytes, of intervals, of objects.
    for length in [100, 1 << 20, 15 << 20, 32 << 20, ENCODED_MAX as u64, 1 << 32, u64::MAX] {
        let prefix = [&[253], length.to_le_bytes().as_slice()].concat();
        let list = sealed(VERSION, &prefix);
        let largest = largest_allocation(|| {
            assert_eq!(codec::decode::<Vec<u8>>(&list), Err(CodecError::Malformed));
            assert_eq!(codec::decode::<Vec<(u64, u64)>>(&list), Err(CodecError::Malformed));
            assert_eq!(codec::decode::<Vec<Object>>(&list), Err(CodecError::Malformed));
            assert_eq!(codec::decode::<CausalContext>(&list), Err(CodecError::Malformed));
        });
        assert!(largest <= 16 << 20, "{largest} bytes at once for a length of {length}");
    }
}

#[test]
fn bytes_beyond_the_limit_are_refused_before_they_are_looked_at() {
    let bytes = vec![0; ENCODED_MAX + 1];
    let largest = largest_allocation(|| {
        let refused = codec::decode::<Vec<u8>>(&bytes);
        assert_eq!(refused, Err(CodecError::TooLong(ENCODED_MAX + 1)));
    });
    assert_eq!(largest, 0);
}

#[test]
fn what_is_larger_in_memory_than_encoded_is_read_back() {
    let intervals: Vec<(u64, u64)> = (1..=6_000_000).map(|n| (n, n)).collect();
    let bytes = codec::encode(&intervals);
    let memory = std::mem::size_of_val(intervals.as_slice());
    assert!(bytes.len() < ENCODED_MAX && ENCODED_MAX < memory, "{} bytes", bytes.len());
    assert!(codec::decode(&bytes) == Ok(intervals));

    // Rows of 32,000 members with short names take 48 bytes each in memory and fewer encoded.
    let dots = BTreeSet::from([Dot { actor: actor_of(0, 0), counter: 1 }]);
    let rows = (0..32_000u32).map(|n| (n.to_be_bytes().to_vec(), dots.clone()));
    let rows: BTreeMap<Vec<u8>, BTreeSet<Dot>> = rows.collect();
    assert!(codec::decode(&codec::encode(&rows)) == Ok(rows));
}

#[test]
fn decoded_objects_that_do_not_fit_together_are_found_out() {
    // A register with a live dot that its context does not have, as forged by hand.
    #[derive(Encode)]
    struct Raw(u32, BTreeMap<(u64, u64), Vec<(u64, u64)>>, BTreeMap<Dot, bool>, Settings);
    type Settings = BTreeMap<Dot, (u64, BTreeSet<Dot>)>;
    let dot = |counter| Dot { actor: actor_of(0, 0), counter };
    let forged = |runs: Vec<(u64, u64)>, counter| {
        let context = BTreeMap::from([((1, 0), runs)]);
        let raw = Raw(3, context, BTreeMap::from([(dot(counter), true)]), Settings::new());
        codec::decode::<Object>(&codec::encode(&raw)).expect("well formed")
    };
    assert!(forged(vec![(1, 2)], 2).is_present());
    assert!(forged(vec![(1, 2)], 2).is_canonical());
    assert!(!forged(vec![(1, 2)], 3).is_canonical(), "a dot outside the context");
    assert!(!forged(vec![(1, 1), (2, 2)], 2).is_canonical(), "adjacent intervals");
    assert!(!forged(vec![(0, 2)], 2).is_canonical(), "counters begin at 1");
}

#[test]
fn an_operation_with_a_forged_context_is_found_out() {
    let actor = actor_of(0, 0);
    let context: CausalContext = [Dot { actor, counter: 2 }].into_iter().collect();
    let object = after(&[ObjectOp::Counter(CounterOp::Add { amount: 5, floor: 0 })]);
    let mut seen = object.seen();
    for tag in TypeTag::ALL {
        assert!(ObjectOp::delete(tag, Observed::Context(seen.clone())).is_canonical());
        assert!(ObjectOp::delete(tag, Observed::Here).is_canonical());
    }
    seen.dots = context;
    for tag in TypeTag::ALL {
        assert!(!ObjectOp::delete(tag, Observed::Context(seen.clone())).is_canonical());
    }
}
