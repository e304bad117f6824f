//! One stick's connection: its socket, the frame it has half sent, the answers it has not taken.
//!
//! An idle connection owns no buffer: both vectors are empty then and hold no memory.

use std::io::{self, Read, Write};
use std::sync::Arc;

use autarco_protocol::reading::Protocol;

use crate::limits::AddressKey;
use crate::tls::Stream;

#[derive(Debug)]
pub(crate) struct Connection {
    stream: Stream,
    /// Tells this connection from an earlier one in the same slot.
    pub(crate) generation: u64,
    pub(crate) address: AddressKey,
    pub(crate) source: Option<Arc<str>>,
    /// When it was accepted, later when its last frame came; uptime.
    pub(crate) heard_at_us: i64,
    /// The serial of the latest frame; behind a proxy it may change.
    pub(crate) logger_sn: Option<u32>,
    /// Whether the list of forgotten loggers has the one that a frame named last.
    pub(crate) forgotten: Option<(u32, bool)>,
    pub(crate) protocol: Protocol,
    pub(crate) frames: u32,
    pub(crate) noise_bytes: u32,
    /// Bytes of a frame that is not complete yet, and since when they wait.
    pub(crate) partial: Vec<u8>,
    pub(crate) partial_since_us: i64,
    /// Answers the kernel did not take yet.
    unsent: Vec<u8>,
    /// Reading was put off; edge-triggered readiness will not tell again.
    pub(crate) deferred: bool,
    /// A rate is used up; it is read again when there is room.
    pub(crate) paused: bool,
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
        stream: Stream,
        generation: u64,
        address: AddressKey,
        source: Option<Arc<str>>,
        uptime_us: i64,
    ) -> Self {
        Self {
            stream,
            generation,
            address,
            source,
            heard_at_us: uptime_us,
            logger_sn: None,
            forgotten: None,
            protocol: Protocol::V5,
            frames: 0,
            noise_bytes: 0,
            partial: Vec::new(),
            partial_since_us: 0,
            unsent: Vec::new(),
            deferred: false,
            paused: false,
        }
    }

    pub(crate) fn stream_mut(&mut self) -> &mut Stream {
        &mut self.stream
    }

    pub(crate) fn receive(&mut self, buffer: &mut [u8]) -> Received {
        loop {
            return match self.stream.read(buffer) {
                Ok(0) => Received::Ended,
                Ok(count) => Received::Bytes {
                    count,
                    drained: count < buffer.len() && self.stream.short_read_drains(),
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

    /// Whether answers wait for the kernel.
    pub(crate) fn holds_output(&self) -> bool {
        !self.unsent.is_empty() || self.stream.holds_output()
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
        match self.stream.flush() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(sent),
        }
    }
}
