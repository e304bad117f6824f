"""What do the readings of one local day say of a whole fleet?

Puts the rules together: energy of each site, its comparison with the neighbours, rules 3 and 4 on
it, the rules on 5-minute rows per inverter, and from all verdicts the incidents. What comes in is
the day's readings and what is remembered of the days before; what comes out are rows of the
derived tables and what the next day must know.

Pure: no clock, disk, network or database.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from autarco_portal import detection, peers
from autarco_portal.detection import Detection, DetectionRules, DetectorState
from autarco_portal.detection_intraday import IntradayRules
from autarco_portal.incidents import (
    Cause,
    Incident,
    IncidentRules,
    State,
    Verdict,
    fold,
    without_regional,
)
from autarco_portal.inverter_rules import InverterFound, inverter_rules, silent_sites
from autarco_portal.peers import NOBODY, Comparison, PeerRules

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date, datetime

    from autarco_portal.fleet import Fleet
    from autarco_portal.fleet_grid import FleetGrid
    from autarco_portal.fleet_memory import Memories, SiteMemory
    from autarco_portal.fleet_sky import ClearDays
    from autarco_portal.inverter_rules import Edge
    from autarco_portal.peers import Bools, Floats

UNSEEN_MAX = 0.06
"""Share of a clear day's energy before the first and after the last sample, above which the day's
energy is not known. The counter tells of what lies between samples, so gaps there do not count."""
INDEX_MIN, INDEX_MAX = 0.2, 2.0
"""What a site may make of what its neighbours make; beyond that its size is wrong, not its day."""
COSTLY = frozenset(
    {
        Cause.OUTAGE,
        Cause.GRID_OUTAGE,
        Cause.ZERO_DAY,
        Cause.UNDERPERFORMANCE,
        Cause.MPPT_MISMATCH,
        Cause.OPEN_STRING,
        Cause.OVER_VOLTAGE,
        Cause.THERMAL_DERATING,
    }
)
"""Causes that take energy: such a site is nobody's peer, and its baseline stands still."""


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """All numbers of all rules."""

    peers: PeerRules = PeerRules()
    detection: DetectionRules = DetectionRules()
    intraday: IntradayRules = IntradayRules()
    incidents: IncidentRules = IncidentRules()

    @property
    def version(self) -> str:
        """One word for all: another one, other numbers."""
        return " ".join(
            (peers.MODEL_VERSION, self.detection.model_version, self.intraday.model_version)
        )


class UnitEnergy(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Energy of the day's inverters, in the order of the grid; NaN where no counter tells."""

    energy_kwh: Floats
    coverage: Floats
    is_whole: Bools
    """The counter tells of nearly all of the day."""


class SiteDay(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What a day showed of all sites and inverters."""

    day: date
    energy_kwh: Floats
    """Per site, as the counters say; NaN if one does not."""
    coverage: Floats
    units: UnitEnergy
    comparison: Comparison
    """One day x sites."""
    detection: Detection
    held: Bools
    inverters: list[InverterFound]
    incidents: list[Incident]
    state: DetectorState


def unit_energy(grid: FleetGrid, clear: ClearDays, energy_kwh: Floats) -> UnitEnergy:
    """Says how much of each inverter's day its samples and counter tell of."""
    light = clear.ac_power[grid.site]
    total = light.sum(axis=1)
    heard = np.where(grid.present, light, 0.0).sum(axis=1)
    coverage = np.divide(heard, total, out=np.zeros(len(total)), where=total > 0)
    passed = np.cumsum(light, axis=1)
    steps = grid.steps
    first = np.argmax(grid.present, axis=1)
    last = steps - 1 - np.argmax(grid.present[:, ::-1], axis=1)
    rows = np.arange(len(total))
    if steps and len(total):
        unseen = passed[rows, first] - light[rows, first] + total - passed[rows, last]
    else:
        unseen = total
    share = np.divide(unseen, total, out=np.ones(len(total)), where=total > 0)
    is_whole = grid.present.any(axis=1) & (share <= UNSEEN_MAX) & np.isfinite(energy_kwh)
    return UnitEnergy(energy_kwh=energy_kwh, coverage=coverage, is_whole=is_whole)


def analyse_day(
    fleet: Fleet,
    grid: FleetGrid,
    clear: ClearDays,
    *,
    energy_kwh: Floats,
    weather_kwh: Floats,
    temp_air: Floats,
    snow: Bools,
    edges: Mapping[str, Edge],
    memory: SiteMemory,
    memories: Memories,
    state: DetectorState,
    incidents: Sequence[Incident],
    now: datetime,
    rules: Rules,
) -> SiteDay:
    """Judges one day, and lets `memory` and `memories` remember it.

    `energy_kwh` is per inverter of the grid; `weather_kwh`, `temp_air` and `snow` per site. `state`
    and `incidents` are those after the day before; `now` becomes the time of detection.
    """
    sites = len(fleet.sites)
    units = unit_energy(grid, clear, energy_kwh)
    known = _of_sites(grid, units.energy_kwh, sites)
    judged = _of_sites(grid, np.where(units.is_whole, units.energy_kwh, np.nan), sites)
    coverage = _coverage(grid, units, sites)
    model = clear.energy_kwh
    running = _open_before(incidents, grid.day, grid.begins)
    held = _flags(fleet, running, COSTLY)
    comparison = peers.compare(
        judged[None],
        model,
        fleet.pdc0_kw,
        fleet.neighbours,
        excluded=held[None],
        weather_kwh=weather_kwh[None],
        rules=rules.peers,
    )
    found = _underperformance(fleet, comparison, coverage, memory, state, held, grid.day, rules)
    verdicts = _site_verdicts(
        fleet, grid, comparison, found, judged, temp_air, snow, running, rules
    )
    inverters = _inverters(
        fleet, grid, clear, comparison, found, held, edges, memory, memories, rules
    )
    verdicts += [verdict for one in inverters for verdict in one.verdicts]
    verdicts = without_regional(verdicts, _near(fleet, verdicts, rules), rules.incidents)
    folded = fold(incidents, _telling(verdicts, incidents), now, rules.incidents)
    memory.put(
        grid.day,
        log_residual=comparison.log_residual[0],
        peer_yield=comparison.peer_yield[0],
        index_peer_median=comparison.index_peer_median[0],
        usable=found.usable[0],
        held=held,
    )
    for one in inverters:
        memories.put(one.unit.serial_number, one.memory)
    return SiteDay(
        day=grid.day,
        energy_kwh=known,
        coverage=coverage,
        units=units,
        comparison=comparison,
        detection=found,
        held=held,
        inverters=inverters,
        incidents=folded,
        state=found.state,
    )


def _of_sites(grid: FleetGrid, values: Floats, sites: int) -> Floats:
    """Sums over the inverters of each site; NaN where one is, or where there is none."""
    total = np.zeros(sites)
    np.add.at(total, grid.site, values)
    has = np.zeros(sites, bool)
    has[grid.site] = True
    return np.where(has, total, np.nan)


def _coverage(grid: FleetGrid, units: UnitEnergy, sites: int) -> Floats:
    weight = np.array([unit.pdc0 for unit in grid.units])
    covered, whole = np.zeros(sites), np.zeros(sites)
    np.add.at(covered, grid.site, weight * units.coverage)
    np.add.at(whole, grid.site, weight)
    share: Floats = np.divide(covered, whole, out=np.zeros(sites), where=whole > 0)
    return share


def _underperformance(
    fleet: Fleet,
    today: Comparison,
    coverage: Floats,
    memory: SiteMemory,
    state: DetectorState,
    held: Bools,
    day: date,
    rules: Rules,
) -> Detection:
    """Rule 4 of one day, with the days of its baseline before it."""
    residual, peer_yield, usable = memory.baseline_days(day, rules.detection.baseline_oldest_days)
    before = len(residual)

    def stacked(earlier: Floats, now: Floats) -> Floats:
        return np.concatenate([earlier, now])

    nothing = np.full(residual.shape, np.nan)
    whole = Comparison(
        n_peers=np.concatenate([np.zeros(residual.shape, np.int16), today.n_peers]),
        peer_yield=stacked(peer_yield, today.peer_yield),
        index_own=stacked(nothing, today.index_own),
        index_peer_median=stacked(nothing, today.index_peer_median),
        expected_kwh=stacked(nothing, today.expected_kwh),
        ratio=stacked(nothing, today.ratio),
        log_residual=stacked(residual, today.log_residual),
        by_peers=today.by_peers,
    )
    covered = np.concatenate([usable.astype(float), coverage[None]])
    season = None
    if (year := memory.season_days(day)) is not None:
        season = detection.season_median(*year, 1, rules.detection)
    return detection.underperformance(
        whole,
        covered,
        fleet.neighbours,
        rules=rules.detection,
        state=state,
        first=before,
        season=season,
        held=held,
    )


def _site_verdicts(
    fleet: Fleet,
    grid: FleetGrid,
    comparison: Comparison,
    found: Detection,
    energy_kwh: Floats,
    temp_air: Floats,
    snow: Bools,
    running: Sequence[Incident],
    rules: Rules,
) -> list[Verdict]:
    zero = detection.zero_days(
        energy_kwh[None],
        comparison.expected_kwh,
        fleet.pdc0_kw,
        fleet.neighbours,
        snow_flag=snow[None],
        temp_air=temp_air[None],
        rules=rules.detection,
    )
    return [
        *detection.underperformance_verdicts(
            found,
            comparison,
            energy_kwh[None],
            fleet.pdc0_kw,
            site_ids=fleet.site_ids,
            days=[grid.day],
            ends=[grid.ends],
            open_sites=_flags(fleet, running, frozenset({Cause.UNDERPERFORMANCE})),
            rules=rules.detection,
        ),
        *detection.zero_day_verdicts(
            zero,
            energy_kwh[None],
            comparison.expected_kwh,
            fleet.pdc0_kw,
            site_ids=fleet.site_ids,
            days=[grid.day],
            ends=[grid.ends],
            open_sites=_flags(fleet, running, frozenset({Cause.ZERO_DAY})),
            rules=rules.detection,
        ),
    ]


def _inverters(
    fleet: Fleet,
    grid: FleetGrid,
    clear: ClearDays,
    comparison: Comparison,
    found: Detection,
    held: Bools,
    edges: Mapping[str, Edge],
    memory: SiteMemory,
    memories: Memories,
    rules: Rules,
) -> list[InverterFound]:
    kw = grid.site_kw(len(fleet.sites))
    # By night there is nothing to compare, and it is half of the day.
    light = np.flatnonzero((clear.sun_elevation > 0).any(axis=0))
    peer_kw = np.full(kw.shape, np.nan, np.float32)
    peer_kw[light], count = peers.median_of_peers(
        np.where(held, np.nan, kw[light]), fleet.neighbours
    )
    peer_kw[light] = np.where(count < rules.peers.peers_min, np.nan, peer_kw[light])
    # The roofs' own shape of day: what looks elsewhere than its neighbours has its noon elsewhere.
    usual = np.exp(np.nan_to_num(found.baseline[0]))
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = comparison.expected_kwh[0] / (fleet.pdc0_kw * comparison.peer_yield[0])
    expected = np.where(np.isfinite(expected), expected, 1.0)
    own_index = np.clip(expected * usual, INDEX_MIN, INDEX_MAX)
    best = memory.best_index(grid.day, rules.detection.baseline_oldest_days)
    index = comparison.index_peer_median[0]
    with np.errstate(invalid="ignore"):
        clear_share = index / np.fmax(best, index)
    silent = silent_sites(grid, clear, len(fleet.sites), rules.intraday)
    return inverter_rules(
        grid,
        clear,
        site_ids=fleet.site_ids,
        peer_kw=peer_kw,
        own_index=own_index,
        clear_share=clear_share,
        silent_peers_share=peers.share_of_peers(
            silent, fleet.neighbours, rules.detection.suppress_km
        ),
        edges=edges,
        memories=memories,
        rules=rules.intraday,
    )


def _open_before(incidents: Iterable[Incident], day: date, begins: datetime) -> list[Incident]:
    """Incidents that went on when the day began, as was known before it.

    When days are judged again, those opened on later days do not count yet.
    """
    return [
        one
        for one in incidents
        if any(verdict.alarm and verdict.day < day for verdict in one.days)
        and (one.closed_at is None or one.closed_at > begins)
    ]


def _flags(fleet: Fleet, incidents: Iterable[Incident], causes: frozenset[Cause]) -> Bools:
    names = {one.site_id for one in incidents if one.cause in causes}
    return np.array([site_id in names for site_id in fleet.site_ids])


def _near(fleet: Fleet, verdicts: Sequence[Verdict], rules: Rules) -> dict[str, list[str]]:
    """The peers near each site that alarms."""
    names = fleet.site_ids
    row = {name: number for number, name in enumerate(names)}
    near = {}
    for name in {verdict.site_id for verdict in verdicts if verdict.alarm}:
        peer = fleet.neighbours.peer[row[name]]
        close = fleet.neighbours.distance_km[row[name]] <= rules.detection.suppress_km
        near[name] = [names[one] for one in peer[(peer != NOBODY) & close].tolist()]
    return near


def _telling(verdicts: Iterable[Verdict], incidents: Iterable[Incident]) -> list[Verdict]:
    """Verdicts that can change anything: those that alarm, and those of a known incident."""
    known = {(one.site_id, one.inverter_sn, one.cause) for one in incidents}
    return [
        one
        for one in verdicts
        if (one.alarm and one.state is State.FAULTY)
        or (one.site_id, one.inverter_sn, one.cause) in known
    ]
