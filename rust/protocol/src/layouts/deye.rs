//! Deye micro inverters: sensor type 0x5408 (SUN-M80G3). Checked on one real frame.

use super::{ClockAt, Detail, Field, Layout, Raw, counter, measure, number, words};
use crate::columns::{Counter::*, Measure::*};
use crate::reading::Protocol;

pub(super) static X5408: Layout = Layout {
    name: "Deye micro 0x5408",
    protocol: Protocol::V5,
    sensor_type: 0x5408,
    payload_bytes: (330, 512),
    base: 0,
    stick_clock: true,
    serial: (21, 10),
    fields: &[FIELDS],
    details: &[DETAILS],
    status: None,
    faults: None,
    clock: Some(ClockAt {
        at: 245,
        raw: Raw::U8,
    }),
};

const FIELDS: &[Field] = &[
    counter(EnergyTodayWh, 33, Raw::U32Le, 10),
    counter(EnergyTotalWh, 37, Raw::U32Le, 100),
    measure(AcVoltageL1, 45, Raw::U16Le, 10.0),
    measure(AcCurrentL1, 51, Raw::U16Le, 10.0),
    measure(AcFrequency, 57, Raw::U16Le, 100.0),
    measure(AcPower, 59, Raw::U32Le, 1.0),
    measure(TempInverter, 63, Raw::I16Le, 100.0),
    measure(DcVoltageMppt1, 85, Raw::U16Le, 10.0),
    measure(DcCurrentMppt1, 87, Raw::U16Le, 10.0),
    measure(DcVoltageMppt2, 89, Raw::U16Le, 10.0),
    measure(DcCurrentMppt2, 91, Raw::U16Le, 10.0),
    measure(DcVoltageMppt3, 93, Raw::U16Le, 10.0),
    measure(DcCurrentMppt3, 95, Raw::U16Le, 10.0),
    measure(DcVoltageMppt4, 97, Raw::U16Le, 10.0),
    measure(DcCurrentMppt4, 99, Raw::U16Le, 10.0),
];

const DETAILS: &[Detail] = &[
    words("firmware_main", 101, 8),
    words("firmware_slave", 109, 8),
    words("firmware_communication", 117, 8),
    number("rated_power", 129, Raw::U16Be, 10.0),
    number("mppt_count", 131, Raw::U8, 1.0),
    number("phase_count", 132, Raw::U8, 1.0),
    number("energy_today_pv1_wh", 136, Raw::U16Le, 0.01),
    number("energy_today_pv2_wh", 138, Raw::U16Le, 0.01),
    number("energy_today_pv3_wh", 140, Raw::U16Le, 0.01),
    number("energy_today_pv4_wh", 142, Raw::U16Le, 0.01),
];
