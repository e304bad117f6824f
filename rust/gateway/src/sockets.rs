//! Which sockets are ready, and what is read from and sent to them?
//!
//! One edge-triggered epoll set holds the listeners and every stick. What readiness will not tell
//! again (a read put off, an accept cut short) is remembered here.
//!
//! One turn does a bounded amount of work, so that no peer, however busy, keeps the others waiting.

use std::io;
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use crate::clock::Moment;
use crate::connection::{Connection, Received};
use crate::forgotten::Forgotten;
use crate::gateway::{GatewayError, Pending};
use crate::intake::{Answer, Intake, UsedUp};
use crate::limits::Refusal;
use crate::tls::{Stream, TlsIdentity};

/// Connections that wait for `accept`: a reconnect storm of a district fits.
const BACKLOG: i32 = 4096;
/// Sockets looked at in one turn; more stay ready for the next.
const EVENTS_PER_TURN: usize = 1024;
/// Accepts in one turn, some 5 ms, so that a storm does not starve the connected. With a turn per
/// tick of 20 ms that is still a district of 100,000 sticks in ten seconds.
const ACCEPTS_PER_TURN: usize = 256;
/// One read of a stick: a backlog burst of hundreds of frames.
const READ_BYTES: usize = 64 * 1024;
/// One read of a peer that has not shown a frame yet: a handshake with room to spare.
const READ_BYTES_STRANGER: usize = 4 * 1024;
/// Read in one turn; at most 10 ms of work even if all of it is garbage.
const READ_BYTES_PER_TURN: usize = 4 * 1024 * 1024;
/// Pause of `accept` when descriptors or memory have run out: trying again at once would spin.
const ACCEPT_PAUSE_US: i64 = 1_000_000;
/// The kernel's buffer for answers of one stick, which doubles it. Left to itself it grows to
/// megabytes for a peer that does not read.
const SEND_BUFFER_BYTES: usize = 8 * 1024;
/// How often idle addresses and loggers are forgotten; their rates recover in a minute.
const FORGET_EVERY_US: i64 = 60_000_000;

#[derive(Debug)]
struct Listener {
    socket: TcpListener,
    /// Whether its connections speak TLS.
    tls: bool,
    /// `accept` stopped early; edge-triggered readiness will not tell again.
    pending: bool,
}

#[derive(Debug)]
pub(crate) struct Sockets {
    poll: Poll,
    events: Events,
    listeners: Vec<Listener>,
    tls: Option<TlsIdentity>,
    accept_again_at_us: i64,
    connections: Slab<Connection>,
    generation: u64,
    /// Connections to be read in the next turn although readiness will not tell.
    deferred: Vec<usize>,
    /// Those of them that had no turn in this one: they come first in the next.
    skipped: Vec<usize>,
    /// Connections not read until their address or logger has room again.
    paused: Vec<usize>,
    /// Nothing is read: too much waits behind the journal.
    held: bool,
    read_bytes_left: usize,
    forgot_at_us: i64,
    scratch: Box<[u8]>,
    /// Answers to frames that are on disk.
    durable: Vec<Answer>,
    pub(crate) intake: Intake,
}

impl Sockets {
    pub(crate) fn open(intake: Intake) -> Result<Self, GatewayError> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(EVENTS_PER_TURN),
            listeners: Vec::new(),
            tls: None,
            accept_again_at_us: i64::MIN,
            connections: Slab::new(),
            generation: 0,
            deferred: Vec::new(),
            skipped: Vec::new(),
            paused: Vec::new(),
            held: false,
            read_bytes_left: 0,
            forgot_at_us: i64::MIN,
            scratch: vec![0; READ_BYTES].into_boxed_slice(),
            durable: Vec::new(),
            intake,
        })
    }

    /// Listens on one more address and returns it, with the port that the system chose for 0.
    pub(crate) fn listen(
        &mut self,
        address: SocketAddr,
        tls: bool,
        reuse_port: bool,
    ) -> Result<SocketAddr, GatewayError> {
        let listened = bind(address, reuse_port).and_then(|mut socket| {
            let token = listener_token(self.listeners.len());
            self.poll
                .registry()
                .register(&mut socket, token, Interest::READABLE)?;
            let bound = socket.local_addr()?;
            self.listeners.push(Listener {
                socket,
                tls,
                pending: false,
            });
            Ok(bound)
        });
        listened.map_err(|error| GatewayError::Listen { address, error })
    }

    /// The certificate that new TLS connections are shown.
    pub(crate) fn set_tls(&mut self, identity: TlsIdentity) {
        self.tls = Some(identity);
    }

    pub(crate) fn epoll(&self) -> RawFd {
        self.poll.as_raw_fd()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Takes over a new list of the forgotten; connections stay, their next frames meet it.
    pub(crate) fn set_forgotten(&mut self, forgotten: Forgotten) {
        self.intake.set_forgotten(forgotten);
        for (_, connection) in &mut self.connections {
            connection.forgotten = None;
        }
    }

    pub(crate) fn hold(&mut self, held: bool) {
        self.held = held;
    }

    pub(crate) fn pending(&self, now: Moment) -> Pending {
        let accepts = self.listeners.iter().any(|listener| listener.pending)
            && now.uptime_us >= self.accept_again_at_us;
        Pending {
            staged: self.intake.staged_count(),
            staged_bytes: self.intake.staged_bytes(),
            deferred: !self.deferred.is_empty() || !self.skipped.is_empty() || accepts,
        }
    }

    /// Answers to be sent with the next release.
    pub(crate) fn queue_durable(&mut self, answers: &mut Vec<Answer>) {
        self.durable.append(answers);
    }

    pub(crate) fn stop_listening(&mut self) {
        for mut listener in self.listeners.drain(..) {
            // The socket is closed right after; a failed deregistration changes nothing.
            let _deregistered = self.poll.registry().deregister(&mut listener.socket);
        }
    }

    pub(crate) fn close_all(&mut self, reason: &str, now: Moment) {
        self.release(now);
        let slots: Vec<usize> = self.connections.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            self.close(slot, reason, now);
        }
    }

    pub(crate) fn turn(&mut self, now: Moment) -> io::Result<()> {
        self.release(now);
        match self.poll.poll(&mut self.events, Some(Duration::ZERO)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        self.read_bytes_left = READ_BYTES_PER_TURN;
        let ready: Vec<Ready> = self.events.iter().map(Ready::from).collect();
        let mut deferred = mem::take(&mut self.skipped);
        deferred.append(&mut self.deferred);
        for slot in deferred {
            if let Some(connection) = self
                .connections
                .get_mut(slot)
                .filter(|connection| connection.deferred)
            {
                connection.deferred = false;
                self.read(slot, false, now);
            }
        }
        for ready in ready {
            if let Some(index) = listener_index(ready.token) {
                if let Some(listener) = self.listeners.get_mut(index) {
                    listener.pending = true;
                }
                continue;
            }
            let slot = ready.token.0;
            // An earlier event of this turn may have closed the connection.
            if ready.writable
                && self
                    .connections
                    .get(slot)
                    .is_some_and(Connection::holds_output)
            {
                self.send(slot, now);
            }
            if ready.readable && self.connections.contains(slot) {
                self.read(slot, ready.ended, now);
            }
        }
        for index in 0..self.listeners.len() {
            if self.listeners[index].pending && now.uptime_us >= self.accept_again_at_us {
                self.accept(index, now);
            }
        }
        Ok(())
    }

    fn accept(&mut self, index: usize, now: Moment) {
        for _ in 0..ACCEPTS_PER_TURN {
            let listener = &mut self.listeners[index];
            let tls = listener.tls;
            match listener.socket.accept() {
                Ok((stream, peer)) => self.welcome(stream, peer.ip(), tls, now),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    listener.pending = false;
                    return;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_exhausted(&error) => {
                    self.intake.counters.accept_exhausted += 1;
                    self.accept_again_at_us = now.uptime_us.saturating_add(ACCEPT_PAUSE_US);
                    return;
                }
                // The peer left between SYN and accept.
                Err(_) => self.intake.counters.accept_errors += 1,
            }
        }
    }

    /// Takes a connection into the set, or drops it, which closes it.
    fn welcome(&mut self, mut stream: TcpStream, peer: IpAddr, tls: bool, now: Moment) {
        let counters = &mut self.intake.counters;
        if self.connections.len() >= self.intake.limits.connections_max {
            counters.refused += 1;
            return;
        }
        let address = match self.intake.addresses.enter(peer, now.uptime_us) {
            Ok(address) => address,
            Err(Refusal::TooMany) => {
                counters.refused_address_full += 1;
                return;
            }
            Err(Refusal::TooOften) => {
                counters.refused_address_rate += 1;
                return;
            }
        };
        let entry = self.connections.vacant_entry();
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registered = self
            .poll
            .registry()
            .register(&mut stream, Token(entry.key()), interest);
        set_options(&stream, self.intake.limits.unread_us);
        let stream = match (registered, tls, &self.tls) {
            (Ok(()), false, _) => Stream::Plain(stream),
            (Ok(()), true, Some(identity)) => match identity.accept(stream) {
                Ok(stream) => stream,
                Err(_) => {
                    counters.accept_errors += 1;
                    self.intake.addresses.leave(address);
                    return;
                }
            },
            _ => {
                counters.accept_exhausted += 1;
                self.intake.addresses.leave(address);
                return;
            }
        };
        counters.accepted += 1;
        self.generation += 1;
        let source = self.intake.source(peer);
        entry.insert(Connection::new(
            stream,
            self.generation,
            address,
            source,
            now.uptime_us,
        ));
    }

    /// One read. `ended`: the stick has closed its side, which readiness will not tell again.
    fn read(&mut self, slot: usize, ended: bool, now: Moment) {
        if self.connections[slot].paused {
            return;
        }
        if self.held || self.intake.staged_bytes() > self.intake.limits.staged_bytes_max {
            self.intake.counters.paused += 1;
            self.defer(slot);
            return;
        }
        if self.read_bytes_left == 0 {
            let connection = &mut self.connections[slot];
            if !connection.deferred {
                connection.deferred = true;
                self.skipped.push(slot);
            }
            return;
        }
        // Before anything is read: a new connection is no way around a rate that is used up.
        if self.pause_if_used_up(slot, now) {
            return;
        }
        let Self {
            connections,
            scratch,
            intake,
            ..
        } = self;
        let connection = &mut connections[slot];
        let read_bytes = match connection.frames {
            0 => READ_BYTES_STRANGER,
            _ => READ_BYTES,
        };
        let received = connection.receive(&mut scratch[..read_bytes]);
        let Received::Bytes { count, drained } = received else {
            if received == Received::Ended {
                self.close(slot, "closed by the stick", now);
            }
            return;
        };
        self.read_bytes_left = self.read_bytes_left.saturating_sub(count);
        intake.counters.bytes_in += count as u64;
        intake.take(connection, slot, &scratch[..count], now);
        self.close_replaced(now);
        let Some(connection) = self.connections.get_mut(slot) else {
            return;
        };
        if connection.noise_bytes as usize > self.intake.limits.noise_bytes_max {
            self.intake.counters.closed_noise += 1;
            self.close(slot, "too much noise", now);
            return;
        }
        if connection.holds_output() && !self.send(slot, now) {
            return;
        }
        if !self.pause_if_used_up(slot, now) && (ended || !drained) {
            self.defer(slot);
        }
    }

    /// Stops reading a connection whose address or logger has used up its rate; whether it did.
    fn pause_if_used_up(&mut self, slot: usize, now: Moment) -> bool {
        let connection = &mut self.connections[slot];
        match self.intake.used_up(connection, now.uptime_us) {
            None => return false,
            Some(UsedUp::Address) => self.intake.counters.paused_address += 1,
            Some(UsedUp::Logger) => self.intake.counters.paused_logger += 1,
        }
        connection.paused = true;
        self.paused.push(slot);
        true
    }

    /// Closes the connections that frames just taken have replaced; their slots are good only until
    /// somebody else closes a connection.
    fn close_replaced(&mut self, now: Moment) {
        for slot in mem::take(&mut self.intake.replaced) {
            if self.connections.contains(slot) {
                self.intake.counters.closed_replaced += 1;
                self.close(slot, "replaced by a newer connection", now);
            }
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
    fn send(&mut self, slot: usize, now: Moment) -> bool {
        let connection = &mut self.connections[slot];
        match connection.send() {
            Ok(sent) => {
                self.intake.counters.bytes_out += sent as u64;
                if connection.unsent_bytes() > self.intake.limits.unsent_bytes_max {
                    self.intake.counters.closed_unread += 1;
                    self.close(slot, "does not read its answers", now);
                    return false;
                }
                true
            }
            Err(_) => {
                self.close(slot, "closed by the stick", now);
                false
            }
        }
    }

    /// Answers the frames that have become durable, one send per connection.
    pub(crate) fn release(&mut self, now: Moment) {
        if self.durable.is_empty() {
            return;
        }
        let mut durable = mem::take(&mut self.durable);
        let clock = self.intake.clock(now.unix_us);
        let mut touched = Vec::new();
        for answer in durable.drain(..) {
            match self.connections.get_mut(answer.slot) {
                Some(connection) if connection.generation == answer.generation => {
                    // One that already holds unsent bytes is tried too: that is where its limit is
                    // checked.
                    if touched.last() != Some(&answer.slot) {
                        touched.push(answer.slot);
                    }
                    connection.queue(&answer.reply.encode(clock.unix_s, clock.offset_minutes));
                    self.intake.counters.answers += 1;
                    self.intake.latency.note(now.uptime_us - answer.read_at_us);
                }
                _ => self.intake.counters.answers_orphaned += 1,
            }
        }
        self.durable = durable;
        touched.sort_unstable();
        touched.dedup();
        for slot in touched {
            self.send(slot, now);
        }
    }

    pub(crate) fn sweep(&mut self, now: Moment) {
        let limits = self.intake.limits.clone();
        let silent = |connection: &Connection| {
            let patience_us = match connection.frames {
                0 => limits.first_frame_us,
                _ => limits.idle_timeout_us,
            };
            now.uptime_us - connection.heard_at_us > patience_us
        };
        let stale = |connection: &Connection| {
            !connection.partial.is_empty()
                && now.uptime_us - connection.partial_since_us > limits.partial_frame_us
        };
        let due: Vec<(usize, bool)> = self
            .connections
            .iter()
            // A connection that we do not read has no chance to be heard.
            .filter(|(_, connection)| !connection.paused && !connection.deferred)
            .filter(|(_, connection)| silent(connection) || stale(connection))
            .map(|(slot, connection)| (slot, silent(connection)))
            .collect();
        for (slot, is_silent) in due {
            // What an earlier one held back may have replaced this connection.
            let Some(connection) = self.connections.get_mut(slot) else {
                continue;
            };
            if is_silent {
                self.close_silent(slot, now);
                continue;
            }
            self.intake.give_up_partial(connection, slot, now);
            if connection.holds_output() {
                self.send(slot, now);
            }
            self.close_replaced(now);
        }
        self.resume(now);
        if now.uptime_us.saturating_sub(self.forgot_at_us) > FORGET_EVERY_US {
            self.forgot_at_us = now.uptime_us;
            self.intake.forget_idle(now.uptime_us);
        }
    }

    fn close_silent(&mut self, slot: usize, now: Moment) {
        let counters = &mut self.intake.counters;
        if self.connections[slot].frames == 0 {
            counters.closed_no_frame += 1;
            self.close(slot, "no frame", now);
        } else {
            counters.closed_idle += 1;
            self.close(slot, "idle", now);
        }
    }

    /// Reads on where a rate has room again.
    fn resume(&mut self, now: Moment) {
        self.read_bytes_left = READ_BYTES_PER_TURN;
        for slot in mem::take(&mut self.paused) {
            let Some(connection) = self.connections.get_mut(slot).filter(|it| it.paused) else {
                continue;
            };
            if self.intake.used_up(connection, now.uptime_us).is_some() {
                self.paused.push(slot);
                continue;
            }
            connection.paused = false;
            // Whether the stick hung up meanwhile, readiness will not tell again.
            self.read(slot, true, now);
        }
    }

    fn close(&mut self, slot: usize, reason: &str, now: Moment) {
        let mut connection = self.connections.remove(slot);
        connection.stream_mut().say_goodbye();
        // The descriptor is closed on drop, which also leaves the epoll set.
        let _deregistered = self
            .poll
            .registry()
            .deregister(connection.stream_mut().socket_mut());
        self.intake.release(&connection, slot);
        self.intake.note_close(&connection, reason, now.unix_us);
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

/// Listeners have the last tokens, connections the first: the slab's keys.
fn listener_token(index: usize) -> Token {
    Token(usize::MAX - index)
}

fn listener_index(token: Token) -> Option<usize> {
    const LISTENERS_MAX: usize = 16;
    Some(usize::MAX - token.0).filter(|&index| index < LISTENERS_MAX)
}

/// The machine has no descriptor or no memory for one more socket.
fn is_exhausted(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let exhausted = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    Errno::from_io_error(error).is_some_and(|errno| exhausted.contains(&errno))
}

/// What the kernel should know of a stick's socket. Without it answers come later, or wait longer for
/// a peer that is gone; no reason to turn a stick away.
fn set_options(stream: &TcpStream, unread_us: i64) {
    let socket = socket2::SockRef::from(stream);
    let unread = Duration::from_micros(u64::try_from(unread_us).unwrap_or(0));
    let _nodelay = socket.set_tcp_nodelay(true);
    let _buffer = socket.set_send_buffer_size(SEND_BUFFER_BYTES);
    let _timeout = socket.set_tcp_user_timeout(Some(unread));
}

fn bind(address: SocketAddr, reuse_port: bool) -> io::Result<TcpListener> {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(reuse_port)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}
