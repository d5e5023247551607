//! Which node is asked next: the one that answered last, and after it those that have not just
//! failed.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long a node that could not be reached, or was silent, is asked only when all are resting.
pub(crate) const AVOIDED: Duration = Duration::from_secs(2);

/// The nodes of one client.
#[derive(Debug)]
pub(crate) struct Nodes {
    urls: Vec<String>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The node that is asked first.
    current: usize,
    rests: Vec<Rest>,
}

/// Until when a node is left alone.
#[derive(Clone, Copy, Debug)]
enum Rest {
    None,
    /// It failed: others are better, and it is better than none.
    Avoided(Instant),
    /// It asked for it: nothing is sent before.
    Asked(Instant),
}

impl Rest {
    fn left(self, now: Instant) -> Option<Duration> {
        match self {
            Rest::None => None,
            Rest::Avoided(until) | Rest::Asked(until) => {
                until.checked_duration_since(now).filter(|left| !left.is_zero())
            }
        }
    }
}

impl Nodes {
    pub fn new(urls: Vec<String>) -> Nodes {
        let rests = vec![Rest::None; urls.len()];
        Nodes { urls, state: Mutex::new(State { current: 0, rests }) }
    }

    pub fn url(&self, node: usize) -> &str {
        &self.urls[node]
    }

    /// The node to ask, and for how long it has asked to be left alone.
    pub fn next(&self, now: Instant) -> (usize, Duration) {
        let state = self.state.lock().expect("nobody panics with it");
        let count = self.urls.len();
        let mut in_turn = (0..count).map(|turn| (state.current + turn) % count);
        let left = |node: usize| state.rests[node].left(now).unwrap_or_default();
        let node = in_turn
            .clone()
            .find(|node| left(*node).is_zero())
            .or_else(|| in_turn.by_ref().min_by_key(|node| left(*node)))
            .expect("there is a node");
        match state.rests[node] {
            Rest::Asked(_) => (node, left(node)),
            _ => (node, Duration::ZERO),
        }
    }

    /// `node` answered: it is asked first from now on.
    pub fn answered(&self, node: usize) {
        let mut state = self.state.lock().expect("nobody panics with it");
        state.current = node;
        state.rests[node] = Rest::None;
    }

    /// `node` did not answer.
    pub fn failed(&self, node: usize, now: Instant) {
        self.rest(node, Rest::Avoided(now + AVOIDED));
    }

    /// `node` refused for now and asked to be left alone for `time`.
    pub fn refused(&self, node: usize, now: Instant, time: Duration) {
        self.rest(node, Rest::Asked(now + time));
    }

    fn rest(&self, node: usize, rest: Rest) {
        let mut state = self.state.lock().expect("nobody panics with it");
        state.rests[node] = rest;
        if state.current == node {
            state.current = (node + 1) % self.urls.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> (Nodes, Instant) {
        (Nodes::new(["a", "b", "c"].map(str::to_owned).to_vec()), Instant::now())
    }

    #[test]
    fn the_node_that_answered_is_kept_and_one_that_failed_is_avoided() {
        let (nodes, now) = three();
        assert_eq!(nodes.next(now), (0, Duration::ZERO));
        nodes.failed(0, now);
        assert_eq!(nodes.next(now), (1, Duration::ZERO));
        nodes.failed(1, now);
        nodes.answered(2);
        assert_eq!(nodes.next(now), (2, Duration::ZERO));
        nodes.failed(2, now + AVOIDED / 2);
        assert_eq!(nodes.next(now + AVOIDED / 2).0, 0, "all rest: the one that did longest");
        assert_eq!(nodes.next(now + AVOIDED), (0, Duration::ZERO));
        nodes.answered(0);
        assert_eq!(nodes.next(now + AVOIDED).0, 0);
    }

    #[test]
    fn nothing_is_sent_before_the_time_that_a_node_asked_for() {
        let (nodes, now) = three();
        let second = Duration::from_secs(1);
        nodes.refused(0, now, second);
        assert_eq!(nodes.next(now), (1, Duration::ZERO), "others are asked at once");
        nodes.refused(1, now, 2 * second);
        nodes.refused(2, now, 3 * second);
        assert_eq!(nodes.next(now), (0, second));
        assert_eq!(nodes.next(now + second), (0, Duration::ZERO));
    }
}
