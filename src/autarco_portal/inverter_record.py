"""What does the portal know of one inverter when somebody looks: its counter, flows and quarters?

Quarters of the last days, summaries of the days before, and an anchor for all that is older. From
these follow, at any moment, the energy made since the beginning, which never falls, and what flowed
through meter and battery. Pure.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from autarco_portal.counter import clean_counter, instant
from autarco_portal.energy import made_wh
from autarco_portal.quarters import FLOWS, SAMPLES

if TYPE_CHECKING:
    import polars as pl

    from autarco_portal.counter import Counter, Floats, Instants

STALE_US = 1_800_000_000
"""After half an hour without a measurement an inverter gives nothing that we know of."""
FAULT = 7
"""Code of the readings' column `status`."""
GRID_VOLTAGE_MIN = 100.0
"""V; below, there is no grid to feed."""
_EPOCH_DAY = date(1970, 1, 1).toordinal()


class Anchor(msgspec.Struct, frozen=True, kw_only=True):
    """What came before the oldest summary of an inverter."""

    first_us: int
    """When the first sample ever was taken."""
    at_us: int
    register_wh: float
    """The last believed value of its counter."""
    first_wh: float
    """What the counter showed at first."""
    made_wh: float
    """Since then."""
    flows_wh: tuple[float, ...] = (0.0,) * len(FLOWS)


class Latest(msgspec.Struct, frozen=True, kw_only=True):
    """The newest reading of an inverter."""

    at_us: int
    inverter_clock: datetime | None = None
    ac_power: float | None = None
    battery_power: float | None = None
    battery_soc_pct: float | None = None
    grid_power: float | None = None
    load_power: float | None = None
    energy_total_wh: int | None = None
    ac_voltage: float | None = None
    """V of the highest phase."""
    status: int | None = None
    fault_vendor: str | None = None


class Quarters(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """`quarters.QUARTER_SCHEMA` of one inverter as arrays, NaN where nothing was measured."""

    quarter_us: Instants
    last_at_us: Instants
    values: dict[str, Floats]
    """By column name: ac_power, battery_power, grid_power, load_power, battery_soc_pct."""
    clock: datetime | None = None
    """The inverter's clock in the newest quarter."""
    counter_at_us: Instants
    counter_wh: Floats


class Days(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """`quarters.SUMMARY_SCHEMA` of one inverter as arrays, in order of days."""

    ordinal: Instants
    """Of the local day, as date.toordinal."""
    sample_at_us: Instants
    sample_wh: Floats
    flows_wh: Floats
    """One row for each of FLOWS; NaN where nothing measured it."""


class InverterRecord(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """All of one inverter; a summary of today is among `days`."""

    serial_number: str
    pac0: float
    """W."""
    is_replacement: bool = False
    """It came for another one: what its counter showed by then was not made here."""
    is_gone: bool = False
    """It was taken down: its counter counts, it is neither asked for power nor missed."""
    latest: Latest | None = None
    quarters: Quarters
    days: Days
    anchor: Anchor | None = None

    def counter(self) -> Counter:
        """Returns the believed samples of anchor, days and quarters."""
        found = [
            (self.days.sample_at_us, self.days.sample_wh),
            (self.quarters.counter_at_us, self.quarters.counter_wh),
        ]
        if self.latest is not None and self.latest.energy_total_wh:
            newest = float(self.latest.energy_total_wh)
            found.append((np.array([self.latest.at_us]), np.array([newest])))
        at = np.concatenate([at for at, _ in found])
        level = np.concatenate([level for _, level in found])
        if self.anchor is not None:
            # It stands for all that came before, of which the quarters may hold some again.
            later = at > self.anchor.at_us
            at = np.append(self.anchor.at_us, at[later])
            level = np.append(self.anchor.register_wh, level[later])
        return clean_counter(
            at,
            level,
            serial_number=self.serial_number,
            pac0=self.pac0,
        )

    def first_us(self) -> int | None:
        """Returns when the first sample of its counter was taken."""
        if self.anchor is not None:
            return self.anchor.first_us
        found = [*self.days.sample_at_us[:1], *self.quarters.counter_at_us[:1]]
        return int(min(found)) if found else None

    def first_wh(self, counter: Counter) -> float:
        """Returns what the counter showed before anything of it is known here."""
        if self.anchor is not None:
            return self.anchor.first_wh
        return float(counter.register_wh[0]) if len(counter.register_wh) else 0.0

    def made(self, counter: Counter, at_us: Instants) -> Floats:
        """Returns Wh made since the first sample ever, at any moments after the anchor."""
        before = self.anchor.made_wh if self.anchor is not None else 0.0
        return before + made_wh(counter, at_us)

    def measured_at_us(self) -> int | None:
        """Returns when it last measured anything anew, None if never.

        A sleeping inverter's stick sends its last registers again, with the same clock in them.
        """
        newest = int(self.quarters.last_at_us[-1]) if len(self.quarters.last_at_us) else None
        if self.latest is None:
            return newest
        clock = self.latest.inverter_clock
        if newest is not None and clock is not None and clock == self.quarters.clock:
            return newest
        return self.latest.at_us

    def is_live(self, now_us: int) -> bool:
        """Whether what it last said is about now."""
        at_us = self.measured_at_us()
        return not self.is_gone and at_us is not None and now_us - at_us <= STALE_US

    def grid_is_off(self, now_us: int) -> bool:
        """Whether it runs and sees no voltage of the grid."""
        found = self.latest
        return (
            found is not None
            and self.is_live(now_us)
            and found.ac_voltage is not None
            and found.ac_voltage < GRID_VOLTAGE_MIN
            and not found.ac_power
        )


def between(record: InverterRecord, begin_us: int, end_us: int) -> InverterRecord:
    """Returns a record as of the time at one place, from `days` that reach back to its start.

    An inverter that hung elsewhere before or after made nothing here then. There is no anchor: it
    would stand for all places. The flows of `days` are taken as they are: of whole days.
    """

    def inside(at: Instants) -> Any:
        return (at >= begin_us) & (at < end_us)

    sampled = inside(record.days.sample_at_us)
    newest = record.latest
    return msgspec.structs.replace(
        record,
        anchor=None,
        latest=newest if newest is not None and begin_us <= newest.at_us < end_us else None,
        quarters=quarters_within(record.quarters, begin_us, end_us),
        days=msgspec.structs.replace(
            record.days,
            sample_at_us=record.days.sample_at_us[sampled],
            sample_wh=record.days.sample_wh[sampled],
        ),
    )


def quarters_within(quarters: Quarters, begin_us: int, end_us: int) -> Quarters:
    """Returns the quarters that begin in a span, and the samples of the counter in it."""
    here = (quarters.quarter_us >= begin_us) & (quarters.quarter_us < end_us)
    counted = (quarters.counter_at_us >= begin_us) & (quarters.counter_at_us < end_us)
    return msgspec.structs.replace(
        quarters,
        quarter_us=quarters.quarter_us[here],
        last_at_us=quarters.last_at_us[here],
        values={name: values[here] for name, values in quarters.values.items()},
        counter_at_us=quarters.counter_at_us[counted],
        counter_wh=quarters.counter_wh[counted],
    )


def anchor(counter: Counter, flows_wh: tuple[float, ...], before: Anchor | None) -> Anchor | None:
    """Returns the anchor after all of `counter`, which begins with the one before; None if empty.

    `flows_wh` are the flows of the days that the anchor now stands for.
    """
    if not len(counter.at_us):
        return before
    made = float(counter.made_wh[-1]) + (before.made_wh if before is not None else 0.0)
    earlier = before.flows_wh if before is not None else (0.0,) * len(FLOWS)
    return Anchor(
        first_us=before.first_us if before is not None else int(counter.at_us[0]),
        at_us=int(counter.at_us[-1]),
        register_wh=float(counter.register_wh[-1]),
        first_wh=before.first_wh if before is not None else float(counter.register_wh[0]),
        made_wh=made,
        flows_wh=tuple(a + b for a, b in zip(earlier, flows_wh, strict=True)),
    )


def latest(row: dict[str, Any]) -> Latest:
    """Returns the newest reading from a row with the columns of `schema.READINGS`."""
    volts = [row[f"ac_voltage_l{n}"] for n in (1, 2, 3)]
    known = [volt for volt in volts if volt is not None]
    return Latest(
        at_us=instant(row["ts"]),
        ac_voltage=max(known, default=None),
        **{
            name: row[name]
            for name in Latest.__struct_fields__
            if name not in {"at_us", "ac_voltage"}
        },
    )


def quarters_of(frame: pl.DataFrame) -> Quarters:
    """Returns the arrays of one inverter's quarters, in order."""
    columns = quarter_columns(frame)
    return quarters_between(frame, columns, 0, frame.height)


def quarter_columns(frame: pl.DataFrame) -> dict[str, Any]:
    """Returns the columns of many inverters' quarters as arrays, to take parts of."""
    at = {
        name: frame[name].to_physical().to_numpy() for name in ("quarter", "last_at", "counter_at")
    }
    names = ("ac_power", "battery_power", "grid_power", "load_power", "battery_soc_pct")
    values = {name: frame[name].fill_null(float("nan")).to_numpy() for name in names}
    counted = frame["energy_total_wh"].cast(float).fill_null(float("nan")).to_numpy()
    return at | values | {"energy_total_wh": counted}


def quarters_between(
    frame: pl.DataFrame, columns: dict[str, Any], begin: int, end: int
) -> Quarters:
    """Returns the rows of one inverter, `begin` before `end`, of `quarter_columns`."""
    part = {name: column[begin:end] for name, column in columns.items()}
    counted = np.isfinite(part["energy_total_wh"])
    return Quarters(
        quarter_us=part["quarter"],
        last_at_us=part["last_at"],
        values={name: part[name] for name in _VALUES},
        clock=frame["inverter_clock"][end - 1] if end > begin else None,
        counter_at_us=part["counter_at"][counted].astype(np.int64),
        counter_wh=part["energy_total_wh"][counted],
    )


_VALUES = ("ac_power", "battery_power", "grid_power", "load_power", "battery_soc_pct")


def days_of(frame: pl.DataFrame) -> Days:
    """Returns the arrays of one inverter's summaries, in order of days."""
    return days_between(day_columns(frame), 0, frame.height)


def day_columns(frame: pl.DataFrame) -> dict[str, Any]:
    """Returns the columns of many inverters' summaries as arrays, to take parts of."""
    nan = float("nan")
    at = [frame[f"{name}_at"].to_physical().fill_null(-1).to_numpy() for name in SAMPLES]
    wh = [frame[f"{name}_wh"].cast(float).fill_null(nan).to_numpy() for name in SAMPLES]
    flows = [frame[name].fill_null(nan).to_numpy() for name in FLOWS]
    return {
        "day": frame["day"].to_physical().cast(int).to_numpy(),
        "at": np.array(at),
        "wh": np.array(wh),
        "flows": np.array(flows),
    }


def days_between(columns: dict[str, Any], begin: int, end: int) -> Days:
    """Returns the rows of one inverter, `begin` before `end`, of `day_columns`."""
    at, wh = columns["at"][:, begin:end].ravel(), columns["wh"][:, begin:end].ravel()
    counted = np.isfinite(wh)
    return Days(
        ordinal=columns["day"][begin:end] + _EPOCH_DAY,
        sample_at_us=at[counted],
        sample_wh=wh[counted],
        flows_wh=columns["flows"][:, begin:end],
    )
