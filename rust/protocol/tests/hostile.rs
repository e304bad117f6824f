//! Do five million inputs that mean harm cause a panic, a standstill or a wish beyond the limit?
//!
//! The seed is printed on failure; `AUTARCO_HOSTILE_SEED` and `AUTARCO_HOSTILE_INPUTS` replay it or
//! make it longer.

mod common;

use autarco_protocol::columns::Counter;
use autarco_protocol::describe::describe;
use std::collections::BTreeMap;

use autarco_protocol::frame::{FRAME_BYTES_MAX, Frame, Step, step};
use autarco_protocol::layouts;
use autarco_protocol::message::classify;
use autarco_protocol::reading::{Context, Protocol, read, resend_key};
use autarco_protocol::reply::Reply;
use autarco_protocol::zone::Zone;
use autarco_protocol::{v4, v5};
use common::{all_frames, context};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn millions_of_mutated_inputs_do_no_harm() {
    let seed = setting("AUTARCO_HOSTILE_SEED", 20_261_123);
    let inputs = setting("AUTARCO_HOSTILE_INPUTS", 5_000_000);
    let mut random = StdRng::seed_from_u64(seed);
    let frames = all_frames();
    let zone = Zone::named("Europe/Amsterdam").unwrap();
    let mut seen = Seen::default();
    for number in 0..inputs {
        let input = mutated(&frames, &mut random);
        let verbose = number % 16 == 0;
        let unharmed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            work_through(&input, &zone, verbose, &mut seen);
        }));
        assert!(
            unharmed.is_ok(),
            "seed {seed}, input {number}: {input:02x?}"
        );
    }
    // Mutations whose checksum was repaired reach every decoder: the test means something.
    assert!(seen.frames > inputs / 4, "only {} frames", seen.frames);
    assert!(seen.quarantined > inputs / 20, "only {}", seen.quarantined);
    for layout in layouts::all() {
        let readings = seen.readings.get(&key(layout.protocol, layout.sensor_type));
        assert!(
            readings.is_some_and(|&count| count > inputs / 500),
            "{}: {readings:?} readings of {inputs} inputs",
            layout.name
        );
    }
}

/// What became of the inputs.
#[derive(Default)]
struct Seen {
    frames: u64,
    quarantined: u64,
    readings: BTreeMap<(&'static str, u16), u64>,
}

fn key(protocol: Protocol, sensor_type: u16) -> (&'static str, u16) {
    (protocol.as_str(), sensor_type)
}

fn work_through(input: &[u8], zone: &Zone, verbose: bool, seen: &mut Seen) {
    let mut rest = input;
    while !rest.is_empty() {
        match step(rest) {
            Step::Frame { frame, used } => {
                assert!(used == frame.raw().len() && used <= rest.len());
                look_at(&frame, zone, verbose, seen);
                rest = &rest[used..];
            }
            Step::Skip { used, .. } => {
                assert!((1..=rest.len()).contains(&used));
                rest = &rest[used..];
            }
            Step::Need { bytes } => {
                assert!(bytes > rest.len() && bytes <= FRAME_BYTES_MAX);
                // Given up after a while: one byte is dropped.
                rest = &rest[1..];
            }
        }
    }
}

fn look_at(frame: &Frame<'_>, zone: &Zone, verbose: bool, seen: &mut Seen) {
    let context = context(zone);
    seen.frames += 1;
    let _message = classify(frame);
    if resend_key(frame).is_some() {
        look_at_data(frame, &context, seen);
    }
    if let Frame::V5(frame) = frame {
        let answer = Reply::to(frame).map(|reply| reply.encode(0, 0));
        assert!(answer.is_none_or(|answer| matches!(step(&answer), Step::Frame { used: 23, .. })));
    }
    if verbose {
        let _described = describe(frame, &context);
    }
}

fn look_at_data(frame: &Frame<'_>, context: &Context<'_>, seen: &mut Seen) {
    let Ok(reading) = read(frame, context) else {
        seen.quarantined += 1;
        return;
    };
    assert!(reading.ts_us <= context.received_at_us + context.ahead_us);
    assert!(reading.ts_us >= context.oldest_us);
    assert!(!reading.inverter_sn.as_str().is_empty());
    assert!(reading.measures.iter().all(|value| !value.is_infinite()));
    let counted = |value: &i64| *value == Counter::ABSENT || *value >= 0;
    assert!(reading.counters.iter().all(counted));
    *seen
        .readings
        .entry(key(reading.protocol, reading.sensor_type))
        .or_default() += 1;
}

fn mutated(frames: &[Vec<u8>], random: &mut StdRng) -> Vec<u8> {
    let mut input = frames.choose(random).expect("there are frames").clone();
    for _ in 0..random.random_range(1..4) {
        let at = random.random_range(0..input.len());
        match random.random_range(0..7) {
            0 => input[at] ^= 1 << random.random_range(0..8),
            1 => input[at] = random.random(),
            2 => input.truncate(at.max(1)),
            3 => input.insert(at, random.random()),
            4 => {
                let other = frames.choose(random).expect("there are frames");
                input.truncate(at.max(1));
                input.extend_from_slice(&other[random.random_range(0..other.len())..]);
            }
            5 => {
                // Lengths and the bytes around them.
                let at = random.random_range(0..input.len().min(12));
                input[at] = *[0, 1, 0x10, 0x7F, 0xFF].choose(random).expect("not empty");
            }
            _ => {
                input[at] = *[v5::START, 0x68, v5::END, 0x16]
                    .choose(random)
                    .expect("not empty")
            }
        }
    }
    if random.random_bool(0.6) {
        repair(&mut input);
    }
    input
}

/// Makes length, checksum and end of a damaged frame right again.
fn repair(input: &mut [u8]) {
    let bytes = input.len();
    let (overhead, end) = match input[0] {
        v5::START => (v5::OVERHEAD_BYTES, v5::END),
        v4::START => (v4::OVERHEAD_BYTES, v4::END),
        _ => return,
    };
    let Some(length) = bytes.checked_sub(overhead) else {
        return;
    };
    let length = u16::try_from(length)
        .expect("inputs are short")
        .to_le_bytes();
    input[1] = length[0];
    if input[0] == v5::START {
        input[2] = length[1];
        input[3] = v5::CONTROL;
    } else {
        input.copy_within(4..8, 8);
    }
    input[bytes - 2] = v5::checksum(&input[1..bytes - 2]);
    input[bytes - 1] = end;
}
