//! How long did sticks wait for the answer to a data frame? Counts per time span, for operators.

/// Upper ends of the spans in microseconds; a last span holds what took longer. A stick gives up
/// after ten seconds.
pub const BOUNDS_US: [i64; 12] = [
    5_000, 10_000, 20_000, 30_000, 50_000, 75_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    10_000_000,
];

/// From the read of a frame to its answer being handed to the kernel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AnswerLatency {
    /// Answers per span, the last one beyond all bounds.
    pub counts: [u64; BOUNDS_US.len() + 1],
    pub sum_us: u64,
}

impl AnswerLatency {
    pub(crate) fn note(&mut self, waited_us: i64) {
        let span = BOUNDS_US.partition_point(|&bound| bound < waited_us);
        self.counts[span] += 1;
        self.sum_us += u64::try_from(waited_us).unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_counts_in_the_span_that_ends_at_or_above_it() {
        let mut latency = AnswerLatency::default();
        for waited_us in [0, 5_000, 5_001, 10_000_000, 10_000_001] {
            latency.note(waited_us);
        }
        assert_eq!(latency.counts[0], 2);
        assert_eq!(latency.counts[1], 1);
        assert_eq!(latency.counts[11], 1);
        assert_eq!(latency.counts[12], 1);
        assert_eq!(latency.sum_us, 20_010_002);
    }
}
