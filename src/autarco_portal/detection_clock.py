"""Does an inverter's clock, and its zero, agree with the sun?

Rule 8 of the reference (2.2).
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np

from autarco_portal.intraday_rules import IntradayRules, last_days

if TYPE_CHECKING:
    from autarco_portal.inverter_day import InverterDay
    from autarco_portal.peers import Bools, Floats


def night_offset(day: InverterDay, rules: IntradayRules | None = None) -> float:
    """Rule 8: returns the mean power in W when it is night; a sensor's zero, to be clipped to 0."""
    rules = rules or IntradayRules()
    night = day.ac_power[(day.sun_elevation < rules.night_elevation) & day.present]
    return float(np.nanmean(night)) if np.isfinite(night).any() else float("nan")


def energy_centroid(day: InverterDay) -> float:
    """Returns when the day's energy has its centre, in hours after the grid's beginning."""
    power = np.fmax(np.nan_to_num(day.ac_power), 0)
    if power.sum() == 0:
        return float("nan")
    hours = (np.arange(day.steps) + 0.5) * day.step_hours
    return float(power @ hours / power.sum())


def dark_energy_share(day: InverterDay, rules: IntradayRules | None = None) -> float:
    """Returns which share of the day's energy came when the sun was down; NaN without energy."""
    rules = rules or IntradayRules()
    power = np.fmax(np.nan_to_num(day.ac_power), 0)
    if power.sum() == 0:
        return float("nan")
    return float(power[day.sun_elevation < rules.dark_elevation].sum() / power.sum())


def clock_faults(
    centroid_hours: Floats,
    expected_hours: Floats,
    dark_share: Floats,
    rules: IntradayRules | None = None,
) -> Bools:
    """Rule 8: tells on which days (a value per day) the clock has been wrong for three.

    `expected_hours` is where a model of the roof, or the site's own earlier days, have the centre
    of energy: an east roof's noon is not the sun's. A clock that follows daylight saving jumps by
    60 minutes, twice the threshold. Days without energy neither count nor interrupt.
    """
    rules = rules or IntradayRules()
    off = np.abs(centroid_hours - expected_hours) > rules.clock_offset / timedelta(hours=1)
    wrong = off | (dark_share > rules.dark_share)
    known = np.isfinite(centroid_hours) & np.isfinite(expected_hours)
    return last_days(wrong, known, rules.clock_days)
