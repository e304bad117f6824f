"""What do handlers know of the world: settings, clock, store, and sites as they are now?

One value per process, given to every handler by the name `portal`. What cannot be asked now (the
lake is being read, a disk is full, the database is away) becomes `Unavailable`, which is 503.
"""

from __future__ import annotations

from collections.abc import Callable  # noqa: TC003 - msgspec looks at it
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path  # noqa: TC003 - msgspec looks at it
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
from litestar.di import NamedDependency

from autarco_ingest.paths import DataDirectory
from autarco_portal import looks, site_view
from autarco_portal.audit import AuditEntry
from autarco_portal.bundle_jobs import BundleJobs
from autarco_portal.lake_reader import CatalogError
from autarco_portal.live_fleet import NotReady
from autarco_portal.outbox import Outbox
from autarco_portal.portal_paths import PortalDirectory
from autarco_portal.remembered import Remembered
from autarco_portal.web_problems import NotReadYet, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from autarco_portal.alarm_record import AlarmRecord
    from autarco_portal.live_sites import Series, Views
    from autarco_portal.looks import Look
    from autarco_portal.people import Actor
    from autarco_portal.site_record import SiteRecord
    from autarco_portal.site_view import SiteView
    from autarco_portal.store import Store

NAMES_S = 60.0
"""How long names of organisations are remembered."""


LOOKS_MAX = 100_000
"""How many looks are known to be in the audit log already; one beyond is noted twice a day."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator chooses for `autarco-portal serve`."""

    data: Path
    """The data directory, that of `autarco-ingest`."""
    database: str = ""
    """URL of the store; empty for DATA/portal/portal.sqlite."""
    is_https: bool = False
    """Whether browsers reach the portal by https: by own certificate, or a proxy's."""

    @property
    def store_url(self) -> str:
        """Where the store is."""
        return self.database or str(self.data / "portal" / "portal.sqlite")


class Portal:
    """What handlers need."""

    def __init__(
        self,
        settings: Settings,
        *,
        store: Store,
        sites: Views,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`now` gives the time in UTC."""
        self.settings = settings
        self.store = store
        self.sites = sites
        self.now = now
        directory = PortalDirectory.of(DataDirectory.at(settings.data))
        self.outbox = Outbox(store, directory, now)
        self.bundles = BundleJobs(store, DataDirectory.at(settings.data), now)
        self._names: Remembered[str, tuple[datetime, dict[str, str]]] = Remembered(1)
        self._looks: Remembered[tuple[str, date, str, Look], AuditEntry] = Remembered(LOOKS_MAX)

    def view(self, site: SiteRecord, now: datetime) -> SiteView:
        """Returns a site now; raises Unavailable."""
        with answering():
            return self.sites.view(site, now)

    def series(
        self, site: SiteRecord, now: datetime, *, first: date, last: date, minutes: int
    ) -> Series:
        """Returns power of every inverter on some local days; raises Unavailable."""
        with answering():
            return self.sites.series(site, now, first=first, last=last, minutes=minutes)

    def power(
        self,
        site: SiteRecord,
        now: datetime,
        column: str,
        *,
        first: date,
        last: date,
        minutes: int,
        serial: str | None,
    ) -> dict[datetime, int | None]:
        """Returns one power, of one inverter or of whichever measures it; raises Unavailable."""
        with answering():
            found = self.sites.quarters(site, now, first=first, last=last)
        parts = [found[serial]] if serial is not None else list(found.values())
        series = site_view.power_by_quarter(
            [(one.quarter_us, one.values[column]) for one in parts],
            first=first,
            last=last,
            time_zone=site.time_zone,
            minutes=minutes,
        )
        measured = [values for values in series if any(v is not None for v in values.values())]
        if column == "grid_power":
            # One house has one grid connection.
            measured = measured[:1]
        return {
            at: _sum(values[at] for values in measured) for at in (measured[0] if measured else ())
        }

    def energy(
        self, site: SiteRecord, now: datetime, days: Sequence[date]
    ) -> dict[str, dict[date, int | None]]:
        """Returns whole kWh of each inverter by part; raises Unavailable."""
        with answering():
            return self.sites.energy(site, now, days)

    def flows(
        self, site: SiteRecord, now: datetime, name: str, days: Sequence[date]
    ) -> dict[date, float | None]:
        """Returns Wh that flowed by part; raises Unavailable."""
        with answering():
            return self.sites.flows(site, now, name, days)

    def looked(self, who: Actor, site: SiteRecord, look: Look = "view_site") -> None:
        """Notes in the audit log that somebody looks at another's site, once a day.

        Raises StoreError: what cannot be noted is not shown.
        """
        seen = (who.person_id, who.at.date(), site.public_key, look)
        if self._looks.get(seen) is not None:
            return
        entry = looks.entry(who, site.access, look)
        if entry is not None:
            self.store.audit.append(entry)
            self._looks.put(seen, entry)

    def acknowledge(self, found: AlarmRecord, who: Actor, note: str | None) -> AlarmRecord:
        """Keeps, also in the audit log, that somebody takes care of an alarm. Raises StoreError."""
        incident = found.incident
        done = self.store.alarms.acknowledge(
            incident.incident_id, by=who.person_id, now=who.at, note=note
        )
        self.store.audit.append(
            AuditEntry(
                at=who.at,
                actor=who.person_id,
                action="acknowledge_alarm",
                thing=f"site:{incident.site_id}",
                detail={"cause": incident.cause.value},
            )
        )
        return done

    def organisation_names(self) -> dict[str, str]:
        """Returns the names of organisations, a minute old at most."""
        now = self.now()
        found = self._names.get("all")
        if found is not None and now - found[0] < timedelta(seconds=NAMES_S):
            return found[1]
        names = {one.organisation_id: one.name for one in self.store.organisations.all()}
        self._names.put("all", (now, names))
        return names


Here: TypeAlias = NamedDependency[Portal]
"""A handler's argument `portal`."""


@contextmanager
def answering() -> Iterator[None]:
    """Turns what cannot be read now into Unavailable."""
    try:
        yield
    except NotReady as error:
        raise NotReadYet(str(error)) from error
    except (CatalogError, OSError) as error:
        # Which file or statement is for the log, not for whoever asked.
        raise Unavailable("the readings cannot be read now") from error


def _sum(values: Any) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
