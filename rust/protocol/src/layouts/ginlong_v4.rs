//! What V4 push frames carry: Solis and Omnik registers, big-endian, without a time.
//!
//! Offsets here are those of the whole frame, as the public descriptions give them: the payload
//! begins at 12.

use super::solis::{self, BASE, TAIL_0503};
use super::{Detail, Field, Layout, Raw, StatusAt, counter, measure, number, st, words};
use crate::columns::{Counter::*, Measure::*};
use crate::reading::Protocol;

const FRAME_TO_PAYLOAD: isize = -12;

const FIELDS: &[Field] = &[
    measure(TempInverter, 31, Raw::I16Be, 10.0),
    measure(DcVoltageMppt1, 33, Raw::U16Be, 10.0),
    measure(DcVoltageMppt2, 35, Raw::U16Be, 10.0),
    measure(DcVoltageMppt3, 37, Raw::U16Be, 10.0),
    measure(DcCurrentMppt1, 39, Raw::U16Be, 10.0),
    measure(DcCurrentMppt2, 41, Raw::U16Be, 10.0),
    measure(DcCurrentMppt3, 43, Raw::U16Be, 10.0),
    measure(AcCurrentL1, 45, Raw::U16Be, 10.0),
    measure(AcCurrentL2, 47, Raw::U16Be, 10.0),
    measure(AcCurrentL3, 49, Raw::U16Be, 10.0),
    measure(AcVoltageL1, 51, Raw::U16Be, 10.0),
    measure(AcVoltageL2, 53, Raw::U16Be, 10.0),
    measure(AcVoltageL3, 55, Raw::U16Be, 10.0),
    measure(AcFrequency, 57, Raw::U16Be, 100.0),
    counter(EnergyTodayWh, 69, Raw::U16Be, 10),
    counter(EnergyTotalWh, 71, Raw::U32Be, 100),
];

const POWER: &[Field] = &[measure(AcPower, 59, Raw::U16Be, 1.0)];

const SOLIS: &[Field] = &[
    counter(EnergyYesterdayWh, 67, Raw::U16Be, 10),
    counter(EnergyMonthWh, 87, Raw::U16Be, 1000),
    counter(EnergyLastMonthWh, 91, Raw::U16Be, 1000),
];

const MODEL: &[Detail] = &[
    number("model_code", 83, Raw::U8, 1.0),
    number("firmware_major", 84, Raw::U8, 1.0),
    number("firmware_minor", 85, Raw::U8, 1.0),
];

const SOLIS_STATUS: StatusAt = StatusAt {
    vendor_at: 79,
    at: 79,
    raw: Raw::U16Be,
    map: &[
        (0, st::STANDBY),
        (1, st::STARTING),
        (2, st::STARTING),
        (3, st::MPPT),
    ],
};

const COMMON: Layout = Layout {
    name: "",
    protocol: Protocol::V4,
    sensor_type: 0,
    payload_bytes: (0x59, 0x5F),
    base: FRAME_TO_PAYLOAD,
    stick_clock: false,
    serial: (15, 16),
    fields: &[FIELDS, POWER, SOLIS],
    details: &[MODEL],
    status: Some(SOLIS_STATUS),
    faults: None,
    clock: None,
};

pub(super) static SOLIS_0501: Layout = Layout {
    name: "Solis V4 0x0501",
    sensor_type: 0x0501,
    ..COMMON
};

pub(super) static SOLIS_0503: Layout = Layout {
    name: "Solis V4 0x0503",
    sensor_type: 0x0503,
    ..COMMON
};

/// N = 0x7C: as above, then a little-endian tail with the better active power.
pub(super) static SOLIS_0503_LONG: Layout = Layout {
    name: "Solis V4 0x0503 long",
    sensor_type: 0x0503,
    payload_bytes: (0x7C, 0x7C),
    fields: &[FIELDS, SOLIS, LONG_TAIL],
    details: &[MODEL, LONG_DETAILS],
    ..COMMON
};

const LONG_TAIL: &[Field] = &[
    measure(PowerLimitPct, 109, Raw::U16Le, 100.0),
    measure(AcPower, 111, Raw::U24Le, 1.0),
];

/// Apparent power is doubled by the firmware here too, and two values follow from it.
const LONG_DETAILS: &[Detail] = &[
    number("ac_power_coarse", 59, Raw::U16Be, 1.0),
    number("ac_reactive_power_untrusted", 114, Raw::U24Le, 1.0),
    number("ac_apparent_power_untrusted", 117, Raw::U24Le, 1.0),
    number("power_factor_untrusted", 120, Raw::U16Le, 1000.0),
    number("ac_voltage", 122, Raw::U16Le, 10.0),
    number("ac_current", 124, Raw::U16Le, 10.0),
];

/// N = 0x79: a whole V5 record of type 0x0503 inside the V4 envelope, two bytes further on.
pub(super) static WRAPPED_0503: Layout = Layout {
    name: "Solis V5 0x0503 in V4",
    sensor_type: 0x0503,
    payload_bytes: (0x79, 0x79),
    base: 2,
    stick_clock: true,
    serial: (21, 16),
    fields: &[BASE, solis::MONTHS, TAIL_0503],
    details: &[
        solis::HOURS,
        solis::MODEL,
        solis::COARSE_POWER,
        solis::QUIRKS_0503,
    ],
    faults: solis::FAULTS,
    status: Some(StatusAt {
        vendor_at: 77,
        at: 77,
        raw: Raw::U16Le,
        ..SOLIS_STATUS
    }),
    ..COMMON
};

pub(super) static GINLONG_1601: Layout = Layout {
    name: "Ginlong V4 0x1601",
    sensor_type: 0x1601,
    payload_bytes: (0x59, 0xFF),
    fields: &[FIELDS, POWER],
    details: &[],
    // Not established what its status word means.
    status: Some(StatusAt {
        map: &[],
        ..SOLIS_STATUS
    }),
    ..COMMON
};

pub(super) static OMNIK_0102: Layout = Layout {
    name: "Omnik V4 0x0102",
    sensor_type: 0x0102,
    payload_bytes: (0x59, 0xFF),
    fields: &[FIELDS, OMNIK_POWER],
    details: &[OMNIK_DETAILS],
    status: Some(StatusAt {
        map: &[(0, st::STANDBY), (1, st::MPPT)],
        ..SOLIS_STATUS
    }),
    faults: Some((81, 12)),
    ..COMMON
};

/// Frequency and power stand in pairs, one pair per phase; 0x0102 alone uses all three, where Solis
/// has yesterday's energy in the place of the last.
const OMNIK_POWER: &[Field] = &[measure(AcPower, 59, Raw::PhaseSumU16Be, 1.0)];

const OMNIK_DETAILS: &[Detail] = &[
    number("ac_power_l1", 59, Raw::U16Be, 1.0),
    number("ac_power_l2", 63, Raw::U16Be, 1.0),
    number("ac_power_l3", 67, Raw::U16Be, 1.0),
    number("operating_hours", 75, Raw::U32Be, 1.0),
    // Only the longer forms reach this far.
    words("firmware_main", 101, 20),
    words("firmware_slave", 121, 20),
];
