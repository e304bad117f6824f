"""Which partners are there, and which belongs to which?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import Engine, select

from autarco_portal.people import Organisation, OrganisationKind, below
from autarco_portal.store.engine import StoreError, reading, writing
from autarco_portal.store.keys import new_identifier
from autarco_portal.store.tables import OrganisationRow

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.orm import Session


class Organisations:
    """Organisations of the store."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(
        self,
        *,
        name: str,
        kind: OrganisationKind,
        now: datetime,
        parent: str | None = None,
        email: str | None = None,
        phone: str | None = None,
    ) -> Organisation:
        """Makes one; raises PeopleError for impossible data, StoreError for an unknown parent."""
        organisation = Organisation(
            organisation_id=new_identifier(),
            name=name,
            kind=kind,
            parent=parent,
            email=email,
            phone=phone,
            created_at=now,
        )
        with writing(self._engine) as session:
            if parent is not None:
                existing(session, parent)
            session.add(OrganisationRow(**msgspec.structs.asdict(organisation)))
        return organisation

    def get(self, organisation_id: str) -> Organisation | None:
        """Returns one, or None."""
        with reading(self._engine) as session:
            row = session.get(OrganisationRow, organisation_id)
            return None if row is None else as_organisation(row)

    def all(self) -> list[Organisation]:
        """Returns all, by name."""
        with reading(self._engine) as session:
            return every(session)

    def change(self, organisation: Organisation) -> None:
        """Replaces name, kind, parent, e-mail, phone and end.

        Raises StoreError if it is unknown, PeopleError if it would come to belong to itself.
        """
        with writing(self._engine) as session:
            row = existing(session, organisation.organisation_id)
            if organisation.parent is not None:
                existing(session, organisation.parent)
            others = [
                one for one in every(session) if one.organisation_id != organisation.organisation_id
            ]
            below([*others, organisation], [organisation.organisation_id])
            for name in ("name", "kind", "parent", "email", "phone", "ended_at"):
                setattr(row, name, getattr(organisation, name))


def every(session: Session) -> list[Organisation]:
    """Returns all organisations, by name."""
    rows = session.scalars(select(OrganisationRow).order_by(OrganisationRow.name))
    return [as_organisation(row) for row in rows]


def existing(session: Session, organisation_id: str) -> OrganisationRow:
    """Returns the row; raises StoreError if there is none."""
    row = session.get(OrganisationRow, organisation_id)
    if row is None:
        raise StoreError("there is no such organisation")
    return row


def as_organisation(row: OrganisationRow) -> Organisation:
    """Returns the value of a row."""
    return Organisation(
        organisation_id=row.organisation_id,
        name=row.name,
        kind=OrganisationKind(row.kind),
        parent=row.parent,
        email=row.email,
        phone=row.phone,
        created_at=row.created_at,
        ended_at=row.ended_at,
    )
