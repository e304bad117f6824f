//! The Ginlong/Omnik V4 push envelope.
//!
//! `68 | length u8 | control 2 bytes | serial u32 LE twice | payload | sum | 16`

pub const START: u8 = 0x68;
pub const END: u8 = 0x16;
pub const HEADER_BYTES: usize = 12;
/// Header, checksum and end.
pub const OVERHEAD_BYTES: usize = 14;

/// First payload byte of a data frame and of an info frame.
const DATA: u8 = 0x81;
const INFO: u8 = 0x80;
/// Second control byte of a text frame.
const TEXT_CONTROL: u8 = 0xF0;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    Data,
    /// The stick's firmware.
    Info,
    /// A line such as "DATA SEND IS OK".
    Text,
    Other,
}

/// A frame whose start, length, doubled serial, checksum and end are right.
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

    pub fn control(&self) -> [u8; 2] {
        [self.raw[2], self.raw[3]]
    }

    pub fn logger_sn(&self) -> u32 {
        u32::from_le_bytes([self.raw[4], self.raw[5], self.raw[6], self.raw[7]])
    }

    pub fn payload(&self) -> &'a [u8] {
        &self.raw[HEADER_BYTES..self.raw.len() - 2]
    }

    pub fn content(&self) -> Content {
        match (self.control()[1], self.payload().first()) {
            (TEXT_CONTROL, _) => Content::Text,
            (_, Some(&DATA)) => Content::Data,
            (_, Some(&INFO)) => Content::Info,
            _ => Content::Other,
        }
    }
}

/// Builds a frame.
///
/// # Panics
/// When the payload is longer than an 8-bit length can say.
pub fn encode(control: [u8; 2], logger_sn: u32, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("a payload is at most 255 bytes");
    let mut frame = Vec::with_capacity(payload.len() + OVERHEAD_BYTES);
    frame.extend_from_slice(&[START, length, control[0], control[1]]);
    frame.extend_from_slice(&logger_sn.to_le_bytes());
    frame.extend_from_slice(&logger_sn.to_le_bytes());
    frame.extend_from_slice(payload);
    frame.push(crate::v5::checksum(&frame[1..]));
    frame.push(END);
    frame
}
