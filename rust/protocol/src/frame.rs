//! Where does a frame begin and end, and is it whole and unharmed?
//!
//! A connection is a stream: one segment holds several frames or part of one, and noise stands in
//! between. After a failed check exactly one byte is skipped, never the announced length: both
//! start bytes occur inside payloads, and a lie about the length must not swallow a good frame.

use crate::reading::Protocol;
use crate::{v4, v5};

/// Longest frame accepted. The largest ever seen is 1,445 bytes; the 16-bit length field would
/// allow 64 KiB, for which a false start byte could make a server wait.
pub const FRAME_BYTES_MAX: usize = 4096;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame<'a> {
    V5(v5::Frame<'a>),
    V4(v4::Frame<'a>),
}

impl<'a> Frame<'a> {
    /// Takes the bytes of a frame that [`step`] has found before, and does not sum them up again.
    /// `None` for bytes that cannot be one.
    pub fn known(raw: &'a [u8]) -> Option<Self> {
        match *raw.first()? {
            v5::START if raw.len() >= v5::OVERHEAD_BYTES => Some(Self::V5(v5::Frame::checked(raw))),
            v4::START if raw.len() >= v4::OVERHEAD_BYTES => Some(Self::V4(v4::Frame::checked(raw))),
            _ => None,
        }
    }

    pub fn raw(&self) -> &'a [u8] {
        match self {
            Self::V5(frame) => frame.raw(),
            Self::V4(frame) => frame.raw(),
        }
    }

    pub fn logger_sn(&self) -> u32 {
        match self {
            Self::V5(frame) => frame.logger_sn(),
            Self::V4(frame) => frame.logger_sn(),
        }
    }

    pub fn protocol(&self) -> Protocol {
        match self {
            Self::V5(_) => Protocol::V5,
            Self::V4(_) => Protocol::V4,
        }
    }
}

/// Why bytes were not taken as a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rejection {
    /// Bytes that start no frame.
    Noise,
    /// The announced length is over [`FRAME_BYTES_MAX`].
    TooLong,
    /// A byte or serial of the header that is the same in every frame is not.
    Control,
    End,
    Checksum,
    /// A frame that was never completed; the caller gave it up.
    Stale,
}

impl Rejection {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Noise => "noise",
            Self::TooLong => "too_long",
            Self::Control => "control",
            Self::End => "end",
            Self::Checksum => "checksum",
            Self::Stale => "stale",
        }
    }
}

/// What the bytes at hand allow to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// A frame of `used` bytes.
    Frame { frame: Frame<'a>, used: usize },
    /// Drop `used` bytes, at least one. A run of bytes that start nothing is one step.
    Skip { reason: Rejection, used: usize },
    /// The bytes may be the beginning of a frame; `bytes` are wanted, counted from their start.
    Need { bytes: usize },
}

/// Looks at the bytes of a connection that are not done with.
pub fn step(buffer: &[u8]) -> Step<'_> {
    match buffer.first() {
        Some(&v5::START) => v5_step(buffer),
        Some(&v4::START) => v4_step(buffer),
        Some(_) => {
            let starts = |byte: &u8| matches!(*byte, v5::START | v4::START);
            let used = buffer.iter().position(starts).unwrap_or(buffer.len());
            Step::Skip {
                reason: Rejection::Noise,
                used,
            }
        }
        None => Step::Need { bytes: 1 },
    }
}

fn v5_step(buffer: &[u8]) -> Step<'_> {
    // Each byte is judged as soon as it is there, so that a false start holds up as little as
    // possible of what follows.
    let Some(&[low, high]) = buffer.get(1..3).and_then(|bytes| bytes.first_chunk::<2>()) else {
        return Step::Need {
            bytes: v5::HEADER_BYTES,
        };
    };
    let total = usize::from(u16::from_le_bytes([low, high])) + v5::OVERHEAD_BYTES;
    if total > FRAME_BYTES_MAX {
        return skip(Rejection::TooLong);
    }
    match buffer.get(3) {
        Some(&v5::CONTROL) => {}
        Some(_) => return skip(Rejection::Control),
        None => {
            return Step::Need {
                bytes: v5::HEADER_BYTES,
            };
        }
    }
    let Some(raw) = buffer.get(..total) else {
        return Step::Need { bytes: total };
    };
    if let Some(reason) = flaw(raw, v5::END) {
        return skip(reason);
    }
    Step::Frame {
        frame: Frame::V5(v5::Frame::checked(raw)),
        used: total,
    }
}

fn v4_step(buffer: &[u8]) -> Step<'_> {
    let Some(header) = buffer.get(..v4::HEADER_BYTES) else {
        return Step::Need {
            bytes: v4::HEADER_BYTES,
        };
    };
    if header[4..8] != header[8..12] {
        return skip(Rejection::Control);
    }
    let total = usize::from(header[1]) + v4::OVERHEAD_BYTES;
    let Some(raw) = buffer.get(..total) else {
        return Step::Need { bytes: total };
    };
    if let Some(reason) = flaw(raw, v4::END) {
        return skip(reason);
    }
    Step::Frame {
        frame: Frame::V4(v4::Frame::checked(raw)),
        used: total,
    }
}

fn flaw(raw: &[u8], end: u8) -> Option<Rejection> {
    let [body @ .., sum, last] = raw else {
        return Some(Rejection::End);
    };
    if *last != end {
        return Some(Rejection::End);
    }
    (v5::checksum(&body[1..]) != *sum).then_some(Rejection::Checksum)
}

fn skip<'a>(reason: Rejection) -> Step<'a> {
    Step::Skip { reason, used: 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heartbeat() -> Vec<u8> {
        v5::encode(v5::HEARTBEAT, 7, 8, 4_000_000_001, &[0])
    }

    #[test]
    fn a_whole_frame_is_found() {
        let bytes = heartbeat();
        let Step::Frame {
            frame: Frame::V5(frame),
            used,
        } = step(&bytes)
        else {
            panic!()
        };
        assert_eq!(used, 14);
        assert_eq!(
            (frame.kind(), frame.server_counter(), frame.logger_counter()),
            (0x47, 7, 8)
        );
        assert_eq!(
            (frame.logger_sn(), frame.payload()),
            (4_000_000_001, &[0][..])
        );
        assert!(frame.wants_answer() && !frame.is_answer());
    }

    #[test]
    fn every_prefix_wants_more() {
        let bytes = heartbeat();
        for end in 1..bytes.len() {
            let Step::Need { bytes: wanted } = step(&bytes[..end]) else {
                panic!("at {end}")
            };
            assert!(wanted > end && wanted <= bytes.len());
        }
    }

    #[test]
    fn each_flaw_has_its_reason_and_costs_one_byte() {
        let damaged = |at: usize, value: u8| {
            let mut bytes = heartbeat();
            bytes[at] = value;
            match step(&bytes) {
                Step::Skip { reason, used: 1 } => reason,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(damaged(2, 0xFF), Rejection::TooLong);
        assert_eq!(damaged(3, 0x11), Rejection::Control);
        assert_eq!(damaged(11, 1), Rejection::Checksum);
        assert_eq!(damaged(13, 0x16), Rejection::End);
    }

    #[test]
    fn a_frame_that_was_found_is_known_again() {
        let logger = v4::encode([0x51, 0xB0], 7, &[0x81, 1, 5]);
        for bytes in [heartbeat(), logger] {
            let Step::Frame { frame, .. } = step(&bytes) else {
                panic!()
            };
            assert_eq!(Frame::known(frame.raw()), Some(frame));
        }
        for nothing in [
            &b""[..],
            &[v5::START; 12],
            &[v4::START; 13],
            b"AT+YZCMPVER=1\r\n",
        ] {
            assert_eq!(Frame::known(nothing), None);
        }
    }

    #[test]
    fn a_v4_frame_states_its_serial_twice() {
        let mut bytes = v4::encode([0x51, 0xB0], 7, &[0x81, 1, 5]);
        assert!(matches!(
            step(&bytes),
            Step::Frame {
                frame: Frame::V4(_),
                used: 17
            }
        ));
        bytes[8] ^= 1;
        assert_eq!(step(&bytes), skip(Rejection::Control));
    }

    #[test]
    fn noise_is_one_step_up_to_the_next_start_byte() {
        let bytes = [b"AT+YZCMPVER=1\r\n".to_vec(), heartbeat()].concat();
        assert_eq!(
            step(&bytes),
            Step::Skip {
                reason: Rejection::Noise,
                used: 15
            }
        );
        assert_eq!(
            step(b"none"),
            Step::Skip {
                reason: Rejection::Noise,
                used: 4
            }
        );
    }
}
