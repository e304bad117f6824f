"""Which lines of the audit log are about somebody or a site? Looked up, and put into sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autarco_portal import audit_page
from autarco_portal.audit_page import Standing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from autarco_portal.audit import SealedEntry
    from autarco_portal.audit_page import Line
    from autarco_portal.people import Language
    from autarco_portal.site_record import SiteRecord
    from autarco_portal.store import Store

ENTRIES_MAX = 1_000
"""The newest; a page has no use for more, a bundle has all."""


def of_person(store: Store, person_id: str, now: datetime, language: Language) -> list[Line]:
    """Returns what was done with somebody's data and with the sites that are his."""
    sites = {}
    entries = store.audit.of(subject=person_id, limit=ENTRIES_MAX)
    for record in store.sites.owned_by(person_id):
        sites[record.public_key] = record.name
        entries += _of_site(store, record, person_id)
    return _lines(store, entries, person_id, sites, now, language)


def of_site(
    store: Store, record: SiteRecord, now: datetime, language: Language, *, reader: str = ""
) -> list[Line]:
    """Returns what was done with one site; an owner reads of his own time there."""
    entries = _of_site(store, record, reader)
    return _lines(store, entries, reader, {record.public_key: record.name}, now, language)


def _of_site(store: Store, record: SiteRecord, reader: str) -> list[SealedEntry]:
    """What was done before a house was bought is its former owner's."""
    entries = store.audit.of(thing=f"site:{record.public_key}", limit=ENTRIES_MAX)
    since = [one.from_at for one in record.owners if one.person_id == reader and one.until is None]
    return [one for one in entries if not since or one.entry.at >= min(since)]


def _lines(
    store: Store,
    entries: list[SealedEntry],
    person_id: str,
    sites: Mapping[str, str],
    now: datetime,
    language: Language,
) -> list[Line]:
    return audit_page.lines(
        entries,
        person_id=person_id,
        standings=_standings({sealed.entry.actor for sealed in entries}, store, now),
        site_names=sites,
        language=language,
    )


def _standings(actors: set[str], store: Store, now: datetime) -> dict[str, Standing]:
    names = {one.organisation_id: one.name for one in store.organisations.all()}
    found = {}
    for person_id in actors:
        actor = store.people.actor(person_id, now)
        if actor is not None:
            found[person_id] = Standing(
                organisations=tuple(sorted(names[one] for one in actor.roles)),
                portal_roles=tuple(sorted(actor.portal_roles)),
            )
    return found
