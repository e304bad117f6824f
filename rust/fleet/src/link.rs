//! One stick's socket: connecting from a chosen address, bytes that did not fit, halves of answers.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};

use autarco_protocol::frame::{Frame, Step, step};
use mio::net::TcpStream;
use rustix::io::Errno;
use socket2::{Domain, Socket, Type};

use crate::stick::Answer;

/// The answers to the largest burst.
const READ_BYTES: usize = 4_096;

#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) stream: TcpStream,
    pub(crate) is_established: bool,
    unsent: Vec<u8>,
    unread: Vec<u8>,
}

/// What the server's bytes were; used for one socket after the other.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) answers: Vec<Answer>,
    /// Bytes that are no answer.
    pub(crate) noise_bytes: usize,
    pub(crate) ended: bool,
    buffer: Box<[u8; READ_BYTES]>,
}

impl Default for Received {
    fn default() -> Self {
        Self {
            answers: Vec::new(),
            noise_bytes: 0,
            ended: false,
            buffer: Box::new([0; READ_BYTES]),
        }
    }
}

impl Link {
    /// Begins to connect; the socket is writable when that is done.
    pub(crate) fn connect(target: SocketAddr, source: Option<IpAddr>) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(target), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        // BBR, which some systems prefer, sets a timer for each frame; where the system does not let
        // one choose, frames only cost more.
        let _chosen = socket.set_tcp_congestion(b"reno");
        if let Some(source) = source {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        match socket.connect(&target.into()) {
            Err(error) if Errno::from_io_error(&error) != Some(Errno::INPROGRESS) => {
                return Err(error);
            }
            _ => {}
        }
        Ok(Self {
            stream: TcpStream::from_std(socket.into()),
            is_established: false,
            unsent: Vec::new(),
            unread: Vec::new(),
        })
    }

    /// Whether the connection stands; an error when it was refused.
    pub(crate) fn check_established(&mut self) -> io::Result<bool> {
        if let Some(error) = self.stream.take_error()? {
            return Err(error);
        }
        match self.stream.peer_addr() {
            Ok(_) => self.is_established = true,
            Err(error) if error.kind() == io::ErrorKind::NotConnected => {}
            Err(error) => return Err(error),
        }
        Ok(self.is_established)
    }

    /// Sends frames after what is left of earlier ones.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.unsent.is_empty() {
            self.unsent.extend_from_slice(bytes);
            let unsent = std::mem::take(&mut self.unsent);
            return self.write(&unsent);
        }
        self.write(bytes)
    }

    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.unsent.extend_from_slice(bytes);
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads all there is: readiness is told once.
    pub(crate) fn receive(&mut self, received: &mut Received) {
        received.answers.clear();
        received.noise_bytes = 0;
        received.ended = false;
        loop {
            match self.stream.read(&mut received.buffer[..]) {
                Ok(0) => {
                    received.ended = true;
                    break;
                }
                Ok(count) => {
                    self.take(received, count);
                    if count < READ_BYTES {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => {
                    received.ended = true;
                    break;
                }
            }
        }
    }

    fn take(&mut self, received: &mut Received, count: usize) {
        let Received {
            answers,
            noise_bytes,
            buffer,
            ..
        } = received;
        let fresh = &buffer[..count];
        if self.unread.is_empty() {
            let done = take_answers(fresh, answers, noise_bytes);
            self.unread.extend_from_slice(&fresh[done..]);
        } else {
            self.unread.extend_from_slice(fresh);
            let done = take_answers(&self.unread, answers, noise_bytes);
            self.unread.drain(..done);
        }
    }
}

fn take_answers(bytes: &[u8], answers: &mut Vec<Answer>, noise_bytes: &mut usize) -> usize {
    let mut done = 0;
    while done < bytes.len() {
        match step(&bytes[done..]) {
            Step::Frame {
                frame: Frame::V5(frame),
                used,
            } if frame.payload().len() >= 2 => {
                answers.push(Answer {
                    kind: frame.kind(),
                    logger_sn: frame.logger_sn(),
                    server_counter: frame.server_counter(),
                    logger_counter: frame.logger_counter(),
                    echo: frame.payload()[0],
                    status: frame.payload()[1],
                });
                done += used;
            }
            Step::Frame { used, .. } | Step::Skip { used, .. } => {
                *noise_bytes += used;
                done += used;
            }
            Step::Need { .. } => break,
        }
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use autarco_protocol::v5;

    #[test]
    fn answers_are_found_between_noise_and_an_unfinished_one_waits() {
        let answer = |counter| v5::encode(0x12, 4, counter, 7, &[0x81, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        let whole = [answer(1), b"noise".to_vec(), answer(2), answer(3)].concat();
        let (mut answers, mut noise_bytes) = (Vec::new(), 0);
        let done = take_answers(&whole[..whole.len() - 5], &mut answers, &mut noise_bytes);
        assert_eq!(done, whole.len() - 23);
        assert_eq!(noise_bytes, 5);
        let counters: Vec<u8> = answers.iter().map(|answer| answer.logger_counter).collect();
        assert_eq!(counters, [1, 2]);
        assert_eq!(
            answers[0],
            Answer {
                kind: 0x12,
                logger_sn: 7,
                server_counter: 4,
                logger_counter: 1,
                echo: 0x81,
                status: 1
            }
        );
    }
}
