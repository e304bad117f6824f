//! Solis (Ginlong) single-phase inverters behind V5 sticks: sensor types 0x0501, 0x0503, 0x0504
//! and 0x0507. Checked against 1,868 rows of the real cloud's export (0x0507) and by the identities
//! between powers (0x0503).

use super::{ClockAt, Detail, Field, Layout, Raw, StatusAt, counter, measure, number, st};
use crate::columns::{Counter::*, Measure::*};
use crate::reading::Protocol;

/// What all four share, and Sofar up to the status word.
pub(super) const BASE: &[Field] = &[
    measure(TempInverter, 37, Raw::I16Le, 10.0),
    measure(DcVoltageMppt1, 39, Raw::U16Le, 10.0),
    measure(DcVoltageMppt2, 41, Raw::U16Le, 10.0),
    measure(DcCurrentMppt1, 43, Raw::U16Le, 10.0),
    measure(DcCurrentMppt2, 45, Raw::U16Le, 10.0),
    measure(AcCurrentL1, 47, Raw::U16Le, 10.0),
    measure(AcCurrentL2, 49, Raw::U16Le, 10.0),
    measure(AcCurrentL3, 51, Raw::U16Le, 10.0),
    measure(AcVoltageL1, 53, Raw::U16Le, 10.0),
    measure(AcVoltageL2, 55, Raw::U16Le, 10.0),
    measure(AcVoltageL3, 57, Raw::U16Le, 10.0),
    measure(AcFrequency, 59, Raw::U16Le, 100.0),
    counter(EnergyTodayWh, 65, Raw::U32Le, 10),
    counter(EnergyTotalWh, 69, Raw::U32Le, 100),
];

/// The power that all send, measured only on 0x0507 and Sofar.
pub(super) const POWER: &[Field] = &[measure(AcPower, 61, Raw::U32Le, 1.0)];

/// Months of the smaller models.
pub(super) const MONTHS: &[Field] = &[
    counter(EnergyMonthWh, 86, Raw::U16Le, 1000),
    counter(EnergyLastMonthWh, 88, Raw::U16Le, 1000),
];

pub(super) const HOURS: &[Detail] = &[number("operating_hours", 73, Raw::U32Le, 1.0)];

pub(super) const MODEL: &[Detail] = &[
    number("model_code", 83, Raw::U8, 1.0),
    number("firmware_major", 84, Raw::U8, 1.0),
    number("firmware_minor", 85, Raw::U8, 1.0),
];

/// Power as the product of rounded voltage and current: 0x0503 and 0x0504 have a better one.
pub(super) const COARSE_POWER: &[Detail] = &[number("ac_power_coarse", 61, Raw::U32Le, 1.0)];

/// 0x0503 and 0x0504: waiting at night or for the grid, and generating. Standby, because where the
/// sun stands is not known here.
const GENERATING: &[(u16, u8)] = &[
    (0, st::STANDBY),
    (1, st::STARTING),
    (2, st::STARTING),
    (3, st::MPPT),
];

pub(super) const FAULTS: Option<(usize, usize)> = Some((79, 4));

/// What every layout of this file has in common; the rest is set by each.
const COMMON: Layout = Layout {
    name: "",
    protocol: Protocol::V5,
    sensor_type: 0,
    payload_bytes: (0, 0),
    base: 0,
    stick_clock: true,
    serial: (21, 16),
    fields: &[],
    details: &[],
    status: None,
    faults: FAULTS,
    clock: None,
};

pub(super) static X0501: Layout = Layout {
    name: "Solis 1-phase 0x0501",
    sensor_type: 0x0501,
    // Lengths of 115 and more are reported for inverters of another make behind sticks of this
    // family; nobody has published their bytes, so they are not read as Solis.
    payload_bytes: (92, 114),
    fields: &[BASE, POWER, MONTHS],
    details: &[HOURS, MODEL],
    // The status word of this one is always 0 and maps to nothing.
    status: Some(StatusAt {
        vendor_at: 77,
        at: 77,
        raw: Raw::U16Le,
        map: &[],
    }),
    ..COMMON
};

pub(super) static X0503: Layout = Layout {
    name: "Solis 1-phase 4G 0x0503",
    sensor_type: 0x0503,
    payload_bytes: (119, 233),
    fields: &[BASE, MONTHS, TAIL_0503],
    details: &[HOURS, MODEL, COARSE_POWER, QUIRKS_0503],
    status: Some(StatusAt {
        vendor_at: 77,
        at: 77,
        raw: Raw::U16Le,
        map: GENERATING,
    }),
    ..COMMON
};

pub(super) const TAIL_0503: &[Field] = &[
    measure(PowerLimitPct, 98, Raw::U16Le, 100.0),
    measure(AcPower, 100, Raw::U24Le, 1.0),
];

/// The firmware doubles the apparent power, and derives the other two from it: shown, not kept.
pub(super) const QUIRKS_0503: &[Detail] = &[
    number("ac_reactive_power_untrusted", 103, Raw::U24Le, 1.0),
    number("ac_apparent_power_untrusted", 106, Raw::U24Le, 1.0),
    number("power_factor_untrusted", 109, Raw::U16Le, 1000.0),
];

pub(super) static X0504: Layout = Layout {
    name: "Solis 1-phase 0x0504",
    sensor_type: 0x0504,
    payload_bytes: (124, 233),
    fields: &[BASE, MONTHS, TAIL_0504],
    details: &[HOURS, MODEL, COARSE_POWER],
    status: Some(StatusAt {
        vendor_at: 77,
        at: 77,
        raw: Raw::U16Le,
        map: GENERATING,
    }),
    ..COMMON
};

const TAIL_0504: &[Field] = &[
    measure(PowerLimitPct, 98, Raw::U16Le, 100.0),
    measure(AcPower, 100, Raw::U32Le, 1.0),
    measure(AcReactivePower, 104, Raw::U32Le, 1.0),
    measure(AcApparentPower, 108, Raw::U32Le, 1.0),
    measure(PowerFactor, 112, Raw::I16Le, 1000.0),
];

pub(super) static X0507: Layout = Layout {
    name: "Solis 1-phase mini 0x0507",
    sensor_type: 0x0507,
    payload_bytes: (233, 512),
    fields: &[BASE, POWER, TAIL_0507],
    details: &[DETAILS_0507],
    // 0x4D says 1 for normal and 2 for a lost grid; 0xE7 tells the working state.
    status: Some(StatusAt {
        vendor_at: 0x4D,
        at: 0xE7,
        raw: Raw::U16Le,
        map: &[
            (0, st::STANDBY),
            (1, st::STARTING),
            (2, st::STARTING),
            (3, st::MPPT),
        ],
    }),
    faults: Some((0x4F, 12)),
    clock: Some(ClockAt {
        at: 0x87,
        raw: Raw::U16Le,
    }),
    ..COMMON
};

const TAIL_0507: &[Field] = &[
    measure(DcBusVoltage, 0x61, Raw::U16Le, 10.0),
    measure(PowerLimitPct, 0x65, Raw::U16Le, 100.0),
    measure(PowerFactor, 0x67, Raw::I16Le, 1000.0),
    measure(DcPower, 0x69, Raw::U32Le, 1.0),
    counter(EnergyMonthWh, 0x6D, Raw::U32Le, 1000),
    counter(EnergyLastMonthWh, 0x71, Raw::U32Le, 1000),
    counter(EnergyYesterdayWh, 0x75, Raw::U16Le, 100),
    counter(EnergyYearWh, 0x77, Raw::U32Le, 1000),
    counter(EnergyLastYearWh, 0x7B, Raw::U32Le, 1000),
    measure(AcApparentPower, 0x83, Raw::U32Le, 1.0),
];

const DETAILS_0507: &[Detail] = &[
    number("operating_hours", 73, Raw::U32Le, 1.0),
    number("dc_half_bus_voltage", 0x63, Raw::U16Le, 10.0),
    number("model_code", 0x93, Raw::U16Le, 1.0),
    number("firmware_dsp", 0x95, Raw::U16Le, 1.0),
    number("firmware_hmi", 0x97, Raw::U16Le, 1.0),
    // Zero without a meter, which no byte tells apart from a balanced house: shown, not kept.
    number("grid_export_power", 0xAB, Raw::I32Le, 1.0),
    number("load_apparent_power", 0xCB, Raw::U32Le, 1.0),
    number("working_state", 0xE7, Raw::U16Le, 1.0),
];
