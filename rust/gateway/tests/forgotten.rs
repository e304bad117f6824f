//! Of a forgotten logger or inverter nothing is answered, written or given back.

mod common;

use std::collections::HashSet;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;

use autarco_gateway::forgotten::{Digest, Forgotten};
use autarco_gateway::gateway::Batch;
use autarco_gateway::registry::Policy;
use autarco_gateway::{Gateway, Settings};
use autarco_protocol::{v4, v5};
use hkdf::hmac::{Hmac, Mac};
use sha2::Sha256;

use common::*;

const KEY: [u8; 32] = [7; 32];
const OTHER_SN: u32 = 4_087_654_321;

fn forgotten(serials: &[&str]) -> Forgotten {
    let digests: HashSet<Digest> = serials
        .iter()
        .map(|serial| {
            let mut mac = Hmac::<Sha256>::new_from_slice(&KEY).unwrap();
            mac.update(serial.as_bytes());
            mac.finalize().into_bytes()[..16].try_into().unwrap()
        })
        .collect();
    Forgotten::new(&KEY, digests).unwrap()
}

fn logger() -> Forgotten {
    forgotten(&[&format!("logger:{LOGGER_SN}")])
}

fn inverter() -> Forgotten {
    forgotten(&["inverter:TEST0001"])
}

fn open_forgetting(journal: &Path, forgotten: Forgotten) -> Gateway {
    open_with(&Settings {
        forgotten,
        ..settings(journal)
    })
}

fn heartbeat(logger_sn: u32) -> Vec<u8> {
    v5::encode(v5::HEARTBEAT, 0, 1, logger_sn, &[0])
}

fn handshake(logger_sn: u32) -> Vec<u8> {
    let mut payload = [0; 86];
    payload[0] = 2;
    v5::encode(v5::HANDSHAKE, 0, 1, logger_sn, &payload)
}

/// A data frame whose bytes behind the sensor type are zeros but for the inverter's serial number.
fn data_of_sensor(sensor_type: u16, serial: &[u8; 16]) -> Vec<u8> {
    let mut payload = vec![0; 99];
    payload[0] = 1;
    payload[1..3].copy_from_slice(&sensor_type.to_le_bytes());
    payload[21..37].copy_from_slice(serial);
    v5::encode(v5::DATA, 0, 1, LOGGER_SN, &payload)
}

fn send(gateway: &Gateway, stick: &mut TcpStream, frames: &[Vec<u8>]) {
    let before = gateway.counters().frames;
    for frame in frames {
        stick.write_all(frame).unwrap();
    }
    let wanted = before + frames.len() as u64;
    turn_until(gateway, NOON_US, || gateway.counters().frames == wanted);
}

/// Commits, and returns what the stick got and what the batch holds.
fn outcome(gateway: &Gateway, stick: &mut TcpStream) -> (Vec<u8>, Option<Batch>) {
    gateway.commit(at(NOON_US)).unwrap();
    for _ in 0..20 {
        gateway.turn(at(NOON_US)).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    (received(stick), gateway.seal())
}

fn journal_bytes(journal: &Path) -> Vec<u8> {
    std::fs::read_dir(journal)
        .unwrap()
        .flat_map(|entry| std::fs::read(entry.unwrap().path()).unwrap())
        .collect()
}

fn holds(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

#[test]
fn no_frame_of_a_forgotten_logger_is_answered_or_written() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = open_forgetting(directory.path(), logger());
    let mut stick = connect(&gateway);
    let frames = [
        handshake(LOGGER_SN),
        heartbeat(LOGGER_SN),
        data_frame(1),
        data_frame(2),
    ];
    send(&gateway, &mut stick, &frames);
    let (answers, batch) = outcome(&gateway, &mut stick);
    assert!(answers.is_empty());
    assert!(batch.is_none());
    assert_eq!(gateway.counters().forgotten_frames, 4);
    assert!(!holds(
        &journal_bytes(directory.path()),
        &LOGGER_SN.to_le_bytes()
    ));

    let mut other = connect(&gateway);
    send(&gateway, &mut other, &[data_frame_of(OTHER_SN, 1)]);
    let (answers, batch) = outcome(&gateway, &mut other);
    assert_eq!(answers.len(), ACK_BYTES);
    assert_eq!(batch.unwrap().readings.num_rows(), 1);
}

#[test]
fn one_connection_may_speak_for_forgotten_and_other_loggers() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = open_forgetting(directory.path(), logger());
    let mut proxy = connect(&gateway);
    let frames = [
        data_frame_of(OTHER_SN, 1),
        data_frame(1),
        data_frame_of(OTHER_SN, 2),
        data_frame(2),
    ];
    send(&gateway, &mut proxy, &frames);
    let (answers, batch) = outcome(&gateway, &mut proxy);
    assert_eq!(answers.len(), 2 * ACK_BYTES);
    assert_eq!(batch.unwrap().readings.num_rows(), 2);
    assert_eq!(gateway.counters().forgotten_frames, 2);
}

#[test]
fn data_of_a_forgotten_inverter_is_refused_and_its_logger_stays_welcome() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = open_forgetting(directory.path(), inverter());
    let mut stick = connect(&gateway);
    let frames = [
        heartbeat(LOGGER_SN),
        data_frame(1),
        data_of_sensor(0x7777, b"TEST0001\0\0\0\0\0\0\0\0"),
    ];
    send(&gateway, &mut stick, &frames);
    let (answers, batch) = outcome(&gateway, &mut stick);
    assert_eq!(answers.len(), ACK_BYTES, "the heartbeat's");
    assert!(batch.is_none());
    assert_eq!(gateway.counters().forgotten_frames, 2);

    send(
        &gateway,
        &mut stick,
        &[data_of_sensor(0x7777, b"TEST0002        ")],
    );
    let (answers, batch) = outcome(&gateway, &mut stick);
    assert_eq!(answers.len(), ACK_BYTES);
    assert_eq!(batch.unwrap().quarantine.num_rows(), 1);
}

#[test]
fn the_inverter_of_a_v4_frame_is_known_too() {
    let directory = tempfile::tempdir().unwrap();
    let listed = forgotten(&["inverter:V4TEST0001"]);
    let gateway = open_forgetting(directory.path(), listed);
    let mut stick = connect(&gateway);
    send(&gateway, &mut stick, &[v4_frame()]);
    let (_, batch) = outcome(&gateway, &mut stick);
    assert!(batch.is_none());
    assert_eq!(gateway.counters().forgotten_frames, 1);
}

fn v4_frame() -> Vec<u8> {
    let mut payload = vec![0; 0x5A];
    payload[..3].copy_from_slice(&[0x81, 0x01, 0x05]);
    payload[3..19].copy_from_slice(b"V4TEST0001      ");
    v4::encode([0x51, 0xB0], LOGGER_SN, &payload)
}

#[test]
fn a_changed_list_is_in_force_with_the_next_frame_and_leaves_no_session() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = open(directory.path());
    let mut stick = connect(&gateway);
    send(&gateway, &mut stick, &[heartbeat(LOGGER_SN)]);
    gateway.set_forgotten(logger());
    send(&gateway, &mut stick, &[heartbeat(LOGGER_SN), data_frame(1)]);
    let (answers, batch) = outcome(&gateway, &mut stick);
    assert_eq!(answers.len(), ACK_BYTES, "the first heartbeat's");
    assert!(batch.is_none());

    gateway.set_forgotten(Forgotten::default());
    send(&gateway, &mut stick, &[data_frame(1)]);
    let (answers, batch) = outcome(&gateway, &mut stick);
    assert_eq!(answers.len(), ACK_BYTES, "it is served again");
    assert_eq!(batch.unwrap().readings.num_rows(), 1);

    gateway.set_forgotten(logger());
    drop(stick);
    turn_until(&gateway, NOON_US, || gateway.counters().connections == 0);
    gateway.commit(at(NOON_US)).unwrap();
    assert!(gateway.seal().is_none(), "its goodbye would be a row");
}

#[test]
fn who_is_forgotten_is_not_listed_among_the_refused() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = open_with(&Settings {
        registry: Policy::Known,
        ..settings(directory.path())
    });
    let mut stick = connect(&gateway);
    send(
        &gateway,
        &mut stick,
        &[heartbeat(LOGGER_SN), heartbeat(OTHER_SN)],
    );
    assert_eq!(gateway.refused().len(), 2);
    gateway.set_forgotten(logger());
    send(&gateway, &mut stick, &[heartbeat(LOGGER_SN)]);
    let refused: Vec<u32> = gateway.refused().iter().map(|entry| entry.0).collect();
    assert_eq!(refused, [OTHER_SN]);
}

#[test]
fn the_journal_gives_nothing_back_of_the_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    {
        let gateway = open(directory.path());
        let mut stick = connect(&gateway);
        let frames = [
            handshake(LOGGER_SN),
            data_frame(1),
            handshake(OTHER_SN),
            data_frame_of(OTHER_SN, 1),
        ];
        send(&gateway, &mut stick, &frames);
        gateway.commit(at(NOON_US)).unwrap();
    }
    let gateway = open_forgetting(directory.path(), logger());
    let batch = gateway.seal().unwrap();
    assert_eq!(
        (batch.readings.num_rows(), batch.sessions.num_rows()),
        (1, 1)
    );
    assert_eq!(gateway.take_latest().num_rows(), 1);
    drop(gateway);

    // Both send for one inverter.
    let gateway = open_forgetting(directory.path(), inverter());
    let batch = gateway.seal().unwrap();
    assert_eq!(
        (batch.readings.num_rows(), batch.sessions.num_rows()),
        (0, 2)
    );
}

#[test]
fn a_segment_of_which_nothing_was_taken_can_go() {
    let directory = tempfile::tempdir().unwrap();
    {
        let gateway = open(directory.path());
        let mut stick = connect(&gateway);
        send(&gateway, &mut stick, &[data_frame(1)]);
        gateway.commit(at(NOON_US)).unwrap();
    }
    let gateway = open_forgetting(directory.path(), logger());
    assert!(gateway.seal().is_none());
    let batch = gateway.seal_all().unwrap();
    assert_eq!((batch.version, batch.readings.num_rows()), (1, 0));
    gateway.retire_at_once(batch.version).unwrap();
    assert!(!holds(
        &journal_bytes(directory.path()),
        &LOGGER_SN.to_le_bytes()
    ));
}

#[test]
fn before_the_first_segment_there_is_nothing_to_seal() {
    let directory = tempfile::tempdir().unwrap();
    assert!(open(directory.path()).seal_all().is_none());
}
