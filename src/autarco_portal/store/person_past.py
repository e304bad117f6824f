"""Which rows about a house are about those who had it before, where no column of the row says so?

Of a settlement its document says which period it is of, of a site's entry in the ledger of
disclosures the disclosure says when something left, of a note its body says when it was written.
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - msgspec looks at it when it decodes
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import func, select

from autarco_portal import guarantee
from autarco_portal.store.privacy_tables import DisclosureRow
from autarco_portal.store.tables import SiteRow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.orm import Session

    from autarco_portal.person_record import Households

    Rows = list[dict[str, Any]]


def of_his_time(
    session: Session, table: str, rows: Rows, home: Households, found: Mapping[str, Rows]
) -> Rows:
    """Returns the rows of a table without those of others' time in somebody's houses.

    `found` are the rows of the tables before it, of which guarantees are one.
    """
    if table == "settlements":
        return _settlements(session, rows, home, found["guarantees"])
    if table == "disclosure_sites":
        return _disclosed(session, rows, home)
    if table == "support_notes":
        return _noted(session, rows, home)
    return rows


def _settlements(session: Session, rows: Rows, home: Households, guarantees: Rows) -> Rows:
    """A period that ended before the house was his was settled with another."""
    keys = _keys(session, home)
    begins = {
        one["contract_id"]: home.first_days[keys[one["site_number"]]]
        for one in guarantees
        if one["site_number"] in keys
    }
    return [
        row
        for row in rows
        if row["contract_id"] not in begins
        or guarantee.from_json(row["document"].encode()).years[-1].ends_before
        > begins[row["contract_id"]]
    ]


def _noted(session: Session, rows: Rows, home: Households) -> Rows:
    """What support wrote down of the house is about who lived there then."""
    keys = _keys(session, home)
    return [
        row
        for row in rows
        if row["site_number"] not in keys
        or (since := home.sites[keys[row["site_number"]]]) is None
        or msgspec.json.decode(row["body"], type=_Note).written_at >= since
    ]


class _Note(msgspec.Struct, frozen=True):
    written_at: datetime


def _keys(session: Session, home: Households) -> dict[int, str]:
    """Public keys of the houses that were another's before, by number."""
    bought = select(SiteRow).where(SiteRow.public_key.in_(home.first_days))
    return {row.number: row.public_key for row in session.scalars(bought)}


def _disclosed(session: Session, rows: Rows, home: Households) -> Rows:
    """What left before the house was his was about another."""
    at = func.coalesce(DisclosureRow.disclosed_at, DisclosureRow.asked_at)
    named = {row["disclosure_id"] for row in rows}
    asked = select(DisclosureRow.disclosure_id, at).where(DisclosureRow.disclosure_id.in_(named))
    moments = {name: moment for name, moment in session.execute(asked)}
    kept = []
    for row in rows:
        since = home.sites.get(row["public_key"])
        if since is None or moments[row["disclosure_id"]] >= since:
            kept.append(row)
    return kept
