//! What does a gateway make of a directory of journal segments when it starts?
//!
//! Input: committed version, number of segments; per segment the step to its number, where it says
//! the journal was durable, and its records (frames, session events, anything); then which segment
//! is damaged, and how. A model written here says which records count, and a second start must find
//! what the first one found.

use std::fs;
use std::path::Path;

use autarco_gateway::Gateway;
use autarco_gateway::gateway::Batch;
use autarco_gateway::journal::{Records, push_record};
use autarco_protocol::frame::{Step, step};
use autarco_protocol::{layouts, reading::Protocol, v4, v5};

use super::common::{NOON_US, SECOND_US, at, settings};
use super::input::Input;
use super::journal::{self, HEADER_BYTES, WHOLE};

const SEGMENTS_MAX: usize = 4;
const RECORDS_MAX: usize = 6;
const DATA_RECORD: u8 = 1;
const SESSION_RECORD: u8 = 2;
const SESSION_HEAD: &str = r#"{"at_us":1780315200000000,"event":"handshake","logger_sn":7,"protocol":"v5","source":null,"uptime_s":"#;
const SESSION_TAIL: &str = r#","firmware":"F","upload_period_s":300,"sample_period_s":60,"heartbeat_s":120,"signal_pct":90,"code":null,"sensor_type":null,"reason":null,"frames":null}"#;

pub fn check(input: &[u8]) {
    let mut input = Input(input);
    let committed = u64::from(input.u8() % 4);
    let mut segments = segments(&mut input);
    let harmed = usize::from(input.u8());
    if let Some((_, bytes)) = segments.get_mut(harmed) {
        journal::damage(bytes, &mut input);
    }

    let directory = memory_directory();
    for (number, bytes) in &segments {
        let path = directory.path().join(format!("{number:020}.wal"));
        fs::write(path, bytes).expect("memory is writable");
    }
    let first = recover(directory.path(), committed);
    assert_model(&segments, committed, &first);
    let second = recover(directory.path(), committed);
    assert_eq!(first.batches.len(), second.batches.len());
    for (before, after) in first.batches.iter().zip(&second.batches) {
        assert_eq!(before.version, after.version);
        assert_eq!(before.readings, after.readings);
        assert_eq!(before.sessions, after.sessions);
        assert_eq!(before.quarantine, after.quarantine);
    }
}

struct Recovered {
    batches: Vec<Batch>,
    torn_bytes: u64,
}

fn recover(directory: &Path, committed: u64) -> Recovered {
    let mut settings = settings(directory);
    settings.committed = committed;
    let gateway = Gateway::open(&settings, at(NOON_US))
        .expect("no content of a segment keeps the server from starting");
    let batches: Vec<Batch> = std::iter::from_fn(|| gateway.seal()).collect();
    let counters = gateway.counters();
    let rows: usize = batches.iter().map(rows).sum();
    assert_eq!(counters.replayed, rows as u64);
    assert_eq!(gateway.rows(), 0, "rows that no batch took");
    Recovered {
        batches,
        torn_bytes: counters.journal_torn_bytes,
    }
}

pub fn rows(batch: &Batch) -> usize {
    batch.readings.num_rows() + batch.sessions.num_rows() + batch.quarantine.num_rows()
}

/// What counts, by the header's promise: everything up to the durable position of the segment that
/// was started next, and nothing of the segments between the two.
fn assert_model(segments: &[(u64, Vec<u8>)], committed: u64, recovered: &Recovered) {
    let mut torn_bytes = 0;
    let mut batches = recovered.batches.iter().peekable();
    for (number, bytes) in segments {
        let mut end = bytes.len();
        for (later, other) in segments.iter().filter(|(later, _)| later > number) {
            let Some((durable_number, durable_end)) = durable(other, *later) else {
                continue;
            };
            if durable_number < *number {
                end = 0;
            } else if durable_number == *number {
                end = end.min(durable_end as usize);
            }
        }
        let mut records = Records::new(&bytes[..end], *number);
        let (mut least_sessions, mut data) = (0, 0);
        for body in records.by_ref() {
            match body {
                [SESSION_RECORD, rest @ ..] if is_session(rest) => least_sessions += 1,
                [DATA_RECORD, ..] => data += 1,
                _ => {}
            }
        }
        torn_bytes += records.torn_bytes() as u64;
        let batch = batches.next_if(|batch| batch.version == *number);
        let Some(batch) = batch else {
            assert!(*number <= committed || least_sessions == 0, "rows are lost");
            continue;
        };
        assert!(*number > committed, "rows that are in the table come again");
        assert!(batch.sessions.num_rows() >= least_sessions);
        assert!(batch.readings.num_rows() + batch.quarantine.num_rows() <= data);
    }
    assert!(
        batches.next().is_none(),
        "a batch of no segment, or out of order"
    );
    assert_eq!(recovered.torn_bytes, torn_bytes);
}

fn durable(segment: &[u8], number: u64) -> Option<(u64, u32)> {
    let header = segment.get(..HEADER_BYTES)?;
    let durable_number = u64::from_le_bytes(*header[16..].first_chunk()?);
    let durable_end = u32::from_le_bytes(*header[24..].first_chunk()?);
    (header == journal::header(number, durable_number, durable_end))
        .then_some((durable_number, durable_end))
}

fn segments(input: &mut Input<'_>) -> Vec<(u64, Vec<u8>)> {
    let mut number = 0;
    let mut ends = Vec::new();
    let mut segments = Vec::new();
    for _ in 0..1 + usize::from(input.u8()) % SEGMENTS_MAX {
        number += 1 + u64::from(input.u8() % 2);
        let (durable_number, choice) = (u64::from(input.u8()) % (number + 1), input.u8());
        let known: &Vec<u32> = &ends;
        let durable_end = match known.get(usize::from(choice)) {
            Some(&end) => end,
            None if choice < 0x80 => WHOLE,
            None => input.u32(),
        };
        let mut bytes = journal::header(number, durable_number, durable_end).to_vec();
        ends.clear();
        for _ in 0..usize::from(input.u8()) % (RECORDS_MAX + 1) {
            push_record(&mut bytes, &record(input));
            ends.push(u32::try_from(bytes.len()).expect("segments are short"));
        }
        bytes.extend_from_slice(&[0; 64]);
        segments.push((number, bytes));
    }
    segments
}

/// The body of a record: a frame of a layout, a session event, or anything.
fn record(input: &mut Input<'_>) -> Vec<u8> {
    match input.u8() % 4 {
        0 => data_record(NOON_US, &data_frame(input)),
        1 => [&[SESSION_RECORD], session(input.u8()).as_bytes()].concat(),
        2 => {
            let received_us = i64::from_le_bytes(
                *[input.bytes(8), &[0x7F; 8]]
                    .concat()
                    .first_chunk()
                    .expect("eight bytes"),
            );
            data_record(received_us, &data_frame(input))
        }
        _ => journal::body(input),
    }
}

fn data_record(received_us: i64, frame: &[u8]) -> Vec<u8> {
    let source = "192.0.2.0/24";
    let mut body = vec![DATA_RECORD];
    body.extend_from_slice(&received_us.to_le_bytes());
    body.push(source.len() as u8);
    body.extend_from_slice(source.as_bytes());
    body.extend_from_slice(frame);
    body
}

fn session(uptime_s: u8) -> String {
    format!("{SESSION_HEAD}{uptime_s}{SESSION_TAIL}")
}

fn is_session(json: &[u8]) -> bool {
    json.strip_prefix(SESSION_HEAD.as_bytes())
        .and_then(|rest| rest.strip_suffix(SESSION_TAIL.as_bytes()))
        .is_some_and(|digits| (0..=u8::MAX).any(|n| n.to_string().as_bytes() == digits))
}

/// A data frame of the chosen layout, with a time and a serial number so that it gives a row, and
/// values of the input.
pub fn data_frame(input: &mut Input<'_>) -> Vec<u8> {
    let choice = usize::from(input.u8()) % layouts::all().count();
    let layout = layouts::all().nth(choice).expect("the choice is below");
    let mut payload = vec![0; layout.payload_bytes.0];
    let values = input.bytes(16);
    for (at, slot) in payload.iter_mut().enumerate().skip(30) {
        *slot = values.get(at % 16).copied().unwrap_or(0);
    }
    payload[0] = if layout.protocol == Protocol::V4 {
        0x81
    } else {
        1
    };
    payload[1..3].copy_from_slice(&layout.sensor_type.to_le_bytes());
    if layout.stick_clock {
        let at = layout.at(11);
        payload[at..at + 4].copy_from_slice(&((NOON_US / SECOND_US) as u32).to_le_bytes());
    }
    let (at, bytes) = layout.serial;
    payload[layout.at(at)..layout.at(at + bytes)].fill(b' ');
    payload[layout.at(at)] = b'A' + input.u8() % 4;
    let frame = match layout.protocol {
        Protocol::V5 => v5::encode(v5::DATA, 1, 2, 7, &payload),
        Protocol::V4 => v4::encode([0x51, 0xB0], 7, &payload),
    };
    debug_assert!(matches!(step(&frame), Step::Frame { .. }));
    frame
}

/// A directory in memory where there is one: a search must not wear a disk out.
pub fn memory_directory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() {
        memory.to_owned()
    } else {
        std::env::temp_dir()
    };
    tempfile::tempdir_in(parent).expect("a directory for the journal")
}
