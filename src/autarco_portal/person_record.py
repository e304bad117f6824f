"""What is all that is known about a person, as plain records?

Records are what the tables of the database hold, by table, without secrets and without others; the
store collects them. `Present` says which telemetry is his: that of an inverter while it hung in his
house and the house was his.
"""

from __future__ import annotations

from datetime import date, datetime  # noqa: TC003 - msgspec looks at them when it decodes
from typing import Any, TypeAlias

import msgspec

Record: TypeAlias = dict[str, Any]
"""JSON: times as text, in UTC."""


class Present(msgspec.Struct, frozen=True, kw_only=True):
    """An inverter in somebody's house."""

    site_id: str
    serial_number: str
    logger_sn: int | None = None
    from_at: datetime
    until: datetime | None = None


class Households(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody's sites, and since when what they tell is about him; None: since ever."""

    sites: dict[str, datetime | None] = {}
    """Those that are his now, by public key."""
    first_days: dict[str, date] = {}
    """Of those that were another's before: the first local day that was wholly his."""
    present: tuple[Present, ...] = ()
    """Also of sites that are his no more, for his time."""


class PersonRecords(msgspec.Struct, frozen=True, kw_only=True):
    """All records about somebody, by table."""

    person_id: str
    households: Households = Households()
    records: dict[str, list[Record]]
