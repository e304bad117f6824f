//! How long does it take to find, check and read one frame of each layout, and what would copying
//! or summing its bytes alone take?
//!
//! `cargo bench -p autarco-protocol`: nanoseconds of CPU per frame, the median of several rounds.
//! With `-- --json` the same as JSON, and the frames, so that others can decode the very same
//! (`benchmarks/decode.py`). Frames of one layout differ in every value, as they do in life.

use std::hint::black_box;

use rustix::time::{ClockId, clock_gettime};

#[path = "../tests/common/mod.rs"]
mod common;

use autarco_protocol::frame::{Step, step};
use autarco_protocol::layouts::{self, Layout, Raw};
use autarco_protocol::reading::read;
use autarco_protocol::v5;
use autarco_protocol::zone::Zone;

const ROUNDS: usize = 15;
const FRAMES_PER_ROUND: usize = 20_000;
/// Different frames of a layout: all of them fit a processor's smallest cache, and no value becomes
/// implausible.
const VARIANTS: i64 = 16;

#[expect(clippy::print_stdout, reason = "a benchmark prints its result")]
fn main() {
    let zone = Zone::named("Europe/Amsterdam").expect("a known zone");
    let context = common::context(&zone);
    let mut found = Vec::new();
    for layout in layouts::all() {
        let frames: Vec<Vec<u8>> = (0..VARIANTS)
            .map(|variant| frame(layout, variant))
            .collect();
        let mut copy = vec![0; frames[0].len()];
        let decode_ns = median(&frames, |bytes| {
            let Step::Frame { frame, .. } = step(bytes) else {
                unreachable!()
            };
            let _reading = black_box(read(&frame, &context)).expect("a plausible frame");
        });
        let memcpy_ns = median(&frames, |bytes| {
            copy.copy_from_slice(bytes);
            black_box(&mut copy);
        });
        let sum_ns = median(&frames, |bytes| {
            black_box(v5::checksum(&bytes[1..bytes.len() - 2]));
        });
        let crc32c_ns = median(&frames, |bytes| {
            black_box(crc32c::crc32c(bytes));
        });
        found.push(serde_json::json!({
            "layout": layout.name,
            "bytes": frames[0].len(),
            "decode_ns": decode_ns,
            "memcpy_ns": memcpy_ns,
            "sum_ns": sum_ns,
            "crc32c_ns": crc32c_ns,
            "frames": frames.iter().map(|frame| hex(frame)).collect::<Vec<_>>(),
        }));
    }
    if std::env::args().any(|argument| argument == "--json") {
        println!("{}", serde_json::Value::from(found));
        return;
    }
    for layout in found {
        println!(
            "{:28} {:6.0} ns ({} bytes; memcpy {:.1}, sum {:.1}, crc32c {:.1} ns)",
            layout["layout"].as_str().expect("a name"),
            layout["decode_ns"].as_f64().expect("a number"),
            layout["bytes"],
            layout["memcpy_ns"].as_f64().expect("a number"),
            layout["sum_ns"].as_f64().expect("a number"),
            layout["crc32c_ns"].as_f64().expect("a number"),
        );
    }
}

/// The inverter's clock, as it stands on the wire: 14:00 of the day of [`common::SAMPLE_S`].
const CLOCK: [i64; 6] = [26, 6, 1, 14, 0, 0];

/// A frame whose every value is a little larger than the one before.
fn frame(layout: &Layout, variant: i64) -> Vec<u8> {
    let mut payload = common::payload(layout);
    for field in layout.fields.iter().copied().flatten() {
        let value = common::wire_value(field.column) + variant;
        common::put(&mut payload, layout.at(field.at), field.raw, value);
    }
    if let Some(clock) = layout.clock {
        let width = if clock.raw == Raw::U8 { 1 } else { 2 };
        for (n, part) in CLOCK.into_iter().enumerate() {
            let at = layout.at(clock.at + n * width);
            // The shortest payloads of some layouts end before it.
            if at + width <= payload.len() {
                common::put(&mut payload, at, clock.raw, part);
            }
        }
    }
    common::encode(layout, &payload)
}

/// The CPU time that the work takes for one frame, in nanoseconds.
fn median(frames: &[Vec<u8>], mut work: impl FnMut(&[u8])) -> f64 {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start_ns = cpu_ns();
            for bytes in frames.iter().cycle().take(FRAMES_PER_ROUND) {
                work(black_box(bytes));
            }
            (cpu_ns() - start_ns) / FRAMES_PER_ROUND as f64
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

fn cpu_ns() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
