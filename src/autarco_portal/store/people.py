"""Who is there, where is each attribute from, who works for whom, and as whom does he act?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Engine, or_, select
from sqlalchemy.orm import Session, selectinload

from autarco_portal.people import (
    PERSONAL_ATTRIBUTES,
    Actor,
    AttributeRecord,
    Language,
    MemberRole,
    Membership,
    PeopleError,
    Person,
    PortalRole,
    Source,
    holds,
    known_language,
    normal_email,
)
from autarco_portal.rights import PersonAccess
from autarco_portal.store import attributes, identity_query, organisations
from autarco_portal.store.engine import Conflict, StoreError, reading, writing
from autarco_portal.store.keys import new_identifier
from autarco_portal.store.tables import MembershipRow, PersonRow, PortalRoleRow

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

LIKE_ESCAPE = "\\"


class People:
    """People of the store."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(
        self,
        *,
        name: str,
        email: str,
        source: Source,
        now: datetime,
        phone: str | None = None,
        language: Language = "nl",
    ) -> Person:
        """Makes somebody, all of whose attributes are from one source.

        Raises PeopleError for impossible data, StoreError if the e-mail address is taken.
        """
        values = {
            "name": name,
            "email": normal_email(email),
            "phone": phone,
            "language": known_language(language),
        }
        row = PersonRow(person_id=new_identifier(), created_at=now, **values)
        given = {attribute: value for attribute, value in values.items() if value is not None}
        attributes.record(row.attributes, given, source, now)
        person = as_person(row)
        try:
            with writing(self._engine) as session:
                session.add(row)
        except Conflict as error:
            raise StoreError("somebody has that e-mail address already") from error
        return person

    def get(self, person_id: str) -> Person | None:
        """Returns somebody, or None."""
        with reading(self._engine) as session:
            row = session.get(PersonRow, person_id)
            return None if row is None else as_person(row)

    def by_email(self, email: str) -> Person | None:
        """Returns who has an address, in any spelling, or None; also for what is no address."""
        try:
            normal = normal_email(email)
        except PeopleError:
            return None
        with reading(self._engine) as session:
            row = session.scalar(select(PersonRow).where(PersonRow.email == normal))
            return None if row is None else as_person(row)

    def find(self, text: str, *, limit: int = 50) -> list[Person]:
        """Returns people whose name or e-mail contains a text, by name."""
        pattern = like(text)
        with reading(self._engine) as session:
            rows = session.scalars(
                select(PersonRow)
                .where(
                    or_(
                        PersonRow.name.ilike(pattern, escape=LIKE_ESCAPE),
                        PersonRow.email.ilike(pattern, escape=LIKE_ESCAPE),
                    )
                )
                .order_by(PersonRow.name, PersonRow.person_id)
                .limit(limit)
                .options(selectinload(PersonRow.attributes))
            )
            return [as_person(row) for row in rows]

    def change(
        self, person_id: str, changes: Mapping[str, str | None], source: Source, now: datetime
    ) -> Person:
        """Gives attributes new values and keeps the old ones in the history.

        Raises PeopleError for what is no attribute or an impossible value, StoreError for somebody
        unknown or an e-mail address that is taken.
        """
        values = dict(changes)
        unknown = set(values) - set(PERSONAL_ATTRIBUTES)
        if unknown:
            raise PeopleError(f"a person has no {sorted(unknown)}")
        email = values.get("email")
        if email is not None:
            values["email"] = normal_email(email)
        if "language" in values:
            known_language(values["language"])
        if None in (values.get("name", ""), values.get("email", "")):
            raise PeopleError("a person has a name and an e-mail address")
        try:
            with writing(self._engine) as session:
                row = existing(session, person_id)
                news = {
                    attribute: value
                    for attribute, value in values.items()
                    if value != getattr(row, attribute)
                }
                # Read before the change and checked before the database sees it: it would refuse
                # an impossible value too, but not say so in a sentence.
                known = row.attributes
                for attribute, value in news.items():
                    setattr(row, attribute, value)
                attributes.record(known, news, source, now)
                person = as_person(row)
        except Conflict as error:
            raise StoreError("somebody has that e-mail address already") from error
        return person

    def history(self, person_id: str) -> list[AttributeRecord]:
        """Returns what somebody's attributes were when and where from, oldest first."""
        with reading(self._engine) as session:
            return attributes.history(existing(session, person_id).attributes)

    def join(
        self, person_id: str, organisation_id: str, role: MemberRole, now: datetime
    ) -> Membership:
        """Lets somebody work for an organisation, or changes what he is there."""
        with writing(self._engine) as session:
            existing(session, person_id)
            organisations.existing(session, organisation_id)
            _end_membership(session, person_id, organisation_id, now)
            row = MembershipRow(
                person_id=person_id, organisation_id=organisation_id, role=role.value, from_at=now
            )
            session.add(row)
            return as_membership(row)

    def leave(self, person_id: str, organisation_id: str, now: datetime) -> bool:
        """Ends somebody's work for an organisation; tells whether there was any."""
        with writing(self._engine) as session:
            return _end_membership(session, person_id, organisation_id, now)

    def memberships(self, person_id: str) -> list[Membership]:
        """Returns for whom somebody works and worked."""
        with reading(self._engine) as session:
            return _memberships(session, person_id)

    def members(self, organisation_id: str, at: datetime) -> list[tuple[Person, Membership]]:
        """Returns who works for an organisation at a moment, by name."""
        with reading(self._engine) as session:
            rows = session.execute(
                select(PersonRow, MembershipRow)
                .join(MembershipRow, MembershipRow.person_id == PersonRow.person_id)
                .where(MembershipRow.organisation_id == organisation_id)
                .order_by(PersonRow.name, PersonRow.person_id)
                .options(selectinload(PersonRow.attributes))
            )
            pairs = [(as_person(person), as_membership(member)) for person, member in rows]
        return [pair for pair in pairs if holds(pair[1], at)]

    def give_portal_role(self, person_id: str, role: PortalRole, now: datetime) -> None:
        """Makes somebody one of the portal's own."""
        with writing(self._engine) as session:
            existing(session, person_id)
            if session.get(PortalRoleRow, (person_id, role.value)) is None:
                session.add(PortalRoleRow(person_id=person_id, role=role.value, given_at=now))

    def actor(
        self,
        person_id: str,
        at: datetime,
        *,
        has_second_factor: bool = False,
        is_read_only: bool = False,
    ) -> Actor | None:
        """Returns somebody as he acts at a moment, or None if there is no such person."""
        with reading(self._engine) as session:
            connection = session.connection()
            if not identity_query.is_there(connection, person_id):
                return None
            return identity_query.actor(
                connection,
                person_id,
                at,
                has_second_factor=has_second_factor,
                is_read_only=is_read_only,
            )

    def access(self, person_id: str, at: datetime) -> PersonAccess | None:
        """Returns who somebody is to others, for `rights.may`; None if there is no such person."""
        with reading(self._engine) as session:
            if session.get(PersonRow, person_id) is None:
                return None
            return PersonAccess(
                person_id=person_id,
                organisations=frozenset(
                    one.organisation_id
                    for one in _memberships(session, person_id)
                    if holds(one, at)
                ),
                portal_roles=portal_roles(session, person_id),
            )


def portal_roles(session: Session, person_id: str) -> frozenset[PortalRole]:
    """Returns what somebody is for the whole portal."""
    rows = session.scalars(select(PortalRoleRow.role).where(PortalRoleRow.person_id == person_id))
    return frozenset(PortalRole(role) for role in rows)


def existing(session: Session, person_id: str) -> PersonRow:
    """Returns the row; raises StoreError if there is none."""
    row = session.get(PersonRow, person_id)
    if row is None:
        raise StoreError("there is no such person")
    return row


def as_person(row: PersonRow) -> Person:
    """Returns the value of a row; raises PeopleError if it cannot be."""
    return Person(
        person_id=row.person_id,
        name=row.name,
        email=row.email,
        phone=row.phone,
        language=known_language(row.language),
        sources={
            attribute: source
            for attribute, source in attributes.current_sources(row.attributes).items()
            if getattr(row, attribute) is not None
        },
        created_at=row.created_at,
    )


def as_membership(row: MembershipRow) -> Membership:
    """Returns the value of a row."""
    return Membership(
        person_id=row.person_id,
        organisation_id=row.organisation_id,
        role=MemberRole(row.role),
        from_at=row.from_at,
        until=row.until,
    )


def like(text: str) -> str:
    """Returns the pattern of what contains a text, with `\\` before what LIKE would interpret."""
    for special in (LIKE_ESCAPE, "%", "_"):
        text = text.replace(special, LIKE_ESCAPE + special)
    return f"%{text}%"


def _memberships(session: Session, person_id: str) -> list[Membership]:
    rows = session.scalars(
        select(MembershipRow)
        .where(MembershipRow.person_id == person_id)
        .order_by(MembershipRow.membership_id)
    )
    return [as_membership(row) for row in rows]


def _end_membership(session: Session, person_id: str, organisation_id: str, now: datetime) -> bool:
    rows = session.scalars(
        select(MembershipRow).where(
            MembershipRow.person_id == person_id,
            MembershipRow.organisation_id == organisation_id,
            MembershipRow.until.is_(None),
        )
    ).all()
    for row in rows:
        row.until = now
    return bool(rows)
