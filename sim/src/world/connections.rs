//! Connections between nodes as TCP and a node's shell make them, for runs that are held against
//! real processes: what is lost on the way is sent again, later and later; what confirms nothing
//! for seconds ends; and while a peer is out of reach, messages to it are dropped.
//!
//! The times are those of Linux (RFC 6298 with its least timeout of 200 ms) and of
//! `node/src/server/peers`. Without connections a message is lost or not, each by itself, which is
//! harder on nodes and so what sweeps do.

use super::{Event, World};
use crate::network::{Kind, Link};
use crate::random::{Rng, stream};
use rand::Rng as _;
use std::collections::VecDeque;

/// Until what was not confirmed is sent again for the first time, microseconds.
const RETRY_US: u64 = 200_000;
/// A connection that confirms nothing for so long ends, microseconds.
const SILENCE_US: u64 = 4_000_000;
/// Between the first and the second packet of an attempt to connect, microseconds.
const SECOND_TRY_US: u64 = 1_000_000;
/// An attempt to connect is given up after, microseconds.
const ATTEMPT_US: u64 = 2_000_000;
/// The longest pause between attempts, microseconds.
const PAUSE_MAX_US: u64 = 1_000_000;
/// A connection that stood so long was a good one, microseconds.
const STOOD_US: u64 = 5_000_000;
/// An attempt is begun anew when the peer is heard of, but not before that, microseconds.
const HANGS_US: u64 = 200_000;

/// All connections of a run.
pub(super) struct Connections {
    rng: Rng,
    /// By (from, to).
    all: Vec<Vec<Connection>>,
}

/// What one node sends to one other.
#[derive(Default)]
struct Connection {
    state: State,
    /// In order: what has not arrived, and behind it what has and waits.
    waiting: VecDeque<Waiting>,
    /// Messages are dropped.
    out_of_reach: bool,
    failures: u32,
    unconfirmed_us: Option<u64>,
    retry_us: u64,
    /// When the first of what waits is sent again, unless it is confirmed before.
    retry_at_us: u64,
    /// Sent again was sent to no avail: nothing new is before that is confirmed.
    recovering: bool,
    /// Since what was confirmed last it was asked once whether the last of it has arrived.
    probed: bool,
    /// Changes with the state; events of an earlier one are void.
    turn: u64,
    /// Whether an event of this turn is due.
    timed: bool,
    /// Whether gossip calls the peer alive.
    alive: bool,
}

/// A message on a connection.
struct Waiting {
    bytes: Vec<u8>,
    place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Unsent,
    Lost,
    Arrived,
}

#[derive(Clone, Copy, Default)]
enum State {
    /// Nothing happens until the pause is over or the peer is heard of.
    #[default]
    Pausing,
    Dialing {
        since_us: u64,
        /// When it will stand, if that is known.
        stands_us: Option<u64>,
    },
    Standing {
        since_us: u64,
    },
}

impl Connections {
    pub(super) fn new(seed: u64, nodes: usize) -> Connections {
        let row = || (0..nodes).map(|_| Connection::default()).collect();
        Connections { rng: stream(seed, "connections"), all: (0..nodes).map(|_| row()).collect() }
    }
}

impl World {
    /// Sends a message over the connection, if there is one or may soon be.
    pub(super) fn send_over(&mut self, from: usize, to: usize, bytes: Vec<u8>) {
        let one = self.connection(from, to);
        if one.out_of_reach {
            return self.findings.count("messages_lost", 1);
        }
        one.waiting.push_back(Waiting { bytes, place: Place::Unsent });
        if !one.recovering && matches!(one.state, State::Standing { .. }) {
            self.transmit(from, to, true);
        }
    }

    /// A node's view of who is alive has changed: those that are back are tried at once.
    pub(super) fn hear(&mut self, node: usize) {
        if self.connections.is_none() {
            return;
        }
        for peer in (0..self.nodes.len()).filter(|peer| *peer != node) {
            let alive = self.nodes[node].hears(self.nodes[peer].id());
            let before = std::mem::replace(&mut self.connection(node, peer).alive, alive);
            if alive && !before {
                self.is_back(node, peer);
            }
        }
    }

    /// A process has ended, and its connections with it; the others are told where they can be.
    pub(super) fn hang_up(&mut self, node: usize) {
        if self.connections.is_none() {
            return;
        }
        for peer in (0..self.nodes.len()).filter(|peer| *peer != node) {
            let turn = self.connection(node, peer).turn + 1;
            *self.connection(node, peer) = Connection { turn, ..Connection::default() };
            let stands = matches!(self.connection(peer, node).state, State::Standing { .. });
            if stands && self.nodes[peer].is_up() && self.passes_both(peer, node) {
                self.end(peer, node);
            }
        }
    }

    /// The time has come that a connection waited for.
    pub(super) fn connection_due(&mut self, from: usize, to: usize, turn: u64) {
        let now_us = self.now_us;
        let one = self.connection(from, to);
        if one.turn != turn {
            return;
        }
        one.timed = false;
        match one.state {
            State::Pausing => self.dial(from, to),
            State::Dialing { stands_us: Some(_), .. } => self.stand(from, to),
            State::Dialing { since_us, .. } if now_us < since_us + ATTEMPT_US => {
                self.knock(from, to);
            }
            State::Dialing { .. } => self.attempt_failed(from, to),
            State::Standing { .. } => {
                let Some(unconfirmed_us) = one.unconfirmed_us else { return };
                let retry_at_us = one.retry_at_us;
                if now_us < retry_at_us {
                    return self.later(from, to, retry_at_us);
                }
                let is_probe = !one.recovering && !one.probed;
                one.probed = true;
                if !is_probe {
                    (one.recovering, one.retry_us) = (true, one.retry_us * 2);
                }
                match now_us < unconfirmed_us + SILENCE_US {
                    true => self.transmit(from, to, false),
                    false => self.end(from, to),
                }
            }
        }
    }

    fn connection(&mut self, from: usize, to: usize) -> &mut Connection {
        let connections = self.connections.as_mut().expect("the run has connections");
        &mut connections.all[from][to]
    }

    /// Whether one packet comes through.
    fn passes(&mut self, from: usize, to: usize) -> bool {
        let link = self.conditions.links[from][to];
        let connections = self.connections.as_mut().expect("the run has connections");
        !link.cut && connections.rng.random_range(0..1_000) >= link.loss_permille
    }

    fn passes_both(&mut self, from: usize, to: usize) -> bool {
        let there = self.passes(from, to);
        self.passes(to, from) && there
    }

    fn later(&mut self, from: usize, to: usize, at_us: u64) {
        let one = self.connection(from, to);
        if !std::mem::replace(&mut one.timed, true) {
            let turn = one.turn;
            self.push(at_us, Event::Connection { from, to, turn });
        }
    }

    fn turn(&mut self, from: usize, to: usize, state: State) {
        let one = self.connection(from, to);
        (one.state, one.timed, one.unconfirmed_us) = (state, false, None);
        (one.turn, one.retry_us) = (one.turn + 1, RETRY_US);
        (one.recovering, one.probed) = (false, false);
        one.waiting.iter_mut().for_each(|waiting| waiting.place = Place::Unsent);
    }

    /// Sends the message at that place; whether it arrives, and whether that is confirmed.
    fn send_one(&mut self, from: usize, to: usize, at: usize) -> bool {
        let arrives = self.passes(from, to);
        let waiting = &mut self.connection(from, to).waiting[at];
        waiting.place = if arrives { Place::Arrived } else { Place::Lost };
        arrives && self.passes(to, from)
    }

    fn all_at(&mut self, from: usize, to: usize, place: Place) -> Vec<usize> {
        let waiting = self.connection(from, to).waiting.iter().enumerate();
        waiting.filter(|(_, one)| one.place == place).map(|(at, _)| at).collect()
    }

    /// Sends again what is known to be lost: so many at once, twice as many when one of them was
    /// confirmed, and so on (RFC 6937, slow start). Where none is, nothing else is sent before the
    /// next timeout; whether all was confirmed.
    fn send_lost(&mut self, from: usize, to: usize, mut window: usize) -> bool {
        loop {
            let lost = self.all_at(from, to, Place::Lost);
            if lost.is_empty() {
                return true;
            }
            let mut heard = false;
            for at in lost.into_iter().take(window) {
                heard |= self.send_one(from, to, at);
            }
            if !heard {
                return false;
            }
            window *= 2;
        }
    }

    /// Sends what waits behind what was lost; whether all that was lost of it was made good.
    fn send_unsent(&mut self, from: usize, to: usize) -> bool {
        let unsent = self.all_at(from, to, Place::Unsent);
        let mut heard = None;
        for at in unsent {
            if self.send_one(from, to, at) {
                heard = Some(at);
            }
        }
        let lost = self.all_at(from, to, Place::Lost);
        !lost.iter().any(|at| heard > Some(*at)) || self.send_lost(from, to, 2)
    }

    /// Puts messages on their way: the `fresh` one at the end, or after a timeout the first one.
    /// Where that is confirmed, so is what is missing, and sent again at once (RFC 8985). All
    /// arrive in order.
    fn transmit(&mut self, from: usize, to: usize, fresh: bool) {
        if !self.nodes[to].is_up() && self.passes_both(from, to) {
            return self.end(from, to);
        }
        let waiting = &self.connection(from, to).waiting;
        let first = waiting.iter().position(|one| one.place != Place::Arrived);
        let heard = match if fresh { waiting.len().checked_sub(1) } else { first } {
            Some(at) => self.send_one(from, to, at),
            None => self.passes_both(from, to),
        };
        if heard || !self.connection(from, to).recovering {
            let made_good = !heard || self.send_lost(from, to, if fresh { 1 } else { 2 });
            let made_good = made_good && self.send_unsent(from, to);
            self.connection(from, to).recovering = !made_good;
        }
        let mut goes_on = false;
        let arrived = |one: &Waiting| one.place == Place::Arrived;
        while self.connection(from, to).waiting.front().is_some_and(arrived) {
            let Some(first) = self.connection(from, to).waiting.pop_front() else { break };
            goes_on = true;
            if !self.arrive(from, to, first.bytes) {
                return self.end(from, to);
            }
        }
        let now_us = self.now_us;
        let one = self.connection(from, to);
        if heard && (goes_on || one.waiting.is_empty()) {
            (one.unconfirmed_us, one.retry_us, one.probed) = (None, RETRY_US, false);
        }
        if heard && one.waiting.is_empty() && !one.recovering {
            return;
        }
        // The time runs from what was confirmed last, or is sent again, and not from what is sent
        // meanwhile (RFC 6298, 5.1 to 5.6).
        let begins = one.unconfirmed_us.is_none() || !fresh || one.recovering;
        let since_us = *one.unconfirmed_us.get_or_insert(now_us);
        if begins {
            let silence_us = (since_us + SILENCE_US).max(now_us + 1_000);
            one.retry_at_us = (now_us + one.retry_us).min(silence_us);
        }
        let at_us = one.retry_at_us;
        self.later(from, to, at_us);
    }

    /// Lets a message arrive. A flipped bit ends the connection.
    fn arrive(&mut self, from: usize, to: usize, bytes: Vec<u8>) -> bool {
        let link = self.conditions.links[from][to];
        let link =
            Link { cut: false, loss_permille: 0, duplicate_permille: 0, reorder: false, ..link };
        let (now_us, length) = (self.now_us, bytes.len());
        let arrivals = self.network.route(now_us, (from, to), length, &link, Kind::Stream);
        let flip = self.network.flips(length, &link);
        self.findings.count("messages_lost", u64::from(arrivals.iter().count() == 0));
        for at_us in arrivals.iter() {
            let mut bytes = bytes.clone();
            flip.iter().for_each(|(byte, bit)| bytes[*byte] ^= 1 << bit);
            self.push(at_us, Event::Peer { from, to, bytes, spoilt: flip.is_some() });
        }
        flip.is_none()
    }

    fn end(&mut self, from: usize, to: usize) {
        let now_us = self.now_us;
        let one = self.connection(from, to);
        let State::Standing { since_us } = one.state else { return };
        let lost = std::mem::take(&mut one.waiting).len() as u64;
        one.failures = if now_us - since_us < STOOD_US { one.failures + 1 } else { 0 };
        let again = one.failures > 0;
        self.findings.count("messages_lost", lost);
        match again {
            true => self.pause_before(from, to),
            false => self.dial(from, to),
        }
    }

    fn pause_before(&mut self, from: usize, to: usize) {
        self.turn(from, to, State::Pausing);
        let failures = self.connection(from, to).failures.min(5);
        let whole_us = (PAUSE_MAX_US / 10 * (1 << failures)).min(PAUSE_MAX_US);
        let connections = self.connections.as_mut().expect("the run has connections");
        let pause_us = connections.rng.random_range(whole_us / 2..=whole_us);
        self.later(from, to, self.now_us + pause_us);
    }

    fn dial(&mut self, from: usize, to: usize) {
        self.turn(from, to, State::Dialing { since_us: self.now_us, stands_us: None });
        self.knock(from, to);
    }

    fn knock(&mut self, from: usize, to: usize) {
        let State::Dialing { since_us, .. } = self.connection(from, to).state else { return };
        let (now_us, given_up_us) = (self.now_us, since_us + ATTEMPT_US);
        if !self.nodes[from].is_up() {
            return;
        }
        let second = now_us >= since_us + SECOND_TRY_US;
        if !self.passes_both(from, to) {
            let next_us = if second { given_up_us } else { since_us + SECOND_TRY_US };
            return self.later(from, to, next_us);
        }
        if !self.nodes[to].is_up() {
            return self.attempt_failed(from, to);
        }
        // How long an answer takes is not known when the first packet had to be sent twice.
        let stands_us = self.shake_hands(from, to, if second { SECOND_TRY_US } else { RETRY_US });
        if stands_us >= given_up_us {
            return self.later(from, to, given_up_us);
        }
        let state = State::Dialing { since_us, stands_us: Some(stands_us) };
        self.connection(from, to).state = state;
        match stands_us > now_us {
            true => self.later(from, to, stands_us),
            false => self.stand(from, to),
        }
    }

    /// When the messages have passed with which two nodes prove who they are, microseconds.
    fn shake_hands(&mut self, from: usize, to: usize, retry_us: u64) -> u64 {
        let mut at_us = self.now_us;
        for (here, there) in [(from, to), (to, from), (from, to)] {
            let mut wait_us = retry_us;
            while wait_us <= ATTEMPT_US && !self.passes(here, there) {
                at_us += wait_us;
                wait_us *= 2;
            }
        }
        at_us
    }

    fn stand(&mut self, from: usize, to: usize) {
        self.turn(from, to, State::Standing { since_us: self.now_us });
        self.connection(from, to).out_of_reach = false;
        self.is_back(to, from);
        if !self.connection(from, to).waiting.is_empty() {
            self.transmit(from, to, false);
        }
    }

    fn attempt_failed(&mut self, from: usize, to: usize) {
        let one = self.connection(from, to);
        one.out_of_reach = true;
        one.failures += 1;
        let lost = std::mem::take(&mut one.waiting).len() as u64;
        self.findings.count("messages_lost", lost);
        self.pause_before(from, to);
    }

    /// The peer was heard of: where no connection stands one is tried.
    fn is_back(&mut self, from: usize, to: usize) {
        let now_us = self.now_us;
        let one = self.connection(from, to);
        match one.state {
            State::Standing { .. } => return,
            State::Dialing { since_us, .. } if now_us < since_us + HANGS_US => return,
            State::Dialing { .. } | State::Pausing => one.out_of_reach = false,
        }
        self.dial(from, to);
    }
}
