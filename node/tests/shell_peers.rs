//! Connections between nodes: what arrives, what is refused, what comes back.
#![cfg(feature = "server")]
// The shell is tested with what the core must not have.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

use starling_node::cluster::{Member, MembershipView};
use starling_node::crdt::NodeId;
use starling_node::placement::LayoutId;
use starling_node::server::families::Sample;
use starling_node::server::peers::{Identity, PROTOCOL, PeerLimits, PeerStats, Peers};
use starling_node::server::runtime::{self, Job};
use starling_node::wire::codec;
use starling_node::wire::peer::{PeerBody, PeerMessage};
use std::net::SocketAddr;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio::time::sleep;

const KEY: Option<[u8; 32]> = Some([7; 32]);
const OTHER_KEY: Option<[u8; 32]> = Some([8; 32]);
/// Preamble, Noise message and hello of "ada" to "bob" in the cluster "test".
const HANDSHAKE_BYTES: usize = 6 + 50 + 40;
const PATIENCE: Duration = Duration::from_secs(20);

struct End {
    peers: Peers,
    addr: SocketAddr,
    received: Receiver<Job>,
    listening: AbortHandle,
}

impl End {
    async fn new(name: &str, key: Option<[u8; 32]>) -> End {
        End::with(name, key, "127.0.0.1:0".parse().expect("an address"), PeerLimits::default())
            .await
    }

    async fn with(name: &str, key: Option<[u8; 32]>, addr: SocketAddr, limits: PeerLimits) -> End {
        let identity = Identity { cluster: "test".into(), name: name.into(), key };
        let listener = TcpListener::bind(addr).await.expect("a free port");
        let addr = listener.local_addr().expect("it is bound");
        let peers = Peers::new(identity, limits);
        let (jobs, received) = runtime::queue();
        let listening = peers.listen(listener, jobs);
        End { peers, addr, received, listening }
    }

    fn knows(&self, name: &str, addr: SocketAddr) {
        self.peers.update(&MembershipView::new(vec![member(name, addr)]));
    }

    fn stats(&self, name: &str) -> PeerStats {
        self.peers.stats().into_iter().find(|peer| peer.name == name).unwrap_or_default()
    }

    fn total(&self, name: &str) -> f64 {
        let mut samples = Vec::new();
        self.peers.samples(&mut samples);
        samples.iter().filter(|sample| sample.name() == name).map(Sample::number).sum()
    }

    async fn next(&self) -> (NodeId, PeerMessage) {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Ok(Job::Peer { from, message, .. }) = self.received.try_recv() {
                return (from, *message);
            }
            sleep(Duration::from_millis(2)).await;
        }
        panic!("nothing was received");
    }

    fn received_nothing(&self) -> bool {
        self.received.try_recv().is_err()
    }
}

fn member(name: &str, addr: SocketAddr) -> Member {
    Member {
        id: NodeId::of_name(name),
        name: name.into(),
        zone: "z".into(),
        capacity: 1,
        peer_addr: addr.to_string(),
        http_addr: String::new(),
        generation: 1,
        alive: true,
        layout: LayoutId::NONE,
    }
}

fn note(batch: u64) -> PeerMessage {
    PeerMessage { layout: LayoutId::NONE, body: PeerBody::HandoffDone { batch } }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// What a frame holds without a trace: a byte that says so, and the message.
fn untraced(batch: u64) -> (u8, PeerMessage) {
    (0, note(batch))
}

/// A frame as the wire has it.
fn frame(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat()
}

/// A plain connection that has said hello as `from` to `to`.
async fn plain_connection(addr: SocketAddr, from: &str, to: &str) -> TcpStream {
    let mut socket = TcpStream::connect(addr).await.expect("it listens");
    let hello = codec::encode(&("test".to_owned(), from.to_owned(), to.to_owned()));
    socket.write_all(&[b'S', b'T', b'R', b'L', PROTOCOL, 0]).await.expect("it reads");
    socket.write_all(&frame(&hello)).await.expect("it reads");
    let mut length = [0; 4];
    socket.read_exact(&mut length).await.expect("it answers");
    let mut welcome = vec![0; u32::from_be_bytes(length) as usize];
    socket.read_exact(&mut welcome).await.expect("it answers");
    socket
}

async fn is_closed(socket: &mut TcpStream) -> bool {
    let read = tokio::time::timeout(PATIENCE, socket.read(&mut [0; 16])).await;
    matches!(read, Ok(Ok(0) | Err(_)))
}

#[tokio::test]
async fn messages_arrive_whole_in_order_and_from_whom_they_came() {
    for key in [KEY, None] {
        let (ada, bob) = (End::new("ada", key).await, End::new("bob", key).await);
        ada.knows("bob", bob.addr);
        let leaves: Vec<u64> =
            (0..60_000_u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
        let body = PeerBody::Leaves { partition: 3, n: 3, leaves };
        let large = PeerMessage { layout: LayoutId(9), body };
        assert!(codec::encode(&large).len() > 6 * 65_535, "it takes several Noise messages");
        for batch in 0..1_000 {
            ada.peers.send(NodeId::of_name("bob"), note(batch), None);
        }
        ada.peers.send(NodeId::of_name("bob"), large.clone(), None);
        for batch in 0..1_000 {
            assert_eq!(bob.next().await, (NodeId::of_name("ada"), note(batch)));
        }
        assert_eq!(bob.next().await, (NodeId::of_name("ada"), large));
        until("both count alike", || {
            let (sent, received) = (ada.stats("bob"), bob.stats("ada"));
            sent.sent_frames == 1_001 && received.received_frames == 1_001 && sent.connected
        })
        .await;
        assert_eq!((ada.stats("bob").dropped, ada.stats("bob").queued), (0, 0));
    }
}

#[tokio::test]
async fn another_secret_or_none_keeps_a_node_out() {
    for (own, other) in [(KEY, OTHER_KEY), (KEY, None), (None, KEY)] {
        let (ada, bob) = (End::new("ada", own).await, End::new("bob", other).await);
        ada.knows("bob", bob.addr);
        ada.peers.send(NodeId::of_name("bob"), note(1), None);
        let refused = "starling_peer_handshakes_refused_total";
        until("both count refusals", || ada.total(refused) > 1.0 && bob.total(refused) > 1.0).await;
        assert!(!ada.stats("bob").connected && bob.received_nothing());
        until("what waited was dropped", || ada.stats("bob").dropped == 1).await;
    }
}

#[tokio::test]
async fn a_node_that_moved_in_at_an_address_is_not_taken_for_the_one_before() {
    let (ada, eve) = (End::new("ada", KEY).await, End::new("eve", KEY).await);
    ada.knows("bob", eve.addr);
    ada.peers.send(NodeId::of_name("bob"), note(1), None);
    until("it is refused", || ada.stats("bob").dropped == 1).await;
    assert!(eve.received_nothing() && !ada.stats("bob").connected);
}

#[tokio::test]
async fn junk_on_the_port_has_no_effect_on_others() {
    let limits = PeerLimits { handshake: Duration::from_millis(300), ..PeerLimits::default() };
    let addr = "127.0.0.1:0".parse().expect("an address");
    let bob = End::with("bob", KEY, addr, limits).await;
    let mut silent = TcpStream::connect(bob.addr).await.expect("it listens");
    for junk in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 4_096], b"STRL\x02\x01\xff\xff", b"STRL\x01\x01"]
    {
        let mut socket = TcpStream::connect(bob.addr).await.expect("it listens");
        let _ = socket.write_all(junk).await;
        assert!(is_closed(&mut socket).await);
    }
    assert!(is_closed(&mut silent).await, "who says nothing is closed too");
    until("all are counted", || bob.total("starling_peer_handshakes_refused_total") == 5.0).await;
    let ada = End::new("ada", KEY).await;
    ada.knows("bob", bob.addr);
    ada.peers.send(NodeId::of_name("bob"), note(5), None);
    assert_eq!(bob.next().await.1, note(5));
}

#[tokio::test]
async fn a_torn_corrupt_or_oversized_frame_closes_its_connection_and_changes_nothing() {
    let bob = End::new("bob", None).await;
    let mut corrupt = codec::encode(&untraced(1));
    corrupt[2] ^= 1;
    let mut torn = frame(&codec::encode(&untraced(2)));
    torn.truncate(torn.len() - 1);
    let oversized = (codec::ENCODED_MAX as u32 + 1).to_be_bytes().to_vec();
    let wrong_type = frame(&codec::encode(&"no message".to_owned()));
    let wrong_marker = frame(&codec::encode(&(2_u8, note(1))));
    let all = [frame(&corrupt), torn, oversized, wrong_type, wrong_marker];
    for (at, bytes) in all.iter().enumerate() {
        let mut socket = plain_connection(bob.addr, "mallory", "bob").await;
        socket.write_all(bytes).await.expect("it reads");
        socket.shutdown().await.expect("it is open");
        assert!(is_closed(&mut socket).await);
        let refused = (at + 1) as f64;
        until("it is counted", || bob.total("starling_peer_frames_refused_total") == refused).await;
    }
    assert!(bob.received_nothing());
    let mut socket = plain_connection(bob.addr, "mallory", "bob").await;
    socket.write_all(&frame(&codec::encode(&untraced(3)))).await.expect("it reads");
    assert_eq!(bob.next().await, (NodeId::of_name("mallory"), note(3)));
}

#[tokio::test]
async fn a_node_of_another_version_of_the_protocol_is_not_talked_to() {
    let bob = End::new("bob", None).await;
    for version in [PROTOCOL - 1, PROTOCOL + 1] {
        let mut socket = TcpStream::connect(bob.addr).await.expect("it listens");
        socket.write_all(&[b'S', b'T', b'R', b'L', version, 0]).await.expect("it reads");
        assert!(is_closed(&mut socket).await);
    }
    assert!(bob.received_nothing());
    plain_connection(bob.addr, "mallory", "bob").await;
}

#[tokio::test]
async fn a_changed_byte_in_a_sealed_connection_closes_it_and_the_next_one_works() {
    let (ada, bob) = (End::new("ada", KEY).await, End::new("bob", KEY).await);
    let relay = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    ada.knows("bob", relay.local_addr().expect("it is bound"));
    let target = bob.addr;
    tokio::spawn(async move {
        for round in 0.. {
            let (mut near, _) = relay.accept().await.expect("it listens");
            let mut far = TcpStream::connect(target).await.expect("it listens");
            tokio::spawn(async move {
                let (mut near_in, mut near_out) = near.split();
                let (mut far_in, mut far_out) = far.split();
                let back = tokio::io::copy(&mut far_in, &mut near_out);
                let forth = async {
                    let (mut passed, mut buffer) = (0, [0; 4_096]);
                    while let Ok(count @ 1..) = near_in.read(&mut buffer).await {
                        if round == 0 && passed >= HANDSHAKE_BYTES {
                            buffer[count - 1] ^= 1;
                        }
                        passed += count;
                        let _ = far_out.write_all(&buffer[..count]).await;
                    }
                };
                tokio::select! { _ = back => {}, () = forth => {} }
            });
        }
    });
    let mut batch = 0;
    until("a message arrives", || {
        batch += 1;
        ada.peers.send(NodeId::of_name("bob"), note(batch), None);
        !bob.received_nothing()
    })
    .await;
    assert_eq!(bob.total("starling_peer_frames_refused_total"), 1.0);
}

#[tokio::test]
async fn a_peer_that_comes_back_is_connected_to_again() {
    let ada = End::new("ada", KEY).await;
    let bob = End::new("bob", KEY).await;
    let addr = bob.addr;
    ada.knows("bob", addr);
    ada.peers.send(NodeId::of_name("bob"), note(1), None);
    assert_eq!(bob.next().await.1, note(1));
    bob.listening.abort();
    drop(bob);
    until("the end is noticed", || !ada.stats("bob").connected).await;
    until("what cannot be sent is dropped", || {
        ada.peers.send(NodeId::of_name("bob"), note(2), None);
        ada.stats("bob").dropped > 0
    })
    .await;
    let bob = End::with("bob", KEY, addr, PeerLimits::default()).await;
    until("it is connected to again", || ada.stats("bob").connected).await;
    ada.peers.send(NodeId::of_name("bob"), note(3), None);
    assert_eq!(bob.next().await.1, note(3));
}

/// A peer that waits long between attempts, and has failed to reach bob, who is there again.
async fn failed_and_back() -> (End, End) {
    let limits = PeerLimits { retry_max: Duration::from_secs(600), ..PeerLimits::default() };
    let ada = End::with("ada", KEY, "127.0.0.1:0".parse().expect("an address"), limits).await;
    let bob = End::new("bob", KEY).await;
    let addr = bob.addr;
    bob.listening.abort();
    drop(bob);
    ada.knows("bob", addr);
    until("an attempt has failed", || {
        ada.peers.send(NodeId::of_name("bob"), note(1), None);
        ada.stats("bob").dropped > 0
    })
    .await;
    (ada, End::with("bob", KEY, addr, PeerLimits::default()).await)
}

#[tokio::test]
async fn a_peer_that_gossip_calls_alive_again_is_sent_to_at_once() {
    let (ada, bob) = failed_and_back().await;
    let away = Member { alive: false, ..member("bob", bob.addr) };
    ada.peers.update(&MembershipView::new(vec![away]));
    ada.knows("bob", bob.addr);
    ada.peers.send(NodeId::of_name("bob"), note(2), None);
    assert_eq!(bob.next().await.1, note(2));
}

#[tokio::test]
async fn a_peer_that_connects_is_answered_at_once() {
    let (ada, bob) = failed_and_back().await;
    bob.knows("ada", ada.addr);
    bob.peers.send(NodeId::of_name("ada"), note(2), None);
    assert_eq!(ada.next().await.1, note(2));
    ada.peers.send(NodeId::of_name("bob"), note(3), None);
    assert_eq!(bob.next().await.1, note(3));
}

#[tokio::test]
async fn queues_and_connections_are_bounded() {
    let limits = PeerLimits {
        queue_frames: 10,
        queue_bytes: 2_000,
        incoming_max: 2,
        ..PeerLimits::default()
    };
    let addr = "127.0.0.1:0".parse().expect("an address");
    let ada = End::with("ada", None, addr, limits).await;
    // Accepts and never answers, so that what is sent waits.
    let deaf = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    ada.knows("bob", deaf.local_addr().expect("it is bound"));
    for batch in 0..25 {
        ada.peers.send(NodeId::of_name("bob"), note(batch), None);
    }
    assert_eq!((ada.stats("bob").queued, ada.stats("bob").dropped), (10, 15), "frames");
    ada.knows("eve", deaf.local_addr().expect("it is bound"));
    let body = PeerBody::Leaves { partition: 0, n: 3, leaves: vec![u64::MAX; 100] };
    let large = PeerMessage { layout: LayoutId::NONE, body };
    for _ in 0..3 {
        ada.peers.send(NodeId::of_name("eve"), large.clone(), None);
    }
    assert_eq!((ada.stats("eve").queued, ada.stats("eve").dropped), (2, 1), "bytes");
    let _one = plain_connection(ada.addr, "one", "ada").await;
    let _two = plain_connection(ada.addr, "two", "ada").await;
    let mut three = TcpStream::connect(ada.addr).await.expect("it listens");
    assert!(is_closed(&mut three).await, "a third connection is one too many");
    assert_eq!(ada.total("starling_peer_connections_refused_total"), 1.0);
}
