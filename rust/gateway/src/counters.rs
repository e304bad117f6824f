//! What did the gateway see since it started? Plain counts, read by the operators' view.

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Running totals; all but `connections`, `addresses`, `loggers` and `registered` only grow.
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
    /// Connections closed at once because their address had `connections_per_address_max`.
    refused_address_full,
    /// Connections closed at once because their address comes more often than
    /// `connects_per_address_per_minute`.
    refused_address_rate,
    /// Frames of loggers that the registry does not list, neither stored nor answered.
    refused_frames,
    /// Frames of loggers and inverters that are forgotten, neither stored nor answered.
    forgotten_frames,
    /// Addresses and loggers whose limits are being kept now.
    addresses,
    loggers,
    /// Loggers in the registry now.
    registered,
    /// `accept` calls that failed because the peer had left again.
    accept_errors,
    /// `accept` calls that failed for want of file descriptors or memory.
    accept_exhausted,
    /// Connections closed for silence longer than `idle_timeout_s`.
    closed_idle,
    /// Connections closed because no frame that counts came within `first_frame_s`.
    closed_no_frame,
    /// Connections closed because their logger had a newer one.
    closed_replaced,
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
    /// Times a read was put off because the journal could not keep up, or because the server held
    /// the intake (too many rows wait for the table).
    paused,
    /// Times a connection was paused because its address or its logger had used up its rate.
    paused_address,
    paused_logger,
    /// Group commits done and failed.
    commits,
    commit_errors,
    /// Records read back from the journal at start.
    replayed,
    /// Bytes behind the last whole record of a journal segment, cut at start.
    journal_torn_bytes,
    /// Segments that the disk has damaged, found at start and set aside.
    journal_damaged_segments,
    /// Whole records behind damage in the journal, found at start and not read; their segments were
    /// set aside.
    journal_hidden_records,
}
