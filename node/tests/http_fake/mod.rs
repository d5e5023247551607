//! A node of one replica in memory, and a server in front of it, for the tests of the HTTP layer.
#![allow(dead_code)] // Each test binary uses its own part.

use starling_node::cluster::Member;
use starling_node::config::BucketProps;
use starling_node::crdt::expiry::{NEVER, Terms, bucket_of, instant_after};
use starling_node::crdt::{
    Actor, Hlc, Mint, NodeId, Object, ObjectId, ObjectOp, SeenContext, Set, SetOp, Ttl,
};
use starling_node::placement::{Layout, LayoutId, LayoutMember, partition_of};
use starling_node::server::handle::NodeMetrics;
use starling_node::server::http::{Backend, Limits, serve_with};
use starling_node::server::traces::{TraceContext, Traces};
use starling_node::wire::api::{
    Acks, ClusterStatus, Failure, MemberStatus, Quorum, ReadQuery, ReadResult, Reply, Request,
    Written,
};
use starling_node::wire::peer::ReplicaReport;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The wall clock of every write, ms: 2025-11-22T14:40:00.007Z.
pub const WALL_MS: u64 = 1_763_822_400_007;

/// Objects applied with the kernel's own operations; quorums are checked against N=3.
#[derive(Default)]
pub struct Fake {
    objects: Mutex<BTreeMap<ObjectId, Object>>,
    buckets: Mutex<BTreeMap<String, BucketProps>>,
    layout: Mutex<Option<Layout>>,
    /// When set, every request fails so.
    pub failure: Mutex<Option<Failure>>,
    pub not_ready: AtomicBool,
    pub calls: AtomicU64,
    /// Dots of writes come from this many actors in turn; 0 counts as one.
    pub actors: AtomicU64,
}

/// A handle that the server and the test share.
#[derive(Clone, Default)]
pub struct Shared(pub Arc<Fake>);

impl Fake {
    fn actor(&self) -> Actor {
        let turn = self.calls.load(Ordering::Relaxed) % self.actors.load(Ordering::Relaxed).max(1);
        Actor { node: NodeId::of_name(&format!("n{turn}")), epoch: 1 }
    }

    /// Joins a write that nobody here had seen: a sibling, a concurrent add.
    pub fn write_elsewhere(&self, object: &ObjectId, op: &ObjectOp) {
        let actor = Actor { node: NodeId::of_name("elsewhere"), epoch: 1 };
        let mut objects = self.objects.lock().unwrap();
        let state = objects.entry(object.clone()).or_insert(Object::empty(object.tag));
        let next = state.context().highest(actor) + 1;
        let mut mint = Mint::new(actor, next, Hlc { wall_ms: WALL_MS + next, logical: 0 });
        let delta = Object::empty(object.tag).delta(op, &mut mint).unwrap();
        state.join(&delta).unwrap();
    }

    fn props(&self, bucket: &str) -> BucketProps {
        self.buckets.lock().unwrap().get(bucket).cloned().unwrap_or_default()
    }

    fn check(&self, parameter: &'static str, quorum: Option<Quorum>) -> Result<(), Failure> {
        match quorum {
            Some(quorum) if quorum.of(3) > 3 => {
                let detail = format!("{} of 3 replicas", quorum.of(3));
                Err(Failure::BadParameter { parameter, detail })
            }
            _ => Ok(()),
        }
    }

    fn write(&self, object: ObjectId, op: ObjectOp, ttl: Option<Ttl>) -> Result<Reply, Failure> {
        let mut objects = self.objects.lock().unwrap();
        let state = objects.entry(object.clone()).or_insert(Object::empty(object.tag));
        let actor = self.actor();
        let next = state.context().highest(actor) + 1;
        let mut mint = Mint::new(actor, next, Hlc { wall_ms: WALL_MS, logical: next as u32 });
        let asked = ttl.map(|ttl| match ttl {
            Ttl::For(seconds) => instant_after(WALL_MS, seconds),
            Ttl::Persist => NEVER,
        });
        let terms = Terms { asked, present: state.is_present(), ..Terms::default() };
        let delta = state.write(&op, terms, &mut mint).map_err(Failure::Refused)?;
        state.join(&delta).unwrap();
        let shown = match &*state {
            Object::Set(set) => Object::Set(set.header().into()),
            other => other.clone(),
        };
        let acks = Acks { owners: 2, hints: 1, durable: 2 };
        let said = state.context().clone();
        Ok(Reply::Written(Written { acks, seen: state.seen(), object: shown, said }))
    }

    fn read(&self, object: ObjectId, query: ReadQuery) -> Reply {
        let objects = self.objects.lock().unwrap();
        let state = objects.get(&object).cloned().unwrap_or(Object::empty(object.tag));
        let count = match &state {
            Object::Set(set) => set.members().count() as u64,
            other => other.is_present().into(),
        };
        let (shown, next) = page(&state, &query);
        let present = match &query {
            ReadQuery::Member(member) => match state.rows() {
                Some(rows) => rows.present().any(|(key, _)| key == member),
                None => shown.is_present(),
            },
            _ => count > 0,
        };
        Reply::Read(ReadResult {
            object: shown,
            present,
            count,
            next,
            asked: 2,
            answered: 2,
            repaired: 0,
            expires_at: state.expires_at(),
            left_s: state.expires_at().map(|at| at - bucket_of(WALL_MS)),
            resolve: self.props(&object.bucket).resolve,
        })
    }

    fn cluster(&self) -> ClusterStatus {
        let layout = self.layout.lock().unwrap().clone();
        let id = layout.as_ref().map_or(LayoutId::NONE, Layout::id);
        let member = Member {
            id: NodeId::of_name("n0"),
            name: "n0".into(),
            zone: "a".into(),
            capacity: 1,
            peer_addr: "127.0.0.1:7101".into(),
            http_addr: "127.0.0.1:7001".into(),
            generation: 1,
            alive: true,
            layout: id,
        };
        let partitions = layout.as_ref().map_or(0, |layout| layout.owned_count(member.id, 3));
        let members = vec![MemberStatus { member, partitions, hints_owed: 0 }];
        ClusterStatus { node: "n0".into(), ready: layout.is_some(), layout, members }
    }

    fn form(&self, expect: u16) -> Result<Reply, Failure> {
        if expect > 1 {
            return Err(Failure::Conflict(format!("1 member is alive, {expect} were expected")));
        }
        let (id, name, zone) = (NodeId::of_name("n0"), "n0".into(), "a".into());
        let first = Layout::first(vec![LayoutMember { id, name, zone, capacity: 1 }]);
        *self.layout.lock().unwrap() = Some(first);
        Ok(Reply::Cluster(Box::new(self.cluster())))
    }

    fn explain(&self, object: ObjectId) -> Reply {
        let state = self.objects.lock().unwrap().get(&object).cloned();
        let report = ReplicaReport {
            actor: Actor { node: NodeId::of_name("n0"), epoch: 1 },
            node: NodeId::of_name("n0"),
            owner: true,
            layout: LayoutId(7),
            digest: 9,
            state,
            count: 1,
            header_bytes: 60,
            owed: Vec::new(),
            error: None,
        };
        let partition = partition_of(&object);
        let silent = vec!["n1".into()];
        Reply::Explained { replicas: vec![report], silent, layout: LayoutId(7), partition }
    }

    fn reply(&self, request: Request) -> Result<Reply, Failure> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if let Some(failure) = self.failure.lock().unwrap().clone() {
            return Err(failure);
        }
        match request {
            Request::Write { object, op, options } => {
                self.check("w", options.w)?;
                self.check("pw", options.pw)?;
                self.write(object, op, options.ttl)
            }
            Request::Read { object, query, options } => {
                self.check("r", options.r)?;
                self.check("pr", options.pr)?;
                Ok(self.read(object, query))
            }
            Request::Explain { object } => Ok(self.explain(object)),
            Request::GetBucket { bucket } => Ok(Reply::Bucket(self.props(&bucket))),
            Request::PutBucket { bucket, props } => {
                self.buckets.lock().unwrap().insert(bucket, props.clone());
                Ok(Reply::Bucket(props))
            }
            Request::DeleteBucket { bucket } => {
                self.buckets.lock().unwrap().remove(&bucket);
                Ok(Reply::Bucket(BucketProps::default()))
            }
            Request::Cluster => Ok(Reply::Cluster(Box::new(self.cluster()))),
            Request::FormLayout { expect_members } => self.form(expect_members),
        }
    }
}

/// The part of a set that `query` asks for, made through the set's own operations.
fn page(state: &Object, query: &ReadQuery) -> (Object, Option<Vec<u8>>) {
    let Object::Set(set) = state else { return (state.clone(), None) };
    let wanted = |member: &Vec<u8>| match query {
        ReadQuery::Whole | ReadQuery::Scores(_) => true,
        ReadQuery::Members(some) => some.contains(member),
        ReadQuery::Member(one) => member == one,
        ReadQuery::Page { after, prefix, .. } => {
            member.starts_with(prefix) && after.as_ref().is_none_or(|after| after < member)
        }
    };
    let limit = match query {
        ReadQuery::Page { limit, .. } => *limit as usize,
        _ => usize::MAX,
    };
    let members: Vec<Vec<u8>> =
        set.members().map(|(member, _)| member.clone()).filter(wanted).collect();
    let shown: Vec<_> = members.iter().take(limit).cloned().collect();
    let next = (members.len() > limit).then(|| shown.last().cloned().unwrap_or_default());
    let dropped = set.members().map(|(member, _)| member).filter(|member| !shown.contains(member));
    let remove = dropped.cloned().collect();
    let op = ObjectOp::Set(SetOp::Update {
        add: Default::default(),
        remove,
        observed: starling_node::crdt::Observed::Here,
    });
    let mut mint = Mint::new(Actor { node: NodeId(1), epoch: 1 }, 1, Hlc::default());
    let mut part = state.clone();
    let delta = part.delta(&op, &mut mint).unwrap();
    part.join(&delta).unwrap();
    (part, next)
}

impl Backend for Shared {
    async fn call(&self, request: Request, _: Option<TraceContext>) -> Reply {
        self.0.reply(request).unwrap_or_else(Reply::Failed)
    }

    fn traces(&self) -> Traces {
        Traces::default()
    }

    fn is_ready(&self) -> bool {
        !self.0.not_ready.load(Ordering::Relaxed)
    }

    async fn metrics(&self) -> NodeMetrics {
        NodeMetrics::default()
    }

    fn context_key(&self) -> [u8; 32] {
        [7; 32]
    }

    fn name(&self) -> &str {
        "n0"
    }
}

/// A server on a free port of loopback; it stops when dropped.
pub struct Server {
    pub addr: SocketAddr,
    pub node: Shared,
    stop: watch::Sender<bool>,
    pub task: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Server {
    pub async fn start() -> Server {
        Server::with(Limits::default()).await
    }

    pub async fn with(limits: Limits) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let node = Shared::default();
        let task = tokio::spawn(serve_with(listener, node.clone(), limits, stopped));
        Server { addr, node, stop, task }
    }

    pub fn stop(&self) {
        self.stop.send(true).unwrap();
    }

    /// Sends one request on a connection of its own and reads the answer to its end.
    pub async fn ask(&self, method: &str, target: &str, headers: &str, body: &[u8]) -> Answer {
        let mut request = format!("{method} {target} HTTP/1.1\r\nHost: n0\r\n{headers}");
        request += &format!("Connection: close\r\nContent-Length: {}\r\n\r\n", body.len());
        let mut bytes = request.into_bytes();
        bytes.extend_from_slice(body);
        self.raw(&bytes).await
    }

    pub async fn get(&self, target: &str) -> Answer {
        self.ask("GET", target, "", b"").await
    }

    pub async fn post(&self, target: &str, body: &str) -> Answer {
        self.ask("POST", target, "", body.as_bytes()).await
    }

    /// Sends bytes as they are and reads the answer to the end of the connection.
    pub async fn raw(&self, bytes: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.addr).await.unwrap();
        // A server may answer and close before it has read everything.
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        Answer::parse(&answer)
    }
}

/// An answer taken apart.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn parse(bytes: &[u8]) -> Answer {
        let split = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let split = split.unwrap_or_else(|| panic!("no answer: {}", bytes.escape_ascii()));
        let head = String::from_utf8(bytes[..split].to_vec()).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap()[9..12].parse().unwrap();
        let pairs = lines.map(|line| line.split_once(": ").unwrap());
        let headers = pairs.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
        Answer { status, headers, body: bytes[split + 4..].to_vec() }
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("no JSON: {:?}", self.body.escape_ascii().to_string()))
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// Asserts a problem document of that status and code, and gives its detail.
    #[track_caller]
    pub fn problem(&self, status: u16, code: &str) -> String {
        let shown = self.body.escape_ascii().to_string();
        assert_eq!(
            (self.status, self.header("content-type")),
            (status, "application/problem+json"),
            "{shown}"
        );
        let document = self.json();
        assert_eq!(document["code"], code, "{shown}");
        assert_eq!(document["status"], status);
        assert_eq!(document["type"], format!("urn:starling:problem:{code}"));
        assert!(document["title"].is_string());
        document["detail"].as_str().unwrap().to_owned()
    }
}

/// Names an object.
pub fn object(tag: starling_node::crdt::TypeTag, bucket: &str, key: &str) -> ObjectId {
    ObjectId { bucket: bucket.into(), tag, key: key.into() }
}

pub fn nothing_seen() -> SeenContext {
    SeenContext::default()
}

pub fn empty_set() -> Set {
    Set::default()
}
