"""Was an inverter not heard, or did it stand still while its neighbours produced?

Rules 1 and 2 of the reference (2.2). A silence that the counter proves an outage is one.
"""

from __future__ import annotations

from datetime import timedelta

import numpy as np

from autarco_portal.availability import GapKind, is_bright, is_off, judge_gaps
from autarco_portal.detection_voltage import voltage_trips
from autarco_portal.incidents import Cause, Evidence, Severity, State, Verdict
from autarco_portal.intraday_rules import IntradayRules, day_verdict, steps_in
from autarco_portal.inverter_day import FAULT, InverterDay, in_runs, runs


def communication_loss(
    day: InverterDay,
    *,
    silent_before: timedelta = timedelta(0),
    silent_peers_share: float = 0.0,
    rules: IntradayRules | None = None,
) -> Verdict:
    """Rule 1: was the inverter not heard in daylight?

    `silent_before` is how long it had been silent when the grid begins, `silent_peers_share` which
    share of its peers is silent too. A gap that the counter proves an outage is not counted here.
    """
    rules = rules or IntradayRules()
    gaps = [gap for gap in judge_gaps(day) if gap.kind is not GapKind.OUTAGE]
    dark_s, longest, first = 0.0, timedelta(0), None
    kinds = set()
    for gap in gaps:
        light = int(np.count_nonzero(day.daylight[gap.first : gap.end])) * day.step
        lasted = (gap.end - gap.first) * day.step
        if gap.first == 0:
            lasted += silent_before
        if light <= rules.silence_warn and lasted <= rules.silence_alarm:
            continue
        first = gap.first if first is None else first
        dark_s += light.total_seconds()
        longest = max(longest, lasted)
        kinds.add(str(gap.kind))
    regional = silent_peers_share > rules.silence_regional_share
    evidence: Evidence = {
        "silent_daylight_minutes": dark_s / 60,
        "longest_hours": longest / timedelta(hours=1),
        "kinds": ",".join(sorted(kinds)),
        "silent_peers_share": silent_peers_share,
    }
    if first is None:
        heard = bool(np.any(day.present & day.daylight))
        state = State.HEALTHY if heard else State.UNKNOWN
        return day_verdict(day, Cause.COMMUNICATION_LOSS, state, evidence, rules)
    severity = Severity.ALARM if longest > rules.silence_alarm else Severity.WARNING
    return day_verdict(
        day,
        Cause.COMMUNICATION_LOSS,
        State.UNKNOWN if regional else State.FAULTY,
        evidence,
        rules,
        alarm=not regional,
        severity=severity,
        begins=first,
    )


def outage(day: InverterDay, rules: IntradayRules | None = None) -> Verdict:
    """Rule 2: did the inverter stand still for half an hour while its neighbours produced?

    Rows show it, or the counter afterwards, over a gap. An outage that rising voltage explains is
    the grid's and has its own cause. A grid fault needs no repair, so it warns.
    """
    rules = rules or IntradayRules()
    steps_min = steps_in(day, rules.outage_min)
    tripped = voltage_trips(day, rules)
    off = in_runs(day.daylight & is_bright(day) & is_off(day), steps_min)
    gaps = [gap for gap in judge_gaps(day) if gap.kind is GapKind.OUTAGE]
    lost = day.energy_kwh(day.ac_power_expected, off & ~tripped) + sum(g.lost_kwh for g in gaps)
    begins = [first for first, _ in runs(off & ~tripped)] + [gap.first for gap in gaps]
    evidence: Evidence = {
        "off_minutes": float(np.count_nonzero(off & ~tripped)) * day.step_minutes,
        "silent_outages": len(gaps),
        "fault_status": bool(np.any(off & (day.status == FAULT))),
        "tripped_minutes": float(np.count_nonzero(off & tripped)) * day.step_minutes,
    }
    if begins:
        return day_verdict(
            day,
            Cause.OUTAGE,
            State.FAULTY,
            evidence,
            rules,
            alarm=True,
            severity=Severity.ALARM,
            begins=min(begins),
            lost_kwh=lost,
        )
    ran = day.daylight & is_bright(day) & (day.ac_power > 0)
    state = State.HEALTHY if np.count_nonzero(ran) >= steps_min else State.UNKNOWN
    return day_verdict(day, Cause.OUTAGE, state, evidence, rules)
