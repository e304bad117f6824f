"""What did one inverter do, step by step, and what could it have done?

Readings come when sticks send them; rules want a regular grid: one value per 5-minute step, NaN
where there was none, with the sun and the neighbours beside it. A grid may span several days, which
a gap over midnight needs to be judged whole.

Pure: rows in, arrays out.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

if TYPE_CHECKING:
    from autarco_portal.peers import Bools, Floats

STEP = timedelta(minutes=5)
DAYLIGHT_ELEVATION = 3.0
"""Degrees; lower suns prove nothing (reference 2.2)."""

PHASES, TRACKERS = 3, 4
UNKNOWN_STATUS = 0
GENERATING, THROTTLED, FAULT = 4, 5, 7
"""Codes of the readings' column `status` (SunSpec 103.St)."""


class InverterDay(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One inverter on a grid of steps; arrays have one value per step, NaN for none."""

    site_id: str
    inverter_sn: str
    day: date
    """Local day that is judged."""
    begins: datetime
    """UTC; start of the first step."""
    step: timedelta = STEP
    pac0: float
    """W of AC at most."""
    pdc0: float
    """W of the modules it has."""
    own_index: float = 1.0
    """What the inverter makes of what its peers make, per W of modules, when nothing is wrong."""
    present: Bools
    """A reading came."""
    ac_power: Floats
    """W."""
    ac_voltage: Floats
    """V; 3 x steps."""
    dc_voltage: Floats
    """V; trackers x steps."""
    dc_current: Floats
    """A; trackers x steps."""
    temp_inverter: Floats
    """°C."""
    status: npt.NDArray[np.int16]
    """As in readings, UNKNOWN_STATUS where the inverter does not say."""
    energy_total_wh: Floats
    """The counter at the last reading of the step."""
    energy_before_wh: float = float("nan")
    """The counter when the grid begins, if readings before and after it tell."""
    energy_after_wh: float = float("nan")
    """The counter when the grid ends, likewise."""
    counter_step_wh: float = 1000.0
    """In what steps the counter counts."""
    sun_elevation: Floats
    """Degrees, in the middle of the step."""
    sun_azimuth: Floats
    """Degrees clockwise from north, in the middle of the step."""
    peer_kw: Floats
    """kW per kWp of the median neighbour; NaN where there is none."""

    @property
    def steps(self) -> int:
        """How many there are."""
        return len(self.present)

    @property
    def step_hours(self) -> float:
        """Hours of one step."""
        return self.step / timedelta(hours=1)

    @property
    def step_minutes(self) -> float:
        """Minutes of one step."""
        return self.step / timedelta(minutes=1)

    @property
    def ends(self) -> datetime:
        """UTC; end of the last step."""
        return self.at(self.steps)

    @property
    def daylight(self) -> Bools:
        """Steps in which an inverter could be expected to do something."""
        return self.sun_elevation > DAYLIGHT_ELEVATION

    @property
    def ac_power_expected(self) -> Floats:
        """W; as the neighbours did, at most what the inverter can."""
        power: Floats = np.minimum(self.peer_kw * self.own_index * self.pdc0, self.pac0)
        return power

    @property
    def voltage_max(self) -> Floats:
        """V of the highest phase."""
        voltage: Floats = np.fmax.reduce(self.ac_voltage, axis=0)
        return voltage

    def at(self, step: int) -> datetime:
        """Returns the start of a step."""
        return self.begins + step * self.step

    def energy_kwh(self, power: Floats, where: Bools) -> float:
        """Returns the energy of `power` in W over the steps `where`; unknown power counts 0."""
        return float(np.nansum(np.where(where, power, 0.0))) * self.step_hours / 1000


def from_readings(
    readings: pl.DataFrame,
    *,
    site_id: str,
    inverter_sn: str,
    day: date,
    begins: datetime,
    pac0: float,
    pdc0: float,
    sun_elevation: Floats,
    sun_azimuth: Floats,
    peer_kw: Floats,
    own_index: float = 1.0,
    counter_step_wh: float = 1000.0,
    step: timedelta = STEP,
) -> InverterDay:
    """Puts the readings of one inverter on the grid that `sun_elevation` spans from `begins`.

    `readings` has the columns of `autarco_ingest.schema.READINGS`; rows of other inverters, outside
    the grid, and repeats (registers that a sleeping inverter left behind) do not count. Of several
    readings in a step the last is taken.
    """
    steps = len(sun_elevation)
    since_us = (pl.col("ts") - begins).dt.total_microseconds()
    number = since_us // (step // timedelta(microseconds=1))
    rows = (
        readings.filter(pl.col("inverter_sn") == inverter_sn)
        .filter(~pl.col("repeat").fill_null(value=False))
        .with_columns(number.alias("step"))
        .filter(pl.col("ts") >= begins, pl.col("step") < steps)
        .sort("ts", "received_at")
        .unique("step", keep="last")
    )
    at = rows["step"].to_numpy()
    present = np.zeros(steps, bool)
    present[at] = True

    def column(name: str) -> Floats:
        values = np.full(steps, np.nan)
        values[at] = rows[name].cast(pl.Float64).to_numpy()
        return values

    def numbered(name: str, of: int) -> Floats:
        return np.array([column(f"{name}{number}") for number in range(1, of + 1)])

    return InverterDay(
        site_id=site_id,
        inverter_sn=inverter_sn,
        day=day,
        begins=begins,
        step=step,
        pac0=pac0,
        pdc0=pdc0,
        own_index=own_index,
        present=present,
        ac_power=column("ac_power"),
        ac_voltage=numbered("ac_voltage_l", PHASES),
        dc_voltage=numbered("dc_voltage_mppt", TRACKERS),
        dc_current=numbered("dc_current_mppt", TRACKERS),
        temp_inverter=column("temp_inverter"),
        status=np.nan_to_num(column("status"), nan=UNKNOWN_STATUS).astype(np.int16),
        energy_total_wh=column("energy_total_wh"),
        counter_step_wh=counter_step_wh,
        sun_elevation=sun_elevation,
        sun_azimuth=sun_azimuth,
        peer_kw=peer_kw,
    )


def runs(flags: Bools, steps_min: int = 1) -> list[tuple[int, int]]:
    """Returns (first, end) of each run of true values of at least that length."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(np.int8)))
    pairs = edges.reshape(-1, 2).tolist()
    return [(first, end) for first, end in pairs if end - first >= steps_min]


def in_runs(flags: Bools, steps_min: int) -> Bools:
    """Returns the flags that belong to runs of at least that length."""
    kept = np.zeros(len(flags), bool)
    for first, end in runs(flags, steps_min):
        kept[first:end] = True
    return kept
