//! The gateway as Python sees it: every call that may take time releases the interpreter.

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use arrow_array::RecordBatch;
use autarco_gateway::batch::Chunks;
use autarco_gateway::forgotten::{Digest, Forgotten, ForgottenError};
use autarco_gateway::latency::BOUNDS_US;
use autarco_gateway::privacy::AddressMode;
use autarco_gateway::registry::Policy;
use autarco_gateway::tls::TlsIdentity;
use autarco_gateway::{Moment, Settings, gateway};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3_arrow::export::{Arro3RecordBatch, Arro3Table};
use pyo3_arrow::{PyRecordBatch, PyTable};

use crate::error::gateway_error;

/// Owns the listeners, all stick sockets, the journal and the rows not sealed yet.
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

/// A dict with one entry per limit.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct Limits {
    connections_max: usize,
    connections_per_address_max: u32,
    connects_per_address_per_minute: u32,
    frames_per_address_per_minute: u32,
    connections_per_logger_max: usize,
    frames_per_logger_per_minute: u32,
    first_frame_us: i64,
    idle_timeout_us: i64,
    partial_frame_us: i64,
    noise_bytes_max: usize,
    unsent_bytes_max: usize,
    unread_us: i64,
    staged_bytes_max: usize,
}

impl From<Limits> for gateway::Limits {
    fn from(limits: Limits) -> Self {
        Self {
            connections_max: limits.connections_max,
            connections_per_address_max: limits.connections_per_address_max,
            connects_per_address_per_minute: limits.connects_per_address_per_minute,
            frames_per_address_per_minute: limits.frames_per_address_per_minute,
            connections_per_logger_max: limits.connections_per_logger_max,
            frames_per_logger_per_minute: limits.frames_per_logger_per_minute,
            first_frame_us: limits.first_frame_us,
            idle_timeout_us: limits.idle_timeout_us,
            partial_frame_us: limits.partial_frame_us,
            noise_bytes_max: limits.noise_bytes_max,
            unsent_bytes_max: limits.unsent_bytes_max,
            unread_us: limits.unread_us,
            staged_bytes_max: limits.staged_bytes_max,
        }
    }
}

/// A dict: where to listen for TLS, and the PEM files to show.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct Tls {
    host: String,
    port: u16,
    certificate: PathBuf,
    key: PathBuf,
}

#[pymethods]
impl Gateway {
    #[new]
    #[pyo3(signature = (
        *, host, port, tls, reuse_port, journal, segment_bytes, committed, time_zone,
        oldest_reading_us, ahead_max_us, address_mode, address_key, registry_policy, forget_key,
        forgotten, limits
    ))]
    #[expect(
        clippy::too_many_arguments,
        reason = "keyword-only in Python, one per setting"
    )]
    fn new(
        py: Python<'_>,
        host: &str,
        port: u16,
        tls: Option<Tls>,
        reuse_port: bool,
        journal: PathBuf,
        segment_bytes: usize,
        committed: u64,
        time_zone: String,
        oldest_reading_us: i64,
        ahead_max_us: i64,
        address_mode: &str,
        address_key: &[u8],
        registry_policy: &str,
        forget_key: &[u8],
        forgotten: Vec<Vec<u8>>,
        limits: Limits,
    ) -> PyResult<Self> {
        let listen_tls = match tls {
            None => None,
            Some(tls) => {
                let identity = identity(&tls.certificate, &tls.key)?;
                Some((resolve(&tls.host, tls.port)?, identity))
            }
        };
        let settings = Settings {
            listen: resolve(host, port)?,
            listen_tls,
            reuse_port,
            registry: policy(registry_policy)?,
            forgotten: forgotten_list(forget_key, forgotten)?,
            journal,
            segment_bytes,
            committed,
            time_zone,
            oldest_reading_us,
            ahead_max_us,
            address_mode: mode(address_mode)?,
            address_key: address_key.to_vec(),
            seed: RandomState::new().hash_one(0),
            limits: limits.into(),
        };
        py.detach(|| gateway::Gateway::open(&settings, now()))
            .map(Self)
            .map_err(gateway_error)
    }

    /// `(host, port)` that is listened on.
    #[getter]
    fn address(&self) -> (String, u16) {
        host_and_port(self.0.address())
    }

    /// `(host, port)` that is listened on for TLS.
    #[getter]
    fn tls_address(&self) -> Option<(String, u16)> {
        self.0.tls_address().map(host_and_port)
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
            .detach(|| self.0.turn(now()))
            .map_err(|error| PyOSError::new_err(error.to_string()))?;
        Ok(Pending {
            staged,
            staged_bytes,
            deferred,
        })
    }

    fn answer(&self, py: Python<'_>) {
        py.detach(|| self.0.answer(now()));
    }

    fn sweep(&self, py: Python<'_>) {
        py.detach(|| self.0.sweep(now()));
    }

    fn hold(&self, held: bool) {
        self.0.hold(held);
    }

    fn commit(&self, py: Python<'_>) -> PyResult<usize> {
        py.detach(|| self.0.commit(now()))
            .map_err(|error| PyOSError::new_err(format!("journal: {error}")))
    }

    fn seal(&self, py: Python<'_>) -> Option<Batch> {
        py.detach(|| self.0.seal()).map(Batch)
    }

    /// As `seal`, also without rows: in the tables, the batch covers every segment so far.
    fn seal_all(&self, py: Python<'_>) -> Option<Batch> {
        py.detach(|| self.0.seal_all()).map(Batch)
    }

    /// `at_once`: also segments that teach which frames are resends.
    #[pyo3(signature = (version, *, at_once = false))]
    fn retire(&self, py: Python<'_>, version: u64, at_once: bool) -> PyResult<()> {
        py.detach(|| {
            if at_once {
                self.0.retire_at_once(version)
            } else {
                self.0.retire(version, now())
            }
        })
        .map_err(|error| PyOSError::new_err(format!("journal: {error}")))
    }

    /// Removes damaged segments that were kept for a rescue, and says how many.
    fn remove_damaged(&self, py: Python<'_>) -> PyResult<usize> {
        py.detach(|| self.0.remove_damaged())
            .map_err(|error| PyOSError::new_err(format!("journal: {error}")))
    }

    fn prepare(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.0.prepare())
            .map_err(|error| PyOSError::new_err(format!("journal: {error}")))
    }

    fn tail(&self, py: Python<'_>) -> PyResult<Arro3Table> {
        table(py.detach(|| self.0.tail()))
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

    /// Answers to data frames by time waited, as `(upper bound in s, answers up to it)` pairs ending
    /// with infinity, and the sum of all waits in s.
    fn answer_latency(&self) -> (Vec<(f64, u64)>, f64) {
        let latency = self.0.answer_latency();
        let bounds = BOUNDS_US
            .iter()
            .map(|&bound| bound as f64 / 1e6)
            .chain([f64::INFINITY]);
        let mut below = 0;
        let spans = bounds
            .zip(latency.counts)
            .map(|(bound, count)| {
                below += count;
                (bound, below)
            })
            .collect();
        (spans, latency.sum_us as f64 / 1e6)
    }

    #[pyo3(signature = (loggers))]
    fn set_registry(&self, py: Python<'_>, loggers: Option<Vec<u32>>) {
        py.detach(|| {
            self.0
                .set_registry(loggers.map(|loggers| loggers.into_iter().collect()));
        });
    }

    fn set_forgotten(&self, py: Python<'_>, key: &[u8], digests: Vec<Vec<u8>>) -> PyResult<()> {
        let forgotten = forgotten_list(key, digests)?;
        py.detach(|| self.0.set_forgotten(forgotten));
        Ok(())
    }

    /// `(logger_sn, frames, first, last)` of each refused logger, times in microseconds since 1970.
    fn refused(&self) -> Vec<(u32, u64, i64, i64)> {
        self.0
            .refused()
            .into_iter()
            .map(|(logger_sn, refused)| {
                let times = (refused.first_unix_us, refused.last_unix_us);
                (logger_sn, refused.frames, times.0, times.1)
            })
            .collect()
    }

    fn set_tls(&self, certificate: PathBuf, key: PathBuf) -> PyResult<()> {
        self.0.set_tls(identity(&certificate, &key)?);
        Ok(())
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
        py.detach(|| self.0.close_all(now()));
    }
}

#[pymethods]
impl Batch {
    #[getter]
    fn version(&self) -> u64 {
        self.0.version
    }

    #[getter]
    fn readings(&self) -> PyResult<Arro3Table> {
        table(self.0.readings.clone())
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

fn table(chunks: Chunks) -> PyResult<Arro3Table> {
    // There is always a chunk, and all have one schema.
    let schema = chunks.0[0].schema();
    Ok(PyTable::try_new(chunks.0, schema)?.into())
}

fn exported(batch: RecordBatch) -> Arro3RecordBatch {
    PyRecordBatch::new(batch).into()
}

fn host_and_port(address: SocketAddr) -> (String, u16) {
    (address.ip().to_string(), address.port())
}

fn resolve(host: &str, port: u16) -> PyResult<SocketAddr> {
    (host, port)
        .to_socket_addrs()
        .ok()
        .and_then(|mut addresses| addresses.next())
        .ok_or_else(|| PyValueError::new_err(format!("cannot resolve {host:?}")))
}

fn mode(name: &str) -> PyResult<AddressMode> {
    AddressMode::named(name).map_err(|error| PyValueError::new_err(error.to_string()))
}

fn policy(name: &str) -> PyResult<Policy> {
    match name {
        "open" => Ok(Policy::Open),
        "known" => Ok(Policy::Known),
        _ => Err(PyValueError::new_err(format!(
            "unknown registry policy {name:?}, wanted open or known"
        ))),
    }
}

fn forgotten_list(key: &[u8], digests: Vec<Vec<u8>>) -> PyResult<Forgotten> {
    let digests: Result<HashSet<Digest>, ForgottenError> = digests
        .into_iter()
        .map(|digest| {
            Digest::try_from(digest).map_err(|digest| ForgottenError::DigestLength(digest.len()))
        })
        .collect();
    digests
        .and_then(|digests| Forgotten::new(key, digests))
        .map_err(|error| PyValueError::new_err(error.to_string()))
}

fn identity(certificate: &std::path::Path, key: &std::path::Path) -> PyResult<TlsIdentity> {
    TlsIdentity::load(certificate, key).map_err(|error| PyValueError::new_err(error.to_string()))
}

/// Both clocks, read at one time. A machine whose clock stands before 1970 stores nothing sensible:
/// its readings are dated by the sticks, so the answer is only used for limits.
fn now() -> Moment {
    static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
    let microseconds = |duration: std::time::Duration| i64::try_from(duration.as_micros());
    Moment {
        unix_us: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| microseconds(since).unwrap_or(i64::MAX)),
        uptime_us: microseconds(ORIGIN.elapsed()).unwrap_or(i64::MAX),
    }
}
