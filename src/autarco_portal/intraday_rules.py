"""By which numbers are an inverter's 5-minute rows judged, and what do all those rules share?

The thresholds of the `detection_*` files, the verdict on one day, and days in a row.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from autarco_portal.incidents import Cause, Evidence, Severity, State, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from autarco_portal.inverter_day import InverterDay
    from autarco_portal.peers import Bools


MODEL_VERSION = "detection-intraday-1"


class IntradayRules(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers; defaults are the reference's (2.2) unless said otherwise."""

    model_version: str = MODEL_VERSION

    silence_warn: timedelta = timedelta(minutes=30)
    """Of daylight."""
    silence_alarm: timedelta = timedelta(hours=24)
    """By the clock."""
    silence_regional_share: float = 0.20
    """More silent peers than that, and it is our side or a provider's."""

    outage_min: timedelta = timedelta(minutes=30)

    mppt_power_share: float = 0.20
    """Of the rating; below it trackers are not compared."""
    mppt_summer: float = 0.10
    """April to September, in ln(q)."""
    mppt_winter: float = 0.15
    mppt_days: int = 5
    mppt_baseline_days: int = 30
    mppt_baseline_days_min: int = 10
    """Our choice."""
    open_voltage_share: float = 0.05
    open_current_share: float = 0.02
    """Of the other tracker's: less is nothing. Our choices."""
    same_share: float = 0.03
    """So near to the other's is the same. Our choice: a bypass diode of 12 modules takes 2.8 %."""

    trip_voltage: float = 250.0
    trip_lookback: timedelta = timedelta(minutes=15)
    trip_peer_kw: float = 0.20
    throttle_voltage: float = 248.0
    throttle_slope: float = -0.05
    """Per V."""
    throttle_share: float = 0.90
    """Of the expected power."""
    throttle_steps_min: int = 6
    """A slope needs points. Our choice."""
    grid_voltage_limit: float = 253.0

    clip_share: float = 0.985
    clip_steps: int = 3
    clip_change: float = 0.01
    limit_share: float = 0.90
    """Of the rating; a plateau below it is a limit somebody set. Our choice."""
    limit_excess: float = 1.10
    """So far above the plateau the neighbours say power was: noon is flat too. Our choice."""
    limit_days: int = 5
    limit_spread: float = 0.02

    night_elevation: float = -6.0
    dark_elevation: float = -3.0
    dark_share: float = 0.01
    clock_offset: timedelta = timedelta(minutes=25)
    clock_days: int = 3

    stale_steps: int = 6

    thermal_share: float = 0.90
    thermal_steps: int = 3
    """Our choice."""
    thermal_days: int = 3


def alarm_after(verdicts: Sequence[Verdict], days: int) -> list[Verdict]:
    """Returns verdicts of one cause, by day, alarming where so many faulty days come in a row.

    For thermal derating that is `thermal_days`.
    """
    faulty = np.array([verdict.state is State.FAULTY for verdict in verdicts], bool)
    known = np.array([verdict.state is not State.UNKNOWN for verdict in verdicts], bool)
    return [
        msgspec.structs.replace(verdict, alarm=bool(alarm))
        for verdict, alarm in zip(verdicts, last_days(faulty, known, days), strict=True)
    ]


def last_days(flags: Bools, known: Bools, days: int) -> Bools:
    """Tells on which days the last so many known ones are all flagged; unknown days are skipped."""
    result = np.zeros(len(flags), bool)
    in_a_row = 0
    for day in range(len(flags)):
        if known[day]:
            in_a_row = in_a_row + 1 if flags[day] else 0
            result[day] = in_a_row >= days
    return result


def steps_in(day: InverterDay, span: timedelta) -> int:
    """Returns how many steps cover a time; at least one."""
    return max(1, -(-span // day.step))


def day_verdict(
    day: InverterDay,
    cause: Cause,
    state: State,
    evidence: Evidence,
    rules: IntradayRules,
    *,
    alarm: bool = False,
    severity: Severity = Severity.WARNING,
    begins: int | None = None,
    lost_kwh: float = 0.0,
    method: str = "neighbours' power",
) -> Verdict:
    """Returns what a rule says of the day; `begins` is the step at which the fault began."""
    return Verdict(
        site_id=day.site_id,
        inverter_sn=day.inverter_sn,
        cause=cause,
        day=day.day,
        state=state,
        alarm=alarm,
        severity=severity,
        begins=None if begins is None else day.at(begins),
        ends=day.ends,
        lost_kwh=lost_kwh,
        method=f"{method}, {rules.model_version}",
        evidence=evidence,
    )
