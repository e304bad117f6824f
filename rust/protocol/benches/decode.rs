//! How long does it take to find, check and read one frame of each layout?
//!
//! `cargo bench -p autarco-protocol`: nanoseconds per frame, the median of several rounds. CPU time
//! and wall time are the same here: nothing waits.

use std::hint::black_box;
use std::time::Instant;

#[path = "../tests/common/mod.rs"]
mod common;

use autarco_protocol::frame::{Step, step};
use autarco_protocol::layouts;
use autarco_protocol::reading::read;
use autarco_protocol::zone::Zone;

const ROUNDS: usize = 15;
const FRAMES_PER_ROUND: u32 = 20_000;

#[expect(clippy::print_stdout, reason = "a benchmark prints its result")]
fn main() {
    let zone = Zone::named("Europe/Amsterdam").expect("a known zone");
    let context = common::context(&zone);
    for layout in layouts::all() {
        let bytes = common::encode(layout, &common::payload(layout));
        let mut rounds: Vec<f64> = (0..ROUNDS)
            .map(|_| {
                let start = Instant::now();
                for _ in 0..FRAMES_PER_ROUND {
                    let Step::Frame { frame, .. } = step(black_box(&bytes)) else {
                        unreachable!()
                    };
                    let _reading = black_box(read(&frame, &context)).expect("a plausible frame");
                }
                start.elapsed().as_nanos() as f64 / f64::from(FRAMES_PER_ROUND)
            })
            .collect();
        rounds.sort_by(f64::total_cmp);
        println!(
            "{:28} {:6.0} ns ({} bytes)",
            layout.name,
            rounds[ROUNDS / 2],
            bytes.len()
        );
    }
}
