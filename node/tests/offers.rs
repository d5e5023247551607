//! A member without a layout is told of it by a few others, however many there are, and by
//! others when these cannot reach it.

use starling_node::cluster::{Member, MembershipView, View};
use starling_node::crdt::NodeId;
use starling_node::placement::LayoutId;
use std::collections::BTreeSet;

const ROUNDS: u64 = 40;

fn id(member: usize) -> NodeId {
    NodeId::of_name(&format!("n{member}"))
}

/// As `me` sees `count` members, of which `strangers` have no layout.
fn view(me: usize, count: usize, strangers: &BTreeSet<usize>) -> View {
    let member = |at: usize| Member {
        id: id(at),
        name: format!("n{at}"),
        zone: "z".into(),
        capacity: 1,
        peer_addr: String::new(),
        http_addr: String::new(),
        generation: 1,
        alive: true,
        layout: LayoutId(u64::from(!strangers.contains(&at))),
    };
    View { members: MembershipView::new((0..count).map(member).collect()), ..View::new(id(me)) }
}

/// Who tells `stranger` in that round.
fn tellers(count: usize, strangers: &BTreeSet<usize>, stranger: usize, round: u64) -> Vec<usize> {
    let tells = |me: &usize| view(*me, count, strangers).told_in(round).contains(&id(stranger));
    (0..count).filter(|me| !strangers.contains(me)).filter(tells).collect()
}

#[test]
fn a_few_tell_a_stranger_and_in_time_everybody_does() {
    for count in [2, 3, 5, 6, 30, 100] {
        let strangers = BTreeSet::from([count / 2]);
        let mut all = BTreeSet::new();
        for round in 0..ROUNDS {
            let told_by = tellers(count, &strangers, count / 2, round);
            assert_eq!(told_by.len(), (count - 1).min(4), "{count} in round {round}: {told_by:?}");
            all.extend(told_by);
        }
        assert_eq!(all.len(), count - 1, "of {count}");
    }
}

#[test]
fn one_that_knows_tells_all_in_turn_and_many_that_know_share_it() {
    let count = 300;
    let only = 7;
    let strangers: BTreeSet<usize> = (0..count).filter(|at| *at != only).collect();
    let one = view(only, count, &strangers);
    let mut told = BTreeSet::new();
    for round in 0..ROUNDS {
        let now = one.told_in(round);
        assert!(now.len() <= 64 && now.len() == now.iter().collect::<BTreeSet<_>>().len());
        told.extend(now);
    }
    assert_eq!(told.len(), count - 1);

    let strangers: BTreeSet<usize> = (0..count / 2).collect();
    let most = (count / 2..count).map(|me| view(me, count, &strangers).told_in(1).len()).max();
    let sum: usize =
        (count / 2..count).map(|me| view(me, count, &strangers).told_in(1).len()).sum();
    assert_eq!(sum, 4 * strangers.len());
    assert!(most < Some(64), "{most:?}");
}
