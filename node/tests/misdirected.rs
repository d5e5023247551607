//! Rows that lie where others belong: what a row says of its object is checked when it is read.

use starling_node::cluster::{Member, MembershipView};
use starling_node::config::Config;
use starling_node::core::{Core, Input, Outbox, Output};
use starling_node::crdt::{CounterOp, FlagOp, ObjectId, ObjectOp, Observed, TypeTag};
use starling_node::placement::LayoutId;
use starling_node::store::memory::MemoryStore;
use starling_node::store::{Batch, Family, Store, StoreError, Visit};
use starling_node::time::Time;
use starling_node::wire::api::{Options, Reply, Request, RequestId};

fn object(tag: TypeTag, key: &str) -> ObjectId {
    ObjectId { bucket: "b".into(), tag, key: key.into() }
}

/// Steps a node that is alone until all is answered.
fn ask(core: &mut Core<MemoryStore>, now: Time, request: Request) -> Reply {
    let mut inputs = vec![Input::Client(RequestId(1), request)];
    let mut reply = None;
    while let Some(input) = inputs.pop() {
        let mut out = Outbox::new();
        core.step(now, input, &mut out);
        for output in out {
            match output {
                Output::Reply(_, said) => reply = Some(said),
                Output::Sync(lsn) => inputs.push(Input::Synced(lsn)),
                Output::Halt(why) => panic!("{why}"),
                _ => {}
            }
        }
    }
    reply.expect("an answer")
}

#[test]
fn a_header_of_another_type_is_corrupt_and_not_read_as_this_one() {
    let config = Config::new("ada");
    let now = Time { mono_us: 1_000_000, ..Time::default() };
    let me = Member {
        id: config.id(),
        name: "ada".into(),
        zone: "z".into(),
        capacity: 1,
        peer_addr: String::new(),
        http_addr: String::new(),
        generation: 1,
        alive: true,
        layout: LayoutId::NONE,
    };
    let mut core = Core::open(config, MemoryStore::new(), now, 1).expect("it opens");
    core.step(now, Input::Members(MembershipView::new(vec![me])), &mut Outbox::new());
    ask(&mut core, now, Request::FormLayout { expect_members: 1 });
    let counter = object(TypeTag::Counter, "visits");
    let flag = object(TypeTag::Flag, "on");
    for (object, op) in [
        (&counter, ObjectOp::Counter(CounterOp::Add { amount: 7, floor: 0 })),
        (&flag, ObjectOp::Flag(FlagOp::Set { enabled: true, observed: Observed::Nothing })),
    ] {
        let write = Request::Write { object: object.clone(), op, options: Options::default() };
        let reply = ask(&mut core, now, write);
        assert!(matches!(reply, Reply::Written(_)), "{reply:?}");
    }
    let mut found = Vec::new();
    let mut visit = |key: &[u8], value: &[u8]| {
        found.push((key.to_vec(), value.to_vec()));
        Visit::Next
    };
    core.store().scan(Family::Headers, b"", None, &mut visit).expect("it is in memory");
    let [(a, of_a), (b, of_b)] = &found[..] else { panic!("{} headers", found.len()) };
    let mut exchanged = Batch::default();
    exchanged.put(Family::Headers, a.clone(), of_b.clone());
    exchanged.put(Family::Headers, b.clone(), of_a.clone());
    core.store_mut().write(exchanged).expect("it is in memory");
    for object in [&counter, &flag] {
        let read = core.audit_object(object);
        let Err(StoreError::Corrupt(why)) = read else { panic!("{object} was read") };
        assert!(why.contains("not what belongs there"), "{why}");
    }
}
