"""Which sites are there, what hangs on them, and who may look at which?

`visible` asks the database what `rights.may` says one by one; a test compares both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import ColumnElement, Engine, and_, func, select

from autarco_portal.people import (
    ADDRESS_ATTRIBUTES,
    Actor,
    AttributeRecord,
    Grant,
    OrganisationKind,
    Source,
)
from autarco_portal.site import SiteError
from autarco_portal.store import access_query, attributes, organisations, people, record_query
from autarco_portal.store.engine import StoreError, reading, writing
from autarco_portal.store.keys import new_identifier, new_public_key
from autarco_portal.store.site_rows import (
    WHOLE,
    as_record,
    changed,
    end_grant,
    inverter_row,
    is_role,
    matching,
    plane_rows,
    seen_in_part,
    unique,
    visible_to,
)
from autarco_portal.store.tables import GrantRow, InverterRow, SiteOwnerRow, SiteRoleRow, SiteRow

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy.orm import Session

    from autarco_portal.rights import SiteAccess
    from autarco_portal.site import Inverter, RoofPlane, Site
    from autarco_portal.site_record import NewSite, SiteRecord

PLAIN_ATTRIBUTES = (
    "name",
    "latitude",
    "longitude",
    "altitude",
    "time_zone",
    "commissioned_on",
    "has_consumption_meter",
    "has_battery",
)
"""What `change` takes besides the parts of the address."""

_BATCH = 500
"""Sites of a fleet are read so many at a time: memory stays small, and so does a parameter list."""


class Sites:
    """Sites of the store, named by their public key."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, new: NewSite, now: datetime) -> SiteRecord:
        """Makes a site and draws its key and number.

        Raises StoreError for unknown owners and organisations, a key that is taken, and an inverter
        that hangs elsewhere.
        """
        return self.add_all([new], now)[0]

    def add_all(self, news: Sequence[NewSite], now: datetime) -> list[SiteRecord]:
        """Makes several sites, all or none; raises as `add`."""
        with unique(), writing(self._engine) as session:
            rows = [_new_row(session, new, now) for new in news]
            session.add_all(rows)
            session.flush()
            return [as_record(row) for row in rows]

    def get(self, public_key: str) -> Site | None:
        """Returns what the rules compute with; None if unknown or still being set up."""
        record = self.record(public_key)
        return record.site if record is not None and record.is_complete else None

    def all(self) -> Iterator[Site]:
        """Yields every site that the rules can compute with, by number.

        Restricted ones are left out: nothing may be computed of them.
        """
        for record in self.records():
            if record.is_complete and record.restricted_at is None:
                yield record.site

    def record(self, public_key: str) -> SiteRecord | None:
        """Returns everything of a site, or None."""
        with reading(self._engine) as session:
            return record_query.record(session.connection(), public_key)

    def by_number(self, number: int) -> SiteRecord | None:
        """Returns everything of the site with an API client's number, or None."""
        return self._one(SiteRow.number == number)

    def by_inverter(self, serial_number: str) -> SiteRecord | None:
        """Returns the site where an inverter hangs now, or None."""
        return self._one(
            SiteRow.inverters.any(
                and_(
                    InverterRow.serial_number == serial_number,
                    InverterRow.uninstalled_at.is_(None),
                )
            )
        )

    def records(self) -> Iterator[SiteRecord]:
        """Yields every site by number, restricted and incomplete ones too, a batch at a time."""
        after = 0
        while True:
            with reading(self._engine) as session:
                rows = session.scalars(
                    select(SiteRow)
                    .where(SiteRow.number > after)
                    .order_by(SiteRow.number)
                    .limit(_BATCH)
                    .options(*WHOLE)
                ).all()
                batch = [as_record(row) for row in rows]
            yield from batch
            if len(batch) < _BATCH:
                return
            after = batch[-1].number

    def owned_by(self, person_id: str) -> list[SiteRecord]:
        """Returns the sites that somebody owns and has not given up, by number."""
        with reading(self._engine) as session:
            owned = and_(SiteOwnerRow.person_id == person_id, SiteOwnerRow.until.is_(None))
            rows = session.scalars(
                select(SiteRow)
                .where(SiteRow.owners.any(owned))
                .order_by(SiteRow.number)
                .options(*WHOLE)
            )
            return [as_record(row) for row in rows]

    def access(self, public_key: str) -> SiteAccess | None:
        """Returns who stands how to a site, for `rights.may`; None if there is none."""
        with reading(self._engine) as session:
            return access_query.access(session.connection(), public_key)

    def visible(
        self, actor: Actor, *, text: str = "", after: int = 0, limit: int = 100
    ) -> list[SiteRecord]:
        """Returns the sites that somebody may view, by number, from behind `after` on.

        `text` is looked for in name, public key, address, and the serial numbers of inverters.
        """
        with reading(self._engine) as session:
            rows = session.scalars(
                select(SiteRow)
                .where(visible_to(actor), matching(text, actor), SiteRow.number > after)
                .order_by(SiteRow.number)
                .limit(limit)
                .options(*WHOLE)
            )
            return [as_record(row) for row in rows]

    def count_visible(self, actor: Actor, *, text: str = "") -> int:
        """Returns how many sites `visible` has in all."""
        with reading(self._engine) as session:
            wanted = select(func.count()).select_from(SiteRow)
            return session.scalar(wanted.where(visible_to(actor), matching(text, actor))) or 0

    def visible_keys(self, actor: Actor, *, text: str = "") -> list[str]:
        """Returns the public keys of all sites that `visible` has, by number."""
        with reading(self._engine) as session:
            wanted = select(SiteRow.public_key).where(visible_to(actor), matching(text, actor))
            return list(session.scalars(wanted.order_by(SiteRow.number)))

    def seen_from(self, actor: Actor) -> dict[str, datetime]:
        """Returns of the sites that somebody sees in part since when: `rights.visible_from`."""
        with reading(self._engine) as session:
            return {row.public_key: at for row, at in seen_in_part(session, actor)}

    def hanging(self) -> list[tuple[str, str, bool]]:
        """Returns each inverter of the fleet: its site's key, its number, whether it hangs still.

        By site, and never more of it: this is asked for ten thousand sites at once.
        """
        with reading(self._engine) as session:
            rows = session.execute(
                select(
                    SiteRow.public_key,
                    InverterRow.serial_number,
                    InverterRow.uninstalled_at.is_(None),
                )
                .join(InverterRow, InverterRow.site_number == SiteRow.number)
                .order_by(SiteRow.number, InverterRow.inverter_id)
            )
            return [(key, serial, bool(hangs)) for key, serial, hangs in rows]

    def placed(self) -> list[tuple[str, str, float]]:
        """Returns each inverter of the fleet: its number, its site's time zone, its W."""
        with reading(self._engine) as session:
            rows = session.execute(
                select(InverterRow.serial_number, SiteRow.time_zone, InverterRow.pac0)
                .join(SiteRow, SiteRow.number == InverterRow.site_number)
                .order_by(InverterRow.inverter_id)
            )
            return [(serial, zone, pac0) for serial, zone, pac0 in rows]

    def several(self, public_keys: Sequence[str]) -> list[SiteRecord]:
        """Returns everything of some sites, by number; the unknown ones are left out.

        For as many as one page shows: each is a parameter of the query.
        """
        with reading(self._engine) as session:
            rows = session.scalars(
                select(SiteRow)
                .where(SiteRow.public_key.in_(public_keys))
                .order_by(SiteRow.number)
                .options(*WHOLE)
            )
            return [as_record(row) for row in rows]

    def find(self, text: str, *, limit: int | None = 50) -> list[SiteRecord]:
        """Returns sites by name, key, address or serial number, whoever may view them."""
        with reading(self._engine) as session:
            rows = session.scalars(
                select(SiteRow)
                .where(matching(text))
                .order_by(SiteRow.number)
                .limit(limit)
                .options(*WHOLE)
            )
            return [as_record(row) for row in rows]

    def change(
        self, public_key: str, changes: Mapping[str, Any], source: Source, now: datetime
    ) -> SiteRecord:
        """Gives attributes of `PLAIN_ATTRIBUTES` and parts of the address new values.

        The old address stays in the history. Raises SiteError for what cannot be.
        """
        unknown = set(changes) - {*PLAIN_ATTRIBUTES, *ADDRESS_ATTRIBUTES}
        if unknown:
            raise SiteError(f"a site has no {sorted(unknown)} to change")
        with writing(self._engine) as session:
            row = existing(session, public_key)
            news = {name: value for name, value in changes.items() if value != getattr(row, name)}
            for name, value in news.items():
                setattr(row, name, value)
            moved = {name: value for name, value in news.items() if name in ADDRESS_ATTRIBUTES}
            attributes.record(row.address_attributes, moved, source, now)
            return changed(row, now)

    def address_history(self, public_key: str) -> list[AttributeRecord]:
        """Returns what the parts of the address were when and where from, oldest first."""
        with reading(self._engine) as session:
            return attributes.history(existing(session, public_key).address_attributes)

    def set_planes(self, public_key: str, planes: Sequence[RoofPlane], now: datetime) -> SiteRecord:
        """Replaces the roof planes; raises SiteError if an inverter hangs on one that goes."""
        with writing(self._engine) as session:
            row = existing(session, public_key)
            row.planes.clear()
            session.flush()
            row.planes.extend(plane_rows(planes))
            return changed(row, now)

    def install(self, public_key: str, inverter: Inverter, now: datetime) -> SiteRecord:
        """Hangs an inverter up; raises StoreError if it hangs somewhere already."""
        with unique(), writing(self._engine) as session:
            row = existing(session, public_key)
            row.inverters.append(inverter_row(inverter))
            session.flush()
            return changed(row, now)

    def uninstall(
        self, public_key: str, serial_number: str, at: datetime, now: datetime
    ) -> SiteRecord:
        """Takes an inverter down; it stays in the record, its counter tells of its time there."""
        with writing(self._engine) as session:
            row = existing(session, public_key)
            for inverter in row.inverters:
                if inverter.serial_number == serial_number and inverter.uninstalled_at is None:
                    if at < inverter.installed_at:
                        raise StoreError("an inverter goes after it came")
                    inverter.uninstalled_at = at
                    return changed(row, now)
        raise StoreError("no such inverter hangs there")

    def give_role(
        self, public_key: str, organisation_id: str, kind: OrganisationKind, now: datetime
    ) -> SiteRecord:
        """Lets an organisation do something for a site from now on; once is enough."""
        with writing(self._engine) as session:
            row = existing(session, public_key)
            organisations.existing(session, organisation_id)
            if not any(is_role(one, organisation_id, kind) for one in row.roles):
                row.roles.append(
                    SiteRoleRow(organisation_id=organisation_id, kind=kind.value, from_at=now)
                )
            return changed(row, now)

    def end_role(
        self, public_key: str, organisation_id: str, kind: OrganisationKind, now: datetime
    ) -> SiteRecord:
        """Ends that."""
        with writing(self._engine) as session:
            row = existing(session, public_key)
            for role in row.roles:
                if is_role(role, organisation_id, kind):
                    role.until = now
            return changed(row, now)

    def add_owner(self, public_key: str, person_id: str, now: datetime) -> SiteRecord:
        """Makes somebody an owner from now on, beside the others; once is enough."""
        with writing(self._engine) as session:
            row = existing(session, public_key)
            people.existing(session, person_id)
            if not any(one.person_id == person_id and one.until is None for one in row.owners):
                row.owners.append(SiteOwnerRow(person_id=person_id, from_at=now))
            return changed(row, now)

    def end_owner(self, public_key: str, person_id: str, now: datetime) -> SiteRecord:
        """Ends that; what he gave to others ends with him."""
        with writing(self._engine) as session:
            row = existing(session, public_key)
            for owner in row.owners:
                if owner.person_id == person_id and owner.until is None:
                    owner.until = now
            for grant in row.grants:
                if grant.given_by == person_id and (grant.until is None or grant.until > now):
                    end_grant(grant, now)
            return changed(row, now)

    def grant(
        self,
        public_key: str,
        *,
        why: str,
        given_by: str,
        now: datetime,
        person_id: str | None = None,
        organisation_id: str | None = None,
        until: datetime | None = None,
    ) -> Grant:
        """Lets one person or one organisation see a site; raises PeopleError, StoreError."""
        grant = Grant(
            grant_id=new_identifier(),
            site=public_key,
            person_id=person_id,
            organisation_id=organisation_id,
            from_at=now,
            until=until,
            why=why,
            given_by=given_by,
        )
        with writing(self._engine) as session:
            row = existing(session, public_key)
            if person_id is not None:
                people.existing(session, person_id)
            if organisation_id is not None:
                organisations.existing(session, organisation_id)
            columns = msgspec.structs.asdict(grant)
            del columns["site"]
            row.grants.append(GrantRow(**columns))
        return grant

    def end_grant(self, public_key: str, grant_id: str, now: datetime) -> bool:
        """Ends what a grant allowed, from now on; tells whether there was one."""
        with writing(self._engine) as session:
            row = session.get(GrantRow, grant_id)
            if row is None or existing(session, public_key).number != row.site_number:
                return False
            if row.until is not None and row.until <= now:
                return False
            end_grant(row, now)
            return True

    def set_restricted(self, public_key: str, at: datetime | None) -> None:
        """Marks a site whose data is kept but not used, from `at` on; None ends that."""
        with writing(self._engine) as session:
            existing(session, public_key).restricted_at = at

    def _one(self, condition: ColumnElement[bool]) -> SiteRecord | None:
        with reading(self._engine) as session:
            row = session.scalar(select(SiteRow).where(condition).options(*WHOLE))
            return None if row is None else as_record(row)


def existing(session: Session, public_key: str) -> SiteRow:
    """Returns the row; raises StoreError if there is none."""
    row = session.scalar(select(SiteRow).where(SiteRow.public_key == public_key))
    if row is None:
        raise StoreError("there is no such site")
    return row


def _new_row(session: Session, new: NewSite, now: datetime) -> SiteRow:
    row = SiteRow(
        public_key=new.public_key or new_public_key(),
        **{name: getattr(new, name) for name in PLAIN_ATTRIBUTES},
        **msgspec.structs.asdict(new.address),
        created_at=now,
        updated_at=now,
        planes=plane_rows(new.planes),
        inverters=[inverter_row(one) for one in new.inverters],
    )
    address = msgspec.structs.asdict(new.address)
    attributes.record(row.address_attributes, address, new.source, now)
    for role in new.roles:
        organisations.existing(session, role.organisation_id)
        row.roles.append(
            SiteRoleRow(
                organisation_id=role.organisation_id,
                kind=role.kind.value,
                from_at=role.from_at,
                until=role.until,
            )
        )
    for owner in new.owners:
        people.existing(session, owner.person_id)
        row.owners.append(SiteOwnerRow(**msgspec.structs.asdict(owner)))
    return row
