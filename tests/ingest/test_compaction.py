"""Compaction removes resends, marks repeats, and changes nothing else."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from autarco_ingest import compaction, schema
from rows import NOON, reading, readings, sessions

CLOCK = datetime(2026, 6, 15, 13, 59, 58)


def conformed(*chosen: dict[str, Any]) -> pa.Table:
    return schema.conform(schema.READINGS, readings(*chosen))


NOTHING = conformed()


def compacted(*chosen: dict[str, Any], before: pa.Table = NOTHING) -> list[dict[str, Any]]:
    return compaction.compact_readings(conformed(*chosen), before).to_pylist()


def test_rows_come_sorted_by_inverter_and_time() -> None:
    later = NOON + timedelta(minutes=5)
    rows = compacted(
        reading(inverter_sn="B", ts=NOON),
        reading(inverter_sn="A", ts=later),
        reading(inverter_sn="A", ts=NOON),
    )
    assert [(row["inverter_sn"], row["ts"]) for row in rows] == [
        ("A", NOON),
        ("A", later),
        ("B", NOON),
    ]


def test_of_a_resend_the_earliest_received_stays() -> None:
    original = reading(uptime_s=60, record_no=7, ac_power=100.0)
    resend = original | {
        "received_at": NOON + timedelta(hours=17),
        "historic": True,
        "source": "192.0.2.0",
    }
    (row,) = compacted(resend, original)
    assert row["received_at"] == original["received_at"]
    assert row["historic"] is False


def test_samples_of_one_instant_that_differ_all_stay() -> None:
    rows = compacted(
        reading(uptime_s=60, ac_power=100.0),
        reading(uptime_s=60, ac_power=101.0),
        reading(uptime_s=61, ac_power=100.0),
        reading(uptime_s=60, ac_power=100.0, logger_sn=4_100_000_002),
    )
    assert len(rows) == 4


def test_a_measurement_sent_again_is_a_repeat() -> None:
    cached = {"inverter_clock": CLOCK, "ac_power": 0.0}
    rows = compacted(
        *(
            reading(ts=NOON + timedelta(minutes=5 * n), uptime_s=300 * n, record_no=n, **cached)
            for n in range(3)
        ),
        reading(ts=NOON + timedelta(minutes=20), inverter_clock=CLOCK, ac_power=1.0),
        reading(ts=NOON + timedelta(minutes=25), inverter_sn="SIM0002", **cached),
    )
    assert [row["repeat"] for row in rows] == [False, True, True, False, False]


def test_without_an_inverter_clock_nothing_is_a_repeat() -> None:
    rows = compacted(
        reading(ts=NOON, ac_power=0.0), reading(ts=NOON + timedelta(minutes=5), ac_power=0.0)
    )
    assert [row["repeat"] for row in rows] == [False, False]


def test_a_repeat_is_known_over_midnight() -> None:
    cached = {"inverter_clock": CLOCK, "ac_power": 0.0}
    before = conformed(reading(ts=NOON - timedelta(minutes=5), **cached))
    rows = compacted(reading(**cached), reading(inverter_sn="SIM0002", **cached), before=before)
    assert [row["repeat"] for row in rows] == [True, False]


def test_the_newest_row_of_each_inverter() -> None:
    rows = conformed(
        reading(ac_power=1.0),
        reading(ts=NOON + timedelta(minutes=5), ac_power=2.0),
        reading(inverter_sn="SIM0002", ac_power=3.0),
    )
    found = compaction.newest_per_inverter(rows).to_pylist()
    assert sorted(row["ac_power"] for row in found) == [2.0, 3.0]


def test_other_tables_keep_every_row_in_order() -> None:
    later = {"at": NOON + timedelta(seconds=1)}
    rows = schema.conform(schema.SESSIONS, sessions(later, {"at": NOON}, {"at": NOON}))
    merged = compaction.merge(schema.SESSIONS, rows)
    assert merged.column("at").to_pylist() == [NOON, NOON, later["at"]]


def test_ranges_never_cut_an_inverter() -> None:
    serials = pa.chunked_array([["A"] * 3, ["B"] * 2, ["C"] * 9, ["D"]])
    assert compaction.serial_ranges(serials, 5) == [("A", "B"), ("C", "C"), ("D", "D")]
    assert compaction.serial_ranges(serials, 100) == [("A", "D")]
    assert compaction.serial_ranges(pa.chunked_array([[]], pa.string()), 5) == []


# --- against the rules written out one row at a time ------------------------------------------

rows_of_a_day = st.lists(
    st.builds(
        lambda sn, minute, wait, historic, record, clock, power: reading(
            inverter_sn=sn,
            ts=NOON + timedelta(minutes=minute),
            received_at=NOON + timedelta(minutes=minute, seconds=wait),
            historic=historic,
            record_no=record,
            inverter_clock=None if clock is None else CLOCK + timedelta(minutes=clock),
            ac_power=power,
        ),
        st.sampled_from("AB"),
        st.integers(0, 2),
        st.integers(0, 3),
        st.booleans(),
        st.sampled_from([None, 1]),
        st.sampled_from([None, 0, 1]),
        st.sampled_from([None, 0.0, 5.0]),
    ),
    max_size=14,
)

DELIVERY = {"received_at", "source", "historic", "repeat", "date"}
STICK = {"ts", "time_source", "logger_sn", "protocol", "sensor_type", "record_no", "uptime_s"}


def one_at_a_time(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Returns (inverter, ts, received, repeat) of what has to remain."""
    kept: list[tuple[Any, ...]] = []
    samples: set[str] = set()
    measurements: set[str] = set()
    in_order = sorted(rows, key=lambda row: (row["inverter_sn"], row["ts"], row["received_at"]))
    for row in in_order:
        sample = repr(sorted((k, v) for k, v in row.items() if k not in DELIVERY))
        if sample in samples:
            continue
        samples.add(sample)
        measured = repr(sorted((k, v) for k, v in row.items() if k not in DELIVERY | STICK))
        repeat = row["inverter_clock"] is not None and measured in measurements
        measurements.add(measured)
        kept.append((row["inverter_sn"], row["ts"], row["received_at"], repeat))
    return kept


@given(rows_of_a_day)
def test_as_one_row_at_a_time_would(rows: list[dict[str, Any]]) -> None:
    found = compacted(*rows)
    expected = one_at_a_time(rows)
    keys = [(row["inverter_sn"], row["ts"], row["received_at"]) for row in found]
    assert keys == sorted(keys)
    assert keys == sorted(row[:3] for row in expected)
    # Which of two rows with all three keys alike repeats the other is nobody's business.
    assert [sum(row["repeat"] for row in found if row["inverter_sn"] == sn) for sn in "AB"] == [
        sum(row[3] for row in expected if row[0] == sn) for sn in "AB"
    ]


@given(rows_of_a_day)
def test_its_own_result_does_not_change(rows: list[dict[str, Any]]) -> None:
    once = compaction.compact_readings(conformed(*rows), NOTHING)
    assert compaction.compact_readings(once, NOTHING).equals(once)
