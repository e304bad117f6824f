//! What does a frame say, in words and numbers for a person? Used by `autarco-ingest decode`.
//!
//! Shows nothing that the server would not keep either, but for the details of a layout.

use jiff::Timestamp;
use jiff::tz::Offset;
use serde_json::{Map, Value, json};

use crate::columns::{Counter, Measure};
use crate::frame::Frame;
use crate::layouts::{self, Detail, Found};
use crate::message::{self, Message, SessionEvent};
use crate::reading::{self, Context, Reading, Text};
use crate::v5;

/// Describes a frame: `protocol`, `kind`, `logger_sn`, then the columns of the table for a data
/// frame with its `detail`, or the reason for its quarantine. Absent values are left out.
pub fn describe(frame: &Frame<'_>, context: &Context<'_>) -> Map<String, Value> {
    let message = message::classify(frame);
    let mut object = Map::new();
    object.insert("protocol".to_owned(), json!(frame.protocol().as_str()));
    object.insert("kind".to_owned(), json!(kind(frame, &message)));
    object.insert("logger_sn".to_owned(), json!(frame.logger_sn()));
    match message {
        Message::Data => describe_data(frame, context, &mut object),
        Message::Session(event) => describe_session(event, &mut object),
        Message::Other => describe_answer(frame, &mut object),
        Message::Heartbeat | Message::Text => {}
    }
    object
}

fn kind(frame: &Frame<'_>, message: &Message) -> &'static str {
    match message {
        Message::Data => "data",
        Message::Session(event) => event.kind.as_str(),
        Message::Heartbeat => "heartbeat",
        Message::Text => "text",
        Message::Other => match frame {
            Frame::V5(frame) if frame.is_answer() => "answer",
            _ => "other",
        },
    }
}

fn describe_data(frame: &Frame<'_>, context: &Context<'_>, object: &mut Map<String, Value>) {
    let sensor_type = reading::sensor_type(frame);
    if let Some(sensor_type) = sensor_type {
        object.insert("sensor_type".to_owned(), json!(sensor_type));
    }
    match reading::read(frame, context) {
        Ok(reading) => columns(&reading, object),
        Err(reason) => {
            object.insert("quarantine".to_owned(), json!(reason.as_str()));
        }
    }
    let detail = details(frame, sensor_type);
    if !detail.is_empty() {
        object.insert("detail".to_owned(), Value::Object(detail));
    }
}

fn columns(reading: &Reading, object: &mut Map<String, Value>) {
    let mut insert = |name: &str, value: Value| {
        if !value.is_null() {
            object.insert(name.to_owned(), value);
        }
    };
    insert("ts", instant(reading.ts_us));
    insert("time_source", json!(reading.time_source.as_str()));
    insert("inverter_sn", json!(reading.inverter_sn.as_str()));
    insert("historic", json!(reading.historic));
    insert("record_no", json!(reading.record_no));
    insert("uptime_s", json!(reading.uptime_s));
    for measure in Measure::ALL {
        insert(measure.name(), decimal(reading.measures[measure as usize]));
    }
    for counter in Counter::ALL {
        let value = reading.counters[counter as usize];
        insert(
            counter.name(),
            if value == Counter::ABSENT {
                Value::Null
            } else {
                json!(value)
            },
        );
    }
    insert("status", json!(reading.status));
    insert("status_vendor", json!(reading.status_vendor));
    insert(
        "fault_vendor",
        json!(reading.fault_vendor.as_ref().map(Text::as_str)),
    );
    insert(
        "inverter_clock",
        reading.inverter_clock_us.map_or(Value::Null, wall_clock),
    );
    insert("phase_slot", json!(reading.phase_slot));
}

fn details(frame: &Frame<'_>, sensor_type: Option<u16>) -> Map<String, Value> {
    let payload = reading::payload(frame);
    let found = sensor_type.map(|kind| layouts::find(frame.protocol(), kind, payload.len()));
    let Some(Found::Layout(layout)) = found else {
        return Map::new();
    };
    let value = |detail: &Detail| match *detail {
        Detail::Number { name, at, raw, per } => {
            let value = raw.read(payload, layout.at(at))?;
            Some((name.to_owned(), json!(value as f64 / per)))
        }
        Detail::Text { name, at, bytes } => {
            let raw = payload.get(layout.at(at)..layout.at(at + bytes))?;
            Some((
                name.to_owned(),
                json!(Text::<16>::from_padded(raw)?.as_str()),
            ))
        }
    };
    layout
        .details
        .iter()
        .copied()
        .flatten()
        .filter_map(value)
        .collect()
}

fn describe_session(event: SessionEvent, object: &mut Map<String, Value>) {
    let fields = [
        ("uptime_s", json!(event.uptime_s)),
        ("firmware", json!(event.firmware)),
        ("upload_period_s", json!(event.upload_period_s)),
        ("sample_period_s", json!(event.sample_period_s)),
        ("heartbeat_s", json!(event.heartbeat_s)),
        ("signal_pct", json!(event.signal_pct)),
        ("code", json!(event.code)),
        ("sensor_type", json!(event.sensor_type)),
    ];
    for (name, value) in fields.into_iter().filter(|(_, value)| !value.is_null()) {
        object.insert(name.to_owned(), value);
    }
}

/// The cloud's answer: what it repeats, its time and its zone.
fn describe_answer(frame: &Frame<'_>, object: &mut Map<String, Value>) {
    let Frame::V5(frame) = frame else { return };
    object.insert("type".to_owned(), json!(frame.kind()));
    if frame.kind() == v5::COMMAND - 0x30 || !frame.is_answer() {
        return;
    }
    if let Ok(&[echo, status, s0, s1, s2, s3, z0, z1, z2, z3]) =
        <&[u8; 10]>::try_from(frame.payload())
    {
        object.insert("echo".to_owned(), json!(echo));
        object.insert("accepted".to_owned(), json!(status == 1));
        let unix_s = u32::from_le_bytes([s0, s1, s2, s3]);
        object.insert("time".to_owned(), instant(i64::from(unix_s) * 1_000_000));
        let minutes = i32::from_le_bytes([z0, z1, z2, z3]);
        object.insert("offset_minutes".to_owned(), json!(minutes));
    }
}

fn instant(time_us: i64) -> Value {
    Timestamp::from_microsecond(time_us).map_or(Value::Null, |time| json!(time.to_string()))
}

fn wall_clock(wall_us: i64) -> Value {
    Timestamp::from_microsecond(wall_us).map_or(Value::Null, |time| {
        json!(Offset::UTC.to_datetime(time).to_string())
    })
}

/// A float32 by its shortest decimal form: 238.2, not 238.1999969482422.
fn decimal(value: f32) -> Value {
    value
        .to_string()
        .parse::<f64>()
        .ok()
        .filter(|value| value.is_finite())
        .map_or(Value::Null, |value| json!(value))
}
