//! The gateway: bytes from sticks become durable frames and rows of a batch.
//!
//! Layout, in the direction the data flows:
//! - [`privacy`]: peer address → anonymised `source`, at accept
//! - `sockets`, `connection`, [`tls`]: the epoll set, accept, read, send; one stick's half-read frame
//! - `limits`, [`registry`], [`forgotten`]: how much one peer may take, who may send at all, and of
//!   whom nothing is kept
//! - `intake`: frames → staged rows, journal records and answers
//! - [`resend`]: which data frames were seen before
//! - [`journal`]: append-only segments; what is here survives a power cut
//! - `record`: what one journal record holds
//! - `decode`, [`readings`], `latest`: records → rows → columns; the newest of each inverter
//! - [`batch`]: rows of readings, sessions and quarantine as Arrow record batches
//!
//! - [`counters`], [`latency`]: what was seen, and how long answers took
//! - [`gateway`]: all of it behind one value, and who may hold which lock
//!
//! Nothing here knows Python. The clocks are read by the caller and passed in ([`clock`]).
#![forbid(unsafe_code)]

pub mod batch;
pub mod clock;
mod connection;
pub mod counters;
mod decode;
pub mod forgotten;
pub mod gateway;
mod intake;
pub mod journal;
pub mod latency;
mod latest;
mod limits;
pub mod privacy;
pub mod readings;
mod record;
pub mod registry;
pub mod resend;
mod sockets;
pub mod tls;

pub use clock::Moment;
pub use gateway::{Gateway, GatewayError, Limits, Settings};
