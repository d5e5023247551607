//! One seed decides everything: seeded streams for the simulator itself, and an override of
//! `getrandom` for the libraries inside a run that draw from the operating system.
//!
//! The override is per thread. A run has a thread of its own, so `RandomState` and the thread's
//! generators begin there, from the seed. Threads without a run get the real system call.

use rand::SeedableRng;
use rand::rngs::StdRng;
use std::cell::Cell;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The generator of every seeded stream.
pub type Rng = StdRng;

/// A stream that depends on the seed and its purpose only, so that drawing more for one purpose
/// does not shift another.
pub fn stream(seed: u64, purpose: &str) -> Rng {
    Rng::seed_from_u64(xxh3_64_with_seed(purpose.as_bytes(), seed))
}

thread_local! {
    static STATE: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Makes this thread's operating system randomness follow from `seed`, for the rest of its life.
pub fn take_over(seed: u64) {
    STATE.set(Some(xxh3_64_with_seed(b"getrandom", seed)));
}

/// The next 64 bits (SplitMix64; Steele, Lea and Flood, 2014).
pub(crate) fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Replaces the C library's function of that name in this program.
///
/// # Safety
/// `buf` must be writable for `len` bytes.
#[allow(unsafe_code)] // The C library is overridden nowhere else.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(buf: *mut libc::c_void, len: usize, flags: u32) -> isize {
    let Some(mut state) = STATE.get() else {
        // SAFETY: the caller's promise, passed on.
        return unsafe { libc::syscall(libc::SYS_getrandom, buf, len, flags) as isize };
    };
    if len > 0 {
        // SAFETY: the caller promises `len` writable bytes; the pointer is not null then.
        let bytes = unsafe { std::slice::from_raw_parts_mut(buf.cast::<u8>(), len) };
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&split_mix(&mut state).to_le_bytes()[..chunk.len()]);
        }
        STATE.set(Some(state));
    }
    len as isize
}

/// Proves that the override is effective for both users of it.
///
/// # Panics
/// When two fresh threads of one seed see different randomness, or two seeds the same.
pub fn self_test() {
    let sample = |seed: u64| {
        let draw = move || {
            take_over(seed);
            let hashed = RandomState::new().hash_one(0u8);
            // The two versions of the `rand` crate in a run: ours, and the one inside chitchat,
            // which reads the system through the same crate as `getrandom_04`.
            (hashed, rand::random::<u64>(), rand_chitchat::random::<u64>())
        };
        std::thread::spawn(draw).join().expect("the probe does not panic")
    };
    let (first, again, other) = (sample(1), sample(1), sample(2));
    let differs = first.0 != other.0 && first.1 != other.1 && first.2 != other.2;
    assert!(
        first == again && differs,
        "the override of getrandom is not effective in this build: runs would not be repeatable"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_override_reaches_every_generator_of_a_run() {
        self_test();
    }

    #[test]
    fn a_thread_without_a_run_gets_real_randomness() {
        let draw = || std::thread::spawn(|| RandomState::new().hash_one(0u8)).join().unwrap();
        assert_ne!(draw(), draw());
    }
}
