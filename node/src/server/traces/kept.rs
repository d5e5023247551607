//! A bounded table of what is under way: the oldest makes room for the newest.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Entries at most.
const KEPT_MAX: usize = 4_096;

/// Values by key, with when each came.
#[derive(Debug)]
pub struct Kept<K, V> {
    values: HashMap<K, (u64, V)>,
    /// In the order in which they came.
    order: BTreeMap<u64, (Instant, K)>,
    next: u64,
}

impl<K: Copy + Eq + Hash, V> Kept<K, V> {
    /// Empty; costs nothing until something is kept.
    pub fn new() -> Self {
        Kept { values: HashMap::new(), order: BTreeMap::new(), next: 0 }
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Keeps `value`; gives what it takes the place of, or the oldest when there are too many.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let mut gone = self.remove(&key);
        if self.values.len() >= KEPT_MAX {
            let oldest = self.order.first_key_value().map(|(_, (_, key))| *key);
            gone = oldest.and_then(|key| self.remove(&key));
        }
        self.values.insert(key, (self.next, value));
        self.order.insert(self.next, (Instant::now(), key));
        self.next += 1;
        gone
    }

    /// The value of `key`.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.values.get(key).map(|(_, value)| value)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.values.get_mut(key).map(|(_, value)| value)
    }

    /// Takes the value of `key` out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let (at, value) = self.values.remove(key)?;
        self.order.remove(&at);
        Some(value)
    }

    /// Takes out the oldest, if it has been kept for longer than `age`.
    pub fn pop_older(&mut self, age: Duration) -> Option<V> {
        let (_, (since, key)) = self.order.first_key_value()?;
        let key = *key;
        if since.elapsed() > age { self.remove(&key) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_makes_room_and_nothing_is_left_behind() {
        let mut kept = Kept::new();
        for key in 0..KEPT_MAX {
            assert_eq!(kept.insert(key, key), None);
        }
        assert_eq!(kept.remove(&0), Some(0));
        assert_eq!(kept.insert(KEPT_MAX, 1), None, "there was room");
        assert_eq!(kept.insert(KEPT_MAX + 1, 2), Some(1), "1 was the oldest");
        assert_eq!(kept.insert(5, 6), Some(5), "replaced, and nothing else goes");
        assert_eq!((kept.get(&5), kept.get(&1)), (Some(&6), None));
        assert_eq!(kept.pop_older(Duration::from_secs(60)), None);
        assert_eq!(kept.pop_older(Duration::ZERO), Some(2));
        while kept.pop_older(Duration::ZERO).is_some() {}
        assert!(kept.is_empty() && kept.order.is_empty());
    }
}
