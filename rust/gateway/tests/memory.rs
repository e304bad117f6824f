//! What does an idle connection cost of our own memory? Counted at the allocator, to the byte.
//!
//! A program of its own: nothing else may allocate meanwhile.

mod common;

use std::alloc::System;
use std::io::Write;
use std::net::TcpStream;

use autarco_protocol::v5;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

use common::*;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Both ends of each connection are in this process, whose limit of open files may be 1,024. What is
/// allocated per connection varies with how full the tables are, which double; what of it is resident
/// is measured by benchmarks/connections.py.
const CONNECTIONS: usize = 460;
const BYTES_MAX: usize = 600;

fn held_bytes() -> usize {
    let stats = ALLOCATOR.stats();
    (stats.bytes_allocated + stats.bytes_reallocated.max(0).unsigned_abs())
        - stats.bytes_deallocated
        - stats.bytes_reallocated.min(0).unsigned_abs()
}

#[test]
fn an_idle_connection_costs_at_most_600_bytes() {
    let connections = std::env::var("CONNECTIONS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(CONNECTIONS);
    let directory = tempfile::tempdir().unwrap();
    let mut settings = settings(directory.path());
    settings.limits.connections_max = connections + 1;
    settings.limits.connections_per_address_max = u32::MAX;
    settings.limits.connects_per_address_per_minute = u32::MAX;
    let gateway = open_with(&settings);
    let mut sticks: Vec<TcpStream> = Vec::with_capacity(connections);
    // Once: what reading and answering allocates for good.
    let mut first = connect(&gateway);
    first
        .write_all(&v5::encode(0x47, 1, 2, u32::MAX, &[0]))
        .unwrap();
    turn_until(&gateway, NOON_US, || gateway.counters().answers == 1);

    let before = held_bytes();
    for number in 0..connections {
        let mut stick = connect(&gateway);
        stick
            .write_all(&v5::encode(0x47, 1, 2, number as u32, &[0]))
            .unwrap();
        sticks.push(stick);
        if number % 100 == 99 || number + 1 == connections {
            let answers = number as u64 + 2;
            turn_until(&gateway, NOON_US, || gateway.counters().answers == answers);
        }
    }
    let each = (held_bytes() - before) / connections;
    eprintln!("{each} bytes per idle connection, {connections} connections");
    assert!(each <= BYTES_MAX, "{each} bytes per connection");

    drop(sticks);
    turn_until(&gateway, NOON_US, || gateway.counters().connections == 1);
    // A minute later what was remembered of them is forgotten; their session rows are staged.
    gateway.commit(at(NOON_US)).unwrap();
    gateway.seal();
    gateway.sweep(at(NOON_US + 61 * SECOND_US));
    assert_eq!(gateway.counters().loggers, 1);
}
