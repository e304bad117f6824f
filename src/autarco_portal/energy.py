"""What energy did an inverter make, by its counter, and on which local day?

Energy for money comes from the counter, never from the sum of power: months of samples may be
missing and the counter still knows. Pure: values in, values out.

`counter` says which samples to believe; everything here is a difference of two of its levels.
A gap with both ends on the same counter is exact as a whole, and only where a border (midnight, the
end of a contract year) lies within it somebody must say how much was before: it is shared out in
proportion to expected energy. Energy that no counter tells (a swap, a counter set to another level)
is left out and listed as lost; estimating it is the business of `guarantee`.

The lake's view `daily_energy` (autarco_ingest.views) answers for a whole fleet within a second and
prefers the finer daily counter. It leaves a gap of days undivided (`energy_gap_kwh`), gives the
energy of a night to the morning, and judges values by their neighbours. This module looks at the
lifetime counter only, at all samples of one inverter, and is what money is settled by. On clean
samples both agree (a test compares them).

Source: reference document, sections 3.2 and 7.2.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, TypeAlias
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import numpy.typing as npt

from autarco_portal.counter import GAP_US, Counter, EnergyError, Floats, Instants, instant, moment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MODEL_VERSION = "energy-1"

Method: TypeAlias = Literal["counter", "gap", "estimated", "missing"]

_SEVERITY: dict[Method, int] = {"counter": 0, "gap": 1, "estimated": 2, "missing": 3}


class Expected(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Expected energy over time, of any step: hours know of the night, days do not.

    `energy_wh[i]` belongs to the span from `edges_us[i]` to `edges_us[i + 1]`.
    """

    edges_us: Instants
    energy_wh: Floats

    def __post_init__(self) -> None:
        """Raises EnergyError for what cannot be an expectation."""
        if len(self.edges_us) != len(self.energy_wh) + 1 or not len(self.energy_wh):
            raise EnergyError(
                f"expected energy: {len(self.energy_wh)} values need one edge more, not "
                f"{len(self.edges_us)}"
            )
        if not (np.diff(self.edges_us) > 0).all():
            raise EnergyError("expected energy: the edges do not rise")
        if not (np.isfinite(self.energy_wh) & (self.energy_wh >= 0)).all():
            raise EnergyError("expected energy: a value is negative or not a number")


class DayEnergy(msgspec.Struct, frozen=True, kw_only=True):
    """What one inverter, or a site, made on one local day.

    `method` is `counter`, or `gap` where a share of a longer gap's energy is in it, `estimated`
    where the counter was set anew and somebody should look, `missing` where no counter tells.
    """

    serial_number: str
    """Empty for a site."""
    day: date
    energy_kwh: float | None
    method: Method
    coverage: float
    """Share of the day that the counter tells of, by expected energy if there is one, else by
    time. A gap on one counter is covered."""
    n_rows: int
    n_resets: int
    n_glitches: int
    gap_max_s: float | None
    """Longest time between two samples that ends on this day."""
    model_version: str = MODEL_VERSION


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """Energy between two moments of one counter: a line of a settlement's table.

    `method` is `counter`; `gap` for a span without samples, exact as a whole; `split` for one whose
    border lies within a gap, shared out by expected energy; `lost` if no counter tells.
    """

    serial_number: str
    from_at: datetime
    to_at: datetime
    energy_wh: float
    register_from_wh: float | None
    register_to_wh: float | None
    """None where the border lies between two samples."""
    method: Literal["counter", "gap", "split", "lost"]


def midnights(first: date, last: date, time_zone: str) -> Instants:
    """Returns the borders of the local days from `first` to `last`, one more than there are days.

    Days are 23 and 25 hours long when clocks change.
    """
    zone = ZoneInfo(time_zone)
    days = (last - first).days + 2
    return np.array(
        [
            int(datetime.combine(first + timedelta(days=n), time(), zone).timestamp()) * 1_000_000
            for n in range(days)
        ],
        dtype=np.int64,
    )


def made_wh(counter: Counter, at_us: Instants, expected: Expected | None = None) -> Floats:
    """Returns what the counter had made at any moments, in Wh since its first sample.

    Between two samples more than half an hour apart, by expected energy, or by time without one;
    before the first and after the last nothing more. Raises EnergyError where `expected` ends
    within such a gap.
    """
    if not len(counter.at_us):
        return np.zeros(len(at_us))
    before, after = _around(counter, at_us)
    start, end = counter.at_us[before], counter.at_us[after]
    now = np.clip(at_us, start, end)
    share = _share(start, now, end)
    if expected is not None:
        rising = counter.made_wh[after] > counter.made_wh[before]
        wide = (end - start > GAP_US) & (start < now) & (now < end) & rising
        outside = wide & ((start < expected.edges_us[0]) | (end > expected.edges_us[-1]))
        if outside.any():
            raise EnergyError(
                f"{counter.serial_number}: expected energy does not cover the gap from "
                f"{moment(int(start[outside][0])).isoformat()} to "
                f"{moment(int(end[outside][0])).isoformat()}"
            )
        weighed = _share(
            _weight(start, expected), _weight(now, expected), _weight(end, expected), share
        )
        share = np.where(wide, weighed, share)
    made: Floats = counter.made_wh[before] + share * (
        counter.made_wh[after] - counter.made_wh[before]
    )
    return made


def daily_energy(
    counter: Counter,
    first: date,
    last: date,
    *,
    time_zone: str = "Europe/Amsterdam",
    expected: Expected | None = None,
) -> tuple[DayEnergy, ...]:
    """Returns the energy of each local day from `first` to `last`, both included."""
    edges = midnights(first, last, time_zone)
    days = len(edges) - 1
    energy_wh = np.diff(made_wh(counter, edges, expected))
    shared = _is_shared(counter, edges)
    coverage = _coverage(counter, edges, expected)
    rows = np.diff(np.searchsorted(counter.at_us, edges))
    glitches = np.diff(np.searchsorted(counter.glitches_us, edges))
    resets = np.zeros(days, dtype=np.int64)
    doubtful = np.zeros(days, dtype=np.bool_)
    for found in counter.breaks:
        begins, ends = np.searchsorted(edges, [found.from_us, found.to_us], side="right") - 1
        if 0 <= ends < days:
            resets[ends] += 1
        if found.is_lost or found.to_us - found.from_us > GAP_US:
            doubtful[max(begins, 0) : max(ends + 1, 0)] = True
    gaps = np.diff(counter.at_us)
    result = []
    for n in range(days):
        here = slice(*np.searchsorted(counter.at_us[1:], edges[n : n + 2]))
        told = coverage[n] > 0
        method: Method = "missing"
        if told:
            method = "estimated" if doubtful[n] else "counter"
            if method == "counter" and (shared[n] or shared[n + 1]):
                method = "gap"
        result.append(
            DayEnergy(
                serial_number=counter.serial_number,
                day=first + timedelta(days=n),
                energy_kwh=float(energy_wh[n]) / 1_000 if told else None,
                method=method,
                coverage=float(coverage[n]),
                n_rows=int(rows[n]),
                n_resets=int(resets[n]),
                n_glitches=int(glitches[n]),
                gap_max_s=float(gaps[here].max()) / 1e6 if len(gaps[here]) else None,
            )
        )
    return tuple(result)


def site_days(
    inverters: Sequence[tuple[float, Sequence[DayEnergy]]], *, pac0: float
) -> tuple[DayEnergy, ...]:
    """Returns the days of a site from those of its inverters, each with its `pac0` in W.

    `pac0` is that of the whole site, by which coverages are weighed; an inverter and the one that
    replaced it add up. The doubt of any inverter is the site's.
    """
    if not pac0 > 0:
        raise EnergyError("pac0 of the site is above zero")
    by_day: dict[date, list[tuple[float, DayEnergy]]] = {}
    for rating, days in inverters:
        for found in days:
            by_day.setdefault(found.day, []).append((rating, found))
    result = []
    for day, parts in sorted(by_day.items()):
        told = [part for _, part in parts if part.energy_kwh is not None]
        gaps = [part.gap_max_s for part in told if part.gap_max_s is not None]
        result.append(
            DayEnergy(
                serial_number="",
                day=day,
                energy_kwh=sum(part.energy_kwh or 0.0 for part in told) if told else None,
                method=max(
                    (part.method for part in told), key=_SEVERITY.__getitem__, default="missing"
                ),
                coverage=min(1.0, sum(rating * part.coverage for rating, part in parts) / pac0),
                n_rows=sum(part.n_rows for _, part in parts),
                n_resets=sum(part.n_resets for _, part in parts),
                n_glitches=sum(part.n_glitches for _, part in parts),
                gap_max_s=max(gaps, default=None),
            )
        )
    return tuple(result)


def spans(
    counter: Counter,
    from_at: datetime,
    to_at: datetime,
    *,
    expected: Expected | None = None,
    gap_s: float = 86_400.0,
) -> tuple[Span, ...]:
    """Returns the spans of a period, in order: what a settlement adds up, and what it cannot.

    Gaps longer than `gap_s` have a span of their own, so that people see them. Where the period
    begins or ends within a gap, the span is `split`. Time before the first and after the last
    sample has no span. A period starts and ends with a time zone.
    """
    begin_us, end_us = instant(from_at), instant(to_at)
    at = counter.at_us
    if not len(at) or begin_us >= at[-1] or end_us <= at[0]:
        return ()
    begin_us, end_us = max(begin_us, int(at[0])), min(end_us, int(at[-1]))
    lost = {(b.from_us, b.to_us) for b in counter.breaks if b.is_lost}
    wide = np.flatnonzero(np.diff(at) > gap_s * 1e6)
    apart = sorted(lost | {(int(at[i]), int(at[i + 1])) for i in wide})
    borders = sorted(
        {begin_us, end_us} | {edge for pair in apart for edge in pair if begin_us < edge < end_us}
    )
    made = made_wh(counter, np.array(borders, dtype=np.int64), expected)
    shared = _is_shared(counter, np.array(borders, dtype=np.int64))
    shown = [_register(counter, border) for border in borders]
    result = []
    for n, (start, end) in enumerate(pairwise(borders)):
        around = next((pair for pair in apart if pair[0] <= start and end <= pair[1]), None)
        if around in lost:
            method: Literal["counter", "gap", "split", "lost"] = "lost"
        elif shared[n] or shared[n + 1]:
            method = "split"
        else:
            method = "counter" if around is None else "gap"
        result.append(
            Span(
                serial_number=counter.serial_number,
                from_at=moment(start),
                to_at=moment(end),
                energy_wh=0.0 if method == "lost" else float(made[n + 1] - made[n]),
                register_from_wh=shown[n],
                register_to_wh=shown[n + 1],
                method=method,
            )
        )
    return tuple(result)


def trailing_index(
    days: Sequence[DayEnergy],
    expected_kwh: Mapping[date, float],
    before: date,
    *,
    span_days: int = 60,
    coverage_min: float = 0.9,
) -> float | None:
    """Returns measured over expected energy of the last `span_days` days before a day.

    Only days that the counter covers to `coverage_min` and whose expectation is known count: a
    ratio of sums. None if there is no such day, or nothing was expected.
    """
    oldest = before - timedelta(days=span_days)
    used = [
        found
        for found in days
        if oldest <= found.day < before
        and found.day in expected_kwh
        and found.coverage >= coverage_min
        and found.method in {"counter", "gap"}
    ]
    expected = sum(expected_kwh[found.day] for found in used)
    measured = sum(found.energy_kwh or 0.0 for found in used)
    return measured / expected if expected > 0 else None


def _around(counter: Counter, at_us: Instants) -> tuple[Instants, Instants]:
    """The samples before and after each moment; the same one twice outside of all."""
    after = np.searchsorted(counter.at_us, at_us, side="right")
    last = len(counter.at_us) - 1
    return np.clip(after - 1, 0, last), np.clip(after, 0, last)


def _is_shared(counter: Counter, at_us: Instants) -> npt.NDArray[np.bool_]:
    """Whether a moment divides a gap that holds more energy than the counter's own step."""
    if not len(counter.at_us):
        return np.zeros(len(at_us), dtype=np.bool_)
    before, after = _around(counter, at_us)
    wide = counter.at_us[after] - counter.at_us[before] > GAP_US
    much = counter.made_wh[after] - counter.made_wh[before] > counter.resolution_wh
    inside = (counter.at_us[before] < at_us) & (at_us < counter.at_us[after])
    result: npt.NDArray[np.bool_] = wide & much & inside
    return result


def _coverage(counter: Counter, edges: Instants, expected: Expected | None) -> Floats:
    if not len(counter.at_us):
        return np.zeros(len(edges) - 1)
    told = _weigh(np.clip(edges, counter.at_us[0], counter.at_us[-1]), edges, expected)
    for found in counter.breaks:
        if found.is_lost:
            told = told - _weigh(np.clip(edges, found.from_us, found.to_us), edges, expected)
    return np.clip(told, 0.0, 1.0)


def _weigh(part: Instants, whole: Instants, expected: Expected | None) -> Floats:
    """Each day's share of itself between two moments, by expected energy where that says much."""
    by_time: Floats = np.diff(part) / np.diff(whole)
    if expected is None:
        return by_time
    energy = np.diff(_weight(whole, expected))
    known = (whole[:-1] >= expected.edges_us[0]) & (whole[1:] <= expected.edges_us[-1])
    usable = known & (energy > 0)
    by_energy: Floats = np.diff(_weight(part, expected)) / np.where(usable, energy, 1.0)
    return np.where(usable, by_energy, by_time)


def _weight(at_us: Instants, expected: Expected) -> Floats:
    """Expected energy from the first edge to each moment."""
    summed = np.concatenate(([0.0], np.cumsum(expected.energy_wh)))
    return np.interp(at_us, expected.edges_us, summed)


def _share(
    start: Instants | Floats,
    now: Instants | Floats,
    end: Instants | Floats,
    otherwise: Floats | None = None,
) -> Floats:
    """How far `now` is from start to end, 0 to 1; `otherwise` where they are the same."""
    width = np.asarray(end - start, dtype=np.float64)
    part = np.asarray(now - start, dtype=np.float64)
    spare = np.zeros(len(width)) if otherwise is None else otherwise
    return np.where(width > 0, part / np.where(width > 0, width, 1.0), spare)


def _register(counter: Counter, at_us: int) -> float | None:
    place = int(np.searchsorted(counter.at_us, at_us, side="right")) - 1
    if place < 0 or counter.at_us[place] != at_us:
        return None
    return float(counter.register_wh[place])
