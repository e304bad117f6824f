"""Rows about two households in every table of the portal's database, whatever its tables are.

Each text says whose it is and where it stands, so that a test finds it wherever it went.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import Date, DateTime, Engine, insert

from autarco_portal import guarantee
from autarco_portal.people import ADDRESS_ATTRIBUTES, PERSONAL_ATTRIBUTES
from autarco_portal.site import RoofPlane
from autarco_portal.store import person_data  # noqa: F401 - its imports complete the schema
from autarco_portal.store.declarative import Base, Instant
from autarco_portal.store.engine import make_engine, writing
from autarco_portal.store.person_rules import NOT_PERSONAL
from privacy_samples import contract, settlement

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Column, Table

START = datetime(2024, 12, 1, 8, tzinfo=UTC)
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)

ANNA, BOB = "annaannaannaanna", "bobbobbobbobbob1"
SITES = {ANNA: (1, "annasite"), BOB: (2, "bobssite")}
SERIALS = {ANNA: "SIM0001", BOB: "SIM0002"}
LOGGERS = {ANNA: 4_100_000_001, BOB: 4_100_000_002}
EMAILS = {ANNA: "anna@example.org", BOB: "bob@example.org"}

JSON_COLUMNS = frozenset(
    {"body", "plane", "mppt_planes", "incident", "contract", "decision", "detail", "verdict"}
)


_CODES = {
    ("site_roles", "kind"): "installer",
    ("organisations", "kind"): "installer",
    ("memberships", "role"): "staff",
    ("personal_attributes", "source_kind"): "partner",
    ("personal_attributes", "attribute"): "phone",
}
"""Values that are one of a few."""


def canary(who: str, table: str, column: str) -> str:
    """What stands in a text of somebody's row."""
    return f"{who[:3].upper()} {table} {column}"


def database(path: Path) -> Engine:
    """Returns a database with all tables and nothing in them."""
    engine = make_engine(str(path))
    Base.metadata.create_all(engine)
    return engine


def fill(engine: Engine) -> None:
    """Puts one row about Anna and one about Bob into each table that can have one."""
    with writing(engine) as session:
        for table in Base.metadata.sorted_tables:
            if table.name in NOT_PERSONAL and table.name != "organisations":
                continue
            for who in (ANNA, BOB):
                session.execute(insert(table).values(_row(table, who)))
        for who in (ANNA, BOB):
            number = SITES[who][0]
            attributes = Base.metadata.tables["personal_attributes"]
            for name in (*PERSONAL_ATTRIBUTES, *ADDRESS_ATTRIBUTES):
                is_address = name in ADDRESS_ATTRIBUTES
                row = _row(attributes, who) | {
                    "attribute_id": None,
                    "attribute": name,
                    "person_id": None if is_address else who,
                    "site_number": number if is_address else None,
                }
                session.execute(insert(attributes).values(row))


def _row(table: Table, who: str) -> dict[str, Any]:
    row = {column.name: _value(table, column, who) for column in table.columns}
    if table.name == "grants":
        # To an organisation, by the other one.
        row["person_id"] = None
        row["given_by"] = BOB if who == ANNA else ANNA
    if table.name == "alarm_notices":
        row["organisation_id"] = None
    if table.name == "personal_attributes":
        row["site_number"] = None
    if table.name == "alarms":
        row["acknowledged_by"] = BOB if who == ANNA else ANNA
    if table.name in ("totp_secrets", "recovery_codes"):
        row["last_step"] = 1
    return {name: value for name, value in row.items() if name in table.columns}


def _value(table: Table, column: Column[Any], who: str) -> Any:
    number, key = SITES[who]
    name = column.name
    known: dict[str, Any] = {
        "person_id": who,
        "site_number": number,
        "public_key": key,
        "subject": f"person:{who}" if table.name in ("restrictions", "legal_holds") else who,
        "thing": f"site:{key}",
        "actor": who,
        "email": EMAILS[who],
        "until": None,
        "uninstalled_at": None,
        "serial_number": SERIALS[who],
        "logger_sn": LOGGERS[who],
        "country": "NL",
        "phone": f"+31 6 1234 000{number}",
        "language": "nl" if who == ANNA else "en",
        "time_zone": "Europe/Amsterdam",
        "latitude": 52.0,
        "longitude": 5.0,
    }
    if table.name == "mails" and name in ("subject", "notice_id"):
        return canary(who, table.name, name) if name == "subject" else None
    if table.name == "organisations" and name == "parent":
        return None
    if (table.name, name) == ("sites", "number"):
        return number
    if name in known:
        return known[name]
    if (table.name, name) in _CODES:
        return _CODES[table.name, name]
    for key_of in column.foreign_keys:
        if key_of.column.table.name not in ("people", "sites"):
            return _value(key_of.column.table, key_of.column, who)
    if isinstance(column.type, (Instant, DateTime)):
        return START + timedelta(days=number)
    if isinstance(column.type, Date):
        return date(2023, 3, number)
    if column.type.python_type is bool:
        return False
    if column.type.python_type in (int, float):
        return number
    if name == "plane":
        plane = RoofPlane(
            name=canary(who, table.name, name),
            surface_tilt=35,
            surface_azimuth=180,
            modules=10,
            pdc0=4_000,
        )
        return msgspec.json.encode(plane).decode()
    if name == "mppt_planes":
        return "[]"
    if (table.name, name) == ("settlements", "document"):
        # Which period it is of stands in it alone.
        made = settlement(contract(key), 1_000 + number)
        made = msgspec.structs.replace(made, code_version=canary(who, table.name, name))
        return guarantee.to_json(made).decode()
    if (table.name, name) == ("support_notes", "body"):
        text = {"text": canary(who, table.name, name), "written_at": f"{START:%Y-%m-%dT%H:%M:%SZ}"}
        return json.dumps(text, separators=(",", ":"))
    if name in JSON_COLUMNS:
        return json.dumps({"text": canary(who, table.name, name)}, separators=(",", ":"))
    return canary(who, table.name, name)
