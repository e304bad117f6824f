"""What do the rules on 5-minute rows say of every inverter on one day?

Runs the rules of `detection_intraday` and `availability` over a fleet's grid, with each inverter's
neighbours and earlier days beside it. Thermal derating is left out: no site knows yet at what
temperature its inverter's data sheet begins.

Pure: values in, values out.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from autarco_portal import detection_intraday as intraday
from autarco_portal.availability import Availability, availability
from autarco_portal.detection_intraday import AZIMUTH_BINS, IntradayRules
from autarco_portal.fleet_memory import InverterMemory, Memories
from autarco_portal.incidents import Cause, Evidence, Severity, State, Verdict
from autarco_portal.intraday_rules import day_verdict
from autarco_portal.inverter_day import TRACKERS, InverterDay, runs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta

    from autarco_portal.fleet import Unit
    from autarco_portal.fleet_grid import FleetGrid
    from autarco_portal.fleet_sky import ClearDays
    from autarco_portal.peers import Bools, Floats

_verdict = partial(day_verdict, method="own and neighbours' days")

STALE_SHARE = 0.05
"""Of the rating; smaller power that does not move proves nothing."""
OPEN_ENERGY_SHARE = 0.6
"""Of the other tracker's; a string that is open for most of the day's power gives less."""
CLOCK_DAYS, CLOCK_DAYS_MIN = 30, 10
"""An inverter's own earlier days say where its energy's middle lies beside its neighbours'."""
CLEAR_SHARE, CLOUDLESS_SHARE = 0.85, 0.93
"""Of the best index the neighbours had in the days of the baseline. A clear day shows a limit; the
middle of the day's energy is that of the sun on a cloudless one only, elsewhere clouds move it."""


class Edge(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an inverter around a day in which it was silent at the beginning or end."""

    silent_before: timedelta
    energy_before_wh: float
    energy_after_wh: float


class InverterFound(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What a day showed of one inverter."""

    unit: Unit
    availability: Availability
    verdicts: list[Verdict]
    memory: InverterMemory
    minutes_clipped: float
    minutes_tripped: float
    minutes_over_limit: float
    curtailed_kwh: float
    mppt_ratio: float
    """Lowest tracker over the others'; NaN with fewer than two."""


def inverter_rules(
    grid: FleetGrid,
    clear: ClearDays,
    *,
    site_ids: Sequence[str],
    peer_kw: Floats,
    own_index: Floats,
    clear_share: Floats,
    silent_peers_share: Floats,
    edges: Mapping[str, Edge],
    memories: Memories,
    rules: IntradayRules | None = None,
) -> list[InverterFound]:
    """Judges all inverters of a day; `peer_kw` is steps x sites, the others one value per site.

    `clear_share` is how much light the neighbours had beside their best day, `edges` has the
    inverters that were silent at an end of the day.
    """
    rules = rules or IntradayRules()
    found = []
    for row, unit in enumerate(grid.units):
        site = unit.site
        edge = edges.get(unit.serial_number)
        cell = int(clear.cell[site])
        day = grid.inverter(
            row,
            site_id=site_ids[site],
            sun_elevation=clear.sun_elevation[cell],
            sun_azimuth=clear.sun_azimuth[cell],
            peer_kw=peer_kw[:, site],
            own_index=float(own_index[site]),
            energy_before_wh=edge.energy_before_wh if edge else np.nan,
            energy_after_wh=edge.energy_after_wh if edge else np.nan,
        )
        before = memories.before(unit.serial_number, grid.day)
        found.append(
            _judged(
                day,
                unit,
                before,
                edge,
                float(clear_share[site]),
                float(silent_peers_share[site]),
                rules,
            )
        )
    return found


def silent_sites(grid: FleetGrid, clear: ClearDays, sites: int, rules: IntradayRules) -> Bools:
    """Tells which sites have an inverter that was not heard for longer than rule 1 allows."""
    steps = int(rules.silence_warn.total_seconds() // 300)
    silent = np.zeros(sites, bool)
    for row, unit in enumerate(grid.units):
        daylight = clear.sun_elevation[clear.cell[unit.site]] > 3
        if not silent[unit.site] and runs(~grid.present[row] & daylight, steps + 1):
            silent[unit.site] = True
    return silent


def _judged(
    day: InverterDay,
    unit: Unit,
    before: list[InverterMemory],
    edge: Edge | None,
    clear_share: float,
    silent_peers_share: float,
    rules: IntradayRules,
) -> InverterFound:
    tripped = intraday.voltage_trips(day, rules)
    voltage = intraday.over_voltage(day, rules)
    memory = _memory(day, unit, clear_share, rules)
    history = [*before, memory]
    verdicts = [
        intraday.communication_loss(
            day,
            **({"silent_before": edge.silent_before} if edge else {}),
            silent_peers_share=silent_peers_share,
            rules=rules,
        ),
        intraday.outage(day, rules),
        voltage,
        intraday.stale(_above_noise(day), rules),
        *_clock(day, history, rules),
        *_limit(day, history, rules),
        *_trackers(day, unit, history, rules),
    ]
    return InverterFound(
        unit=unit,
        availability=availability(day, grid_off=tripped),
        verdicts=verdicts,
        memory=memory,
        minutes_clipped=_minutes(day, intraday.clipped_steps(day, rules=rules)),
        minutes_tripped=_minutes(day, tripped),
        minutes_over_limit=_minutes(
            day, np.nan_to_num(day.voltage_max) >= rules.grid_voltage_limit
        ),
        curtailed_kwh=voltage.lost_kwh,
        mppt_ratio=_mppt_ratio(memory.tracker_energy),
    )


def _above_noise(day: InverterDay) -> InverterDay:
    """Hides small power: in dim light the last digit of a current stands still by itself."""
    power = np.where(day.ac_power < STALE_SHARE * day.pac0, np.nan, day.ac_power)
    return msgspec.structs.replace(day, ac_power=power)


def _memory(
    day: InverterDay, unit: Unit, clear_share: float, rules: IntradayRules
) -> InverterMemory:
    trackers = np.full((TRACKERS, AZIMUTH_BINS), np.nan)
    if sum(watts > 0 for watts in unit.tracker_pdc0) > 1:
        known = unit.tracker_pdc0[:TRACKERS]
        trackers[: len(known)] = intraday.tracker_energy(day, known, rules)
    cloudless = clear_share >= CLOUDLESS_SHARE
    neighbours = np.nan_to_num(day.peer_kw)
    hours = (np.arange(day.steps) + 0.5) * day.step_hours
    total = float(neighbours.sum())
    return InverterMemory(
        date=day.day,
        is_clear=clear_share >= CLEAR_SHARE,
        limit_plateau=intraday.limit_plateau(day, rules),
        energy_centroid=intraday.energy_centroid(day) if cloudless else np.nan,
        peer_centroid=float(neighbours @ hours) / total if cloudless and total > 0 else np.nan,
        dark_energy_share=intraday.dark_energy_share(day, rules),
        night_offset=intraday.night_offset(day, rules),
        tracker_energy=trackers,
    )


def _clock(day: InverterDay, history: list[InverterMemory], rules: IntradayRules) -> list[Verdict]:
    """Rule 8, against the neighbours' middle of energy and what is usual beside it."""
    own = np.array([one.energy_centroid for one in history])
    theirs = np.array([one.peer_centroid for one in history])
    dark = np.array([one.dark_energy_share for one in history])
    apart = own - theirs
    # A clock that went wrong some days ago must not be what is usual.
    usual = apart[: -rules.clock_days][-CLOCK_DAYS:]
    usual = usual[np.isfinite(usual)]
    shift = float(np.median(usual)) if len(usual) >= CLOCK_DAYS_MIN else np.nan
    if not np.isfinite(shift) or not np.isfinite(apart[-1]):
        return [_verdict(day, Cause.CLOCK, State.UNKNOWN, {}, rules)]
    wrong = intraday.clock_faults(own, theirs + shift, dark, rules)
    off_h = float(apart[-1] - shift)
    faulty = abs(off_h) * 3600 > rules.clock_offset.total_seconds() or dark[-1] > rules.dark_share
    evidence: Evidence = {"offset_minutes": off_h * 60, "dark_energy_share": float(dark[-1])}
    return [
        _verdict(
            day,
            Cause.CLOCK,
            State.FAULTY if faulty else State.HEALTHY,
            evidence,
            rules,
            alarm=bool(wrong[-1]),
        )
    ]


def _limit(day: InverterDay, history: list[InverterMemory], rules: IntradayRules) -> list[Verdict]:
    """Rule 7: a plateau on every clear day is a limit that somebody set."""
    if not history[-1].is_clear:
        return [_verdict(day, Cause.FIXED_LIMIT, State.UNKNOWN, {}, rules)]
    plateaus = np.array([one.limit_plateau for one in history if one.is_clear])
    limited = intraday.fixed_limit(plateaus, rules)
    held = np.isfinite(plateaus[-1])
    evidence: Evidence = {"plateau_w": float(plateaus[-1]) if held else None}
    return [
        _verdict(
            day,
            Cause.FIXED_LIMIT,
            State.FAULTY if held else State.HEALTHY,
            evidence,
            rules,
            alarm=limited,
            severity=Severity.INFO,
        )
    ]


def _trackers(
    day: InverterDay, unit: Unit, history: list[InverterMemory], rules: IntradayRules
) -> list[Verdict]:
    """Rule 5: the lower of the trackers, by its energy, and on the first day by its string."""
    connected = [number for number, watts in enumerate(unit.tracker_pdc0[:TRACKERS]) if watts > 0]
    if len(connected) < 2:
        return []
    energy = np.stack([one.tracker_energy for one in history])
    months = np.array([one.date.month for one in history])
    # Days before the trackers were known as they are now say nothing.
    known: Bools = np.all(np.isfinite(energy[:, connected]), axis=(1, 2))
    low, alarm = intraday.mppt_mismatch(
        energy[known], months[known], same_orientation=unit.trackers_look_alike, rules=rules
    )
    limit = rules.mppt_summer if 4 <= day.day.month <= 9 else rules.mppt_winter
    if not known[-1] or not np.isfinite(low[-1, connected]).any():
        # An open string leaves no quotient to look at.
        mismatch = _verdict(day, Cause.MPPT_MISMATCH, State.UNKNOWN, {}, rules)
    else:
        worst = connected[int(np.nanargmin(low[-1, connected]))]
        others = [number for number in connected if number != worst]
        faulty = bool(low[-1, worst] < -limit)
        lost = _other_energy(energy[-1], others) - float(energy[-1, worst].sum())
        mismatch = _verdict(
            day,
            Cause.MPPT_MISMATCH,
            State.FAULTY if faulty else State.HEALTHY,
            {
                "tracker": worst + 1,
                "ln_q": float(low[-1, worst]),
                "looks_like": intraday.tracker_diagnosis(day, worst, others[0], rules=rules)
                if faulty and unit.trackers_look_alike
                else None,
            },
            rules,
            alarm=bool(alarm[-1].any()) and faulty,
            lost_kwh=max(0.0, lost) * unit.tracker_pdc0[worst] / 1_000 if faulty else 0.0,
        )
    return [mismatch, _open_string(day, unit, connected, energy[-1], rules)]


def _open_string(
    day: InverterDay, unit: Unit, connected: list[int], energy: Floats, rules: IntradayRules
) -> Verdict:
    made = np.nansum(energy, axis=1)
    for tracker in connected:
        for other in connected:
            # Most days need no closer look.
            if other == tracker or made[tracker] > OPEN_ENERGY_SHARE * made[other]:
                continue
            looks_like = intraday.tracker_diagnosis(day, tracker, other, rules=rules)
            if looks_like != "open string":
                continue
            lost = _other_energy(energy, [other]) * unit.tracker_pdc0[tracker] / 1_000
            return _verdict(
                day,
                Cause.OPEN_STRING,
                State.FAULTY,
                {"tracker": tracker + 1},
                rules,
                alarm=True,
                severity=Severity.ALARM,
                lost_kwh=max(0.0, lost),
            )
    state = State.HEALTHY if (made[connected] > 0).all() else State.UNKNOWN
    return _verdict(day, Cause.OPEN_STRING, state, {}, rules)


def _other_energy(energy: Floats, others: list[int]) -> float:
    """Mean kWh per kWp of the other trackers."""
    return float(np.nansum(energy[others])) / len(others)


def _mppt_ratio(energy: Floats) -> float:
    made = energy.sum(axis=1)
    made = made[np.isfinite(made)]
    if len(made) < 2 or made.sum() <= made.min():
        return float("nan")
    low = int(made.argmin())
    return float(made[low] / np.delete(made, low).mean())


def _minutes(day: InverterDay, steps: Bools) -> float:
    return float(np.count_nonzero(steps)) * day.step_minutes
