//! What does the inverter of a stick measure when, and when is its household offline?
//!
//! Everything follows from serial number and record number, so that nothing has to be kept per
//! stick: a record that is sent again an hour later has the same bytes. Believable, not exact.

use crate::frames::Sample;

/// The simulated time, the same for the whole fleet.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Day {
    pub(crate) start_s: u32,
    pub(crate) cadence_s: u32,
    /// Records per stick.
    pub(crate) records: u32,
    pub(crate) seed: u64,
    /// Share of sticks that are offline once, and send what they stored afterwards.
    pub(crate) outage_share: f64,
}

const DAY_S: u32 = 86_400;
const SUNRISE_H: f64 = 6.0;
const LIGHT_H: f64 = 12.0;

/// What a hash is drawn for; two questions about one record must not get one answer.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Draw {
    Phase = 1,
    Roof,
    Cloud,
    Noise,
    Outage,
    OutageStart,
    OutageLength,
    Resend,
    Hangup,
    Cut,
}

impl Day {
    /// Returns a number of 0..1 that is always the same for this stick, record and question.
    pub(crate) fn draw(&self, draw: Draw, logger_sn: u32, record: u32) -> f64 {
        let key = (u64::from(logger_sn) << 32) | u64::from(record);
        let bits = mix(mix(key ^ self.seed).wrapping_add(draw as u64));
        (bits >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Whether something that happens to this share of records, or sticks, happens to this one.
    pub(crate) fn happens(&self, draw: Draw, logger_sn: u32, record: u32, share: f64) -> bool {
        share > 0.0 && self.draw(draw, logger_sn, record) < share
    }

    /// The records whose moments a stick spends offline; empty for most sticks.
    pub(crate) fn outage(&self, logger_sn: u32) -> std::ops::Range<u32> {
        if !self.happens(Draw::Outage, logger_sn, 0, self.outage_share) {
            return 0..0;
        }
        let records = f64::from(self.records);
        let start = 0.1 + 0.7 * self.draw(Draw::OutageStart, logger_sn, 0);
        let length = 0.02 + 0.08 * self.draw(Draw::OutageLength, logger_sn, 0);
        let start_record = (start * records) as u32;
        start_record..start_record + (length * records) as u32
    }

    /// When a stick takes this record; each has its own phase within the cadence.
    pub(crate) fn sampled_s(&self, logger_sn: u32, record: u32) -> u32 {
        let phase = self.draw(Draw::Phase, logger_sn, 0) * f64::from(self.cadence_s);
        self.start_s + phase as u32 + record * self.cadence_s
    }

    pub(crate) fn sample(&self, logger_sn: u32, record: u32) -> Sample {
        let unix_s = self.sampled_s(logger_sn, record);
        let roof = self.draw(Draw::Roof, logger_sn, 0);
        let cloud = self.draw(Draw::Cloud, logger_sn, record);
        let noise = self.draw(Draw::Noise, logger_sn, record);
        let peak_w = 1_500.0 + 4_500.0 * roof;
        let sun = sun(unix_s);
        let ac_power_w = (peak_w * sun * (0.85 + 0.15 * cloud)) as u32;
        let dc_power_w = f64::from(ac_power_w) * 1.03 + 12.0 * f64::from(u8::from(sun > 0.0));
        let volts = if sun > 0.0 { 280.0 + 120.0 * roof } else { 0.0 };
        let string_da = |share: f64| {
            if volts > 0.0 {
                (dc_power_w * share / volts * 10.0) as u16
            } else {
                0
            }
        };
        let ac_voltage_dv = (2_290.0 + 40.0 * noise + 20.0 * sun) as u16;
        // Counters integrate the clear curve with the mean cloud, and so only grow.
        let peak_wh = peak_w * 0.925;
        let full_day_wh = peak_wh * LIGHT_H * 2.0 / 3.0;
        let today_wh = peak_wh * sun_hours(unix_s);
        let age_days = 300.0 + 1_500.0 * roof;
        let days_since_start = f64::from(unix_s / DAY_S - self.start_s / DAY_S);
        let total_wh = full_day_wh * (age_days + days_since_start) + today_wh;
        Sample {
            unix_s,
            record_no: record,
            temperature_dc: (120.0 + 300.0 * sun + 40.0 * noise) as i16,
            dc_voltage_dv: [(volts * 10.0) as u16, (volts * 9.0) as u16],
            dc_current_da: [string_da(0.55), string_da(0.5)],
            ac_current_da: (f64::from(ac_power_w) / f64::from(ac_voltage_dv) * 100.0) as u16,
            ac_voltage_dv,
            frequency_chz: (4_996.0 + 8.0 * noise) as u16,
            ac_power_w,
            dc_power_w: dc_power_w as u32,
            apparent_va: ac_power_w + (20.0 * noise) as u32,
            bus_voltage_dv: (3_700.0 + 100.0 * cloud) as u16,
            today_dawh: (today_wh / 10.0) as u32,
            total_hwh: (total_wh / 100.0) as u32,
            yesterday_hwh: (full_day_wh / 100.0) as u16,
            month_kwh: (full_day_wh * (10.0 + days_since_start) / 1_000.0) as u32,
            year_kwh: (full_day_wh * (150.0 + days_since_start) / 1_000.0) as u32,
            generating: ac_power_w > 0,
        }
    }
}

/// How much of the light has passed, 0..1.
fn light(unix_s: u32) -> f64 {
    let hour = f64::from(unix_s % DAY_S) / 3_600.0;
    ((hour - SUNRISE_H) / LIGHT_H).clamp(0.0, 1.0)
}

/// The sun's share of the peak, 0..1: a parabola between 6 and 18 h UTC. It looks like the half sine
/// that it should be, and costs a load of 100,000 records a second nothing.
fn sun(unix_s: u32) -> f64 {
    let light = light(unix_s);
    4.0 * light * (1.0 - light)
}

/// The integral of [`sun`] since midnight, in hours at full sun.
fn sun_hours(unix_s: u32) -> f64 {
    let light = light(unix_s);
    LIGHT_H * light * light * (2.0 - light * 4.0 / 3.0)
}

/// Steele, Lea, Flood (2014), "Fast splittable pseudorandom number generators": the finaliser.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const DAY: Day = Day {
        // 2026-06-01 12:00 UTC: a night lies in the middle.
        start_s: 1_780_315_200,
        cadence_s: 300,
        records: 288,
        seed: 1,
        outage_share: 0.1,
    };
    const FIRST: u32 = 1_800_000_001;

    #[test]
    fn counters_only_grow_and_today_starts_again_at_midnight() {
        for logger_sn in FIRST..FIRST + 20 {
            let samples: Vec<Sample> = (0..288).map(|n| DAY.sample(logger_sn, n)).collect();
            for pair in samples.windows(2) {
                assert!(pair[1].total_hwh >= pair[0].total_hwh);
                assert!(pair[1].month_kwh >= pair[0].month_kwh);
                assert_eq!(pair[1].unix_s, pair[0].unix_s + 300);
                let same_day = pair[1].unix_s / DAY_S == pair[0].unix_s / DAY_S;
                assert!(!same_day || pair[1].today_dawh >= pair[0].today_dawh);
            }
            assert!(samples[287].total_hwh > samples[0].total_hwh);
            let midnight = samples.iter().find(|sample| sample.unix_s % DAY_S < 300);
            assert_eq!(midnight.unwrap().today_dawh, 0);
        }
    }

    #[test]
    fn values_are_those_of_a_rooftop_inverter() {
        let mut powers = HashSet::new();
        for logger_sn in FIRST..FIRST + 50 {
            for record in 0..288 {
                let sample = DAY.sample(logger_sn, record);
                powers.insert(sample.ac_power_w);
                assert!(sample.ac_power_w <= 6_000 && sample.dc_power_w >= sample.ac_power_w);
                assert!((2_290..=2_350).contains(&sample.ac_voltage_dv));
                assert!((4_996..=5_004).contains(&sample.frequency_chz));
                assert!(sample.dc_current_da[0] < 200, "{sample:?}");
            }
        }
        assert!(powers.len() > 1_000, "values tell records apart");
    }

    #[test]
    fn a_record_is_the_same_whenever_it_is_asked_for() {
        assert_eq!(DAY.sample(FIRST, 7), DAY.sample(FIRST, 7));
        assert_ne!(DAY.sample(FIRST, 7), DAY.sample(FIRST + 1, 7));
    }

    #[test]
    fn about_the_wanted_share_of_sticks_is_offline_once_and_comes_back() {
        let outages: Vec<_> = (FIRST..FIRST + 5_000)
            .map(|logger_sn| DAY.outage(logger_sn))
            .filter(|outage| !outage.is_empty())
            .collect();
        assert!((400..600).contains(&outages.len()), "{}", outages.len());
        assert!(
            outages
                .iter()
                .all(|outage| outage.start > 0 && outage.end < 288)
        );
    }

    #[test]
    fn draws_are_even_and_independent() {
        let draws = |draw| (0..10_000).map(move |n| DAY.draw(draw, FIRST, n));
        let mean = draws(Draw::Resend).sum::<f64>() / 10_000.0;
        assert!((0.49..0.51).contains(&mean));
        let both = draws(Draw::Resend)
            .zip(draws(Draw::Hangup))
            .filter(|(left, right)| *left < 0.5 && *right < 0.5)
            .count();
        assert!((2_350..2_650).contains(&both), "{both}");
    }
}
