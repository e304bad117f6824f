"""Does an inverter send the same measurement again and again?

Rule 9 of the reference (2.2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from autarco_portal.detection_limit import clipped_steps
from autarco_portal.incidents import Cause, Evidence, State, Verdict
from autarco_portal.intraday_rules import IntradayRules, day_verdict
from autarco_portal.inverter_day import InverterDay, in_runs, runs

if TYPE_CHECKING:
    from autarco_portal.peers import Bools, Floats


def stale_steps(day: InverterDay, rules: IntradayRules | None = None) -> Bools:
    """Rule 9: returns the daylight steps whose power, not zero, has not moved for half an hour.

    A plateau at the limit (rule 7) stands still for a reason.
    """
    rules = rules or IntradayRules()
    power = day.ac_power
    same = np.zeros(day.steps, bool)
    for first, end in _equal_runs(power, rules.stale_steps):
        same[first:end] = True
    found: Bools = same & day.daylight & (power != 0) & ~clipped_steps(day, rules=rules)
    return found


def stale(day: InverterDay, rules: IntradayRules | None = None) -> Verdict:
    """Rule 9 as a verdict on the day."""
    rules = rules or IntradayRules()
    found = in_runs(stale_steps(day, rules), rules.stale_steps)
    evidence: Evidence = {"stale_minutes": float(np.count_nonzero(found)) * day.step_minutes}
    if found.any():
        return day_verdict(
            day, Cause.STALE, State.FAULTY, evidence, rules, alarm=True, begins=int(found.argmax())
        )
    moved = np.count_nonzero(day.daylight & (day.ac_power > 0)) >= rules.stale_steps
    return day_verdict(day, Cause.STALE, State.HEALTHY if moved else State.UNKNOWN, evidence, rules)


def _equal_runs(power: Floats, steps_min: int) -> list[tuple[int, int]]:
    same = np.diff(power) == 0
    return [(first, end + 1) for first, end in runs(same, steps_min - 1)]
