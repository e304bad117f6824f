"""Did the grid's voltage cost energy?

Rule 6 of the reference (2.2): an inverter lets go when the voltage is too high, or holds back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from autarco_portal.availability import is_off
from autarco_portal.incidents import Cause, Evidence, State, Verdict
from autarco_portal.intraday_rules import IntradayRules, day_verdict, steps_in
from autarco_portal.inverter_day import InverterDay, runs

if TYPE_CHECKING:
    from autarco_portal.peers import Bools


def voltage_trips(day: InverterDay, rules: IntradayRules | None = None) -> Bools:
    """Returns the steps in which the inverter was off because the grid's voltage was high.

    The voltage falls when the inverter lets go, so each standstill is judged by the time before it.
    """
    rules = rules or IntradayRules()
    off = is_off(day) & (day.peer_kw > rules.trip_peer_kw)
    lookback = steps_in(day, rules.trip_lookback)
    tripped = np.zeros(day.steps, bool)
    for first, end in runs(off):
        before = day.voltage_max[max(0, first - lookback) : first + 1]
        if np.any(before >= rules.trip_voltage):
            tripped[first:end] = True
    return tripped


def over_voltage(day: InverterDay, rules: IntradayRules | None = None) -> Verdict:
    """Rule 6: did the grid's voltage cost energy, by trips or by throttling?

    Thresholds are settings of the device: give rules per model. An inverter reads 1 to 3 V above
    the connection point, and samples of 5 minutes miss the 10-minute mean that EN 50549 limits.
    """
    rules = rules or IntradayRules()
    tripped = voltage_trips(day, rules)
    throttled, slope = _throttled(day, rules)
    short = np.fmax(0.0, day.ac_power_expected - np.nan_to_num(day.ac_power))
    voltage = day.voltage_max
    high = np.nan_to_num(voltage) >= rules.grid_voltage_limit
    seen = voltage[np.isfinite(voltage)]
    evidence: Evidence = {
        "minutes_over_limit": float(np.count_nonzero(high)) * day.step_minutes,
        "minutes_tripped": float(np.count_nonzero(tripped)) * day.step_minutes,
        "minutes_throttled": float(np.count_nonzero(throttled)) * day.step_minutes,
        "voltage_p95": float(np.percentile(seen, 95)) if seen.size else None,
        "slope_per_volt": slope,
    }
    for phase, values in enumerate(day.ac_voltage, start=1):
        finite = values[np.isfinite(values)]
        evidence[f"ac_voltage_max_l{phase}"] = float(finite.max()) if finite.size else None
    curtailed = tripped | throttled
    if curtailed.any():
        return day_verdict(
            day,
            Cause.OVER_VOLTAGE,
            State.FAULTY,
            evidence,
            rules,
            alarm=True,
            begins=int(np.argmax(curtailed)),
            lost_kwh=day.energy_kwh(short, curtailed),
        )
    could = np.any(day.present & (day.peer_kw > rules.trip_peer_kw))
    state = State.HEALTHY if could else State.UNKNOWN
    return day_verdict(day, Cause.OVER_VOLTAGE, state, evidence, rules)


def _throttled(day: InverterDay, rules: IntradayRules) -> tuple[Bools, float | None]:
    """Steps held down by a rising voltage, and how much of its power a volt took."""
    none = np.zeros(day.steps, bool)
    expected = day.ac_power_expected
    near = (
        (day.voltage_max > rules.throttle_voltage)
        & (day.peer_kw > rules.trip_peer_kw)
        & (day.ac_power > 0)
    )
    if np.count_nonzero(near) < rules.throttle_steps_min:
        return none, None
    share = np.divide(day.ac_power, expected, out=np.full(day.steps, np.nan), where=expected > 0)
    voltage = day.voltage_max[near] - day.voltage_max[near].mean()
    spread = float(voltage @ voltage)
    if spread == 0:
        return none, None
    slope = float(voltage @ share[near] / spread)
    if not slope < rules.throttle_slope:
        return none, slope
    return near & (share < rules.throttle_share), slope
