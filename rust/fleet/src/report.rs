//! What happened? Counts and latencies of a run, as one JSON object.

use std::fmt;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::stick::Kind;

/// Latencies of up to two minutes, in microseconds; a longer one counts as two minutes.
const LATENCY_US_MAX: u64 = 120_000_000;

#[derive(Debug)]
pub(crate) struct Latencies(Histogram<u64>);

impl Latencies {
    fn new() -> Self {
        Self(Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("the bounds are in order"))
    }

    pub(crate) fn add(&mut self, latency_us: u64) {
        self.0
            .saturating_record(latency_us.clamp(1, LATENCY_US_MAX));
    }

    fn in_ms(&self) -> Value {
        let at = |quantile| self.0.value_at_quantile(quantile) as f64 / 1_000.0;
        json!({
            "count": self.0.len(),
            "p50": at(0.5),
            "p90": at(0.9),
            "p99": at(0.99),
            "p999": at(0.999),
            "max": self.0.max() as f64 / 1_000.0,
        })
    }
}

#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) sent: [u64; Kind::ALL.len()],
    pub(crate) answered: [u64; Kind::ALL.len()],
    pub(crate) latencies: [Latencies; Kind::ALL.len()],
    /// How much later than intended an open loop sent.
    pub(crate) send_lag: Latencies,
    pub(crate) connecting: Latencies,
    /// Different records that the server acknowledged.
    pub(crate) records: u64,
    /// Acknowledged records sent once more on purpose.
    pub(crate) resends: u64,
    /// Frames sent again because no answer came in time.
    pub(crate) retries: u64,
    pub(crate) connections: u64,
    /// Connections that the fleet broke on purpose, between frames and before an answer.
    pub(crate) hangups: u64,
    pub(crate) cuts: u64,
    /// Connections that the server or the network ended.
    pub(crate) losses: u64,
    pub(crate) connect_errors: u64,
    pub(crate) unexpected_answers: u64,
    pub(crate) noise_bytes: u64,
    /// Records stored while offline.
    pub(crate) stored: u64,
    pub(crate) connected_peak: u64,
    pub(crate) all_up_us: Option<u64>,
    pub(crate) undelivered_sticks: u64,
    /// Records on their way at the end.
    pub(crate) in_doubt: u64,
    /// Nobody answered for a minute.
    pub(crate) gave_up: bool,
    /// A closed loop ended early because a stick had sent all its records.
    pub(crate) ran_out: bool,
    /// How things stood when a loop began.
    pub(crate) begun: Option<Moment>,
    pub(crate) ended: Moment,
}

/// What was reached at a time.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Moment {
    pub(crate) wall_us: u64,
    pub(crate) cpu_us: u64,
    pub(crate) frames: u64,
    pub(crate) records: u64,
}

impl Report {
    pub(crate) fn new() -> Self {
        Self {
            sent: [0; Kind::ALL.len()],
            answered: [0; Kind::ALL.len()],
            latencies: [(); Kind::ALL.len()].map(|()| Latencies::new()),
            send_lag: Latencies::new(),
            connecting: Latencies::new(),
            records: 0,
            resends: 0,
            retries: 0,
            connections: 0,
            hangups: 0,
            cuts: 0,
            losses: 0,
            connect_errors: 0,
            unexpected_answers: 0,
            noise_bytes: 0,
            stored: 0,
            connected_peak: 0,
            all_up_us: None,
            undelivered_sticks: 0,
            in_doubt: 0,
            gave_up: false,
            ran_out: false,
            begun: None,
            ended: Moment::default(),
        }
    }

    pub(crate) fn frames_answered(&self) -> u64 {
        self.answered.iter().sum()
    }

    pub(crate) fn moment(&self, wall_us: u64, cpu_us: u64) -> Moment {
        Moment {
            wall_us,
            cpu_us,
            frames: self.frames_answered(),
            records: self.records,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by_kind = |value: &dyn Fn(usize) -> Value| -> Value {
            Kind::ALL
                .iter()
                .map(|&kind| (kind.as_str().to_owned(), value(kind as usize)))
                .collect::<serde_json::Map<_, _>>()
                .into()
        };
        let seconds = |us: u64| us as f64 / 1e6;
        let ended = self.ended;
        let begun = self.begun.unwrap_or_default();
        let frames = ended.frames - begun.frames;
        let measured_s = seconds(ended.wall_us - begun.wall_us);
        let report = json!({
            "sent": by_kind(&|kind| self.sent[kind].into()),
            "answered": by_kind(&|kind| self.answered[kind].into()),
            "ack_ms": by_kind(&|kind| self.latencies[kind].in_ms()),
            "send_lag_ms": self.send_lag.in_ms(),
            "connect_ms": self.connecting.in_ms(),
            "records_acknowledged": self.records,
            "resends": self.resends,
            "retries": self.retries,
            "connections": self.connections,
            "connected_peak": self.connected_peak,
            "all_up_s": self.all_up_us.map(seconds),
            "hangups": self.hangups,
            "cuts": self.cuts,
            "losses": self.losses,
            "connect_errors": self.connect_errors,
            "unexpected_answers": self.unexpected_answers,
            "noise_bytes": self.noise_bytes,
            "stored": self.stored,
            "undelivered_sticks": self.undelivered_sticks,
            "in_doubt": self.in_doubt,
            "gave_up": self.gave_up,
            "ran_out": self.ran_out,
            "measured_s": measured_s,
            "frames_measured": frames,
            "records_measured": ended.records - begun.records,
            "frames_per_s": if measured_s > 0.0 { frames as f64 / measured_s } else { 0.0 },
            "cpu_s": seconds(ended.cpu_us - begun.cpu_us),
            "wall_s": seconds(ended.wall_us),
            "cpu_total_s": seconds(ended.cpu_us),
        });
        write!(formatter, "{report}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_json_with_latencies_in_milliseconds() {
        let mut report = Report::new();
        report.sent[Kind::Live as usize] = 3;
        for latency_us in [1_000, 2_000, 3_000, 500_000_000] {
            report.latencies[Kind::Live as usize].add(latency_us);
        }
        let json: Value = serde_json::from_str(&report.to_string()).unwrap();
        assert_eq!(json["sent"]["live"], 3);
        let live = &json["ack_ms"]["live"];
        assert_eq!(live["count"], 4);
        let p50 = live["p50"].as_f64().unwrap();
        assert!((1.99..2.01).contains(&p50), "{p50}");
        assert!(live["max"].as_f64().unwrap() >= 119_000.0);
    }

    #[test]
    fn a_loop_is_measured_without_what_was_before_it() {
        let mut report = Report::new();
        report.answered[Kind::Handshake as usize] = 10;
        report.begun = Some(report.moment(1_000_000, 200_000));
        report.answered[Kind::Live as usize] = 600;
        report.records = 600;
        report.ended = report.moment(4_000_000, 500_000);
        let json: Value = serde_json::from_str(&report.to_string()).unwrap();
        assert_eq!(
            (&json["measured_s"], &json["wall_s"]),
            (&json!(3.0), &json!(4.0))
        );
        assert_eq!(
            (&json["frames_measured"], &json["frames_per_s"]),
            (&json!(600), &json!(200.0))
        );
        assert_eq!(
            (&json["cpu_s"], &json["cpu_total_s"]),
            (&json!(0.3), &json!(0.5))
        );
    }
}
