//! Hybrid logical clock (Kulkarni et al., 2014, section 3), bounded: a peer far ahead is not
//! followed.

use crate::crdt::Hlc;

/// How far ahead of the own wall clock a timestamp may be to be followed, ms.
pub const AHEAD_MAX_MS: u64 = 500;

/// The clock of one replica.
#[derive(Clone, Debug, Default)]
pub struct HybridClock {
    last: Hlc,
}

impl HybridClock {
    /// A reading later than every earlier one and every timestamp followed.
    pub fn now(&mut self, wall_ms: u64) -> Hlc {
        self.last = match wall_ms > self.last.wall_ms {
            true => Hlc { wall_ms, logical: 0 },
            false => Hlc { wall_ms: self.last.wall_ms, logical: self.last.logical + 1 },
        };
        self.last
    }

    /// Takes note of a timestamp from elsewhere. False when it is too far ahead to be followed.
    pub fn observe(&mut self, seen: Hlc, wall_ms: u64) -> bool {
        let follow = seen.wall_ms <= wall_ms.saturating_add(AHEAD_MAX_MS);
        if follow {
            self.last = self.last.max(seen);
        }
        follow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_grow_when_the_wall_clock_jumps_back() {
        let mut clock = HybridClock::default();
        let readings = [100, 50, 50, 101].map(|wall| clock.now(wall));
        assert!(readings.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn a_timestamp_far_ahead_is_not_followed() {
        let mut clock = HybridClock::default();
        assert!(!clock.observe(Hlc { wall_ms: 1_501, logical: 0 }, 1_000));
        assert_eq!(clock.now(1_000).wall_ms, 1_000);
        assert!(clock.observe(Hlc { wall_ms: 1_500, logical: 3 }, 1_000));
        assert_eq!(clock.now(1_000), Hlc { wall_ms: 1_500, logical: 4 });
    }
}
