//! Frames of our own making: one valid data frame per layout, with values that tell bytes apart.
#![allow(dead_code, reason = "each test program uses its part")]

use autarco_protocol::columns::{Counter, Measure};
use autarco_protocol::frame::{Frame, Step, step};
use autarco_protocol::layouts::{self, Column, Layout, Raw};
use autarco_protocol::reading::{Context, Protocol};
use autarco_protocol::zone::Zone;
use autarco_protocol::{v4, v5};

pub(crate) const LOGGER_SN: u32 = 4_012_345_678;
/// 2026-06-01 12:00:00 UTC.
pub(crate) const SAMPLE_S: u32 = 1_780_315_200;
pub(crate) const WORKING_TIME_S: u32 = 1_000_000;
pub(crate) const RECEIVED_US: i64 = (SAMPLE_S as i64 + 5) * 1_000_000;

pub(crate) fn context(zone: &Zone) -> Context<'_> {
    Context {
        zone,
        received_at_us: RECEIVED_US,
        oldest_us: 1_420_070_400_000_000,
        ahead_us: 600_000_000,
    }
}

pub(crate) fn only(bytes: &[u8]) -> Frame<'_> {
    match step(bytes) {
        Step::Frame { frame, used } if used == bytes.len() => frame,
        other => panic!("no single frame: {other:?}"),
    }
}

pub(crate) fn put(payload: &mut [u8], at: usize, raw: Raw, value: i64) {
    let le = (value as u32).to_le_bytes();
    let be32 = (value as u32).to_be_bytes();
    match raw {
        Raw::U8 => payload[at] = le[0],
        Raw::U16Le | Raw::I16Le => payload[at..at + 2].copy_from_slice(&le[..2]),
        Raw::U24Le => payload[at..at + 3].copy_from_slice(&le[..3]),
        Raw::U32Le | Raw::I32Le => payload[at..at + 4].copy_from_slice(&le),
        Raw::U16Be | Raw::I16Be => payload[at..at + 2].copy_from_slice(&be32[2..]),
        // All in the first phase; the others are left at zero.
        Raw::PhaseSumU16Be => payload[at..at + 2].copy_from_slice(&be32[2..]),
        Raw::U32Be | Raw::I32Be => payload[at..at + 4].copy_from_slice(&be32),
    }
}

/// A wire value that is plausible for the column and differs between neighbours.
pub(crate) fn wire_value(column: Column) -> i64 {
    match column {
        Column::Measure { measure, per } => {
            let value = match measure {
                Measure::AcFrequency => 50.02,
                Measure::PowerFactor => 0.982,
                Measure::TempInverter => 31.0,
                Measure::PowerLimitPct => 100.0,
                Measure::AcVoltageL1 => 230.0,
                Measure::AcVoltageL2 => 231.0,
                Measure::AcVoltageL3 => 232.0,
                other => 3.0 + f64::from(other as u8),
            };
            (value * per).round() as i64
        }
        Column::Counter { counter, .. } => 100 + counter as i64,
    }
}

/// A payload of the layout's shortest length with every field filled.
pub(crate) fn payload(layout: &Layout) -> Vec<u8> {
    let mut payload = vec![0; layout.payload_bytes.0];
    payload[0] = if layout.protocol == Protocol::V4 {
        0x81
    } else {
        1
    };
    payload[1..3].copy_from_slice(&layout.sensor_type.to_le_bytes());
    if layout.stick_clock {
        put(
            &mut payload,
            layout.at(3),
            Raw::U32Le,
            i64::from(WORKING_TIME_S),
        );
        put(&mut payload, layout.at(7), Raw::U32Le, 777);
        put(
            &mut payload,
            layout.at(11),
            Raw::U32Le,
            i64::from(SAMPLE_S - WORKING_TIME_S),
        );
        put(&mut payload, layout.at(17), Raw::U32Le, 42);
    }
    let (at, bytes) = layout.serial;
    let at = layout.at(at);
    payload[at..at + bytes].fill(b' ');
    payload[at..at + 8].copy_from_slice(b"TEST0001");
    for field in layout.fields.iter().copied().flatten() {
        put(
            &mut payload,
            layout.at(field.at),
            field.raw,
            wire_value(field.column),
        );
    }
    payload
}

pub(crate) fn encode(layout: &Layout, payload: &[u8]) -> Vec<u8> {
    match layout.protocol {
        Protocol::V5 => v5::encode(v5::DATA, 3, 4, LOGGER_SN, payload),
        Protocol::V4 => v4::encode([0x51, 0xB0], LOGGER_SN, payload),
    }
}

pub(crate) fn data_frames() -> Vec<Vec<u8>> {
    layouts::all()
        .map(|layout| encode(layout, &payload(layout)))
        .collect()
}

pub(crate) fn layout(name: &str) -> &'static Layout {
    layouts::all()
        .find(|layout| layout.name == name)
        .expect("a layout of that name")
}

/// One frame of every kind a stick sends.
pub(crate) fn all_frames() -> Vec<Vec<u8>> {
    let mut frames = data_frames();
    frames.push(v5::encode(v5::HEARTBEAT, 1, 2, LOGGER_SN, &[0]));
    frames.push(v5::encode(v5::HANDSHAKE, 0, 1, LOGGER_SN, &[2; 86]));
    frames.push(v5::encode(v5::LINK_EVENT, 1, 3, LOGGER_SN, &[0x81; 47]));
    frames.push(v5::encode(v5::REPORT, 1, 4, LOGGER_SN, &[1; 60]));
    frames.push(v5::encode(
        v5::DATA_UNANSWERED,
        1,
        5,
        LOGGER_SN,
        &payload(layout("Solis 1-phase mini 0x0507")),
    ));
    frames.push(v4::encode([0x51, 0xF0], LOGGER_SN, b"DATA SEND IS OK\r\n"));
    frames.push(v4::encode(
        [0x51, 0xB1],
        LOGGER_SN,
        b"\x80\x01H4.01.51Y4.0.02W1.0.57\x0a\x00",
    ));
    frames
}

pub(crate) fn counter_of(reading: &autarco_protocol::reading::Reading, counter: Counter) -> i64 {
    reading.counters[counter as usize]
}
