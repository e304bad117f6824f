//! Five million inputs that mean harm: no panic, always progress, never a wish for more than the limit.
//!
//! The seed is printed on failure; `AUTARCO_HOSTILE_SEED` and `AUTARCO_HOSTILE_INPUTS` replay it or
//! make it longer.

mod common;

use autarco_protocol::describe::describe;
use autarco_protocol::frame::{FRAME_BYTES_MAX, Frame, Step, step};
use autarco_protocol::message::classify;
use autarco_protocol::reading::{read, resend_key};
use autarco_protocol::reply::Reply;
use autarco_protocol::v5;
use autarco_protocol::zone::Zone;
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
    let mut taken = 0_u64;
    for number in 0..inputs {
        let input = mutated(&frames, &mut random);
        let result = std::panic::catch_unwind(|| work_through(&input, &zone, number % 16 == 0));
        match result {
            Ok(frames) => taken += frames,
            Err(_) => panic!("seed {seed}, input {number}: {input:02x?}"),
        }
    }
    // Mutations that repair the checksum reach the decoders too: the test means something.
    assert!(taken > inputs / 4, "only {taken} frames were whole");
}

fn work_through(input: &[u8], zone: &Zone, verbose: bool) -> u64 {
    let mut taken = 0;
    let mut rest = input;
    while !rest.is_empty() {
        match step(rest) {
            Step::Frame { frame, used } => {
                assert!(used == frame.raw().len() && used <= rest.len());
                look_at(&frame, zone, verbose);
                taken += 1;
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
    taken
}

fn look_at(frame: &Frame<'_>, zone: &Zone, verbose: bool) {
    let context = context(zone);
    let _message = classify(frame);
    let _key = resend_key(frame);
    if let Ok(reading) = read(frame, &context) {
        assert!(reading.ts_us <= context.received_at_us + context.ahead_us);
        assert!(reading.ts_us >= context.oldest_us);
        assert!(!reading.inverter_sn.as_str().is_empty());
        assert!(reading.measures.iter().all(|value| !value.is_infinite()));
    }
    if let Frame::V5(frame) = frame {
        let answer = Reply::to(frame).map(|reply| reply.encode(0, 0));
        assert!(answer.is_none_or(|answer| matches!(step(&answer), Step::Frame { used: 23, .. })));
    }
    if verbose {
        let _described = describe(frame, &context);
    }
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

/// Makes length, checksum and end of a damaged V5 frame right again.
fn repair(input: &mut [u8]) {
    if input.len() < v5::OVERHEAD_BYTES || input[0] != v5::START {
        return;
    }
    let end = input.len();
    let length = u16::try_from(end - v5::OVERHEAD_BYTES)
        .expect("inputs are short")
        .to_le_bytes();
    input[1..3].copy_from_slice(&length);
    input[3] = v5::CONTROL;
    input[end - 2] = v5::checksum(&input[1..end - 2]);
    input[end - 1] = v5::END;
}
