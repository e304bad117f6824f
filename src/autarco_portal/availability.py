"""How long could an inverter produce, did it, and when did we just not hear of it?

A missing row is not a missing kilowatt-hour: the counter tells afterwards whether the inverter was
off or only unheard (reference 2.2, rule 1). Times are of daylight only, and add up: data and
communication gaps, or outage in a gap, make the daylight.

Pure: one inverter's grid in, numbers out.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from autarco_portal.inverter_day import GENERATING, THROTTLED, UNKNOWN_STATUS, runs

if TYPE_CHECKING:
    from autarco_portal.inverter_day import InverterDay
    from autarco_portal.peers import Bools

MODEL_VERSION = "availability-1"


class AvailabilityRules(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers (reference 2.2, rules 1 and 2, unless said otherwise)."""

    comms_share: float = 0.50
    """Of the expected energy, made during a gap: only the connection was lost."""
    outage_share: float = 0.10
    peers_producing_kw: float = 0.10
    """kW/kWp; less light proves nothing."""
    counter_steps_min: float = 2.0
    """A gap is judged if at least so many steps of the counter were expected. Our choice: the
    counter's step then moves the share by half at most."""
    gap_min: timedelta = timedelta(minutes=30)
    """A shorter gap is not judged: of so little energy, the counter's step and the sun's moods make
    any share. As long as an outage must last."""
    idle_share: float = 0.01
    """Of its rating; an inverter that gives more runs, whatever its status says. Our choice."""


class GapKind(StrEnum):
    """What a gap between readings was."""

    COMMS = "comms"
    OUTAGE = "outage"
    PARTIAL = "partial"
    UNKNOWN = "unknown"
    """No counter on both sides, or too little expected; counts as a communication gap."""


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """Steps without a reading, from `first` before `end`."""

    first: int
    end: int
    kind: GapKind
    energy_kwh: float
    """By the counter; 0 where it is unknown."""
    expected_kwh: float
    lost_kwh: float


class Availability(msgspec.Struct, frozen=True, kw_only=True):
    """The row of one day; minutes of daylight."""

    daylight_minutes: float
    data_minutes: float
    producing_minutes: float
    outage_minutes: float
    comms_gap_minutes: float
    availability_time: float | None
    """Producing over producing and outage; None on a day that shows neither. Time without data,
    without grid or without light enough is in neither."""
    availability_energy: float | None
    """Energy over energy and loss; None without both."""
    energy_kwh: float
    """Sum of power, and the counter over gaps: to compare with the loss, not for money."""
    lost_kwh: float
    method: str = MODEL_VERSION


def availability(
    day: InverterDay,
    *,
    grid_off: Bools | None = None,
    rules: AvailabilityRules | None = None,
) -> Availability:
    """Adds up one inverter's day; `grid_off` are steps in which the grid, not the device, was off.

    Outage is what a row shows, or what the counter shows of a gap; of a partial gap the share that
    was not made.
    """
    rules = rules or AvailabilityRules()
    light, bright = day.daylight, is_bright(day, rules)
    off = light & bright & is_off(day, rules)
    grid = np.zeros(day.steps, bool) if grid_off is None else grid_off
    producing = light & day.present & (day.ac_power > 0) & ~off
    lost = day.energy_kwh(day.ac_power_expected, off)
    energy = day.energy_kwh(day.ac_power, day.present)
    outage_steps = float(np.count_nonzero(off))
    device_steps = float(np.count_nonzero(off & ~grid))
    gap_steps = 0.0
    for gap in judge_gaps(day, rules):
        span = slice(gap.first, gap.end)
        steps = float(np.count_nonzero((light & bright)[span]))
        share = 0.0 if gap.lost_kwh == 0 else gap.lost_kwh / gap.expected_kwh
        outage_steps += share * steps
        device_steps += share * steps
        gap_steps += float(np.count_nonzero(light[span])) - share * steps
        lost += gap.lost_kwh
        energy += gap.energy_kwh
    minutes = day.step_minutes
    shown = float(np.count_nonzero(producing)) + device_steps
    return Availability(
        daylight_minutes=float(np.count_nonzero(light)) * minutes,
        data_minutes=float(np.count_nonzero(light & day.present)) * minutes,
        producing_minutes=float(np.count_nonzero(producing)) * minutes,
        outage_minutes=outage_steps * minutes,
        comms_gap_minutes=gap_steps * minutes,
        availability_time=float(np.count_nonzero(producing)) / shown if shown else None,
        availability_energy=energy / (energy + lost) if energy + lost > 0 else None,
        energy_kwh=energy,
        lost_kwh=lost,
    )


def judge_gaps(day: InverterDay, rules: AvailabilityRules | None = None) -> list[Gap]:
    """Returns the gaps between readings and what the counter says of them.

    A gap at the edge of the grid is judged by `energy_before_wh` and `energy_after_wh`; without
    them it stays unknown, unless the grid reaches to the readings on both sides.
    """
    rules = rules or AvailabilityRules()
    known = np.flatnonzero(np.isfinite(day.energy_total_wh))
    found = []
    for first, end in runs(~day.present):
        before, after = known[known < first], known[known >= end]
        last = int(before[-1]) if before.size else -1
        next_one = int(after[0]) if after.size else day.steps
        low = float(day.energy_total_wh[last]) if before.size else day.energy_before_wh
        high = float(day.energy_total_wh[next_one]) if after.size else day.energy_after_wh
        rise = high - low
        if rise > 0:
            # A counter stands for the end of its step, so the rise covers readings too.
            read = day.ac_power[last + 1 : next_one + 1]
            rise = max(0.0, rise - float(np.nansum(read)) * day.step_hours)
        found.append(_judged(day, first, end, rise, rules))
    return found


def kind_of_gap(
    rise_wh: float,
    expected_wh: float,
    *,
    peers_produce: bool,
    counter_step_wh: float,
    rules: AvailabilityRules | None = None,
) -> GapKind:
    """Tells a lost connection from an outage by what the counter rose over a gap.

    NaN or a counter that went back (another device, a reset) is unknown.
    """
    rules = rules or AvailabilityRules()
    if not rise_wh >= 0 or not expected_wh >= rules.counter_steps_min * counter_step_wh:
        return GapKind.UNKNOWN
    share = rise_wh / expected_wh
    if share >= rules.comms_share:
        return GapKind.COMMS
    if not peers_produce:
        return GapKind.UNKNOWN
    return GapKind.OUTAGE if share <= rules.outage_share else GapKind.PARTIAL


def is_bright(day: InverterDay, rules: AvailabilityRules | None = None) -> Bools:
    """Tells in which steps the neighbours produced."""
    rules = rules or AvailabilityRules()
    return day.peer_kw > rules.peers_producing_kw


def is_off(day: InverterDay, rules: AvailabilityRules | None = None) -> Bools:
    """Tells in which steps a reading shows an inverter that does not run.

    By its power, or by its status where the power does not contradict it: vendors' words are
    translated, and a translation can be wrong.
    """
    rules = rules or AvailabilityRules()
    status = day.status
    runs_by_status = (status == GENERATING) | (status == THROTTLED) | (status == UNKNOWN_STATUS)
    idle = ~runs_by_status & (day.ac_power < rules.idle_share * day.pac0)
    off: Bools = day.present & ((day.ac_power <= 0) | idle)
    return off


def _judged(day: InverterDay, first: int, end: int, rise: float, rules: AvailabilityRules) -> Gap:
    span = slice(first, end)
    expected = float(np.nansum(day.ac_power_expected[span])) * day.step_hours
    kind = GapKind.UNKNOWN
    if (end - first) * day.step >= rules.gap_min:
        kind = kind_of_gap(
            rise,
            expected,
            peers_produce=bool(np.any(is_bright(day, rules)[span])),
            counter_step_wh=day.counter_step_wh,
            rules=rules,
        )
    lost = 0.0
    if kind in (GapKind.OUTAGE, GapKind.PARTIAL):
        lost = max(0.0, expected - rise)
    return Gap(
        first=first,
        end=end,
        kind=kind,
        energy_kwh=0.0 if kind is GapKind.UNKNOWN else rise / 1000,
        expected_kwh=expected / 1000,
        lost_kwh=lost / 1000,
    )
