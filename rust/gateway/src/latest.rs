//! Which reading is the newest of each inverter, of those that came since somebody asked?
//!
//! Only where the row stands is noted for each reading; the few rows that are asked for are looked
//! up in the columns afterwards.

use std::collections::HashMap;
use std::mem;

use arrow_array::RecordBatch;
use arrow_select::interleave::interleave_record_batch;
use autarco_protocol::reading::{Reading, Text};

use crate::readings::{CHUNK_ROWS, Chunks, Readings};

#[derive(Debug, Clone, Copy)]
struct Newest {
    ts_us: i64,
    received_at_us: i64,
    /// Among the readings since the last seal.
    row: usize,
}

impl Newest {
    /// The later sample; of two of one instant, the one that came later.
    fn is_newer_than(&self, other: &Self) -> bool {
        (self.ts_us, self.received_at_us) >= (other.ts_us, other.received_at_us)
    }
}

type ByInverter = HashMap<Text<16>, Newest, ahash::RandomState>;

/// The newest reading of each inverter since last asked.
#[derive(Debug, Default)]
pub(crate) struct Latest {
    open: ByInverter,
    /// Of readings that were handed out meanwhile, with these: what is sealed within the seconds
    /// after which somebody asks again.
    kept: Vec<(Chunks, ByInverter)>,
}

impl Latest {
    /// Notes a reading that is about to become row `row`.
    pub(crate) fn note(&mut self, reading: &Reading, row: usize) {
        let newest = Newest {
            ts_us: reading.ts_us,
            received_at_us: reading.received_at_us,
            row,
        };
        let known = self.open.entry(reading.inverter_sn).or_insert(newest);
        if newest.is_newer_than(known) {
            *known = newest;
        }
    }

    /// Whether rows are noted that stand in readings not handed out yet.
    pub(crate) fn has_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// Keeps the readings that the rows noted so far stand in: their numbers start anew.
    pub(crate) fn keep(&mut self, chunks: &Chunks) {
        if self.has_open() {
            self.kept.push((chunks.clone(), mem::take(&mut self.open)));
        }
    }

    /// Takes over what another knows; it must have kept its readings.
    pub(crate) fn merge(&mut self, other: Self) {
        debug_assert!(!other.has_open());
        self.kept.extend(other.kept);
    }

    /// The rows, one of each inverter.
    pub(crate) fn into_batch(self) -> RecordBatch {
        debug_assert!(!self.has_open());
        let mut chunks = Vec::new();
        let mut newest: HashMap<Text<16>, (Newest, usize), ahash::RandomState> = HashMap::default();
        for (kept, by_inverter) in self.kept {
            let first_chunk = chunks.len();
            chunks.extend(kept.0);
            for (inverter_sn, found) in by_inverter {
                let known = newest.entry(inverter_sn).or_insert((found, first_chunk));
                if found.is_newer_than(&known.0) {
                    *known = (found, first_chunk);
                }
            }
        }
        let places: Vec<(usize, usize)> = newest
            .into_values()
            .map(|(found, first_chunk)| {
                (first_chunk + found.row / CHUNK_ROWS, found.row % CHUNK_ROWS)
            })
            .collect();
        if places.is_empty() {
            return Readings::default().finish().0.swap_remove(0);
        }
        let chunks: Vec<&RecordBatch> = chunks.iter().collect();
        interleave_record_batch(&chunks, &places).expect("chunks of one schema, rows inside them")
    }
}
