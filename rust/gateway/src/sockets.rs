//! Which sockets are ready, and what is read from and sent to them?
//!
//! One edge-triggered epoll set holds the listener and every stick. What readiness will not tell
//! again (a read put off, an accept cut short) is remembered here.

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use crate::connection::{Connection, Received};
use crate::gateway::{GatewayError, Pending};
use crate::intake::{Answer, Intake};

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

#[derive(Debug)]
pub(crate) struct Sockets {
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
    pub(crate) intake: Intake,
}

impl Sockets {
    pub(crate) fn open(listen: SocketAddr, intake: Intake) -> Result<Self, GatewayError> {
        let mut listener = bind(listen).map_err(|error| GatewayError::Listen {
            address: listen,
            error,
        })?;
        let poll = Poll::new()?;
        poll.registry()
            .register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self {
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
        })
    }

    /// Where sticks connect to; an error once listening has stopped.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        match &self.listener {
            Some(listener) => listener.local_addr(),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    pub(crate) fn epoll(&self) -> RawFd {
        self.poll.as_raw_fd()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.len()
    }

    pub(crate) fn pending(&self) -> Pending {
        Pending {
            staged: self.intake.staged_count(),
            staged_bytes: self.intake.staged_bytes(),
            deferred: !self.deferred.is_empty() || self.accept_pending,
        }
    }

    /// Answers to be sent in the next turn.
    pub(crate) fn queue_durable(&mut self, answers: &mut Vec<Answer>) {
        self.durable.append(answers);
    }

    pub(crate) fn stop_listening(&mut self) {
        if let Some(mut listener) = self.listener.take() {
            // The socket is closed right after; a failed deregistration changes nothing.
            let _deregistered = self.poll.registry().deregister(&mut listener);
        }
        self.accept_pending = false;
    }

    pub(crate) fn close_all(&mut self, reason: &str, now_us: i64) {
        self.release(now_us);
        let slots: Vec<usize> = self.connections.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            self.close(slot, reason, now_us);
        }
    }

    pub(crate) fn turn(&mut self, now_us: i64) -> io::Result<()> {
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

    pub(crate) fn sweep(&mut self, now_us: i64) {
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

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}
