//! What is read of a journal segment that a crash, a disk or a stranger has written to?
//!
//! Input: mode. Mode 0: the rest is the file, byte for byte. Else: number of records (each a length
//! and the bytes it repeats), then [`damage`] until the input ends.

use autarco_gateway::journal::{Records, push_record};

use super::input::Input;

pub const HEADER_BYTES: usize = 32;
pub const RECORD_HEADER_BYTES: usize = 8;
pub const BODY_BYTES_MAX: usize = 16 * 1024;
/// An end that means: the whole segment.
pub const WHOLE: u32 = u32::MAX;
/// Records per segment, and damages to it, in one input: more find nothing that these do not.
const RECORDS_MAX: usize = 12;
const DAMAGES_MAX: usize = 6;
/// The bytes that a long body repeats.
const PATTERN_BYTES: usize = 24;
const NUMBER: u64 = 1;

pub fn check(input: &[u8]) {
    let mut input = Input(input);
    if input.u8() == 0 {
        let file = input.rest();
        for number in [0, NUMBER, u64::MAX] {
            assert_bounds(file, number);
        }
        return;
    }
    let bodies = bodies(&mut input);
    let mut segment = header(NUMBER, 0, WHOLE).to_vec();
    let mut ends = Vec::new();
    for body in &bodies {
        push_record(&mut segment, body);
        ends.push(segment.len());
    }
    let written = segment.clone();
    segment.extend_from_slice(&[0; 64]);
    let damages = damage(&mut segment, &mut input);
    let read = assert_bounds(&segment, NUMBER);

    let first_changed = written
        .iter()
        .zip(&segment)
        .position(|(before, after)| before != after)
        .unwrap_or(segment.len().min(written.len()));
    let unharmed = match first_changed {
        ..HEADER_BYTES => 0,
        _ => ends.iter().filter(|&&end| end <= first_changed).count(),
    };
    assert!(
        read.len() >= unharmed,
        "{} of {unharmed} records before the damage at {first_changed}",
        read.len()
    );
    assert_eq!(read[..unharmed], bodies[..unharmed]);
    // A CRC32C sees every damage of one place of up to 32 bits, and a cut is an end. Only several
    // damages together may forge what was never written.
    if damages == Damages::Small {
        assert!(bodies.starts_with(&read), "reads what was not written");
    }
}

/// Reads a segment and checks what holds for any bytes.
fn assert_bounds(segment: &[u8], number: u64) -> Vec<Vec<u8>> {
    let mut records = Records::new(segment, number);
    let mut used = HEADER_BYTES;
    let mut read = Vec::new();
    for body in records.by_ref() {
        assert!((1..=BODY_BYTES_MAX).contains(&body.len()));
        used += RECORD_HEADER_BYTES + body.len();
        read.push(body.to_vec());
    }
    let is_ours = segment.get(..HEADER_BYTES).is_some_and(|header| {
        let (front, crc) = header.split_at(HEADER_BYTES - 4);
        front.starts_with(b"AUTJRNL1")
            && front[8..16] == number.to_le_bytes()
            && crc == crc32c::crc32c(front).to_le_bytes()
    });
    let behind = if is_ours {
        segment.get(used..).expect("reads no more than there is")
    } else {
        assert!(read.is_empty(), "records without a header");
        segment
    };
    let torn = behind.iter().rposition(|&byte| byte != 0);
    assert_eq!(records.torn_bytes(), torn.map_or(0, |last| last + 1));
    assert_eq!(records.next(), None, "goes on behind its end");
    read
}

/// The header as the comment of `journal.rs` has it, written a second time.
pub fn header(number: u64, durable_number: u64, durable_end: u32) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(b"AUTJRNL1");
    header[8..16].copy_from_slice(&number.to_le_bytes());
    header[16..24].copy_from_slice(&durable_number.to_le_bytes());
    header[24..28].copy_from_slice(&durable_end.to_le_bytes());
    let crc = crc32c::crc32c(&header[..28]);
    header[28..].copy_from_slice(&crc.to_le_bytes());
    header
}

fn bodies(input: &mut Input<'_>) -> Vec<Vec<u8>> {
    (0..usize::from(input.u8()) % (RECORDS_MAX + 1))
        .map(|_| body(input))
        .collect()
}

/// A body of any allowed length for few bytes of input; most are short, as records are.
pub fn body(input: &mut Input<'_>) -> Vec<u8> {
    let choice = input.u16();
    let most = if choice < 0xF000 { 300 } else { BODY_BYTES_MAX };
    let length = usize::from(choice) % most + 1;
    let mut body = input.bytes(length.min(PATTERN_BYTES)).to_vec();
    let pattern = body.len();
    body.resize(length, 0);
    for at in pattern..length {
        body[at] = if pattern == 0 { 0 } else { body[at - pattern] };
    }
    body
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damages {
    /// At most one, of at most 32 bits or at the end.
    Small,
    Any,
}

/// Flips, cuts, inserts, removes, wipes and repeats bytes, as long as the input asks for it.
pub fn damage(segment: &mut Vec<u8>, input: &mut Input<'_>) -> Damages {
    let mut is_small = true;
    for count in 0..DAMAGES_MAX {
        if input.is_empty() || segment.is_empty() {
            break;
        }
        let kind = input.u8() % 7;
        let at = input.u32() as usize % segment.len();
        is_small = count == 0 && kind <= 2;
        match kind {
            0 => segment[at] ^= input.u8(),
            1 => segment.truncate(at),
            2 => segment[at..].fill(0),
            3 => {
                let bytes = usize::from(input.u8());
                segment.splice(at..at, input.bytes(bytes).iter().copied());
            }
            4 => {
                let end = (at + usize::from(input.u16())).min(segment.len());
                segment.drain(at..end);
            }
            5 => {
                let end = (at + usize::from(input.u16())).min(segment.len());
                segment[at..end].fill(0);
            }
            // An old part of the file over a newer one, as a lost write leaves it.
            _ => {
                let from = input.u32() as usize % segment.len();
                let bytes = usize::from(input.u16()).min(segment.len() - at.max(from));
                segment.copy_within(from..from + bytes, at);
            }
        }
    }
    if is_small {
        Damages::Small
    } else {
        Damages::Any
    }
}
