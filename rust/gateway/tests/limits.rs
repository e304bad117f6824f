//! What one peer may take: of connections, of rates, of patience; and who may send at all.

mod common;

use std::collections::HashSet;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;

use arrow_array::{Array, BooleanArray};
use autarco_gateway::registry::Policy;
use autarco_gateway::{Gateway, Limits, Moment, Settings};
use autarco_protocol::{v4, v5};

use common::*;

fn limited(journal: &Path, change: impl FnOnce(&mut Limits)) -> Gateway {
    let mut settings = settings(journal);
    change(&mut settings.limits);
    open_with(&settings)
}

fn heartbeat(logger_sn: u32) -> Vec<u8> {
    v5::encode(0x47, 1, 2, logger_sn, &[0])
}

fn connect_from(gateway: &Gateway, source: &str) -> TcpStream {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let source: std::net::SocketAddr = format!("{source}:0").parse().unwrap();
    socket.bind(&source.into()).unwrap();
    socket.connect(&gateway.address().into()).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.into()
}

#[test]
fn an_address_that_holds_its_share_gets_no_more_and_others_do() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = limited(directory.path(), |limits| {
        limits.connections_max = 10;
        limits.connections_per_address_max = 2;
    });
    let _held = [connect(&gateway), connect(&gateway)];
    let mut third = connect(&gateway);
    turn_until(&gateway, NOON_US, || is_closed(&mut third));
    assert_eq!(gateway.counters().refused_address_full, 1);
    let mut other = connect_from(&gateway, "127.0.0.9");
    other.write_all(&heartbeat(1)).unwrap();
    turn_until(&gateway, NOON_US, || {
        received(&mut other).len() == ACK_BYTES
    });
}

#[test]
fn an_address_that_comes_too_often_waits() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = limited(directory.path(), |limits| {
        limits.connects_per_address_per_minute = 3;
    });
    for _ in 0..4 {
        drop(connect(&gateway));
        let accepted = gateway.counters().accepted;
        turn_until(&gateway, NOON_US, || {
            gateway.counters().accepted == accepted + 1
        });
        turn_until(&gateway, NOON_US, || gateway.counters().connections == 0);
    }
    let mut fifth = connect(&gateway);
    turn_until(&gateway, NOON_US, || is_closed(&mut fifth));
    assert_eq!(gateway.counters().refused_address_rate, 1);
    let mut later = connect(&gateway);
    later.write_all(&heartbeat(1)).unwrap();
    turn_until(&gateway, NOON_US + 21 * SECOND_US, || {
        received(&mut later).len() == ACK_BYTES
    });
}

#[test]
fn a_logger_that_sends_too_much_waits_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = limited(directory.path(), |limits| {
        limits.frames_per_logger_per_minute = 60;
    });
    let mut stick = connect(&gateway);
    for number in 0..70 {
        stick.write_all(&data_frame(number)).unwrap();
        if number < 61 {
            turn_until(&gateway, NOON_US, || {
                gateway.counters().staged == u64::from(number) + 1
            });
        }
    }
    turn_until(&gateway, NOON_US, || gateway.counters().paused_logger == 1);
    gateway.sweep(at(NOON_US));
    assert_eq!(gateway.counters().staged, 61, "one minute's worth and one");
    let mut neighbour = connect(&gateway);
    neighbour.write_all(&heartbeat(7)).unwrap();
    turn_until(&gateway, NOON_US, || {
        received(&mut neighbour).len() == ACK_BYTES
    });
    drop(stick);
    let later = NOON_US + 20 * SECOND_US;
    gateway.sweep(at(later));
    turn_until(&gateway, later, || gateway.counters().staged == 70);
    turn_until(&gateway, later, || gateway.counters().connections == 1);
}

#[test]
fn an_address_with_many_loggers_waits_too() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = limited(directory.path(), |limits| {
        limits.frames_per_address_per_minute = 60;
    });
    let mut flood = connect(&gateway);
    for number in 0..61 {
        flood.write_all(&heartbeat(number)).unwrap();
        turn_until(&gateway, NOON_US, || {
            gateway.counters().frames == u64::from(number) + 1
        });
    }
    flood.write_all(&heartbeat(99)).unwrap();
    for _ in 0..20 {
        gateway.turn(at(NOON_US)).unwrap();
    }
    assert_eq!(gateway.counters().paused_address, 1);
    assert_eq!(gateway.counters().frames, 61);
    gateway.sweep(at(NOON_US + 2 * SECOND_US));
    turn_until(&gateway, NOON_US + 2 * SECOND_US, || {
        gateway.counters().frames == 62
    });
}

#[test]
fn the_newest_connections_of_a_logger_win() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = limited(directory.path(), |limits| {
        limits.connections_per_logger_max = 2;
    });
    let mut sticks: Vec<TcpStream> = Vec::new();
    for number in 1..=3 {
        let mut stick = connect(&gateway);
        stick.write_all(&heartbeat(LOGGER_SN)).unwrap();
        turn_until(&gateway, NOON_US, || gateway.counters().answers == number);
        sticks.push(stick);
    }
    turn_until(&gateway, NOON_US, || {
        received(&mut sticks[0]);
        is_closed(&mut sticks[0])
    });
    assert_eq!(gateway.counters().closed_replaced, 1);
    assert_eq!(gateway.counters().connections, 2);
    sticks[1].write_all(&heartbeat(LOGGER_SN)).unwrap();
    turn_until(&gateway, NOON_US, || gateway.counters().answers == 4);
}

#[test]
fn who_shows_no_frame_gets_less_patience() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = limited(directory.path(), |_| {});
    let mut silent = connect(&gateway);
    let mut trickle = connect(&gateway);
    let mut stick = connect(&gateway);
    stick.write_all(&heartbeat(LOGGER_SN)).unwrap();
    turn_until(&gateway, NOON_US, || gateway.counters().answers == 1);
    for second in 0..61 {
        trickle.write_all(b"x").unwrap();
        let now = NOON_US + second * SECOND_US;
        turn_until(&gateway, now, || {
            gateway.counters().noise_bytes == second as u64 + 1
        });
        gateway.sweep(at(now));
    }
    assert_eq!(gateway.counters().closed_no_frame, 0);
    gateway.sweep(at(NOON_US + 61 * SECOND_US));
    assert_eq!(gateway.counters().closed_no_frame, 2);
    assert_eq!(gateway.counters().connections, 1);
    assert!(is_closed(&mut silent) && is_closed(&mut trickle));
}

#[test]
fn a_clock_that_jumps_closes_nothing_and_forgets_no_frame() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = limited(directory.path(), |_| {});
    let mut stick = connect(&gateway);
    stick.write_all(&data_frame(1)).unwrap();
    turn_until(&gateway, NOON_US, || gateway.counters().staged == 1);
    gateway.commit(at(NOON_US)).unwrap();
    for (seconds, hours) in [(1, 24), (2, -24), (3, 1), (4, 9000)] {
        let jumped = Moment {
            unix_us: NOON_US + hours * 3600 * SECOND_US,
            uptime_us: NOON_US + seconds * SECOND_US,
        };
        gateway.sweep(jumped);
        stick.write_all(&data_frame(1)).unwrap();
        let resends = seconds as u64;
        let mut turns = 0;
        while gateway.counters().resends < resends {
            gateway.turn(jumped).unwrap();
            turns += 1;
            assert!(turns < 1_000_000, "the resend was not recognised");
        }
        gateway.commit(jumped).unwrap();
        let version = gateway.seal().map_or(0, |batch| batch.version);
        gateway.retire(version, jumped).unwrap();
    }
    assert_eq!(gateway.counters().connections, 1);
    // After a restart the journal still teaches it: the jump made no segment old.
    drop((stick, gateway));
    let gateway = limited(directory.path(), |_| {});
    let mut stick = connect(&gateway);
    stick.write_all(&data_frame(1)).unwrap();
    turn_until(&gateway, NOON_US, || gateway.counters().resends == 1);
}

#[test]
fn rows_told_apart_before_a_restart_are_told_apart_after_it() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = limited(directory.path(), |_| {});
    let mut stick = connect(&gateway);
    let calm = v4::encode([0x51, 0xB0], LOGGER_SN, &[0x81; 61]);
    // Untimed frames are one measurement within 30 s; the machine's clock is set back in between.
    for (staged, unix_s, uptime_s) in [(1, 0, 0), (2, -3600, 31), (3, -3599, 62)] {
        let now = Moment {
            unix_us: NOON_US + unix_s * SECOND_US,
            uptime_us: NOON_US + uptime_s * SECOND_US,
        };
        stick.write_all(&calm).unwrap();
        turn_at_until(&gateway, now, || gateway.counters().staged == staged);
        gateway.commit(now).unwrap();
    }
    drop((stick, gateway));
    let gateway = limited(directory.path(), |_| {});
    let batch = gateway.seal().unwrap();
    assert_eq!(batch.readings.num_rows() + batch.quarantine.num_rows(), 3);
}

#[test]
fn while_the_intake_is_held_nothing_is_read_and_afterwards_everything_is() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = limited(directory.path(), |_| {});
    let mut stick = connect(&gateway);
    stick.write_all(&data_frame(1)).unwrap();
    turn_until(&gateway, NOON_US, || gateway.counters().staged == 1);
    gateway.hold(true);
    stick.write_all(&data_frame(2)).unwrap();
    turn_until(&gateway, NOON_US, || gateway.counters().paused > 0);
    gateway.sweep(at(NOON_US + 3600 * SECOND_US));
    assert_eq!(gateway.counters().staged, 1);
    assert_eq!(gateway.counters().connections, 1, "not its fault");
    gateway.hold(false);
    turn_until(&gateway, NOON_US, || gateway.counters().staged == 2);
}

#[test]
fn known_loggers_are_served_and_others_are_counted_without_an_answer() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = open_with(&Settings {
        registry: Policy::Known,
        ..settings(directory.path())
    });
    gateway.set_registry(Some(HashSet::from([7])));
    let mut known = connect(&gateway);
    let mut unknown = connect(&gateway);
    unknown.write_all(&data_frame_of(8, 1)).unwrap();
    turn_until(&gateway, NOON_US, || gateway.counters().refused_frames == 1);
    known.write_all(&heartbeat(7)).unwrap();
    turn_until(&gateway, NOON_US, || {
        received(&mut known).len() == ACK_BYTES
    });
    assert_eq!(gateway.commit(at(NOON_US)).unwrap(), 0, "nothing is kept");
    let refused = gateway.refused();
    assert_eq!((refused[0].0, refused[0].1.frames), (8, 1));

    // A new list meets open connections; nobody has to come again.
    gateway.set_registry(Some(HashSet::from([8])));
    unknown.write_all(&heartbeat(8)).unwrap();
    turn_until(&gateway, NOON_US, || {
        received(&mut unknown).len() == ACK_BYTES
    });
    known.write_all(&heartbeat(7)).unwrap();
    turn_until(&gateway, NOON_US, || gateway.counters().refused_frames == 2);
    assert_eq!(gateway.counters().connections, 2);
}

#[test]
fn sessions_tell_claimed_loggers_from_unclaimed_ones() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = limited(directory.path(), |_| {});
    let mut claimed = Vec::new();
    for (listed, logger_sn) in [
        (None, 6),
        (Some(HashSet::from([7])), 7),
        (Some(HashSet::from([7])), 8),
    ] {
        gateway.set_registry(listed);
        let mut stick = connect(&gateway);
        stick.write_all(&heartbeat(logger_sn)).unwrap();
        turn_until(&gateway, NOON_US, || {
            received(&mut stick).len() == ACK_BYTES
        });
        drop(stick);
        turn_until(&gateway, NOON_US, || gateway.counters().connections == 0);
    }
    gateway.commit(at(NOON_US)).unwrap();
    let sessions = gateway.seal().unwrap().sessions;
    let column: &BooleanArray = sessions
        .column_by_name("claimed")
        .unwrap()
        .as_any()
        .downcast_ref()
        .unwrap();
    claimed.extend(column.iter());
    assert_eq!(claimed, [None, Some(true), Some(false)]);
}

#[test]
fn a_peer_that_never_reads_is_closed_at_its_bound() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = limited(directory.path(), |limits| {
        limits.unsent_bytes_max = 1000;
    });
    let mut deaf = connect(&gateway);
    let beats = heartbeat(LOGGER_SN).repeat(100);
    let mut closed = false;
    for _ in 0..100_000 {
        closed = closed || deaf.write_all(&beats).is_err();
        gateway.turn(at(NOON_US)).unwrap();
        if gateway.counters().closed_unread == 1 {
            return;
        }
    }
    panic!("still connected ({closed}): {:?}", gateway.counters());
}

#[test]
fn a_peer_whose_tcp_takes_no_answer_is_given_up() {
    use socket2::{Domain, Socket, Type};
    let directory = tempfile::tempdir().unwrap();
    let gateway = limited(directory.path(), |limits| {
        limits.unread_us = SECOND_US;
        limits.unsent_bytes_max = 1024 * 1024;
    });
    // As one that lost its line in the middle: what was sent to it is never taken.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(2048).unwrap();
    socket.connect(&gateway.address().into()).unwrap();
    let mut gone: TcpStream = socket.into();
    gone.write_all(&heartbeat(LOGGER_SN).repeat(4000)).unwrap();
    turn_until(&gateway, NOON_US, || gateway.counters().answers == 4000);
    assert!(gateway.counters().bytes_out < 4000 * ACK_BYTES as u64);
    // The kernel's own clock: it probes, and gives up after the second.
    turn_until(&gateway, NOON_US, || gateway.counters().connections == 0);
}

#[test]
fn a_frame_behind_a_stale_one_may_replace_any_connection() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = limited(directory.path(), |limits| {
        limits.connections_per_logger_max = 1;
    });
    let mut first = connect(&gateway);
    first.write_all(&heartbeat(LOGGER_SN)).unwrap();
    turn_until(&gateway, NOON_US, || gateway.counters().answers == 1);
    // The start of a long frame hides a whole one until its time is over.
    let mut second = connect(&gateway);
    second.write_all(&heartbeat(9)).unwrap();
    let mut hidden = vec![0xA5, 0x00, 0x04, 0x10];
    hidden.extend(heartbeat(LOGGER_SN));
    second.write_all(&hidden).unwrap();
    turn_until(&gateway, NOON_US, || gateway.counters().answers == 2);
    let later = NOON_US + 31 * SECOND_US;
    for _ in 0..40 {
        gateway.turn(at(NOON_US)).unwrap();
        gateway.sweep(at(later));
    }
    assert_eq!(gateway.counters().closed_replaced, 1);
    assert_eq!(gateway.counters().connections, 1);
    // It is gone for good: nothing of it is left to be closed by somebody else.
    let _unheard = first.write_all(&heartbeat(LOGGER_SN));
    second.write_all(&heartbeat(LOGGER_SN)).unwrap();
    turn_until(&gateway, later, || gateway.counters().answers >= 4);
}

#[test]
fn new_connections_are_no_way_around_a_rate() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = limited(directory.path(), |limits| {
        limits.frames_per_address_per_minute = 60;
        limits.connections_max = 100;
    });
    let burst: Vec<u8> = (0..200).flat_map(heartbeat).collect();
    let mut flood: Vec<TcpStream> = (0..20).map(|_| connect(&gateway)).collect();
    for peer in &mut flood {
        peer.write_all(&burst).unwrap();
    }
    for _ in 0..200 {
        gateway.turn(at(NOON_US)).unwrap();
    }
    assert!(gateway.counters().frames <= 300, "one read at most");
    // Their address has room again after a minute, however much they wanted.
    let before = gateway.counters().frames;
    gateway.sweep(at(NOON_US + 61 * SECOND_US));
    turn_until(&gateway, NOON_US + 61 * SECOND_US, || {
        gateway.counters().frames > before
    });
}
