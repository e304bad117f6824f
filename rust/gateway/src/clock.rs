//! Which clock answers which question?
//!
//! Readings and answers are dated by the machine's clock, which an operator or NTP may set. Whether
//! a stick is silent, a limit is used up or a frame is a resend is a matter of elapsed time: a clock
//! that jumps an hour must close no connection and forget no frame.

/// One instant on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Microseconds since 1970, UTC. May jump either way.
    pub unix_us: i64,
    /// Microseconds since an origin of the process. Only grows.
    pub uptime_us: i64,
}

impl Moment {
    /// Where something that the machine's clock dated stands on the steady one. What seems to lie in
    /// the future happened now: the clock was set back since.
    pub fn uptime_of(self, unix_us: i64) -> i64 {
        let age_us = self.unix_us.saturating_sub(unix_us).max(0);
        self.uptime_us.saturating_sub(age_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dated_event_keeps_its_age() {
        let now = Moment {
            unix_us: 1_000_000,
            uptime_us: 50,
        };
        assert_eq!(now.uptime_of(999_990), 40);
        assert_eq!(now.uptime_of(2_000_000), 50);
    }
}
