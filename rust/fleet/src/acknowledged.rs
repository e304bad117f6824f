//! Which records did the server acknowledge, and with which content?
//!
//! One CSV line per record, written when its first answer is here: what a table has to hold exactly
//! once. Numbers are whole and in the unit of their column's name, so that nothing is lost in text.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use crate::frames::{Sample, inverter_sn};

const HEADER: &str = "logger_sn,inverter_sn,ts_unix_s,record_no,energy_total_wh,energy_today_wh,\
                      ac_power_w,dc_power_w,ac_voltage_dv,frequency_chz,temperature_dc\n";

/// About 15,000 lines: one write every few seconds at full load.
const BUFFER_BYTES: usize = 1 << 20;

#[derive(Debug)]
pub(crate) struct Acknowledged {
    file: BufWriter<File>,
}

impl Acknowledged {
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let mut file = BufWriter::with_capacity(BUFFER_BYTES, File::create(path)?);
        file.write_all(HEADER.as_bytes())?;
        Ok(Self { file })
    }

    pub(crate) fn add(&mut self, logger_sn: u32, sample: &Sample) -> io::Result<()> {
        writeln!(self.file, "{}", line(logger_sn, sample))
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn line(logger_sn: u32, sample: &Sample) -> String {
    format!(
        "{logger_sn},{},{},{},{},{},{},{},{},{},{}",
        str::from_utf8(&inverter_sn(logger_sn)).expect("letters and digits"),
        sample.unix_s,
        sample.record_no,
        u64::from(sample.total_hwh) * 100,
        u64::from(sample.today_dawh) * 10,
        sample.ac_power_w,
        sample.dc_power_w,
        sample.ac_voltage_dv,
        sample.frequency_chz,
        sample.temperature_dc,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::day::Day;

    #[test]
    fn a_line_has_a_value_for_each_column() {
        let day = Day {
            start_s: 1_780_315_200,
            cadence_s: 300,
            records: 2,
            seed: 1,
            outage_share: 0.0,
        };
        let sample = day.sample(1_800_000_001, 1);
        let line = line(1_800_000_001, &sample);
        let values: Vec<&str> = line.split(',').collect();
        assert_eq!(values.len(), HEADER.split(',').count());
        assert_eq!(values[1], "FLT1800000001");
        assert_eq!(values[2], sample.unix_s.to_string());
        assert_eq!(values[4], format!("{}00", sample.total_hwh));
    }
}
