"""Does one MPP tracker, or a string of it, give less than the others of its inverter?

Rule 5 of the reference (2.2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from autarco_portal.detection_limit import clipped_steps
from autarco_portal.intraday_rules import IntradayRules, last_days

if TYPE_CHECKING:
    from collections.abc import Sequence

    from autarco_portal.inverter_day import InverterDay
    from autarco_portal.peers import Bools, Floats


AZIMUTH_BINS = 36
"""Of 10 degrees of the sun's azimuth."""


def tracker_energy(
    day: InverterDay, tracker_pdc0: Sequence[float], rules: IntradayRules | None = None
) -> npt.NDArray[np.float64]:
    """Rule 5: returns kWh per kWp by tracker and sun azimuth (trackers x AZIMUTH_BINS).

    `tracker_pdc0` is W per tracker, 0 for one without modules, which comes out NaN. Only steps with
    enough power count, and at its limit an inverter shifts trackers as it likes: those do not.
    """
    rules = rules or IntradayRules()
    counted = (day.ac_power > rules.mppt_power_share * day.pac0) & ~clipped_steps(day, rules=rules)
    bins = (day.sun_azimuth[counted] // (360 / AZIMUTH_BINS)).astype(int) % AZIMUTH_BINS
    energy = np.full((len(tracker_pdc0), AZIMUTH_BINS), np.nan)
    for tracker, pdc0 in enumerate(tracker_pdc0):
        if pdc0 <= 0:
            continue
        power = day.dc_voltage[tracker] * day.dc_current[tracker]
        summed = np.bincount(bins, np.nan_to_num(power[counted]), minlength=AZIMUTH_BINS)
        energy[tracker] = summed * day.step_hours / pdc0
    return energy


def mppt_mismatch(
    energy: Floats,
    months: npt.NDArray[np.integer],
    *,
    same_orientation: bool,
    rules: IntradayRules | None = None,
) -> tuple[Floats, Bools]:
    """Rule 5: returns how far each tracker is from the others in ln(q), and when that is a fault.

    `energy` is days x trackers x AZIMUTH_BINS from `tracker_energy`, `months` one per day; both
    results are days x trackers. Trackers of one orientation are compared with 1, others with their
    own last 30 days at the same sun. Only the lower tracker of two is at fault. Days on which not
    both made power do not count.
    """
    rules = rules or IntradayRules()
    used = np.isfinite(energy).all(axis=(0, 2))
    others = np.full_like(energy, np.nan)
    connected = np.flatnonzero(used).tolist()
    for tracker in connected:
        rest = [other for other in connected if other != tracker]
        if rest:
            others[:, tracker] = energy[:, rest].mean(axis=1)
    if same_orientation:
        low = _log_quotient(energy.sum(axis=2), others.sum(axis=2))
    else:
        by_bin = _log_quotient(energy, others)
        low = np.full(energy.shape[:2], np.nan)
        for day in range(len(energy)):
            window = by_bin[max(0, day - rules.mppt_baseline_days) : day]
            count = np.count_nonzero(np.isfinite(window), axis=0)
            usable = (count >= rules.mppt_baseline_days_min) & np.isfinite(by_bin[day])
            for tracker in range(energy.shape[1]):
                at = usable[tracker]
                if at.any():
                    base = np.nanmedian(window[:, tracker, at], axis=0)
                    weight = others[day, tracker, at]
                    low[day, tracker] = np.average(by_bin[day, tracker, at] - base, weights=weight)
    summer = (months >= 4) & (months <= 9)
    threshold = np.where(summer, rules.mppt_summer, rules.mppt_winter)[:, None]
    alarm = np.column_stack(
        [
            last_days(column < -limit, np.isfinite(column), rules.mppt_days)
            for column, limit in zip(low.T, np.broadcast_to(threshold, low.shape).T, strict=True)
        ]
    )
    return low, alarm


def tracker_diagnosis(
    day: InverterDay,
    tracker: int,
    other: int,
    *,
    modules: int = 0,
    rules: IntradayRules | None = None,
) -> str | None:
    """Rule 5: says what a low tracker suffers from, by its voltage and current; None for nothing.

    Both trackers look one way and have as many modules in series (`modules`, 0 if unknown). An open
    string shows on its first day; the rest is a hint beside a mismatch that lasts.
    """
    rules = rules or IntradayRules()
    counted = day.ac_power > rules.mppt_power_share * day.pac0
    if not counted.any():
        return None
    medians = [
        [float(np.median(values[which][counted])) for which in (tracker, other)]
        for values in (np.nan_to_num(day.dc_voltage), np.nan_to_num(day.dc_current))
    ]
    if any(healthy <= 0 for _, healthy in medians):
        return None
    voltage, current = (ours / healthy for ours, healthy in medians)
    if voltage < rules.open_voltage_share or current < rules.open_current_share:
        return "open string"
    same_voltage = abs(voltage - 1) <= rules.same_share
    same_current = abs(current - 1) <= rules.same_share
    if same_voltage and current < 1 - rules.same_share:
        return "lost parallel string, soiling or shade"
    # A module of three groups loses a third of its voltage for each diode that conducts.
    third = 1 / (3 * modules) if modules else 0.0
    if same_current and modules and voltage < 1 - third / 2:
        return f"{round((1 - voltage) / third)} bypass diodes"
    return None


def _log_quotient(over: Floats, under: Floats) -> Floats:
    both = (over > 0) & (under > 0)
    quotient = np.divide(over, under, out=np.ones(over.shape), where=both)
    return np.where(both, np.log(quotient), np.nan)
