//! When does which stick get its turn, and which socket carries it?
//!
//! One thread, one epoll set. Every stick is in exactly one [`Place`]; waits of one kind all last
//! equally long, so each kind is a queue and no timer wheel is needed.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token, Waker};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

use crate::acknowledged::Acknowledged;
use crate::link::{Link, Received};
use crate::options::{Mode, Options};
use crate::pace::{Pace, Schedule};
use crate::report::Report;
use crate::stick::{Kind, Sent, Stick, Turn};

const STANDARD_INPUT: Token = Token(usize::MAX);
const EVENTS_PER_TURN: usize = 1024;
/// Turns given before sockets are looked at again, so that answers are timed when they come.
const TURNS_AT_ONCE: usize = 256;
/// After a refused or broken connection.
const RECONNECT_US: u64 = 1_000_000;
/// How long the end waits for the last answers: longer than a stick waits for one.
const DRAIN_US: u64 = 15_000_000;
const PROGRESS_US: u64 = 10_000_000;
/// A loop begins this long after the last stick is there.
const SETTLE_US: u64 = 500_000;
/// Without any answer for so long, nobody is there to be loaded: longer than a server's restart.
const SILENCE_US: u64 = 60_000_000;
/// Descriptors besides those of the sticks: standard streams, epoll, waker, file.
const DESCRIPTORS_SPARE: u64 = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In the queue for a turn.
    Ready,
    /// In the queue for a connection.
    Unconnected,
    Connecting,
    /// For the answers to its frames.
    Waiting,
    /// After a connection broke.
    Backing,
    /// Has nothing to do.
    Resting,
}

#[derive(Debug)]
struct Berth {
    stick: Stick,
    link: Option<Link>,
    place: Place,
    /// Changes with the place, so that an outdated wait is recognised.
    visit: u32,
    /// When the stick began to connect.
    since_us: u64,
    /// When each frame that waits for its answer went, or meant to go.
    sent_us: VecDeque<u64>,
    /// Intended times of records that an open loop has released, oldest first.
    intended_us: VecDeque<u64>,
    was_up: bool,
}

/// Waits of one length, in the order of their ends.
#[derive(Debug)]
struct Waits {
    after_us: u64,
    queue: VecDeque<(u64, usize, u32)>,
}

impl Waits {
    fn new(after_us: u64) -> Self {
        Self {
            after_us,
            queue: VecDeque::new(),
        }
    }

    fn add(&mut self, now_us: u64, slot: usize, visit: u32) {
        self.queue.push_back((now_us + self.after_us, slot, visit));
    }

    fn next_us(&self) -> Option<u64> {
        self.queue.front().map(|&(due_us, ..)| due_us)
    }

    fn take(&mut self, now_us: u64) -> Option<(usize, u32)> {
        if self.next_us()? > now_us {
            return None;
        }
        self.queue.pop_front().map(|(_, slot, visit)| (slot, visit))
    }
}

struct Engine<'a> {
    options: &'a Options,
    poll: Poll,
    started: Instant,
    berths: Vec<Berth>,
    /// With the visit: a stick that left its place for another has lost its turn.
    ready: VecDeque<(usize, u32)>,
    unconnected: VecDeque<usize>,
    answers: Waits,
    reconnects: Waits,
    heartbeats: Waits,
    connect_pace: Pace,
    send_pace: Pace,
    /// When a loop begins.
    begin_us: Option<u64>,
    schedule: Option<Schedule>,
    /// What goes in one write, and what came with one event: used again and again.
    outgoing: Vec<u8>,
    received: Received,
    acknowledged: Option<Acknowledged>,
    report: Report,
    connected: u64,
    /// Sticks that are up for the first time, and sticks that owe nothing.
    up: usize,
    waiting: usize,
    delivered: usize,
    answered_us: u64,
    /// Nothing new begins after this.
    stop_us: Option<u64>,
    told: Arc<Told>,
}

/// What came on standard input.
#[derive(Debug, Default)]
struct Told {
    begin: AtomicBool,
    end: AtomicBool,
}

/// Lets the fleet live, and tells what happened.
pub(crate) fn run(options: &Options) -> io::Result<Report> {
    allow_descriptors(u64::from(options.sticks) + DESCRIPTORS_SPARE)?;
    let mut engine = Engine::new(options)?;
    engine.live()?;
    engine.finish()
}

impl<'a> Engine<'a> {
    fn new(options: &'a Options) -> io::Result<Self> {
        let poll = Poll::new()?;
        let told = Arc::new(Told::default());
        if options.until_eof || options.begin_on_input {
            watch_standard_input(&poll, Arc::clone(&told))?;
        }
        let acknowledged = options
            .acknowledged
            .as_ref()
            .map(|(path, form)| Acknowledged::create(path, *form))
            .transpose()?;
        let berths: Vec<Berth> = (0..options.sticks)
            .map(|number| Berth {
                stick: new_stick(options, number),
                link: None,
                place: Place::Ready,
                visit: 0,
                since_us: 0,
                sent_us: VecDeque::new(),
                intended_us: VecDeque::new(),
                was_up: false,
            })
            .collect();
        let heartbeat_s = match options.mode {
            Mode::Hold { heartbeat_s, .. } => heartbeat_s,
            Mode::Day | Mode::ClosedLoop { .. } | Mode::OpenLoop => 0.0,
        };
        // The schedule of an open loop is its only pace.
        let rate = if options.mode == Mode::OpenLoop {
            0.0
        } else {
            options.rate
        };
        // A loop counts its seconds from when all are there.
        let overall_s = match options.mode {
            Mode::Day | Mode::Hold { .. } => options.seconds,
            Mode::ClosedLoop { .. } | Mode::OpenLoop => None,
        };
        Ok(Self {
            options,
            poll,
            started: Instant::now(),
            ready: (0..berths.len()).map(|slot| (slot, 0)).collect(),
            berths,
            unconnected: VecDeque::new(),
            answers: Waits::new(microseconds(options.answer_s)),
            reconnects: Waits::new(RECONNECT_US),
            heartbeats: Waits::new(microseconds(heartbeat_s)),
            connect_pace: Pace::new(options.connect_rate),
            send_pace: Pace::new(rate),
            begin_us: None,
            schedule: None,
            outgoing: Vec::new(),
            received: Received::default(),
            acknowledged,
            report: Report::new(),
            connected: 0,
            up: 0,
            waiting: 0,
            delivered: 0,
            answered_us: 0,
            stop_us: overall_s.map(microseconds),
            told,
        })
    }

    fn now_us(&self) -> u64 {
        // Half a million years fit.
        self.started.elapsed().as_micros() as u64
    }

    fn live(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_PER_TURN);
        let mut next_progress_us = PROGRESS_US;
        loop {
            let now_us = self.now_us();
            if self.told.end.load(Ordering::Relaxed) {
                self.stop_us = Some(self.stop_us.unwrap_or(now_us).min(now_us));
            }
            let is_over = self.stop_us.is_some_and(|stop_us| stop_us <= now_us);
            if is_over {
                let drained_us = self.stop_us.unwrap_or(now_us) + DRAIN_US;
                if self.waiting == 0 || now_us >= drained_us {
                    return Ok(());
                }
            } else {
                if self.expects_answers() && now_us > self.answered_us + SILENCE_US {
                    self.report.gave_up = true;
                    return Ok(());
                }
                if self.is_held() && self.told.begin.load(Ordering::Relaxed) {
                    self.begin_us = Some(now_us);
                }
                if self.begin_us.is_some_and(|begin_us| begin_us <= now_us) {
                    self.begin(now_us)?;
                }
                self.release(now_us);
                self.connect_some(now_us)?;
                self.give_turns(now_us)?;
                if self.is_done() {
                    return Ok(());
                }
            }
            self.pass_waits(now_us, is_over)?;
            if now_us >= next_progress_us {
                next_progress_us = now_us + PROGRESS_US;
                self.tell_progress(now_us)?;
            }
            let wait_us = self.next_us(is_over).min(next_progress_us);
            let timeout = Duration::from_micros(wait_us.saturating_sub(self.now_us()));
            match self.poll.poll(&mut events, Some(timeout)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            for event in &events {
                if event.token() != STANDARD_INPUT {
                    self.on_event(event.token().0, event.is_writable(), event.is_readable())?;
                }
            }
        }
    }

    fn is_done(&self) -> bool {
        match self.options.mode {
            Mode::Day => self.delivered == self.berths.len(),
            Mode::Hold { .. } | Mode::ClosedLoop { .. } => false,
            Mode::OpenLoop => self.schedule.is_some_and(|schedule| {
                schedule.next_us().is_none() && self.waiting == 0 && self.ready.is_empty()
            }),
        }
    }

    /// A fleet that is held may be silent once all are there.
    fn expects_answers(&self) -> bool {
        let is_hold = matches!(self.options.mode, Mode::Hold { .. });
        !(is_hold || self.is_held()) || self.up < self.berths.len()
    }

    /// All are there for a loop, and it was not told to begin yet.
    fn is_held(&self) -> bool {
        self.options.begin_on_input
            && self.up == self.berths.len()
            && self.begin_us.is_none()
            && self.report.begun.is_none()
    }

    /// When something is to be done that no socket will tell.
    fn next_us(&self, is_over: bool) -> u64 {
        let until = |time: Option<u64>| time.unwrap_or(u64::MAX);
        let answers_us = until(self.answers.next_us());
        if is_over {
            return answers_us.min(until(self.stop_us.map(|stop_us| stop_us + DRAIN_US)));
        }
        answers_us
            .min(until(self.stop_us))
            .min(until(self.begin_us))
            .min(until(self.reconnects.next_us()))
            .min(until(self.heartbeats.next_us()))
            .min(until(self.schedule.and_then(|schedule| schedule.next_us())))
            .min(until(
                (!self.ready.is_empty()).then(|| self.send_pace.next_us()),
            ))
            .min(until(
                (!self.unconnected.is_empty()).then(|| self.connect_pace.next_us()),
            ))
    }

    fn place(&mut self, slot: usize, place: Place) -> u32 {
        let berth = &mut self.berths[slot];
        self.waiting -= usize::from(berth.place == Place::Waiting);
        self.waiting += usize::from(place == Place::Waiting);
        berth.place = place;
        berth.visit = berth.visit.wrapping_add(1);
        match place {
            Place::Ready => self.ready.push_back((slot, berth.visit)),
            Place::Unconnected => self.unconnected.push_back(slot),
            Place::Connecting | Place::Waiting | Place::Backing | Place::Resting => {}
        }
        berth.visit
    }

    /// All are there and quiet: the loop begins.
    fn begin(&mut self, now_us: u64) -> io::Result<()> {
        let Some(begin_us) = self.begin_us.take() else {
            return Ok(());
        };
        self.report.begun = Some(self.report.moment(now_us, cpu_us()));
        // Nobody has to answer while all are quiet.
        self.answered_us = now_us;
        match self.options.mode {
            Mode::ClosedLoop { seconds } => {
                let until_us = now_us + microseconds(seconds);
                self.stop_us = Some(self.stop_us.unwrap_or(u64::MAX).min(until_us));
                for slot in 0..self.berths.len() {
                    let berth = &mut self.berths[slot];
                    berth.stick.measure(self.options.life.day.records);
                    if berth.place == Place::Resting {
                        self.place(slot, Place::Ready);
                    }
                }
            }
            Mode::OpenLoop => {
                let records = self.options.open_loop_records();
                self.schedule = Some(Schedule::new(begin_us, self.options.rate, records));
            }
            Mode::Day | Mode::Hold { .. } => {}
        }
        if self.options.announce {
            tell("measuring")?;
        }
        Ok(())
    }

    /// Open loop: records whose intended time has come are measured, whatever their stick does.
    fn release(&mut self, now_us: u64) {
        let Some(mut schedule) = self.schedule else {
            return;
        };
        while let Some((number, intended_us)) = schedule.take(now_us) {
            let sticks = self.berths.len() as u64;
            let slot = (number % sticks) as usize;
            let berth = &mut self.berths[slot];
            berth.intended_us.push_back(intended_us);
            berth.stick.measure(berth.stick.measured() + 1);
            if berth.place == Place::Resting {
                self.place(slot, Place::Ready);
            }
        }
        self.schedule = Some(schedule);
    }

    fn connect_some(&mut self, now_us: u64) -> io::Result<()> {
        while self.connect_pace.is_open(now_us)
            && let Some(slot) = self.unconnected.pop_front()
        {
            self.connect_pace.count(now_us);
            let number = slot as u32;
            let target = self.options.target(number);
            match Link::connect(target, self.options.source(number)) {
                Ok(mut link) => {
                    self.poll.registry().register(
                        &mut link.stream,
                        Token(slot),
                        Interest::READABLE | Interest::WRITABLE,
                    )?;
                    self.berths[slot].link = Some(link);
                    self.berths[slot].since_us = self.now_us();
                    self.place(slot, Place::Connecting);
                }
                Err(_) => self.refused(slot),
            }
        }
        Ok(())
    }

    fn refused(&mut self, slot: usize) {
        self.report.connect_errors += 1;
        self.berths[slot].link = None;
        let visit = self.place(slot, Place::Backing);
        let now_us = self.now_us();
        self.reconnects.add(now_us, slot, visit);
    }

    fn give_turns(&mut self, now_us: u64) -> io::Result<()> {
        for _ in 0..TURNS_AT_ONCE {
            if !self.send_pace.is_open(now_us) {
                break;
            }
            let Some((slot, visit)) = self.ready.pop_front() else {
                break;
            };
            if self.berths[slot].visit == visit {
                self.give_turn(slot, now_us)?;
            }
        }
        Ok(())
    }

    fn give_turn(&mut self, slot: usize, now_us: u64) -> io::Result<()> {
        let berth = &mut self.berths[slot];
        if self.options.mode == Mode::Day && berth.stick.has_delivered() {
            self.delivered += 1;
            self.place(slot, Place::Resting);
            return Ok(());
        }
        self.outgoing.clear();
        let turn = berth.stick.next(&self.options.life, &mut self.outgoing);
        match turn {
            Turn::Connect => {
                self.place(slot, Place::Unconnected);
            }
            Turn::Store => {
                self.report.stored += 1;
                self.place(slot, Place::Ready);
            }
            Turn::HangUp => {
                self.report.hangups += 1;
                self.disconnect(slot);
                self.place(slot, Place::Ready);
            }
            Turn::Rest => {
                let visit = self.place(slot, Place::Resting);
                if self.heartbeats.after_us > 0 {
                    self.heartbeats.add(now_us, slot, visit);
                }
                if matches!(self.options.mode, Mode::ClosedLoop { .. })
                    && self.report.begun.is_some()
                {
                    self.report.ran_out = true;
                    self.stop_us = Some(now_us);
                }
            }
            Turn::Send(first) => self.send(slot, first, now_us)?,
        }
        Ok(())
    }

    /// Sends a frame, and with it whatever else the stick may send at once.
    fn send(&mut self, slot: usize, first: Sent, now_us: u64) -> io::Result<()> {
        let sent_us = self.now_us();
        let berth = &mut self.berths[slot];
        let mut next = Some(first);
        let mut is_cut = false;
        while let Some(sent) = next {
            self.send_pace.count(now_us);
            // In an open loop the wait for its turn belongs to a record's latency.
            let intended_us = match sent.kind {
                Kind::Live => berth.intended_us.pop_front(),
                _ => None,
            };
            if let Some(intended_us) = intended_us {
                let lag_us = sent_us.saturating_sub(intended_us);
                self.report.send_lag.add(lag_us);
            }
            berth.sent_us.push_back(intended_us.unwrap_or(sent_us));
            self.report.sent[sent.kind as usize] += 1;
            self.report.resends += u64::from(sent.is_resend);
            is_cut = sent.cut;
            next = if is_cut {
                None
            } else {
                berth.stick.more(&self.options.life, &mut self.outgoing)
            };
        }
        self.write(slot, sent_us, is_cut)
    }

    fn write(&mut self, slot: usize, now_us: u64, is_cut: bool) -> io::Result<()> {
        let result = match &mut self.berths[slot].link {
            Some(link) => link.send(&self.outgoing),
            None => Err(io::ErrorKind::NotConnected.into()),
        };
        if result.is_err() {
            return self.lost(slot);
        }
        if is_cut {
            self.report.cuts += 1;
            self.disconnect(slot);
            self.place(slot, Place::Ready);
            return Ok(());
        }
        let visit = self.place(slot, Place::Waiting);
        self.answers.add(now_us, slot, visit);
        Ok(())
    }

    fn disconnect(&mut self, slot: usize) {
        let berth = &mut self.berths[slot];
        // Closing the descriptor also takes it out of the epoll set.
        if berth.link.take().is_some_and(|link| link.is_established) {
            self.connected -= 1;
        }
        berth.sent_us.clear();
        berth.stick.link_lost();
    }

    /// The server or the network ended the connection.
    fn lost(&mut self, slot: usize) -> io::Result<()> {
        self.report.losses += 1;
        self.disconnect(slot);
        let is_finished = self.options.mode == Mode::Day
            && self.berths[slot].place == Place::Resting
            && self.berths[slot].stick.has_delivered();
        if !is_finished {
            let visit = self.place(slot, Place::Backing);
            let now_us = self.now_us();
            self.reconnects.add(now_us, slot, visit);
        }
        Ok(())
    }

    fn pass_waits(&mut self, now_us: u64, is_over: bool) -> io::Result<()> {
        while let Some((slot, visit)) = self.answers.take(now_us) {
            let berth = &mut self.berths[slot];
            if berth.visit != visit || is_over {
                continue;
            }
            self.outgoing.clear();
            match berth.stick.retry(&self.options.life, &mut self.outgoing) {
                Some(sent) => {
                    self.report.retries += 1;
                    self.report.sent[sent.kind as usize] += 1;
                    self.write(slot, now_us, false)?;
                }
                None => self.lost(slot)?,
            }
        }
        while let Some((slot, visit)) = self.reconnects.take(now_us) {
            if self.berths[slot].visit == visit {
                self.place(slot, Place::Ready);
            }
        }
        while let Some((slot, visit)) = self.heartbeats.take(now_us) {
            if self.berths[slot].visit == visit {
                self.berths[slot].stick.beat();
                self.place(slot, Place::Ready);
            }
        }
        Ok(())
    }

    fn on_event(&mut self, slot: usize, writable: bool, readable: bool) -> io::Result<()> {
        let now_us = self.now_us();
        let berth = &mut self.berths[slot];
        // An earlier event of this turn may have closed it.
        let Some(link) = &mut berth.link else {
            return Ok(());
        };
        if berth.place == Place::Connecting {
            match link.check_established() {
                Ok(true) => self.established(slot, now_us),
                Ok(false) => return Ok(()),
                Err(_) => {
                    self.refused(slot);
                    return Ok(());
                }
            }
        } else if writable && link.send(&[]).is_err() {
            return self.lost(slot);
        }
        if readable {
            self.receive(slot, now_us)?;
        }
        Ok(())
    }

    fn established(&mut self, slot: usize, now_us: u64) {
        let berth = &mut self.berths[slot];
        berth.stick.connected();
        self.report.connecting.add(now_us - berth.since_us);
        self.report.connections += 1;
        self.connected += 1;
        self.report.connected_peak = self.report.connected_peak.max(self.connected);
        self.place(slot, Place::Ready);
    }

    fn receive(&mut self, slot: usize, now_us: u64) -> io::Result<()> {
        let Some(link) = &mut self.berths[slot].link else {
            return Ok(());
        };
        link.receive(&mut self.received);
        self.report.noise_bytes += self.received.noise_bytes as u64;
        for at in 0..self.received.answers.len() {
            let answer = self.received.answers[at];
            let berth = &mut self.berths[slot];
            let Some(confirmed) = berth.stick.answered(&self.options.life, &answer) else {
                self.report.unexpected_answers += 1;
                continue;
            };
            let kind = confirmed.kind as usize;
            self.answered_us = now_us;
            self.report.answered[kind] += 1;
            if let Some(sent_us) = berth.sent_us.pop_front() {
                self.report.latencies[kind].add(now_us.saturating_sub(sent_us));
            }
            if let Some(record) = confirmed.record {
                self.report.records += 1;
                if let Some(file) = &mut self.acknowledged {
                    file.add(&self.options.life.day, berth.stick.logger_sn, record)?;
                }
            }
            let is_answered = berth.stick.is_answered();
            self.note_up(slot, now_us)?;
            if is_answered {
                self.place(slot, Place::Ready);
            }
        }
        if self.received.ended {
            return self.lost(slot);
        }
        Ok(())
    }

    /// Counts a stick that is there for the first time, and tells when all are.
    fn note_up(&mut self, slot: usize, now_us: u64) -> io::Result<()> {
        let berth = &mut self.berths[slot];
        let is_up = match self.options.mode {
            Mode::Hold { .. } => berth.stick.has_delivered(),
            Mode::Day | Mode::ClosedLoop { .. } | Mode::OpenLoop => true,
        };
        if berth.was_up || !is_up {
            return Ok(());
        }
        berth.was_up = true;
        self.up += 1;
        if self.up < self.berths.len() {
            return Ok(());
        }
        self.report.all_up_us = Some(now_us);
        match self.options.mode {
            Mode::Day => return Ok(()),
            Mode::Hold { hold_s, .. } => {
                let hold_until_us = now_us + microseconds(hold_s);
                self.stop_us = Some(self.stop_us.unwrap_or(u64::MAX).min(hold_until_us));
            }
            Mode::ClosedLoop { .. } | Mode::OpenLoop if self.options.begin_on_input => {}
            Mode::ClosedLoop { .. } | Mode::OpenLoop => self.begin_us = Some(now_us + SETTLE_US),
        }
        tell(&format!("connected {}", self.up))
    }

    fn tell_progress(&mut self, now_us: u64) -> io::Result<()> {
        if let Some(file) = &mut self.acknowledged {
            file.flush()?;
        }
        let report = &self.report;
        writeln!(
            io::stderr(),
            "{} s: {} of {} connected, {} frames answered, {} records, {} delivered, {} retries, \
             {} losses",
            now_us / 1_000_000,
            self.connected,
            self.berths.len(),
            report.frames_answered(),
            report.records,
            self.delivered,
            report.retries,
            report.losses,
        )
    }

    fn finish(mut self) -> io::Result<Report> {
        if let Some(file) = &mut self.acknowledged {
            file.flush()?;
        }
        if matches!(self.options.mode, Mode::ClosedLoop { .. }) {
            for berth in &mut self.berths {
                berth.stick.measure_no_more();
            }
        }
        let sticks = || self.berths.iter().map(|berth| &berth.stick);
        self.report.undelivered_sticks =
            sticks().filter(|stick| !stick.has_delivered()).count() as u64;
        self.report.in_doubt = sticks().map(|stick| stick.in_doubt() as u64).sum();
        self.report.ended = self.report.moment(self.now_us(), cpu_us());
        Ok(self.report)
    }
}

fn new_stick(options: &Options, number: u32) -> Stick {
    let mut stick = Stick::new(options.first_serial + number);
    let is_measured = match options.mode {
        Mode::Day => true,
        Mode::Hold { with_record, .. } => with_record,
        Mode::ClosedLoop { .. } | Mode::OpenLoop => false,
    };
    if is_measured {
        stick.measure(options.life.day.records);
    }
    stick
}

/// One line for whoever started the fleet and waits for it.
fn tell(line: &str) -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "{line}")?;
    out.flush()
}

/// The process's own time so far.
fn cpu_us() -> u64 {
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    cpu.tv_sec as u64 * 1_000_000 + cpu.tv_nsec as u64 / 1_000
}

fn microseconds(seconds: f64) -> u64 {
    (seconds * 1e6) as u64
}

/// Raises the soft limit as far as needed and allowed.
fn allow_descriptors(wanted: u64) -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let maximum = limit.maximum.unwrap_or(u64::MAX);
    if wanted > maximum {
        return Err(io::Error::other(format!(
            "{wanted} descriptors are needed, the limit is {maximum}: start several fleets"
        )));
    }
    let current = limit.current.unwrap_or(u64::MAX).max(wanted);
    let raised = Rlimit {
        current: Some(current),
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised)?;
    Ok(())
}

/// Whoever started the fleet lets it begin by a line, and ends it by closing its standard input.
fn watch_standard_input(poll: &Poll, told: Arc<Told>) -> io::Result<()> {
    let waker = Waker::new(poll.registry(), STANDARD_INPUT)?;
    thread::Builder::new()
        .name("standard-input".to_owned())
        .spawn(move || {
            let mut buffer = [0; 256];
            let mut input = io::stdin();
            loop {
                let is_end = !matches!(input.read(&mut buffer), Ok(count) if count > 0);
                let which = if is_end { &told.end } else { &told.begin };
                which.store(true, Ordering::Relaxed);
                // When the fleet has ended meanwhile, there is nobody to wake.
                let _woken = waker.wake();
                if is_end {
                    break;
                }
            }
        })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_end_in_order_and_not_before_their_time() {
        let mut waits = Waits::new(1_000);
        waits.add(0, 7, 1);
        waits.add(500, 8, 2);
        assert_eq!(waits.take(999), None);
        assert_eq!(waits.take(1_200), Some((7, 1)));
        assert_eq!(waits.take(1_200), None);
        assert_eq!(waits.next_us(), Some(1_500));
        assert_eq!(waits.take(1_500), Some((8, 2)));
        assert_eq!(waits.next_us(), None);
    }
}
