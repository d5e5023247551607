//! Predicts one trial: the WARS model of Bailis et al., "Probabilistically Bounded Staleness for
//! Practical Partial Quorums" (VLDB 2012, section 4), with the paths that a coordinator takes here.
//!
//! A write goes to one replica first, whose answer carries the delta to the others; a replica
//! acknowledges after its group commit. A read asks the first R replicas of the preference list,
//! the coordinator before all others when it is one, and one more each time the hedge passes.
//! Left out: marks for owners that stay silent for half a second after the answer, answers of
//! stand-ins to reads, hedges while a read fetches states, and what a deadline ends.

use super::draws::Draws;
use super::shape::{Leg, Shape};
use starling_node::config::Durability;

/// What one trial came to, µs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trial {
    /// A read that begins so long after the write was acknowledged, or later, returns it.
    pub visible_us: u64,
    /// Until the write was acknowledged.
    pub write_us: u64,
    /// Until the read was answered, begun when the write was acknowledged.
    pub read_us: u64,
}

/// When each node has the write, and when the client is told, both from the start of the write.
struct Written {
    has_us: Vec<u64>,
    commit_us: u64,
}

/// A replica that a read asked, times from the start of the read.
#[derive(Clone, Copy)]
struct Asked {
    node: usize,
    /// When the question is there: what it finds then, it answers.
    looks_us: u64,
    answers_us: u64,
    full: bool,
}

/// Predicts a trial from its draws.
pub fn predict(shape: &Shape, draws: &Draws) -> Trial {
    let (key, writer, reader) = draws.roles(shape);
    let list = &shape.lists[key];
    let written = write(shape, draws, list, writer);
    let (visible_us, read_us) = read(shape, draws, list, reader, &written);
    Trial { visible_us, write_us: written.commit_us, read_us }
}

fn write(shape: &Shape, draws: &Draws, list: &[usize], from: usize) -> Written {
    let (owners, stand_ins) = list.split_at(shape.n);
    let leg = |leg, a, b, nth| draws.leg_us(shape, leg, a, b, nth);
    let batched = shape.durability == Durability::Batched;
    let applier = if owners.contains(&from) { from } else { owners[0] };
    let mut has_us = vec![u64::MAX; shape.nodes];
    has_us[applier] = leg(Leg::Write, from, applier, 0);
    let applied_us = has_us[applier] + leg(Leg::Ack, applier, from, 0);
    let mut join = |node: usize, sent_us: u64| {
        has_us[node] = sent_us + leg(Leg::Write, from, node, 0);
        let sync_us = if batched { 0 } else { draws.sync_us(shape, node, 0) };
        has_us[node] + sync_us + leg(Leg::Ack, node, from, 0)
    };
    let mut acks_us: Vec<u64> = owners
        .iter()
        .map(|owner| if *owner == applier { 0 } else { join(*owner, applied_us) })
        .collect();
    let durable_us = has_us[applier] + draws.sync_us(shape, applier, 0);
    let own = owners.iter().position(|owner| *owner == applier).expect("it is an owner");
    acks_us[own] = match batched {
        true => applied_us,
        // Two messages on one connection keep their order.
        false => applied_us.max(durable_us + leg(Leg::Ack, applier, from, 1)),
    };
    // Owners that are slow get stand-ins, as far as there are any.
    let hedge_us = applied_us + shape.hedge_us;
    if nth_smallest(&acks_us, shape.w) > hedge_us {
        let slow = owners.iter().zip(&mut acks_us).filter(|(_, ack_us)| **ack_us > hedge_us);
        for ((owner, ack_us), stand_in) in slow.zip(stand_ins) {
            let there_us = hedge_us + leg(Leg::Write, from, *stand_in, 0);
            let sync_us = if batched { 0 } else { draws.sync_us(shape, *stand_in, 0) };
            *ack_us = (*ack_us).min(there_us + sync_us + leg(Leg::Ack, *stand_in, from, 0));
            // Its hint is sent on at once and may be there before the write itself.
            let hint_us = there_us + leg(Leg::Other, *stand_in, *owner, 0);
            has_us[*owner] = has_us[*owner].min(hint_us);
        }
    }
    Written { has_us, commit_us: nth_smallest(&acks_us, shape.w) }
}

/// When the read returns the write, and how long it takes at once after it.
fn read(
    shape: &Shape,
    draws: &Draws,
    list: &[usize],
    from: usize,
    written: &Written,
) -> (u64, u64) {
    let leg = |leg, a, b, nth| draws.leg_us(shape, leg, a, b, nth);
    let mut owners = list[..shape.n].to_vec();
    owners.sort_by_key(|owner| *owner != from);
    let ask = |node: usize, at_us: u64, full: bool| {
        let looks_us = at_us + leg(Leg::Read, from, node, 0);
        Asked { node, looks_us, answers_us: looks_us + leg(Leg::Answer, node, from, 0), full }
    };
    let first = owners.iter().take(shape.r).enumerate();
    let mut asked: Vec<Asked> = first.map(|(rank, node)| ask(*node, 0, rank == 0)).collect();
    let enough = |asked: &[Asked]| {
        let times: Vec<u64> = asked.iter().map(|asked| asked.answers_us).collect();
        nth_smallest(&times, shape.r)
    };
    for (hedge, node) in owners[shape.r..].iter().enumerate() {
        let at_us = (hedge as u64 + 1) * shape.hedge_us;
        if enough(&asked) <= at_us {
            break;
        }
        let full = asked.iter().any(|asked| asked.full && asked.answers_us <= at_us);
        asked.push(ask(*node, at_us, !full));
    }
    let done_us = enough(&asked);
    let mut counted: Vec<Asked> =
        asked.iter().filter(|asked| asked.answers_us <= done_us).copied().collect();
    let mut read_us = done_us;
    if !counted.iter().any(|asked| asked.full) {
        // Digests alone: one state is fetched, unless one that was asked for comes before.
        counted.sort_by_key(|asked| Shape::id(asked.node));
        let again = again(shape, draws, from, counted[0].node, done_us);
        let slow = asked.iter().filter(|asked| asked.full && asked.answers_us < again.answers_us);
        let state = slow.min_by_key(|asked| asked.answers_us).copied().unwrap_or(again);
        read_us = state.answers_us;
        counted.push(state);
    }
    let late_us = |asked: &Asked| {
        let has_us = written.has_us[asked.node];
        has_us.saturating_sub(written.commit_us + asked.looks_us)
    };
    read_us = read_us.max(equal_us(shape, draws, from, &counted, done_us, late_us));
    (counted.iter().map(late_us).min().expect("R is at least 1"), read_us)
}

/// When the states of replicas that differ are there: those that gave a digest are asked again,
/// until all states have come or the answers have become equal.
fn equal_us(
    shape: &Shape,
    draws: &Draws,
    from: usize,
    counted: &[Asked],
    done_us: u64,
    late_us: impl Fn(&Asked) -> u64,
) -> u64 {
    let mut fresh: Vec<bool> = counted.iter().map(|asked| late_us(asked) == 0).collect();
    let differ = |fresh: &[bool]| fresh.windows(2).any(|pair| pair[0] != pair[1]);
    let digests = counted.iter().enumerate().filter(|(_, asked)| !asked.full);
    let mut states: Vec<(usize, Asked)> =
        digests.map(|(at, asked)| (at, again(shape, draws, from, asked.node, done_us))).collect();
    states.sort_by_key(|(_, state)| state.answers_us);
    let mut at_us = done_us;
    for (at, state) in states {
        if !differ(&fresh) {
            break;
        }
        at_us = state.answers_us;
        fresh[at] = late_us(&state) == 0;
    }
    at_us
}

/// The second question to a node.
fn again(shape: &Shape, draws: &Draws, from: usize, node: usize, at_us: u64) -> Asked {
    let looks_us = at_us + draws.leg_us(shape, Leg::Read, from, node, 1);
    let answers_us = looks_us + draws.leg_us(shape, Leg::Answer, node, from, 1);
    Asked { node, looks_us, answers_us, full: true }
}

fn nth_smallest(times_us: &[u64], nth: usize) -> u64 {
    let mut sorted = times_us.to_vec();
    sorted.sort_unstable();
    sorted[nth - 1]
}
