//! What does a recorded stream say? One JSON object per frame or rejection, for people; and of
//! whom it speaks.

use autarco_protocol::describe::describe;
use autarco_protocol::frame::{self, Step};
use autarco_protocol::reading::{self, Context};
use autarco_protocol::zone::Zone;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use serde_json::json;

/// The stream ends inside a frame, or the bytes never were one.
const INCOMPLETE: &str = "incomplete";

#[pyfunction]
#[pyo3(signature = (data, *, received_at_us, time_zone = "Europe/Amsterdam", oldest_us = 0, ahead_us = 600_000_000))]
pub(crate) fn decode(
    data: &[u8],
    received_at_us: i64,
    time_zone: &str,
    oldest_us: i64,
    ahead_us: i64,
) -> PyResult<Vec<String>> {
    let zone = Zone::named(time_zone).map_err(|error| PyValueError::new_err(error.to_string()))?;
    let context = Context {
        zone: &zone,
        received_at_us,
        oldest_us,
        ahead_us,
    };
    let mut lines = Vec::new();
    let mut done = 0;
    while done < data.len() {
        match frame::step(&data[done..]) {
            Step::Frame { frame, used } => {
                lines.push(serde_json::Value::Object(describe(&frame, &context)).to_string());
                done += used;
            }
            Step::Skip { reason, used } => {
                lines.push(rejected(reason.as_str(), done, used));
                done += used;
            }
            // No more bytes will come: what a server waits for is a rejection here. Like the server
            // after its time-out, drop the first byte only.
            Step::Need { .. } => {
                lines.push(rejected(INCOMPLETE, done, 1));
                done += 1;
            }
        }
    }
    Ok(lines)
}

/// The serial numbers of inverters in whole data frames, as they would stand in `inverter_sn`.
#[pyfunction]
pub(crate) fn inverter_serials(frames: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = frames;
    while !rest.is_empty() {
        rest = match frame::step(rest) {
            Step::Frame { frame, used } => {
                found.extend(reading::inverter_serials(&frame).map(|sn| sn.as_str().to_owned()));
                &rest[used..]
            }
            Step::Skip { used, .. } => &rest[used..],
            Step::Need { .. } => &rest[1..],
        };
    }
    found
}

fn rejected(reason: &str, offset: usize, bytes: usize) -> String {
    json!({ "rejected": reason, "offset": offset, "bytes": bytes }).to_string()
}
