"""What is known of each half hour, and is a night nothing and an outage unknown?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from autarco_ingest import schema
from autarco_portal import research_energy
from autarco_portal.research import ResearchError
from autarco_portal.research_energy import Device

DAY = datetime(2025, 6, 1, tzinfo=UTC)
STEP = timedelta(minutes=5)
NEXT = timedelta(days=1)


def day_of(
    serial: str, *, day: datetime = DAY, wakes: int = 4, sleeps: int = 20, power: float = 2_000.0,
    start_wh: float = 1_000_000.0, without: tuple[int, int] | None = None,
) -> tuple[list[dict[str, object]], float]:  # fmt: skip
    """Samples of a day: `power` all day, 10 W in the first and last half hour; a silent night."""
    rows, total = [], start_wh
    at = day + timedelta(hours=wakes)
    end = day + timedelta(hours=sleeps)
    while at < end:
        at_edge = at - day < timedelta(hours=wakes, minutes=30) or end - at <= timedelta(minutes=30)
        now = 10.0 if at_edge else power
        total += now / 12
        silent = without is not None and without[0] <= (at - day) / timedelta(hours=1) < without[1]
        if not silent:
            rows.append(
                {"inverter_sn": serial, "ts": at, "ac_power": now, "energy_total_wh": int(total)}
            )
        at += STEP
    return rows, total


def table(rows: list[dict[str, object]]) -> pa.Table:
    names = ("inverter_sn", "ts", "ac_power", "energy_total_wh", "repeat")
    types = {column.name: column.type for column in schema.READINGS.columns}
    as_in_lake = pa.schema([pa.field(name, types[name]) for name in names])
    return pa.Table.from_pylist(rows, schema=as_in_lake)


def device(serial: str = "A", **changes: object) -> Device:
    facts: dict[str, object] = {
        "system": 0, "serial_number": serial, "pac0": 4_000.0, "installed_at": DAY - 30 * NEXT,
    }  # fmt: skip
    return Device(**(facts | changes))  # type: ignore[arg-type]


def three_days(serial: str, without: tuple[int, int] | None = None) -> list[dict[str, object]]:
    before, total = day_of(serial, day=DAY - NEXT)
    today, total = day_of(serial, start_wh=total, without=without)
    after, _ = day_of(serial, day=DAY + NEXT, start_wh=total)
    return [*before, *today, *after]


def test_a_whole_day_is_known_with_a_night_of_nothing() -> None:
    found = research_energy.half_hours(table(three_days("A")), [device()], DAY, DAY + NEXT)

    energy = found["energy_kwh"].to_list()
    assert len(energy) == 48
    assert energy[:8] == [0.0] * 8
    assert energy[40:] == [0.0] * 8
    assert energy[24] == pytest.approx(1.0)
    assert sum(energy) == pytest.approx(30 * 1.0 + 2 * 0.005)


def test_half_hours_of_an_outage_are_unknown() -> None:
    readings = table(three_days("A", without=(11, 13)))

    found = research_energy.half_hours(readings, [device()], DAY, DAY + NEXT)

    missing = {DAY + timedelta(hours=11 + n / 2) for n in range(4)}
    assert missing.isdisjoint(found["slot"].to_list())
    assert len(found) == 44


def test_a_missed_sample_leaves_the_half_hour_known() -> None:
    rows = [row for row in three_days("A") if row["ts"] != DAY + timedelta(hours=12, minutes=5)]

    assert len(research_energy.half_hours(table(rows), [device()], DAY, DAY + NEXT)) == 48


def test_both_inverters_must_be_known_while_they_hang_there() -> None:
    readings = table([*three_days("A"), *three_days("B", without=(11, 12))])
    both = [device("A"), device("B")]

    found = research_energy.half_hours(readings, both, DAY, DAY + NEXT)
    assert len(found) == 46
    assert max(found["energy_kwh"]) == pytest.approx(2.0)

    gone = [device("A"), device("B", uninstalled_at=DAY - 10 * NEXT)]
    found = research_energy.half_hours(readings, gone, DAY, DAY + NEXT)
    assert len(found) == 48
    assert max(found["energy_kwh"]) == pytest.approx(1.0)


def test_registers_sent_again_at_night_are_no_measurement() -> None:
    rows = three_days("A")
    again = {**rows[100], "ts": DAY + timedelta(hours=1), "ac_power": 2_000.0, "repeat": True}

    found = research_energy.half_hours(table([*rows, again]), [device()], DAY, DAY + NEXT)

    assert found["energy_kwh"][2] == 0.0


def test_other_peoples_inverters_are_left_out() -> None:
    readings = table([*three_days("A"), *three_days("Z")])

    found = research_energy.half_hours(readings, [device()], DAY, DAY + NEXT)

    assert found["system"].unique().to_list() == [0]
    assert max(found["energy_kwh"]) == pytest.approx(1.0)
    assert research_energy.half_hours(readings, [], DAY, DAY + NEXT).is_empty()


def test_a_period_must_be_one() -> None:
    for from_at, to_at in (
        (DAY, DAY),
        (DAY + timedelta(minutes=10), DAY + NEXT),
        (DAY.replace(tzinfo=None), DAY + NEXT),
    ):
        with pytest.raises(ResearchError):
            research_energy.half_hours(table([]), [device()], from_at, to_at)
