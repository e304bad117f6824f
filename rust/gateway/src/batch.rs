//! How do readings, sessions and quarantined frames become Arrow record batches?
//!
//! The column lists agree with `autarco_ingest.schema`; a test there compares them.

use std::sync::Arc;

use arrow_array::builder::{
    BinaryBuilder, BooleanBuilder, Date32Builder, Int16Builder, Int32Builder, Int64Builder,
    StringBuilder, TimestampMicrosecondBuilder,
};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{Field, Schema};
use autarco_protocol::reading::Reading;
use serde::{Deserialize, Serialize};

use crate::latest::Latest;
pub use crate::readings::{Chunks, Readings};

const DAY_US: i64 = 86_400_000_000;

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
    readings: Readings,
    pub sessions: Vec<SessionRow>,
    pub quarantine: Vec<QuarantineRow>,
    pub(crate) latest: Latest,
}

impl Rows {
    pub fn push_reading(&mut self, reading: Reading, source: Option<&str>) {
        self.latest.note(&reading, self.readings.len());
        self.readings.push(reading, source);
    }

    /// Hands out the readings and starts over.
    pub fn finish_readings(&mut self) -> Chunks {
        let chunks = self.readings.finish();
        self.latest.keep(&chunks);
        chunks
    }

    /// The readings, which stay.
    pub fn copy_readings(&self) -> Chunks {
        self.readings.copy()
    }

    pub fn readings_count(&self) -> usize {
        self.readings.len()
    }

    /// Takes over what another set of rows knows as newest; its readings have been handed out.
    pub(crate) fn merge_latest(&mut self, other: Self) {
        self.latest.merge(other.latest);
    }

    /// What is newest since the last call; the rows are looked up without any lock.
    pub(crate) fn take_latest(&mut self) -> Latest {
        if self.latest.has_open() {
            let chunks = self.readings.copy();
            self.latest.keep(&chunks);
        }
        std::mem::take(&mut self.latest)
    }

    pub fn is_empty(&self) -> bool {
        self.readings.is_empty() && self.sessions.is_empty() && self.quarantine.is_empty()
    }
}

fn timestamp_utc(rows: usize) -> TimestampMicrosecondBuilder {
    TimestampMicrosecondBuilder::with_capacity(rows).with_timezone("UTC")
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
pub(crate) fn date_of(time_us: i64) -> i32 {
    i32::try_from(time_us.div_euclid(DAY_US)).expect("times are checked against a window of years")
}

#[derive(Default)]
pub(crate) struct Columns {
    fields: Vec<Field>,
    arrays: Vec<ArrayRef>,
}

impl Columns {
    pub(crate) fn required(&mut self, name: &str, array: ArrayRef) {
        self.push(name, array, false);
    }

    pub(crate) fn optional(&mut self, name: &str, array: ArrayRef) {
        self.push(name, array, true);
    }

    fn push(&mut self, name: &str, array: ArrayRef, nullable: bool) {
        self.fields
            .push(Field::new(name, array.data_type().clone(), nullable));
        self.arrays.push(array);
    }

    pub(crate) fn into_batch(self) -> RecordBatch {
        RecordBatch::try_new(Arc::new(Schema::new(self.fields)), self.arrays)
            .expect("columns of one length, and required ones are never null")
    }

    pub(crate) fn into_batch_in_order_of(
        self,
        names: impl Iterator<Item = &'static str>,
    ) -> RecordBatch {
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
