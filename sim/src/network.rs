//! Decides when a message arrives, how often, or that it does not.
//!
//! Peer connections keep their order unless a fault reorders; gossip datagrams never promise one.

use crate::random::Rng;
use rand::Rng as _;

/// What faults do to one direction between two nodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Link {
    /// Nothing passes.
    pub cut: bool,
    /// Of 1,000 messages, how many are lost.
    pub loss_permille: u32,
    /// Of 1,000 messages, how many arrive twice.
    pub duplicate_permille: u32,
    /// Of 1,000 messages, how many arrive with a bit flipped.
    pub corrupt_permille: u32,
    /// Added to each message's time at most, microseconds.
    pub delay_us: u64,
    /// Later messages may overtake.
    pub reorder: bool,
    /// Bytes a second that pass; more wait for their turn.
    pub bytes_per_s: Option<u64>,
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
    /// How many times its least time a message may take longer.
    spread: u64,
    /// When the last byte sent will have left a slow link, by (from, to), microseconds.
    busy_us: Vec<Vec<u64>>,
}

/// What waits longer for its turn on a slow link than that is dropped, microseconds.
const QUEUE_MAX_US: u64 = 2_000_000;

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
        let none = vec![vec![0; nodes]; nodes];
        Network { rng, last_us: none.clone(), base_us, spread: 1, busy_us: none }
    }

    /// A network whose messages take between 0.5 and 1.5 times `mean_us`, which is by (from, to),
    /// microseconds.
    pub fn of_means(rng: Rng, mean_us: &[Vec<u64>]) -> Self {
        let none = vec![vec![0; mean_us.len()]; mean_us.len()];
        let half = |row: &Vec<u64>| row.iter().map(|mean| mean / 2).collect();
        let base_us = mean_us.iter().map(half).collect();
        Network { rng, last_us: none.clone(), base_us, spread: 2, busy_us: none }
    }

    /// Which bit of a message of `bytes` bytes is flipped on its way, if one is.
    pub fn flips(&mut self, bytes: usize, link: &Link) -> Option<(usize, u8)> {
        if link.corrupt_permille == 0 || self.rng.random_range(0..1_000) >= link.corrupt_permille {
            return None;
        }
        Some((self.rng.random_range(0..bytes.max(1)), self.rng.random_range(0..8)))
    }

    /// Arrival times of a message of `bytes` bytes sent at `now_us`: none, one or two.
    pub fn route(
        &mut self,
        now_us: u64,
        (from, to): (usize, usize),
        bytes: usize,
        link: &Link,
        kind: Kind,
    ) -> Arrivals {
        let mut arrivals = Arrivals::default();
        if link.cut || self.rng.random_range(0..1_000) < link.loss_permille {
            return arrivals;
        }
        let mut now_us = now_us;
        if let Some(bytes_per_s) = link.bytes_per_s {
            let busy_us = &mut self.busy_us[from][to];
            let leaves_us = now_us.max(*busy_us) + bytes as u64 * 1_000_000 / bytes_per_s.max(1);
            if leaves_us > now_us + QUEUE_MAX_US {
                return arrivals;
            }
            *busy_us = leaves_us;
            now_us = leaves_us;
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
        let mut at = now_us + base + self.rng.random_range(0..=base * self.spread);
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
