//! Which nodes belong together in a run's pictures: those that no fault ever cut from each other;
//! where nothing was cut, those that faults hit and the others.

use crate::faults::{self, Plan};
use crate::world::observe::Observed;
use std::collections::BTreeSet;

/// Sides told apart at most.
const SIDES_MAX: usize = 4;

/// Nodes that are told of together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Side {
    /// For people.
    pub name: String,
    /// By place.
    pub nodes: Vec<usize>,
}

/// The sides of a run, one at least.
pub fn of(observed: &Observed) -> Vec<Side> {
    let count = observed.nodes.len();
    let islands = islands(&observed.plan, count);
    let groups = match islands.len() {
        2..=SIDES_MAX => islands,
        _ => hit_and_others(&observed.plan, count),
    };
    let name = |nodes: &Vec<usize>| match nodes.len() == count {
        true => "all nodes".to_string(),
        false => nodes.iter().map(|node| &*observed.nodes[*node]).collect::<Vec<_>>().join(", "),
    };
    groups.into_iter().map(|nodes| Side { name: name(&nodes), nodes }).collect()
}

/// Groups of nodes between which something was cut at some time.
fn islands(plan: &Plan, count: usize) -> Vec<Vec<usize>> {
    let mut cut = vec![vec![false; count]; count];
    for at_ms in faults::moments(plan) {
        let conditions = faults::conditions(plan, count, at_ms);
        for (from, row) in conditions.links.iter().enumerate() {
            for (to, link) in row.iter().enumerate().filter(|(_, link)| link.cut) {
                (cut[from][to], cut[to][from]) = (link.cut, link.cut);
            }
        }
    }
    let mut left: BTreeSet<usize> = (0..count).collect();
    let mut groups = Vec::new();
    while let Some(first) = left.pop_first() {
        let (mut group, mut open) = (vec![first], vec![first]);
        while let Some(node) = open.pop() {
            let near: Vec<usize> =
                left.iter().copied().filter(|other| !cut[node][*other]).collect();
            for other in near {
                left.remove(&other);
                group.push(other);
                open.push(other);
            }
        }
        group.sort_unstable();
        groups.push(group);
    }
    groups
}

fn hit_and_others(plan: &Plan, count: usize) -> Vec<Vec<usize>> {
    let hit: BTreeSet<usize> = plan.iter().flat_map(|one| one.fault.fault().named()).collect();
    if hit.is_empty() || hit.len() >= count {
        return vec![(0..count).collect()];
    }
    let others = (0..count).filter(|node| !hit.contains(node)).collect();
    vec![hit.into_iter().collect(), others]
}
