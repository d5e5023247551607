//! What `plan` says, against the real core, the real gossip and the real placement.

use starling_node::cluster::{Member, MembershipView};
use starling_node::config::Config;
use starling_node::core::{Core, Input, Outbox, Output, Time};
use starling_node::crdt::NodeId;
use starling_node::placement::{Layout, LayoutId};
use starling_node::store::memory::MemoryStore;
use starling_node::wire::api::{Request, RequestId};
use starling_node::wire::peer::{PeerBody, PeerMessage};
use starling_sim::plan::{exchange, gossip, hints, ring};
use std::process::{Command, Stdio};

#[test]
fn the_debt_of_an_outage_is_what_real_cores_owe() {
    for nodes in [3, 5, 9] {
        let tried = hints::try_outage(nodes, 3, 1).unwrap();
        let off = (tried.marks as f64 - tried.expected).abs();
        assert!(off <= 3.0 * tried.deviation, "{nodes} nodes: {tried:?}");
        assert!(tried.marks > 20 && tried.mark_bytes > 10.0, "{nodes} nodes: {tried:?}");
    }
}

#[test]
fn hot_rows_are_owed_once() {
    let load = |zipf, writes| hints::Load { rows: 1_000, zipf, writes };
    let even = hints::expected_marks(&load(0.0, 1e3), 1.0, 1.0);
    assert!((even - 1_000.0 * (1.0 - (-1.0f64).exp())).abs() < 1.0, "{even}");
    assert!(hints::expected_marks(&load(1.0, 1e3), 1.0, 1.0) < even);
    let all = hints::expected_marks(&load(0.0, 1e9), 0.25, 1.0);
    assert!((all - 250.0).abs() < 1e-6, "{all}");
}

/// A core that has met two others and formed a layout with them.
fn core_of_three() -> (Core<MemoryStore>, Layout) {
    let time = |mono_us| Time { mono_us, wall_ms: 1_800_000_000_000 };
    let mut core = Core::open(Config::new("n0"), MemoryStore::new(), time(0), 1).unwrap();
    let member = |node: usize, layout| Member {
        id: NodeId::of_name(&format!("n{node}")),
        name: format!("n{node}"),
        zone: format!("z{node}"),
        capacity: 1,
        peer_addr: String::new(),
        http_addr: String::new(),
        generation: 1,
        alive: true,
        layout,
    };
    let mut out = Outbox::new();
    let view = |layout| MembershipView::new((0..3).map(|node| member(node, layout)).collect());
    core.step(time(1), Input::Members(view(LayoutId::NONE)), &mut out);
    core.step(
        time(2),
        Input::Client(RequestId(1), Request::FormLayout { expect_members: 3 }),
        &mut out,
    );
    let layout = Layout::clone(core.layout().unwrap());
    core.step(time(3), Input::Members(view(layout.id())), &mut out);
    (core, layout)
}

#[test]
fn roots_are_those_that_a_real_core_sends() {
    let (mut core, layout) = core_of_three();
    let mut out = Outbox::new();
    let due = Time { mono_us: 2_000_000, wall_ms: 1_800_000_002_000 };
    let me = NodeId::of_name("n0");
    // Peers whose summaries differ are answered with the roots.
    for peer in layout.members.iter().map(|member| member.id).filter(|id| *id != me) {
        let message = PeerMessage { layout: layout.id(), body: PeerBody::Summary(1) };
        core.step(due, Input::Peer(peer, message), &mut out);
    }
    let mut seen = 0;
    for output in &out {
        if let Output::Send(to, message) = output
            && let PeerBody::Roots(roots) = &message.body
        {
            seen += 1;
            assert_eq!(*roots, exchange::roots(&layout, me, *to, 3, 0));
        }
    }
    assert_eq!(seen, 2, "one round with each of two peers");
}

#[test]
fn a_change_reaches_all_and_costs_more_with_more_nodes() {
    let costs = [3, 9, 20].map(|nodes| gossip::measure(nodes, 1).unwrap());
    assert!(costs.windows(2).all(|pair| pair[0].node_bytes_s < pair[1].node_bytes_s));
    assert!(costs.iter().all(|cost| cost.rounds >= 1.0 && cost.rounds < 10.0), "{costs:?}");
    assert_eq!(gossip::measure(9, 1).unwrap(), costs[1], "one seed gives one answer");
    assert_eq!(gossip::line(&[(1.0, 3.0), (2.0, 5.0), (4.0, 9.0)]), (1.0, 2.0));
}

#[test]
fn moves_are_never_fewer_than_they_can_be() {
    for (nodes, capacities) in [(3, vec![1]), (9, vec![1]), (12, vec![1, 2])] {
        let layout = |nodes| Layout::first(ring::members(nodes, 3, &capacities));
        let (few, many) = (layout(nodes), layout(nodes + 1));
        let balance = ring::balance(&few, 3);
        assert!(balance.most >= 1.0 && balance.least <= 1.0, "{balance:?}");
        assert_eq!(balance.zones_distinct, 1.0);
        for moves in [ring::moves(&few, &many, 3), ring::moves(&many, &few, 3)] {
            assert!(moves.least > 0.0 && moves.anew <= 1.0, "{moves:?}");
        }
        assert_eq!(ring::moves(&few, &few, 3).anew, 0.0);
        let owned: u32 = ring::owned(&few, 3).values().sum();
        assert_eq!(owned, 3 * 1_024);
    }
}

#[test]
fn an_impossible_size_is_wrong_usage() {
    for (arguments, named) in [
        ("plan --nodes 2", "--n 3"),
        ("plan --nodes 3,2000", "--nodes"),
        ("plan --zones 9 --nodes 3", "--zones 9"),
        ("plan --capacities 0", "--capacities"),
        ("plan --gossip-upto 3", "--gossip-upto"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_starling-sim"));
        let output = command.args(arguments.split(' ')).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments}: {text}");
        assert!(text.contains(named), "{arguments}: {text}");
    }
}

#[test]
fn a_reader_that_stops_reading_ends_the_program_without_a_word() {
    for more in [&[][..], &["--json"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_starling-sim"));
        command.args(["run", "--seed", "1", "--seconds", "2"]).args(more);
        let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        drop(child.stdout.take());
        let ended = child.wait_with_output().unwrap();
        assert_eq!(ended.status.code(), Some(141), "{more:?}");
        assert_eq!(String::from_utf8_lossy(&ended.stderr), "", "{more:?}");
    }
}
