//! Which bytes does a stick send?
//!
//! Written by hand from docs/protocol.md, not with the codec: the sender of a load must not repeat
//! the mistakes of the decoder it loads. The tests here read every frame with that decoder.

pub(crate) const HANDSHAKE: u8 = 0x41;
pub(crate) const DATA: u8 = 0x42;
pub(crate) const HEARTBEAT: u8 = 0x47;

pub(crate) const LIVE: u8 = 0x01;
pub(crate) const HISTORIC: u8 = 0x81;

const SENSOR_TYPE: u16 = 0x0507;
const DATA_BYTES: usize = 233;
const HANDSHAKE_BYTES: usize = 86;
/// A stick adds what it has worked to what it learned from the cloud; this much is the latter.
const CLOCK_OFFSET_S: u32 = 1_000_000_000;
const FIRMWARE: &[u8] = b"MW_08_512_0501_1.82";

/// What an inverter's registers hold at one poll, each in the unit of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) unix_s: u32,
    pub(crate) record_no: u32,
    pub(crate) temperature_dc: i16,
    pub(crate) dc_voltage_dv: [u16; 2],
    pub(crate) dc_current_da: [u16; 2],
    pub(crate) ac_current_da: u16,
    pub(crate) ac_voltage_dv: u16,
    pub(crate) frequency_chz: u16,
    pub(crate) ac_power_w: u32,
    pub(crate) dc_power_w: u32,
    pub(crate) apparent_va: u32,
    pub(crate) bus_voltage_dv: u16,
    pub(crate) today_dawh: u32,
    pub(crate) total_hwh: u32,
    pub(crate) yesterday_hwh: u16,
    pub(crate) month_kwh: u32,
    pub(crate) year_kwh: u32,
    pub(crate) generating: bool,
}

/// The two bytes by which a frame and its answer are told from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Envelope {
    pub(crate) logger_sn: u32,
    pub(crate) server_counter: u8,
    pub(crate) logger_counter: u8,
}

impl Envelope {
    fn around(self, kind: u8, payload: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.push(0xA5);
        // The longest payload here has 233 bytes.
        out.extend_from_slice(&(payload.len() as u16).to_le_bytes());
        out.extend_from_slice(&[0x10, kind, self.server_counter, self.logger_counter]);
        out.extend_from_slice(&self.logger_sn.to_le_bytes());
        out.extend_from_slice(payload);
        let sum = out[start + 1..]
            .iter()
            .fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        out.extend_from_slice(&[sum, 0x15]);
    }
}

pub(crate) fn heartbeat(envelope: Envelope, out: &mut Vec<u8>) {
    envelope.around(HEARTBEAT, &[0], out);
}

/// A hello of a stick that has been powered on for `uptime_s`.
pub(crate) fn handshake(envelope: Envelope, unix_s: u32, uptime_s: u32, out: &mut Vec<u8>) {
    let mut payload = [0; HANDSHAKE_BYTES];
    payload[0] = 0x02;
    put_times(&mut payload[1..13], unix_s, uptime_s);
    // In every capture the offset of a handshake is 0.
    payload[9..13].fill(0);
    // Upload period in minutes, sample and heartbeat period in seconds, one, signal, three.
    payload[13..19].copy_from_slice(&[5, 60, 120, 1, 90, 3]);
    payload[19..19 + FIRMWARE.len()].copy_from_slice(FIRMWARE);
    payload[59..65].copy_from_slice(&[0x02, 0, 0, 0, 0, 0x01]);
    payload[65..75].copy_from_slice(b"192.0.2.10");
    payload[81..86].copy_from_slice(&[1, 0, 1, 0x01, 0x05]);
    envelope.around(HANDSHAKE, &payload, out);
}

/// A record; `frame_type` says whether it is fresh ([`LIVE`]) or was stored ([`HISTORIC`]).
pub(crate) fn data(
    envelope: Envelope,
    frame_type: u8,
    sample: &Sample,
    uptime_s: u32,
    out: &mut Vec<u8>,
) {
    let mut payload = [0; DATA_BYTES];
    payload[0] = frame_type;
    put_times(&mut payload[3..15], sample.unix_s, uptime_s);
    let mut put = |at: usize, bytes: &[u8]| payload[at..at + bytes.len()].copy_from_slice(bytes);
    put(1, &SENSOR_TYPE.to_le_bytes());
    put(15, &1_u16.to_le_bytes());
    put(17, &sample.record_no.to_le_bytes());
    put(21, &inverter_sn(envelope.logger_sn));
    put(34, b"   ");
    put(37, &sample.temperature_dc.to_le_bytes());
    put(39, &sample.dc_voltage_dv[0].to_le_bytes());
    put(41, &sample.dc_voltage_dv[1].to_le_bytes());
    put(43, &sample.dc_current_da[0].to_le_bytes());
    put(45, &sample.dc_current_da[1].to_le_bytes());
    // A single-phase inverter fills the third slot.
    put(51, &sample.ac_current_da.to_le_bytes());
    put(57, &sample.ac_voltage_dv.to_le_bytes());
    put(59, &sample.frequency_chz.to_le_bytes());
    put(61, &sample.ac_power_w.to_le_bytes());
    put(65, &sample.today_dawh.to_le_bytes());
    put(69, &sample.total_hwh.to_le_bytes());
    put(77, &u16::from(sample.generating).to_le_bytes());
    put(0x5B, &1_u16.to_le_bytes());
    put(0x5F, &1_u16.to_le_bytes());
    put(0x61, &sample.bus_voltage_dv.to_le_bytes());
    put(0x65, &11_000_u16.to_le_bytes());
    put(0x67, &(i16::from(sample.generating) * 1_000).to_le_bytes());
    put(0x69, &sample.dc_power_w.to_le_bytes());
    put(0x6D, &sample.month_kwh.to_le_bytes());
    put(0x71, &(sample.year_kwh / 9).to_le_bytes());
    put(0x75, &sample.yesterday_hwh.to_le_bytes());
    put(0x77, &sample.year_kwh.to_le_bytes());
    put(0x7B, &(sample.total_hwh / 40).to_le_bytes());
    put(0x7F, &0x34_u16.to_le_bytes());
    put(0x81, &4_u16.to_le_bytes());
    put(0x83, &sample.apparent_va.to_le_bytes());
    for (n, part) in wall_clock(sample.unix_s).into_iter().enumerate() {
        put(0x87 + 2 * n, &part.to_le_bytes());
    }
    put(0x93, &0xE3_u16.to_le_bytes());
    put(0x95, &42_u16.to_le_bytes());
    put(0x97, &67_u16.to_le_bytes());
    put(0x9B, &1_u16.to_le_bytes());
    put(0xE7, &(2 + u16::from(sample.generating)).to_le_bytes());
    envelope.around(DATA, &payload, out);
}

/// `FLT` and the logger's ten digits.
pub(crate) fn inverter_sn(logger_sn: u32) -> [u8; 13] {
    let mut text = *b"FLT0000000000";
    let mut rest = logger_sn;
    for digit in text[3..].iter_mut().rev() {
        *digit += (rest % 10) as u8;
        rest /= 10;
    }
    text
}

/// Seconds worked, seconds since power came, and what has to be added to the first for unix time.
fn put_times(words: &mut [u8], unix_s: u32, uptime_s: u32) {
    words[..4].copy_from_slice(&unix_s.saturating_sub(CLOCK_OFFSET_S).to_le_bytes());
    words[4..8].copy_from_slice(&uptime_s.to_le_bytes());
    words[8..12].copy_from_slice(&CLOCK_OFFSET_S.to_le_bytes());
}

/// Year of the century, month, day, hour, minute, second. The inverters live in UTC.
fn wall_clock(unix_s: u32) -> [u16; 6] {
    let day = i64::from(unix_s / 86_400);
    // Howard Hinnant, "chrono-compatible low-level date algorithms", days since 0000-03-01.
    let shifted = day + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = (shifted_month + 2) % 12 + 1;
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    let second = unix_s % 86_400;
    [
        (year - 2_000) as u16,
        month as u16,
        day_of_month as u16,
        (second / 3_600) as u16,
        (second / 60 % 60) as u16,
        (second % 60) as u16,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use autarco_protocol::columns::{Counter, Measure};
    use autarco_protocol::frame::{Frame, Step, step};
    use autarco_protocol::message::{Message, SessionKind, classify};
    use autarco_protocol::reading::{Context, Reading, TimeSource, read};
    use autarco_protocol::reply::Reply;
    use autarco_protocol::zone::Zone;

    const ENVELOPE: Envelope = Envelope {
        logger_sn: 1_800_000_001,
        server_counter: 3,
        logger_counter: 254,
    };

    fn data(envelope: Envelope, frame_type: u8, sample: &Sample, uptime_s: u32) -> Vec<u8> {
        let mut out = Vec::new();
        super::data(envelope, frame_type, sample, uptime_s, &mut out);
        out
    }

    fn handshake() -> Vec<u8> {
        let mut out = Vec::new();
        super::handshake(ENVELOPE, 1_780_315_205, 16, &mut out);
        out
    }

    fn heartbeat() -> Vec<u8> {
        let mut out = Vec::new();
        super::heartbeat(ENVELOPE, &mut out);
        out
    }

    fn sample() -> Sample {
        Sample {
            // 2026-06-01 12:00:05 UTC
            unix_s: 1_780_315_205,
            record_no: 77,
            temperature_dc: -53,
            dc_voltage_dv: [3_411, 2_902],
            dc_current_da: [61, 44],
            ac_current_da: 142,
            ac_voltage_dv: 2_311,
            frequency_chz: 5_003,
            ac_power_w: 3_270,
            dc_power_w: 3_356,
            apparent_va: 3_281,
            bus_voltage_dv: 3_702,
            today_dawh: 1_234,
            total_hwh: 98_765,
            yesterday_hwh: 211,
            month_kwh: 305,
            year_kwh: 1_805,
            generating: true,
        }
    }

    fn only(bytes: &[u8]) -> Frame<'_> {
        match step(bytes) {
            Step::Frame { frame, used } if used == bytes.len() => frame,
            other => panic!("no single frame: {other:?}"),
        }
    }

    fn decoded(bytes: &[u8]) -> Reading {
        let zone = Zone::named("Europe/Amsterdam").unwrap();
        let context = Context {
            zone: &zone,
            received_at_us: 1_780_315_300_000_000,
            oldest_us: 0,
            ahead_us: 0,
        };
        read(&only(bytes), &context).unwrap()
    }

    #[test]
    fn a_record_decodes_to_the_sample_it_was_made_of() {
        let reading = decoded(&data(ENVELOPE, LIVE, &sample(), 900));
        assert_eq!(reading.ts_us, 1_780_315_205_000_000);
        assert_eq!(reading.time_source, TimeSource::Stick);
        assert_eq!(reading.logger_sn, 1_800_000_001);
        assert_eq!(reading.inverter_sn.as_str(), "FLT1800000001");
        assert_eq!((reading.record_no, reading.uptime_s), (Some(77), Some(900)));
        assert!(!reading.historic);
        assert_eq!(reading.phase_slot, Some(3));
        assert_eq!((reading.status, reading.status_vendor), (Some(4), Some(1)));
        for (measure, wanted) in [
            (Measure::TempInverter, -5.3),
            (Measure::DcVoltageMppt1, 341.1),
            (Measure::DcVoltageMppt2, 290.2),
            (Measure::DcCurrentMppt1, 6.1),
            (Measure::DcCurrentMppt2, 4.4),
            (Measure::AcCurrentL1, 14.2),
            (Measure::AcVoltageL1, 231.1),
            (Measure::AcFrequency, 50.03),
            (Measure::AcPower, 3_270.0),
            (Measure::DcPower, 3_356.0),
            (Measure::AcApparentPower, 3_281.0),
            (Measure::DcBusVoltage, 370.2),
            (Measure::PowerFactor, 1.0),
            (Measure::PowerLimitPct, 110.0),
        ] {
            assert_eq!(reading.measures[measure as usize], wanted, "{measure:?}");
        }
        for (counter, wanted) in [
            (Counter::EnergyTodayWh, 12_340),
            (Counter::EnergyTotalWh, 9_876_500),
            (Counter::EnergyYesterdayWh, 21_100),
            (Counter::EnergyMonthWh, 305_000),
            (Counter::EnergyYearWh, 1_805_000),
        ] {
            assert_eq!(reading.counters[counter as usize], wanted, "{counter:?}");
        }
    }

    #[test]
    fn the_inverters_clock_shows_utc_on_every_kind_of_day() {
        for (unix_s, wanted) in [
            (1_780_315_205, [26, 6, 1, 12, 0, 5]),
            (1_709_251_199, [24, 2, 29, 23, 59, 59]),
            (1_735_689_600, [25, 1, 1, 0, 0, 0]),
            (4_102_444_799, [99, 12, 31, 23, 59, 59]),
        ] {
            assert_eq!(wall_clock(unix_s), wanted);
        }
        let reading = decoded(&data(ENVELOPE, LIVE, &sample(), 0));
        assert_eq!(reading.inverter_clock_us, Some(1_780_315_205_000_000));
    }

    #[test]
    fn a_stored_record_is_the_same_but_for_its_type() {
        let live = data(ENVELOPE, LIVE, &sample(), 900);
        let stored = data(ENVELOPE, HISTORIC, &sample(), 900);
        assert!(decoded(&stored).historic);
        let other: Vec<usize> = (0..live.len())
            .filter(|&at| live[at] != stored[at])
            .collect();
        assert_eq!(other, [11, live.len() - 2], "frame type and checksum");
        assert_eq!(live.len(), 246);
    }

    #[test]
    fn at_night_the_inverter_stands_by() {
        let night = Sample {
            generating: false,
            ac_power_w: 0,
            ..sample()
        };
        let reading = decoded(&data(ENVELOPE, LIVE, &night, 0));
        assert_eq!(reading.status_vendor, Some(0));
        assert_eq!(reading.measures[Measure::PowerFactor as usize], 0.0);
    }

    #[test]
    fn a_handshake_tells_periods_and_firmware() {
        let bytes = handshake();
        let Message::Session(event) = classify(&only(&bytes)) else {
            panic!()
        };
        assert_eq!(event.kind, SessionKind::Handshake);
        assert_eq!(event.uptime_s, Some(16));
        assert_eq!(event.firmware.as_deref(), Some("MW_08_512_0501_1.82"));
        assert_eq!(event.upload_period_s, Some(300));
        assert_eq!(event.heartbeat_s, Some(120));
        assert_eq!(event.signal_pct, Some(90));
        assert_eq!(event.sensor_type, Some(0x0501));
    }

    #[test]
    fn every_frame_wants_an_answer() {
        for bytes in [heartbeat(), handshake(), data(ENVELOPE, LIVE, &sample(), 0)] {
            let Frame::V5(frame) = only(&bytes) else {
                panic!()
            };
            assert!(Reply::to(&frame).is_some());
            assert_eq!((frame.server_counter(), frame.logger_counter()), (3, 254));
        }
        assert!(matches!(classify(&only(&heartbeat())), Message::Heartbeat));
    }
}
