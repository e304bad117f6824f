//! The gateway as Python sees it: every call that may take time releases the interpreter.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::net::ToSocketAddrs;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use arrow_array::RecordBatch;
use autarco_gateway::privacy::AddressMode;
use autarco_gateway::{Limits, Settings, gateway};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3_arrow::PyRecordBatch;
use pyo3_arrow::export::Arro3RecordBatch;

use crate::error::gateway_error;

/// Owns the listener, all stick sockets, the journal and the rows not sealed yet.
#[pyclass(frozen, module = "autarco_ingest._core")]
pub(crate) struct Gateway(gateway::Gateway);

/// The rows of all journal segments up to `version`.
#[pyclass(frozen, module = "autarco_ingest._core")]
pub(crate) struct Batch(gateway::Batch);

/// What waits inside the gateway.
#[pyclass(frozen, get_all, module = "autarco_ingest._core")]
pub(crate) struct Pending {
    staged: usize,
    staged_bytes: usize,
    deferred: bool,
}

#[pymethods]
impl Gateway {
    #[new]
    #[pyo3(signature = (
        *, host, port, journal, segment_bytes, committed, time_zone, oldest_reading_us, ahead_max_us,
        address_mode, address_key, connections_max, idle_timeout_us, partial_frame_us,
        noise_bytes_max, staged_bytes_max
    ))]
    #[expect(
        clippy::too_many_arguments,
        reason = "keyword-only in Python, one per setting"
    )]
    fn new(
        py: Python<'_>,
        host: &str,
        port: u16,
        journal: PathBuf,
        segment_bytes: usize,
        committed: u64,
        time_zone: String,
        oldest_reading_us: i64,
        ahead_max_us: i64,
        address_mode: &str,
        address_key: &[u8],
        connections_max: usize,
        idle_timeout_us: i64,
        partial_frame_us: i64,
        noise_bytes_max: usize,
        staged_bytes_max: usize,
    ) -> PyResult<Self> {
        let listen = (host, port)
            .to_socket_addrs()
            .ok()
            .and_then(|mut addresses| addresses.next())
            .ok_or_else(|| PyValueError::new_err(format!("cannot resolve {host:?}")))?;
        let settings = Settings {
            listen,
            journal,
            segment_bytes,
            committed,
            time_zone,
            oldest_reading_us,
            ahead_max_us,
            address_mode: mode(address_mode)?,
            address_key: address_key.to_vec(),
            seed: RandomState::new().hash_one(0),
            limits: Limits {
                connections_max,
                idle_timeout_us,
                partial_frame_us,
                noise_bytes_max,
                staged_bytes_max,
            },
        };
        py.detach(|| gateway::Gateway::open(&settings))
            .map(Self)
            .map_err(gateway_error)
    }

    /// `(host, port)` that is listened on.
    #[getter]
    fn address(&self) -> (String, u16) {
        let address = self.0.address();
        (address.ip().to_string(), address.port())
    }

    fn fileno(&self) -> i32 {
        self.0.epoll()
    }

    fn turn(&self, py: Python<'_>) -> PyResult<Pending> {
        let gateway::Pending {
            staged,
            staged_bytes,
            deferred,
        } = py
            .detach(|| self.0.turn(now_us()))
            .map_err(|error| PyOSError::new_err(error.to_string()))?;
        Ok(Pending {
            staged,
            staged_bytes,
            deferred,
        })
    }

    fn sweep(&self, py: Python<'_>) {
        py.detach(|| self.0.sweep(now_us()));
    }

    fn commit(&self, py: Python<'_>) -> PyResult<usize> {
        py.detach(|| self.0.commit(now_us()))
            .map_err(|error| PyOSError::new_err(format!("journal: {error}")))
    }

    fn seal(&self, py: Python<'_>) -> Option<Batch> {
        py.detach(|| self.0.seal()).map(Batch)
    }

    fn retire(&self, py: Python<'_>, version: u64) -> PyResult<()> {
        py.detach(|| self.0.retire(version, now_us()))
            .map_err(|error| PyOSError::new_err(format!("journal: {error}")))
    }

    fn tail<'py>(&self, py: Python<'py>) -> PyResult<Arro3RecordBatch> {
        Ok(exported(py.detach(|| self.0.tail())))
    }

    fn take_latest(&self, py: Python<'_>) -> PyResult<Arro3RecordBatch> {
        Ok(exported(py.detach(|| self.0.take_latest())))
    }

    fn rows(&self, py: Python<'_>) -> usize {
        py.detach(|| self.0.rows())
    }

    fn counters(&self) -> BTreeMap<&'static str, u64> {
        self.0.counters().iter().collect()
    }

    fn set_address_key(&self, address_mode: &str, address_key: &[u8]) -> PyResult<()> {
        self.0
            .set_address_key(mode(address_mode)?, address_key)
            .map_err(|error| PyValueError::new_err(error.to_string()))
    }

    fn stop_listening(&self) {
        self.0.stop_listening();
    }

    fn close_all(&self, py: Python<'_>) {
        py.detach(|| self.0.close_all(now_us()));
    }
}

#[pymethods]
impl Batch {
    #[getter]
    fn version(&self) -> u64 {
        self.0.version
    }

    #[getter]
    fn readings(&self) -> Arro3RecordBatch {
        exported(self.0.readings.clone())
    }

    #[getter]
    fn sessions(&self) -> Arro3RecordBatch {
        exported(self.0.sessions.clone())
    }

    #[getter]
    fn quarantine(&self) -> Arro3RecordBatch {
        exported(self.0.quarantine.clone())
    }
}

fn exported(batch: RecordBatch) -> Arro3RecordBatch {
    PyRecordBatch::new(batch).into()
}

fn mode(name: &str) -> PyResult<AddressMode> {
    AddressMode::named(name).map_err(|error| PyValueError::new_err(error.to_string()))
}

/// Microseconds since 1970. A machine whose clock stands before that stores nothing sensible: its
/// readings are dated by the sticks, so the answer is only used for limits.
fn now_us() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
        })
}
