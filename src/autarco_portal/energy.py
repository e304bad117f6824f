"""What energy did an inverter make, by its counter, and on which local day?

Energy for money comes from the counter, never from the sum of power: months of samples may be
missing and the counter still knows. Pure: arrays in, values out. `readings` of the lake gives the
arrays (`samples`).

`clean_counter` says which samples to believe; everything after it is a difference of two levels.
A gap with both ends on the same counter is exact as a whole, and only where a border (midnight, the
end of a contract year) lies within it somebody must say how much was before: it is shared out in
proportion to expected energy. Energy that no counter tells (a swap, a counter set to another level)
is left out and listed as lost; estimating it is the business of `guarantee`.

The lake's view `daily_energy` (autarco_ingest.views) answers for a whole fleet within a second and
prefers the finer daily counter. It leaves a gap of days undivided (`energy_gap_kwh`), gives the
energy of a night to the morning, and judges values by their neighbours. This module looks at the
lifetime counter only, at all samples of one inverter, and is what money is settled by. On clean
samples both agree (a test compares them).

Source: reference document, sections 2.2 (rule 13) and 3.2.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Literal, TypeAlias
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from autarco_portal.site import Inverter

MODEL_VERSION = "energy-1"

Instants: TypeAlias = npt.NDArray[np.int64]
"""Microseconds since 1970, UTC: what Arrow calls timestamp[us]."""
Floats: TypeAlias = npt.NDArray[np.float64]
Method: TypeAlias = Literal["counter", "gap", "estimated", "missing"]

AGREEING = 6
"""Later samples that must tell one story before a counter is believed to have been set anew."""
GAP_US = 1_800_000_000
"""More than this between two samples is a gap, as in the lake's view `comms_gaps`."""
RESET_GAP_US = 86_400_000_000
"""Over a longer gap, what a restarted counter shows says too little of what was made."""
EXCURSION_US = 2 * 86_400_000_000
"""A level that the counter leaves and comes back to within this time was never left: inverters
answer zero for a whole night."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MARGIN = 1.05
"""How far above its rating an inverter may run."""
_SEVERITY: dict[Method, int] = {"counter": 0, "gap": 1, "estimated": 2, "missing": 3}


class EnergyError(ValueError):
    """The samples or expectations cannot be used; the message is one sentence."""


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


class Break(msgspec.Struct, frozen=True, kw_only=True):
    """Between two samples the counter was set to another level."""

    from_us: int
    to_us: int
    counted_wh: float
    """What the new level says was made since; zero unless the counter restarted at zero."""
    is_lost: bool
    """Whether the energy between the two samples is unknown for good."""


class Counter(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The believed samples of one inverter, and what its counter made since the first of them."""

    serial_number: str
    at_us: Instants
    made_wh: Floats
    """Never falls; starts at zero."""
    register_wh: Floats
    """What the counter showed."""
    breaks: tuple[Break, ...]
    glitches_us: Instants
    """Times of the samples that were left out."""
    resolution_wh: float


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


def samples(readings: pa.Table, inverter: Inverter) -> tuple[Instants, Floats]:
    """Returns times and `energy_total_wh` of an inverter, while it hung there.

    `readings` has at least `inverter_sn`, `ts` and `energy_total_wh` as in
    `autarco_ingest.schema.READINGS`, in any order; rows of others and without a counter fall out.
    """
    mine = readings.filter(
        (pc.field("inverter_sn") == inverter.serial_number)
        & pc.field("energy_total_wh").is_valid()
    )
    at_us = mine.column("ts").cast(pa.int64()).to_numpy()
    total = mine.column("energy_total_wh").cast(pa.float64()).to_numpy()
    present = at_us >= instant(inverter.installed_at)
    if inverter.uninstalled_at is not None:
        present &= at_us <= instant(inverter.uninstalled_at)
    return at_us[present], total[present]


def instant(at: datetime) -> int:
    """Returns microseconds since 1970; raises EnergyError for a time without a zone."""
    if at.tzinfo is None:
        raise EnergyError(f"{at.isoformat()} has no time zone")
    return (at - _EPOCH) // timedelta(microseconds=1)


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


def clean_counter(
    at_us: Instants,
    energy_total_wh: Floats | Instants,
    *,
    serial_number: str,
    pac0: float,
    resolution_wh: float = 1_000.0,
) -> Counter:
    """Returns the samples to believe, with the energy made since the first.

    Samples come in any order, repeated or not. A step is believed if the inverter could have made
    it: not negative, and at most 1.05 times `pac0` (W) over the time, and two steps of the counter
    (`resolution_wh`; many count whole kWh). Another value is a new level only if the next 6 samples
    follow from it and neither it nor they from the old one; else it is a glitch and left out, so a
    value at the very end waits for its successors. A first sample that the next two agree against
    is a glitch too. A counter that comes back to a level within two days had never left it.

    From a counter that restarts near zero, what it shows counts; a step to any other level counts
    nothing. Raises EnergyError for values that are no numbers and ratings that are none.
    """
    if not pac0 > 0 or not resolution_wh > 0:
        raise EnergyError(f"{serial_number}: pac0 and resolution_wh are above zero")
    if len(at_us) != len(energy_total_wh):
        raise EnergyError(
            f"{serial_number}: {len(at_us)} times for {len(energy_total_wh)} values of the counter"
        )
    values = np.asarray(energy_total_wh, dtype=np.float64)
    if not np.isfinite(values).all():
        raise EnergyError(f"{serial_number}: a value of the counter is not a number")
    order = np.lexsort((values, at_us))
    at, level = np.asarray(at_us, dtype=np.int64)[order], values[order]
    new = np.ones(len(at), dtype=np.bool_)
    new[1:] = (np.diff(at) > 0) | (np.diff(level) != 0)
    at, level = at[new], level[new]
    judge = _Judge(at, level, pac0=pac0, resolution_wh=resolution_wh)
    judge.run()
    return judge.counter(serial_number)


class _Judge:
    """Decides sample by sample where steps are doubtful, and skips where they are not."""

    def __init__(self, at: Instants, level: Floats, *, pac0: float, resolution_wh: float) -> None:
        self.at, self.level = at, level
        self.wh_per_us = _MARGIN * pac0 / 3.6e9
        self.resolution_wh = resolution_wh
        self.kept = np.ones(len(at), dtype=np.bool_)
        self.breaks: list[tuple[int, int]] = []
        self.first = 0
        step, gap = np.diff(level), np.diff(at)
        fits = (step >= 0) & (step <= self.wh_per_us * gap + 2 * resolution_wh)
        self.doubtful = np.flatnonzero(~fits)

    def possible(self, before: int, after: int) -> float:
        return self.wh_per_us * float(self.at[after] - self.at[before]) + 2 * self.resolution_wh

    def fits(self, before: int, after: int) -> bool:
        step = float(self.level[after] - self.level[before])
        return 0 <= step <= self.possible(before, after)

    def run(self) -> None:
        here = 0
        for doubtful in self.doubtful:
            if doubtful < here:
                continue
            here = self.step_over(int(doubtful))

    def step_over(self, old: int) -> int:
        """Returns the next sample to go on from; the one after `old` does not follow from it."""
        needed = 1 if old == self.first else AGREEING
        for new in range(old + 1, len(self.at)):
            if self.fits(old, new):
                return new
            if self.is_new_level(old, new, needed):
                if old == self.first:
                    self.kept[old] = False
                    self.first = new
                else:
                    self.begin_anew(old, new)
                return new
            self.kept[new] = False
        return len(self.at)

    def is_new_level(self, old: int, new: int, needed: int) -> bool:
        last = new + needed
        return last < len(self.at) and all(
            self.fits(i, i + 1) and not self.fits(old, i + 1) for i in range(new, last)
        )

    def begin_anew(self, old: int, new: int) -> None:
        if self.breaks:
            left, came = self.breaks[-1]
            away_us = int(self.at[new] - self.at[left])
            if away_us <= EXCURSION_US and self.fits(left, new):
                self.kept[came:new] = False
                self.breaks.pop()
                return
        self.breaks.append((old, new))

    def counter(self, serial_number: str) -> Counter:
        kept = np.flatnonzero(self.kept)
        place = np.cumsum(self.kept) - 1
        steps = np.diff(self.level[kept], prepend=self.level[kept[:1]])
        breaks = []
        for old, new in self.breaks:
            level, gap_us = float(self.level[new]), int(self.at[new] - self.at[old])
            restarted = level < self.level[old] and 0 <= level <= self.possible(old, new)
            is_lost = not restarted or gap_us > RESET_GAP_US
            steps[place[new]] = 0.0 if is_lost else level
            breaks.append(
                Break(
                    from_us=int(self.at[old]),
                    to_us=int(self.at[new]),
                    counted_wh=0.0 if is_lost else level,
                    is_lost=is_lost,
                )
            )
        return Counter(
            serial_number=serial_number,
            at_us=self.at[kept],
            made_wh=np.cumsum(steps),
            register_wh=self.level[kept],
            breaks=tuple(breaks),
            glitches_us=self.at[~self.kept],
            resolution_wh=self.resolution_wh,
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
                f"{_moment(int(start[outside][0])).isoformat()} to "
                f"{_moment(int(end[outside][0])).isoformat()}"
            )
        weighed = _share(*(_weight(moment, expected) for moment in (start, now, end)), share)
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
                method=max((part.method for part in told), key=_SEVERITY.get, default="missing"),
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
    for n, (start, end) in enumerate(zip(borders, borders[1:], strict=False)):
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
                from_at=_moment(start),
                to_at=_moment(end),
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


def _moment(at_us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=at_us)
