//! What happens between a readable socket and a durable, acknowledged frame?
//!
//! ```text
//! turn()   accept, read, check, stage; answer what carries no measurement      (server thread)
//! commit() staged records → journal, fdatasync; decoded, they join the batch    (worker thread)
//! answer() answer the frames that have become durable                           (server thread)
//! seal()   end the journal segment; its rows leave as one batch                 (worker thread)
//! ```
//!
//! Three locks, always taken in the order journal → rows → sockets. `turn` takes only the last,
//! which the others hold for the time of a swap: a slow disk never stops reading.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};

use arrow_array::RecordBatch;
use autarco_protocol::zone::{Zone, ZoneError};

use crate::batch::{self, Chunks, QuarantineRow, Rows};
use crate::clock::Moment;
use crate::counters::Counters;
use crate::decode::Decoder;
use crate::forgotten::Forgotten;
use crate::intake::Intake;
use crate::journal::{self, Journal};
use crate::latency::AnswerLatency;
use crate::privacy::{AddressMode, AddressPrivacy, PrivacyError};
use crate::registry::{Policy, Refused};
use crate::resend;
use crate::sockets::Sockets;
use crate::tls::{TlsError, TlsIdentity};

/// What peers may take of the server. Rates allow a whole minute's worth at once.
#[derive(Debug, Clone)]
pub struct Limits {
    pub connections_max: usize,
    pub connections_per_address_max: u32,
    pub connects_per_address_per_minute: u32,
    /// Beyond, reading from the address pauses.
    pub frames_per_address_per_minute: u32,
    /// Beyond, the logger's oldest connection is closed.
    pub connections_per_logger_max: usize,
    /// Beyond, reading from the logger pauses.
    pub frames_per_logger_per_minute: u32,
    /// Patience with a connection that has not sent a frame yet.
    pub first_frame_us: i64,
    pub idle_timeout_us: i64,
    pub partial_frame_us: i64,
    pub noise_bytes_max: usize,
    /// Answers that a stick may leave unread.
    pub unsent_bytes_max: usize,
    /// Patience with answers that a stick's TCP does not take: it is gone, or never reads.
    pub unread_us: i64,
    /// Bytes that wait for the journal; beyond, reading pauses.
    pub staged_bytes_max: usize,
}

#[derive(Debug, Clone)]
pub struct Settings {
    pub listen: SocketAddr,
    /// A second listener, for TLS.
    pub listen_tls: Option<(SocketAddr, TlsIdentity)>,
    /// Other processes may listen on the same addresses; the kernel deals connections out.
    pub reuse_port: bool,
    pub registry: Policy,
    /// Of whom nothing is taken, nor given back by the journal.
    pub forgotten: Forgotten,
    pub journal: PathBuf,
    pub segment_bytes: usize,
    /// Newest journal segment whose rows are in the table.
    pub committed: u64,
    pub time_zone: String,
    pub oldest_reading_us: i64,
    pub ahead_max_us: i64,
    pub address_mode: AddressMode,
    pub address_key: Vec<u8>,
    /// Makes the resend hashes unpredictable.
    pub seed: u64,
    pub limits: Limits,
}

#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    #[error("cannot listen on {address}: {error}")]
    Listen {
        address: SocketAddr,
        error: io::Error,
    },
    #[error("journal {path}: {error}")]
    Journal { path: PathBuf, error: io::Error },
    #[error(transparent)]
    Zone(#[from] ZoneError),
    #[error(transparent)]
    Privacy(#[from] PrivacyError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The rows of all journal segments up to `version`.
#[derive(Debug)]
pub struct Batch {
    pub version: u64,
    pub readings: Chunks,
    pub sessions: RecordBatch,
    pub quarantine: RecordBatch,
}

impl Batch {
    pub(crate) fn of(version: u64, rows: &mut Rows) -> Self {
        Self {
            version,
            readings: rows.finish_readings(),
            sessions: batch::sessions_batch(&mem::take(&mut rows.sessions)),
            quarantine: batch::quarantine_batch(&mem::take(&mut rows.quarantine)),
        }
    }
}

/// What waits inside the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending {
    /// Frames and events waiting for the next commit.
    pub staged: usize,
    /// Bytes of them.
    pub staged_bytes: usize,
    /// Sockets wait to be read although the epoll set does not say so.
    pub deferred: bool,
}

#[derive(Debug)]
pub struct Gateway {
    address: SocketAddr,
    tls_address: Option<SocketAddr>,
    epoll: RawFd,
    decoder: Decoder,
    journal: Mutex<Journal>,
    rows: Mutex<Rows>,
    /// Batches of an earlier process, one per segment: a commit that it left half done (one table
    /// written, the next not) then meets the same version again.
    recovered: Mutex<VecDeque<Batch>>,
    sockets: Mutex<Sockets>,
}

impl Gateway {
    /// Reads the journal back and starts to listen. Rows of segments above `settings.committed`
    /// are what [`Gateway::seal`] hands out first; the rest only teach which frames are resends.
    pub fn open(settings: &Settings, now: Moment) -> Result<Self, GatewayError> {
        let journal_error = |error| GatewayError::Journal {
            path: settings.journal.clone(),
            error,
        };
        let decoder = Decoder {
            zone: Zone::named(&settings.time_zone)?,
            oldest_us: settings.oldest_reading_us,
            ahead_us: settings.ahead_max_us,
        };
        let mut intake = Intake::new(settings, decoder.zone.clone())?;
        let mut rows = Rows::default();
        let mut journal = Journal::open(
            &settings.journal,
            settings.segment_bytes,
            settings.committed,
        )
        .map_err(journal_error)?;
        let recovered = intake
            .recover(&mut journal, settings.committed, &decoder, &mut rows, now)
            .map_err(journal_error)?;
        let (directory, bytes) = journal.spare();
        journal::prepare_spare(&directory, bytes).map_err(journal_error)?;

        let mut sockets = Sockets::open(intake)?;
        let address = sockets.listen(settings.listen, false, settings.reuse_port)?;
        let tls_address = match &settings.listen_tls {
            None => None,
            Some((listen, identity)) => {
                sockets.set_tls(identity.clone());
                Some(sockets.listen(*listen, true, settings.reuse_port)?)
            }
        };
        Ok(Self {
            address,
            tls_address,
            epoll: sockets.epoll(),
            decoder,
            journal: Mutex::new(journal),
            rows: Mutex::new(rows),
            recovered: Mutex::new(recovered),
            sockets: Mutex::new(sockets),
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn tls_address(&self) -> Option<SocketAddr> {
        self.tls_address
    }

    /// Readable when [`Gateway::turn`] has something to do.
    pub fn epoll(&self) -> RawFd {
        self.epoll
    }

    /// Accepts, reads, stages and answers, without ever waiting.
    /// Says what waits afterwards.
    pub fn turn(&self, now: Moment) -> io::Result<Pending> {
        let mut sockets = self.sockets();
        sockets.turn(now)?;
        Ok(sockets.pending(now))
    }

    /// Answers the frames that have become durable, and reads nothing: how much the next turn finds
    /// is up to the caller's rhythm.
    pub fn answer(&self, now: Moment) {
        self.sockets().release(now);
    }

    /// Closes silent connections, gives up stale partial frames and reads on where a rate has room
    /// again; call it every second or so.
    pub fn sweep(&self, now: Moment) {
        self.sockets().sweep(now);
    }

    /// While held, nothing is read and so nothing is acknowledged; connections stay.
    pub fn hold(&self, held: bool) {
        self.sockets().hold(held);
    }

    /// Makes everything staged durable and adds its rows to the batch; the answers leave with the
    /// next [`Gateway::answer`] or [`Gateway::turn`]. Returns how many frames will be answered.
    /// After an error all of it is staged again and nothing of it is answered.
    pub fn commit(&self, now: Moment) -> io::Result<usize> {
        let mut journal = lock(&self.journal);
        let mut staged = self.sockets().intake.begin_commit();
        let answered = staged.answers.len();
        // Resends alone need no write: their originals were committed earlier.
        if !staged.records.is_empty()
            && let Err(error) = journal.append(&staged.records, now.uptime_us)
        {
            self.sockets().intake.abort_commit(staged);
            return Err(error);
        }
        // Durable: a turn that runs meanwhile may answer already.
        self.sockets().queue_durable(&mut staged.answers);
        let quarantined = lock(&self.rows).take_from(&mut staged, &self.decoder);
        self.sockets().intake.end_commit(staged, quarantined);
        Ok(answered)
    }

    /// Ends the journal segment and hands out its rows. The rows are durable; those staged since the
    /// last commit belong to the next batch. `None` when there are none, or after a failed commit
    /// until one succeeds.
    pub fn seal(&self) -> Option<Batch> {
        self.seal_if(|rows| !rows.is_empty())
    }

    /// As [`Gateway::seal`], also without rows: once this batch is in the table, every segment up to
    /// its version may go, those too of whose records nothing was taken. `None` before the first
    /// segment.
    pub fn seal_all(&self) -> Option<Batch> {
        self.seal_if(|_| true).filter(|batch| batch.version > 0)
    }

    fn seal_if(&self, is_wanted: impl Fn(&Rows) -> bool) -> Option<Batch> {
        let recovered = lock(&self.recovered).pop_front();
        if recovered.is_some() {
            return recovered;
        }
        let mut journal = lock(&self.journal);
        let mut rows = lock(&self.rows);
        if !is_wanted(&rows) {
            return None;
        }
        let version = journal.rotate()?;
        Some(Batch::of(version, &mut rows))
    }

    /// Lets go of segments whose rows are in the table and whose frames no stick will repeat any
    /// more, and builds the next one beforehand.
    pub fn retire(&self, version: u64, now: Moment) -> io::Result<()> {
        let (directory, bytes) = {
            let mut journal = lock(&self.journal);
            let keep_after_us = now.uptime_us.saturating_sub(resend::MEMORY_US);
            journal.retire(version, keep_after_us)?;
            journal.spare()
        };
        journal::prepare_spare(&directory, bytes)
    }

    /// Lets go of all segments up to `version`, for a purge: their frames are gone from the disk when
    /// this returns. A resend of the last while that comes after a restart is stored again;
    /// compaction finds it.
    pub fn retire_at_once(&self, version: u64) -> io::Result<()> {
        lock(&self.journal).retire_at_once(version)
    }

    /// Removes the damaged segments that were kept for a rescue: nobody can tell whose frames they
    /// hold. Returns how many there were.
    pub fn remove_damaged(&self) -> io::Result<usize> {
        lock(&self.journal).remove_damaged()
    }

    /// Builds the next journal segment beforehand, if it is not there: an append that has to do so
    /// itself keeps sticks waiting. Call it every second or so.
    pub fn prepare(&self) -> io::Result<()> {
        let (directory, bytes) = lock(&self.journal).spare();
        journal::prepare_spare(&directory, bytes)
    }

    /// Durable readings that no batch has taken yet.
    pub fn tail(&self) -> Chunks {
        lock(&self.rows).copy_readings()
    }

    /// The newest durable reading of each inverter heard since the last call.
    pub fn take_latest(&self) -> RecordBatch {
        let latest = lock(&self.rows).take_latest();
        latest.into_batch()
    }

    /// Durable rows of all kinds waiting for the next seal. A quarantined frame, which is kept raw and
    /// may be large, counts as the rows whose memory it takes.
    pub fn rows(&self) -> usize {
        const ROW_BYTES: usize = 256;
        let rows = lock(&self.rows);
        let raw = |row: &QuarantineRow| 1 + row.frame.len() / ROW_BYTES;
        let quarantined: usize = rows.quarantine.iter().map(raw).sum();
        rows.readings_count() + rows.sessions.len() + quarantined
    }

    pub fn counters(&self) -> Counters {
        let sockets = self.sockets();
        Counters {
            connections: sockets.connections() as u64,
            ..sockets.intake.counters()
        }
    }

    pub fn answer_latency(&self) -> AnswerLatency {
        self.sockets().intake.latency
    }

    /// Takes over a new list of loggers; `None` when there is none. Connections stay.
    pub fn set_registry(&self, listed: Option<HashSet<u32>>) {
        self.sockets().intake.registry.replace(listed);
    }

    /// Takes over a new list of the forgotten. Connections stay; nothing is taken of those on the
    /// list from now on. What was taken before is still among the rows.
    pub fn set_forgotten(&self, forgotten: Forgotten) {
        self.sockets().set_forgotten(forgotten);
    }

    /// The loggers that the registry refused, by serial number.
    pub fn refused(&self) -> Vec<(u32, Refused)> {
        self.sockets().intake.registry.refused()
    }

    /// Changes the certificate; new TLS connections are shown it.
    pub fn set_tls(&self, identity: TlsIdentity) {
        self.sockets().set_tls(identity);
    }

    /// Changes the key of the encrypting address modes; new connections use it.
    pub fn set_address_key(&self, mode: AddressMode, key: &[u8]) -> Result<(), PrivacyError> {
        self.sockets().intake.privacy = AddressPrivacy::new(mode, key)?;
        Ok(())
    }

    /// Takes no further connection.
    pub fn stop_listening(&self) {
        self.sockets().stop_listening();
    }

    /// Closes every connection, sending what the kernel takes; their session rows are staged.
    pub fn close_all(&self, now: Moment) {
        self.sockets().close_all("server stopped", now);
    }

    fn sockets(&self) -> MutexGuard<'_, Sockets> {
        lock(&self.sockets)
    }
}

/// A thread that panicked left half a change behind; going on could acknowledge what is not durable.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no thread panicked with this lock")
}
