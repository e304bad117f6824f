"""What does the database hold about one person, and how does it enter another one?

`collect` follows `person_rules` through all tables; identifiers of other people and keys of other
sites are replaced by `another` in whatever it returns, in texts and JSON alike. `restore` makes the
rows again in a database that knows neither the person nor his sites; a record that has no place
there (a log, a session) is kept beside and handed out with the others next time.
"""

from __future__ import annotations

import re
from collections import defaultdict
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
from sqlalchemy import ColumnElement, Date, Engine, Table, and_, false, func, insert, or_, select

from autarco_portal.people import SiteOwner
from autarco_portal.person_record import Households, PersonRecords, Present, Record
from autarco_portal.rights import owned_from
from autarco_portal.site_record import whole_day_from
from autarco_portal.store import (  # noqa: F401 - tables of Base
    person_past,
    privacy_tables,
    record_tables,
)
from autarco_portal.store.declarative import Base, Instant
from autarco_portal.store.engine import StoreError, reading, writing
from autarco_portal.store.person_rules import REACHES, REFERENCED, Reach, Way
from autarco_portal.store.record_tables import ImportedRow
from autarco_portal.store.site_rows import owners_of
from autarco_portal.store.tables import OrganisationRow, PersonRow, SiteOwnerRow, SiteRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy.orm import Session

Rows: TypeAlias = "dict[str, list[dict[str, Any]]]"

ANOTHER = "another"
HOUSEHOLDS = "households"
"""Not a table: which inverters hung in his houses when, sold ones too."""
_WORD = re.compile(r"[a-z0-9]{8,}")
_TABLES = Base.metadata.tables


class PersonData:
    """All that is about one person."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self, person_id: str, at: datetime, *, is_portable: bool = False) -> PersonRecords:
        """Returns every record about somebody, or those only that he may take elsewhere.

        Raises StoreError if there is no such person.
        """
        with reading(self._engine) as session:
            person = session.get(PersonRow, person_id)
            if person is None:
                raise StoreError("there is no such person")
            home = _households(session, person_id, at)
            found = _found(session, person, home)
            hide = _Hiding(session, person_id, home)
            records = {
                table: [hide.record(_TABLES[table], reach, row) for row in found[table]]
                for table, reach in REACHES.items()
                if reach.is_portable or not is_portable
            }
            records[HOUSEHOLDS] = []
            for row in session.scalars(
                select(ImportedRow)
                .where(ImportedRow.person_id == person_id)
                .order_by(ImportedRow.table, ImportedRow.position)
            ):
                if row.table in records:
                    records[row.table].append(msgspec.json.decode(row.record))
            records["organisations"] = _organisations(session, records)
            for table in REACHES.keys() & records.keys():
                records[table].sort(key=_order)
            brought = msgspec.convert(records[HOUSEHOLDS], type=list[Present])
            home = msgspec.structs.replace(home, present=_together(home, brought))
            records[HOUSEHOLDS] = msgspec.to_builtins(home.present)
            return PersonRecords(person_id=person_id, households=home, records=records)

    def restore(self, records: PersonRecords, now: datetime) -> None:
        """Makes somebody and his sites in a database that does not know them.

        Raises StoreError where it does, or where the records do not fit this program's tables;
        nothing is changed then.
        """
        try:
            with writing(self._engine) as session:
                _restore(session, records, now)
        except (KeyError, TypeError, ValueError, msgspec.MsgspecError) as error:
            raise StoreError("the records do not fit the tables of this program") from error


# --- out ------------------------------------------------------------------------------------


def _households(session: Session, person_id: str, at: datetime) -> Households:
    """Which sites are his, since when their data is his, and which inverters hung there then."""
    owned: dict[str, datetime | None] = {}
    days: dict[str, date] = {}
    present: list[Present] = []
    mine = session.scalars(
        select(SiteOwnerRow)
        .where(SiteOwnerRow.person_id == person_id)
        .order_by(SiteOwnerRow.owner_id)
    ).all()
    for row in mine:
        site = session.get_one(SiteRow, row.site_number)
        his = SiteOwner(person_id=person_id, from_at=row.from_at, until=row.until)
        since = owned_from(his, owners_of(site))
        if row.until is None or row.until > at:
            owned[site.public_key] = since
            if since is not None:
                days[site.public_key] = whole_day_from(since, site.time_zone)
        present += [
            Present(
                site_id=site.public_key,
                serial_number=inverter.serial_number,
                logger_sn=inverter.logger_sn,
                from_at=max(inverter.installed_at, since or inverter.installed_at),
                until=min(
                    (end for end in (inverter.uninstalled_at, row.until) if end), default=None
                ),
            )
            for inverter in site.inverters
        ]
    return Households(sites=owned, first_days=days, present=tuple(present))


def _together(home: Households, brought: Sequence[Present]) -> tuple[Present, ...]:
    """What follows from the tables here, and what was brought along because it does not.

    Houses that were sold are not here, nor whoever owned one before.
    """
    begins = {(one.site_id, one.serial_number): one.from_at for one in brought}
    here = [
        msgspec.structs.replace(
            one,
            site_id=one.site_id if one.site_id in home.sites else ANOTHER,
            from_at=begins.get((one.site_id, one.serial_number), one.from_at),
        )
        for one in home.present
    ]
    known = {(one.site_id, one.serial_number) for one in here}
    here += [one for one in brought if (one.site_id, one.serial_number) not in known]
    return tuple(sorted(here, key=lambda one: (one.from_at, one.serial_number)))


def _found(session: Session, person: PersonRow, home: Households) -> Rows:
    numbers = {
        row.number: home.sites[row.public_key]
        for row in session.scalars(select(SiteRow).where(SiteRow.public_key.in_(home.sites)))
    }
    found: Rows = {}

    def rows(table: str) -> list[dict[str, Any]]:
        if table not in found:
            wanted = [where(way, _TABLES[table]) for way in REACHES[table].ways]
            statement = (
                select(_TABLES[table])
                .where(or_(false(), *wanted))
                .order_by(*_TABLES[table].primary_key.columns)
            )
            found[table] = [dict(row) for row in session.execute(statement).mappings()]
            if home.first_days:
                found[table] = person_past.of_his_time(session, table, found[table], home, found)
        return found[table]

    def where(way: Way, table: Table) -> ColumnElement[bool]:
        column = table.c[way.column]
        if way.kind == "person":
            return column == person.person_id
        if way.kind == "email":
            return column == person.email
        if way.kind == "key":
            his = column.in_((person.person_id, f"person:{person.person_id}"))
            return or_(
                his,
                *(
                    after(column.in_((key, f"site:{key}")), way, table, since)
                    for key, since in home.sites.items()
                ),
            )
        if way.kind == "row":
            return column.in_({row[way.table_column] for row in rows(way.table)})
        here = or_(
            false(),
            *(after(column == number, way, table, since) for number, since in numbers.items()),
        )
        return and_(here, table.c[way.unless].is_(None)) if way.unless else here

    def after(
        part: ColumnElement[bool], way: Way, table: Table, since: datetime | None
    ) -> ColumnElement[bool]:
        if not way.since or since is None:
            return part
        return and_(part, table.c[way.since] >= since)

    for table in REACHES:
        rows(table)
    return found


class _Hiding:
    """Leaves out what is not handed out, and who else is meant."""

    def __init__(self, session: Session, person_id: str, home: Households) -> None:
        others = set(session.scalars(select(PersonRow.person_id))) - {person_id}
        self._others = others | (set(session.scalars(select(SiteRow.public_key))) - set(home.sites))

    def record(self, table: Table, reach: Reach, row: Mapping[str, Any]) -> Record:
        return {
            column.name: self._value(row[column.name])
            for column in table.columns
            if column.name not in reach.hidden
        }

    def _value(self, value: object) -> object:
        if isinstance(value, datetime):
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        if isinstance(value, date):
            return value.isoformat()
        if isinstance(value, str):
            return _opened(_WORD.sub(self._word, value))
        return value

    def _word(self, match: re.Match[str]) -> str:
        return ANOTHER if match[0] in self._others else match[0]


def _opened(text: str) -> object:
    """JSON in a column is handed out as JSON, where it can be put back byte for byte."""
    if not text.startswith(("{", "[")):
        return text
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
    return value if msgspec.json.encode(value).decode() == text else text


def _order(record: Record) -> tuple[str, bytes]:
    """By time, then by content: what counts rows here counts them otherwise elsewhere."""
    names = ("from_at", "at", "installed_at", "created_at", "opened_at")
    first = next((record[name] for name in names if record.get(name)), "")
    return str(first), msgspec.json.encode(record, order="sorted")


def _organisations(session: Session, records: Mapping[str, Sequence[Record]]) -> list[Record]:
    named = {
        record[column.name]
        for table in REACHES
        for column in _TABLES[table].columns
        if any(key.column.table.name == "organisations" for key in column.foreign_keys)
        for record in records.get(table, ())
        if record.get(column.name) is not None
    }
    rows = session.scalars(
        select(OrganisationRow)
        .where(OrganisationRow.organisation_id.in_(named))
        .order_by(OrganisationRow.organisation_id)
    )
    return [{name: getattr(row, name) for name in REFERENCED["organisations"]} for row in rows]


# --- in -------------------------------------------------------------------------------------


def _restore(session: Session, records: PersonRecords, now: datetime) -> None:
    _check_new(session, records)
    _check_columns(records)
    known = set(session.scalars(select(OrganisationRow.organisation_id)))
    for record in records.records["organisations"]:
        if record["organisation_id"] not in known:
            session.add(OrganisationRow(created_at=now, **record))
    session.flush()
    kept: dict[str, list[Record]] = defaultdict(list)
    there: dict[tuple[str, str], set[object]] = defaultdict(set)
    for table in Base.metadata.sorted_tables:
        reach = REACHES.get(table.name)
        if reach is None:
            continue
        for record in records.records.get(table.name, ()):
            # Who works for a partner of this instance is said here, not by a file from elsewhere.
            is_power = table.name == "memberships" and record["organisation_id"] in known
            if is_power or not (reach.is_live and _has_parents(table, record, there)):
                kept[table.name].append(record)
                continue
            values = {name: _stored(table, name, value) for name, value in record.items()}
            session.execute(insert(table).values(values | _ORDINARY.get(table.name, {})))
            for name, value in record.items():
                if isinstance(value, (str, int)):
                    there[table.name, name].add(value)
    kept[HOUSEHOLDS] = [
        record
        for record in records.records.get(HOUSEHOLDS, ())
        if not _follows(record, records.records.get("inverters", ()))
    ]
    _count_on(session)
    for name, left in kept.items():
        session.add_all(
            ImportedRow(
                person_id=records.person_id,
                table=name,
                position=position,
                record=msgspec.json.encode(record).decode(),
            )
            for position, record in enumerate(left)
        )


def _follows(record: Record, inverters: Sequence[Record]) -> bool:
    """Whether that an inverter hung there follows from the inverters that come along."""
    begins = [
        datetime.fromisoformat(one["installed_at"])
        for one in inverters
        if one["serial_number"] == record["serial_number"]
    ]
    return datetime.fromisoformat(record["from_at"]) in begins and record["site_id"] != ANOTHER


def _count_on(session: Session) -> None:
    """Lets PostgreSQL go on counting sites behind the numbers that came along."""
    if session.get_bind().dialect.name == "postgresql":
        last = select(func.max(SiteRow.number)).scalar_subquery()
        counter = func.pg_get_serial_sequence("sites", "number")
        session.execute(select(func.setval(counter, last)).where(last.is_not(None)))


def _check_new(session: Session, records: PersonRecords) -> None:
    people = [one["email"] for one in records.records["people"]]
    sites = records.records.get("sites", ())
    known = (
        select(PersonRow.person_id).where(
            or_(PersonRow.person_id == records.person_id, PersonRow.email.in_(people))
        ),
        select(SiteRow.number).where(
            or_(
                SiteRow.number.in_([one["number"] for one in sites]),
                SiteRow.public_key.in_([one["public_key"] for one in sites]),
            )
        ),
    )
    if any(session.scalar(question) is not None for question in known):
        raise StoreError(
            "the person, a site or its number is known here already: bring a bundle into an empty "
            "instance"
        )


def _check_columns(records: PersonRecords) -> None:
    """Refuses what is never handed out, such as a password's hash, and what no table has."""
    wanted = {name: set(REFERENCED[name]) for name in REFERENCED}
    wanted |= {
        name: {column.name for column in _TABLES[name].columns} - set(reach.hidden)
        for name, reach in REACHES.items()
    }
    for name, columns in wanted.items():
        if any(set(record) - columns for record in records.records.get(name, ())):
            raise StoreError(f"the records of {name} have columns that nobody hands out")


_ORDINARY: dict[str, dict[str, object]] = {"accounts": {"generation": 0}}
"""What is not handed out and may not be empty."""


def _has_parents(
    table: Table, record: Record, there: Mapping[tuple[str, str], Iterable[object]]
) -> bool:
    """Whether what the row refers to came along; a site that was sold did not."""
    return all(
        record.get(column.name) is None
        or record[column.name] in there[key.column.table.name, key.column.name]
        for column in table.columns
        for key in column.foreign_keys
        if key.column.table.name != "organisations"
    )


def _stored(table: Table, name: str, value: object) -> object:
    kind = table.c[name].type
    if isinstance(value, (dict, list)):
        return msgspec.json.encode(value).decode()
    if not isinstance(value, str):
        return value
    if isinstance(kind, Date):
        return date.fromisoformat(value)
    return datetime.fromisoformat(value) if isinstance(kind, Instant) else value
