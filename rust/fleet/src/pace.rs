//! How many may go by now? Rates as a pure function of time.

/// Lets things through at a rate. Time that nobody used is lost, but for a small part: a fleet that
/// was held up must not come back as a burst that no fleet would send.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    interval_us: f64,
    burst_us: f64,
    next_us: f64,
}

/// What may be caught up at once, as time.
const BURST_US: f64 = 50_000.0;

impl Pace {
    /// `per_second` of 0 lets everything through.
    pub(crate) fn new(per_second: f64) -> Self {
        let interval_us = if per_second > 0.0 {
            1e6 / per_second
        } else {
            0.0
        };
        Self {
            interval_us,
            burst_us: BURST_US.max(interval_us),
            next_us: 0.0,
        }
    }

    pub(crate) fn is_open(&self, now_us: u64) -> bool {
        now_us as f64 >= self.next_us
    }

    /// Counts one that went.
    pub(crate) fn count(&mut self, now_us: u64) {
        let oldest = now_us as f64 - self.burst_us;
        self.next_us = self.next_us.max(oldest) + self.interval_us;
    }

    /// When the next may go.
    pub(crate) fn next_us(&self) -> u64 {
        self.next_us.max(0.0) as u64
    }
}

/// The times at which an open loop means to send; none is ever skipped or moved.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schedule {
    start_us: u64,
    interval_us: f64,
    total: u64,
    gone: u64,
}

impl Schedule {
    pub(crate) fn new(start_us: u64, per_second: f64, total: u64) -> Self {
        Self {
            start_us,
            interval_us: 1e6 / per_second,
            total,
            gone: 0,
        }
    }

    /// The intended time of the next one; `None` after the last.
    pub(crate) fn next_us(&self) -> Option<u64> {
        (self.gone < self.total).then(|| self.at_us(self.gone))
    }

    /// Takes the next one that is due, as its number and intended time.
    pub(crate) fn take(&mut self, now_us: u64) -> Option<(u64, u64)> {
        let due_us = self.next_us().filter(|&due_us| due_us <= now_us)?;
        let number = self.gone;
        self.gone += 1;
        Some((number, due_us))
    }

    fn at_us(&self, number: u64) -> u64 {
        self.start_us + (number as f64 * self.interval_us) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gone_within(pace: &mut Pace, times: impl Iterator<Item = u64>) -> usize {
        let mut gone = 0;
        for now_us in times {
            while pace.is_open(now_us) && gone < 1_000_000 {
                pace.count(now_us);
                gone += 1;
            }
        }
        gone
    }

    #[test]
    fn a_rate_is_kept_whatever_the_rhythm_of_the_questions() {
        for step_us in [100, 1_000, 7_777, 20_000] {
            let mut pace = Pace::new(500.0);
            let gone = gone_within(&mut pace, (0..=10_000_000).step_by(step_us));
            assert!((4_980..=5_030).contains(&gone), "{gone} at {step_us}");
        }
    }

    #[test]
    fn a_long_pause_is_not_caught_up() {
        let mut pace = Pace::new(1_000.0);
        assert_eq!(gone_within(&mut pace, 0..1), 1);
        let after_pause = gone_within(&mut pace, 60_000_000..60_000_001);
        assert!((50..=52).contains(&after_pause), "{after_pause}");
    }

    #[test]
    fn a_rate_of_zero_is_no_limit() {
        assert_eq!(gone_within(&mut Pace::new(0.0), 0..1), 1_000_000);
    }

    #[test]
    fn slow_rates_let_one_at_a_time_through() {
        let mut pace = Pace::new(1.0);
        assert_eq!(gone_within(&mut pace, (0..3_500_000).step_by(1_000)), 4);
    }

    #[test]
    fn a_schedule_keeps_intended_times_through_a_stall() {
        let mut schedule = Schedule::new(5_000_000, 1_000.0, 3_000);
        assert_eq!(schedule.take(4_999_999), None);
        assert_eq!(schedule.take(5_000_000), Some((0, 5_000_000)));
        assert_eq!(schedule.take(5_000_000), None);
        let late: Vec<_> = std::iter::from_fn(|| schedule.take(7_000_000)).collect();
        assert_eq!(late.len(), 2_000);
        assert_eq!(late[1_999], (2_000, 7_000_000));
        let rest = std::iter::from_fn(|| schedule.take(u64::MAX)).count();
        assert_eq!((rest, schedule.next_us()), (999, None));
    }
}
