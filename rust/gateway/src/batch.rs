//! How do readings, sessions and quarantined frames become Arrow record batches?
//!
//! The column lists agree with `autarco_ingest.schema`; a test there compares them.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;

use arrow_array::builder::{
    ArrayBuilder, BinaryBuilder, BooleanBuilder, Date32Builder, Float32Builder, Int16Builder,
    Int32Builder, Int64Builder, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{Field, Schema};
use autarco_protocol::columns::{Counter, Measure};
use autarco_protocol::reading::{Reading, Text};
use serde::{Deserialize, Serialize};

const DAY_US: i64 = 86_400_000_000;

/// A reading with the anonymised address it came from.
#[derive(Debug, Clone)]
pub struct ReadingRow {
    pub reading: Reading,
    pub source: Option<Arc<str>>,
}

/// One thing that happened to a stick's connection. Holds no SSID, MAC or address.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SessionRow {
    pub at_us: i64,
    pub event: String,
    pub logger_sn: u32,
    pub protocol: String,
    pub source: Option<String>,
    pub uptime_s: Option<u32>,
    pub firmware: Option<String>,
    pub upload_period_s: Option<u32>,
    pub sample_period_s: Option<u32>,
    pub heartbeat_s: Option<u32>,
    pub signal_pct: Option<u8>,
    pub code: Option<u16>,
    pub sensor_type: Option<u16>,
    pub reason: Option<String>,
    pub frames: Option<u32>,
    /// Whether the registry lists the logger; none without a registry.
    #[serde(default)]
    pub claimed: Option<bool>,
}

/// A data frame that was acknowledged but has no place in the table, kept as it came.
#[derive(Debug, Clone)]
pub struct QuarantineRow {
    pub received_at_us: i64,
    pub reason: &'static str,
    pub logger_sn: u32,
    pub protocol: &'static str,
    pub sensor_type: Option<u16>,
    pub source: Option<Arc<str>>,
    pub frame: Box<[u8]>,
}

/// Everything since the last seal, and the newest reading of each inverter since last asked.
#[derive(Debug, Default)]
pub struct Rows {
    pub readings: Readings,
    pub sessions: Vec<SessionRow>,
    pub quarantine: Vec<QuarantineRow>,
    latest: HashMap<Text<16>, ReadingRow, ahash::RandomState>,
}

impl Rows {
    pub fn push_reading(&mut self, row: ReadingRow) {
        self.readings.push(&row);
        self.note_latest(row);
    }

    /// Takes over what another set of rows knows as newest.
    pub fn merge_latest(&mut self, other: Self) {
        for row in other.latest.into_values() {
            self.note_latest(row);
        }
    }

    fn note_latest(&mut self, row: ReadingRow) {
        match self.latest.get_mut(&row.reading.inverter_sn) {
            None => {
                self.latest.insert(row.reading.inverter_sn, row);
            }
            Some(known) => {
                let at = |row: &ReadingRow| (row.reading.ts_us, row.reading.received_at_us);
                if at(known) <= at(&row) {
                    *known = row;
                }
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.readings.len() == 0 && self.sessions.is_empty() && self.quarantine.is_empty()
    }

    /// The newest reading per inverter among those pushed since the last call.
    pub fn take_latest(&mut self) -> RecordBatch {
        let mut columns = ReadingColumns::default();
        for row in self.latest.drain() {
            columns.push(&row.1);
        }
        columns.finish()
    }
}

/// Rows of one column chunk. A column that grows without end is copied each time it doubles, and a
/// copy of what waits for the table would hold up the commits behind it; full chunks are shared.
const CHUNK_ROWS: usize = 16_384;

/// The readings of a batch as chunks of columns, all full but the last; at least one.
#[derive(Debug, Clone, PartialEq)]
pub struct Chunks(pub Vec<RecordBatch>);

impl Chunks {
    pub fn num_rows(&self) -> usize {
        self.0.iter().map(RecordBatch::num_rows).sum()
    }
}

/// Readings in the order in which they became durable.
#[derive(Debug, Default)]
pub struct Readings {
    full: Vec<RecordBatch>,
    open: ReadingColumns,
}

impl Readings {
    pub fn len(&self) -> usize {
        self.full.len() * CHUNK_ROWS + self.open.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn push(&mut self, row: &ReadingRow) {
        self.open.push(row);
        if self.open.len() == CHUNK_ROWS {
            self.full.push(self.open.finish());
            self.open = ReadingColumns::with_capacity(CHUNK_ROWS);
        }
    }

    /// Hands out the rows and starts over.
    pub fn finish(&mut self) -> Chunks {
        let last = mem::take(&mut self.open).finish();
        Self::chunks(mem::take(&mut self.full), last)
    }

    /// The rows, which stay.
    pub fn copy(&mut self) -> Chunks {
        Self::chunks(self.full.clone(), self.open.copy())
    }

    fn chunks(mut full: Vec<RecordBatch>, last: RecordBatch) -> Chunks {
        if full.is_empty() || last.num_rows() > 0 {
            full.push(last);
        }
        Chunks(full)
    }
}

fn timestamp_utc(rows: usize) -> TimestampMicrosecondBuilder {
    TimestampMicrosecondBuilder::with_capacity(rows).with_timezone("UTC")
}

/// Column builders of the table `readings`.
#[derive(Debug)]
pub struct ReadingColumns {
    ts: TimestampMicrosecondBuilder,
    received_at: TimestampMicrosecondBuilder,
    time_source: StringBuilder,
    inverter_sn: StringBuilder,
    logger_sn: Int64Builder,
    protocol: StringBuilder,
    sensor_type: Int32Builder,
    historic: BooleanBuilder,
    record_no: Int64Builder,
    uptime_s: Int64Builder,
    repeat: BooleanBuilder,
    source: StringBuilder,
    measures: [Float32Builder; Measure::COUNT],
    counters: [Int64Builder; Counter::COUNT],
    status: Int16Builder,
    status_vendor: Int32Builder,
    fault_vendor: StringBuilder,
    inverter_clock: TimestampMicrosecondBuilder,
    phase_slot: Int16Builder,
    date: Date32Builder,
}

impl Default for ReadingColumns {
    fn default() -> Self {
        Self::with_capacity(0)
    }
}

impl ReadingColumns {
    fn with_capacity(rows: usize) -> Self {
        const TEXT_BYTES: usize = 16;
        let texts = || StringBuilder::with_capacity(rows, rows * TEXT_BYTES);
        Self {
            ts: timestamp_utc(rows),
            received_at: timestamp_utc(rows),
            time_source: texts(),
            inverter_sn: texts(),
            logger_sn: Int64Builder::with_capacity(rows),
            protocol: texts(),
            sensor_type: Int32Builder::with_capacity(rows),
            historic: BooleanBuilder::with_capacity(rows),
            record_no: Int64Builder::with_capacity(rows),
            uptime_s: Int64Builder::with_capacity(rows),
            repeat: BooleanBuilder::with_capacity(rows),
            source: texts(),
            measures: std::array::from_fn(|_| Float32Builder::with_capacity(rows)),
            counters: std::array::from_fn(|_| Int64Builder::with_capacity(rows)),
            status: Int16Builder::with_capacity(rows),
            status_vendor: Int32Builder::with_capacity(rows),
            fault_vendor: texts(),
            inverter_clock: TimestampMicrosecondBuilder::with_capacity(rows),
            phase_slot: Int16Builder::with_capacity(rows),
            date: Date32Builder::with_capacity(rows),
        }
    }

    pub fn len(&self) -> usize {
        self.ts.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn push(&mut self, row: &ReadingRow) {
        let reading = &row.reading;
        self.ts.append_value(reading.ts_us);
        self.received_at.append_value(reading.received_at_us);
        self.time_source.append_value(reading.time_source.as_str());
        self.inverter_sn.append_value(reading.inverter_sn.as_str());
        self.logger_sn.append_value(i64::from(reading.logger_sn));
        self.protocol.append_value(reading.protocol.as_str());
        self.sensor_type
            .append_value(i32::from(reading.sensor_type));
        self.historic.append_value(reading.historic);
        self.record_no
            .append_option(reading.record_no.map(i64::from));
        self.uptime_s.append_option(reading.uptime_s.map(i64::from));
        self.repeat.append_null();
        self.source.append_option(row.source.as_deref());
        for (builder, &value) in self.measures.iter_mut().zip(&reading.measures) {
            if value.is_nan() {
                builder.append_null();
            } else {
                builder.append_value(value);
            }
        }
        for (builder, &value) in self.counters.iter_mut().zip(&reading.counters) {
            if value == Counter::ABSENT {
                builder.append_null();
            } else {
                builder.append_value(value);
            }
        }
        self.status.append_option(reading.status.map(i16::from));
        self.status_vendor
            .append_option(reading.status_vendor.map(i32::from));
        self.fault_vendor
            .append_option(reading.fault_vendor.as_ref().map(Text::as_str));
        self.inverter_clock.append_option(reading.inverter_clock_us);
        self.phase_slot
            .append_option(reading.phase_slot.map(i16::from));
        self.date.append_value(date_of(reading.ts_us));
    }

    /// The rows as a batch; the builders start over.
    pub fn finish(&mut self) -> RecordBatch {
        self.build(|builder| builder.finish())
    }

    /// The rows as a batch; the builders keep them.
    pub fn copy(&mut self) -> RecordBatch {
        self.build(|builder| builder.finish_cloned())
    }

    fn build(&mut self, array: impl Fn(&mut dyn ArrayBuilder) -> ArrayRef) -> RecordBatch {
        let mut batch = Columns::default();
        batch.required("ts", array(&mut self.ts));
        batch.required("received_at", array(&mut self.received_at));
        batch.required("time_source", array(&mut self.time_source));
        batch.required("inverter_sn", array(&mut self.inverter_sn));
        batch.required("logger_sn", array(&mut self.logger_sn));
        batch.required("protocol", array(&mut self.protocol));
        batch.required("sensor_type", array(&mut self.sensor_type));
        batch.required("historic", array(&mut self.historic));
        batch.optional("record_no", array(&mut self.record_no));
        batch.optional("uptime_s", array(&mut self.uptime_s));
        batch.optional("repeat", array(&mut self.repeat));
        batch.optional("source", array(&mut self.source));
        for (measure, builder) in Measure::ALL.iter().zip(&mut self.measures) {
            batch.optional(measure.name(), array(builder));
        }
        for (counter, builder) in Counter::ALL.iter().zip(&mut self.counters) {
            batch.optional(counter.name(), array(builder));
        }
        batch.optional("status", array(&mut self.status));
        batch.optional("status_vendor", array(&mut self.status_vendor));
        batch.optional("fault_vendor", array(&mut self.fault_vendor));
        batch.optional("inverter_clock", array(&mut self.inverter_clock));
        batch.optional("phase_slot", array(&mut self.phase_slot));
        batch.required("date", array(&mut self.date));
        batch.into_batch_in_order_of(
            autarco_protocol::columns::COLUMNS
                .iter()
                .map(|column| column.0),
        )
    }
}

pub fn sessions_batch(rows: &[SessionRow]) -> RecordBatch {
    let mut at = timestamp_utc(rows.len());
    let mut event = StringBuilder::new();
    let mut logger_sn = Int64Builder::new();
    let mut protocol = StringBuilder::new();
    let mut source = StringBuilder::new();
    let mut uptime_s = Int64Builder::new();
    let mut firmware = StringBuilder::new();
    let mut upload_period_s = Int32Builder::new();
    let mut sample_period_s = Int32Builder::new();
    let mut heartbeat_s = Int32Builder::new();
    let mut signal_pct = Int16Builder::new();
    let mut code = Int32Builder::new();
    let mut sensor_type = Int32Builder::new();
    let mut reason = StringBuilder::new();
    let mut frames = Int64Builder::new();
    let mut claimed = BooleanBuilder::new();
    let mut date = Date32Builder::new();
    // Periods come from the wire as bytes (of minutes at most), so they fit.
    let seconds = |value: Option<u32>| value.and_then(|value| i32::try_from(value).ok());
    for row in rows {
        at.append_value(row.at_us);
        event.append_value(&row.event);
        logger_sn.append_value(i64::from(row.logger_sn));
        protocol.append_value(&row.protocol);
        source.append_option(row.source.as_deref());
        uptime_s.append_option(row.uptime_s.map(i64::from));
        firmware.append_option(row.firmware.as_deref());
        upload_period_s.append_option(seconds(row.upload_period_s));
        sample_period_s.append_option(seconds(row.sample_period_s));
        heartbeat_s.append_option(seconds(row.heartbeat_s));
        signal_pct.append_option(row.signal_pct.map(i16::from));
        code.append_option(row.code.map(i32::from));
        sensor_type.append_option(row.sensor_type.map(i32::from));
        reason.append_option(row.reason.as_deref());
        frames.append_option(row.frames.map(i64::from));
        claimed.append_option(row.claimed);
        date.append_value(date_of(row.at_us));
    }
    let mut batch = Columns::default();
    batch.required("at", Arc::new(at.finish()));
    batch.required("event", Arc::new(event.finish()));
    batch.required("logger_sn", Arc::new(logger_sn.finish()));
    batch.required("protocol", Arc::new(protocol.finish()));
    batch.optional("source", Arc::new(source.finish()));
    batch.optional("uptime_s", Arc::new(uptime_s.finish()));
    batch.optional("firmware", Arc::new(firmware.finish()));
    batch.optional("upload_period_s", Arc::new(upload_period_s.finish()));
    batch.optional("sample_period_s", Arc::new(sample_period_s.finish()));
    batch.optional("heartbeat_s", Arc::new(heartbeat_s.finish()));
    batch.optional("signal_pct", Arc::new(signal_pct.finish()));
    batch.optional("code", Arc::new(code.finish()));
    batch.optional("sensor_type", Arc::new(sensor_type.finish()));
    batch.optional("reason", Arc::new(reason.finish()));
    batch.optional("frames", Arc::new(frames.finish()));
    batch.optional("claimed", Arc::new(claimed.finish()));
    batch.required("date", Arc::new(date.finish()));
    batch.into_batch()
}

pub fn quarantine_batch(rows: &[QuarantineRow]) -> RecordBatch {
    let mut received_at = timestamp_utc(rows.len());
    let mut reason = StringBuilder::new();
    let mut logger_sn = Int64Builder::new();
    let mut protocol = StringBuilder::new();
    let mut sensor_type = Int32Builder::new();
    let mut source = StringBuilder::new();
    let mut frame = BinaryBuilder::new();
    let mut date = Date32Builder::new();
    for row in rows {
        received_at.append_value(row.received_at_us);
        reason.append_value(row.reason);
        logger_sn.append_value(i64::from(row.logger_sn));
        protocol.append_value(row.protocol);
        sensor_type.append_option(row.sensor_type.map(i32::from));
        source.append_option(row.source.as_deref());
        frame.append_value(&row.frame);
        date.append_value(date_of(row.received_at_us));
    }
    let mut batch = Columns::default();
    batch.required("received_at", Arc::new(received_at.finish()));
    batch.required("reason", Arc::new(reason.finish()));
    batch.required("logger_sn", Arc::new(logger_sn.finish()));
    batch.required("protocol", Arc::new(protocol.finish()));
    batch.optional("sensor_type", Arc::new(sensor_type.finish()));
    batch.optional("source", Arc::new(source.finish()));
    batch.required("frame", Arc::new(frame.finish()));
    batch.required("date", Arc::new(date.finish()));
    batch.into_batch()
}

/// The UTC date as days since 1970-01-01.
fn date_of(time_us: i64) -> i32 {
    i32::try_from(time_us.div_euclid(DAY_US)).expect("times are checked against a window of years")
}

#[derive(Default)]
struct Columns {
    fields: Vec<Field>,
    arrays: Vec<ArrayRef>,
}

impl Columns {
    fn required(&mut self, name: &str, array: ArrayRef) {
        self.push(name, array, false);
    }

    fn optional(&mut self, name: &str, array: ArrayRef) {
        self.push(name, array, true);
    }

    fn push(&mut self, name: &str, array: ArrayRef, nullable: bool) {
        self.fields
            .push(Field::new(name, array.data_type().clone(), nullable));
        self.arrays.push(array);
    }

    fn into_batch(self) -> RecordBatch {
        RecordBatch::try_new(Arc::new(Schema::new(self.fields)), self.arrays)
            .expect("columns of one length, and required ones are never null")
    }

    fn into_batch_in_order_of(self, names: impl Iterator<Item = &'static str>) -> RecordBatch {
        let batch = self.into_batch();
        let order: Vec<usize> = names
            .map(|name| {
                batch
                    .schema_ref()
                    .index_of(name)
                    .expect("every listed column is built")
            })
            .collect();
        assert_eq!(
            order.len(),
            batch.num_columns(),
            "every built column is listed"
        );
        batch
            .project(&order)
            .expect("indices come from this very schema")
    }
}
