//! What does a frame cost a server that does nothing but take it off a socket and acknowledge it?
//!
//! The floor of the ingest benchmark: one thread, one edge-triggered epoll set, one `recv` and one
//! `send` per readable socket. A frame is found by its length and answered unchecked; nothing is
//! decoded and nothing is stored.
//!
//! `cargo run --release -p autarco-fleet --example epoll_floor -- --listen 127.0.0.1:10000`
#![forbid(unsafe_code)]

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::time::{SystemTime, UNIX_EPOCH};

use autarco_protocol::v5;
use lexopt::{Arg, Parser, ValueExt};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

const LISTENER: Token = Token(usize::MAX);
const BACKLOG: i32 = 4096;
const EVENTS_PER_TURN: usize = 1024;
const READ_BYTES: usize = 64 * 1024;
const ANSWER_BYTES: usize = 23;

struct Connection {
    stream: TcpStream,
    /// The beginning of a frame whose rest has not come yet.
    partial: Vec<u8>,
    /// Answers that the kernel had no room for.
    unsent: Vec<u8>,
}

struct Floor {
    poll: Poll,
    listener: TcpListener,
    /// By descriptor: the kernel gives the lowest free one.
    connections: Vec<Option<Connection>>,
    scratch: Vec<u8>,
    answers: Vec<u8>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut address: SocketAddr = ([127, 0, 0, 1], 0).into();
    let mut parser = Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("listen") => address = parser.value()?.parse()?,
            other => return Err(other.unexpected().into()),
        }
    }
    let maximum = getrlimit(Resource::Nofile).maximum;
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, raised)?;
    let mut floor = Floor::listen(address)?;
    let mut out = io::stdout();
    writeln!(out, "listening on {}", floor.listener.local_addr()?)?;
    out.flush()?;
    floor.serve()?;
    Ok(())
}

impl Floor {
    fn listen(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let mut listener = TcpListener::from_std(socket.into());
        let poll = Poll::new()?;
        poll.registry()
            .register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self {
            poll,
            listener,
            connections: Vec::new(),
            scratch: vec![0; READ_BYTES],
            answers: Vec::new(),
        })
    }

    fn serve(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_PER_TURN);
        loop {
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            let now_s = now_unix_s();
            for event in &events {
                match event.token() {
                    LISTENER => self.accept()?,
                    Token(slot) => {
                        if self.serve_one(slot, now_s).is_err() {
                            // Closing the descriptor also takes it out of the epoll set.
                            self.connections[slot] = None;
                        }
                    }
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            match self.listener.accept() {
                Ok((mut stream, _)) => {
                    stream.set_nodelay(true)?;
                    let slot = usize::try_from(stream.as_raw_fd()).expect("an open descriptor");
                    self.poll.registry().register(
                        &mut stream,
                        Token(slot),
                        Interest::READABLE | Interest::WRITABLE,
                    )?;
                    if self.connections.len() <= slot {
                        self.connections.resize_with(slot + 1, || None);
                    }
                    self.connections[slot] = Some(Connection {
                        stream,
                        partial: Vec::new(),
                        unsent: Vec::new(),
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads all there is, readiness is told once, and answers it; an error ends the connection.
    fn serve_one(&mut self, slot: usize, now_s: u32) -> io::Result<()> {
        let Some(Some(connection)) = self.connections.get_mut(slot) else {
            return Ok(());
        };
        loop {
            let count = match connection.stream.read(&mut self.scratch) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(error) => return Err(error),
            };
            let received = &self.scratch[..count];
            self.answers.clear();
            if connection.partial.is_empty() {
                let done = answer_all(received, now_s, &mut self.answers);
                connection.partial.extend_from_slice(&received[done..]);
            } else {
                connection.partial.extend_from_slice(received);
                let done = answer_all(&connection.partial, now_s, &mut self.answers);
                connection.partial.drain(..done);
            }
            connection.send(&self.answers)?;
            if count < READ_BYTES {
                return Ok(());
            }
        }
    }
}

impl Connection {
    fn send(&mut self, answers: &[u8]) -> io::Result<()> {
        let sent = match self.unsent.is_empty() {
            true => send_some(&mut self.stream, answers)?,
            false => 0,
        };
        self.unsent.extend_from_slice(&answers[sent..]);
        let sent = send_some(&mut self.stream, &self.unsent)?;
        self.unsent.drain(..sent);
        Ok(())
    }
}

fn send_some(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    if bytes.is_empty() {
        return Ok(0);
    }
    match stream.write(bytes) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        written => written,
    }
}

/// Answers whole frames and returns how many bytes they were.
fn answer_all(received: &[u8], now_s: u32, answers: &mut Vec<u8>) -> usize {
    let mut done = 0;
    while let Some(header) = received.get(done..done + 12) {
        let payload_bytes = usize::from(u16::from_le_bytes([header[1], header[2]]));
        let end = done + payload_bytes + v5::OVERHEAD_BYTES;
        if received.len() < end {
            break;
        }
        let mut answer = [0; ANSWER_BYTES];
        answer[..4].copy_from_slice(&[v5::START, 10, 0, v5::CONTROL]);
        answer[4] = header[4] - 0x30;
        answer[5] = header[5].wrapping_add(1);
        answer[6..12].copy_from_slice(&header[6..12]);
        answer[12] = 1;
        answer[13..17].copy_from_slice(&now_s.to_le_bytes());
        answer[21] = v5::checksum(&answer[1..21]);
        answer[22] = v5::END;
        answers.extend_from_slice(&answer);
        done = end;
    }
    done
}

fn now_unix_s() -> u32 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    since_1970.map_or(0, |since| since.as_secs() as u32)
}
