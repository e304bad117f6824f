//! Does what the fuzzer checks hold for its seeds and for everything it ever found?
//!
//! Runs the checks of `rust/fuzz` without libFuzzer, on any toolchain. A file in
//! `rust/fuzz/seeds/<target>/` is an input; those named `found-…` broke something once. The others are
//! written from the frames of our own tests: `cargo test -p autarco-gateway --test fuzz_seeds --
//! --ignored`.

#[path = "../../protocol/tests/common/mod.rs"]
mod common;
#[path = "../../fuzz/src/lib.rs"]
mod fuzz;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use autarco_protocol::{layouts, v4, v5};

/// Inputs by target and name.
type Seeds = BTreeMap<(&'static str, String), Vec<u8>>;

fn seeds(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/seeds")
        .join(target)
}

fn replay(target: &str, check: fn(&[u8])) {
    let mut inputs: Vec<PathBuf> = fs::read_dir(seeds(target))
        .expect("every target has seeds")
        .map(|entry| entry.expect("a readable directory").path())
        .collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "no seeds for {target}");
    for path in inputs {
        let input = fs::read(&path).expect("a readable seed");
        let held = std::panic::catch_unwind(|| check(&input));
        assert!(held.is_ok(), "{}", path.display());
    }
    // What no seed says: no input at all, and one choice of each.
    check(&[]);
    for choice in 0..=255 {
        check(&[choice]);
    }
}

#[test]
fn streams_are_read_the_same_however_cut() {
    replay("stream", fuzz::stream::check);
}

#[test]
fn readings_stay_within_their_bounds() {
    replay("reading", fuzz::reading::check);
}

#[test]
fn damaged_segments_give_what_was_written_before_the_damage() {
    replay("journal", fuzz::journal::check);
}

#[test]
fn a_gateway_starts_from_any_journal() {
    replay("recovery", fuzz::recovery::check);
}

#[test]
fn sessions_are_answered_to_the_byte() {
    replay("session", fuzz::session::check);
}

/// Found by fuzzing: what a stick measured at two moments of a calm night is two rows, also when the
/// machine's clock was set back in between.
#[test]
fn acknowledged_rows_survive_a_restart_although_the_clock_was_set_back() {
    fuzz::session::check(&two_calm_moments(2));
}

/// Found by fuzzing, as above: without a battery, a machine starts in the past.
#[test]
fn acknowledged_rows_survive_a_restart_in_the_past() {
    fuzz::session::check(&two_calm_moments(4));
}

/// The same V4 frame twice, half a minute apart. V4 carries no time, so the bytes are equal.
fn two_calm_moments(options: u8) -> Vec<u8> {
    let frame = common::all_frames()
        .into_iter()
        .find(|frame| frame[0] == v4::START)
        .expect("a V4 data frame");
    let cuts = [u8::try_from(frame.len() - 1).expect("V4 is short"), 0xFF];
    [&[0, options, 2][..], &cuts, &frame, &frame].concat()
}

#[test]
fn every_kind_of_frame_is_among_the_seeds() {
    for ((target, name), input) in made_seeds() {
        let stored = fs::read(seeds(target).join(&name)).ok();
        assert_eq!(stored, Some(input), "{target}/{name}: write the seeds anew");
    }
}

#[test]
#[ignore = "writes rust/fuzz/seeds"]
fn write_seeds() {
    for ((target, name), input) in made_seeds() {
        fs::create_dir_all(seeds(target)).expect("a checkout is writable");
        fs::write(seeds(target).join(name), input).expect("a checkout is writable");
    }
}

fn made_seeds() -> Seeds {
    let mut seeds = Seeds::new();
    let frames = common::all_frames().concat();
    let broken = broken_stream();
    seeds.insert(("stream", "frames".into()), [&[0][..], &frames].concat());
    seeds.insert(("stream", "broken".into()), broken.clone());
    seeds.insert(
        ("session", "frames".into()),
        [&[0b0010_1010, 0, 5, 0, 9, 0xC0, 13, 0xFF, 99][..], &frames].concat(),
    );
    seeds.insert(
        ("session", "broken".into()),
        [&[0x55, 0][..], &broken].concat(),
    );
    seeds.insert(
        ("session", "noisy".into()),
        [&[0x55, 1][..], &broken].concat(),
    );
    add_readings(&mut seeds);
    add_journals(&mut seeds);
    seeds
}

/// Cuts, time-outs and all that goes wrong between two heartbeats.
fn broken_stream() -> Vec<u8> {
    let heartbeat = v5::encode(v5::HEARTBEAT, 1, 2, common::LOGGER_SN, &[0]);
    let text = v4::encode([0x51, 0xF0], common::LOGGER_SN, b"NO INVERTER DATA\r\n");
    let mut wrong_sum = heartbeat.clone();
    wrong_sum[6] ^= 1;
    let cuts = [3, 0, 20, 0xFF, 9, 0xC1, 0xF0, 0, 0, 40, 0xFF];
    let stream: [&[u8]; 9] = [
        &heartbeat,
        b"AT+YZCMPVER=1\r\n",
        &[v5::START, 0xF2, 0x0F, v5::CONTROL],
        &text,
        &[v5::START, 0xFF, 0xFF],
        &wrong_sum,
        &[v4::START, 0xFF, 0x51, 0xB0, 7, 0, 0, 0, 7, 0, 0, 0],
        &[0xFF; 30],
        &heartbeat,
    ];
    [&[cuts.len() as u8][..], &cuts, &stream.concat()].concat()
}

/// One record per layout and one frame per other kind, in the form of the target `reading`.
fn add_readings(seeds: &mut Seeds) {
    let head = |kind: u8, layout: u8| {
        let received_s = common::SAMPLE_S + 5;
        [
            &[kind, layout, 0, 0][..],
            &received_s.to_le_bytes(),
            &common::LOGGER_SN.to_le_bytes(),
        ]
        .concat()
    };
    for (number, layout) in layouts::all().enumerate() {
        let number = u8::try_from(number).expect("few layouts");
        let input = [head(0, number), common::payload(layout)].concat();
        seeds.insert(("reading", format!("layout-{number:02}")), input);
    }
    let mut handshake = vec![2; 86];
    handshake[19..33].copy_from_slice(b"MW_08_0501_1.5");
    let mut report = vec![1; 60];
    report[14] = 5;
    let answer = [1, 1, 0x21, 0x43, 0x65, 0x60, 120, 0, 0, 0];
    let kinds: [(&str, u8, &[u8]); 7] = [
        ("handshake", 2, &handshake),
        ("link", 3, &[0x81; 47]),
        ("report", 4, &report),
        ("heartbeat", 5, &[0]),
        ("answer", 7, &answer),
        ("v4-info", 0x81, b"\x80\x01H4.01.51Y4.0.02W1.0.57\x0a\x00"),
        ("v4-text", 0x82, b"DATA SEND IS OK\r\n"),
    ];
    for (name, kind, payload) in kinds {
        seeds.insert(
            ("reading", name.into()),
            [&head(kind, 0xFF), payload].concat(),
        );
    }
}

/// Whole, torn and void segments, in the forms of the targets `journal` and `recovery`.
fn add_journals(seeds: &mut Seeds) {
    let mut file = fuzz::journal::header(1, 0, fuzz::journal::WHOLE).to_vec();
    for body in [&b"one"[..], b"two", &[7; 40]] {
        autarco_gateway::journal::push_record(&mut file, body);
    }
    file.extend_from_slice(&[0; 16]);
    seeds.insert(("journal", "file".into()), [&[0][..], &file].concat());
    let three_records = [
        &[1, 3, 4, 0][..],
        b"first",
        &[0, 1],
        &[5; 24],
        &[9, 0],
        b"the third.",
    ];
    for (name, damage) in [
        ("whole", &[][..]),
        ("flipped", &[0, 50, 0, 0, 0, 0x10]),
        ("cut", &[1, 90, 0, 0, 0]),
        ("wiped", &[2, 60, 0, 0, 0]),
        ("shifted", &[3, 40, 0, 0, 0, 2, 1, 1, 4, 60, 0, 0, 0, 3, 0]),
    ] {
        let input = [&three_records.concat(), damage].concat();
        seeds.insert(("journal", name.into()), input);
    }
    // Data of layout 0 with 16 bytes of values and a serial number; a session event.
    let data: &[u8] = &[&[0, 0][..], &[3; 16], &[0]].concat();
    let event: &[u8] = &[1, 77];
    // Step to the number, durable segment and end, number of records.
    let first: &[u8] = &[0, 0, 0x7F, 2];
    let voids_the_second_record: &[u8] = &[0, 1, 0, 1];
    let whole = [
        &[0, 1],
        first,
        data,
        event,
        &[0, 1, 0x7F, 1],
        event,
        &[0xFF],
    ]
    .concat();
    let void = [
        &[0, 1],
        first,
        data,
        event,
        voids_the_second_record,
        data,
        &[0xFF],
    ]
    .concat();
    let torn = [&[0, 0], first, data, event, &[0, 1, 100, 0, 0, 0]].concat();
    seeds.insert(("recovery", "whole".into()), whole);
    seeds.insert(("recovery", "void".into()), void);
    seeds.insert(("recovery", "torn".into()), torn);
}
