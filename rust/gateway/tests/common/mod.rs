//! A gateway over real loopback sockets, with the clocks in the test's hand.
// Each test file uses its part of this.
#![allow(dead_code, reason = "shared by several test programs")]

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use autarco_gateway::forgotten::Forgotten;
use autarco_gateway::privacy::AddressMode;
use autarco_gateway::registry::Policy;
use autarco_gateway::{Gateway, Limits, Moment, Settings};
use autarco_protocol::v5;

pub(crate) const SECOND_US: i64 = 1_000_000;
/// 2026-06-01 12:00:00 UTC.
pub(crate) const NOON_US: i64 = 1_780_315_200 * SECOND_US;
pub(crate) const LOGGER_SN: u32 = 4_012_345_678;
pub(crate) const ACK_BYTES: usize = 23;

pub(crate) fn settings(journal: &Path) -> Settings {
    Settings {
        listen: "127.0.0.1:0".parse().unwrap(),
        listen_tls: None,
        reuse_port: false,
        registry: Policy::Open,
        forgotten: Forgotten::default(),
        journal: journal.to_owned(),
        segment_bytes: 256 * 1024,
        committed: 0,
        time_zone: "Europe/London".to_owned(),
        oldest_reading_us: 1_420_070_400 * SECOND_US,
        ahead_max_us: 600 * SECOND_US,
        address_mode: AddressMode::Truncate,
        address_key: Vec::new(),
        seed: 1,
        limits: Limits {
            connections_max: 4,
            connections_per_address_max: 1000,
            connects_per_address_per_minute: 10_000,
            frames_per_address_per_minute: 1_000_000,
            connections_per_logger_max: 4,
            frames_per_logger_per_minute: 1_000_000,
            first_frame_us: 60 * SECOND_US,
            idle_timeout_us: 900 * SECOND_US,
            partial_frame_us: 30 * SECOND_US,
            noise_bytes_max: 1000,
            unsent_bytes_max: 16 * 1024,
            unread_us: 60 * SECOND_US,
            staged_bytes_max: 64 * 1024 * 1024,
        },
    }
}

pub(crate) fn open(journal: &Path) -> Gateway {
    open_with(&settings(journal))
}

pub(crate) fn open_with(settings: &Settings) -> Gateway {
    Gateway::open(settings, at(NOON_US)).unwrap()
}

/// Both clocks at one number: nothing jumps.
pub(crate) fn at(unix_us: i64) -> Moment {
    Moment {
        unix_us,
        uptime_us: unix_us,
    }
}

pub(crate) fn connect(gateway: &Gateway) -> TcpStream {
    let stream = TcpStream::connect(gateway.address()).unwrap();
    stream.set_nonblocking(true).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Turns until the condition holds; loopback needs a moment to deliver.
pub(crate) fn turn_until(gateway: &Gateway, now_us: i64, condition: impl FnMut() -> bool) {
    turn_at_until(gateway, at(now_us), condition);
}

pub(crate) fn turn_at_until(gateway: &Gateway, now: Moment, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        gateway.turn(now).unwrap();
        if condition() {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "nothing came of it: {:?}",
            gateway.counters()
        );
        std::thread::sleep(Duration::from_micros(50));
    }
}

pub(crate) fn received(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return bytes,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return bytes,
            Err(error) => panic!("{error}"),
        }
    }
}

pub(crate) fn is_closed(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 64]) {
        Ok(0) => true,
        Ok(_) => false,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}

/// A live 0x0507 record that differs by `number`.
pub(crate) fn data_frame(number: u32) -> Vec<u8> {
    data_frame_of(LOGGER_SN, number)
}

pub(crate) fn data_frame_of(logger_sn: u32, number: u32) -> Vec<u8> {
    let mut payload = vec![0; 233];
    payload[0] = 1;
    payload[1..3].copy_from_slice(&0x0507_u16.to_le_bytes());
    payload[3..7].copy_from_slice(&number.to_le_bytes());
    let offset = (NOON_US / SECOND_US) as u32 - 1_000_000;
    payload[11..15].copy_from_slice(&offset.to_le_bytes());
    payload[21..37].copy_from_slice(b"TEST0001        ");
    v5::encode(v5::DATA, 3, number as u8, logger_sn, &payload)
}

pub(crate) fn readings(gateway: &Gateway) -> usize {
    gateway.seal().map_or(0, |batch| batch.readings.num_rows())
}
