"""Which sites make less than they should, judged day by day?

Two rules of the reference (2.2): underperformance (rule 4: the site against its peers, summed up by
a CUSUM, with a fast lane for large losses) and the day without energy (rule 3). Rules on
5-minute rows are in `detection_intraday`, the comparison itself in `peers`.

Pure and over all sites at once: arrays are days x sites, days without gaps. A day that cannot be
used (NaN, dark, little data) changes nothing: it is neither a loss nor a recovery. Nothing depends
on the order of the sites.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import numpy.typing as npt

from autarco_portal.incidents import Cause, Severity, State, Verdict
from autarco_portal.peers import (
    NOBODY,
    Bools,
    Comparison,
    Floats,
    Neighbours,
    median_of_last_axis,
    share_of_peers,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime

MODEL_VERSION = "detection-2"

# The median absolute deviation of a normal distribution times this is its standard deviation.
MAD_TO_SIGMA = 1.4826

YEAR_DAYS = 365


class DetectionRules(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of rules 3 and 4; defaults are the reference's (2.2) unless said otherwise."""

    model_version: str = MODEL_VERSION

    usable_yield: float = 1.0
    """kWh/kWp of the peers; a darker day says nothing."""
    usable_coverage: float = 0.94
    baseline_oldest_days: int = 49
    baseline_newest_days: int = 7
    baseline_days_min: int = 10
    """Usable days a baseline needs. Our choice: the median's error is then 40 % of a day's."""
    trend_days_min: int = 15
    """Usable days that tell whether the baseline falls. Our choice."""
    trend_max: float = 0.15
    """No season takes more between a baseline and its day. Our choice."""
    sigma_floor: float = 0.025
    sigma_floor_dark: float = 0.10
    """Over the peers' yield: dark days are noisy."""
    sigma_floor_alone: float = 0.05
    """Without peers."""
    sigma_floor_dark_alone: float = 0.20
    z_limit: float = 4.0
    cusum_k: float = 0.75
    cusum_h: float = 7.0
    confirm_days: int = 5
    confirm_below: float = -0.05
    """Mean of the last usable days."""
    confirm_sigmas: float = 1.5
    """It is so many of the day's sigmas below, in both lanes: a shaded roof in November is not
    steady enough for 5 %. Our choice."""
    confirm_loss: float = 1.0
    """kWh/kWp."""
    fast_days: int = 4
    """Of the last `confirm_days` usable ones."""
    fast_below: float = -0.12
    blank_days: int = 28
    suppress_share: float = 0.20
    suppress_km: float = 10.0
    recovered_within: float = 0.05
    """So near to its baseline a day is healthy."""

    zero_share: float = 0.05
    zero_expected: float = 0.5
    """kWh/kWp."""
    zero_peers_share: float = 0.30
    snow_temp: float = 1.0
    """°C."""

    season_days: int = 21
    """Half the width of last year's window: as long as the baseline's. Our choice."""


class DetectorState(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What the detector carries from day to day; per site."""

    cusum: Floats
    baseline: Floats
    spread: Floats
    """Robust standard deviation of the baseline's days."""
    loss: Floats
    """kWh/kWp since the sum left zero."""
    run_days: npt.NDArray[np.int32]
    """Days since the sum left zero."""
    blank_days: npt.NDArray[np.int32]
    """Days for which the detector still rests after an alarm."""
    recent: Floats
    """Deviations of the last `confirm_days` usable days, newest last; that many x sites."""

    @classmethod
    def new(cls, sites: int, rules: DetectionRules) -> DetectorState:
        """Returns the state of sites that nobody has looked at."""
        return cls(
            cusum=np.zeros(sites),
            baseline=np.full(sites, np.nan),
            spread=np.full(sites, np.nan),
            loss=np.zeros(sites),
            run_days=np.zeros(sites, np.int32),
            blank_days=np.zeros(sites, np.int32),
            recent=np.full((rules.confirm_days, sites), np.nan),
        )


class Detection(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What the detector saw; arrays evaluated days x sites."""

    usable: Bools
    baseline: Floats
    sigma: Floats
    z: Floats
    cusum: Floats
    """As the day left it, before an alarm resets it."""
    deviation: Floats
    """exp(log_residual - baseline) - 1; -0.2 is 20 % below what is usual."""
    alarm: Bools
    fast: Bools
    """Which alarms the fast lane raised."""
    suppressed: Bools
    """Alarms that too many peers nearby share."""
    onset_days: npt.NDArray[np.int32]
    """On alarms: how many days before the fault seems to have begun."""
    loss: Floats
    """kWh/kWp since then, on alarms; else NaN."""
    state: DetectorState
    """After the last day."""
    model_version: str = MODEL_VERSION


def underperformance(
    comparison: Comparison,
    coverage: Floats,
    peers: Neighbours,
    *,
    rules: DetectionRules | None = None,
    state: DetectorState | None = None,
    first: int = 0,
    season: Floats | None = None,
    held: Bools | None = None,
) -> Detection:
    """Runs rule 4 over the days from `first` on; earlier ones serve the baseline only.

    A baseline is a month old, and the season goes on: where its own days fall, it is moved on along
    their line. Only downwards: a line that rises makes alarms of a site that merely stops rising.

    `coverage` (days x sites) is the share of the day's samples that came. `state` is that after the
    day before `first`, from an earlier run; without it sites start afresh. `season` (evaluated
    days x sites) is the `season_median` of a year ago; where there is one, the baseline is the mean
    of both. `held` (per site) are sites with an open
    incident: their baseline stays what it was, or a fault would become what is usual. Give at least
    `baseline_oldest_days` before `first`, or the first days have no baseline.

    What an alarm leaves behind: the sum starts anew, the detector rests for `blank_days` and the
    baseline stays as it was before the fault. A suppressed alarm only resets the sum.
    """
    rules = rules or DetectionRules()
    days, sites = comparison.log_residual.shape
    was = state or DetectorState.new(sites, rules)
    usable = usable_days(comparison, coverage, rules)
    residual = np.where(usable, comparison.log_residual, np.nan)
    trailing, spread = _trailing(residual, first, rules)
    trailing = trailing + _falling(residual, trailing, spread, first, rules)
    if season is not None:
        known = np.isfinite(season)
        trailing = np.where(known, (trailing + season) / 2, trailing)
    floor = _sigma_floor(comparison, rules)

    cusum, loss = was.cusum.copy(), was.loss.copy()
    baseline, sigma_spread = was.baseline.copy(), was.spread.copy()
    run, blank = was.run_days.copy(), was.blank_days.copy()
    recent = was.recent.copy()
    kept = np.zeros(sites, bool) if held is None else held & np.isfinite(baseline)
    seen = _Recorder(days - first, sites)
    for row, day in enumerate(range(first, days)):
        resting = blank > 0
        moves = ~resting & ~kept & (cusum <= rules.cusum_h / 2) & np.isfinite(trailing[row])
        baseline = np.where(moves, trailing[row], baseline)
        sigma_spread = np.where(moves, spread[row], sigma_spread)
        sigma = np.fmax(sigma_spread, floor[day])
        difference = residual[day] - baseline
        known = np.isfinite(difference)
        z = np.clip(difference / sigma, -rules.z_limit, rules.z_limit)
        counts = known & ~resting

        cusum = np.where(counts, np.maximum(0.0, cusum - z - rules.cusum_k), cusum)
        running = cusum > 0
        run = np.where(running, run + 1, 0).astype(np.int32)
        lost = np.where(counts, -np.expm1(difference) * comparison.peer_yield[day], 0.0)
        loss = np.where(running, loss + lost, 0.0)
        recent = np.where(counts, np.vstack((recent[1:], difference[None])), recent)

        with_all = np.isfinite(recent).all(axis=0)
        mean = np.where(with_all, recent.mean(axis=0), 0.0)
        clear = counts & (mean < -rules.confirm_sigmas * sigma)
        confirmed = (np.expm1(mean) < rules.confirm_below) & (loss > rules.confirm_loss)
        slow = clear & (cusum > rules.cusum_h) & confirmed
        low = np.count_nonzero(np.expm1(recent) < rules.fast_below, axis=0)
        fast = clear & (low >= rules.fast_days)
        raised = slow | fast
        shared = np.zeros(sites, bool)
        if raised.any():
            shared = raised & (
                share_of_peers(raised, peers, rules.suppress_km) > rules.suppress_share
            )
        alarm = raised & ~shared

        seen.baseline[row], seen.sigma[row] = baseline, sigma
        seen.z[row], seen.cusum[row] = np.where(known, z, np.nan), cusum
        seen.deviation[row] = np.expm1(difference)
        seen.alarm[row], seen.fast[row], seen.suppressed[row] = alarm, alarm & ~slow, shared
        seen.onset[row] = np.where(alarm, np.maximum(run - 1, 0), 0)
        seen.loss[row] = np.where(alarm, loss, np.nan)

        cusum[raised], loss[raised], run[raised] = 0.0, 0.0, 0
        recent[:, raised] = np.nan
        blank = np.where(alarm, rules.blank_days, np.maximum(blank - 1, 0)).astype(np.int32)
    return Detection(
        usable=usable[first:],
        baseline=seen.baseline,
        sigma=seen.sigma,
        z=seen.z,
        cusum=seen.cusum,
        deviation=seen.deviation,
        alarm=seen.alarm,
        fast=seen.fast,
        suppressed=seen.suppressed,
        onset_days=seen.onset,
        loss=seen.loss,
        state=DetectorState(
            cusum=cusum,
            baseline=baseline,
            spread=sigma_spread,
            loss=loss,
            run_days=run,
            blank_days=blank,
            recent=recent,
        ),
        model_version=rules.model_version,
    )


def zero_days(
    energy_kwh: Floats,
    expected_kwh: Floats,
    pdc0_kw: Floats,
    peers: Neighbours,
    *,
    snow_flag: Bools,
    temp_air: Floats,
    rules: DetectionRules | None = None,
) -> Bools:
    """Runs rule 3: days (days x sites) with next to no energy where peers had some.

    `snow_flag` is the weather station's and `temp_air` the day's mean in °C, both days x sites.
    Snow may lie on the roof while peers melt free; and where many peers are as low it is not the
    site. NaN energy is an unknown day, never a zero one. Unknown temperature guards nothing.
    """
    rules = rules or DetectionRules()
    low = energy_kwh < rules.zero_share * expected_kwh
    bright = expected_kwh / pdc0_kw > rules.zero_expected
    snowy = snow_flag | (temp_air < rules.snow_temp)
    alike = np.array(
        [_low_peers(day, energy, peers) for day, energy in zip(low, energy_kwh, strict=True)]
    )
    zero: Bools = low & bright & ~snowy & ~(alike > rules.zero_peers_share)
    return zero


def underperformance_verdicts(
    detection: Detection,
    comparison: Comparison,
    energy_kwh: Floats,
    pdc0_kw: Floats,
    *,
    site_ids: Sequence[str],
    days: Sequence[date],
    ends: Sequence[datetime],
    open_sites: Bools,
    rules: DetectionRules | None = None,
) -> list[Verdict]:
    """Says what rule 4 means for incidents: of sites that alarm, and of those with an open one.

    Arrays are the evaluated days x sites, `open_sites` per site; `ends` is when each local day ends
    in UTC. The loss is counted against what the site used to make of its peers' day; on the day of
    the alarm with what it lost since the fault began. A day well above its baseline is healthy too.
    """
    rules = rules or DetectionRules()
    method = [f"{name}, {detection.model_version}" for name in comparison.method]
    usual = comparison.expected_kwh[-len(days) :] * np.exp(detection.baseline)
    missed = np.fmax(np.nan_to_num(usual - energy_kwh[-len(days) :]), 0.0)
    faulty = detection.usable & (detection.deviation < -rules.recovered_within)
    found = []
    for site in np.flatnonzero(open_sites | detection.alarm.any(axis=0)).tolist():
        speaks = bool(open_sites[site])
        for row, day in enumerate(days):
            alarm = bool(detection.alarm[row, site])
            speaks |= alarm
            if not speaks:
                continue
            state = State.UNKNOWN
            if detection.usable[row, site] and np.isfinite(detection.deviation[row, site]):
                state = State.FAULTY if alarm or faulty[row, site] else State.HEALTHY
            before = int(detection.onset_days[row, site])
            lost = float(missed[row, site]) if state is State.FAULTY else 0.0
            if alarm:
                lost = max(lost, float(detection.loss[row, site] * pdc0_kw[site]))
            found.append(
                Verdict(
                    site_id=site_ids[site],
                    cause=Cause.UNDERPERFORMANCE,
                    day=day,
                    state=state,
                    alarm=alarm,
                    severity=Severity.WARNING,
                    begins=ends[row] - timedelta(days=before + 1),
                    ends=ends[row],
                    lost_kwh=lost,
                    method=method[site],
                    evidence={
                        "deviation": _number(detection.deviation[row, site]),
                        "baseline": _number(detection.baseline[row, site]),
                        "z": _number(detection.z[row, site]),
                        "cusum": _number(detection.cusum[row, site]),
                        "n_peers": int(comparison.n_peers[row - len(days), site]),
                        "fast_lane": bool(detection.fast[row, site]),
                    },
                )
            )
    return found


def zero_day_verdicts(
    zero: Bools,
    energy_kwh: Floats,
    expected_kwh: Floats,
    pdc0_kw: Floats,
    *,
    site_ids: Sequence[str],
    days: Sequence[date],
    ends: Sequence[datetime],
    open_sites: Bools,
    rules: DetectionRules | None = None,
) -> list[Verdict]:
    """Says what rule 3 means for incidents; arguments as for `underperformance_verdicts`."""
    rules = rules or DetectionRules()
    bright = expected_kwh / pdc0_kw > rules.zero_expected
    healthy = bright & (energy_kwh >= rules.zero_share * expected_kwh)
    return [
        Verdict(
            site_id=site_ids[site],
            cause=Cause.ZERO_DAY,
            day=day,
            state=State.FAULTY
            if zero[row, site]
            else (State.HEALTHY if healthy[row, site] else State.UNKNOWN),
            alarm=bool(zero[row, site]),
            severity=Severity.ALARM,
            ends=ends[row],
            lost_kwh=float(expected_kwh[row, site] - energy_kwh[row, site])
            if zero[row, site]
            else 0.0,
            method=f"peers, {rules.model_version}",
            evidence={
                "energy_kwh": _number(energy_kwh[row, site]),
                "expected_kwh": _number(expected_kwh[row, site]),
            },
        )
        for site in np.flatnonzero(open_sites | zero.any(axis=0)).tolist()
        for row, day in enumerate(days)
    ]


def usable_days(
    comparison: Comparison, coverage: Floats, rules: DetectionRules | None = None
) -> Bools:
    """Tells which days (days x sites) say something about a site: bright, and with data."""
    rules = rules or DetectionRules()
    bright = comparison.peer_yield > rules.usable_yield
    usable: Bools = np.isfinite(comparison.log_residual) & bright
    return usable & (coverage > rules.usable_coverage)


def season_median(
    log_residual: Floats, usable: Bools, days: int, rules: DetectionRules | None = None
) -> Floats:
    """Returns the median of last year's same season, for the last `days` days (days x sites).

    `log_residual` and `usable` end on the last day to judge and begin more than a year before the
    first. Days of faults then should not be usable. NaN where last year says nothing.
    """
    rules = rules or DetectionRules()
    found = [
        _window_median(
            np.where(usable, log_residual, np.nan),
            day - YEAR_DAYS - rules.season_days,
            day - YEAR_DAYS + rules.season_days + 1,
            rules.baseline_days_min,
        )[0]
        for day in range(len(log_residual) - days, len(log_residual))
    ]
    return np.array(found).reshape(days, log_residual.shape[1])


class _Recorder:
    """Room for what the detector sees."""

    def __init__(self, days: int, sites: int) -> None:
        shape = days, sites
        self.baseline, self.sigma, self.z, self.cusum, self.deviation, self.loss = (
            np.full(shape, np.nan) for _ in range(6)
        )
        self.alarm, self.fast, self.suppressed = (np.zeros(shape, bool) for _ in range(3))
        self.onset = np.zeros(shape, np.int32)


def _trailing(residual: Floats, first: int, rules: DetectionRules) -> tuple[Floats, Floats]:
    """Median and robust standard deviation of the days before each day from `first` on."""
    found = [
        _window_median(
            residual,
            day - rules.baseline_oldest_days,
            day - rules.baseline_newest_days + 1,
            rules.baseline_days_min,
        )
        for day in range(first, len(residual))
    ]
    sites = residual.shape[1]
    medians = np.array([median for median, _ in found]).reshape(len(found), sites)
    spreads = np.array([spread for _, spread in found]).reshape(len(found), sites)
    return medians, spreads


def _falling(
    residual: Floats, trailing: Floats, spread: Floats, first: int, rules: DetectionRules
) -> Floats:
    """How far the baseline's days have fallen until the day itself, by least squares; 0 or below.

    A horizon that the model does not know takes the sun of an autumn step by step. Outliers count
    as far as z would.
    """
    oldest, newest = rules.baseline_oldest_days, rules.baseline_newest_days
    limit = rules.z_limit * np.fmax(spread, rules.sigma_floor)
    fallen = np.zeros_like(trailing)
    for row, day in enumerate(range(first, len(residual))):
        window = residual[max(day - oldest, 0) : max(day - newest + 1, 0)]
        if len(window) < rules.trend_days_min:
            continue
        at = np.arange(-len(window) - newest + 1, -newest + 1, dtype=np.float64)
        known = np.isfinite(window) & np.isfinite(trailing[row])
        above = np.clip(window - trailing[row], -limit[row], limit[row])
        above = np.where(known, above, 0.0)
        n, at_sum, square_sum = np.vstack((np.ones_like(at), at, at**2)) @ known
        sum_, product_sum = np.vstack((np.ones_like(at), at)) @ above
        enough = n >= rules.trend_days_min
        n = np.where(enough, n, np.nan)
        slope = (product_sum - at_sum * sum_ / n) / (square_sum - at_sum**2 / n)
        moved = np.where(enough, np.minimum(slope, 0.0) * -at_sum / n, 0.0)
        fallen[row] = np.maximum(moved, -rules.trend_max)
    return fallen


def _window_median(residual: Floats, begin: int, end: int, days_min: int) -> tuple[Floats, Floats]:
    """Median and robust standard deviation per site over the days from `begin` before `end`."""
    window = np.ascontiguousarray(residual[max(begin, 0) : max(end, 0)].T, np.float32)
    if window.shape[1] == 0:
        nothing = np.full(len(window), np.nan)
        return nothing, nothing.copy()
    median, count = median_of_last_axis(window)
    spread, _ = median_of_last_axis(np.abs(window - median[:, None]))
    few = count < days_min
    return np.where(few, np.nan, median), np.where(few, np.nan, MAD_TO_SIGMA * spread)


def _sigma_floor(comparison: Comparison, rules: DetectionRules) -> Floats:
    """What noise a day has at least, by its light."""
    steady = np.where(comparison.by_peers, rules.sigma_floor, rules.sigma_floor_alone)
    dark = np.where(comparison.by_peers, rules.sigma_floor_dark, rules.sigma_floor_dark_alone)
    light = np.where(comparison.peer_yield > 0, comparison.peer_yield, np.nan)
    floor: Floats = np.sqrt(steady**2 + (dark / light) ** 2)
    return floor


def _number(value: np.floating) -> float | None:
    """JSON knows no NaN."""
    return float(value) if np.isfinite(value) else None


def _low_peers(low: Bools, energy: Floats, peers: Neighbours) -> Floats:
    """Which share of the peers that said anything is low too, per site."""
    known = (peers.peer != NOBODY) & np.isfinite(energy)[peers.peer]
    alike = np.count_nonzero(known & low[peers.peer], axis=1)
    share: Floats = alike / np.maximum(np.count_nonzero(known, axis=1), 1)
    return share
