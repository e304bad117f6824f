//! Has this very data frame been seen before?
//!
//! A stick that got no answer sends the same record again: most often after ten seconds, but when a
//! backlog is being replayed also a quarter of an hour and fifty frames later. A crash between
//! `fdatasync` and the answer makes it do so too. The frames of the last while are remembered as
//! hashes; what slips through a longer gap is found by compaction.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::mem;

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A frame is remembered at least this long, unless [`FRAMES_MAX`] came since.
pub const MEMORY_US: i64 = 15 * 60 * 1_000_000;
/// Frames per generation, of which there are two: about 40 MB each when full. 100,000 sticks that
/// report every five minutes send 300,000 in the time above.
const FRAMES_MAX: usize = 1_000_000;
/// V4 frames carry no time: the same bytes later than this are a new measurement of a calm moment.
const UNTIMED_WINDOW_US: i64 = 30_000_000;

/// The data frames seen of late, in two generations: the older is dropped whole, so that forgetting
/// costs nothing per frame.
#[derive(Debug)]
pub struct Resends {
    seed: u64,
    generation_frames: usize,
    started_us: i64,
    current: Seen,
    previous: Seen,
}

/// When the frame of a hash was seen; uptime in microseconds.
type Seen = HashMap<u64, i64, BuildHasherDefault<AsIs>>;

/// The keys are hashes already, of a seed that nobody knows.
#[derive(Debug, Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn write(&mut self, _: &[u8]) {
        unreachable!("keys are u64");
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Resends {
    /// `seed` is chosen per process: nobody can prepare two frames with one hash.
    pub fn new(seed: u64) -> Self {
        Self::with_generation(seed, FRAMES_MAX)
    }

    fn with_generation(seed: u64, generation_frames: usize) -> Self {
        Self {
            seed,
            generation_frames,
            started_us: i64::MIN,
            current: Seen::default(),
            previous: Seen::default(),
        }
    }

    /// Whether the frame repeats a recent one of its logger; if not, it is remembered.
    /// `timed`: the frame carries a time of its own, so equal bytes are always one measurement.
    /// `at_us` is when it came, on a clock that does not jump.
    pub fn is_resend(&mut self, logger_sn: u32, key: &[u8], timed: bool, at_us: i64) -> bool {
        self.forget_old(at_us);
        let key = xxh3_64_with_seed(key, self.seed ^ u64::from(logger_sn));
        let seen_us = self.current.get(&key).or_else(|| self.previous.get(&key));
        let resent = seen_us.is_some_and(|seen_us| {
            timed || at_us.saturating_sub(*seen_us).saturating_abs() <= UNTIMED_WINDOW_US
        });
        if !resent {
            self.current.insert(key, at_us);
        }
        resent
    }

    fn forget_old(&mut self, now_us: i64) {
        let is_old = now_us.saturating_sub(self.started_us) > MEMORY_US;
        if is_old || self.current.len() >= self.generation_frames {
            self.previous = mem::take(&mut self.current);
            self.started_us = now_us;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_US: i64 = 1_000_000;

    #[test]
    fn the_same_bytes_of_one_logger_are_a_resend() {
        let mut resends = Resends::new(1);
        assert!(!resends.is_resend(7, b"payload", true, 0));
        assert!(resends.is_resend(7, b"payload", true, 800 * SECOND_US));
        assert!(!resends.is_resend(8, b"payload", true, 0));
        assert!(!resends.is_resend(7, b"other", true, 0));
    }

    #[test]
    fn untimed_frames_repeat_only_within_the_window() {
        let mut resends = Resends::new(1);
        assert!(!resends.is_resend(7, b"calm", false, 0));
        assert!(resends.is_resend(7, b"calm", false, 30 * SECOND_US));
        assert!(!resends.is_resend(7, b"calm", false, 61 * SECOND_US));
        assert!(resends.is_resend(7, b"calm", false, 62 * SECOND_US));
    }

    #[test]
    fn memory_is_bounded_by_count() {
        let mut resends = Resends::with_generation(1, 10);
        for n in 0..100_u32 {
            assert!(!resends.is_resend(7, &n.to_le_bytes(), true, 0));
            assert!(resends.current.len() + resends.previous.len() <= 20);
        }
        assert!(resends.is_resend(7, &99_u32.to_le_bytes(), true, 0));
        assert!(!resends.is_resend(7, &0_u32.to_le_bytes(), true, 0));
    }

    #[test]
    fn memory_is_bounded_by_time() {
        let mut resends = Resends::new(1);
        assert!(!resends.is_resend(7, b"payload", true, 0));
        // One generation later it is still known, two later it is not.
        assert!(resends.is_resend(7, b"payload", true, 2 * MEMORY_US));
        assert!(!resends.is_resend(7, b"payload", true, 4 * MEMORY_US));
    }
}
