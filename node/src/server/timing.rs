//! The clocks that the core is shown.

use crate::core::Time;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Both clocks of this machine.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Monotonic time counts from now on.
    pub fn start() -> Clock {
        Clock { start: Instant::now() }
    }

    /// What they show.
    pub fn now(&self) -> Time {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Time { mono_us: self.start.elapsed().as_micros() as u64, wall_ms: wall.as_millis() as u64 }
    }
}
