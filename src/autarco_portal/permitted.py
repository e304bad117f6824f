"""Which sites and alarms may a job over all of them look at, for its purpose?

What every job starts with instead of `store.sites.all()` and `store.alarms.open()`: one question to
the store, then nothing of anybody who restricted his data or objected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from autarco_portal.privacy.processing import Purpose

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from autarco_portal.alarm_record import AlarmRecord
    from autarco_portal.site import Site
    from autarco_portal.store import Store


def sites(store: Store, purpose: Purpose, now: datetime) -> Iterator[Site]:
    """Yields the sites that may be used for the purpose, by number."""
    blocked = store.privacy.blocked_sites(purpose, now)
    for site in store.sites.all():
        if site.site_id not in blocked:
            yield site


def open_alarms(store: Store, now: datetime) -> list[AlarmRecord]:
    """Returns the alarms that somebody may be told of, the oldest first."""
    blocked = store.privacy.blocked_sites(Purpose.ALARMS, now)
    return [one for one in store.alarms.open() if one.incident.site_id not in blocked]
