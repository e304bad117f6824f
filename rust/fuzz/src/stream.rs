//! Does it matter how TCP cuts a stream, and does every byte come to an end?
//!
//! Input: number of cuts, so many cuts, then the stream. A cut is the length of a piece; the highest
//! values stand for the time-out that gives up half a frame before the next piece.

use autarco_protocol::frame::{FRAME_BYTES_MAX, Rejection, Step, step};
use autarco_protocol::{v4, v5};

use super::input::Input;

const REJECTIONS: [Rejection; 6] = [
    Rejection::Noise,
    Rejection::TooLong,
    Rejection::Control,
    Rejection::End,
    Rejection::Checksum,
    Rejection::Stale,
];

pub fn check(input: &[u8]) {
    let (pieces, stream) = cut(input);

    let mut whole = Reader::default();
    whole.take(stream);
    let mut in_pieces = Reader::default();
    let mut timed_out = Reader::default();
    for piece in &pieces {
        match piece {
            Piece::Bytes(bytes) => {
                in_pieces.take(bytes);
                timed_out.take(bytes);
            }
            Piece::TimeOut => timed_out.give_up(),
        }
    }
    assert_eq!(whole, in_pieces, "cutting a stream changes what is found");

    // Whatever came before: a good frame behind enough silence is found, with and without time-outs.
    let heartbeat = v5::encode(v5::HEARTBEAT, 1, 2, 4_012_345_678, &[0]);
    for reader in [&mut whole, &mut timed_out] {
        reader.take(&[0; FRAME_BYTES_MAX]);
        reader.take(&heartbeat);
        assert_eq!(reader.frames.last(), Some(&heartbeat));
        assert!(reader.partial.is_empty());
        let framed: usize = reader.frames.iter().map(Vec::len).sum();
        let rejected: usize = reader.rejected.iter().sum();
        let fed = stream.len() + FRAME_BYTES_MAX + heartbeat.len();
        assert_eq!(framed + rejected, fed, "bytes were lost or counted twice");
    }

    // Half a frame that stays half a frame is given up byte by byte, until nothing is left.
    while !in_pieces.partial.is_empty() {
        let before = in_pieces.partial.len();
        in_pieces.give_up();
        assert!(in_pieces.partial.len() < before, "giving up stands still");
    }
}

pub enum Piece<'a> {
    Bytes(&'a [u8]),
    TimeOut,
}

/// The pieces of the stream, and the whole of it.
pub fn cut(input: &[u8]) -> (Vec<Piece<'_>>, &[u8]) {
    let mut input = Input(input);
    let count = usize::from(input.u8());
    let cuts = input.bytes(count);
    let stream = input.rest();
    let mut pieces = Vec::new();
    let mut left = Input(stream);
    for &cut in cuts {
        pieces.push(match cut {
            0xF0.. => Piece::TimeOut,
            0xC0.. => Piece::Bytes(left.bytes(usize::from(cut - 0xBF) * 64)),
            _ => Piece::Bytes(left.bytes(usize::from(cut) + 1)),
        });
    }
    pieces.push(Piece::Bytes(left.rest()));
    (pieces, stream)
}

/// A reader that does what `take`, `scan` and `give_up_partial` of the gateway's intake do.
#[derive(Debug, Default, PartialEq)]
pub struct Reader {
    pub frames: Vec<Vec<u8>>,
    /// Bytes by [`Rejection`]: how noise is divided into steps depends on the cuts, its sum does not.
    pub rejected: [usize; REJECTIONS.len()],
    pub partial: Vec<u8>,
}

impl Reader {
    pub fn take(&mut self, bytes: &[u8]) {
        let mut buffer = std::mem::take(&mut self.partial);
        buffer.extend_from_slice(bytes);
        let used = self.scan(&buffer);
        buffer.drain(..used);
        assert!(buffer.len() < FRAME_BYTES_MAX, "holds back too much");
        self.partial = buffer;
    }

    /// Drops the first byte of half a frame; the gateway does so only when there is one.
    pub fn give_up(&mut self) {
        if self.partial.is_empty() {
            return;
        }
        let mut buffer = std::mem::take(&mut self.partial);
        self.reject(Rejection::Stale, 1);
        let used = 1 + self.scan(&buffer[1..]);
        buffer.drain(..used);
        self.partial = buffer;
    }

    fn scan(&mut self, bytes: &[u8]) -> usize {
        let mut done = 0;
        while done < bytes.len() {
            let rest = &bytes[done..];
            match step(rest) {
                Step::Frame { frame, used } => {
                    assert_eq!(frame.raw(), &rest[..used]);
                    assert_frame(frame.raw());
                    self.frames.push(frame.raw().to_vec());
                    done += used;
                }
                Step::Skip { reason, used } => {
                    assert!((1..=rest.len()).contains(&used), "skips {used}");
                    assert!(used == 1 || reason == Rejection::Noise);
                    self.reject(reason, used);
                    done += used;
                }
                Step::Need { bytes } => {
                    assert!(bytes > rest.len(), "wants what it has");
                    assert!(bytes <= FRAME_BYTES_MAX, "wants {bytes}");
                    break;
                }
            }
        }
        done
    }

    fn reject(&mut self, reason: Rejection, bytes: usize) {
        let at = REJECTIONS.iter().position(|&known| known == reason);
        self.rejected[at.expect("every rejection is listed")] += bytes;
    }
}

/// The envelope as docs/protocol.md has it, written a second time.
fn assert_frame(raw: &[u8]) {
    let bytes = raw.len();
    assert!(bytes <= FRAME_BYTES_MAX);
    match raw[0] {
        v5::START => {
            assert_eq!(
                usize::from(raw[1]) + 256 * usize::from(raw[2]) + 13,
                bytes,
                "V5 length"
            );
            assert_eq!((raw[3], raw[bytes - 1]), (0x10, 0x15));
        }
        v4::START => {
            assert_eq!(usize::from(raw[1]) + 14, bytes, "V4 length");
            assert_eq!(raw[4..8], raw[8..12], "V4 serial");
            assert_eq!(raw[bytes - 1], 0x16);
        }
        other => panic!("a frame that starts with {other:#04x}"),
    }
    let sum: u32 = raw[1..bytes - 2].iter().map(|&byte| u32::from(byte)).sum();
    assert_eq!(sum % 256, u32::from(raw[bytes - 2]), "checksum");
}
