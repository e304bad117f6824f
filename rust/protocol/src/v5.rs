//! The Solarman V5 envelope, in both directions. All numbers are little-endian.
//!
//! `A5 | length u16 | 10 | type | server counter | logger counter | serial u32 | payload | sum | 15`

pub const START: u8 = 0xA5;
pub const END: u8 = 0x15;
/// Low byte of the control code; the same in every frame ever seen.
pub const CONTROL: u8 = 0x10;
pub const HEADER_BYTES: usize = 11;
/// Header, checksum and end.
pub const OVERHEAD_BYTES: usize = 13;

/// Bits of the type byte; an answer's type is its request's type - 0x30.
pub const WANTS_ANSWER: u8 = 0x40;
pub const IS_ANSWER: u8 = 0x10;

pub const HANDSHAKE: u8 = 0x41;
pub const DATA: u8 = 0x42;
/// Data that wants no answer, as a stick sends to its second server.
pub const DATA_UNANSWERED: u8 = 0x02;
pub const LINK_EVENT: u8 = 0x43;
pub const COMMAND: u8 = 0x45;
pub const HEARTBEAT: u8 = 0x47;
pub const REPORT: u8 = 0x48;

/// A frame whose start, length, control byte, checksum and end are right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    raw: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The caller ([`crate::frame::step`]) has checked the envelope.
    pub(crate) fn checked(raw: &'a [u8]) -> Self {
        debug_assert!(raw.len() >= OVERHEAD_BYTES);
        Self { raw }
    }

    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// The type byte.
    pub fn kind(&self) -> u8 {
        self.raw[4]
    }

    pub fn server_counter(&self) -> u8 {
        self.raw[5]
    }

    pub fn logger_counter(&self) -> u8 {
        self.raw[6]
    }

    pub fn logger_sn(&self) -> u32 {
        u32::from_le_bytes([self.raw[7], self.raw[8], self.raw[9], self.raw[10]])
    }

    pub fn payload(&self) -> &'a [u8] {
        &self.raw[HEADER_BYTES..self.raw.len() - 2]
    }

    pub fn wants_answer(&self) -> bool {
        self.kind() & WANTS_ANSWER != 0 && !self.is_answer()
    }

    pub fn is_answer(&self) -> bool {
        self.kind() & IS_ANSWER != 0
    }
}

/// The sum that stands before the end byte: everything but start, sum and end, modulo 256.
pub fn checksum(body: &[u8]) -> u8 {
    body.iter().fold(0, |sum, &byte| sum.wrapping_add(byte))
}

/// Builds a frame.
///
/// # Panics
/// When the payload is longer than a 16-bit length can say.
pub fn encode(
    kind: u8,
    server_counter: u8,
    logger_counter: u8,
    logger_sn: u32,
    payload: &[u8],
) -> Vec<u8> {
    let length = u16::try_from(payload.len()).expect("a payload is at most 65535 bytes");
    let mut frame = Vec::with_capacity(payload.len() + OVERHEAD_BYTES);
    frame.push(START);
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(&[CONTROL, kind, server_counter, logger_counter]);
    frame.extend_from_slice(&logger_sn.to_le_bytes());
    frame.extend_from_slice(payload);
    frame.push(checksum(&frame[1..]));
    frame.push(END);
    frame
}
