//! Which datagrams are new: no datagram counts twice, and none from before this start counts.
//!
//! No clock is asked, so nodes whose clocks differ still hear each other. Each start draws a
//! session number. A datagram names its sender's session, a counter that grows with each, and
//! the receiver's session as the sender knows it; who gets that wrong is told the right one in a
//! sealed answer and sends once more. Within a session a window over the last 128
//! counters sorts out what was seen.

use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Sessions and addresses remembered; the one unused for longest makes room.
const REMEMBERED_MAX: usize = 2_048;
const WINDOW: u64 = u128::BITS as u64;

/// One start of one node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, bincode::Encode, bincode::Decode)]
pub struct Session(pub u64);

impl Session {
    /// Of a receiver that is not known yet.
    pub const UNKNOWN: Session = Session(0);

    /// Drawn at random.
    pub fn draw() -> Session {
        Session(rand::random_range(1..=u64::MAX))
    }
}

/// Counters seen of one session.
#[derive(Clone, Copy, Debug)]
struct Window {
    highest: u64,
    /// Bit `n` is set when `highest - n` was seen.
    seen: u128,
    used: u64,
}

impl Window {
    fn take(&mut self, counter: u64) -> bool {
        if counter > self.highest {
            let ahead = counter - self.highest;
            self.seen = if ahead < WINDOW { self.seen << ahead } else { 0 } | 1;
            self.highest = counter;
            return true;
        }
        let behind = self.highest - counter;
        let bit = if behind < WINDOW { 1 << behind } else { return false };
        let new = self.seen & bit == 0;
        self.seen |= bit;
        new
    }
}

/// What one node remembers of the others' sessions.
#[derive(Debug)]
pub struct Replay {
    /// This start of this node.
    pub own: Session,
    counter: u64,
    uses: u64,
    windows: BTreeMap<Session, Window>,
    sessions: BTreeMap<SocketAddr, (Session, u64)>,
}

impl Replay {
    /// Knowing nobody.
    pub fn new(own: Session) -> Replay {
        Replay { own, counter: 0, uses: 0, windows: BTreeMap::new(), sessions: BTreeMap::new() }
    }

    /// The next counter.
    pub fn count(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    /// Whether the datagram is new; from now on it is not.
    pub fn take(&mut self, from: Session, counter: u64) -> bool {
        self.uses += 1;
        if !self.windows.contains_key(&from) && self.windows.len() >= REMEMBERED_MAX {
            let oldest = self.windows.iter().min_by_key(|(_, window)| window.used);
            let oldest = oldest.map(|(session, _)| *session);
            oldest.and_then(|session| self.windows.remove(&session));
        }
        let empty = Window { highest: 0, seen: 0, used: 0 };
        let window = self.windows.entry(from).or_insert(empty);
        window.used = self.uses;
        window.take(counter)
    }

    /// Who answers at that address.
    pub fn session_at(&self, addr: SocketAddr) -> Session {
        self.sessions.get(&addr).map_or(Session::UNKNOWN, |(session, _)| *session)
    }

    /// Remembers who answers at that address.
    pub fn learn(&mut self, addr: SocketAddr, session: Session) {
        self.uses += 1;
        if !self.sessions.contains_key(&addr) && self.sessions.len() >= REMEMBERED_MAX {
            let oldest = self.sessions.iter().min_by_key(|(_, (_, used))| *used);
            let oldest = oldest.map(|(addr, _)| *addr);
            oldest.and_then(|addr| self.sessions.remove(&addr));
        }
        self.sessions.insert(addr, (session, self.uses));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_taken_once_in_any_order_within_the_window() {
        let mut replay = Replay::new(Session(1));
        let order = [5, 3, 4, 200, 199, 100, 1];
        let taken: Vec<bool> = order.iter().map(|at| replay.take(Session(2), *at)).collect();
        assert_eq!(taken, [true, true, true, true, true, true, false], "1 is too far behind 200");
        assert!(order.iter().all(|at| !replay.take(Session(2), *at)), "none is taken twice");
        assert!(replay.take(Session(3), 5), "another session has its own counters");
    }

    #[test]
    fn what_is_remembered_stays_bounded() {
        let mut replay = Replay::new(Session(1));
        for at in 0..2 * REMEMBERED_MAX as u64 {
            replay.take(Session(at + 2), 1);
            let addr = SocketAddr::from(([127, 0, (at >> 8) as u8, at as u8], 1));
            replay.learn(addr, Session(at + 2));
        }
        assert_eq!(replay.windows.len(), REMEMBERED_MAX);
        assert_eq!(replay.sessions.len(), REMEMBERED_MAX);
    }
}
