"""How is a fact of a site corrected by a decision: new value, history, evidence, in one piece?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from autarco_portal.people import SELF, Source, SourceKind
from autarco_portal.privacy import rectification, request
from autarco_portal.privacy.error import PrivacyError
from autarco_portal.privacy.rectification import ADDRESS, Rectified
from autarco_portal.privacy.request import Outcome, Request, Right, State
from autarco_portal.store import attributes, audit, sites
from autarco_portal.store import privacy_columns as columns
from autarco_portal.store.engine import writing
from autarco_portal.store.privacy_tables import RequestRow
from autarco_portal.store.registers import Register
from autarco_portal.store.site_rows import as_record, changed, plane_rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sqlalchemy import Engine

    from autarco_portal.audit import AuditEntry
    from autarco_portal.site_record import SiteRecord

_UNKNOWN = Source(kind=SourceKind.PARTNER)
"""Whoever entered the site; of its technical facts nobody noted where they were from."""


class Rectifications:
    """Rectifications in the store."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._requests = Register(engine, RequestRow, Request, columns.request)

    def correct(
        self,
        request_id: str,
        public_key: str,
        fact: str,
        text: str,
        *,
        now: datetime,
        by: str,
        entry: Callable[[Rectified], AuditEntry],
    ) -> tuple[Rectified, SiteRecord]:
        """Carries one decision out and notes its evidence; returns it and the site as it is now.

        The old value stays in the history, the new one has the person as its source. Raises
        PrivacyError where nothing was decided or the site is not his, SiteError and PeopleError
        for what no site can be.
        """
        value = rectification.value_of(fact, text)
        with writing(self._engine) as session:
            row = sites.existing(session, public_key)
            record = as_record(row)
            old = _value(record, fact)
            if old == value:
                raise PrivacyError(f"{fact} is {rectification.written(old)} already")
            done = Rectified(
                request_id=request_id, site=public_key, fact=fact,
                before=rectification.written(old), after=rectification.written(value) or "",
                at=now, by=by,
            )  # fmt: skip

            def rule(asked: Request) -> Request:
                _check(asked, record, now)
                return request.add_evidence(asked, at=now, by=by, sha256=done.sha256())

            self._requests.change_in(session, request_id, rule)
            if fact.startswith("planes."):
                planes = rectification.corrected(record.planes, fact, value)
                row.planes.clear()
                session.flush()
                row.planes.extend(plane_rows(planes))
            else:
                setattr(row, fact, value)
            if not any(one.attribute == fact for one in row.address_attributes):
                attributes.record(
                    row.address_attributes, {fact: done.before}, _UNKNOWN, record.created_at
                )
            attributes.record(row.address_attributes, {fact: done.after}, SELF, now)
            after = changed(row, now)
            audit.append(session, entry(done))
            return done, after


def _check(asked: Request, record: SiteRecord, now: datetime) -> None:
    decided = asked.last(request.Kind.DECIDED)
    if asked.right is not Right.RECTIFICATION:
        raise PrivacyError("the request is not for rectification")
    if asked.state is not State.DECIDED or decided is None or decided.outcome is Outcome.REFUSED:
        raise PrivacyError("decide first that it is corrected")
    if asked.person not in {one.person_id for one in record.owners}:
        raise PrivacyError("the site is not his who asked")


def _value(record: SiteRecord, fact: str) -> Any:
    if fact.startswith("planes."):
        return rectification.before(record.planes, fact)
    return getattr(record.address if fact in ADDRESS else record, fact)
