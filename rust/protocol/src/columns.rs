//! Which columns of the table `readings` can a frame fill, and in which order do they stand?
//!
//! The Python module `schema` is the truth for types and meaning; a test compares the two lists.

macro_rules! columns {
    ($(#[$doc:meta])* $kind:ident { $($variant:ident => $name:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum $kind { $($variant),* }

        impl $kind {
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$variant),*];
            pub const COUNT: usize = Self::ALL.len();

            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }
    };
}

columns! {
    /// Columns of type float32; absent is NaN in a reading and null in the table.
    Measure {
        AcPower => "ac_power",
        AcApparentPower => "ac_apparent_power",
        AcReactivePower => "ac_reactive_power",
        PowerFactor => "power_factor",
        AcVoltageL1 => "ac_voltage_l1",
        AcVoltageL2 => "ac_voltage_l2",
        AcVoltageL3 => "ac_voltage_l3",
        AcCurrentL1 => "ac_current_l1",
        AcCurrentL2 => "ac_current_l2",
        AcCurrentL3 => "ac_current_l3",
        AcFrequency => "ac_frequency",
        DcVoltageMppt1 => "dc_voltage_mppt1",
        DcVoltageMppt2 => "dc_voltage_mppt2",
        DcVoltageMppt3 => "dc_voltage_mppt3",
        DcVoltageMppt4 => "dc_voltage_mppt4",
        DcCurrentMppt1 => "dc_current_mppt1",
        DcCurrentMppt2 => "dc_current_mppt2",
        DcCurrentMppt3 => "dc_current_mppt3",
        DcCurrentMppt4 => "dc_current_mppt4",
        DcPower => "dc_power",
        DcBusVoltage => "dc_bus_voltage",
        TempInverter => "temp_inverter",
        PowerLimitPct => "power_limit_pct",
        BatterySocPct => "battery_soc_pct",
        BatteryPower => "battery_power",
        GridPower => "grid_power",
        LoadPower => "load_power",
    }
}

columns! {
    /// Columns of type int64 in Wh; absent is [`Counter::ABSENT`] in a reading and null in the table.
    Counter {
        EnergyTotalWh => "energy_total_wh",
        EnergyTodayWh => "energy_today_wh",
        EnergyYesterdayWh => "energy_yesterday_wh",
        EnergyMonthWh => "energy_month_wh",
        EnergyLastMonthWh => "energy_last_month_wh",
        EnergyYearWh => "energy_year_wh",
        EnergyLastYearWh => "energy_last_year_wh",
        GridEnergyTotalWh => "grid_energy_total_wh",
    }
}

impl Counter {
    pub const ABSENT: i64 = i64::MIN;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// Microseconds since 1970 in UTC.
    Instant,
    /// Microseconds since 1970-01-01 00:00 of a wall clock without zone.
    WallClock,
    Text,
    Bool,
    Int16,
    Int32,
    Int64,
    Float32,
    Date,
}

/// Every column of `readings` in table order.
pub const COLUMNS: &[(&str, ColumnType)] = &[
    ("ts", ColumnType::Instant),
    ("received_at", ColumnType::Instant),
    ("time_source", ColumnType::Text),
    ("inverter_sn", ColumnType::Text),
    ("logger_sn", ColumnType::Int64),
    ("protocol", ColumnType::Text),
    ("sensor_type", ColumnType::Int32),
    ("historic", ColumnType::Bool),
    ("record_no", ColumnType::Int64),
    ("uptime_s", ColumnType::Int64),
    ("repeat", ColumnType::Bool),
    ("source", ColumnType::Text),
    ("ac_power", ColumnType::Float32),
    ("ac_apparent_power", ColumnType::Float32),
    ("ac_reactive_power", ColumnType::Float32),
    ("power_factor", ColumnType::Float32),
    ("ac_voltage_l1", ColumnType::Float32),
    ("ac_voltage_l2", ColumnType::Float32),
    ("ac_voltage_l3", ColumnType::Float32),
    ("ac_current_l1", ColumnType::Float32),
    ("ac_current_l2", ColumnType::Float32),
    ("ac_current_l3", ColumnType::Float32),
    ("ac_frequency", ColumnType::Float32),
    ("dc_voltage_mppt1", ColumnType::Float32),
    ("dc_voltage_mppt2", ColumnType::Float32),
    ("dc_voltage_mppt3", ColumnType::Float32),
    ("dc_voltage_mppt4", ColumnType::Float32),
    ("dc_current_mppt1", ColumnType::Float32),
    ("dc_current_mppt2", ColumnType::Float32),
    ("dc_current_mppt3", ColumnType::Float32),
    ("dc_current_mppt4", ColumnType::Float32),
    ("dc_power", ColumnType::Float32),
    ("dc_bus_voltage", ColumnType::Float32),
    ("energy_total_wh", ColumnType::Int64),
    ("energy_today_wh", ColumnType::Int64),
    ("energy_yesterday_wh", ColumnType::Int64),
    ("energy_month_wh", ColumnType::Int64),
    ("energy_last_month_wh", ColumnType::Int64),
    ("energy_year_wh", ColumnType::Int64),
    ("energy_last_year_wh", ColumnType::Int64),
    ("grid_energy_total_wh", ColumnType::Int64),
    ("temp_inverter", ColumnType::Float32),
    ("status", ColumnType::Int16),
    ("status_vendor", ColumnType::Int32),
    ("fault_vendor", ColumnType::Text),
    ("power_limit_pct", ColumnType::Float32),
    ("inverter_clock", ColumnType::WallClock),
    ("battery_soc_pct", ColumnType::Float32),
    ("battery_power", ColumnType::Float32),
    ("grid_power", ColumnType::Float32),
    ("load_power", ColumnType::Float32),
    ("phase_slot", ColumnType::Int16),
    ("date", ColumnType::Date),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_measure_and_counter_has_its_place_in_the_table() {
        let of_type = |wanted: ColumnType| -> Vec<&str> {
            COLUMNS
                .iter()
                .filter(|(_, kind)| *kind == wanted)
                .map(|(name, _)| *name)
                .collect()
        };
        let measures: Vec<_> = Measure::ALL.iter().map(|measure| measure.name()).collect();
        assert_eq!(of_type(ColumnType::Float32), measures);
        for counter in Counter::ALL {
            assert!(
                COLUMNS.contains(&(counter.name(), ColumnType::Int64)),
                "{}",
                counter.name()
            );
        }
    }
}
