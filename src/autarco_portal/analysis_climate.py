"""What does a day of the year give at each site on average, over the whole years of weather?

Modelling ten years for a site takes as long as a thousand of its days, so the means are kept, and
made again only when the site changed, or there are other stations or years. An hour that a later
file corrects waits for that.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import polars as pl

from autarco_portal import derived, fleet_sky
from autarco_portal.derived_rows import Climate
from autarco_portal.performance_expected import MODEL_VERSION, climate_by_day, whole_years

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date

    from autarco_portal.analysis import Weather
    from autarco_portal.derived_store import DerivedStore
    from autarco_portal.fleet import Fleet
    from autarco_portal.site import Site
    from autarco_portal.weather_store import Index

YEARS_MAX = 15
"""The last so many: the climate moves (reference 0)."""
YEARS_MIN = 2


class Climates:
    """The means that one directory of derived tables keeps."""

    def __init__(
        self, store: DerivedStore, weather: Weather, modelled: Callable[[int, int], None]
    ) -> None:
        """`modelled` hears for how many sites it was done now, and for how many it will be."""
        self._store = store
        self._weather = weather
        self._modelled_now = modelled
        self._known: dict[str, SiteClimate] | None = None

    def of(self, fleet: Fleet, index: Index) -> FleetClimate:
        """Returns the means of a fleet; models those that are missing, which may take minutes."""
        if self._known is None:
            self._known = _read(self._store.everything(derived.CLIMATE))
        known = self._known
        keys = {site.site_id: _key(site, index) for site in fleet.sites}
        missing = [
            site
            for site in fleet.sites
            if site.site_id not in known or known[site.site_id].key != keys[site.site_id]
        ]
        if missing and (years := _years(index)):
            made = self._modelled(missing, fleet, index, years, keys)
            if made:
                kept = {site_id: one for site_id, one in known.items() if site_id not in made}
                self._known = known = kept | made
                self._store.put_whole(derived.CLIMATE, _rows(known))
        return FleetClimate(
            sites=tuple(
                one if (one := known.get(name)) is not None and one.key == keys[name] else None
                for name in fleet.site_ids
            )
        )

    def _modelled(
        self,
        sites: list[Site],
        fleet: Fleet,
        index: Index,
        years: tuple[int, int],
        keys: dict[str, str],
    ) -> dict[str, SiteClimate]:
        # An hour of the new year is still the old one in summer time, and the other way round.
        begins = datetime(years[0] - 1, 12, 31, tzinfo=UTC)
        rows = self._weather.rows(begins, datetime(years[1] + 1, 1, 2, tzinfo=UTC))
        spoke = set(rows["station"].unique())
        stations = [one for one in index.stations if one.station in spoke]
        made = {}
        for daily, source, count in fleet_sky.weather_years(sites, fleet, stations, rows):
            within = daily.filter(pl.col("date").dt.year().is_between(*years))
            whole = whole_years(within)
            of_whole = within.with_columns(pl.col("date").dt.year().alias("year")).join(
                whole.select("site_id", "year"), on=["site_id", "year"], how="semi"
            )
            counts = dict(whole.group_by("site_id").len().iter_rows())
            for (site_id,), part in climate_by_day(of_whole).group_by("site_id"):
                name = str(site_id)
                if counts[name] >= YEARS_MIN:
                    made[name] = _of_rows(
                        part, keys[name], f"mean of {counts[name]} years to {years[1]}, {source}"
                    )
            self._modelled_now(count, len(sites))
        return made


class SiteClimate(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The means of one site by month and day, kWh."""

    key: str
    source: str
    energy_kwh: dict[tuple[int, int], float]


class FleetClimate(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The means of a fleet's sites; None where nobody knows."""

    sites: tuple[SiteClimate | None, ...]

    def of_day(self, day: date) -> Climate:
        """Returns what this day of the year gives."""
        key = day.month, day.day
        return Climate(
            energy_kwh=np.array(
                [np.nan if one is None else one.energy_kwh.get(key, np.nan) for one in self.sites]
            ),
            source=[None if one is None else one.source for one in self.sites],
        )


def _years(index: Index) -> tuple[int, int] | None:
    """The last whole years that the weather files span together; None for too few."""
    if not index.files:
        return None
    first = min(one.begins for one in index.files)
    last = max(one.ends for one in index.files)
    begin = first.year + ((first.month, first.day) != (1, 1))
    end = last.year - ((last.month, last.day) != (12, 31))
    begin = max(begin, end - YEARS_MAX + 1)
    return (begin, end) if end - begin + 1 >= YEARS_MIN else None


def _key(site: Site, index: Index) -> str:
    """Another site, other stations or years, other means."""
    told = [
        msgspec.json.encode((site.latitude, site.longitude, site.pac0, site.planes)).decode(),
        *(one.station for one in index.stations),
        str(_years(index)),
        MODEL_VERSION,
    ]
    return hashlib.sha256("|".join(told).encode()).hexdigest()[:16]


def _read(rows: pl.DataFrame) -> dict[str, SiteClimate]:
    return {
        str(site_id): _of_rows(part, part["key"][0], part["source"][0])
        for (site_id,), part in rows.group_by("site_id")
    }


def _of_rows(part: pl.DataFrame, key: str, source: str) -> SiteClimate:
    named = part.select("month", "day", "energy_kwh").iter_rows()
    return SiteClimate(
        key=key,
        source=source,
        energy_kwh={(int(month), int(day)): float(kwh) for month, day, kwh in named},
    )


def _rows(known: dict[str, SiteClimate]) -> pl.DataFrame:
    parts = [
        pl.DataFrame(
            {
                "month": [month for month, _ in one.energy_kwh],
                "day": [day for _, day in one.energy_kwh],
                "energy_kwh": list(one.energy_kwh.values()),
            }
        ).with_columns(
            pl.lit(site_id).alias("site_id"),
            pl.lit(one.source).alias("source"),
            pl.lit(one.key).alias("key"),
        )
        for site_id, one in known.items()
    ]
    return pl.concat(parts)
