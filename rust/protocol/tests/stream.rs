//! However a stream is cut and whatever stands between frames, the same frames come out.

mod common;

use autarco_protocol::frame::{FRAME_BYTES_MAX, Step, step};
use autarco_protocol::{v4, v5};
use common::{all_frames, only};
use proptest::prelude::*;

/// A reader like the gateway's: keeps what is not done with.
#[derive(Default)]
struct Reader {
    buffer: Vec<u8>,
    frames: Vec<Vec<u8>>,
    skipped: usize,
}

impl Reader {
    fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
        let mut done = 0;
        while done < self.buffer.len() {
            match step(&self.buffer[done..]) {
                Step::Frame { frame, used } => {
                    self.frames.push(frame.raw().to_vec());
                    done += used;
                }
                Step::Skip { used, .. } => {
                    self.skipped += used;
                    done += used;
                }
                Step::Need { .. } => break,
            }
        }
        self.buffer.drain(..done);
    }
}

fn frame() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        (
            any::<u8>(),
            any::<[u8; 2]>(),
            any::<u32>(),
            prop::collection::vec(any::<u8>(), 0..400)
        )
            .prop_map(|(kind, [a, b], sn, payload)| v5::encode(kind, a, b, sn, &payload)),
        (
            any::<[u8; 2]>(),
            any::<u32>(),
            prop::collection::vec(any::<u8>(), 0..255)
        )
            .prop_map(|(control, sn, payload)| v4::encode(control, sn, &payload)),
        prop::sample::select(all_frames()),
    ]
}

/// Bytes that start no frame: noise with a start byte in it may swallow what follows for a while,
/// which is what the time-out of the gateway is for.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let byte = any::<u8>().prop_filter("no start byte", |byte| !matches!(byte, 0xA5 | 0x68));
    prop::collection::vec(byte, 0..40)
}

/// Anything, and often what looks like the beginning of a frame.
fn garbage() -> impl Strategy<Value = Vec<u8>> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..40);
    prop_oneof![
        noise(),
        bytes(),
        (any::<[u8; 2]>(), bytes()).prop_map(|([low, high], rest)| [
            &[0xA5, low, high & 0x0F, 0x10],
            &rest[..]
        ]
        .concat()),
        (any::<u8>(), any::<[u8; 2]>(), any::<[u8; 4]>(), bytes()).prop_map(
            |(length, control, sn, rest)| {
                [&[0x68, length], &control[..], &sn, &sn, &rest].concat()
            }
        ),
    ]
}

/// As many bytes as complete whatever a false start announces, and start nothing themselves.
const FILLER: [u8; FRAME_BYTES_MAX] = [0; FRAME_BYTES_MAX];

#[test]
fn a_text_frame_and_its_padding_cost_nothing() {
    let text = v4::encode([0x51, 0xF0], 7, b"NO INVERTER DATA\r\n");
    let after = v5::encode(v5::HEARTBEAT, 1, 2, 7, &[0]);
    let mut reader = Reader::default();
    for part in [&text[..], &[0xFF; 90], b"AT+YZCMPVER=1\r\n\r\n", &after] {
        reader.feed(part);
    }
    assert_eq!(reader.frames, [text, after]);
    assert_eq!(reader.skipped, 90 + 17);
}

proptest! {
    #[test]
    fn v5_round_trip(
        kind: u8, server: u8, logger: u8, sn: u32,
        payload in prop::collection::vec(any::<u8>(), 0..4000),
    ) {
        let bytes = v5::encode(kind, server, logger, sn, &payload);
        let autarco_protocol::frame::Frame::V5(frame) = only(&bytes) else { panic!() };
        prop_assert_eq!(frame.kind(), kind);
        prop_assert_eq!(frame.server_counter(), server);
        prop_assert_eq!(frame.logger_counter(), logger);
        prop_assert_eq!(frame.logger_sn(), sn);
        prop_assert_eq!(frame.payload(), &payload[..]);
    }

    #[test]
    fn v4_round_trip(
        control: [u8; 2], sn: u32, payload in prop::collection::vec(any::<u8>(), 0..=255),
    ) {
        let bytes = v4::encode(control, sn, &payload);
        let autarco_protocol::frame::Frame::V4(frame) = only(&bytes) else { panic!() };
        prop_assert_eq!(frame.control(), control);
        prop_assert_eq!(frame.logger_sn(), sn);
        prop_assert_eq!(frame.payload(), &payload[..]);
    }

    #[test]
    fn frames_between_noise_come_out_in_order_however_they_are_cut(
        parts in prop::collection::vec((noise(), frame()), 1..12),
        cuts in prop::collection::vec(1_usize..300, 1..60),
    ) {
        let stream: Vec<u8> = parts.iter().flat_map(|(noise, frame)| [noise, frame]).flatten().copied().collect();
        let mut reader = Reader::default();
        let mut rest = &stream[..];
        for cut in cuts.into_iter().cycle() {
            if rest.is_empty() { break }
            let (now, later) = rest.split_at(cut.min(rest.len()));
            reader.feed(now);
            rest = later;
        }
        let frames: Vec<_> = parts.iter().map(|(_, frame)| frame.clone()).collect();
        prop_assert_eq!(reader.frames, frames);
        prop_assert_eq!(reader.skipped, parts.iter().map(|(noise, _)| noise.len()).sum::<usize>());
        prop_assert!(reader.buffer.is_empty());
    }

    #[test]
    fn a_damaged_byte_costs_no_other_frame(
        frames in prop::collection::vec(frame(), 2..6), at: prop::sample::Index, flip in 1_u8..,
    ) {
        let mut stream: Vec<u8> = frames[0].clone();
        // Lengths are left alone: a longer one is a frame that waits for more, see the time-out.
        let at = at.index(stream.len());
        prop_assume!(!(1..=2).contains(&at));
        stream[at] ^= flip;
        for frame in &frames[1..] { stream.extend_from_slice(frame) }
        // Enough behind them to complete whatever a false start inside the damaged frame announces.
        stream.extend_from_slice(&FILLER);
        let mut reader = Reader::default();
        reader.feed(&stream);
        prop_assert!(reader.frames.ends_with(&frames[1..]));
    }

    #[test]
    fn false_starts_between_frames_cost_none(
        parts in prop::collection::vec((garbage(), frame()), 1..8),
        cut in 1_usize..300,
    ) {
        let mut stream: Vec<u8> = parts.iter().flat_map(|(garbage, frame)| [garbage, frame]).flatten().copied().collect();
        stream.extend_from_slice(&FILLER);
        let mut reader = Reader::default();
        for part in stream.chunks(cut) { reader.feed(part) }
        let frames: Vec<_> = parts.iter().map(|(_, frame)| frame.clone()).collect();
        prop_assert_eq!(reader.frames, frames);
        prop_assert!(reader.buffer.is_empty());
    }
}
