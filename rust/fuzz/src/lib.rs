//! What must hold whatever the bytes? One module per fuzz target, each with `check`, which panics
//! when it does not hold.
//!
//! The tests of `rust/gateway` include these files and replay `seeds/` on any toolchain; nothing
//! here may need libFuzzer.
#![allow(
    unreachable_pub,
    reason = "a private module where the tests include it"
)]

/// One place says what a gateway in a test is set to.
#[path = "../../gateway/tests/common/mod.rs"]
mod common;
pub mod input;
pub mod journal;
pub mod reading;
pub mod recovery;
pub mod session;
pub mod stream;
