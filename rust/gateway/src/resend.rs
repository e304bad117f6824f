//! Has this very data frame been seen before?
//!
//! A stick that got no answer sends the same record again after about ten seconds; a crash between
//! `fdatasync` and the answer makes it do so too. Per logger the last few frame keys are kept as
//! hashes. What slips through a longer gap is found by compaction.

use std::collections::HashMap;

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Keys kept per logger. A stick has one frame outstanding, so a resend follows its original within
/// a few frames; 16 leaves room for a backlog replayed over two connections at once.
const KEYS_PER_LOGGER: usize = 16;
/// V4 frames carry no time: the same bytes later than this are a new measurement of a calm moment.
const UNTIMED_WINDOW_US: i64 = 30_000_000;
/// Loggers remembered at most (about 30 MB); the table is emptied beyond, which costs only a few
/// duplicates until compaction.
const LOGGERS_MAX: usize = 100_000;

#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    key: u64,
    received_at_us: i64,
}

#[derive(Debug, Default)]
struct Ring {
    seen: [Seen; KEYS_PER_LOGGER],
    filled: u8,
    next: u8,
}

/// The recent frame keys of every logger.
#[derive(Debug)]
pub struct Resends {
    seed: u64,
    loggers: HashMap<u32, Box<Ring>>,
}

impl Resends {
    /// `seed` is chosen per process: nobody can prepare two frames with one hash.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            loggers: HashMap::new(),
        }
    }

    /// Whether the frame repeats a recent one of its logger; if not, it is remembered.
    /// `timed`: the frame carries a time of its own, so equal bytes are always one measurement.
    pub fn is_resend(
        &mut self,
        logger_sn: u32,
        key: &[u8],
        timed: bool,
        received_at_us: i64,
    ) -> bool {
        let key = xxh3_64_with_seed(key, self.seed);
        if self.loggers.len() >= LOGGERS_MAX && !self.loggers.contains_key(&logger_sn) {
            self.loggers.clear();
        }
        let ring = self.loggers.entry(logger_sn).or_default();
        let resent = ring.seen[..usize::from(ring.filled)].iter().any(|seen| {
            let age_us = received_at_us.saturating_sub(seen.received_at_us);
            seen.key == key && (timed || age_us.saturating_abs() <= UNTIMED_WINDOW_US)
        });
        if !resent {
            ring.push(Seen {
                key,
                received_at_us,
            });
        }
        resent
    }
}

impl Ring {
    fn push(&mut self, seen: Seen) {
        self.seen[usize::from(self.next)] = seen;
        self.next = (self.next + 1) % KEYS_PER_LOGGER as u8;
        self.filled = (self.filled + 1).min(KEYS_PER_LOGGER as u8);
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
        assert!(resends.is_resend(7, b"payload", true, 3600 * SECOND_US));
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
    fn memory_per_logger_is_bounded() {
        let mut resends = Resends::new(1);
        for n in 0..100_u32 {
            assert!(!resends.is_resend(7, &n.to_le_bytes(), true, 0));
        }
        assert!(resends.is_resend(7, &99_u32.to_le_bytes(), true, 0));
        assert!(!resends.is_resend(7, &0_u32.to_le_bytes(), true, 0));
        assert_eq!(resends.loggers.len(), 1);
    }
}
