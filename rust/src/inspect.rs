//! What can be read of the journal? For people; nothing is changed.

use std::path::PathBuf;

use autarco_gateway::journal::{self, SegmentReport, SegmentState};
use pyo3::prelude::*;

/// One segment, as `inspect_journal` found it.
#[pyclass(frozen, get_all, module = "autarco_ingest._core")]
#[derive(Debug)]
pub(crate) struct JournalSegment {
    number: u64,
    bytes: u64,
    records: u64,
    read_bytes: u64,
    torn_bytes: u64,
    records_behind_damage: u64,
    state: &'static str,
}

impl From<SegmentReport> for JournalSegment {
    fn from(report: SegmentReport) -> Self {
        Self {
            number: report.number,
            bytes: report.bytes,
            records: report.records,
            read_bytes: report.read_bytes,
            torn_bytes: report.torn_bytes,
            records_behind_damage: report.records_behind_damage,
            state: match report.state {
                SegmentState::Whole => "whole",
                SegmentState::Torn => "torn",
                SegmentState::Damaged => "damaged",
            },
        }
    }
}

/// Reads every segment below `directory`, oldest first; raises OSError.
#[pyfunction]
pub(crate) fn inspect_journal(py: Python<'_>, directory: PathBuf) -> PyResult<Vec<JournalSegment>> {
    let reports = py.detach(|| journal::inspect(&directory))?;
    Ok(reports.into_iter().map(JournalSegment::from).collect())
}
