"""What held an inverter's power down: its rating, a limit that somebody set, or heat?

Rules 7 and 14 of the reference (2.2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from autarco_portal.availability import is_bright, is_off
from autarco_portal.incidents import Cause, Evidence, State, Verdict
from autarco_portal.intraday_rules import IntradayRules, day_verdict
from autarco_portal.inverter_day import InverterDay, in_runs

if TYPE_CHECKING:
    from autarco_portal.peers import Bools, Floats


def clipped_steps(
    day: InverterDay, plateau: float | None = None, rules: IntradayRules | None = None
) -> Bools:
    """Rule 7: returns the steps at the inverter's limit, which is no fault.

    `plateau` (W) is where its power ends when that is not the rating. Whoever compares with a model
    clips the model too.
    """
    rules = rules or IntradayRules()
    level = day.pac0 if plateau is None else plateau
    at_limit = day.ac_power >= rules.clip_share * level
    return in_runs(at_limit & _flat(day, rules), rules.clip_steps)


def limit_plateau(day: InverterDay, rules: IntradayRules | None = None) -> float:
    """Returns the W at which something held the inverter below its rating; NaN for nothing.

    Flat near the day's highest power, while the neighbours say that there was more.
    """
    rules = rules or IntradayRules()
    if not np.any(day.ac_power > 0):
        return float("nan")
    top = float(np.nanmax(day.ac_power))
    held = (
        (day.ac_power >= rules.clip_share * top)
        & _flat(day, rules)
        & (day.ac_power_expected >= rules.limit_excess * day.ac_power)
    )
    held = in_runs(held, rules.clip_steps)
    if top >= rules.limit_share * day.pac0 or not held.any():
        return float("nan")
    return float(np.median(day.ac_power[held]))


def fixed_limit(plateaus: Floats, rules: IntradayRules | None = None) -> bool:
    """Tells whether the last clear days all end at one plateau (W, a value per clear day)."""
    rules = rules or IntradayRules()
    last = plateaus[-rules.limit_days :]
    if len(last) < rules.limit_days or not np.isfinite(last).all():
        return False
    return bool(np.ptp(last) <= rules.limit_spread * np.median(last))


def thermal_derating(
    day: InverterDay, derating_starts: float, rules: IntradayRules | None = None
) -> Verdict:
    """Rule 14: did the inverter hold back because it was hot?

    `derating_starts` (°C) is the data sheet's. One such day warns nobody: see `alarm_after`.
    """
    rules = rules or IntradayRules()
    expected = day.ac_power_expected
    hot = day.temp_inverter > derating_starts
    short = is_bright(day) & (day.ac_power < rules.thermal_share * expected) & ~is_off(day)
    held = in_runs(hot & short, rules.thermal_steps)
    evidence: Evidence = {
        "temp_inverter_max": _max(day.temp_inverter),
        "minutes_derated": float(np.count_nonzero(held)) * day.step_minutes,
    }
    state = State.UNKNOWN if _max(day.temp_inverter) is None else State.HEALTHY
    return day_verdict(
        day,
        Cause.THERMAL_DERATING,
        State.FAULTY if held.any() else state,
        evidence,
        rules,
        begins=int(held.argmax()) if held.any() else None,
        lost_kwh=day.energy_kwh(np.fmax(expected - day.ac_power, 0), held),
    )


def _flat(day: InverterDay, rules: IntradayRules) -> Bools:
    """Steps that hardly differ from the one before or after."""
    power = day.ac_power
    step = np.abs(np.diff(power)) < rules.clip_change * np.abs(power[1:])
    return np.append(step, False) | np.insert(step, 0, False)


def _max(values: Floats) -> float | None:
    finite = values[np.isfinite(values)]
    return float(finite.max()) if finite.size else None
