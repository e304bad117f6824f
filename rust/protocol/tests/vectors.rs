//! Does each layout read the bytes that the published descriptions give it, and no others?
//!
//! The offsets, widths and scales here are written a second time, by hand and not taken from the
//! tables under test: a slip in one of the two shows.

mod common;

use std::collections::BTreeMap;

use autarco_protocol::describe::describe;
use autarco_protocol::zone::Zone;
use autarco_protocol::{v4, v5};
use common::{LOGGER_SN, SAMPLE_S, WORKING_TIME_S, context, only};
use serde_json::Value;

/// Where a number stands, in how many bytes, and what it is there and in the table.
type Number = (usize, Bytes, i64, &'static str, f64);

#[derive(Clone, Copy)]
enum Bytes {
    Le(usize),
    Be(usize),
}

use Bytes::{Be, Le};

fn put(payload: &mut [u8], at: usize, bytes: Bytes, value: i64) {
    match bytes {
        Le(width) => payload[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]),
        Be(width) => payload[at..at + width].copy_from_slice(&value.to_be_bytes()[8 - width..]),
    }
}

/// Registers 37 to 72, the same on all Solis V5 and Sofar.
const BASE: &[Number] = &[
    (37, Le(2), -123, "temp_inverter", -12.3),
    (39, Le(2), 3_456, "dc_voltage_mppt1", 345.6),
    (41, Le(2), 3_457, "dc_voltage_mppt2", 345.7),
    (43, Le(2), 81, "dc_current_mppt1", 8.1),
    (45, Le(2), 82, "dc_current_mppt2", 8.2),
    (47, Le(2), 301, "ac_current_l1", 30.1),
    (49, Le(2), 302, "ac_current_l2", 30.2),
    (51, Le(2), 303, "ac_current_l3", 30.3),
    (53, Le(2), 2_381, "ac_voltage_l1", 238.1),
    (55, Le(2), 2_382, "ac_voltage_l2", 238.2),
    (57, Le(2), 2_383, "ac_voltage_l3", 238.3),
    (59, Le(2), 4_998, "ac_frequency", 49.98),
    (65, Le(4), 70_001, "energy_today_wh", 700_010.0),
    (69, Le(4), 400_651, "energy_total_wh", 40_065_100.0),
];

const POWER: &[Number] = &[(61, Le(4), 70_000, "ac_power", 70_000.0)];

const MONTHS: &[Number] = &[
    (86, Le(2), 312, "energy_month_wh", 312_000.0),
    (88, Le(2), 313, "energy_last_month_wh", 313_000.0),
];

struct Vector {
    sensor_type: i64,
    bytes: usize,
    columns: &'static [&'static [Number]],
    details: &'static [Number],
    /// Other bytes, and the columns that come of them.
    rest: &'static [(usize, Bytes, i64)],
    status: Option<(u8, u16)>,
    faults: Option<&'static str>,
    clock: Option<&'static str>,
}

const V5_VECTORS: &[Vector] = &[
    Vector {
        sensor_type: 0x0501,
        bytes: 92,
        columns: &[BASE, POWER, MONTHS],
        details: &[(83, Le(1), 0xBE, "model_code", 190.0)],
        rest: &[(77, Le(2), 3), (79, Le(4), 0x0403_0201)],
        status: None,
        faults: Some("01020304"),
        clock: None,
    },
    Vector {
        sensor_type: 0x0503,
        bytes: 119,
        columns: &[
            BASE,
            MONTHS,
            &[
                (98, Le(2), 10_000, "power_limit_pct", 100.0),
                (100, Le(3), 70_002, "ac_power", 70_002.0),
            ],
        ],
        details: &[
            (61, Le(4), 70_000, "ac_power_coarse", 70_000.0),
            (103, Le(3), 65_537, "ac_reactive_power_untrusted", 65_537.0),
            (
                106,
                Le(3),
                140_000,
                "ac_apparent_power_untrusted",
                140_000.0,
            ),
            (109, Le(2), 499, "power_factor_untrusted", 0.499),
        ],
        rest: &[(77, Le(2), 3)],
        status: Some((4, 3)),
        faults: Some("00000000"),
        clock: None,
    },
    Vector {
        sensor_type: 0x0504,
        bytes: 124,
        columns: &[
            BASE,
            MONTHS,
            &[
                (98, Le(2), 9_950, "power_limit_pct", 99.5),
                (100, Le(4), 70_002, "ac_power", 70_002.0),
                (104, Le(4), 70_003, "ac_reactive_power", 70_003.0),
                (108, Le(4), 70_004, "ac_apparent_power", 70_004.0),
                (112, Le(2), 991, "power_factor", 0.991),
            ],
        ],
        details: &[(61, Le(4), 70_000, "ac_power_coarse", 70_000.0)],
        rest: &[(77, Le(2), 0)],
        status: Some((8, 0)),
        faults: Some("00000000"),
        clock: None,
    },
    Vector {
        sensor_type: 0x0507,
        bytes: 233,
        columns: &[
            BASE,
            POWER,
            &[
                (0x61, Le(2), 3_801, "dc_bus_voltage", 380.1),
                (0x65, Le(2), 11_000, "power_limit_pct", 110.0),
                (0x67, Le(2), -987, "power_factor", -0.987),
                (0x69, Le(4), 72_000, "dc_power", 72_000.0),
                (0x6D, Le(4), 70_001, "energy_month_wh", 70_001_000.0),
                (0x71, Le(4), 70_002, "energy_last_month_wh", 70_002_000.0),
                (0x75, Le(2), 57, "energy_yesterday_wh", 5_700.0),
                (0x77, Le(4), 70_003, "energy_year_wh", 70_003_000.0),
                (0x7B, Le(4), 70_004, "energy_last_year_wh", 70_004_000.0),
                (0x83, Le(4), 71_000, "ac_apparent_power", 71_000.0),
            ],
        ],
        details: &[
            (0x63, Le(2), 1_901, "dc_half_bus_voltage", 190.1),
            (0x93, Le(2), 0xE3, "model_code", 227.0),
            (0xAB, Le(4), -70_005, "grid_export_power", -70_005.0),
            (0xCB, Le(4), 70_006, "load_apparent_power", 70_006.0),
        ],
        rest: &[
            (0x4D, Le(2), 1),
            (0x4F, Le(4), 0x0403_0201),
            (0x57, Le(4), 0x0807_0605),
            (0xE7, Le(2), 3),
            (0x87, Le(2), 26),
            (0x89, Le(2), 6),
            (0x8B, Le(2), 1),
            (0x8D, Le(2), 13),
            (0x8F, Le(2), 59),
            (0x91, Le(2), 58),
        ],
        status: Some((4, 1)),
        faults: Some("010203040000000005060708"),
        clock: Some("2026-06-01T13:59:58"),
    },
    Vector {
        sensor_type: 0x2701,
        bytes: 151,
        columns: &[BASE, POWER, &[(103, Le(2), 6_241, "dc_bus_voltage", 624.1)]],
        details: &[
            (73, Le(4), 70_001, "operating_hours", 70_001.0),
            (101, Le(2), -5, "temp_heat_sink", -5.0),
        ],
        rest: &[
            (77, Le(2), 2),
            (79, Le(2), 0x0201),
            (141, Le(6), 0x3A3B_0D01_061A),
        ],
        status: Some((4, 2)),
        faults: Some("01020000000000000000"),
        clock: Some("2026-06-01T13:59:58"),
    },
    Vector {
        sensor_type: 0x5408,
        bytes: 330,
        columns: &[&[
            (33, Le(4), 70_001, "energy_today_wh", 700_010.0),
            (37, Le(4), 400_651, "energy_total_wh", 40_065_100.0),
            (45, Le(2), 2_320, "ac_voltage_l1", 232.0),
            (51, Le(2), 31, "ac_current_l1", 3.1),
            (57, Le(2), 5_010, "ac_frequency", 50.1),
            (59, Le(4), 70_000, "ac_power", 70_000.0),
            (63, Le(2), -1_234, "temp_inverter", -12.34),
            (85, Le(2), 401, "dc_voltage_mppt1", 40.1),
            (87, Le(2), 91, "dc_current_mppt1", 9.1),
            (89, Le(2), 402, "dc_voltage_mppt2", 40.2),
            (91, Le(2), 92, "dc_current_mppt2", 9.2),
            (93, Le(2), 403, "dc_voltage_mppt3", 40.3),
            (95, Le(2), 93, "dc_current_mppt3", 9.3),
            (97, Le(2), 404, "dc_voltage_mppt4", 40.4),
            (99, Le(2), 94, "dc_current_mppt4", 9.4),
        ]],
        details: &[
            (129, Be(2), 8_000, "rated_power", 800.0),
            (132, Le(1), 1, "phase_count", 1.0),
            (142, Le(2), 7, "energy_today_pv4_wh", 700.0),
        ],
        rest: &[(245, Le(6), 0x3A3B_0D01_061A)],
        status: None,
        faults: None,
        clock: Some("2026-06-01T13:59:58"),
    },
    Vector {
        sensor_type: 0xE025,
        bytes: 186,
        columns: &[&[
            (38, Be(2), 2_311, "ac_voltage_l1", 231.1),
            (40, Be(2), 2_312, "ac_voltage_l2", 231.2),
            (42, Be(2), 2_313, "ac_voltage_l3", 231.3),
            (50, Be(4), 70_001, "ac_current_l1", 70.001),
            (54, Be(4), 70_002, "ac_current_l2", 70.002),
            (58, Be(4), 70_003, "ac_current_l3", 70.003),
            (62, Be(4), -70_004, "grid_power", -70_004.0),
            (78, Be(4), -70_005, "ac_reactive_power", -70_005.0),
            (94, Be(4), 70_006, "ac_apparent_power", 70_006.0),
            (110, Be(2), 801, "power_factor", 0.801),
            (118, Be(2), 5_002, "ac_frequency", 50.02),
            (120, Be(4), 2_172_634, "grid_energy_total_wh", 21_726_340.0),
        ]],
        details: &[
            (66, Be(4), -888, "grid_power_l1", -888.0),
            (106, Be(4), 596, "ac_apparent_power_l3", 596.0),
            (116, Be(2), 781, "power_factor_l3", 0.781),
            (124, Be(4), 70_001, "grid_energy_first_wh", 700_010.0),
        ],
        rest: &[],
        status: None,
        faults: None,
        clock: None,
    },
];

/// Frame offsets, as V4 is described: its payload begins at 12.
const V4_BASE: &[Number] = &[
    (31, Be(2), -123, "temp_inverter", -12.3),
    (33, Be(2), 3_456, "dc_voltage_mppt1", 345.6),
    (35, Be(2), 3_457, "dc_voltage_mppt2", 345.7),
    (37, Be(2), 3_458, "dc_voltage_mppt3", 345.8),
    (39, Be(2), 81, "dc_current_mppt1", 8.1),
    (41, Be(2), 82, "dc_current_mppt2", 8.2),
    (43, Be(2), 83, "dc_current_mppt3", 8.3),
    (45, Be(2), 301, "ac_current_l1", 30.1),
    (47, Be(2), 302, "ac_current_l2", 30.2),
    (49, Be(2), 303, "ac_current_l3", 30.3),
    (51, Be(2), 2_381, "ac_voltage_l1", 238.1),
    (53, Be(2), 2_382, "ac_voltage_l2", 238.2),
    (55, Be(2), 2_383, "ac_voltage_l3", 238.3),
    (57, Be(2), 4_998, "ac_frequency", 49.98),
    (69, Be(2), 431, "energy_today_wh", 4_310.0),
    (71, Be(4), 400_651, "energy_total_wh", 40_065_100.0),
];

const V4_POWER: &[Number] = &[(59, Be(2), 1_034, "ac_power", 1_034.0)];

const V4_SOLIS: &[Number] = &[
    (67, Be(2), 521, "energy_yesterday_wh", 5_210.0),
    (87, Be(2), 312, "energy_month_wh", 312_000.0),
    (91, Be(2), 313, "energy_last_month_wh", 313_000.0),
];

const V4_SHORT: Vector = Vector {
    sensor_type: 0x0501,
    bytes: 0x59,
    columns: &[V4_BASE, V4_POWER, V4_SOLIS],
    details: &[(83, Be(1), 0x11, "model_code", 17.0)],
    rest: &[(79, Be(2), 3)],
    status: Some((4, 3)),
    faults: None,
    clock: None,
};

const V4_VECTORS: &[Vector] = &[
    V4_SHORT,
    Vector {
        sensor_type: 0x0503,
        ..V4_SHORT
    },
    Vector {
        sensor_type: 0x0503,
        bytes: 0x7C,
        columns: &[
            V4_BASE,
            V4_SOLIS,
            &[
                (109, Le(2), 10_000, "power_limit_pct", 100.0),
                (111, Le(3), 70_002, "ac_power", 70_002.0),
            ],
        ],
        details: &[
            (59, Be(2), 1_034, "ac_power_coarse", 1_034.0),
            (114, Le(3), 70_003, "ac_reactive_power_untrusted", 70_003.0),
            (117, Le(3), 70_004, "ac_apparent_power_untrusted", 70_004.0),
            (120, Le(2), 499, "power_factor_untrusted", 0.499),
            (122, Le(2), 2_384, "ac_voltage", 238.4),
            (124, Le(2), 304, "ac_current", 30.4),
        ],
        ..V4_SHORT
    },
    Vector {
        sensor_type: 0x1601,
        columns: &[V4_BASE, V4_POWER],
        details: &[],
        status: None,
        ..V4_SHORT
    },
    Vector {
        sensor_type: 0x0102,
        bytes: 0xA0,
        columns: &[
            V4_BASE,
            &[(59, Be(2), 1_034, "ac_power", 1_034.0 + 902.0 + 803.0)],
        ],
        details: &[
            (63, Be(2), 902, "ac_power_l2", 902.0),
            (67, Be(2), 803, "ac_power_l3", 803.0),
            (75, Be(4), 70_001, "operating_hours", 70_001.0),
        ],
        rest: &[(79, Be(2), 1), (81, Be(4), 0x0102_0304)],
        status: Some((4, 1)),
        faults: Some("010203040000000000000000"),
        ..V4_SHORT
    },
];

/// Columns that say where a reading comes from, not what was measured.
const OTHER_KEYS: &[&str] = &[
    "protocol",
    "kind",
    "logger_sn",
    "sensor_type",
    "ts",
    "time_source",
    "inverter_sn",
    "historic",
    "record_no",
    "uptime_s",
    "status",
    "status_vendor",
    "fault_vendor",
    "inverter_clock",
    "phase_slot",
    "detail",
];

fn fill(payload: &mut [u8], vector: &Vector, origin: usize) {
    let numbers = vector.columns.iter().copied().flatten();
    for &(at, bytes, wire, ..) in numbers.chain(vector.details) {
        put(payload, at - origin, bytes, wire);
    }
    for &(at, bytes, wire) in vector.rest {
        put(payload, at - origin, bytes, wire);
    }
}

/// The common head of a V5 record: time, device, record number and serial.
fn fill_head(payload: &mut [u8], serial_bytes: usize) {
    put(payload, 3, Le(4), i64::from(WORKING_TIME_S));
    put(payload, 7, Le(4), 70_777);
    put(payload, 11, Le(4), i64::from(SAMPLE_S - WORKING_TIME_S));
    put(payload, 17, Le(4), 70_042);
    payload[21..21 + serial_bytes].fill(b' ');
    payload[21..29].copy_from_slice(b"TEST0001");
}

fn assert_reads(bytes: &[u8], vector: &Vector) -> serde_json::Map<String, Value> {
    let zone = Zone::named("Europe/Amsterdam").unwrap();
    let found = describe(&only(bytes), &context(&zone));
    let label = format!(
        "{:#06x} of {} bytes: {found:?}",
        vector.sensor_type, vector.bytes
    );
    let expected: BTreeMap<&str, f64> = vector
        .columns
        .iter()
        .copied()
        .flatten()
        .map(|&(_, _, _, name, value)| (name, value))
        .collect();
    let measured: BTreeMap<&str, f64> = found
        .iter()
        .filter(|(key, _)| !OTHER_KEYS.contains(&key.as_str()))
        .filter_map(|(key, value)| Some((key.as_str(), value.as_f64()?)))
        .collect();
    assert_eq!(measured, expected, "{label}");
    for &(_, _, _, name, value) in vector.details {
        assert_eq!(
            found["detail"][name].as_f64(),
            Some(value),
            "{name} {label}"
        );
    }
    let text = |key: &str| found.get(key).and_then(Value::as_str);
    let status = found.get("status").and_then(Value::as_u64);
    assert_eq!(
        status,
        vector.status.map(|(state, _)| u64::from(state)),
        "{label}"
    );
    if let Some((_, vendor)) = vector.status {
        assert_eq!(found["status_vendor"], vendor, "{label}");
    }
    assert_eq!(text("fault_vendor"), vector.faults, "{label}");
    assert_eq!(text("inverter_clock"), vector.clock, "{label}");
    assert_eq!(text("inverter_sn"), Some("TEST0001"), "{label}");
    found
}

fn assert_has_head(found: &serde_json::Map<String, Value>) {
    assert_eq!(found["ts"], "2026-06-01T12:00:00Z");
    assert_eq!(found["time_source"], "stick");
    assert_eq!(
        (&found["uptime_s"], &found["record_no"]),
        (&70_777.into(), &70_042.into())
    );
}

#[test]
fn v5_layouts_read_what_is_described() {
    for vector in V5_VECTORS {
        let mut payload = vec![0; vector.bytes];
        payload[0] = 1;
        put(&mut payload, 1, Le(2), vector.sensor_type);
        // The micro inverter's serial is shorter: registers begin behind it.
        fill_head(
            &mut payload,
            if vector.sensor_type == 0x5408 { 10 } else { 16 },
        );
        fill(&mut payload, vector, 0);
        let found = assert_reads(&v5::encode(v5::DATA, 3, 4, LOGGER_SN, &payload), vector);
        assert_has_head(&found);
    }
}

#[test]
fn v4_layouts_read_what_is_described() {
    for vector in V4_VECTORS {
        let mut payload = vec![0; vector.bytes];
        payload[0] = 0x81;
        put(&mut payload, 1, Le(2), vector.sensor_type);
        payload[3..19].copy_from_slice(b"TEST0001        ");
        fill(&mut payload, vector, 12);
        let bytes = v4::encode([0x51, 0xB0], LOGGER_SN, &payload);
        let found = assert_reads(&bytes, vector);
        assert_eq!(found["time_source"], "received");
    }
}

#[test]
fn a_v5_record_inside_a_v4_frame_is_read_two_bytes_on() {
    let vector = V5_VECTORS
        .iter()
        .find(|vector| vector.sensor_type == 0x0503);
    let vector = vector.expect("the record that is wrapped");
    let mut record = vec![0; vector.bytes];
    put(&mut record, 1, Le(2), vector.sensor_type);
    fill_head(&mut record, 16);
    fill(&mut record, vector, 0);
    // Byte 0 of the record is not sent: its offset 1 stands at frame offset 15.
    let payload = [&[0x81, 0x03, 0x05], &record[1..]].concat();
    assert_eq!(payload.len(), 0x79);
    let bytes = v4::encode([0x51, 0xB0], LOGGER_SN, &payload);
    assert_has_head(&assert_reads(&bytes, vector));
}

#[test]
fn the_older_sofar_form_ends_before_its_clock() {
    let vector = V5_VECTORS
        .iter()
        .find(|vector| vector.sensor_type == 0x2701);
    let vector = vector.expect("Sofar");
    let mut payload = vec![0; vector.bytes];
    payload[0] = 1;
    put(&mut payload, 1, Le(2), vector.sensor_type);
    fill_head(&mut payload, 16);
    fill(&mut payload, vector, 0);
    payload.truncate(141);
    let older = Vector {
        bytes: 141,
        clock: None,
        ..*vector
    };
    assert_reads(&v5::encode(v5::DATA, 3, 4, LOGGER_SN, &payload), &older);
}
