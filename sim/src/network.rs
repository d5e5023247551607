//! Decides when a message arrives, how often, or that it does not.
//!
//! Peer connections keep their order unless a fault reorders; gossip datagrams never promise one.

use crate::random::Rng;
use rand::Rng as _;

/// What faults do to one direction between two nodes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Link {
    /// Nothing passes.
    pub cut: bool,
    /// Of 1,000 messages, how many are lost.
    pub loss_permille: u32,
    /// Of 1,000 messages, how many arrive twice.
    pub duplicate_permille: u32,
    /// Added to each message's time at most, microseconds.
    pub delay_us: u64,
    /// Later messages may overtake.
    pub reorder: bool,
}

/// Whether a message has its place in a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// One of a connection between peers.
    Stream,
    /// By itself.
    Datagram,
}

/// All links with their own delays.
pub struct Network {
    rng: Rng,
    /// Time of the last arrival of a stream by (from, to), microseconds.
    last_us: Vec<Vec<u64>>,
    /// Least time between two nodes by (from, to), microseconds.
    base_us: Vec<Vec<u64>>,
}

impl Network {
    /// A network among nodes in `zones`: quick within one, slower between them.
    pub fn draw(mut rng: Rng, zones: &[usize]) -> Self {
        let nodes = zones.len();
        let mut base = |from: usize, to: usize| match zones[from] == zones[to] {
            true => rng.random_range(100..400),
            false => rng.random_range(400..3_000),
        };
        let base_us =
            (0..nodes).map(|from| (0..nodes).map(|to| base(from, to)).collect()).collect();
        Network { rng, last_us: vec![vec![0; nodes]; nodes], base_us }
    }

    /// Arrival times of a message sent at `now_us`: none, one or two.
    pub fn route(
        &mut self,
        now_us: u64,
        (from, to): (usize, usize),
        link: &Link,
        kind: Kind,
    ) -> Arrivals {
        let mut arrivals = Arrivals::default();
        if link.cut || self.rng.random_range(0..1_000) < link.loss_permille {
            return arrivals;
        }
        let first = self.arrival(now_us, (from, to), link, kind);
        arrivals.at_us[0] = Some(first);
        if self.rng.random_range(0..1_000) < link.duplicate_permille {
            let late_us = self.rng.random_range(0..200_000);
            arrivals.at_us[1] = Some(first + late_us);
        }
        arrivals
    }

    fn arrival(&mut self, now_us: u64, (from, to): (usize, usize), link: &Link, kind: Kind) -> u64 {
        let base = self.base_us[from][to];
        let mut at = now_us + base + self.rng.random_range(0..=base);
        if link.delay_us > 0 {
            at += self.rng.random_range(0..=link.delay_us);
        }
        if link.reorder {
            at += self.rng.random_range(0..50_000);
        } else if kind == Kind::Stream {
            let last = &mut self.last_us[from][to];
            at = at.max(*last + 1);
            *last = at;
        }
        at
    }
}

/// When one message arrives.
#[derive(Clone, Copy, Debug, Default)]
pub struct Arrivals {
    at_us: [Option<u64>; 2],
}

impl Arrivals {
    /// The times, microseconds.
    pub fn iter(&self) -> impl Iterator<Item = u64> {
        self.at_us.into_iter().flatten()
    }
}
