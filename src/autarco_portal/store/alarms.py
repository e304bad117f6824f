"""Which incidents are there, and what did people do about them?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import ColumnElement, Engine, Select, func, or_, select

from autarco_portal import incidents
from autarco_portal.alarm_record import AlarmFilter, AlarmRecord
from autarco_portal.incidents import Cause, Incident, Severity
from autarco_portal.store import alarm_notices, sites
from autarco_portal.store.engine import StoreError, reading, writing
from autarco_portal.store.site_rows import seen_in_part, visible_to
from autarco_portal.store.tables import AlarmRow, SiteRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from sqlalchemy.orm import Session

    from autarco_portal.people import Actor

_INCIDENT = msgspec.json.Decoder(Incident)


class Alarms:
    """Incidents of the store."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def take_over(self, found: Iterable[Incident], public_keys: Iterable[str]) -> None:
        """Makes these the incidents of the sites, as an analysis found them.

        What people did about an incident stays with it; one that was withdrawn goes. One
        transaction; incidents of other sites are left alone. Raises StoreError for an unknown site.
        """
        wanted = set(public_keys)
        of_site: dict[str, list[Incident]] = {}
        for incident in found:
            if incident.site_id in wanted:
                of_site.setdefault(incident.site_id, []).append(incident)
        with writing(self._engine) as session:
            known = session.scalars(select(SiteRow.public_key).join(AlarmRow).distinct())
            for public_key in sorted(wanted & {*known, *of_site}):
                site = _locked(session, public_key)
                rows = {row.incident_id: row for row in _of_site(session, site.number)}
                after = incidents.with_what_people_did(
                    of_site.get(public_key, ()),
                    [_INCIDENT.decode(row.incident) for row in rows.values()],
                )
                _keep(session, site, rows, after)

    def get(self, incident_id: str) -> AlarmRecord | None:
        """Returns one, or None."""
        with reading(self._engine) as session:
            row = session.get(AlarmRow, incident_id)
            return None if row is None else _record(row)

    def of_site(self, public_key: str) -> list[AlarmRecord]:
        """Returns those of a site, the newest first."""
        with reading(self._engine) as session:
            site = sites.existing(session, public_key)
            rows = list(_of_site(session, site.number))
        return [_record(row) for row in reversed(rows)]

    def of_sites(self, public_keys: Sequence[str], *, only_open: bool) -> list[AlarmRecord]:
        """Returns those of several sites, the newest first."""
        wanted = select(AlarmRow).join(SiteRow).where(SiteRow.public_key.in_(public_keys))
        if only_open:
            wanted = wanted.where(AlarmRow.closed_at.is_(None))
        with reading(self._engine) as session:
            rows = session.scalars(wanted.order_by(AlarmRow.opened_at.desc(), AlarmRow.incident_id))
            return [_record(row) for row in rows]

    def visible(
        self,
        actor: Actor,
        *,
        wanted: AlarmFilter | None = None,
        offset: int = 0,
        limit: int = 100,
    ) -> list[AlarmRecord]:
        """Returns those of the sites that somebody may view, the newest first.

        Not those that ended before his time there; what he may see of the others is for
        `alarm_record.of_site` to say.
        """
        found = select(AlarmRow).join(SiteRow).where(visible_to(actor), *_matching(wanted))
        with reading(self._engine) as session:
            rows = session.scalars(
                found.where(*_of_his_time(session, actor))
                .order_by(AlarmRow.opened_at.desc(), AlarmRow.incident_id)
                .offset(offset)
                .limit(limit)
            )
            return [_record(row) for row in rows]

    def open(self) -> list[AlarmRecord]:
        """Returns all that go on, the oldest first, for `escalation.due`; not of restricted sites.

        Nobody is told anything of a site whose owner wants its data not to be used.
        """
        with reading(self._engine) as session:
            rows = session.scalars(
                select(AlarmRow)
                .join(SiteRow)
                .where(AlarmRow.closed_at.is_(None), SiteRow.restricted_at.is_(None))
                .order_by(AlarmRow.opened_at, AlarmRow.incident_id)
            )
            return [_record(row) for row in rows]

    def open_causes(self) -> list[tuple[str, Cause, Severity]]:
        """Returns site, cause and severity of all that go on, without what they are made of."""
        with reading(self._engine) as session:
            rows = session.execute(
                select(SiteRow.public_key, AlarmRow.cause, AlarmRow.severity)
                .join(SiteRow)
                .where(AlarmRow.closed_at.is_(None))
            )
            return [(key, Cause(cause), Severity(severity)) for key, cause, severity in rows]

    def count_visible(self, actor: Actor, *, wanted: AlarmFilter | None = None) -> int:
        """Returns how many `visible` has in all."""
        found = select(func.count()).select_from(AlarmRow).join(SiteRow)
        with reading(self._engine) as session:
            found = found.where(*_of_his_time(session, actor))
            return session.scalar(found.where(visible_to(actor), *_matching(wanted))) or 0

    def acknowledge(
        self, incident_id: str, *, by: str, now: datetime, note: str | None = None
    ) -> AlarmRecord:
        """Keeps who acknowledged and when; whoever was first stays. Raises StoreError."""
        with writing(self._engine) as session:
            row, incident = _locked_alarm(session, incident_id)
            if incident.acknowledged_at is None:
                _write(row, msgspec.structs.replace(incident, acknowledged_at=now))
                row.acknowledged_by = by
                row.acknowledgement = note
            return _record(row)


def _of_his_time(session: Session, actor: Actor) -> list[ColumnElement[bool]]:
    return [
        or_(
            AlarmRow.site_number != site.number,
            AlarmRow.closed_at.is_(None),
            AlarmRow.closed_at > since,
        )
        for site, since in seen_in_part(session, actor)
    ]


def _matching(wanted: AlarmFilter | None) -> list[ColumnElement[bool]]:
    wanted = wanted or AlarmFilter()
    found: list[ColumnElement[bool]] = []
    if wanted.state != "all":
        found.append(AlarmRow.closed_at.is_(None))
    if wanted.state == "acknowledged":
        found.append(AlarmRow.acknowledged_at.is_not(None))
    if wanted.cause is not None:
        found.append(AlarmRow.cause == wanted.cause.value)
    if wanted.severity is not None:
        found.append(AlarmRow.severity == wanted.severity.value)
    if wanted.site is not None:
        found.append(SiteRow.public_key == wanted.site)
    return found


def _locked(session: Session, public_key: str) -> SiteRow:
    """The site's row, which PostgreSQL keeps from others until the end; SQLite has one writer."""
    row = session.scalar(select(SiteRow).where(SiteRow.public_key == public_key).with_for_update())
    if row is None:
        raise StoreError("there is no such site")
    return row


def _locked_alarm(session: Session, incident_id: str) -> tuple[AlarmRow, Incident]:
    number = session.scalar(select(AlarmRow.site_number).where(AlarmRow.incident_id == incident_id))
    if number is not None:
        # The site's row is what `take_over` waits for.
        session.scalar(select(SiteRow.number).where(SiteRow.number == number).with_for_update())
    row = session.get(AlarmRow, incident_id)
    if row is None:
        raise StoreError("there is no such alarm")
    return row, _INCIDENT.decode(row.incident)


def _of_site(session: Session, number: int) -> Sequence[AlarmRow]:
    return session.scalars(
        select(AlarmRow)
        .where(AlarmRow.site_number == number)
        .order_by(AlarmRow.opened_at, AlarmRow.incident_id)
    ).all()


def _keep(
    session: Session, site: SiteRow, rows: dict[str, AlarmRow], after: Sequence[Incident]
) -> None:
    """Makes the rows of a site, by identifier, be these incidents."""
    gone = dict(rows)
    for incident in after:
        row = gone.pop(incident.incident_id, None)
        if row is None:
            row = AlarmRow(incident_id=incident.incident_id, site_number=site.number)
            session.add(row)
        _write(row, incident)
    _hand_over(gone.values(), after, session)
    for withdrawn in gone.values():
        session.delete(withdrawn)


def _write(row: AlarmRow, incident: Incident) -> None:
    row.cause = incident.cause.value
    row.severity = incident.severity.value
    row.opened_at = incident.opened_at
    row.closed_at = incident.closed_at
    row.acknowledged_at = incident.acknowledged_at
    row.incident = msgspec.json.encode(incident).decode()


def _hand_over(gone: Iterable[AlarmRow], after: Sequence[Incident], session: Session) -> None:
    """An incident that took another one's place takes over what was said to that, and of it."""
    session.flush()
    for row in gone:
        old = _INCIDENT.decode(row.incident)
        heir = next((one for one in after if incidents.continues(one, old)), None)
        kept = None if heir is None else session.get(AlarmRow, heir.incident_id)
        if kept is None:
            alarm_notices.recall(session, _named(row.incident_id))
            continue
        alarm_notices.hand_over(session, row.incident_id, kept.incident_id)
        is_told = kept.acknowledged_at == old.acknowledged_at
        if row.acknowledged_by is not None and kept.acknowledged_by is None and is_told:
            kept.acknowledged_by = row.acknowledged_by
            kept.acknowledgement = row.acknowledgement


def _named(incident_id: str) -> Select[str]:
    return select(AlarmRow.incident_id).where(AlarmRow.incident_id == incident_id)


def _record(row: AlarmRow) -> AlarmRecord:
    return AlarmRecord(
        incident=_INCIDENT.decode(row.incident),
        acknowledged_by=row.acknowledged_by,
        acknowledgement=row.acknowledgement,
    )
