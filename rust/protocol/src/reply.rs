//! What does the cloud answer? 23 bytes, as measured on 3,442 of 3,443 real exchanges.

use crate::v5::{self, Frame};

const LENGTH: u8 = 10;
/// An answer's type is its request's minus this.
const ANSWER_OFFSET: u8 = 0x30;
/// The only status ever seen.
const ACCEPTED: u8 = 1;

/// What of a request its answer repeats; small, kept until the request is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    kind: u8,
    server_counter: u8,
    logger_counter: u8,
    logger_sn: u32,
    echo: u8,
}

impl Reply {
    /// `None` when the frame is an answer itself or wants none.
    pub fn to(frame: &Frame<'_>) -> Option<Self> {
        frame.wants_answer().then(|| Self {
            kind: frame.kind() - ANSWER_OFFSET,
            // The real cloud counts per logger; sticks only repeat the number in their next frame,
            // so the successor of what they sent needs no memory here.
            server_counter: frame.server_counter().wrapping_add(1),
            logger_counter: frame.logger_counter(),
            logger_sn: frame.logger_sn(),
            echo: frame.payload().first().copied().unwrap_or(0),
        })
    }

    /// The answer's bytes. `offset_minutes` is the configured zone's offset from UTC at that moment:
    /// the stick very probably sets the inverter's clock by it, and with it the daily counters.
    pub fn encode(&self, now_unix_s: u32, offset_minutes: i32) -> [u8; 23] {
        let mut answer = [0; 23];
        answer[0] = v5::START;
        answer[1] = LENGTH;
        answer[3] = v5::CONTROL;
        answer[4] = self.kind;
        answer[5] = self.server_counter;
        answer[6] = self.logger_counter;
        answer[7..11].copy_from_slice(&self.logger_sn.to_le_bytes());
        answer[11] = self.echo;
        answer[12] = ACCEPTED;
        answer[13..17].copy_from_slice(&now_unix_s.to_le_bytes());
        answer[17..21].copy_from_slice(&offset_minutes.to_le_bytes());
        answer[21] = v5::checksum(&answer[1..21]);
        answer[22] = v5::END;
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Frame as AnyFrame, Step, step};

    fn reply_to(kind: u8, payload: &[u8]) -> Option<Reply> {
        let bytes = v5::encode(kind, 0xFF, 9, 7, payload);
        let Step::Frame {
            frame: AnyFrame::V5(frame),
            ..
        } = step(&bytes)
        else {
            panic!()
        };
        Reply::to(&frame)
    }

    #[test]
    fn an_answer_is_a_frame_that_echoes_its_request() {
        let answer = reply_to(v5::DATA, &[0x81, 2, 3])
            .unwrap()
            .encode(0x6065_4321, 120);
        let Step::Frame {
            frame: AnyFrame::V5(frame),
            used: 23,
        } = step(&answer)
        else {
            panic!()
        };
        assert_eq!(
            (frame.kind(), frame.server_counter(), frame.logger_counter()),
            (0x12, 0, 9)
        );
        assert_eq!(
            frame.payload(),
            [0x81, 1, 0x21, 0x43, 0x65, 0x60, 120, 0, 0, 0]
        );
    }

    #[test]
    fn answers_and_unanswered_data_get_none() {
        assert_eq!(reply_to(v5::DATA_UNANSWERED, &[1]), None);
        assert_eq!(reply_to(0x12, &[1]), None);
        assert_eq!(reply_to(0x15, &[1]), None);
        assert!(reply_to(v5::HEARTBEAT, &[]).is_some());
    }
}
