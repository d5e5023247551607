//! Computes the partition table: zones distinct where possible, then even shares.
//!
//! Greedy by rank: first every partition gets its first node, then every partition its second, and
//! so on, so that the table is balanced for each number of replicas. At each choice the node wins
//! whose zone the partition does not have yet, then the one with the least load for its capacity,
//! then the one with the higher hash of (node, partition) (Thaler and Ravishankar, "Using
//! name-based mappings to increase hit rates", 1998, for the tie-break).

use super::layout::LayoutMember;
use super::{N_MAX, PARTITIONS};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Ranks in the table beyond the most owners there can be: so many stand-ins are spread evenly.
const STAND_INS: usize = 3;

/// How many nodes a partition lists.
pub(super) fn depth(members: usize) -> usize {
    members.min(usize::from(N_MAX) + STAND_INS)
}

/// For each partition, places in `members` in order of preference. Depends on nothing else.
pub(super) fn assign(members: &[LayoutMember]) -> Vec<Vec<u16>> {
    let depth = depth(members.len());
    let mut table = vec![Vec::with_capacity(depth); usize::from(PARTITIONS)];
    let mut load = vec![0u64; members.len()];
    for _rank in 0..depth {
        for partition in 0..PARTITIONS {
            let list = &mut table[usize::from(partition)];
            let place = choose(members, list, &load, partition);
            load[place] += 1;
            list.push(place as u16);
        }
    }
    table
}

fn choose(members: &[LayoutMember], list: &[u16], load: &[u64], partition: u16) -> usize {
    let taken = |place: usize| list.iter().any(|at| usize::from(*at) == place);
    let zone_used =
        |place: usize| list.iter().any(|at| members[usize::from(*at)].zone == members[place].zone);
    // Loads are compared as fractions of capacity without division: cross-multiplied by the
    // product of all capacities would overflow, so scaled to a fixed point.
    let share = |place: usize| (load[place] << 20) / u64::from(members[place].capacity);
    let tie = |place: usize| xxh3_64_with_seed(&partition.to_le_bytes(), members[place].id.0);
    (0..members.len())
        .filter(|place| !taken(*place))
        .min_by_key(|place| (zone_used(*place), share(*place), std::cmp::Reverse(tie(*place))))
        .expect("the depth is at most the number of members")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crdt::NodeId;
    use crate::placement::Layout;

    fn members(zones: &[&str]) -> Vec<LayoutMember> {
        let member = |(at, zone): (usize, &&str)| {
            let name = format!("n{at}");
            LayoutMember { id: NodeId::of_name(&name), name, zone: zone.to_string(), capacity: 1 }
        };
        zones.iter().enumerate().map(member).collect()
    }

    #[test]
    fn shares_are_even_within_three_percent_for_every_replication_factor() {
        for count in [2, 3, 5, 8, 30] {
            let layout = Layout::first(members(&vec!["z"; count]));
            for n in 1..=N_MAX.min(count as u8) {
                let ideal = f64::from(PARTITIONS) * f64::from(n) / count as f64;
                for member in &layout.members {
                    let owned = f64::from(layout.owned_count(member.id, n));
                    // One partition more or less is as even as whole partitions can be.
                    let slack = (ideal * 0.03).max(2.0);
                    assert!(
                        (owned - ideal).abs() <= slack,
                        "{count} nodes n={n}: {owned}, {ideal}"
                    );
                }
            }
        }
    }

    #[test]
    fn owners_are_in_distinct_zones_where_zones_suffice() {
        let layout = Layout::first(members(&["a", "a", "b", "b", "c", "c"]));
        for partition in 0..PARTITIONS {
            let list = layout.preference(partition, 3);
            let mut zones: Vec<_> =
                list.owners().iter().map(|id| &layout.member(*id).unwrap().zone).collect();
            zones.sort();
            zones.dedup();
            assert_eq!(zones.len(), 3);
        }
    }

    #[test]
    fn capacity_decides_the_share() {
        let mut five = members(&["z"; 5]);
        five[0].capacity = 2;
        let layout = Layout::first(five.clone());
        let owned = layout.owned_count(five[0].id, 1);
        let ideal = f64::from(PARTITIONS) * 2.0 / 6.0;
        assert!((f64::from(owned) - ideal).abs() <= ideal * 0.03, "{owned} of {ideal}");
    }

    #[test]
    fn the_same_members_in_any_order_make_the_same_layout() {
        let mut reversed = members(&["a", "b", "c", "a"]);
        reversed.reverse();
        let layout = Layout::first(reversed);
        assert_eq!(layout, Layout::first(members(&["a", "b", "c", "a"])));
        assert!(layout.is_valid());
        assert_ne!(layout.id(), Layout::first(members(&["a", "b", "c"])).id());
    }

    #[test]
    fn a_preference_list_names_every_member_once_owners_first() {
        let layout = Layout::first(members(&["z"; 14]));
        let list = layout.preference(7, 3);
        let mut ids = list.nodes.clone();
        ids.sort();
        ids.dedup();
        assert_eq!((ids.len(), list.owners().len(), list.stand_ins().len()), (14, 3, 11));
        for id in list.owners() {
            assert!(layout.owns(*id, 7, 3));
        }
    }
}
