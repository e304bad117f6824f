//! What is staged, and what is answered, for the bytes of a connection?
//!
//! Frames become rows and journal records here, in memory; `commit` of the gateway makes them
//! durable. No socket is touched: answers are queued on the connection.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::net::IpAddr;
use std::sync::Arc;

use autarco_protocol::frame::{self, Frame, Rejection, Step};
use autarco_protocol::message::{self, Message};
use autarco_protocol::reading::{self, Protocol};
use autarco_protocol::reply::Reply;
use autarco_protocol::zone::Zone;

use crate::batch::{Rows, SessionRow};
use crate::clock::Moment;
use crate::connection::Connection;
use crate::counters::Counters;
use crate::decode::Decoder;
use crate::forgotten::Forgotten;
use crate::gateway::{Batch, GatewayError, Limits, Settings};
use crate::journal::{self, Journal, Records, hidden_by_damage, push_record, push_record_of};
use crate::latency::AnswerLatency;
use crate::limits::{Addresses, Loggers};
use crate::privacy::AddressPrivacy;
use crate::record::{self, Record, session_record};
use crate::registry::Registry;
use crate::resend::Resends;

/// An answer that waits for its frame to become durable.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) slot: usize,
    pub(crate) generation: u64,
    pub(crate) reply: Reply,
    /// When its frame was read; uptime.
    pub(crate) read_at_us: i64,
}

/// What the next commit will make durable.
#[derive(Debug, Default)]
pub(crate) struct Staged {
    pub(crate) records: Vec<u8>,
    pub(crate) count: usize,
    sessions: Vec<SessionRow>,
    pub(crate) answers: Vec<Answer>,
}

impl Staged {
    fn append(&mut self, mut later: Self) {
        self.records.append(&mut later.records);
        self.count += later.count;
        self.sessions.append(&mut later.sessions);
        self.answers.append(&mut later.answers);
    }

    /// Empty, with the memory for as much again; unless that is more than a busy server needs.
    fn emptied(mut self) -> Self {
        if self.records.capacity() > KEPT_BYTES_MAX {
            return Self::default();
        }
        self.records.clear();
        self.count = 0;
        self.sessions.clear();
        self.answers.clear();
        self
    }
}

/// Memory that is kept between commits. New memory costs a page fault every 4 KiB, together more than
/// all the decoding of a burst; commits of 16,000 frames, the largest of a turn, fit.
const KEPT_BYTES_MAX: usize = 16 << 20;

impl Rows {
    /// Takes the rows of records that are durable; returns how many are for the quarantine.
    pub(crate) fn take_from(&mut self, staged: &mut Staged, decoder: &Decoder) -> u64 {
        self.sessions.append(&mut staged.sessions);
        decoder.take(journal::bodies(&staged.records), self)
    }
}

/// What has to come back before more of a connection is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UsedUp {
    Address,
    Logger,
}

pub(crate) struct Clock {
    pub(crate) unix_s: u32,
    pub(crate) offset_minutes: i32,
}

/// Everything that turns a connection's bytes into staged rows and answers, apart from sockets.
#[derive(Debug)]
pub(crate) struct Intake {
    zone: Zone,
    pub(crate) privacy: AddressPrivacy,
    pub(crate) limits: Limits,
    pub(crate) addresses: Addresses,
    loggers: Loggers,
    pub(crate) registry: Registry,
    forgotten: Forgotten,
    /// Connections that have to go because their logger has newer ones.
    pub(crate) replaced: Vec<usize>,
    resends: Resends,
    staged: Staged,
    /// Of the commit before, for the memory.
    emptied: Staged,
    committing_bytes: usize,
    pub(crate) counters: Counters,
    pub(crate) latency: AnswerLatency,
}

impl Intake {
    pub(crate) fn new(settings: &Settings, zone: Zone) -> Result<Self, GatewayError> {
        let limits = &settings.limits;
        Ok(Self {
            zone,
            privacy: AddressPrivacy::new(settings.address_mode, &settings.address_key)?,
            addresses: Addresses::new(
                limits.connections_per_address_max,
                limits.connects_per_address_per_minute,
                limits.frames_per_address_per_minute,
            ),
            loggers: Loggers::new(
                limits.connections_per_logger_max,
                limits.frames_per_logger_per_minute,
            ),
            registry: Registry::new(settings.registry),
            forgotten: settings.forgotten.clone(),
            replaced: Vec::new(),
            limits: limits.clone(),
            resends: Resends::new(settings.seed),
            staged: Staged::default(),
            emptied: Staged::default(),
            committing_bytes: 0,
            counters: Counters::default(),
            latency: AnswerLatency::default(),
        })
    }

    /// What was seen so far, with how much is being kept track of now.
    pub(crate) fn counters(&self) -> Counters {
        Counters {
            addresses: self.addresses.len() as u64,
            loggers: self.loggers.len() as u64,
            registered: self.registry.len() as u64,
            ..self.counters
        }
    }

    /// The caller drops the verdicts that connections remember.
    pub(crate) fn set_forgotten(&mut self, forgotten: Forgotten) {
        self.registry
            .forget_refused(|logger_sn| forgotten.has_logger(logger_sn));
        self.forgotten = forgotten;
    }

    /// Forgets what idle addresses and loggers have used up.
    pub(crate) fn forget_idle(&mut self, uptime_us: i64) {
        self.addresses.forget_idle(uptime_us);
        self.loggers.forget_idle(uptime_us);
    }

    /// Whether the connection's address or logger has to wait before more is read.
    pub(crate) fn used_up(&self, connection: &Connection, uptime_us: i64) -> Option<UsedUp> {
        if self.addresses.is_used_up(connection.address, uptime_us) {
            return Some(UsedUp::Address);
        }
        let logger = (connection.logger_sn?, connection.address);
        let is_used_up = self.loggers.is_used_up(logger, uptime_us);
        is_used_up.then_some(UsedUp::Logger)
    }

    pub(crate) fn source(&self, address: IpAddr) -> Option<Arc<str>> {
        self.privacy.source(address).map(Arc::from)
    }

    /// How many records and answers wait for the next commit.
    pub(crate) fn staged_count(&self) -> usize {
        self.staged.count
    }

    /// Hands out what is staged, to be made durable.
    pub(crate) fn begin_commit(&mut self) -> Staged {
        let staged = mem::replace(&mut self.staged, mem::take(&mut self.emptied));
        self.committing_bytes = staged.records.len();
        staged
    }

    /// Takes back what the commit is done with.
    pub(crate) fn end_commit(&mut self, staged: Staged, quarantined: u64) {
        self.counters.quarantined += quarantined;
        self.emptied = staged.emptied();
        self.committing_bytes = 0;
        self.counters.commits += 1;
    }

    /// Takes back what could not be made durable; what came since stands behind it.
    pub(crate) fn abort_commit(&mut self, mut staged: Staged) {
        self.committing_bytes = 0;
        self.counters.commit_errors += 1;
        staged.append(mem::take(&mut self.staged));
        self.staged = staged;
    }

    /// Bytes that wait for the journal or are on their way into it.
    pub(crate) fn staged_bytes(&self) -> usize {
        let answers = self.staged.answers.len() * size_of::<Answer>();
        self.staged.records.len() + answers + self.committing_bytes
    }

    pub(crate) fn clock(&self, unix_us: i64) -> Clock {
        let unix_s = unix_us.div_euclid(1_000_000);
        Clock {
            // The wire field is an unsigned 32-bit number and ends in 2106.
            unix_s: u32::try_from(unix_s).unwrap_or(0),
            offset_minutes: self.zone.offset_minutes(unix_s),
        }
    }

    /// Takes bytes as they arrived, with what was left of the bytes before them.
    pub(crate) fn take(
        &mut self,
        connection: &mut Connection,
        slot: usize,
        bytes: &[u8],
        now: Moment,
    ) {
        let frames_before = self.counters.frames;
        if connection.partial.is_empty() {
            let used = self.scan(connection, slot, bytes, now);
            if used < bytes.len() {
                connection.partial = bytes[used..].to_vec();
                connection.partial_since_us = now.uptime_us;
            }
        } else {
            let mut buffer = mem::take(&mut connection.partial);
            buffer.extend_from_slice(bytes);
            let used = self.scan(connection, slot, &buffer, now);
            if used > 0 {
                buffer.drain(..used);
                connection.partial_since_us = now.uptime_us;
            }
            if !buffer.is_empty() {
                connection.partial = buffer;
            }
        }
        // One read holds a few thousand frames at most.
        let frames = (self.counters.frames - frames_before) as u32;
        self.addresses
            .take_frames(connection.address, frames, now.uptime_us);
    }

    /// Drops the first byte of a frame that never became complete, and what follows from that.
    pub(crate) fn give_up_partial(
        &mut self,
        connection: &mut Connection,
        slot: usize,
        now: Moment,
    ) {
        let mut buffer = mem::take(&mut connection.partial);
        self.reject(connection, Rejection::Stale, 1);
        let used = 1 + self.scan(connection, slot, &buffer[1..], now);
        buffer.drain(..used);
        connection.partial_since_us = now.uptime_us;
        connection.partial = buffer;
    }

    /// Works through whole frames and noise; returns how many bytes are done with.
    fn scan(
        &mut self,
        connection: &mut Connection,
        slot: usize,
        bytes: &[u8],
        now: Moment,
    ) -> usize {
        let mut done = 0;
        while done < bytes.len() {
            match frame::step(&bytes[done..]) {
                Step::Frame { frame, used } => {
                    self.frame(connection, slot, &frame, now);
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
        connection.noise_bytes = connection.noise_bytes.saturating_add(bytes as u32);
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

    fn frame(&mut self, connection: &mut Connection, slot: usize, frame: &Frame<'_>, now: Moment) {
        self.counters.frames += 1;
        let logger_sn = frame.logger_sn();
        // Before the registry, which would note the serial number of whom it refuses.
        if !self.forgotten.is_empty() && self.is_forgotten(connection, frame) {
            self.counters.forgotten_frames += 1;
            return;
        }
        if !self.registry.admits(logger_sn, now.unix_us) {
            self.counters.refused_frames += 1;
            return;
        }
        connection.frames = connection.frames.saturating_add(1);
        connection.heard_at_us = now.uptime_us;
        connection.protocol = frame.protocol();
        self.loggers
            .take_frame((logger_sn, connection.address), now.uptime_us);
        self.identify(connection, slot, logger_sn);
        let reply = match frame {
            Frame::V5(frame) => Reply::to(frame),
            Frame::V4(_) => None,
        };
        match message::classify(frame) {
            Message::Data => {
                self.counters.frames_data += 1;
                self.stage_data(frame, connection.source.as_ref(), now);
                if let Some(reply) = reply {
                    let generation = connection.generation;
                    self.staged.count += 1;
                    self.staged.answers.push(Answer {
                        slot,
                        generation,
                        reply,
                        read_at_us: now.uptime_us,
                    });
                }
                return;
            }
            Message::Session(event) => {
                self.counters.frames_session += 1;
                let source = connection.source.as_deref().map(str::to_owned);
                self.stage_session(SessionRow {
                    at_us: now.unix_us,
                    event: event.kind.as_str().to_owned(),
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
                    ..SessionRow::default()
                });
            }
            Message::Heartbeat => self.counters.frames_heartbeat += 1,
            Message::Text | Message::Other => self.counters.frames_other += 1,
        }
        // No measurement is at stake: the stick need not wait for the disk.
        if let Some(reply) = reply {
            let clock = self.clock(now.unix_us);
            connection.queue(&reply.encode(clock.unix_s, clock.offset_minutes));
            self.counters.answers += 1;
        }
    }

    fn is_forgotten(&self, connection: &mut Connection, frame: &Frame<'_>) -> bool {
        let logger_sn = frame.logger_sn();
        let is_forgotten = match connection.forgotten {
            Some((judged, is_forgotten)) if judged == logger_sn => is_forgotten,
            _ => self.forgotten.has_logger(logger_sn),
        };
        connection.forgotten = Some((logger_sn, is_forgotten));
        is_forgotten || self.forgotten.has_inverter_of(frame)
    }

    /// Notes for whom the connection speaks; behind a proxy that may change.
    fn identify(&mut self, connection: &mut Connection, slot: usize, logger_sn: u32) {
        if connection.logger_sn == Some(logger_sn) {
            return;
        }
        if let Some(earlier) = connection.logger_sn.replace(logger_sn) {
            self.loggers.leave((earlier, connection.address), slot);
        }
        let logger = (logger_sn, connection.address);
        self.replaced.extend(self.loggers.join(logger, slot));
    }

    /// Gives back what a closed connection held.
    pub(crate) fn release(&mut self, connection: &Connection, slot: usize) {
        self.addresses.leave(connection.address);
        if let Some(logger_sn) = connection.logger_sn {
            self.loggers.leave((logger_sn, connection.address), slot);
        }
    }

    fn stage_data(&mut self, frame: &Frame<'_>, source: Option<&Arc<str>>, now: Moment) {
        if self.is_resend(frame, now.uptime_us) {
            self.counters.resends += 1;
            return;
        }
        self.counters.staged += 1;
        self.staged.count += 1;
        push_record_of(&mut self.staged.records, |body| {
            let source = source.map(AsRef::as_ref);
            record::write_data(body, frame.raw(), source, now.unix_us);
        });
    }

    fn is_resend(&mut self, frame: &Frame<'_>, uptime_us: i64) -> bool {
        let timed = frame.protocol() == Protocol::V5;
        reading::resend_key(frame).is_some_and(|key| {
            self.resends
                .is_resend(frame.logger_sn(), key, timed, uptime_us)
        })
    }

    fn stage_session(&mut self, mut row: SessionRow) {
        row.claimed = self.registry.claimed(row.logger_sn);
        push_record(&mut self.staged.records, &session_record(&row));
        self.staged.count += 1;
        self.staged.sessions.push(row);
    }

    pub(crate) fn note_close(&mut self, connection: &Connection, reason: &str, unix_us: i64) {
        // Scanners that never sent a frame have no serial and leave no row.
        let Some(logger_sn) = connection.logger_sn else {
            return;
        };
        // It may have been served before it was forgotten.
        if self.forgotten.has_logger(logger_sn) {
            return;
        }
        self.stage_session(SessionRow {
            at_us: unix_us,
            event: "close".to_owned(),
            logger_sn,
            protocol: connection.protocol.as_str().to_owned(),
            source: connection.source.as_deref().map(str::to_owned),
            reason: Some(reason.to_owned()),
            frames: Some(connection.frames),
            ..SessionRow::default()
        });
    }

    /// Reads the journal back: rows of segments above `committed`, one batch each, and what was seen
    /// of late.
    pub(crate) fn recover(
        &mut self,
        journal: &mut Journal,
        committed: u64,
        decoder: &Decoder,
        current: &mut Rows,
        now: Moment,
    ) -> io::Result<VecDeque<Batch>> {
        let mut batches = VecDeque::new();
        let mut dates = Vec::new();
        for segment in journal.recover()? {
            let (number, bytes) = segment?;
            let mut rows = Rows::default();
            let mut records = Records::new(&bytes, number);
            let mut last_us = i64::MIN;
            for body in records.by_ref() {
                if let Some(record) = Record::parse(body) {
                    let at_us = now.uptime_of(record.received_at_us());
                    last_us = last_us.max(at_us);
                    let rows = (number > committed).then_some(&mut rows);
                    self.replay(record, at_us, decoder, rows);
                }
            }
            self.counters.journal_torn_bytes += records.torn_bytes() as u64;
            let damage = hidden_by_damage(&bytes, number).filter(|_| number > committed);
            if let Some(hidden) = damage {
                self.counters.journal_damaged_segments += 1;
                self.counters.journal_hidden_records += hidden;
                journal.set_aside(number)?;
            }
            dates.push((number, last_us));
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

    /// `rows`: where the row goes; none when the table has it.
    fn replay(
        &mut self,
        record: Record<'_>,
        at_us: i64,
        decoder: &Decoder,
        rows: Option<&mut Rows>,
    ) {
        match record {
            Record::Session(row) => {
                let Some(rows) = rows.filter(|_| !self.forgotten.has_logger(row.logger_sn)) else {
                    return;
                };
                self.counters.replayed += 1;
                rows.sessions.push(*row);
            }
            Record::Data {
                frame,
                source,
                received_at_us,
            } => {
                let Step::Frame { frame, .. } = frame::step(frame) else {
                    return;
                };
                // A record was judged when it was written, on a clock that did not jump; judging it
                // again by its date could drop what was acknowledged.
                let _remembered = self.is_resend(&frame, at_us);
                let is_forgotten = self.forgotten.has_logger(frame.logger_sn())
                    || self.forgotten.has_inverter_of(&frame);
                let Some(rows) = rows.filter(|_| !is_forgotten) else {
                    return;
                };
                self.counters.replayed += 1;
                decoder.add(&frame, source, received_at_us, rows);
            }
        }
    }
}
