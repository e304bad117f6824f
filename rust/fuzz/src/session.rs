//! Does a gateway answer over a real socket exactly what it should, and data only once it is durable?
//!
//! Input: commits, options, then as for the target `stream`, whose reader is the model here. A bit of
//! the commits says whether the gateway commits behind a piece. At the end it is started again:
//! everything durable must be there, whatever the machine's clock did meanwhile, and a stick that got
//! no answer and sends all of it again must be answered without a second row.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use autarco_gateway::resend::MEMORY_US;
use autarco_gateway::{Gateway, Moment};
use autarco_protocol::frame::{Frame, Step, step};
use autarco_protocol::message::{Message, classify};
use autarco_protocol::reading::{Protocol, resend_key};
use autarco_protocol::reply::Reply;

use super::common::{NOON_US, SECOND_US, at, settings};
use super::input::Input;
use super::recovery::{memory_directory, rows};
use super::stream::{Piece, Reader, cut};

/// Loopback delivers at once; only a standstill takes this long.
const PATIENCE: Duration = Duration::from_secs(10);
/// Short enough that nothing waits in a kernel buffer and no answer stays unsent.
const STREAM_BYTES_MAX: usize = 8 * 1024;
/// London in June, minutes from UTC.
const OFFSET_MINUTES: i32 = 60;

pub fn check(input: &[u8]) {
    let mut input = Input(input);
    let (commits, options) = (input.u8(), input.u8());
    let noise_closes = options & 1 != 0;
    let clock_is_set_back = options & 2 != 0;
    let restarts_in_the_past = options & 4 != 0;
    let (pieces, stream) = cut(input.rest());
    if stream.len() > STREAM_BYTES_MAX {
        return;
    }
    let directory = memory_directory();
    let mut settings = settings(directory.path());
    // Time-outs of half frames are what is looked at here, not those of silent connections.
    settings.limits.idle_timeout_us = i64::MAX;
    settings.limits.first_frame_us = i64::MAX;
    settings.limits.noise_bytes_max = if noise_closes { 100 } else { usize::MAX };
    let gateway = Gateway::open(&settings, at(NOON_US)).expect("an empty journal is no hindrance");
    let mut session = Session::on(gateway, at(NOON_US));
    for (number, piece) in pieces.into_iter().enumerate() {
        match piece {
            Piece::Bytes(bytes) => session.send(bytes),
            Piece::TimeOut => {
                session.time_out(settings.limits.partial_frame_us);
                if clock_is_set_back {
                    session.now.unix_us -= settings.limits.partial_frame_us;
                }
            }
        }
        session.assert_answers();
        if (commits >> (number % 8)) & 1 == 1 {
            session.commit();
            session.assert_answers();
        }
        if session.is_closed() {
            break;
        }
    }
    session.commit();
    session.assert_answers();
    let (session_end, was_closed) = (session.now, session.is_closed());
    let (durable, frames) = session.end(settings.limits.noise_bytes_max);

    // A machine without a battery starts in the past, until somebody tells it the time.
    let now = if restarts_in_the_past {
        at(NOON_US - 3600 * SECOND_US)
    } else {
        session_end
    };
    let restarted = Gateway::open(&settings, now).expect("it started before");
    let recovered = restarted.seal().as_ref().map_or(0, rows);
    assert_eq!(recovered, durable, "rows after a restart");
    if !was_closed && session_end.uptime_us - NOON_US < MEMORY_US {
        assert_resends(restarted, now, &frames);
    }
}

fn assert_resends(restarted: Gateway, now: Moment, frames: &[Vec<u8>]) {
    let mut session = Session::on(restarted, now);
    session.send(&frames.concat());
    session.commit();
    session.assert_answers();
    // Only what says when it was measured is known for sure, by the bytes that say it.
    let is_timed = |raw: &&Vec<u8>| {
        let Step::Frame { frame, .. } = step(raw) else {
            return false;
        };
        frame.protocol() == Protocol::V5 && resend_key(&frame).is_some()
    };
    let timed = frames.iter().filter(is_timed).count() as u64;
    assert!(
        session.gateway.counters().resends >= timed,
        "a resend is stored again"
    );
}

struct Session {
    /// Before the gateway, so that it is closed first, by its reset.
    stick: TcpStream,
    gateway: Gateway,
    now: Moment,
    sent_bytes: u64,
    model: Reader,
    /// Frames of the model that were looked at.
    seen: usize,
    /// Answers to data that is not durable yet.
    waiting: Vec<Reply>,
    expected: Vec<u8>,
    received: Vec<u8>,
}

impl Session {
    fn on(gateway: Gateway, now: Moment) -> Self {
        let stick = TcpStream::connect(gateway.address()).expect("it listens");
        stick.set_nodelay(true).expect("a TCP socket");
        stick.set_nonblocking(true).expect("a TCP socket");
        // Closed by a reset: thousands of sessions per second must not leave their ports waiting.
        socket2::SockRef::from(&stick)
            .set_linger(Some(Duration::ZERO))
            .expect("a TCP socket");
        let session = Self {
            gateway,
            stick,
            now,
            sent_bytes: 0,
            model: Reader::default(),
            seen: 0,
            waiting: Vec::new(),
            expected: Vec::new(),
            received: Vec::new(),
        };
        session.turn_until(|gateway| gateway.counters().accepted == 1);
        session
    }

    fn turn_until(&self, mut condition: impl FnMut(&Gateway) -> bool) {
        let started = Instant::now();
        loop {
            self.gateway.turn(self.now).expect("epoll works");
            if condition(&self.gateway) {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "nothing came of it");
        }
    }

    fn is_closed(&self) -> bool {
        self.gateway.counters().connections == 0
    }

    fn send(&mut self, bytes: &[u8]) {
        self.stick.write_all(bytes).expect("short streams fit");
        self.sent_bytes += bytes.len() as u64;
        self.turn_until(|gateway| {
            let counters = gateway.counters();
            counters.bytes_in == self.sent_bytes || counters.connections == 0
        });
        self.model.take(bytes);
        self.note_frames();
    }

    fn time_out(&mut self, partial_frame_us: i64) {
        let waited_us = partial_frame_us + 1;
        self.now.unix_us += waited_us;
        self.now.uptime_us += waited_us;
        self.gateway.sweep(self.now);
        self.model.give_up();
        self.note_frames();
    }

    fn note_frames(&mut self) {
        for raw in &self.model.frames[self.seen..] {
            let Step::Frame { frame, .. } = step(raw) else {
                panic!("no frame on its own: {raw:02x?}")
            };
            let Frame::V5(v5_frame) = &frame else {
                continue;
            };
            match (Reply::to(v5_frame), classify(&frame)) {
                (None, _) => {}
                (Some(reply), Message::Data) => self.waiting.push(reply),
                (Some(reply), _) => self.expected.extend(encode(&reply, self.now.unix_us)),
            }
        }
        self.seen = self.model.frames.len();
    }

    fn commit(&mut self) {
        self.gateway.commit(self.now).expect("memory is writable");
        self.gateway.turn(self.now).expect("epoll works");
        for reply in self.waiting.drain(..) {
            self.expected.extend(encode(&reply, self.now.unix_us));
        }
    }

    /// What has come is what should have, to the byte, and nothing before its time.
    fn assert_answers(&mut self) {
        if self.is_closed() {
            return;
        }
        let started = Instant::now();
        let mut buffer = [0; 4096];
        loop {
            match self.stick.read(&mut buffer) {
                Ok(count) => self.received.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if self.received.len() >= self.expected.len() {
                        break;
                    }
                }
                Err(error) => panic!("{error}"),
            }
            assert!(started.elapsed() < PATIENCE, "answers are missing");
        }
        assert_eq!(self.received, self.expected);
    }

    /// Checks the counts and returns how many rows are durable, and the frames.
    fn end(self, noise_bytes_max: usize) -> (usize, Vec<Vec<u8>>) {
        let counters = self.gateway.counters();
        let noise: usize = self.model.rejected.iter().sum();
        if self.is_closed() {
            assert!(
                noise > noise_bytes_max,
                "closed after {noise} bytes of noise"
            );
            assert_eq!(counters.closed_noise, 1);
        } else {
            assert_eq!(counters.noise_bytes, noise as u64);
            assert_eq!(counters.frames, self.model.frames.len() as u64);
            assert_eq!(counters.answers_orphaned, 0);
        }
        assert_eq!(counters.frames_data, counters.staged + counters.resends);
        let said_goodbye = self.is_closed() && counters.frames > 0;
        let durable = self.gateway.seal().as_ref().map_or(0, rows) as u64;
        let events = counters.frames_session + u64::from(said_goodbye);
        assert_eq!(durable, counters.staged + events, "rows of what was staged");
        (durable as usize, self.model.frames)
    }
}

fn encode(reply: &Reply, now_us: i64) -> [u8; 23] {
    let unix_s = u32::try_from(now_us / SECOND_US).expect("this century");
    reply.encode(unix_s, OFFSET_MINUTES)
}
