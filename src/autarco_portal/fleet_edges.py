"""What was an inverter's counter at midnight, when it was silent then?

A silence over midnight belongs to two days. What the counter rose over it is shared out between
them as a clear sky would, so that each day can tell by itself whether the inverter was off or only
not heard.

Pure: values in, values out.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from autarco_portal.inverter_day import DAYLIGHT_ELEVATION, STEP
from autarco_portal.inverter_rules import Edge

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from autarco_portal.fleet_grid import FleetGrid
    from autarco_portal.fleet_sky import ClearDays
    from autarco_portal.peers import Floats

SILENT_STEPS = 6
"""Of daylight; a shorter silence is a roof that wakes up late."""

DAY = timedelta(days=1)


def silent_at_an_end(grid: FleetGrid, clear: ClearDays) -> list[str]:
    """Returns the inverters that were not heard for some daylight at an end of the day."""
    daylight = (clear.sun_elevation > DAYLIGHT_ELEVATION)[clear.cell[grid.site]]
    missed = ~grid.present & daylight
    early = np.cumsum(grid.present, axis=1) == 0
    late = np.cumsum(grid.present[:, ::-1], axis=1)[:, ::-1] == 0
    counts = np.maximum((missed & early).sum(axis=1), (missed & late).sum(axis=1))
    return [grid.units[row].serial_number for row in np.flatnonzero(counts > SILENT_STEPS)]


def edges(
    grid: FleetGrid, clear: ClearDays, silent: Sequence[str], around: pa.Table | None
) -> dict[str, Edge]:
    """Returns what is known of each silent inverter; `around` is as the lake reader gives it."""
    if around is None:
        return {}
    row_of = {unit.serial_number: row for row, unit in enumerate(grid.units)}
    known = {row["inverter_sn"]: row for row in pl.DataFrame(around).iter_rows(named=True)}
    found = {}
    for name in silent:
        row = row_of[name]
        light = clear.ac_power[grid.units[row].site].astype(float)
        counter = grid.energy_total_wh[row]
        read = np.flatnonzero(np.isfinite(counter))
        beside = known.get(name, {})
        before_at, after_at = beside.get("before_at"), beside.get("after_at")
        before = _sample(before_at, beside.get("before_wh"))
        after = _sample(after_at, beside.get("after_wh"))
        first = last = None
        if read.size:
            first = grid.begins + int(read[0] + 1) * STEP, float(counter[read[0]])
            last = grid.begins + int(read[-1] + 1) * STEP, float(counter[read[-1]])
        found[name] = Edge(
            silent_before=grid.begins - before_at if before_at is not None else timedelta(0),
            energy_before_wh=_at(grid, light, grid.begins, before, first or after),
            energy_after_wh=_at(grid, light, grid.ends, last or before, after),
        )
    return found


def _sample(at: datetime | None, wh: int | None) -> tuple[datetime, float] | None:
    return (at, float(wh)) if at is not None and wh is not None else None


def _at(
    grid: FleetGrid,
    light: Floats,
    at: datetime,
    before: tuple[datetime, float] | None,
    after: tuple[datetime, float] | None,
) -> float:
    """The counter at a moment between two samples; NaN without them, or if it fell."""
    if before is None or after is None or after[1] < before[1]:
        return float("nan")
    past = _light_between(grid, light, before[0], at)
    coming = _light_between(grid, light, at, after[0])
    if past + coming == 0:
        return before[1]
    return before[1] + (after[1] - before[1]) * past / (past + coming)


def _light_between(grid: FleetGrid, light: Floats, begins: datetime, ends: datetime) -> float:
    """Clear-sky energy between two moments, as if all days were this one."""
    return _light_until(grid, light, ends) - _light_until(grid, light, begins)


def _light_until(grid: FleetGrid, light: Floats, at: datetime) -> float:
    whole, rest = divmod(at - grid.begins, DAY)
    steps = min(int(rest // STEP), grid.steps)
    return float(whole * light.sum() + light[:steps].sum())
