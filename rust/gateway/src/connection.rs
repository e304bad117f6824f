//! One stick's connection: its socket, the frame it has half sent, the answers it has not taken.
//!
//! An idle connection owns no buffer: both vectors are empty then and hold no memory.

use std::io::{self, Read, Write};
use std::sync::Arc;

use mio::net::TcpStream;

#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    /// Tells this connection from an earlier one in the same slot.
    pub(crate) generation: u64,
    pub(crate) source: Option<Arc<str>>,
    pub(crate) heard_at_us: i64,
    /// The serial of the latest frame; behind a proxy it may change.
    pub(crate) logger_sn: Option<u32>,
    pub(crate) protocol: &'static str,
    pub(crate) frames: u32,
    pub(crate) noise_bytes: usize,
    /// Bytes of a frame that is not complete yet, and since when they wait.
    pub(crate) partial: Vec<u8>,
    pub(crate) partial_since_us: i64,
    /// Answers the kernel did not take yet.
    unsent: Vec<u8>,
    /// Reading was put off; edge-triggered readiness will not tell again.
    pub(crate) deferred: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Received {
    /// So many bytes; `drained` when the kernel has no more for now.
    Bytes {
        count: usize,
        drained: bool,
    },
    Nothing,
    Ended,
}

impl Connection {
    pub(crate) fn new(
        stream: TcpStream,
        generation: u64,
        source: Option<Arc<str>>,
        now_us: i64,
    ) -> Self {
        Self {
            stream,
            generation,
            source,
            heard_at_us: now_us,
            logger_sn: None,
            protocol: "v5",
            frames: 0,
            noise_bytes: 0,
            partial: Vec::new(),
            partial_since_us: 0,
            unsent: Vec::new(),
            deferred: false,
        }
    }

    pub(crate) fn stream_mut(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    pub(crate) fn receive(&mut self, buffer: &mut [u8]) -> Received {
        loop {
            return match self.stream.read(buffer) {
                Ok(0) => Received::Ended,
                // A short read has emptied the socket (epoll(7), question 9): no second call needed.
                Ok(count) => Received::Bytes {
                    count,
                    drained: count < buffer.len(),
                },
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Received::Nothing,
                // Resets and time-outs are how sticks leave.
                Err(_) => Received::Ended,
            };
        }
    }

    pub(crate) fn queue(&mut self, answer: &[u8]) {
        self.unsent.extend_from_slice(answer);
    }

    pub(crate) fn unsent_bytes(&self) -> usize {
        self.unsent.len()
    }

    /// Hands queued answers to the kernel. Returns the bytes it took, or an error when the peer is gone.
    pub(crate) fn send(&mut self) -> io::Result<usize> {
        let mut sent = 0;
        while sent < self.unsent.len() {
            match self.stream.write(&self.unsent[sent..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => sent += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        if sent == self.unsent.len() {
            self.unsent = Vec::new();
        } else {
            self.unsent.drain(..sent);
        }
        Ok(sent)
    }
}
