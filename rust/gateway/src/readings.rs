//! How do readings become columns?
//!
//! A few rows wait until they are a block; then each column takes its values of all of them. One
//! row at a time would touch some fifty places in memory for each.

use std::mem;
use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Float32Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType,
};
use arrow_array::{
    ArrayRef, BooleanArray, PrimitiveArray, RecordBatch, TimestampMicrosecondArray, new_null_array,
};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer};
use arrow_schema::DataType;
use autarco_protocol::columns::{COLUMNS, Counter, Measure};
use autarco_protocol::reading::{Reading, Text};

use crate::batch::{Columns, date_of};

/// Rows of one column chunk. A column that grows without end is copied each time it doubles, and a
/// copy of what waits for the table would hold up the commits behind it; full chunks are shared.
pub(crate) const CHUNK_ROWS: usize = 16_384;
/// Rows that become columns together: as many as fit the fastest cache.
const BLOCK_ROWS: usize = 32;

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

    pub fn push(&mut self, reading: Reading, source: Option<&str>) {
        self.open.push(reading, source);
        if self.open.len() == CHUNK_ROWS {
            self.full.push(mem::take(&mut self.open).finish());
        }
    }

    /// Hands out the rows and starts over.
    pub fn finish(&mut self) -> Chunks {
        let last = mem::take(&mut self.open).finish();
        Self::chunks(mem::take(&mut self.full), last)
    }

    /// The rows, which stay.
    pub fn copy(&self) -> Chunks {
        Self::chunks(self.full.clone(), self.open.copy())
    }

    fn chunks(mut full: Vec<RecordBatch>, last: RecordBatch) -> Chunks {
        if full.is_empty() || last.num_rows() > 0 {
            full.push(last);
        }
        Chunks(full)
    }
}

/// A column of which every row has a value.
type Required<T> = Vec<<T as ArrowPrimitiveType>::Native>;

fn required<T: ArrowPrimitiveType>(values: Required<T>) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::new(values.into(), None))
}

/// A column of which rows may have no value. Most have none of any inverter, or one of all: then
/// nothing is noted for each row.
#[derive(Debug)]
struct Optional<T: ArrowPrimitiveType> {
    rows: usize,
    /// Empty until the first value.
    values: Vec<T::Native>,
    /// Which rows have one, a bit each and a word per block; empty while all have.
    present: Vec<u32>,
}

impl<T: ArrowPrimitiveType> Default for Optional<T> {
    fn default() -> Self {
        Self {
            rows: 0,
            values: Vec::new(),
            present: Vec::new(),
        }
    }
}

impl<T: ArrowPrimitiveType> Clone for Optional<T> {
    // Derived, it would want the types of Arrow, which are marks without a value, to be cloned.
    fn clone(&self) -> Self {
        Self {
            rows: self.rows,
            values: self.values.clone(),
            present: self.present.clone(),
        }
    }
}

impl<T: ArrowPrimitiveType> Optional<T> {
    /// Adds a block of [`BLOCK_ROWS`]; the last one may be smaller.
    fn extend(&mut self, block: impl ExactSizeIterator<Item = Option<T::Native>>) {
        debug_assert!(self.rows.is_multiple_of(BLOCK_ROWS) && block.len() <= BLOCK_ROWS);
        let rows = block.len();
        let mut values = [T::Native::default(); BLOCK_ROWS];
        let mut present = 0_u32;
        for (row, value) in block.enumerate() {
            if let Some(value) = value {
                values[row] = value;
                present |= 1 << row;
            }
        }
        let blocks_before = self.rows / BLOCK_ROWS;
        let rows_before = self.rows;
        self.rows += rows;
        if self.values.is_empty() {
            if present == 0 {
                return;
            }
            self.values.reserve_exact(CHUNK_ROWS);
            self.values.resize(rows_before, T::Native::default());
            self.present = vec![0; blocks_before];
        }
        self.values.extend_from_slice(&values[..rows]);
        let is_full = present.count_ones() as usize == rows;
        if self.present.is_empty() && !is_full {
            self.present = vec![u32::MAX; blocks_before];
        } else if self.present.is_empty() {
            return;
        }
        self.present.push(present);
    }

    fn finish(self) -> ArrayRef {
        if self.values.is_empty() {
            return new_null_array(&T::DATA_TYPE, self.rows);
        }
        let has_nulls = !self.present.is_empty();
        let nulls = has_nulls.then(|| {
            let bits = Buffer::from_vec(self.present);
            NullBuffer::new(BooleanBuffer::new(bits, 0, self.rows))
        });
        Arc::new(PrimitiveArray::<T>::new(self.values.into(), nulls))
    }
}

/// Columns of one chunk of the table `readings`.
#[derive(Debug, Clone, Default)]
struct ReadingColumns {
    /// Rows that are no block yet; of them only the sources stand in their column.
    waiting: Vec<Reading>,
    ts: Required<TimestampMicrosecondType>,
    received_at: Required<TimestampMicrosecondType>,
    time_source: Texts,
    inverter_sn: Texts,
    logger_sn: Required<Int64Type>,
    protocol: Texts,
    sensor_type: Required<Int32Type>,
    historic: Vec<bool>,
    record_no: Optional<Int64Type>,
    uptime_s: Optional<Int64Type>,
    source: Texts,
    measures: [Optional<Float32Type>; Measure::COUNT],
    counters: [Optional<Int64Type>; Counter::COUNT],
    status: Optional<Int16Type>,
    status_vendor: Optional<Int32Type>,
    fault_vendor: Texts,
    inverter_clock: Optional<TimestampMicrosecondType>,
    phase_slot: Optional<Int16Type>,
    date: Required<Date32Type>,
}

impl ReadingColumns {
    fn len(&self) -> usize {
        self.ts.len() + self.waiting.len()
    }

    fn push(&mut self, reading: Reading, source: Option<&str>) {
        if self.len() == 0 {
            self.reserve();
        }
        self.source.push(source);
        self.waiting.push(reading);
        if self.waiting.len() == BLOCK_ROWS {
            self.settle();
        }
    }

    /// Puts the waiting rows into the columns.
    fn settle(&mut self) {
        let mut waiting = mem::take(&mut self.waiting);
        let rows = waiting.iter();
        self.ts.extend(rows.clone().map(|row| row.ts_us));
        self.received_at
            .extend(rows.clone().map(|row| row.received_at_us));
        self.logger_sn
            .extend(rows.clone().map(|row| i64::from(row.logger_sn)));
        self.sensor_type
            .extend(rows.clone().map(|row| i32::from(row.sensor_type)));
        self.historic.extend(rows.clone().map(|row| row.historic));
        self.date.extend(rows.clone().map(|row| date_of(row.ts_us)));
        self.record_no
            .extend(rows.clone().map(|row| row.record_no.map(i64::from)));
        self.uptime_s
            .extend(rows.clone().map(|row| row.uptime_s.map(i64::from)));
        for (index, column) in self.measures.iter_mut().enumerate() {
            let values = rows.clone().map(|row| row.measures[index]);
            column.extend(values.map(|value| (!value.is_nan()).then_some(value)));
        }
        for (index, column) in self.counters.iter_mut().enumerate() {
            let values = rows.clone().map(|row| row.counters[index]);
            column.extend(values.map(|value| (value != Counter::ABSENT).then_some(value)));
        }
        self.status
            .extend(rows.clone().map(|row| row.status.map(i16::from)));
        self.status_vendor
            .extend(rows.clone().map(|row| row.status_vendor.map(i32::from)));
        self.inverter_clock
            .extend(rows.clone().map(|row| row.inverter_clock_us));
        self.phase_slot
            .extend(rows.clone().map(|row| row.phase_slot.map(i16::from)));
        for row in rows {
            self.time_source.push(Some(row.time_source.as_str()));
            self.inverter_sn.push(Some(row.inverter_sn.as_str()));
            self.protocol.push(Some(row.protocol.as_str()));
            self.fault_vendor
                .push(row.fault_vendor.as_ref().map(Text::as_str));
        }
        waiting.clear();
        self.waiting = waiting;
    }

    fn reserve(&mut self) {
        self.ts.reserve_exact(CHUNK_ROWS);
        self.received_at.reserve_exact(CHUNK_ROWS);
        self.logger_sn.reserve_exact(CHUNK_ROWS);
        self.sensor_type.reserve_exact(CHUNK_ROWS);
        self.historic.reserve_exact(CHUNK_ROWS);
        self.date.reserve_exact(CHUNK_ROWS);
        for texts in [
            &mut self.time_source,
            &mut self.inverter_sn,
            &mut self.protocol,
            &mut self.source,
            &mut self.fault_vendor,
        ] {
            texts.reserve();
        }
    }

    /// The rows as a batch; the columns keep them.
    fn copy(&self) -> RecordBatch {
        self.clone().finish()
    }

    fn finish(mut self) -> RecordBatch {
        self.settle();
        let rows = self.ts.len();
        let utc = |values: Required<TimestampMicrosecondType>| -> ArrayRef {
            Arc::new(TimestampMicrosecondArray::from(values).with_timezone("UTC"))
        };
        let historic = BooleanArray::new(BooleanBuffer::from(self.historic), None);
        let mut batch = Columns::default();
        batch.required("ts", utc(self.ts));
        batch.required("received_at", utc(self.received_at));
        batch.required("time_source", self.time_source.finish());
        batch.required("inverter_sn", self.inverter_sn.finish());
        batch.required("logger_sn", required::<Int64Type>(self.logger_sn));
        batch.required("protocol", self.protocol.finish());
        batch.required("sensor_type", required::<Int32Type>(self.sensor_type));
        batch.required("historic", Arc::new(historic));
        batch.optional("record_no", self.record_no.finish());
        batch.optional("uptime_s", self.uptime_s.finish());
        // Compaction says which rows only repeat an earlier measurement.
        batch.optional("repeat", new_null_array(&DataType::Boolean, rows));
        batch.optional("source", self.source.finish());
        for (measure, column) in Measure::ALL.iter().zip(self.measures) {
            batch.optional(measure.name(), column.finish());
        }
        for (counter, column) in Counter::ALL.iter().zip(self.counters) {
            batch.optional(counter.name(), column.finish());
        }
        batch.optional("status", self.status.finish());
        batch.optional("status_vendor", self.status_vendor.finish());
        batch.optional("fault_vendor", self.fault_vendor.finish());
        batch.optional("inverter_clock", self.inverter_clock.finish());
        batch.optional("phase_slot", self.phase_slot.finish());
        batch.required("date", required::<Date32Type>(self.date));
        batch.into_batch_in_order_of(COLUMNS.iter().map(|column| column.0))
    }
}

/// A column of texts; rows may have none.
#[derive(Debug, Default)]
struct Texts(StringBuilder);

impl Texts {
    fn push(&mut self, text: Option<&str>) {
        self.0.append_option(text);
    }

    fn reserve(&mut self) {
        const TEXT_BYTES: usize = 16;
        self.0 = StringBuilder::with_capacity(CHUNK_ROWS, CHUNK_ROWS * TEXT_BYTES);
    }

    fn finish(mut self) -> ArrayRef {
        Arc::new(self.0.finish())
    }
}

impl Clone for Texts {
    fn clone(&self) -> Self {
        let mut copy = StringBuilder::new();
        let texts = self.0.finish_cloned();
        copy.append_array(&texts).expect("a part of texts that fit");
        Self(copy)
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::Int64Array;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_column_keeps_every_value_and_every_gap(
            // Long runs of either: a column may be empty, or full, up to any block.
            runs in prop::collection::vec((any::<bool>(), 1_usize..70, any::<i64>()), 0..12),
        ) {
            let rows: Vec<Option<i64>> = runs
                .iter()
                .flat_map(|&(has, count, value)| vec![has.then_some(value); count])
                .collect();
            let mut column = Optional::<Int64Type>::default();
            for block in rows.chunks(BLOCK_ROWS) {
                column.extend(block.iter().copied());
            }
            let finished = column.clone().finish();
            let expected = Int64Array::from(rows);
            prop_assert_eq!(finished.as_ref(), &expected as &dyn arrow_array::Array);
        }
    }
}
