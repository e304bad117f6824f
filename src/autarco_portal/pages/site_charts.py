"""What do the charts of a site show, from its readings and its days?

Power is drawn in steps of at least two samples each, so that a stick that is late by a minute
leaves no gap; what nobody measured stays one. Times are those of the clock at the site. Pure.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import polars as pl

from autarco_portal.energy import midnights
from autarco_portal.pages.charts import Chart, Gap, Series
from autarco_portal.pages.words import N_

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date

    from autarco_portal.pages.words import Words

TRACKERS = 4
"""MPP trackers that the readings have columns for."""
COLUMNS = (
    "inverter_sn",
    "ts",
    "repeat",
    "ac_power",
    *(f"dc_{what}_mppt{n}" for what in ("voltage", "current") for n in range(1, TRACKERS + 1)),
)
"""Of `autarco_ingest.schema.READINGS`: what the charts of a day need."""

STEPS_MIN = (5, 10, 15, 30, 60)
"""Minutes of a step; all of them divide an hour."""
_MINUTE_US = 60_000_000
_GAP_STEPS = 2
"""Steps without anything that are shown as a gap: one may be chance."""


class DayEnergy(msgspec.Struct, frozen=True, kw_only=True):
    """Energy of one bar, in kWh; None is unknown."""

    energy_kwh: float | None = None
    expected_kwh: float | None = None


def power_chart(
    readings: pl.DataFrame, serials: Sequence[str], day: date, time_zone: str, words: Words
) -> Chart:
    """Returns the AC power of a day, a line per inverter; `readings` have COLUMNS."""
    series = {
        serial: _of(readings, serial, pl.col("ac_power").cast(pl.Float64)) for serial in serials
    }
    return _power(series, "power", words.say(N_("Power per inverter")), day, time_zone, words)


def mppt_chart(
    readings: pl.DataFrame, serial: str, day: date, time_zone: str, words: Words
) -> Chart | None:
    """Returns the DC power of a day, a line per MPP tracker; None if fewer than two are known."""
    series = {}
    for n in range(1, TRACKERS + 1):
        watts = (pl.col(f"dc_voltage_mppt{n}") * pl.col(f"dc_current_mppt{n}")).cast(pl.Float64)
        part = _of(readings, serial, watts)
        if part.height and (part["watts"] > 0).any():
            series[f"MPPT {n}"] = part
    if len(series) < 2:
        return None
    title = words.say(N_("Power per string input of %(inverter)s")) % {"inverter": serial}
    return _power(series, f"mppt-{_identifier(serial)}", title, day, time_zone, words)


def energy_chart(
    chart_id: str, title: str, days: Mapping[date, DayEnergy], words: Words, *, by_month: bool
) -> Chart:
    """Returns energy beside what was expected, a bar per day or, with first days, per month."""
    expected = tuple(one.expected_kwh for one in days.values())
    energy = tuple(one.energy_kwh for one in days.values())
    known = [
        (one.energy_kwh, one.expected_kwh)
        for one in days.values()
        if one.energy_kwh is not None and one.expected_kwh is not None
    ]
    total = sum(value for value in energy if value is not None)
    summary = words.say(N_("Nothing is known yet."))
    if any(value is not None for value in energy):
        summary = words.energy(total)
    wanted = sum(pair[1] for pair in known)
    if wanted:
        summary = words.say(N_("%(energy)s, %(share)s of what was expected")) % {
            "energy": words.energy(total),
            "share": words.percent(sum(pair[0] for pair in known) / wanted),
        }
    bars = [Series(name=words.say(N_("Energy")), values=energy)]
    if any(value is not None for value in expected):
        bars.insert(0, Series(name=words.say(N_("Expected")), values=expected, role="expected"))
    return Chart(
        chart_id=chart_id,
        title=title,
        summary=summary,
        kind="bars",
        unit="kWh",
        x=tuple(day.isoformat() for day in days),
        labels=tuple(words.month(day) if by_month else words.day(day) for day in days),
        series=tuple(bars),
        digits=0 if by_month else 1,
        x_format="%b" if by_month else "%-d",
        x_hover="%B %Y" if by_month else "%-d %B",
    )


def _of(readings: pl.DataFrame, serial: str, watts: pl.Expr) -> pl.DataFrame:
    return (
        readings.filter(
            (pl.col("inverter_sn") == serial) & pl.col("repeat").fill_null(value=False).not_()
        )
        .select(pl.col("ts").dt.epoch("us").alias("at_us"), watts.alias("watts"))
        .drop_nulls()
    )


def _power(
    series: Mapping[str, pl.DataFrame],
    chart_id: str,
    title: str,
    day: date,
    time_zone: str,
    words: Words,
) -> Chart:
    begin, end = midnights(day, day, time_zone).tolist()
    step = _step_us(series.values())
    steps = (end - begin) // step
    means = [_means(part, begin, step, steps) for part in series.values()]
    known = np.isfinite(np.array(means)).any(axis=0) if means else np.zeros(steps, dtype=bool)
    places = np.flatnonzero(known)
    first, last = (int(places[0]), int(places[-1])) if len(places) else (0, -1)
    zone = ZoneInfo(time_zone)
    walls = [
        datetime.fromtimestamp((begin + n * step) / 1_000_000, zone).replace(tzinfo=None)
        for n in range(first, last + 1)
    ]
    shown = [[_watts(value) for value in part[first : last + 1]] for part in means]
    return Chart(
        chart_id=chart_id,
        title=title,
        summary=_peak(walls, shown, words),
        kind="lines",
        unit="W",
        x=tuple(wall.strftime("%Y-%m-%d %H:%M") for wall in walls),
        labels=tuple(wall.strftime("%H:%M") for wall in walls),
        series=tuple(
            Series(name=name, values=tuple(values))
            for name, values in zip(series, shown, strict=True)
        ),
        gaps=_gaps(walls, known[first : last + 1], timedelta(microseconds=step)),
        x_format="%H:%M",
    )


def _step_us(parts: Iterable[pl.DataFrame]) -> int:
    """At least twice the time between samples, that every step has one."""
    between = [
        float(np.median(np.diff(part["at_us"].to_numpy()))) for part in parts if part.height > 1
    ]
    wanted = 1.9 * max(between, default=0.0)
    return next(
        (n * _MINUTE_US for n in STEPS_MIN if n * _MINUTE_US >= wanted), STEPS_MIN[-1] * _MINUTE_US
    )


def _means(part: pl.DataFrame, begin: int, step: int, steps: int) -> np.ndarray:
    at = part["at_us"].to_numpy()
    inside = (at >= begin) & (at < begin + steps * step)
    place = (at[inside] - begin) // step
    count = np.bincount(place, minlength=steps)
    total = np.bincount(place, weights=part["watts"].to_numpy()[inside], minlength=steps)
    with np.errstate(invalid="ignore", divide="ignore"):
        means: np.ndarray = total / count
    return means


def _watts(value: float) -> float | None:
    return float(round(value)) if np.isfinite(value) else None


def _peak(walls: Sequence[datetime], shown: Sequence[Sequence[float | None]], words: Words) -> str:
    sums = [sum(value or 0.0 for value in values) for values in zip(*shown, strict=True)]
    if not sums:
        return words.say(N_("Nothing was received on this day."))
    highest = max(range(len(sums)), key=sums.__getitem__)
    return words.say(N_("At most %(power)s together, at %(time)s.")) % {
        "power": words.power(sums[highest]),
        "time": walls[highest].strftime("%H:%M"),
    }


def _gaps(walls: Sequence[datetime], known: np.ndarray, step: timedelta) -> tuple[Gap, ...]:
    """Runs of steps in which nothing of the site was heard."""
    found, start = [], None
    for wall, is_known in zip(walls, known.tolist(), strict=True):
        if not is_known:
            start = start or wall
        elif start is not None:
            if wall - start >= _GAP_STEPS * step:
                found.append(Gap(start=f"{start:%Y-%m-%d %H:%M}", end=f"{wall:%Y-%m-%d %H:%M}"))
            start = None
    return tuple(found)


def _identifier(serial: str) -> str:
    """A serial number as part of an element's id."""
    return "".join(letter if letter.isalnum() else "-" for letter in serial)
