//! Which records did the server acknowledge, and with which content?
//!
//! Written when the first answer to a record is here: what a table has to hold exactly once. Either
//! one CSV line per record, whose numbers are whole and in the unit of their column's name, so that
//! nothing is lost in text; or, where that would slow the fleet down, which record it was and no
//! more: its logger's serial number and its record number, little-endian, four bytes each.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use crate::day::Day;
use crate::frames::{Sample, inverter_sn};

const HEADER: &str = "logger_sn,inverter_sn,ts_unix_s,record_no,energy_total_wh,energy_today_wh,\
                      ac_power_w,dc_power_w,ac_voltage_dv,frequency_chz,temperature_dc\n";

/// About 15,000 lines: one write every few seconds at full load.
const BUFFER_BYTES: usize = 1 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Lines,
    Keys,
}

#[derive(Debug)]
pub(crate) struct Acknowledged {
    file: BufWriter<File>,
    form: Form,
}

impl Acknowledged {
    pub(crate) fn create(path: &Path, form: Form) -> io::Result<Self> {
        let mut file = BufWriter::with_capacity(BUFFER_BYTES, File::create(path)?);
        if form == Form::Lines {
            file.write_all(HEADER.as_bytes())?;
        }
        Ok(Self { file, form })
    }

    pub(crate) fn add(&mut self, day: &Day, logger_sn: u32, record: u32) -> io::Result<()> {
        match self.form {
            Form::Lines => {
                let sample = day.sample(logger_sn, record);
                writeln!(self.file, "{}", line(logger_sn, &sample))
            }
            Form::Keys => self.file.write_all(&key(logger_sn, record)),
        }
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn key(logger_sn: u32, record: u32) -> [u8; 8] {
    let mut key = [0; 8];
    key[..4].copy_from_slice(&logger_sn.to_le_bytes());
    key[4..].copy_from_slice(&record.to_le_bytes());
    key
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

    #[test]
    fn a_key_is_logger_and_record() {
        assert_eq!(key(1, 0x0102_0304), [1, 0, 0, 0, 4, 3, 2, 1]);
    }

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
