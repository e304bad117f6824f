//! Solarman V5 and Ginlong V4 as values: no socket, no clock, no disk.
//!
//! Bytes → [`frame`] → [`message`] → [`reading`], and [`reply`] for the way back.
//! `layouts` holds one table per device family; [`columns`] names what a table can fill.
#![forbid(unsafe_code)]

pub mod columns;
pub mod describe;
pub mod frame;
pub mod layouts;
pub mod message;
pub mod reading;
pub mod reply;
pub mod text;
pub mod v4;
pub mod v5;
pub mod zone;
