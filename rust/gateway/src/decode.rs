//! Which row does the frame of a journal record become?
//!
//! Frames are decoded when they are durable, from the very bytes that went to the disk, straight
//! into columns: until then there is no row, only the record.

use std::sync::Arc;

use autarco_protocol::frame::Frame;
use autarco_protocol::reading::{self, Context};
use autarco_protocol::zone::Zone;

use crate::batch::{QuarantineRow, Rows};
use crate::record::Record;

/// What frames do not say: the zone of the inverters' clocks, and which times are plausible.
#[derive(Debug, Clone)]
pub(crate) struct Decoder {
    pub(crate) zone: Zone,
    pub(crate) oldest_us: i64,
    pub(crate) ahead_us: i64,
}

impl Decoder {
    /// Adds the rows of staged data records; returns how many are for the quarantine.
    pub(crate) fn take<'a>(&self, bodies: impl Iterator<Item = &'a [u8]>, rows: &mut Rows) -> u64 {
        let before = rows.quarantine.len();
        for body in bodies {
            let Some(Record::Data {
                frame,
                source,
                received_at_us,
            }) = Record::parse_data(body)
            else {
                continue;
            };
            // `frame::step` has found it in what was received; its sum holds.
            let frame = Frame::known(frame).expect("a record holds one whole frame");
            self.add(&frame, source, received_at_us, rows);
        }
        (rows.quarantine.len() - before) as u64
    }

    /// Adds the row of one frame.
    pub(crate) fn add(
        &self,
        frame: &Frame<'_>,
        source: Option<&str>,
        received_at_us: i64,
        rows: &mut Rows,
    ) {
        let context = Context {
            zone: &self.zone,
            received_at_us,
            oldest_us: self.oldest_us,
            ahead_us: self.ahead_us,
        };
        match reading::read(frame, &context) {
            Ok(reading) => rows.push_reading(reading, source),
            Err(reason) => rows.quarantine.push(QuarantineRow {
                received_at_us,
                reason: reason.as_str(),
                logger_sn: frame.logger_sn(),
                protocol: frame.protocol().as_str(),
                sensor_type: reading::sensor_type(frame),
                source: source.map(Arc::from),
                frame: frame.raw().into(),
            }),
        }
    }
}
