"""What did all inverters of a fleet do on one day, step by step?

`inverter_day` puts one inverter on its grid; this does so for thousands at once, in arrays of
inverters x steps, and hands each inverter its part as an `InverterDay` for the rules.

Pure: rows in, arrays out.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from autarco_portal.inverter_day import PHASES, STEP, TRACKERS, UNKNOWN_STATUS, InverterDay

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime

    import pyarrow as pa

    from autarco_portal.fleet import Unit
    from autarco_portal.peers import Bools, Floats

COLUMNS = (
    "inverter_sn",
    "ts",
    "repeat",
    "ac_power",
    *(f"ac_voltage_l{phase}" for phase in range(1, PHASES + 1)),
    *(f"dc_voltage_mppt{tracker}" for tracker in range(1, TRACKERS + 1)),
    *(f"dc_current_mppt{tracker}" for tracker in range(1, TRACKERS + 1)),
    "temp_inverter",
    "status",
    "energy_total_wh",
)
"""Which columns of the readings are looked at."""

FINE_COUNTER_WH, COARSE_COUNTER_WH = 100.0, 1_000.0


class FleetGrid(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One day of all inverters; arrays are inverters x steps unless said otherwise."""

    units: tuple[Unit, ...]
    day: date
    begins: datetime
    """UTC."""
    ends: datetime
    present: Bools
    ac_power: Floats
    ac_voltage: Floats
    """Phases x inverters x steps."""
    dc_voltage: Floats
    """Trackers x inverters x steps."""
    dc_current: Floats
    temp_inverter: Floats
    status: npt.NDArray[np.int16]
    energy_total_wh: Floats
    counter_step_wh: Floats
    """Per inverter, as its values show."""

    @property
    def steps(self) -> int:
        """How many the day has: 276, 288 or 300."""
        return int(self.present.shape[1])

    @property
    def site(self) -> npt.NDArray[np.int64]:
        """Row of each inverter's site."""
        return np.array([unit.site for unit in self.units], np.int64)

    def site_kw(self, sites: int) -> Floats:
        """Returns kW per kWp of each site (steps x sites), of those inverters that were heard."""
        heard = self.present & np.isfinite(self.ac_power)
        pdc0 = np.array([unit.pdc0 for unit in self.units])[:, None]
        power, size = np.zeros((sites, self.steps)), np.zeros((sites, self.steps))
        np.add.at(power, self.site, np.where(heard, self.ac_power, 0.0))
        np.add.at(size, self.site, np.where(heard, pdc0, 0.0))
        share = np.divide(power, size, out=np.full(power.shape, np.nan), where=size > 0)
        return np.ascontiguousarray(share.T)

    def inverter(
        self,
        row: int,
        *,
        site_id: str,
        sun_elevation: Floats,
        sun_azimuth: Floats,
        peer_kw: Floats,
        own_index: float,
        energy_before_wh: float,
        energy_after_wh: float,
    ) -> InverterDay:
        """Returns the day of one inverter as rules look at it."""
        unit = self.units[row]
        return InverterDay(
            site_id=site_id,
            inverter_sn=unit.serial_number,
            day=self.day,
            begins=self.begins,
            pac0=unit.pac0,
            pdc0=unit.pdc0,
            own_index=own_index,
            present=self.present[row],
            ac_power=self.ac_power[row],
            ac_voltage=self.ac_voltage[:, row],
            dc_voltage=self.dc_voltage[:, row],
            dc_current=self.dc_current[:, row],
            temp_inverter=self.temp_inverter[row],
            status=self.status[row],
            energy_total_wh=self.energy_total_wh[row],
            energy_before_wh=energy_before_wh,
            energy_after_wh=energy_after_wh,
            counter_step_wh=float(self.counter_step_wh[row]),
            sun_elevation=sun_elevation,
            sun_azimuth=sun_azimuth,
            peer_kw=peer_kw,
        )


def fleet_grid(
    readings: pa.Table, units: Sequence[Unit], *, day: date, begins: datetime, ends: datetime
) -> FleetGrid:
    """Puts readings with `COLUMNS`, by inverter and rising time, on the grid of a local day.

    Of several readings in a step the last counts; rows of others, outside the day, and repeats
    (registers that a sleeping inverter left behind) do not.
    """
    steps = (ends - begins) // STEP
    serials = np.array([unit.serial_number for unit in units], dtype=object)
    number = pl.Series("unit", np.arange(len(units)), dtype=pl.Int64)
    names = pl.DataFrame({"inverter_sn": pl.Series(serials, dtype=pl.String), "unit": number})
    frame = pl.DataFrame(readings)
    since_us = pl.col("ts").dt.epoch("us") - int(begins.timestamp() * 1e6)
    rows = (
        frame.with_columns((since_us // (STEP // timedelta(microseconds=1))).alias("step"))
        .filter(pl.col("step") >= 0, pl.col("step") < steps)
        .filter(~pl.col("repeat").fill_null(value=False))
        .join(names, on="inverter_sn", how="inner", maintain_order="left")
    )
    at = rows["unit"].to_numpy(), rows["step"].to_numpy()
    shape = len(units), steps

    def column(name: str, dtype: type[np.floating] = np.float32) -> Floats:
        values: Floats = np.full(shape, np.nan, dtype)
        # numpy assigns in order: the last of a step stays.
        values[at] = rows[name].cast(pl.Float64).to_numpy()
        return values

    def numbered(name: str, of: int) -> Floats:
        return np.stack([column(f"{name}{number}") for number in range(1, of + 1)])

    present = np.zeros(shape, bool)
    present[at] = True
    total = column("energy_total_wh", np.float64)
    fine = np.any(np.nan_to_num(total) % COARSE_COUNTER_WH != 0, axis=1)
    return FleetGrid(
        units=tuple(units),
        day=day,
        begins=begins,
        ends=ends,
        present=present,
        ac_power=column("ac_power"),
        ac_voltage=numbered("ac_voltage_l", PHASES),
        dc_voltage=numbered("dc_voltage_mppt", TRACKERS),
        dc_current=numbered("dc_current_mppt", TRACKERS),
        temp_inverter=column("temp_inverter"),
        status=np.nan_to_num(column("status"), nan=UNKNOWN_STATUS).astype(np.int16),
        energy_total_wh=total,
        counter_step_wh=np.where(fine, FINE_COUNTER_WH, COARSE_COUNTER_WH),
    )
