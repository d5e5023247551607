//! Gossip: who is seen by whom, and what junk, other keys and replays can do.
#![cfg(feature = "server")]
// The shell is tested with what the core must not have.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

use chitchat::ChitchatMessage;
use chitchat::transport::{Socket, Transport};
use starling_node::cluster::MembershipView;
use starling_node::crdt::NodeId;
use starling_node::placement::LayoutId;
use starling_node::server::gossip::{
    self, GRACE, GossipSettings, GossipStats, Key, LayoutSlot, Own, SealStats, Sealed,
};
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

const KEY: Key = Key { id: 1, bytes: [7; 32] };
const OTHER_KEY: Key = Key { id: 1, bytes: [8; 32] };
const INTERVAL: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(30);

struct Node {
    addr: SocketAddr,
    view: Arc<Mutex<MembershipView>>,
    layout: LayoutSlot,
    stats: Arc<GossipStats>,
    stop: watch::Sender<bool>,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Node {
    async fn new(name: &str, key: Option<Key>, join: &[SocketAddr]) -> Node {
        Node::with(name, 1, key, "127.0.0.1:0".parse().expect("an address"), join).await
    }

    async fn with(
        name: &str,
        generation: u64,
        key: Option<Key>,
        addr: SocketAddr,
        join: &[SocketAddr],
    ) -> Node {
        Node::with_grace(name, generation, key, addr, join, GRACE).await
    }

    async fn with_grace(
        name: &str,
        generation: u64,
        key: Option<Key>,
        addr: SocketAddr,
        join: &[SocketAddr],
        grace: Duration,
    ) -> Node {
        let socket = bind(addr).await;
        let addr = socket.local_addr().expect("it is bound");
        let settings = GossipSettings {
            cluster: "test".into(),
            advertised: addr,
            join: join.iter().map(SocketAddr::to_string).collect(),
            interval: INTERVAL,
            suspicion: INTERVAL * 5,
            grace,
            key,
        };
        let own = Own {
            name: name.into(),
            zone: "z".into(),
            capacity: 2,
            peer_addr: "127.0.0.1:1".into(),
            http_addr: "127.0.0.1:2".into(),
            generation,
        };
        let (layout, stats) = (LayoutSlot::default(), Arc::new(GossipStats::default()));
        let gossip = gossip::start(settings, own, socket, layout.clone(), stats.clone())
            .await
            .expect("it starts");
        let view = Arc::new(Mutex::new(MembershipView::default()));
        let seen = view.clone();
        let (stop, stopped) = watch::channel(false);
        let changed = move |view| *seen.lock().expect("no panic") = view;
        let task = tokio::spawn(gossip.watch(changed, stopped));
        Node { addr, view, layout, stats, stop, task }
    }

    fn view(&self) -> MembershipView {
        self.view.lock().expect("no panic").clone()
    }

    fn alive(&self) -> Vec<String> {
        let view = self.view();
        let alive = view.iter().filter(|member| member.alive);
        let mut names: Vec<_> = alive.map(|member| member.name.clone()).collect();
        names.sort();
        names
    }

    fn twins(&self) -> f64 {
        let mut samples = Vec::new();
        self.stats.samples(&mut samples);
        let twins = samples.iter().find(|sample| sample.name() == "starling_gossip_twins_total");
        twins.expect("it is measured").number()
    }

    /// Stops at once, as a crash does.
    fn crash(self) -> SocketAddr {
        self.task.abort();
        self.addr
    }
}

/// Binds, if need be after the task that had the port has ended.
async fn bind(addr: SocketAddr) -> UdpSocket {
    let begun = Instant::now();
    loop {
        match UdpSocket::bind(addr).await {
            Ok(socket) => return socket,
            Err(error) => assert!(begun.elapsed() < PATIENCE, "{error}"),
        }
        sleep(Duration::from_millis(5)).await;
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn members_meet_tell_of_themselves_and_of_their_layout() {
    for key in [Some(KEY), None] {
        let ada = Node::new("ada", key, &[]).await;
        let bob = Node::new("bob", key, &[ada.addr]).await;
        let cy = Node::new("cy", key, &[ada.addr]).await;
        for node in [&ada, &bob, &cy] {
            until("all meet", || node.alive() == ["ada", "bob", "cy"]).await;
        }
        bob.layout.set(LayoutId(0xabc));
        for node in [&ada, &bob, &cy] {
            until("the layout is known", || {
                let view = node.view();
                view.get(NodeId::of_name("bob")).is_some_and(|bob| bob.layout == LayoutId(0xabc))
            })
            .await;
        }
        let view = cy.view();
        let ada = view.get(NodeId::of_name("ada")).expect("it is a member");
        assert_eq!((ada.zone.as_str(), ada.capacity, ada.generation), ("z", 2, 1));
        assert_eq!(
            (ada.peer_addr.as_str(), ada.http_addr.as_str()),
            ("127.0.0.1:1", "127.0.0.1:2")
        );
        bob.stop.send_replace(true);
        assert!(timeout(PATIENCE, bob.task).await.expect("it stops").expect("no panic").is_ok());
    }
}

#[tokio::test]
async fn a_dead_member_is_noticed_and_its_next_life_leaves_no_twin() {
    let ada = Node::new("ada", Some(KEY), &[]).await;
    let bob = Node::new("bob", Some(KEY), &[ada.addr]).await;
    until("both meet", || ada.alive() == ["ada", "bob"]).await;
    let addr = bob.crash();
    until("its silence is noticed", || ada.alive() == ["ada"]).await;
    assert_eq!(ada.view().iter().count(), 2, "it stays known");
    let bob = Node::with("bob", 2, Some(KEY), addr, &[ada.addr]).await;
    until("it is back", || ada.alive() == ["ada", "bob"] && bob.alive() == ["ada", "bob"]).await;
    let view = ada.view();
    assert_eq!(view.iter().count(), 2);
    assert_eq!(view.get(NodeId::of_name("bob")).map(|bob| bob.generation), Some(2));
}

#[tokio::test]
async fn a_member_that_stays_dead_is_forgotten() {
    let any = "127.0.0.1:0".parse().expect("an address");
    let grace = Duration::from_secs(2);
    let ada = Node::with_grace("ada", 1, Some(KEY), any, &[], grace).await;
    let bob = Node::with_grace("bob", 1, Some(KEY), any, &[ada.addr], grace).await;
    let cy = Node::with_grace("cy", 1, Some(KEY), any, &[ada.addr], grace).await;
    until("all meet", || ada.alive().len() == 3 && cy.alive().len() == 3).await;
    bob.crash();
    until("both forget", || [&ada, &cy].iter().all(|node| node.view().iter().count() == 2)).await;
    sleep(grace).await;
    assert_eq!(ada.view().iter().count(), 2, "and do not tell each other of it again");
}

#[tokio::test]
async fn two_live_nodes_of_one_name_are_counted_and_a_restart_is_not() {
    let any = "127.0.0.1:0".parse().expect("an address");
    let ada = Node::new("ada", Some(KEY), &[]).await;
    let bob = Node::with("bob", 1, Some(KEY), any, &[ada.addr]).await;
    until("both meet", || ada.alive() == ["ada", "bob"]).await;
    let addr = bob.crash();
    let bob = Node::with("bob", 2, Some(KEY), addr, &[ada.addr]).await;
    until("it is back", || bob.alive() == ["ada", "bob"]).await;
    sleep(INTERVAL * 60).await;
    assert_eq!(ada.twins(), 0.0);
    let _twin = Node::with("bob", 7, Some(KEY), any, &[ada.addr]).await;
    until("all notice", || ada.twins() == 1.0 && bob.twins() == 1.0).await;
    assert_eq!(ada.view().iter().count(), 2, "one of them stands for both");
}

#[tokio::test]
async fn a_node_that_lost_its_count_of_starts_is_heard_all_the_same() {
    let ada = Node::new("ada", Some(KEY), &[]).await;
    let bob =
        Node::with("bob", 900, Some(KEY), "127.0.0.1:0".parse().expect("an address"), &[ada.addr])
            .await;
    until("both meet", || ada.alive() == ["ada", "bob"]).await;
    let addr = bob.crash();
    let _bob = Node::with("bob", 5, Some(KEY), addr, &[ada.addr]).await;
    until("the living life stands before the dead one", || {
        let view = ada.view();
        view.get(NodeId::of_name("bob")).is_some_and(|bob| bob.generation == 5 && bob.alive)
    })
    .await;
}

#[tokio::test]
async fn another_key_or_none_or_junk_keeps_a_node_out() {
    let ada = Node::new("ada", Some(KEY), &[]).await;
    let bob = Node::new("bob", Some(KEY), &[ada.addr]).await;
    let eve = Node::new("eve", Some(OTHER_KEY), &[ada.addr, bob.addr]).await;
    let mallory = Node::new("mallory", None, &[ada.addr, bob.addr]).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    for length in 0..200 {
        let junk = vec![1; length * 7];
        socket.send_to(&junk, ada.addr).await.expect("it is sent");
    }
    until("friends meet", || ada.alive() == ["ada", "bob"] && bob.alive() == ["ada", "bob"]).await;
    until("the rest is counted", || ada.stats.seal.refused.load(Ordering::Relaxed) >= 200).await;
    sleep(INTERVAL * 10).await;
    assert_eq!(
        (ada.alive(), bob.alive()),
        (vec!["ada".into(), "bob".into()], vec!["ada".into(), "bob".into()])
    );
    assert_eq!(
        (eve.alive(), mallory.alive()),
        (vec!["eve".to_owned()], vec!["mallory".to_owned()])
    );
}

async fn sealed(key: &Key) -> (Box<dyn Socket>, SocketAddr, Arc<SealStats>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    let addr = socket.local_addr().expect("it is bound");
    let stats = Arc::new(SealStats::default());
    let socket = Sealed::new(socket, key, "test", &stats).open(addr).await.expect("it opens");
    (socket, addr, stats)
}

fn hello(text: &str) -> ChitchatMessage {
    ChitchatMessage::Syn { cluster_id: text.into(), digest: Default::default() }
}

/// The next message, if one comes soon.
async fn soon(socket: &mut Box<dyn Socket>) -> Option<ChitchatMessage> {
    let received = timeout(Duration::from_millis(200), socket.recv()).await;
    received.ok().map(|received| received.expect("the socket works").1)
}

#[tokio::test]
async fn a_replayed_datagram_is_refused_in_this_life_and_in_the_next() {
    let (mut ada, _, _) = sealed(&KEY).await;
    let (mut bob, bob_addr, stats) = sealed(&KEY).await;
    let relay = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    let relay_addr = relay.local_addr().expect("it is bound");
    let mut buffer = vec![0; 65_536];
    ada.send(relay_addr, hello("first")).await.expect("it is sent");
    let (count, ada_addr) = relay.recv_from(&mut buffer).await.expect("it comes");
    relay.send_to(&buffer[..count], bob_addr).await.expect("it is sent");
    assert_eq!(soon(&mut bob).await, None, "bob's session is not known yet");
    let (count, _) = relay.recv_from(&mut buffer).await.expect("bob tells it");
    relay.send_to(&buffer[..count], ada_addr).await.expect("it is sent");
    assert_eq!(soon(&mut ada).await, None, "ada only learns from it, and says it again");
    relay.recv_from(&mut buffer).await.expect("it comes, and goes no further");
    ada.send(relay_addr, hello("second")).await.expect("it is sent");
    let (count, _) = relay.recv_from(&mut buffer).await.expect("it comes");
    for _ in 0..3 {
        relay.send_to(&buffer[..count], bob_addr).await.expect("it is sent");
    }
    assert_eq!(soon(&mut bob).await, Some(hello("second")));
    assert_eq!(soon(&mut bob).await, None, "once is enough");
    assert_eq!(stats.refused.load(Ordering::Relaxed), 2);
    let (mut next_life, next_addr, _) = sealed(&KEY).await;
    relay.send_to(&buffer[..count], next_addr).await.expect("it is sent");
    assert_eq!(soon(&mut next_life).await, None, "it was meant for another life");
}

#[tokio::test]
async fn what_a_node_just_started_is_told_first_it_hears_without_waiting_for_a_round() {
    let (mut ada, ada_addr, _) = sealed(&KEY).await;
    let (mut bob, bob_addr, _) = sealed(&KEY).await;
    for text in ["first", "second"] {
        ada.send(bob_addr, hello(text)).await.expect("it is sent");
    }
    assert_eq!(soon(&mut bob).await, None, "ada does not know bob's session");
    assert_eq!(soon(&mut ada).await, None, "ada learns it and says both again");
    assert_eq!(soon(&mut bob).await, Some(hello("first")));
    assert_eq!(soon(&mut bob).await, Some(hello("second")));
    assert_eq!(soon(&mut bob).await, None, "and once only");
    bob.send(ada_addr, hello("answer")).await.expect("it is sent");
    assert_eq!(soon(&mut ada).await, Some(hello("answer")), "bob has learned ada's by that");
}

#[tokio::test]
async fn a_message_as_long_as_a_datagram_arrives_despite_its_seal() {
    let (mut ada, ada_addr, _) = sealed(&KEY).await;
    let (mut bob, bob_addr, _) = sealed(&KEY).await;
    ada.send(bob_addr, hello("first")).await.expect("it is sent");
    assert_eq!(soon(&mut bob).await, None);
    assert_eq!(soon(&mut ada).await, None);
    assert_eq!(soon(&mut bob).await, Some(hello("first")));
    let long = "x".repeat(65_400);
    ada.send(bob_addr, hello(&long)).await.expect("it is sent");
    let (from, message) = timeout(PATIENCE, bob.recv()).await.expect("it comes").expect("it works");
    assert_eq!((from, message), (ada_addr, hello(&long)));
}
