//! The gateway: bytes from sticks become durable frames and rows of a batch.
//!
//! Layout, in the direction the data flows:
//! - [`privacy`]: peer address → anonymised `source`, at accept
//! - `connection`: one stick's socket, its half-read frame and its unsent answers
//! - [`gateway`]: the epoll set, accept, read, decode, stage, answer
//! - [`resend`]: which data frames were seen before
//! - [`journal`]: append-only segments; what is here survives a power cut
//! - [`batch`]: rows of readings, sessions and quarantine as Arrow record batches
//!
//! Nothing here knows Python. The clock is read by the caller and passed in.
#![forbid(unsafe_code)]

pub mod batch;
mod connection;
pub mod counters;
pub mod gateway;
pub mod journal;
pub mod privacy;
pub mod resend;

pub use gateway::{Gateway, GatewayError, Limits, Settings};
