//! Which bytes of a data frame mean what? One table per device family.
//!
//! A new device is a new table in a file beside this one and its line in [`LAYOUTS`]; nothing else
//! changes. Offsets count from the first byte of the V5 payload, as in docs/protocol.md; a layout
//! whose record stands elsewhere in the frame says so by `base`.

mod deye;
mod ginlong_v4;
mod meter;
mod sofar;
mod solis;

use crate::columns::{Counter, Measure};
use crate::reading::Protocol;

/// How a number stands on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Raw {
    U8,
    U16Le,
    I16Le,
    U24Le,
    U32Le,
    I32Le,
    U16Be,
    I16Be,
    U32Be,
    I32Be,
    /// Three `U16Be`, one per phase and four bytes apart: their sum. Phases that are not connected
    /// count nothing.
    PhaseSumU16Be,
}

impl Raw {
    /// The number at `at`; `None` outside the payload and for the all-ones pattern by which
    /// unsigned registers say "not connected".
    #[inline]
    pub fn read(self, payload: &[u8], at: usize) -> Option<i64> {
        let rest = payload.get(at..)?;
        let unless = |value: u32, absent: u32| (value != absent).then_some(i64::from(value));
        match self {
            Self::U8 => rest.first().and_then(|&byte| unless(u32::from(byte), 0xFF)),
            Self::U16Le => unless(u32::from(u16::from_le_bytes(*rest.first_chunk()?)), 0xFFFF),
            Self::U16Be => unless(u32::from(u16::from_be_bytes(*rest.first_chunk()?)), 0xFFFF),
            Self::I16Le => Some(i64::from(i16::from_le_bytes(*rest.first_chunk()?))),
            Self::I16Be => Some(i64::from(i16::from_be_bytes(*rest.first_chunk()?))),
            Self::U24Le => {
                let &[low, middle, high] = rest.first_chunk()?;
                unless(u32::from_le_bytes([low, middle, high, 0]), 0xFF_FFFF)
            }
            Self::U32Le => unless(u32::from_le_bytes(*rest.first_chunk()?), u32::MAX),
            Self::U32Be => unless(u32::from_be_bytes(*rest.first_chunk()?), u32::MAX),
            Self::I32Le => Some(i64::from(i32::from_le_bytes(*rest.first_chunk()?))),
            Self::I32Be => Some(i64::from(i32::from_be_bytes(*rest.first_chunk()?))),
            Self::PhaseSumU16Be => {
                let &[h1, l1, _, _, h2, l2, _, _, h3, l3] = rest.first_chunk()?;
                [[h1, l1], [h2, l2], [h3, l3]]
                    .into_iter()
                    .filter_map(|phase| unless(u32::from(u16::from_be_bytes(phase)), 0xFFFF))
                    .reduce(|sum, phase| sum + phase)
            }
        }
    }
}

/// Where a field of the table comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Field {
    pub column: Column,
    pub at: usize,
    pub raw: Raw,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Column {
    /// `per` wire units are one unit of the column: dividing keeps 2382 / 10 = 238.2 exact to the
    /// last bit of a float32, multiplying by 0.1 would not.
    Measure { measure: Measure, per: f64 },
    /// One wire unit is so many Wh.
    Counter { counter: Counter, wh: i64 },
}

/// A value that `decode` shows and the table does not keep.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Detail {
    Number {
        name: &'static str,
        at: usize,
        raw: Raw,
        per: f64,
    },
    Text {
        name: &'static str,
        at: usize,
        bytes: usize,
    },
}

/// The inverter's own clock in the record: year since 2000, month, day, hour, minute, second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockAt {
    pub at: usize,
    pub raw: Raw,
}

/// The vendor's status word, and the SunSpec `St` of each of its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusAt {
    /// What goes to `status_vendor`.
    pub vendor_at: usize,
    /// What `status` is derived from.
    pub at: usize,
    pub raw: Raw,
    pub map: &'static [(u16, u8)],
}

/// SunSpec operating states (model 101, point St).
pub mod st {
    pub const STARTING: u8 = 3;
    pub const MPPT: u8 = 4;
    pub const FAULT: u8 = 7;
    pub const STANDBY: u8 = 8;
}

#[derive(Debug, Clone, Copy)]
pub struct Layout {
    pub name: &'static str,
    pub protocol: Protocol,
    pub sensor_type: u16,
    /// Payload lengths that this layout describes.
    pub payload_bytes: (usize, usize),
    /// Added to every offset.
    pub base: isize,
    /// Whether the record begins with working time, power-on time and offset.
    pub stick_clock: bool,
    /// The inverter's serial number: offset and length.
    pub serial: (usize, usize),
    pub fields: &'static [&'static [Field]],
    pub details: &'static [&'static [Detail]],
    pub status: Option<StatusAt>,
    /// Fault words: offset and length.
    pub faults: Option<(usize, usize)>,
    pub clock: Option<ClockAt>,
}

impl Layout {
    /// A record offset as an offset into the payload.
    #[inline]
    pub fn at(&self, offset: usize) -> usize {
        offset.wrapping_add_signed(self.base)
    }
}

/// Every known layout. The first that fits a frame describes it.
static LAYOUTS: &[&Layout] = &[
    &solis::X0507,
    &solis::X0503,
    &solis::X0504,
    &solis::X0501,
    &sofar::X2701,
    &deye::X5408,
    &meter::XE025,
    &ginlong_v4::WRAPPED_0503,
    &ginlong_v4::SOLIS_0503_LONG,
    &ginlong_v4::SOLIS_0503,
    &ginlong_v4::SOLIS_0501,
    &ginlong_v4::GINLONG_1601,
    &ginlong_v4::OMNIK_0102,
];

/// What was found for a sensor type.
#[derive(Debug, Clone, Copy)]
pub enum Found {
    Layout(&'static Layout),
    /// The sensor type is known, but not with a payload of this length.
    OtherLength,
    Unknown,
}

pub fn find(protocol: Protocol, sensor_type: u16, payload_bytes: usize) -> Found {
    let mut found = Found::Unknown;
    for layout in LAYOUTS {
        if (layout.protocol, layout.sensor_type) == (protocol, sensor_type) {
            let (least, most) = layout.payload_bytes;
            if (least..=most).contains(&payload_bytes) {
                return Found::Layout(layout);
            }
            found = Found::OtherLength;
        }
    }
    found
}

/// All layouts, for tests and documentation.
pub fn all() -> impl Iterator<Item = &'static Layout> {
    LAYOUTS.iter().copied()
}

const fn measure(measure: Measure, at: usize, raw: Raw, per: f64) -> Field {
    Field {
        column: Column::Measure { measure, per },
        at,
        raw,
    }
}

const fn counter(counter: Counter, at: usize, raw: Raw, wh: i64) -> Field {
    Field {
        column: Column::Counter { counter, wh },
        at,
        raw,
    }
}

const fn number(name: &'static str, at: usize, raw: Raw, per: f64) -> Detail {
    Detail::Number { name, at, raw, per }
}

const fn words(name: &'static str, at: usize, bytes: usize) -> Detail {
    Detail::Text { name, at, bytes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_lies_inside_the_shortest_payload_of_its_layout() {
        for layout in all() {
            for field in layout.fields.iter().copied().flatten() {
                let zeros = vec![0; layout.payload_bytes.0];
                assert!(
                    field.raw.read(&zeros, layout.at(field.at)).is_some(),
                    "{}: {field:?}",
                    layout.name
                );
            }
        }
    }

    #[test]
    fn no_layout_fills_a_column_twice() {
        for layout in all() {
            let mut names: Vec<_> = layout
                .fields
                .iter()
                .copied()
                .flatten()
                .map(|field| match field.column {
                    Column::Measure { measure, .. } => measure.name(),
                    Column::Counter { counter, .. } => counter.name(),
                })
                .collect();
            names.sort_unstable();
            let count = names.len();
            names.dedup();
            assert_eq!(names.len(), count, "{}", layout.name);
        }
    }

    #[test]
    fn sentinels_and_missing_bytes_are_absent() {
        assert_eq!(Raw::U16Le.read(&[0xFF, 0xFF], 0), None);
        assert_eq!(Raw::I16Le.read(&[0xFF, 0xFF], 0), Some(-1));
        assert_eq!(Raw::U24Le.read(&[1, 0, 0], 0), Some(1));
        assert_eq!(Raw::U24Le.read(&[1, 0], 0), None);
        assert_eq!(Raw::U32Be.read(&[0, 0, 1, 0], 0), Some(256));
        assert_eq!(Raw::U8.read(&[], usize::MAX), None);
    }

    #[test]
    fn the_power_of_three_phases_is_their_sum() {
        let sum = |phases: [u16; 3]| {
            let mut payload = vec![0xAA; 10];
            for (n, phase) in phases.into_iter().enumerate() {
                payload[4 * n..4 * n + 2].copy_from_slice(&phase.to_be_bytes());
            }
            Raw::PhaseSumU16Be.read(&payload, 0)
        };
        assert_eq!(sum([1000, 900, 800]), Some(2700));
        assert_eq!(sum([1000, 0xFFFF, 0xFFFF]), Some(1000));
        assert_eq!(sum([0xFFFF; 3]), None);
        assert_eq!(Raw::PhaseSumU16Be.read(&[0; 9], 0), None);
    }
}
