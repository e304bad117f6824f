"""How are all sites at this moment? Looked up for the whole fleet, some seconds old at most.

A list of ten thousand sites needs the health of each to count and to filter; one by one that takes
seconds. Here it is two short questions to the store and one pass over the newest readings, kept for
all who ask.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeAlias

import polars as pl
from litestar.di import NamedDependency
from msgspec import Struct, structs

from autarco_portal.inverter_record import FAULT, GRID_VOLTAGE_MIN, STALE_US
from autarco_portal.site_health import Health, Heard, health

if TYPE_CHECKING:
    from autarco_portal.incidents import Cause, Severity
    from autarco_portal.live_fleet import Snapshot
    from autarco_portal.store import Store

KEPT_S = 20.0
_FRESH = timedelta(microseconds=STALE_US)


class SiteNow(Struct, frozen=True, kw_only=True):
    """A site as a list shows it; power in W."""

    health: Health
    power: float | None = None
    latest_at: datetime | None = None
    alarms_open: int = 0
    inverters: dict[str, Health] = {}


NOT_HEARD = SiteNow(health=Health.UNMONITORED)


def since(site: SiteNow, at: datetime | None) -> SiteNow:
    """Returns a site as somebody may see it whose time there began at a moment; None: since ever.

    What is wrong with it now is his to know, what was measured before is not.
    """
    if at is None or site.latest_at is None or site.latest_at >= at:
        return site
    return structs.replace(site, power=None, latest_at=None)


class Board:
    """Keeps what was looked up last; any thread may ask."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._turn = threading.Lock()
        self._found: tuple[datetime, dict[str, SiteNow]] | None = None

    def sites(self, snapshot: Snapshot, now: datetime) -> dict[str, SiteNow]:
        """Returns every site by its public key."""
        with self._turn:
            if self._found is not None and now - self._found[0] < timedelta(seconds=KEPT_S):
                return self._found[1]
            self._found = (now, self._look(snapshot, now))
            return self._found[1]

    def _look(self, snapshot: Snapshot, now: datetime) -> dict[str, SiteNow]:
        latest = _latest(snapshot.latest, now)
        hanging: dict[str, dict[str, bool]] = defaultdict(dict)
        for key, serial, hangs in self._store.sites.hanging():
            # One that came back hangs, whatever its earlier time says.
            hanging[key][serial] = hangs or hanging[key].get(serial, False)
        causes: dict[str, list[tuple[Cause, Severity]]] = defaultdict(list)
        for key, cause, severity in self._store.alarms.open_causes():
            causes[key].append((cause, severity))
        return {
            key: _site(serials, latest, causes.get(key, []), now)
            for key, serials in hanging.items()
        }


class _Latest(Struct, frozen=True):
    at: datetime
    power: float | None
    reports_fault: bool
    grid_is_off: bool


def _latest(rows: pl.DataFrame, now: datetime) -> dict[str, _Latest]:
    if not rows.height:
        return {}
    is_fresh = pl.col("ts") >= now - _FRESH
    power = pl.col("ac_power").cast(pl.Float64)
    found = rows.select(
        "inverter_sn",
        pl.col("ts"),
        pl.when(is_fresh).then(power),
        (is_fresh & (pl.col("status") == FAULT)).fill_null(value=False).alias("fault"),
        (is_fresh & (pl.col("ac_voltage_l1") < GRID_VOLTAGE_MIN) & (power.fill_null(0) == 0))
        .fill_null(value=False)
        .alias("off"),
    )
    return {row[0]: _Latest(*row[1:]) for row in found.iter_rows()}


def _site(
    serials: dict[str, bool],
    latest: dict[str, _Latest],
    causes: list[tuple[Cause, Severity]],
    now: datetime,
) -> SiteNow:
    heard = {serial: _heard(latest.get(serial), hangs, now) for serial, hangs in serials.items()}
    mine = [latest[serial] for serial, hangs in serials.items() if hangs and serial in latest]
    powers = [one.power for one in mine if one.power is not None]
    return SiteNow(
        health=health(heard.values(), causes),
        power=sum(powers) if powers else None,
        latest_at=max((one.at for one in mine), default=None),
        alarms_open=len(causes),
        inverters={serial: health([one]) for serial, one in heard.items()},
    )


def _heard(one: _Latest | None, hangs: bool, now: datetime) -> Heard:
    if one is None:
        return Heard(ago=None, is_installed=hangs)
    return Heard(
        ago=now - one.at,
        reports_fault=one.reports_fault,
        grid_is_off=one.grid_is_off,
        is_installed=hangs,
    )


OnBoard: TypeAlias = NamedDependency[Board]
"""A handler's argument `board`."""
