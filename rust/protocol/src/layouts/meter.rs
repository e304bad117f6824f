//! The three-phase smart meter behind a stick: sensor type 0xE025, big-endian registers. Every
//! value of the one real frame equals the cloud's own decode.
//!
//! A meter is no inverter: its power is grid power and its register grid energy, so that no sum over
//! a fleet counts a household's consumption as generation. The register counts both directions
//! together; which of the two that follow is which is not established, so they are shown only.

use super::{Detail, Field, Layout, Raw, counter, measure, number};
use crate::columns::{Counter::*, Measure::*};
use crate::reading::Protocol;

pub(super) static XE025: Layout = Layout {
    name: "three-phase meter 0xE025",
    protocol: Protocol::V5,
    sensor_type: 0xE025,
    payload_bytes: (186, 256),
    base: 0,
    stick_clock: true,
    serial: (21, 16),
    fields: &[FIELDS],
    details: &[DETAILS],
    status: None,
    faults: None,
    clock: None,
};

const FIELDS: &[Field] = &[
    measure(AcVoltageL1, 38, Raw::U16Be, 10.0),
    measure(AcVoltageL2, 40, Raw::U16Be, 10.0),
    measure(AcVoltageL3, 42, Raw::U16Be, 10.0),
    measure(AcCurrentL1, 50, Raw::U32Be, 1000.0),
    measure(AcCurrentL2, 54, Raw::U32Be, 1000.0),
    measure(AcCurrentL3, 58, Raw::U32Be, 1000.0),
    measure(GridPower, 62, Raw::I32Be, 1.0),
    measure(AcReactivePower, 78, Raw::I32Be, 1.0),
    measure(AcApparentPower, 94, Raw::U32Be, 1.0),
    measure(PowerFactor, 110, Raw::I16Be, 1000.0),
    measure(AcFrequency, 118, Raw::U16Be, 100.0),
    counter(GridEnergyTotalWh, 120, Raw::U32Be, 10),
];

const DETAILS: &[Detail] = &[
    number("grid_power_l1", 66, Raw::I32Be, 1.0),
    number("grid_power_l2", 70, Raw::I32Be, 1.0),
    number("grid_power_l3", 74, Raw::I32Be, 1.0),
    number("ac_reactive_power_l1", 82, Raw::I32Be, 1.0),
    number("ac_reactive_power_l2", 86, Raw::I32Be, 1.0),
    number("ac_reactive_power_l3", 90, Raw::I32Be, 1.0),
    number("ac_apparent_power_l1", 98, Raw::U32Be, 1.0),
    number("ac_apparent_power_l2", 102, Raw::U32Be, 1.0),
    number("ac_apparent_power_l3", 106, Raw::U32Be, 1.0),
    number("power_factor_l1", 112, Raw::I16Be, 1000.0),
    number("power_factor_l2", 114, Raw::I16Be, 1000.0),
    number("power_factor_l3", 116, Raw::I16Be, 1000.0),
    number("grid_energy_first_wh", 124, Raw::U32Be, 0.1),
    number("grid_energy_second_wh", 128, Raw::U32Be, 0.1),
];
