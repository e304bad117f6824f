"""What do an inverter's 5-minute rows show: silence, outage, grid, strings, clock?

One function per rule of the reference (2.2: rules 1, 2, 5, 6, 7, 8, 9 and 14). Each looks at one
inverter's grid and says one `Verdict` about the day, with what it saw as evidence; rules that need
several days take a row per day and return flags. Daily rules over all sites are in `detection`.

Pure: values in, values out.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import numpy.typing as npt

from autarco_portal.availability import GapKind, is_bright, is_off, judge_gaps
from autarco_portal.incidents import Cause, Evidence, Severity, State, Verdict
from autarco_portal.inverter_day import FAULT, InverterDay, in_runs, runs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from autarco_portal.peers import Bools, Floats

MODEL_VERSION = "detection-intraday-1"

AZIMUTH_BINS = 36
"""Of 10 degrees of the sun's azimuth."""


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
        return _verdict(day, Cause.COMMUNICATION_LOSS, state, evidence, rules)
    severity = Severity.ALARM if longest > rules.silence_alarm else Severity.WARNING
    return _verdict(
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
    steps_min = _steps(day, rules.outage_min)
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
        return _verdict(
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
    return _verdict(day, Cause.OUTAGE, state, evidence, rules)


def voltage_trips(day: InverterDay, rules: IntradayRules | None = None) -> Bools:
    """Returns the steps in which the inverter was off because the grid's voltage was high.

    The voltage falls when the inverter lets go, so each standstill is judged by the time before it.
    """
    rules = rules or IntradayRules()
    off = is_off(day) & (day.peer_kw > rules.trip_peer_kw)
    lookback = _steps(day, rules.trip_lookback)
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
        return _verdict(
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
    return _verdict(day, Cause.OVER_VOLTAGE, state, evidence, rules)


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
        return _verdict(
            day, Cause.STALE, State.FAULTY, evidence, rules, alarm=True, begins=int(found.argmax())
        )
    moved = np.count_nonzero(day.daylight & (day.ac_power > 0)) >= rules.stale_steps
    return _verdict(day, Cause.STALE, State.HEALTHY if moved else State.UNKNOWN, evidence, rules)


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
    return _verdict(
        day,
        Cause.THERMAL_DERATING,
        State.FAULTY if held.any() else state,
        evidence,
        rules,
        begins=int(held.argmax()) if held.any() else None,
        lost_kwh=day.energy_kwh(np.fmax(expected - day.ac_power, 0), held),
    )


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


def _flat(day: InverterDay, rules: IntradayRules) -> Bools:
    """Steps that hardly differ from the one before or after."""
    power = day.ac_power
    step = np.abs(np.diff(power)) < rules.clip_change * np.abs(power[1:])
    return np.append(step, False) | np.insert(step, 0, False)


def _equal_runs(power: Floats, steps_min: int) -> list[tuple[int, int]]:
    same = np.diff(power) == 0
    return [(first, end + 1) for first, end in runs(same, steps_min - 1)]


def _log_quotient(over: Floats, under: Floats) -> Floats:
    both = (over > 0) & (under > 0)
    quotient = np.divide(over, under, out=np.ones(over.shape), where=both)
    return np.where(both, np.log(quotient), np.nan)


def _max(values: Floats) -> float | None:
    finite = values[np.isfinite(values)]
    return float(finite.max()) if finite.size else None


def _steps(day: InverterDay, span: timedelta) -> int:
    return max(1, -(-span // day.step))


def _verdict(
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
) -> Verdict:
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
        method=f"neighbours' power, {rules.model_version}",
        evidence=evidence,
    )
