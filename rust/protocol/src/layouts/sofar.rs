//! Sofar three-phase inverters: sensor type 0x2701 (KTL-X), in a form of 141 and one of 151 bytes.

use super::solis::{BASE, HOURS, POWER};
use super::{ClockAt, Detail, Field, Layout, Raw, StatusAt, measure, number, st, words};
use crate::columns::Measure::DcBusVoltage;
use crate::reading::Protocol;

pub(super) static X2701: Layout = Layout {
    name: "Sofar KTL-X 0x2701",
    protocol: Protocol::V5,
    sensor_type: 0x2701,
    payload_bytes: (141, 160),
    base: 0,
    stick_clock: true,
    serial: (21, 16),
    fields: &[BASE, POWER, BUS],
    details: &[HOURS, DETAILS],
    status: Some(StatusAt {
        vendor_at: 77,
        at: 77,
        raw: Raw::U16Le,
        map: &[
            (0, st::STANDBY),
            (1, st::STARTING),
            (2, st::MPPT),
            (3, st::FAULT),
            (4, st::FAULT),
        ],
    }),
    faults: Some((79, 10)),
    // Behind the end of the older, shorter form, where it then is absent.
    clock: Some(ClockAt {
        at: 141,
        raw: Raw::U8,
    }),
};

const BUS: &[Field] = &[measure(DcBusVoltage, 103, Raw::U16Le, 10.0)];

const DETAILS: &[Detail] = &[
    number("alert", 89, Raw::U16Le, 1.0),
    words("firmware", 93, 4),
    words("hardware", 97, 4),
    number("temp_heat_sink", 101, Raw::I16Le, 1.0),
    number("countdown_s", 109, Raw::U16Le, 1.0),
    number("insulation_pv1_kohm", 113, Raw::U16Le, 1.0),
    number("insulation_pv2_kohm", 115, Raw::U16Le, 1.0),
    number("insulation_cathode_kohm", 117, Raw::U16Le, 1.0),
    number("country_code", 119, Raw::U16Le, 1.0),
    number("leakage_current_ma", 125, Raw::U16Le, 1.0),
];
