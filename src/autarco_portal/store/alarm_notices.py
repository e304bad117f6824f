"""Who was told of which alarm, as what and when?

That somebody is to be told and the mail that does it are one transaction: after a crash there are
both or neither, and the database refuses to tell anybody the same step twice. When a mail server
took the mail, the incident says so too, for the guarantee counts from there.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import Engine, Select, delete, select, update

from autarco_portal.escalation import Addressee, Due, Notice, Party, Step, concerns_anybody
from autarco_portal.incidents import Incident
from autarco_portal.privacy.policy import DeliveryState
from autarco_portal.store.engine import affected, reading, writing
from autarco_portal.store.keys import new_identifier
from autarco_portal.store.privacy_tables import MailRow
from autarco_portal.store.tables import AlarmNoticeRow, AlarmRow, SiteRow

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from datetime import datetime

    from sqlalchemy.orm import Session

    from autarco_portal.privacy.letter import Letter

_INCIDENT = msgspec.json.Decoder(Incident)
_BATCH = 500
"""Alarms are asked for so many at a time: each is a parameter of the query."""


class WaitingNotice(msgspec.Struct, frozen=True, kw_only=True):
    """That a mail which waits tells somebody of an incident."""

    notice_id: int
    recipient: str | None
    """An organisation's address when it was queued."""
    site_id: str
    incident: Incident
    party: Party
    addressee: Addressee


class AlarmNotices:
    """Notices of alarms of the store."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def of(self, incident_ids: Sequence[str]) -> dict[str, list[Notice]]:
        """Returns what was sent about some incidents, the oldest first."""
        found: dict[str, list[Notice]] = defaultdict(list)
        with reading(self._engine) as session:
            for first in range(0, len(incident_ids), _BATCH):
                rows = session.scalars(
                    select(AlarmNoticeRow)
                    .where(AlarmNoticeRow.incident_id.in_(incident_ids[first : first + _BATCH]))
                    .order_by(AlarmNoticeRow.queued_at, AlarmNoticeRow.notice_id)
                )
                for row in rows:
                    found[row.incident_id].append(_notice(row))
        return dict(found)

    def queue(
        self,
        due: Sequence[Due],
        write: Callable[[Sequence[Due]], Letter],
        *,
        now: datetime,
        language: str,
        recipient: str | None = None,
    ) -> list[Due]:
        """Tells one addressee of everything that is due to him; returns of what he is told.

        `recipient` is the address of an organisation. What was told, taken on or ended meanwhile,
        or may not be told any more, is left out; `write` gets the rest, and where there is none
        nothing is queued. Raises StoreError.
        """
        with writing(self._engine) as session:
            free = _lock_sites(session, [one.incident_id for one in due])
            told = [one for one in due if one.incident_id in free and _is_still_due(session, one)]
            if not told:
                return []
            letter, mail_id = write(told), new_identifier()
            session.add(
                MailRow(
                    mail_id=mail_id, person_id=told[0].addressee.person_id, recipient=recipient,
                    language=language, subject=letter.subject, text=letter.text, queued_at=now,
                    next_at=now, headers="{}", state=DeliveryState.QUEUED.value, attempts=0,
                    answer="",
                )
            )  # fmt: skip
            session.flush()
            for one in told:
                row = _known(session, one)
                if row is None:
                    row = AlarmNoticeRow(
                        incident_id=one.incident_id, step=one.step.value,
                        person_id=one.addressee.person_id,
                        organisation_id=one.addressee.organisation_id, queued_at=now,
                    )  # fmt: skip
                    session.add(row)
                row.party, row.mail_id = one.party.value, mail_id
            return told

    def waiting(self) -> list[WaitingNotice]:
        """Returns what the mails that wait tell of."""
        wanted = (
            select(AlarmNoticeRow, MailRow.recipient, AlarmRow.incident, SiteRow.public_key)
            .join(MailRow, MailRow.mail_id == AlarmNoticeRow.mail_id)
            .join(AlarmRow, AlarmRow.incident_id == AlarmNoticeRow.incident_id)
            .join(SiteRow, SiteRow.number == AlarmRow.site_number)
            .where(MailRow.state == DeliveryState.QUEUED.value)
        )
        with reading(self._engine) as session:
            return [
                WaitingNotice(
                    notice_id=row.notice_id, recipient=recipient, site_id=key,
                    incident=_INCIDENT.decode(incident), party=Party(row.party),
                    addressee=_addressee(row),
                )
                for row, recipient, incident, key in session.execute(wanted)
            ]  # fmt: skip

    def withdraw(self, notice_ids: Collection[int]) -> int:
        """Takes back the mails that wait and tell one of these; returns how many did.

        What else they tell is due again, as of when it was.
        """
        if not notice_ids:
            return 0
        with writing(self._engine, is_note=True) as session:
            mails = set[str | None]()
            for notice_id in sorted(notice_ids):
                row = session.get(AlarmNoticeRow, notice_id)
                if row is not None:
                    mails.add(row.mail_id)
                    session.delete(row)
            session.flush()
            return sum(_take_back(session, mail_id) for mail_id in mails if mail_id is not None)


def recall(session: Session, incidents: Select[str]) -> None:
    """Takes back the mails that wait and tell of incidents which go.

    Their notices go with them by cascade, and nobody would know any more what such a mail tells.
    What else it tells is due again.
    """
    wanted = (
        select(AlarmNoticeRow.mail_id)
        .join(MailRow, MailRow.mail_id == AlarmNoticeRow.mail_id)
        .where(
            AlarmNoticeRow.incident_id.in_(incidents),
            MailRow.state == DeliveryState.QUEUED.value,
        )
        .distinct()
    )
    for mail_id in session.scalars(wanted).all():
        if mail_id is not None:
            _take_back(session, mail_id)


def settled(session: Session, mail_id: str, state: DeliveryState, now: datetime) -> None:
    """Keeps what became of the mail with those whom it told; only its first end counts."""
    rows = session.scalars(
        select(AlarmNoticeRow).where(
            AlarmNoticeRow.mail_id == mail_id,
            AlarmNoticeRow.delivered_at.is_(None),
            AlarmNoticeRow.refused_at.is_(None),
        )
    ).all()
    if state is DeliveryState.REFUSED:
        for row in rows:
            row.refused_at = now
    elif state is DeliveryState.DELIVERED:
        _lock_sites(session, [row.incident_id for row in rows])
        for row in rows:
            row.delivered_at = now
            _stamp(session, row, now)


def hand_over(session: Session, old: str, heir: str) -> None:
    """Lets what was told of an incident count for the one that took its place."""
    known = {
        (row.step, row.person_id, row.organisation_id)
        for row in session.scalars(select(AlarmNoticeRow).where(AlarmNoticeRow.incident_id == heir))
    }
    for row in session.scalars(select(AlarmNoticeRow).where(AlarmNoticeRow.incident_id == old)):
        # Whom both were told of was told; the rest of the old one goes with it.
        if (row.step, row.person_id, row.organisation_id) not in known:
            session.execute(
                update(AlarmNoticeRow)
                .where(AlarmNoticeRow.notice_id == row.notice_id)
                .values(incident_id=heir)
            )


def _lock_sites(session: Session, incident_ids: Iterable[str]) -> set[str]:
    """Locks the alarms' sites, in the order in which an analysis does.

    Returns the alarms of those that are not restricted.
    """
    wanted = sorted(set(incident_ids))
    keys: dict[str, str] = {}
    for first in range(0, len(wanted), _BATCH):
        rows = session.execute(
            select(AlarmRow.incident_id, SiteRow.public_key)
            .join(SiteRow, SiteRow.number == AlarmRow.site_number)
            .where(AlarmRow.incident_id.in_(wanted[first : first + _BATCH]))
        )
        keys |= {incident: key for incident, key in rows}
    sites, free = sorted(set(keys.values())), set[str]()
    for first in range(0, len(sites), _BATCH):
        locked = session.execute(
            select(SiteRow.public_key, SiteRow.restricted_at)
            .where(SiteRow.public_key.in_(sites[first : first + _BATCH]))
            .order_by(SiteRow.public_key)
            .with_for_update()
        )
        free |= {key for key, restricted_at in locked if restricted_at is None}
    return {incident for incident, key in keys.items() if key in free}


def _is_still_due(session: Session, due: Due) -> bool:
    row = session.get(AlarmRow, due.incident_id, populate_existing=True)
    if row is None or not concerns_anybody(_INCIDENT.decode(row.incident)):
        return False
    known = _known(session, due)
    return known is None or _notice(known).is_due_again


def _known(session: Session, due: Due) -> AlarmNoticeRow | None:
    return session.scalar(
        select(AlarmNoticeRow).where(
            AlarmNoticeRow.incident_id == due.incident_id,
            AlarmNoticeRow.step == due.step.value,
            AlarmNoticeRow.person_id == due.addressee.person_id
            if due.addressee.person_id is not None
            else AlarmNoticeRow.organisation_id == due.addressee.organisation_id,
        )
    )


def _stamp(session: Session, told: AlarmNoticeRow, now: datetime) -> None:
    """Lets the incident say when its partner and its owner first knew."""
    row = session.get(AlarmRow, told.incident_id, populate_existing=True)
    if row is None:
        return
    incident = _INCIDENT.decode(row.incident)
    name = {Step.FIRST: "installer_notified_at", Step.OWNER: "owner_notified_at"}.get(
        Step(told.step)
    )
    if name is not None and getattr(incident, name) is None:
        stamped = msgspec.structs.replace(incident, **{name: now})
        row.incident = msgspec.json.encode(stamped).decode()


def _take_back(session: Session, mail_id: str) -> int:
    told = update(AlarmNoticeRow).where(AlarmNoticeRow.mail_id == mail_id)
    session.execute(told.values(mail_id=None))
    return affected(session, delete(MailRow).where(MailRow.mail_id == mail_id))


def _addressee(row: AlarmNoticeRow) -> Addressee:
    return Addressee(organisation_id=row.organisation_id, person_id=row.person_id)


def _notice(row: AlarmNoticeRow) -> Notice:
    return Notice(
        incident_id=row.incident_id, step=Step(row.step), party=Party(row.party),
        addressee=_addressee(row),
        queued_at=row.queued_at, delivered_at=row.delivered_at, refused_at=row.refused_at,
        has_mail=row.mail_id is not None,
    )  # fmt: skip
