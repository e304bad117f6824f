//! Whatever a whole frame holds: is what comes of it within physical and documented bounds?
//!
//! Input: frame kind, layout, length, zone, time of arrival (u32), logger (u32), payload. The
//! envelope is built here, so that no byte of the search goes into lengths and checksums; so are
//! sensor type and length of the chosen layout. The choice behind the last layout leaves them alone.

use std::sync::OnceLock;

use autarco_protocol::columns::{Counter, Measure};
use autarco_protocol::describe::describe;
use autarco_protocol::frame::{Frame, Step, step};
use autarco_protocol::layouts;
use autarco_protocol::message::{Message, SessionEvent, classify};
use autarco_protocol::reading::{Context, Protocol, Reading, TimeSource, read, resend_key};
use autarco_protocol::reply::Reply;
use autarco_protocol::zone::Zone;
use autarco_protocol::{v4, v5};
use serde_json::Value;

use super::input::Input;

const SECOND_US: i64 = 1_000_000;
const OLDEST_US: i64 = 1_420_070_400 * SECOND_US;
const AHEAD_US: i64 = 600 * SECOND_US;
/// The year 2000 and the year 10000, in microseconds since 1970: what a four-digit clock can show.
const WALL_CLOCK_US: std::ops::Range<i64> = 946_684_800 * SECOND_US..253_402_300_800 * SECOND_US;
/// Summer time east and west, half hours, none at all.
const ZONES: [&str; 4] = [
    "Europe/Amsterdam",
    "America/St_Johns",
    "Australia/Lord_Howe",
    "UTC",
];
/// The kinds a stick sends, an answer, and the kinds of V4 (by their second control byte).
const V5_KINDS: [u8; 8] = [
    v5::DATA,
    v5::DATA_UNANSWERED,
    v5::HANDSHAKE,
    v5::LINK_EVENT,
    v5::REPORT,
    v5::HEARTBEAT,
    v5::COMMAND,
    v5::DATA - 0x30,
];
const V4_CONTROLS: [u8; 3] = [0xB0, 0xB1, 0xF0];
const V5_PAYLOAD_MAX: usize = 4083;
const V4_PAYLOAD_MAX: usize = 255;

pub fn check(input: &[u8]) {
    let mut input = Input(input);
    let (kind, layout, length) = (input.u8(), input.u8(), input.u8());
    let zone = &zones()[usize::from(input.u8()) % ZONES.len()];
    let received_s = input.u32();
    let logger_sn = input.u32();
    let mut payload = input.rest().to_vec();
    let protocol = fit(&mut payload, layout, length, kind);
    let raw = envelope(protocol, kind, logger_sn, &payload);
    let frame = only(&raw);
    assert_eq!(
        (frame.protocol(), frame.logger_sn()),
        (protocol, logger_sn),
        "what the envelope says"
    );
    let context = Context {
        zone,
        received_at_us: i64::from(received_s) * SECOND_US,
        oldest_us: OLDEST_US,
        ahead_us: AHEAD_US,
    };

    let message = classify(&frame);
    if let Message::Session(event) = &message {
        assert_session(event, &payload);
    }
    let reading = read(&frame, &context);
    let is_data = message == Message::Data;
    assert_eq!(resend_key(&frame).is_some(), is_data && payload.len() > 1);
    assert!(is_data || reading.is_err(), "a reading of what is no data");
    if let Ok(reading) = &reading {
        assert_reading(reading, &context, &frame);
    }
    if is_data {
        assert_same_record(&frame, &payload);
    }
    if let Frame::V5(frame) = &frame {
        assert_reply(
            frame,
            received_s,
            zone.offset_minutes(i64::from(received_s)),
        );
    }
    assert_description(&frame, &context, reading.ok().as_ref());
}

/// Looking a zone up costs more than reading a frame.
fn zones() -> &'static [Zone] {
    static FOUND: OnceLock<Vec<Zone>> = OnceLock::new();
    FOUND.get_or_init(|| {
        ZONES
            .iter()
            .map(|name| Zone::named(name).expect("a known zone"))
            .collect()
    })
}

/// Gives the payload the sensor type and a length of the chosen layout.
fn fit(payload: &mut Vec<u8>, layout: u8, length: u8, kind: u8) -> Protocol {
    let Some(layout) = layouts::all().nth(usize::from(layout)) else {
        let (protocol, most) = if kind & 0x80 == 0 {
            (Protocol::V5, V5_PAYLOAD_MAX)
        } else {
            (Protocol::V4, V4_PAYLOAD_MAX)
        };
        payload.truncate(most);
        return protocol;
    };
    let (least, most) = layout.payload_bytes;
    payload.resize(least + usize::from(length) % (most - least + 1), 0);
    payload[1..3].copy_from_slice(&layout.sensor_type.to_le_bytes());
    layout.protocol
}

fn envelope(protocol: Protocol, kind: u8, logger_sn: u32, payload: &[u8]) -> Vec<u8> {
    let kind = usize::from(kind & 0x7F);
    let serial = logger_sn.to_le_bytes();
    let mut raw = Vec::with_capacity(payload.len() + 14);
    match protocol {
        Protocol::V5 => {
            let length = u16::try_from(payload.len()).expect("payloads are cut");
            // Beyond the known kinds: any byte.
            let kind = V5_KINDS.get(kind).copied().unwrap_or(kind as u8);
            raw.push(v5::START);
            raw.extend_from_slice(&length.to_le_bytes());
            raw.extend_from_slice(&[v5::CONTROL, kind, 0xFF, 7]);
            raw.extend_from_slice(&serial);
        }
        Protocol::V4 => {
            let length = u8::try_from(payload.len()).expect("payloads are cut");
            let control = V4_CONTROLS[kind % V4_CONTROLS.len()];
            raw.extend_from_slice(&[v4::START, length, 0x51, control]);
            raw.extend_from_slice(&serial);
            raw.extend_from_slice(&serial);
        }
    }
    raw.extend_from_slice(payload);
    let sum = raw[1..]
        .iter()
        .fold(0_u8, |sum, &byte| sum.wrapping_add(byte));
    let end = if protocol == Protocol::V5 {
        v5::END
    } else {
        v4::END
    };
    raw.extend_from_slice(&[sum, end]);
    raw
}

fn only(raw: &[u8]) -> Frame<'_> {
    match step(raw) {
        Step::Frame { frame, used } if used == raw.len() => frame,
        other => panic!("no single frame: {other:?}"),
    }
}

/// Firmware is text of the place where firmware stands: never of the network's name behind it.
fn assert_session(event: &SessionEvent, payload: &[u8]) {
    assert!(event.signal_pct.is_none_or(|percent| percent <= 100));
    if let Some(firmware) = &event.firmware {
        let printable = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
        assert!(firmware.bytes().all(printable) && !firmware.trim().is_empty());
        let places = [payload.get(19..59), payload.get(20..), payload.get(2..)];
        let stands = |place: &&[u8]| place.starts_with(firmware.as_bytes());
        assert!(places.iter().flatten().any(stands), "firmware {firmware:?}");
    }
}

fn assert_reading(reading: &Reading, context: &Context<'_>, frame: &Frame<'_>) {
    assert!((OLDEST_US..=context.received_at_us + AHEAD_US).contains(&reading.ts_us));
    assert_eq!(reading.received_at_us, context.received_at_us);
    assert_eq!(reading.logger_sn, frame.logger_sn());
    let serial = reading.inverter_sn.as_str();
    assert!((1..=16).contains(&serial.len()) && serial.bytes().all(|byte| byte.is_ascii_graphic()));
    assert!(
        reading
            .status
            .is_none_or(|status| (1..=8).contains(&status))
    );
    if let Some(faults) = &reading.fault_vendor {
        let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        assert!(faults.as_str().len() % 2 == 0 && faults.as_str().bytes().all(hex));
    }
    let clock_us = reading.inverter_clock_us;
    assert!(
        clock_us.is_none_or(|wall_us| WALL_CLOCK_US.contains(&wall_us)),
        "inverter clock {clock_us:?}"
    );
    assert!(reading.time_source != TimeSource::Inverter || clock_us.is_some());
    assert!(!reading.historic || reading.time_source != TimeSource::Received);
    for measure in Measure::ALL {
        let value = reading.measures[measure as usize];
        let (least, most) = bounds(measure);
        let gap = measure == Measure::AcFrequency && value > 0.0 && value < 40.0;
        assert!(
            value.is_nan() || (value >= least && value <= most && !gap),
            "{measure:?} is {value}"
        );
    }
    for counter in Counter::ALL {
        let value = reading.counters[counter as usize];
        assert!(
            value == Counter::ABSENT || (0..=counter_bound_wh(counter)).contains(&value),
            "{counter:?} is {value}"
        );
    }
    if let Some(slot) = reading.phase_slot {
        let value = |measure: Measure| reading.measures[measure as usize];
        assert!((1..=3).contains(&slot) && value(Measure::AcVoltageL1) > 50.0);
        assert!(value(Measure::AcVoltageL2).is_nan() && value(Measure::AcVoltageL3).is_nan());
        assert!(value(Measure::AcCurrentL2).is_nan() && value(Measure::AcCurrentL3).is_nan());
    }
}

/// "Plausible values" of docs/protocol.md, written a second time.
fn bounds(measure: Measure) -> (f32, f32) {
    match measure.name() {
        "ac_power" | "ac_apparent_power" | "dc_power" => (0.0, 500e3),
        "ac_reactive_power" | "battery_power" | "grid_power" | "load_power" => (-500e3, 500e3),
        "power_factor" => (-1.0, 1.0),
        "ac_frequency" => (0.0, 65.0),
        "temp_inverter" => (-40.0, 110.0),
        "power_limit_pct" => (0.0, 200.0),
        "battery_soc_pct" => (0.0, 100.0),
        name if name.starts_with("ac_voltage") => (0.0, 320.0),
        name if name.starts_with("ac_current") => (0.0, 200.0),
        name if name.starts_with("dc_current") => (0.0, 60.0),
        name if name.starts_with("dc_") => (0.0, 1100.0),
        other => panic!("no bounds for {other}"),
    }
}

fn counter_bound_wh(counter: Counter) -> i64 {
    let days = match counter.name() {
        "energy_today_wh" | "energy_yesterday_wh" => 1,
        "energy_month_wh" | "energy_last_month_wh" => 31,
        "energy_year_wh" | "energy_last_year_wh" => 366,
        "energy_total_wh" | "grid_energy_total_wh" => 50 * 366,
        other => panic!("no bound for {other}"),
    };
    days * 24 * 500_000
}

/// The same record sent again, stored and with other counters, is known as the same.
fn assert_same_record(frame: &Frame<'_>, payload: &[u8]) {
    let Frame::V5(v5_frame) = frame else { return };
    let mut stored = payload.to_vec();
    if let Some(first) = stored.first_mut() {
        *first ^= 0x80;
    }
    let again = v5::encode(v5_frame.kind(), 1, 2, frame.logger_sn(), &stored);
    assert_eq!(resend_key(frame), resend_key(&only(&again)));
}

fn assert_reply(frame: &v5::Frame<'_>, now_unix_s: u32, offset_minutes: i32) {
    let Some(reply) = Reply::to(frame) else {
        assert!(frame.kind() & 0x40 == 0 || frame.kind() & 0x10 != 0);
        return;
    };
    let bytes = reply.encode(now_unix_s, offset_minutes);
    let Frame::V5(answer) = only(&bytes) else {
        panic!("an answer of another protocol")
    };
    assert_eq!(bytes.len(), 23);
    assert_eq!(answer.kind(), frame.kind() - 0x30);
    assert_eq!(answer.logger_sn(), frame.logger_sn());
    assert_eq!(answer.logger_counter(), frame.logger_counter());
    assert_eq!(answer.payload()[2..6], now_unix_s.to_le_bytes());
    assert_eq!(answer.payload()[6..], offset_minutes.to_le_bytes());
    assert!(offset_minutes.abs() <= 15 * 60, "no zone is further");
    assert_eq!(Reply::to(&answer), None, "two servers would talk for ever");
}

/// What a person is shown is JSON that can be read back, and says what the table says.
fn assert_description(frame: &Frame<'_>, context: &Context<'_>, reading: Option<&Reading>) {
    let shown = Value::Object(describe(frame, context));
    let text = serde_json::to_string(&shown).expect("texts and numbers are JSON");
    let read_back: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(read_back, shown);
    let object = read_back.as_object().expect("an object");
    assert!(object.values().all(|value| !value.is_null()), "{text}");
    let Some(reading) = reading else { return };
    assert!(!object.contains_key("quarantine"));
    for measure in Measure::ALL {
        let value = reading.measures[measure as usize];
        let shown = object.get(measure.name()).and_then(Value::as_f64);
        assert_eq!(
            shown.map(|shown| shown as f32),
            (!value.is_nan()).then_some(value),
            "{measure:?}"
        );
    }
    for (name, wanted) in [
        ("ts", true),
        ("inverter_clock", reading.inverter_clock_us.is_some()),
        ("status", reading.status.is_some()),
        ("fault_vendor", reading.fault_vendor.is_some()),
    ] {
        assert_eq!(object.contains_key(name), wanted, "{name} in {text}");
    }
}
