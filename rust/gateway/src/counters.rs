//! What did the gateway see since it started? Plain counts, read by the operators' view.

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Running totals; all but `connections` only grow.
        #[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
        pub struct Counters { $($(#[$doc])* pub $name: u64),* }

        impl Counters {
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name)),*].into_iter()
            }
        }
    };
}

counters! {
    /// Open connections now.
    connections,
    /// Connections taken since start.
    accepted,
    /// Connections closed at once because `connections_max` were open.
    refused,
    /// `accept` calls that failed, for example for want of file descriptors.
    accept_errors,
    /// Connections closed for silence longer than `idle_timeout_s`.
    closed_idle,
    /// Connections closed for more than `noise_bytes_max` bytes that belong to no frame.
    closed_noise,
    /// Connections closed because they do not read their answers.
    closed_unread,
    bytes_in,
    bytes_out,
    frames,
    frames_data,
    frames_heartbeat,
    frames_session,
    frames_other,
    /// Data frames staged for the journal.
    staged,
    /// Data frames that repeat an earlier one byte for byte; acknowledged, not stored again.
    resends,
    quarantined,
    /// Answers handed to the kernel.
    answers,
    /// Answers whose connection was gone before they could be sent.
    answers_orphaned,
    noise_bytes,
    rejected_too_long,
    rejected_control,
    rejected_end,
    rejected_checksum,
    rejected_stale,
    /// Times reading paused because the journal could not keep up.
    paused,
    /// Group commits done and failed.
    commits,
    commit_errors,
    /// Records read back from the journal at start.
    replayed,
    /// Bytes behind the last whole record of a journal segment, cut at start.
    journal_torn_bytes,
}
