//! Room that is kept on the file system, so that writes are refused before the log cannot grow.
//!
//! A write that finds no room changes nothing and can be answered. A sync or a flush that finds
//! none cannot: what is on disk is unknown then, and the node has to stop.

use rustix::fs::statvfs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The file system is asked again after so long.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// And after so many bytes were written, or an eighth of the reserve if that is less.
const ASK_BYTES: u64 = 1 << 20;
/// The reserve unless another is set: this or a twentieth of the file system if that is less.
const RESERVE: u64 = 64 << 20;

/// What others read of it.
#[derive(Debug)]
pub(super) struct SpaceStats {
    dir: PathBuf,
    /// Bytes that are kept.
    pub reserve: AtomicU64,
    /// Batches refused since opening.
    pub refused: AtomicU64,
}

impl SpaceStats {
    /// Of the file system where `dir` is.
    pub fn new(dir: PathBuf) -> SpaceStats {
        SpaceStats { dir, reserve: AtomicU64::new(0), refused: AtomicU64::new(0) }
    }

    /// Bytes free and bytes in all, now; `None` when it does not say.
    pub fn ask(&self) -> Option<(u64, u64)> {
        let at = statvfs(&self.dir).ok()?;
        let bytes = |blocks: u64| blocks.saturating_mul(at.f_frsize);
        Some((bytes(at.f_bavail), bytes(at.f_blocks)))
    }
}

/// The writer's view of the file system.
pub(super) struct Space {
    reserve: u64,
    free: u64,
    asked: Instant,
    /// Bytes written since it was asked.
    since: u64,
}

impl Space {
    /// Keeps `reserve` bytes free.
    pub fn new(reserve: Option<u64>, stats: &SpaceStats) -> Space {
        let asked = Instant::now();
        let mut space = Space { reserve: 0, free: u64::MAX, asked, since: 0 };
        let total = space.ask(stats);
        space.reserve = reserve.unwrap_or(RESERVE.min(total / 20));
        stats.reserve.store(space.reserve, Ordering::Relaxed);
        space
    }

    /// Whether `bytes` may be written. What frees space or is little, as `frees` says, may use
    /// up three quarters of the reserve.
    pub fn admits(&mut self, bytes: u64, frees: bool, stats: &SpaceStats) -> bool {
        let stale = self.since >= ASK_BYTES.min(self.reserve / 8);
        if stale || self.asked.elapsed() >= ASK_EVERY {
            self.ask(stats);
        }
        let keep = if frees { self.reserve / 4 } else { self.reserve };
        let admitted = self.free.saturating_sub(self.since) >= keep.saturating_add(bytes);
        match admitted {
            true => self.since += bytes,
            false => drop(stats.refused.fetch_add(1, Ordering::Relaxed)),
        }
        admitted
    }

    /// Returns the size of the file system. One that cannot be asked is taken to have room: the
    /// write itself will tell.
    fn ask(&mut self, stats: &SpaceStats) -> u64 {
        let (free, total) = stats.ask().unwrap_or((u64::MAX, u64::MAX));
        (self.free, self.since, self.asked) = (free, 0, Instant::now());
        total
    }
}
