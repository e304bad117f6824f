//! The rules of reading, on frames of our own making.

mod common;

use autarco_protocol::columns::{Counter, Measure};
use autarco_protocol::layouts::{self, Column, Raw};
use autarco_protocol::reading::{
    Protocol, Quarantine, Reading, TimeSource, read, resend_key, sensor_type,
};
use autarco_protocol::zone::Zone;
use autarco_protocol::{v4, v5};
use common::{
    LOGGER_SN, RECEIVED_US, SAMPLE_S, context, counter_of, encode, layout, only, payload, put,
    wire_value,
};

const S0507: &str = "Solis 1-phase mini 0x0507";
const CLOCK_0507: usize = 0x87;

fn zone() -> Zone {
    Zone::named("Europe/Amsterdam").unwrap()
}

fn read_0507(change: impl Fn(&mut Vec<u8>)) -> Result<Reading, Quarantine> {
    let layout = layout(S0507);
    let mut payload = payload(layout);
    change(&mut payload);
    read(&only(&encode(layout, &payload)), &context(&zone()))
}

fn set_clock(payload: &mut [u8], parts: [i64; 6]) {
    for (n, part) in parts.into_iter().enumerate() {
        put(payload, CLOCK_0507 + 2 * n, Raw::U16Le, part);
    }
}

fn without_stick_clock(payload: &mut [u8]) {
    put(payload, 11, Raw::U32Le, 0);
}

fn set_stick_time(payload: &mut [u8], unix_s: i64) {
    put(
        payload,
        11,
        Raw::U32Le,
        unix_s - i64::from(common::WORKING_TIME_S),
    );
}

#[test]
fn every_layout_fills_its_columns_with_what_was_sent() {
    for layout in layouts::all() {
        let reading = read(&only(&encode(layout, &payload(layout))), &context(&zone()))
            .unwrap_or_else(|reason| panic!("{}: {reason:?}", layout.name));
        for field in layout.fields.iter().copied().flatten() {
            let wire = wire_value(field.column);
            match field.column {
                Column::Measure { measure, per } => {
                    let expected = (wire as f64 / per) as f32;
                    assert_eq!(
                        reading.measures[measure as usize], expected,
                        "{} {measure:?}",
                        layout.name
                    );
                }
                Column::Counter { counter, wh } => {
                    assert_eq!(
                        reading.counters[counter as usize],
                        wire * wh,
                        "{} {counter:?}",
                        layout.name
                    );
                }
            }
        }
        assert_eq!(reading.inverter_sn.as_str(), "TEST0001");
        assert_eq!(reading.logger_sn, LOGGER_SN);
        let source = if layout.stick_clock {
            TimeSource::Stick
        } else {
            TimeSource::Received
        };
        assert_eq!(reading.time_source, source, "{}", layout.name);
        let ts = if layout.stick_clock {
            i64::from(SAMPLE_S) * 1_000_000
        } else {
            RECEIVED_US
        };
        assert_eq!(reading.ts_us, ts);
    }
}

#[test]
fn columns_that_a_layout_does_not_have_are_absent() {
    let layout = layout("Solis 1-phase 0x0501");
    let reading = read(&only(&encode(layout, &payload(layout))), &context(&zone())).unwrap();
    assert!(reading.measures[Measure::BatterySocPct as usize].is_nan());
    assert_eq!(
        reading.counters[Counter::EnergyYearWh as usize],
        Counter::ABSENT
    );
    assert_eq!(reading.inverter_clock_us, None);
    assert_eq!(
        reading.status, None,
        "the status word of 0x0501 is always 0"
    );
}

#[test]
fn a_decimal_is_the_nearest_float32() {
    let reading = read_0507(|payload| put(payload, 57, Raw::U16Le, 2382)).unwrap();
    assert_eq!(reading.measures[Measure::AcVoltageL3 as usize], 238.2_f32);
}

#[test]
fn the_only_live_slot_becomes_phase_one() {
    for (slot, at) in [(1, 53), (2, 55), (3, 57)] {
        let reading = read_0507(|payload| {
            payload[47..59].fill(0);
            put(payload, at, Raw::U16Le, 2300);
            put(payload, at - 6, Raw::U16Le, 31);
        })
        .unwrap();
        assert_eq!(reading.phase_slot, Some(slot));
        assert_eq!(reading.measures[Measure::AcVoltageL1 as usize], 230.0);
        assert_eq!(reading.measures[Measure::AcCurrentL1 as usize], 3.1);
        assert!(reading.measures[Measure::AcVoltageL3 as usize].is_nan());
        assert!(reading.measures[Measure::AcCurrentL2 as usize].is_nan());
    }
}

#[test]
fn three_live_phases_or_none_stay_where_they_are() {
    let three = read_0507(|_| ()).unwrap();
    assert_eq!(three.phase_slot, None);
    assert_eq!(three.measures[Measure::AcVoltageL2 as usize], 231.0);
    let none = read_0507(|payload| payload[53..59].fill(0)).unwrap();
    assert_eq!(none.phase_slot, None);
    assert_eq!(none.measures[Measure::AcVoltageL3 as usize], 0.0);
}

#[test]
fn an_implausible_value_is_absent_and_the_row_stays() {
    let reading = read_0507(|payload| {
        put(payload, 39, Raw::U16Le, 60_000); // 6,000 V
        put(payload, 59, Raw::U16Le, 9_000); // 90 Hz
        put(payload, 37, Raw::I16Le, -500); // -50 °C
        put(payload, 41, Raw::U16Le, 0xFFFF); // not connected
    })
    .unwrap();
    for measure in [
        Measure::DcVoltageMppt1,
        Measure::AcFrequency,
        Measure::TempInverter,
        Measure::DcVoltageMppt2,
    ] {
        assert!(reading.measures[measure as usize].is_nan(), "{measure:?}");
    }
    assert_eq!(reading.measures[Measure::AcVoltageL1 as usize], 230.0);
}

#[test]
fn a_frequency_is_a_grids_or_none() {
    for (wire, hertz) in [
        (0, 0.0),
        (3_999, f32::NAN),
        (4_000, 40.0),
        (6_500, 65.0),
        (6_501, f32::NAN),
    ] {
        let reading = read_0507(|payload| put(payload, 59, Raw::U16Le, wire)).unwrap();
        let found = reading.measures[Measure::AcFrequency as usize];
        assert!(
            found == hertz || (found.is_nan() && hertz.is_nan()),
            "{wire}: {found}"
        );
    }
}

#[test]
fn a_counter_that_no_inverter_reaches_is_absent_and_the_row_stays() {
    let reading = read_0507(|payload| {
        put(payload, 65, Raw::U32Le, 1_200_000); // 12 MWh today: 500 kW for 24 hours
        put(payload, 69, Raw::U32Le, 4_000_000_000); // 400 GWh ever
        put(payload, 0x6D, Raw::U32Le, 372_001); // 372.001 MWh this month
    })
    .unwrap();
    assert_eq!(counter_of(&reading, Counter::EnergyTodayWh), 12_000_000);
    assert_eq!(
        counter_of(&reading, Counter::EnergyTotalWh),
        Counter::ABSENT
    );
    assert_eq!(
        counter_of(&reading, Counter::EnergyMonthWh),
        Counter::ABSENT
    );
    let damaged = read_0507(|payload| put(payload, 65, Raw::U32Le, 1_200_001)).unwrap();
    assert_eq!(
        counter_of(&damaged, Counter::EnergyTodayWh),
        Counter::ABSENT
    );
}

#[test]
fn a_three_phase_omnik_makes_the_sum_of_its_phases() {
    let layout = layout("Omnik V4 0x0102");
    let mut payload = payload(layout);
    for (at, watts) in [(59, 1000), (63, 900), (67, 800)] {
        put(&mut payload, layout.at(at), Raw::U16Be, watts);
    }
    let reading = read(&only(&encode(layout, &payload)), &context(&zone())).unwrap();
    assert_eq!(reading.measures[Measure::AcPower as usize], 2700.0);
    assert_eq!(
        counter_of(&reading, Counter::EnergyYesterdayWh),
        Counter::ABSENT
    );
}

#[test]
fn a_stick_without_a_clock_is_dated_by_the_inverters() {
    let summer = read_0507(|payload| {
        without_stick_clock(payload);
        set_clock(payload, [26, 6, 1, 13, 59, 30]);
    })
    .unwrap();
    assert_eq!(summer.time_source, TimeSource::Inverter);
    assert_eq!(summer.ts_us, (i64::from(SAMPLE_S) - 30) * 1_000_000);
    assert_eq!(summer.inverter_clock_us, Some(summer.ts_us + 7_200_000_000));
    let winter = read_0507(|payload| {
        without_stick_clock(payload);
        set_clock(payload, [26, 1, 15, 12, 0, 0]);
    })
    .unwrap();
    assert_eq!(winter.inverter_clock_us, Some(winter.ts_us + 3_600_000_000));
}

/// Found by fuzzing: its microseconds became the smallest number there is, which no reader of the
/// table can show, so that one frame made `SELECT *` fail.
#[test]
fn a_clock_at_the_end_of_time_is_absent_and_the_row_stays() {
    let end = read_0507(|payload| set_clock(payload, [7999, 12, 31, 23, 59, 59])).unwrap();
    assert_eq!(end.inverter_clock_us, None);
    assert_eq!(end.time_source, TimeSource::Stick);
}

#[test]
fn without_any_clock_a_live_sample_is_dated_by_arrival_and_a_stored_one_by_nobody() {
    let live = read_0507(without_stick_clock_and_inverter_clock).unwrap();
    assert_eq!(
        (live.time_source, live.ts_us),
        (TimeSource::Received, RECEIVED_US)
    );
    let stored = read_0507(|payload| {
        payload[0] = 0x81;
        without_stick_clock_and_inverter_clock(payload);
    });
    assert_eq!(stored, Err(Quarantine::TimeUnknown));
}

#[expect(clippy::ptr_arg, reason = "has the type that read_0507 wants")]
fn without_stick_clock_and_inverter_clock(payload: &mut Vec<u8>) {
    without_stick_clock(payload);
    set_clock(payload, [0; 6]);
}

#[test]
fn times_outside_the_window_are_for_the_quarantine_whoever_told_them() {
    let received_s = RECEIVED_US / 1_000_000;
    assert!(read_0507(|payload| set_stick_time(payload, received_s + 600)).is_ok());
    let ahead = read_0507(|payload| set_stick_time(payload, received_s + 601));
    assert_eq!(ahead, Err(Quarantine::TimeImplausible));
    let ancient = read_0507(|payload| set_stick_time(payload, 1_420_070_399));
    assert_eq!(ancient, Err(Quarantine::TimeImplausible));
    // A wrong stick clock is not quietly replaced by a right inverter clock.
    let both = read_0507(|payload| {
        set_stick_time(payload, received_s + 86_400);
        set_clock(payload, [26, 6, 1, 13, 59, 30]);
    });
    assert_eq!(both, Err(Quarantine::TimeImplausible));
    let inverter = read_0507(|payload| {
        without_stick_clock(payload);
        set_clock(payload, [27, 6, 1, 13, 59, 30]);
    });
    assert_eq!(inverter, Err(Quarantine::TimeImplausible));
}

#[test]
fn status_words_become_sunspec_states() {
    for (word, state) in [(3, Some(4)), (2, Some(3)), (0, Some(8)), (99, None)] {
        let reading = read_0507(|payload| {
            put(payload, 0xE7, Raw::U16Le, word);
            put(payload, 0x4D, Raw::U16Le, 1);
        })
        .unwrap();
        assert_eq!((reading.status, reading.status_vendor), (state, Some(1)));
    }
}

#[test]
fn fault_words_are_kept_as_sent() {
    let reading = read_0507(|payload| payload[0x4F..0x51].copy_from_slice(&[0x10, 0xAB])).unwrap();
    assert_eq!(
        reading.fault_vendor.unwrap().as_str(),
        "10ab00000000000000000000"
    );
}

#[test]
fn what_has_no_row_says_why() {
    let unknown = read_0507(|payload| payload[1] = 0x99);
    assert_eq!(unknown, Err(Quarantine::UnknownSensor));
    let short = read_0507(|payload| payload.truncate(100));
    assert_eq!(short, Err(Quarantine::ShortPayload));
    // The length of another make's inverter behind a stick of family 0x0501.
    let mut other = payload(layout("Solis 1-phase 0x0501"));
    other.resize(115, 0);
    let other = encode(layout("Solis 1-phase 0x0501"), &other);
    assert_eq!(
        read(&only(&other), &context(&zone())),
        Err(Quarantine::ShortPayload)
    );
    let nameless = read_0507(|payload| payload[21..37].fill(b' '));
    assert_eq!(nameless, Err(Quarantine::BadSerial));
    let binary = read_0507(|payload| payload[22] = 7);
    assert_eq!(binary, Err(Quarantine::BadSerial));
    let empty = v5::encode(v5::DATA, 1, 1, 7, &[]);
    assert_eq!(
        read(&only(&empty), &context(&zone())),
        Err(Quarantine::ShortPayload)
    );
}

#[test]
fn a_stored_copy_of_a_live_frame_has_the_same_resend_key() {
    let layout = layout(S0507);
    let mut payload = payload(layout);
    let live = v5::encode(v5::DATA, 1, 1, 7, &payload);
    payload[0] = 0x81;
    let stored = v5::encode(v5::DATA, 9, 8, 7, &payload);
    assert_eq!(resend_key(&only(&live)), resend_key(&only(&stored)));
    let zone = zone();
    assert!(read(&only(&stored), &context(&zone)).unwrap().historic);
    assert!(!read(&only(&live), &context(&zone)).unwrap().historic);
}

#[test]
fn only_data_has_a_sensor_type_and_a_resend_key() {
    let handshake = v5::encode(v5::HANDSHAKE, 0, 1, 7, &[2; 86]);
    let answer = v5::encode(0x12, 0, 1, 7, &[1; 10]);
    let info = v4::encode([0x51, 0xB1], 7, b"\x80\x01H4.01");
    for bytes in [handshake, answer, info] {
        let frame = only(&bytes);
        assert_eq!((sensor_type(&frame), resend_key(&frame)), (None, None));
    }
    let unanswered = v5::encode(v5::DATA_UNANSWERED, 1, 5, 7, &payload(layout(S0507)));
    assert_eq!(sensor_type(&only(&unanswered)), Some(0x0507));
}

#[test]
fn a_meter_is_never_generation() {
    let layout = layout("three-phase meter 0xE025");
    let reading = read(&only(&encode(layout, &payload(layout))), &context(&zone())).unwrap();
    assert!(reading.measures[Measure::AcPower as usize].is_nan());
    assert_eq!(
        reading.counters[Counter::EnergyTotalWh as usize],
        Counter::ABSENT
    );
    assert_eq!(reading.protocol, Protocol::V5);
}
