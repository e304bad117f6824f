//! What happens between a readable socket and a durable, acknowledged frame?
//!
//! ```text
//! turn()   accept, read, decode, stage; answer what carries no measurement     (server thread)
//! commit() staged records → journal, fdatasync; rows → batch                    (worker thread)
//! turn()   answer the frames that have become durable                           (server thread)
//! seal()   end the journal segment; its rows leave as one batch                 (worker thread)
//! ```
//!
//! Three locks, always taken in the order journal → rows → core. `turn` takes only the core, which
//! the others hold for the time of a swap: a slow disk never stops reading.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use arrow_array::RecordBatch;
use autarco_protocol::frame::{self, Frame, Rejection, Step};
use autarco_protocol::message::{self, Message, SessionKind};
use autarco_protocol::reading::{self, Context, Protocol};
use autarco_protocol::reply::Reply;
use autarco_protocol::zone::{Zone, ZoneError};
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use xxhash_rust::xxh3::xxh3_128;

use crate::batch::{self, QuarantineRow, ReadingRow, Rows, SessionRow};
use crate::connection::{Connection, Received};
use crate::counters::Counters;
use crate::journal::{self, Journal, Records, push_record};
use crate::privacy::{AddressMode, AddressPrivacy, PrivacyError};
use crate::resend::{self, Resends};

const LISTENER: Token = Token(usize::MAX);
/// Connections that wait for `accept`: a reconnect storm of a district fits.
const BACKLOG: i32 = 4096;
/// Sockets looked at in one turn; more stay ready for the next.
const EVENTS_PER_TURN: usize = 1024;
/// Accepts in one turn, so that a storm does not starve the connected.
const ACCEPTS_PER_TURN: usize = 1024;
/// One read; a backlog burst of hundreds of frames.
const READ_BYTES: usize = 64 * 1024;
/// Answers a stick may leave unread: 700 of them. A stick has one frame outstanding.
const UNSENT_BYTES_MAX: usize = 16 * 1024;
const DATA_RECORD: u8 = 1;
const SESSION_RECORD: u8 = 2;

#[derive(Debug, Clone)]
pub struct Limits {
    pub connections_max: usize,
    pub idle_timeout_us: i64,
    pub partial_frame_us: i64,
    pub noise_bytes_max: usize,
    /// Bytes that wait for the journal; beyond, reading pauses.
    pub staged_bytes_max: usize,
}

#[derive(Debug, Clone)]
pub struct Settings {
    pub listen: SocketAddr,
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
    Io(#[from] io::Error),
}

/// The rows of all journal segments up to `version`.
#[derive(Debug)]
pub struct Batch {
    pub version: u64,
    pub readings: RecordBatch,
    pub sessions: RecordBatch,
    pub quarantine: RecordBatch,
}

impl Batch {
    fn of(version: u64, rows: &mut Rows) -> Self {
        Self {
            version,
            readings: rows.readings.finish(),
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
    epoll: RawFd,
    journal: Mutex<Journal>,
    rows: Mutex<Rows>,
    /// Batches of an earlier process, one per segment: a commit that it left half done (one table
    /// written, the next not) then meets the same version again.
    recovered: Mutex<VecDeque<Batch>>,
    core: Mutex<Core>,
}

impl Gateway {
    /// Reads the journal back and starts to listen. Rows of segments above `settings.committed`
    /// are what [`Gateway::seal`] hands out first; the rest only teach which frames are resends.
    pub fn open(settings: &Settings) -> Result<Self, GatewayError> {
        let journal_error = |error| GatewayError::Journal {
            path: settings.journal.clone(),
            error,
        };
        let mut intake = Intake::new(settings)?;
        let mut rows = Rows::default();
        let mut journal = Journal::open(
            &settings.journal,
            settings.segment_bytes,
            settings.committed,
        )
        .map_err(journal_error)?;
        let recovered = intake
            .recover(&mut journal, settings.committed, &mut rows)
            .map_err(journal_error)?;
        let (directory, bytes) = journal.spare();
        journal::prepare_spare(&directory, bytes).map_err(journal_error)?;

        let listen = |error| GatewayError::Listen {
            address: settings.listen,
            error,
        };
        let mut listener = bind(settings.listen).map_err(listen)?;
        let address = listener.local_addr()?;
        let poll = Poll::new()?;
        poll.registry()
            .register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self {
            address,
            epoll: poll.as_raw_fd(),
            journal: Mutex::new(journal),
            rows: Mutex::new(rows),
            recovered: Mutex::new(recovered),
            core: Mutex::new(Core {
                poll,
                events: Events::with_capacity(EVENTS_PER_TURN),
                listener: Some(listener),
                accept_pending: false,
                connections: Slab::new(),
                generation: 0,
                deferred: Vec::new(),
                scratch: vec![0; READ_BYTES].into_boxed_slice(),
                durable: Vec::new(),
                intake,
            }),
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Readable when [`Gateway::turn`] has something to do.
    pub fn epoll(&self) -> RawFd {
        self.epoll
    }

    /// Accepts, reads, decodes, stages and answers, without ever waiting.
    /// Says what waits afterwards.
    pub fn turn(&self, now_us: i64) -> io::Result<Pending> {
        let mut core = self.core();
        core.turn(now_us)?;
        Ok(Pending {
            staged: core.intake.staged.count,
            staged_bytes: core.intake.staged_bytes(),
            deferred: !core.deferred.is_empty() || core.accept_pending,
        })
    }

    /// Closes silent connections and gives up stale partial frames; call it every second or so.
    pub fn sweep(&self, now_us: i64) {
        self.core().sweep(now_us);
    }

    /// Makes everything staged durable and adds its rows to the batch; the answers leave with the
    /// next [`Gateway::turn`]. Returns the number of records. After an error all of it is staged
    /// again and nothing of it is answered.
    pub fn commit(&self, now_us: i64) -> io::Result<usize> {
        let mut journal = lock(&self.journal);
        let mut staged = {
            let mut core = self.core();
            let staged = mem::take(&mut core.intake.staged);
            core.intake.committing_bytes = staged.records.len();
            staged
        };
        let count = staged.count;
        let appended = match staged.records.len() {
            // Resends alone need no write: their originals were committed earlier.
            0 => Ok(()),
            _ => journal.append(&staged.records, now_us),
        };
        if appended.is_ok() {
            lock(&self.rows).take_from(&mut staged);
        }
        let mut core = self.core();
        core.intake.committing_bytes = 0;
        match appended {
            Ok(()) => {
                core.intake.counters.commits += u64::from(count > 0);
                core.durable.append(&mut staged.answers);
                Ok(count)
            }
            Err(error) => {
                core.intake.counters.commit_errors += 1;
                staged.append(mem::take(&mut core.intake.staged));
                core.intake.staged = staged;
                Err(error)
            }
        }
    }

    /// Ends the journal segment and hands out its rows; `None` when there are none. The rows are
    /// durable; those staged since the last commit belong to the next batch.
    pub fn seal(&self) -> Option<Batch> {
        let recovered = lock(&self.recovered).pop_front();
        if recovered.is_some() {
            return recovered;
        }
        let mut journal = lock(&self.journal);
        let mut rows = lock(&self.rows);
        if rows.is_empty() {
            return None;
        }
        Some(Batch::of(journal.rotate(), &mut rows))
    }

    /// Lets go of segments whose rows are in the table and whose frames no stick will repeat any
    /// more, and builds the next one beforehand.
    pub fn retire(&self, version: u64, now_us: i64) -> io::Result<()> {
        let (directory, bytes) = {
            let mut journal = lock(&self.journal);
            journal.retire(version, now_us.saturating_sub(resend::MEMORY_US))?;
            journal.spare()
        };
        journal::prepare_spare(&directory, bytes)
    }

    /// Durable readings that no batch has taken yet.
    pub fn tail(&self) -> RecordBatch {
        lock(&self.rows).readings.copy()
    }

    /// The newest durable reading of each inverter heard since the last call.
    pub fn take_latest(&self) -> RecordBatch {
        lock(&self.rows).take_latest()
    }

    /// Durable rows of all kinds waiting for the next seal.
    pub fn rows(&self) -> usize {
        let rows = lock(&self.rows);
        rows.readings.len() + rows.sessions.len() + rows.quarantine.len()
    }

    pub fn counters(&self) -> Counters {
        let core = self.core();
        let mut counters = core.intake.counters;
        counters.connections = core.connections.len() as u64;
        counters
    }

    /// Changes the key of the encrypting address modes; new connections use it.
    pub fn set_address_key(&self, mode: AddressMode, key: &[u8]) -> Result<(), PrivacyError> {
        self.core().intake.privacy = AddressPrivacy::new(mode, key)?;
        Ok(())
    }

    /// Takes no further connection.
    pub fn stop_listening(&self) {
        let mut core = self.core();
        if let Some(mut listener) = core.listener.take() {
            // The socket is closed right after; a failed deregistration changes nothing.
            let _deregistered = core.poll.registry().deregister(&mut listener);
        }
        core.accept_pending = false;
    }

    /// Closes every connection, sending what the kernel takes; their session rows are staged.
    pub fn close_all(&self, now_us: i64) {
        let mut core = self.core();
        core.release(now_us);
        let slots: Vec<usize> = core.connections.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            core.close(slot, "server stopped", now_us);
        }
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        lock(&self.core)
    }
}

/// A thread that panicked left half a change behind; going on could acknowledge what is not durable.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no thread panicked with this lock")
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// An answer that waits for its frame to become durable.
#[derive(Debug)]
struct Answer {
    slot: usize,
    generation: u64,
    reply: Reply,
}

/// What the next commit will make durable.
#[derive(Debug, Default)]
struct Staged {
    records: Vec<u8>,
    count: usize,
    readings: Vec<ReadingRow>,
    sessions: Vec<SessionRow>,
    quarantine: Vec<QuarantineRow>,
    answers: Vec<Answer>,
}

impl Staged {
    fn append(&mut self, mut later: Self) {
        self.records.append(&mut later.records);
        self.count += later.count;
        self.readings.append(&mut later.readings);
        self.sessions.append(&mut later.sessions);
        self.quarantine.append(&mut later.quarantine);
        self.answers.append(&mut later.answers);
    }
}

impl Rows {
    fn take_from(&mut self, staged: &mut Staged) {
        for row in staged.readings.drain(..) {
            self.push_reading(row);
        }
        self.sessions.append(&mut staged.sessions);
        self.quarantine.append(&mut staged.quarantine);
    }
}

#[derive(Debug)]
struct Core {
    poll: Poll,
    events: Events,
    listener: Option<TcpListener>,
    /// `accept` stopped early; edge-triggered readiness will not tell again.
    accept_pending: bool,
    connections: Slab<Connection>,
    generation: u64,
    deferred: Vec<usize>,
    scratch: Box<[u8]>,
    /// Answers to frames that are on disk.
    durable: Vec<Answer>,
    intake: Intake,
}

impl Core {
    fn turn(&mut self, now_us: i64) -> io::Result<()> {
        self.release(now_us);
        match self.poll.poll(&mut self.events, Some(Duration::ZERO)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        let ready: Vec<Ready> = self.events.iter().map(Ready::from).collect();
        let deferred = mem::take(&mut self.deferred);
        for slot in deferred {
            if let Some(connection) = self
                .connections
                .get_mut(slot)
                .filter(|connection| connection.deferred)
            {
                connection.deferred = false;
                self.read(slot, false, now_us);
            }
        }
        for ready in ready {
            if ready.token == LISTENER {
                self.accept_pending = true;
                continue;
            }
            let slot = ready.token.0;
            // An earlier event of this turn may have closed the connection.
            if ready.writable
                && self
                    .connections
                    .get(slot)
                    .is_some_and(|connection| connection.unsent_bytes() > 0)
            {
                self.send(slot, now_us);
            }
            if ready.readable && self.connections.contains(slot) {
                self.read(slot, ready.ended, now_us);
            }
        }
        if self.accept_pending {
            self.accept(now_us);
        }
        Ok(())
    }

    fn accept(&mut self, now_us: i64) {
        let Some(listener) = &self.listener else {
            self.accept_pending = false;
            return;
        };
        for _ in 0..ACCEPTS_PER_TURN {
            let (mut stream, peer) = match listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.accept_pending = false;
                    return;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // The peer left between SYN and accept, or descriptors ran out: try in a later turn.
                Err(_) => {
                    self.intake.counters.accept_errors += 1;
                    return;
                }
            };
            if self.connections.len() >= self.intake.limits.connections_max {
                self.intake.counters.refused += 1;
                continue;
            }
            self.intake.counters.accepted += 1;
            self.generation += 1;
            let source = self.intake.source(peer.ip());
            let entry = self.connections.vacant_entry();
            let token = Token(entry.key());
            let registered = self.poll.registry().register(
                &mut stream,
                token,
                Interest::READABLE | Interest::WRITABLE,
            );
            match registered {
                // Acks are tiny and awaited; a failure only costs delay.
                Ok(()) => {
                    let _nodelay = stream.set_nodelay(true);
                    entry.insert(Connection::new(stream, self.generation, source, now_us));
                }
                Err(_) => self.intake.counters.accept_errors += 1,
            }
        }
    }

    /// One read. `ended`: the stick has closed its side, which readiness will not tell again.
    fn read(&mut self, slot: usize, ended: bool, now_us: i64) {
        if self.intake.staged_bytes() > self.intake.limits.staged_bytes_max {
            self.intake.counters.paused += 1;
            self.defer(slot);
            return;
        }
        let Self {
            connections,
            scratch,
            intake,
            ..
        } = self;
        let connection = &mut connections[slot];
        let received = connection.receive(scratch);
        let Received::Bytes { count, drained } = received else {
            if received == Received::Ended {
                self.close(slot, "closed by the stick", now_us);
            }
            return;
        };
        connection.heard_at_us = now_us;
        intake.counters.bytes_in += count as u64;
        intake.take(connection, slot, &scratch[..count], now_us);
        if connection.noise_bytes > intake.limits.noise_bytes_max {
            intake.counters.closed_noise += 1;
            self.close(slot, "too much noise", now_us);
            return;
        }
        if connection.unsent_bytes() > 0 && !self.send(slot, now_us) {
            return;
        }
        if ended || !drained {
            self.defer(slot);
        }
    }

    fn defer(&mut self, slot: usize) {
        let connection = &mut self.connections[slot];
        if !connection.deferred {
            connection.deferred = true;
            self.deferred.push(slot);
        }
    }

    /// Sends what is queued; whether the connection is still there.
    fn send(&mut self, slot: usize, now_us: i64) -> bool {
        let connection = &mut self.connections[slot];
        match connection.send() {
            Ok(sent) => {
                self.intake.counters.bytes_out += sent as u64;
                if connection.unsent_bytes() > UNSENT_BYTES_MAX {
                    self.intake.counters.closed_unread += 1;
                    self.close(slot, "does not read its answers", now_us);
                    return false;
                }
                true
            }
            Err(_) => {
                self.close(slot, "closed by the stick", now_us);
                false
            }
        }
    }

    /// Answers the frames that have become durable, one send per connection.
    fn release(&mut self, now_us: i64) {
        if self.durable.is_empty() {
            return;
        }
        let durable = mem::take(&mut self.durable);
        let clock = self.intake.clock(now_us);
        let mut touched = Vec::new();
        for answer in durable {
            match self.connections.get_mut(answer.slot) {
                Some(connection) if connection.generation == answer.generation => {
                    // One that already holds unsent bytes is tried too: that is where its limit is
                    // checked.
                    if touched.last() != Some(&answer.slot) {
                        touched.push(answer.slot);
                    }
                    connection.queue(&answer.reply.encode(clock.unix_s, clock.offset_minutes));
                    self.intake.counters.answers += 1;
                }
                _ => self.intake.counters.answers_orphaned += 1,
            }
        }
        touched.sort_unstable();
        touched.dedup();
        for slot in touched {
            self.send(slot, now_us);
        }
    }

    fn sweep(&mut self, now_us: i64) {
        let limits = self.intake.limits.clone();
        let silent =
            |connection: &Connection| now_us - connection.heard_at_us > limits.idle_timeout_us;
        let stale = |connection: &Connection| {
            !connection.partial.is_empty()
                && now_us - connection.partial_since_us > limits.partial_frame_us
        };
        let due: Vec<(usize, bool)> = self
            .connections
            .iter()
            .filter(|(_, connection)| silent(connection) || stale(connection))
            .map(|(slot, connection)| (slot, silent(connection)))
            .collect();
        for (slot, is_silent) in due {
            if is_silent {
                self.intake.counters.closed_idle += 1;
                self.close(slot, "idle", now_us);
                continue;
            }
            let connection = &mut self.connections[slot];
            self.intake.give_up_partial(connection, slot, now_us);
            if connection.unsent_bytes() > 0 {
                self.send(slot, now_us);
            }
        }
    }

    fn close(&mut self, slot: usize, reason: &str, now_us: i64) {
        let mut connection = self.connections.remove(slot);
        // The descriptor is closed on drop, which also leaves the epoll set.
        let _deregistered = self.poll.registry().deregister(connection.stream_mut());
        self.intake.note_close(&connection, reason, now_us);
    }
}

/// What the epoll set said of one socket.
#[derive(Debug, Clone, Copy)]
struct Ready {
    token: Token,
    readable: bool,
    writable: bool,
    ended: bool,
}

impl From<&mio::event::Event> for Ready {
    fn from(event: &mio::event::Event) -> Self {
        let ended = event.is_read_closed();
        Self {
            token: event.token(),
            readable: event.is_readable() || ended,
            writable: event.is_writable(),
            ended,
        }
    }
}

struct Clock {
    unix_s: u32,
    offset_minutes: i32,
}

/// Everything that turns a connection's bytes into staged rows and answers, apart from sockets.
#[derive(Debug)]
struct Intake {
    zone: Zone,
    oldest_us: i64,
    ahead_us: i64,
    privacy: AddressPrivacy,
    limits: Limits,
    resends: Resends,
    staged: Staged,
    committing_bytes: usize,
    counters: Counters,
}

impl Intake {
    fn new(settings: &Settings) -> Result<Self, GatewayError> {
        Ok(Self {
            zone: Zone::named(&settings.time_zone)?,
            oldest_us: settings.oldest_reading_us,
            ahead_us: settings.ahead_max_us,
            privacy: AddressPrivacy::new(settings.address_mode, &settings.address_key)?,
            limits: settings.limits.clone(),
            resends: Resends::new(settings.seed),
            staged: Staged::default(),
            committing_bytes: 0,
            counters: Counters::default(),
        })
    }

    fn source(&self, address: IpAddr) -> Option<Arc<str>> {
        self.privacy.source(address).map(Arc::from)
    }

    fn staged_bytes(&self) -> usize {
        self.staged.records.len() + self.committing_bytes
    }

    fn clock(&self, now_us: i64) -> Clock {
        let unix_s = now_us.div_euclid(1_000_000);
        Clock {
            // The wire field is an unsigned 32-bit number and ends in 2106.
            unix_s: u32::try_from(unix_s).unwrap_or(0),
            offset_minutes: self.zone.offset_minutes(unix_s),
        }
    }

    /// Takes bytes as they arrived, with what was left of the bytes before them.
    fn take(&mut self, connection: &mut Connection, slot: usize, bytes: &[u8], now_us: i64) {
        if connection.partial.is_empty() {
            let used = self.scan(connection, slot, bytes, now_us);
            if used < bytes.len() {
                connection.partial = bytes[used..].to_vec();
                connection.partial_since_us = now_us;
            }
        } else {
            let mut buffer = mem::take(&mut connection.partial);
            buffer.extend_from_slice(bytes);
            let used = self.scan(connection, slot, &buffer, now_us);
            if used > 0 {
                buffer.drain(..used);
                connection.partial_since_us = now_us;
            }
            if !buffer.is_empty() {
                connection.partial = buffer;
            }
        }
    }

    /// Drops the first byte of a frame that never became complete, and what follows from that.
    fn give_up_partial(&mut self, connection: &mut Connection, slot: usize, now_us: i64) {
        let mut buffer = mem::take(&mut connection.partial);
        self.reject(connection, Rejection::Stale, 1);
        let used = 1 + self.scan(connection, slot, &buffer[1..], now_us);
        buffer.drain(..used);
        connection.partial_since_us = now_us;
        connection.partial = buffer;
    }

    /// Works through whole frames and noise; returns how many bytes are done with.
    fn scan(
        &mut self,
        connection: &mut Connection,
        slot: usize,
        bytes: &[u8],
        now_us: i64,
    ) -> usize {
        let mut done = 0;
        while done < bytes.len() {
            match frame::step(&bytes[done..]) {
                Step::Frame { frame, used } => {
                    self.frame(connection, slot, &frame, now_us);
                    done += used;
                }
                Step::Skip { reason, used } => {
                    self.reject(connection, reason, used);
                    done += used;
                }
                Step::Need { .. } => break,
            }
        }
        done
    }

    fn reject(&mut self, connection: &mut Connection, reason: Rejection, bytes: usize) {
        connection.noise_bytes += bytes;
        self.counters.noise_bytes += bytes as u64;
        match reason {
            Rejection::Noise => {}
            Rejection::TooLong => self.counters.rejected_too_long += 1,
            Rejection::Control => self.counters.rejected_control += 1,
            Rejection::End => self.counters.rejected_end += 1,
            Rejection::Checksum => self.counters.rejected_checksum += 1,
            Rejection::Stale => self.counters.rejected_stale += 1,
        }
    }

    fn frame(&mut self, connection: &mut Connection, slot: usize, frame: &Frame<'_>, now_us: i64) {
        self.counters.frames += 1;
        connection.frames = connection.frames.saturating_add(1);
        connection.logger_sn = Some(frame.logger_sn());
        connection.protocol = frame.protocol().as_str();
        let reply = match frame {
            Frame::V5(frame) => Reply::to(frame),
            Frame::V4(_) => None,
        };
        match message::classify(frame) {
            Message::Data => {
                self.counters.frames_data += 1;
                self.stage_data(frame, connection.source.as_ref(), now_us);
                if let Some(reply) = reply {
                    let generation = connection.generation;
                    self.staged.count += 1;
                    self.staged.answers.push(Answer {
                        slot,
                        generation,
                        reply,
                    });
                }
                return;
            }
            Message::Session(event) => {
                self.counters.frames_session += 1;
                let source = connection.source.as_deref().map(str::to_owned);
                self.stage_session(SessionRow {
                    at_us: now_us,
                    event: event_name(event.kind).to_owned(),
                    logger_sn: frame.logger_sn(),
                    protocol: frame.protocol().as_str().to_owned(),
                    source,
                    uptime_s: event.uptime_s,
                    firmware: event.firmware,
                    upload_period_s: event.upload_period_s,
                    sample_period_s: event.sample_period_s,
                    heartbeat_s: event.heartbeat_s,
                    signal_pct: event.signal_pct,
                    code: event.code,
                    sensor_type: event.sensor_type,
                    reason: None,
                    frames: None,
                });
            }
            Message::Heartbeat => self.counters.frames_heartbeat += 1,
            Message::Text | Message::Other => self.counters.frames_other += 1,
        }
        // No measurement is at stake: the stick need not wait for the disk.
        if let Some(reply) = reply {
            let clock = self.clock(now_us);
            connection.queue(&reply.encode(clock.unix_s, clock.offset_minutes));
            self.counters.answers += 1;
        }
    }

    fn stage_data(&mut self, frame: &Frame<'_>, source: Option<&Arc<str>>, now_us: i64) {
        if self.is_resend(frame, now_us) {
            self.counters.resends += 1;
            return;
        }
        self.counters.staged += 1;
        self.staged.count += 1;
        push_record(
            &mut self.staged.records,
            &data_record(frame.raw(), source.map(AsRef::as_ref), now_us),
        );
        match self.row(frame, source, now_us) {
            Row::Reading(row) => self.staged.readings.push(row),
            Row::Quarantine(row) => {
                self.counters.quarantined += 1;
                self.staged.quarantine.push(row);
            }
        }
    }

    fn is_resend(&mut self, frame: &Frame<'_>, received_at_us: i64) -> bool {
        let timed = frame.protocol() == Protocol::V5;
        reading::resend_key(frame).is_some_and(|key| {
            self.resends
                .is_resend(frame.logger_sn(), key, timed, received_at_us)
        })
    }

    fn row(&self, frame: &Frame<'_>, source: Option<&Arc<str>>, received_at_us: i64) -> Row {
        let context = Context {
            zone: &self.zone,
            received_at_us,
            oldest_us: self.oldest_us,
            ahead_us: self.ahead_us,
        };
        match reading::read(frame, &context) {
            Ok(reading) => Row::Reading(ReadingRow {
                reading,
                source: source.cloned(),
            }),
            Err(reason) => Row::Quarantine(QuarantineRow {
                received_at_us,
                reason: reason.as_str(),
                logger_sn: frame.logger_sn(),
                protocol: frame.protocol().as_str(),
                sensor_type: reading::sensor_type(frame),
                source: source.cloned(),
                frame: frame.raw().into(),
            }),
        }
    }

    fn stage_session(&mut self, row: SessionRow) {
        let mut body = vec![SESSION_RECORD];
        serde_json::to_writer(&mut body, &row).expect("a row of numbers and texts is JSON");
        push_record(&mut self.staged.records, &body);
        self.staged.count += 1;
        self.staged.sessions.push(row);
    }

    fn note_close(&mut self, connection: &Connection, reason: &str, now_us: i64) {
        // Scanners that never sent a frame have no serial and leave no row.
        let Some(logger_sn) = connection.logger_sn else {
            return;
        };
        self.stage_session(SessionRow {
            at_us: now_us,
            event: "close".to_owned(),
            logger_sn,
            protocol: connection.protocol.to_owned(),
            source: connection.source.as_deref().map(str::to_owned),
            uptime_s: None,
            firmware: None,
            upload_period_s: None,
            sample_period_s: None,
            heartbeat_s: None,
            signal_pct: None,
            code: None,
            sensor_type: None,
            reason: Some(reason.to_owned()),
            frames: Some(connection.frames),
        });
    }

    /// Reads the journal back. A write that failed may still have reached the disk and was repeated
    /// in the next segment, so a record equal to one before it is the same record.
    fn recover(
        &mut self,
        journal: &mut Journal,
        committed: u64,
        current: &mut Rows,
    ) -> io::Result<VecDeque<Batch>> {
        let mut batches = VecDeque::new();
        let mut known = HashSet::new();
        let mut dates = Vec::new();
        for segment in journal.recover() {
            let (number, bytes) = segment?;
            let mut staged = Staged::default();
            let mut records = Records::new(&bytes, number);
            let mut last_us = i64::MIN;
            for body in records.by_ref() {
                let fresh = known.insert(xxh3_128(body));
                if let Some(record) = Record::parse(body).filter(|_| fresh) {
                    last_us = last_us.max(record.received_at_us());
                    self.replay(record, number > committed, &mut staged);
                }
            }
            self.counters.journal_torn_bytes += records.torn_bytes() as u64;
            dates.push((number, last_us));
            let mut rows = Rows::default();
            rows.take_from(&mut staged);
            if !rows.is_empty() {
                batches.push_back(Batch::of(number, &mut rows));
            }
            current.merge_latest(rows);
        }
        for (number, last_us) in dates {
            journal.set_recovered_at(number, last_us);
        }
        Ok(batches)
    }

    fn replay(&mut self, record: Record<'_>, wanted: bool, staged: &mut Staged) {
        match record {
            Record::Session(row) if wanted => {
                self.counters.replayed += 1;
                staged.sessions.push(*row);
            }
            Record::Session(_) => {}
            Record::Data {
                frame,
                source,
                received_at_us,
            } => {
                let Step::Frame { frame, .. } = frame::step(frame) else {
                    return;
                };
                if self.is_resend(&frame, received_at_us) || !wanted {
                    return;
                }
                self.counters.replayed += 1;
                let source = source.map(Arc::from);
                match self.row(&frame, source.as_ref(), received_at_us) {
                    Row::Reading(row) => staged.readings.push(row),
                    Row::Quarantine(row) => staged.quarantine.push(row),
                }
            }
        }
    }
}

#[expect(
    clippy::large_enum_variant,
    reason = "lives for a move; a box would be one per frame"
)]
enum Row {
    Reading(ReadingRow),
    Quarantine(QuarantineRow),
}

fn event_name(kind: SessionKind) -> &'static str {
    match kind {
        SessionKind::Handshake => "handshake",
        SessionKind::Link => "link",
        SessionKind::Report => "report",
        SessionKind::Info => "info",
    }
}

/// Body of a data record: kind, receive time, length of the source, source, frame.
fn data_record(frame: &[u8], source: Option<&str>, received_at_us: i64) -> Vec<u8> {
    let source = source.unwrap_or_default();
    let mut body = Vec::with_capacity(10 + source.len() + frame.len());
    body.push(DATA_RECORD);
    body.extend_from_slice(&received_at_us.to_le_bytes());
    body.push(u8::try_from(source.len()).expect("an address is at most 43 characters"));
    body.extend_from_slice(source.as_bytes());
    body.extend_from_slice(frame);
    body
}

enum Record<'a> {
    Data {
        frame: &'a [u8],
        source: Option<&'a str>,
        received_at_us: i64,
    },
    Session(Box<SessionRow>),
}

impl<'a> Record<'a> {
    /// `None`: a kind that this version does not know, or a body that does not fit its kind.
    fn parse(body: &'a [u8]) -> Option<Self> {
        let (&kind, rest) = body.split_first()?;
        match kind {
            SESSION_RECORD => serde_json::from_slice(rest)
                .ok()
                .map(|row| Self::Session(Box::new(row))),
            DATA_RECORD => {
                let (time, rest) = rest.split_first_chunk::<8>()?;
                let (&source_bytes, rest) = rest.split_first()?;
                let (source, frame) = rest.split_at_checked(usize::from(source_bytes))?;
                let source = std::str::from_utf8(source).ok()?;
                Some(Self::Data {
                    frame,
                    source: Some(source).filter(|source| !source.is_empty()),
                    received_at_us: i64::from_le_bytes(*time),
                })
            }
            _ => None,
        }
    }

    fn received_at_us(&self) -> i64 {
        match self {
            Self::Data { received_at_us, .. } => *received_at_us,
            Self::Session(row) => row.at_us,
        }
    }
}
