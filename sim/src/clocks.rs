//! What nodes read as time: a monotonic clock each with its own origin, and a wall clock that
//! drifts and is off by what faults say.

use crate::random::Rng;
use rand::Rng as _;
use starling_node::core::Time;

/// Wall time at which runs begin, ms since the Unix epoch.
const WALL_START_MS: i64 = 1_800_000_000_000;

/// Drift of a wall clock at most, parts per million: a poor crystal without correction.
const DRIFT_PPM_MAX: i64 = 200;

/// The clocks of one node.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    mono_origin_us: u64,
    drift_ppm: i64,
    /// How far faults have moved the wall clock, ms.
    pub skew_ms: i64,
}

impl Clock {
    /// Clocks as a node finds them at a start.
    pub fn draw(rng: &mut Rng) -> Self {
        Clock {
            mono_origin_us: rng.random_range(0..1_000_000_000_000),
            drift_ppm: rng.random_range(-DRIFT_PPM_MAX..=DRIFT_PPM_MAX),
            skew_ms: 0,
        }
    }

    /// Both clocks at a virtual time.
    pub fn read(&self, now_us: u64) -> Time {
        let since_start = now_us as i64;
        let drifted_us = since_start + since_start / 1_000_000 * self.drift_ppm;
        let wall_ms = WALL_START_MS + drifted_us / 1_000 + self.skew_ms;
        Time { mono_us: self.mono_origin_us + now_us, wall_ms: wall_ms as u64 }
    }

    /// The virtual time at which the monotonic clock shows `mono_us`.
    pub fn virtual_us(&self, mono_us: u64) -> u64 {
        mono_us.saturating_sub(self.mono_origin_us)
    }
}
